//! What the end of a child leads to, by its restart type.

use cueline::prelude::*;
use cueline::{ChildState, ErrorKind};

use crate::support::{Case, Child, Plan, What, otp, until, within};

fn one(restart: Restart) -> (Case, Child) {
    let child = Child::new("c1");
    let case = Case::new(otp(Strategy::OneForOne).child(child.spec().restart(restart)));
    case.counts_are([1, 1, 0, 1]);
    (case, child)
}

fn is_restarted(case: &Case, child: &Child, what: What) {
    let before = child.started();
    case.tell("c1", what);
    until("it runs again", || child.started() > before);
    case.counts_are([1, 1, 0, 1]);
}

#[test]
fn otp_permanent_normal() {
    let (case, child) = one(Restart::Permanent);
    is_restarted(&case, &child, What::Normal);
}

/// Not about to be started again.
fn is_down(case: &Case) {
    assert_eq!(case.child("c1").state, cueline::ChildState::Down);
}

#[test]
fn otp_transient_normal() {
    let (case, child) = one(Restart::Transient);
    case.tell("c1", What::Normal);
    case.counts_are([1, 0, 0, 1]);
    is_down(&case);
    assert_eq!(child.started(), 1);
}

#[test]
fn otp_temporary_normal() {
    let (case, child) = one(Restart::Temporary);
    case.tell("c1", What::Normal);
    case.counts_are([0, 0, 0, 0]);
    assert_eq!(child.started(), 1);
}

#[test]
fn otp_permanent_shutdown() {
    let (case, child) = one(Restart::Permanent);
    is_restarted(&case, &child, What::Shutdown);
    is_restarted(&case, &child, What::ShutdownFor("tired".into()));
}

#[test]
fn otp_transient_shutdown() {
    let (case, child) = one(Restart::Transient);
    case.tell("c1", What::Shutdown);
    case.counts_are([1, 0, 0, 1]);
    assert!(case.sup.restart("c1").wait().unwrap());
    let watching = case.sup.watch("c1").unwrap();
    case.tell("c1", What::ShutdownFor("tired".into()));
    let reason = within("it ends", move || watching.wait());
    assert_eq!(reason, Some(Reason::ShutdownFor("tired".into())));
    case.counts_are([1, 0, 0, 1]);
    is_down(&case);
    assert_eq!(child.started(), 2);
}

#[test]
fn otp_temporary_shutdown() {
    let (case, _) = one(Restart::Temporary);
    case.tell("c1", What::Shutdown);
    case.counts_are([0, 0, 0, 0]);
    let (case, _) = one(Restart::Temporary);
    case.tell("c1", What::ShutdownFor("tired".into()));
    case.counts_are([0, 0, 0, 0]);
}

#[test]
fn otp_permanent_abnormal() {
    let (case, child) = one(Restart::Permanent);
    is_restarted(&case, &child, What::Panic);
}

#[test]
fn otp_transient_abnormal() {
    let (case, child) = one(Restart::Transient);
    is_restarted(&case, &child, What::Panic);
}

#[test]
fn otp_temporary_abnormal() {
    let (case, child) = one(Restart::Temporary);
    case.tell("c1", What::Panic);
    case.counts_are([0, 0, 0, 0]);
    assert_eq!(child.started(), 1);
}

/// Its events wait while it is down, and the event in hand is delivered again: OTP loses the mailbox.
#[test]
fn better_permanent_abnormal_keeps_what_waits() {
    let (case, child) = one(Restart::Permanent);
    case.runtime.pause("c1").unwrap();
    case.tell("c1", What::Panic);
    (0..100).for_each(|_| case.tell("c1", What::Nothing));
    case.runtime.resume("c1").unwrap();
    until("all is done", || child.done() == 101);
    assert_eq!(child.started(), 2);
}

/// The root's child cannot start: so the whole fails, naming it and what it said.
#[test]
fn otp_faulty_application_shutdown() {
    let child = Child::new("c1");
    child.always(Plan::Panic);
    let inner = otp(Strategy::OneForOne).intensity(Intensity::within(0, secs(1)));
    let root = Supervisor::new("root")
        .intensity(Intensity::within(0, secs(1)))
        .child(inner.child(child.spec()));
    let runtime = Runtime::builder("app").supervise(root).start().unwrap();
    let run = runtime.clone();
    let error = within("it gives up", move || pollster::block_on(run.run(secs(5)))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::GaveUp);
    // A permanent supervisor that gave up is restarted by the one above, which is one too many.
    assert!(error.to_string().contains("root/sup/c1"), "{error}");
    assert!(error.to_string().contains("it panics when it starts"), "{error}");
}

#[test]
fn otp_temporary_bystander() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let (c1, c2) = (Child::new("c1"), Child::new("c2"));
        let sup = otp(strategy).child(c1.spec()).child(c2.spec().restart(Restart::Temporary));
        let case = Case::new(sup);
        case.counts_are([2, 2, 0, 2]);
        case.crash(&c1);
        case.counts_are([1, 1, 0, 1]);
        assert_eq!(case.names(), ["c1"]);
        assert_eq!((c1.started(), c2.started()), (2, 1));
        assert_eq!(case.top.children().unwrap()[0].state, ChildState::Running);
    }
}
