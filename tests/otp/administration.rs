//! What people ask of a running supervisor.

use cueline::prelude::*;
use cueline::{ChildState, ErrorKind};

use crate::support::{Case, Child, Plan, What, counts, otp, until, within};

fn kind<T: std::fmt::Debug>(answer: Result<T, Error>) -> ErrorKind {
    answer.unwrap_err().kind()
}

#[test]
fn otp_child_adm() {
    let child = Child::new("c1");
    let case = Case::new(otp(Strategy::OneForOne).child(child.spec()));
    case.counts_are([1, 1, 0, 1]);
    let again = case.sup.add(child.spec()).wait().unwrap_err();
    assert!(again.kind() == ErrorKind::Conflict && again.to_string().contains("running"));
    assert_eq!(kind(case.sup.stop("unknown").wait()), ErrorKind::NotFound);
    assert_eq!(kind(case.sup.delete("c1").wait()), ErrorKind::Conflict);
    assert_eq!(kind(case.sup.restart("c1").wait()), ErrorKind::Conflict);
    let end = case.sup.watch("c1").unwrap();
    case.sup.stop("c1").wait().unwrap();
    assert_eq!(within("it ends", move || end.wait()), Some(Reason::Shutdown));
    assert_eq!(case.counts(), [1, 0, 0, 1]);
    case.sup.stop("c1").wait().unwrap(); // it is what was wanted
    let present = case.sup.add(child.spec()).wait().unwrap_err();
    assert!(present.kind() == ErrorKind::Conflict && present.to_string().contains("down"));
    assert!(case.sup.restart("c1").wait().unwrap());
    assert_eq!(case.counts(), [1, 1, 0, 1]);
    assert_eq!(kind(case.sup.restart("c1").wait()), ErrorKind::Conflict);
    assert_eq!(kind(case.sup.delete("c1").wait()), ErrorKind::Conflict);
    case.sup.stop("c1").wait().unwrap();
    case.sup.delete("c1").wait().unwrap();
    assert_eq!(case.counts(), [0, 0, 0, 0]);
    assert_eq!(kind(case.sup.restart("c1").wait()), ErrorKind::NotFound);
    assert_eq!(kind(case.sup.delete("c1").wait()), ErrorKind::NotFound);
    assert!(case.sup.add(child.spec()).wait().unwrap());
    // Calls to a dead supervisor fail, and never hang.
    case.top.stop("sup").wait().unwrap();
    assert_eq!(kind(case.sup.restart("c1").wait()), ErrorKind::NotFound);
    assert_eq!(kind(case.sup.add(Child::new("c2").spec()).wait()), ErrorKind::Conflict);
    case.top.delete("sup").wait().unwrap();
    assert_eq!(kind(case.sup.stop("c1").wait()), ErrorKind::NotFound);
    case.runtime.shutdown(secs(5)).wait().unwrap();
    assert_eq!(kind(case.sup.count()), ErrorKind::Closed);
    assert_eq!(kind(case.sup.stop("c1").wait()), ErrorKind::Closed);
}

/// Of OTP's malformed specifications most cannot be written down (`src/supervise/refused.rs`).
#[test]
fn otp_child_specs() {
    let twice = || otp(Strategy::OneForOne).child(Child::new("c1").spec());
    let start = |sup: Supervisor| Runtime::builder("otp").supervise(sup).start().err();
    let error = start(twice().child(Child::new("c1").spec())).unwrap();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("`c1`"), "{error}");
    let ill = || processor("No Name", || Child::new("x").make()).on::<crate::support::Do>();
    assert_eq!(start(otp(Strategy::OneForOne).child(ill())).unwrap().kind(), ErrorKind::Config);
    let case = Case::new(otp(Strategy::OneForOne));
    assert_eq!(kind(case.sup.add(ill()).wait()), ErrorKind::Config);
    let nested = Supervisor::new("nested").child(twice()).child(twice());
    assert_eq!(kind(case.sup.add(nested).wait()), ErrorKind::Config);
    assert_eq!(case.counts(), [0, 0, 0, 0]);
}

#[test]
#[should_panic(expected = "a period of zero")]
fn otp_sup_flags() {
    // An unknown strategy and an intensity of no number are refused by the compiler.
    let period = std::time::Duration::ZERO;
    drop(otp(Strategy::OneForOne).intensity(Intensity::within(1, period)));
}

/// New children are there and not started; what changed applies; who is left out runs on.
#[test]
fn otp_code_change() {
    let (c1, c2, c3) = (Child::new("c1"), Child::new("c2"), Child::new("c3"));
    let case = Case::new(otp(Strategy::OneForOne).child(c1.spec()).child(c2.spec()));
    case.counts_are([2, 2, 0, 2]);
    let changed = otp(Strategy::OneForAll)
        .intensity(Intensity::within(0, hours(1)))
        .child(c3.spec())
        .child(c1.spec().restart(Restart::Transient).stop_within(secs(2)));
    case.sup.reconfigure(changed).unwrap();
    assert_eq!(case.names(), ["c3", "c1", "c2"]);
    assert_eq!(case.child("c3").state, ChildState::Down);
    assert_eq!(case.child("c1").restart, Restart::Transient);
    assert_eq!(case.child("c1").stops_within, Some(secs(2)));
    assert_eq!(case.counts(), [3, 2, 0, 3]);
    assert_eq!((c1.started(), c2.started(), c3.started()), (1, 1, 0));
    assert!(case.sup.restart("c3").wait().unwrap());
    // Its flags as well: one failure is too many now.
    let watching = case.watch();
    case.tell("c2", What::Panic);
    assert_eq!(case.ended(watching), Reason::Shutdown);
    // What it was left out of does not come back with it.
    assert!(case.top.restart("sup").wait().unwrap());
    case.counts_are([2, 2, 0, 2]);
    assert_eq!(case.names(), ["c3", "c1"]);
}

/// One that was added, and then declared, is one thing, and comes back with its supervisor; also if
/// nothing was left of it.
#[test]
fn better_code_change_declares_what_was_added() {
    let (c1, c2) = (Child::new("c1"), Child::new("c2"));
    let case = Case::new(otp(Strategy::OneForOne).child(c1.spec()));
    let temporary = || c2.spec().restart(Restart::Temporary);
    assert!(case.sup.add(temporary()).wait().unwrap());
    case.sup.reconfigure(otp(Strategy::OneForOne).child(c1.spec()).child(temporary())).unwrap();
    case.sup.stop("c2").wait().unwrap();
    assert_eq!(case.names(), ["c1"], "a temporary child is forgotten");
    case.top.stop("sup").wait().unwrap();
    assert!(case.top.restart("sup").wait().unwrap());
    case.counts_are([2, 2, 0, 2]);
    case.tell("c2", What::Nothing);
    until("it works", || c2.done() == 1);
}

/// What is not right is refused, and all stays as it was.
#[test]
fn otp_code_change_refused() {
    let case = Case::new(otp(Strategy::OneForOne).child(Child::new("c1").spec()));
    case.counts_are([1, 1, 0, 1]);
    let twice =
        otp(Strategy::OneForAll).child(Child::new("c2").spec()).child(Child::new("c2").spec());
    assert_eq!(case.sup.reconfigure(twice).unwrap_err().kind(), ErrorKind::Config);
    let renamed = Supervisor::new("other");
    assert_eq!(case.sup.reconfigure(renamed).unwrap_err().kind(), ErrorKind::Config);
    let unbounded = otp(Strategy::OneForAll).child(Child::new("c3").spec().instances(0));
    assert_eq!(case.sup.reconfigure(unbounded).unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(case.names(), ["c1"]);
    let strategy = case.top.children().unwrap()[0].strategy;
    assert_eq!(strategy, Some(Strategy::OneForOne));
}

#[test]
fn otp_get_child_spec() {
    let nested = Supervisor::new("nested").strategy(Strategy::RestForOne);
    let sup = otp(Strategy::OneForOne)
        .auto_shutdown(AutoShutdown::AllSignificant)
        .child(nested)
        .child(Child::new("c1").spec().restart(Restart::Temporary).kill_to_stop().significant());
    let case = Case::new(sup);
    case.counts_are([2, 2, 1, 1]);
    let c1 = case.child("c1");
    assert_eq!((c1.restart, c1.significant), (Restart::Temporary, true));
    assert_eq!(c1.stops_within, Some(std::time::Duration::ZERO));
    assert_eq!((c1.name.as_str(), c1.kind), ("c1", cueline::ChildKind::Processor));
    assert_eq!(case.child("nested").strategy, Some(Strategy::RestForOne));
}

/// A temporary child that ended leaves its name free; a transient one is still there.
#[test]
fn otp_child_specs_of_temporary_children() {
    let case = Case::new(otp(Strategy::OneForOne));
    for (restart, runs, ended) in [
        (Restart::Permanent, "running", None),
        (Restart::Transient, "running", Some("down")),
        (Restart::Temporary, "running", None),
    ] {
        let child = Child::new("c1");
        let spec = || child.spec().restart(restart);
        case.sup.add(spec()).wait().unwrap();
        let again = case.sup.add(spec()).wait().unwrap_err();
        assert!(again.to_string().contains(runs), "{again}");
        if restart != Restart::Permanent {
            case.tell("c1", What::Normal);
            case.counts_are(if ended.is_some() { [1, 0, 0, 1] } else { [0, 0, 0, 0] });
            let present = case.sup.add(spec()).wait();
            match ended {
                Some(ended) => assert!(present.unwrap_err().to_string().contains(ended)),
                None => assert!(present.unwrap()),
            }
        }
        case.sup.stop("c1").wait().unwrap();
        case.sup.delete("c1").wait().ok();
        assert_eq!(case.counts(), [0, 0, 0, 0]);
    }
}

#[test]
fn otp_restart_of_a_supervisor_by_hand() {
    let child = Child::new("c1");
    let case = Case::new(otp(Strategy::OneForOne).child(child.spec()));
    case.counts_are([1, 1, 0, 1]);
    case.top.stop("sup").wait().unwrap();
    assert_eq!(counts(&case.top), [1, 0, 1, 0]);
    assert!(case.top.restart("sup").wait().unwrap());
    assert_eq!(counts(&case.top), [1, 1, 1, 0]);
    assert_eq!(child.started(), 2);
    child.next(Plan::Run);
    until("it works", || {
        case.tell("c1", What::Nothing);
        child.done() > 0
    });
}

/// A pool keeps its one specification, and a supervisor that is down keeps its own.
#[test]
fn otp_code_change_simple() {
    let child = Child::new("c1");
    let made = child.clone();
    let template = processor_with("c1", move |_: &u32| made.make()).on::<crate::support::Do>();
    let case = Case::new(Pool::new("sup", template));
    assert_eq!(
        case.sup.reconfigure(Supervisor::new("sup")).unwrap_err().kind(),
        ErrorKind::Conflict
    );
    case.runtime.pool::<u32>("top/sup").unwrap().start(1).wait().unwrap();
    assert_eq!(case.counts(), [1, 1, 0, 1]);
    let case = Case::new(otp(Strategy::OneForOne));
    case.top.stop("sup").wait().unwrap();
    assert_eq!(
        case.sup.reconfigure(otp(Strategy::OneForAll)).unwrap_err().kind(),
        ErrorKind::Conflict
    );
}
