//! Supervisors of supervisors.

use cueline::ChildState;
use cueline::prelude::*;

use crate::support::{Case, Child, Plan, What, counts, otp, until};

#[test]
fn otp_tree() {
    let [c1, c2, c3, c4] = ["c1", "c2", "c3", "c4"].map(Child::new);
    let nested = |name: &str| {
        Supervisor::new(name).intensity(Intensity::within(2, hours(1))).backoff(Backoff::none())
    };
    let sup = otp(Strategy::OneForAll)
        .intensity(Intensity::within(4, hours(1)))
        .child(nested("s1").child(c1.spec()).child(c2.spec()))
        .child(nested("s2").child(c3.spec()))
        .child(nested("s3").restart(Restart::Transient));
    let case = Case::new(sup);
    case.counts_are([3, 3, 3, 0]);
    let below = |name: &str| case.runtime.supervisor(&format!("top/sup/{name}")).unwrap();
    below("s3").add(c4.spec()).wait().unwrap();
    case.sup.stop("s3").wait().unwrap();
    below("s2").add(c4.spec()).wait().unwrap();
    until("it is there", || c4.started() == 2);

    // First crash: only that child is new.
    case.crash(&c1);
    assert_eq!((c1.started(), c2.started(), c3.started()), (2, 1, 1));
    assert_eq!(case.counts(), [3, 2, 3, 0]);

    // Then one whose restart fails: its supervisor gives up, and the whole top level is restarted.
    c1.next(Plan::Fail).next(Plan::Fail);
    case.tell("c1", What::Panic);
    until("all are there again", || (c1.started(), c2.started(), c3.started()) == (3, 2, 2));
    case.counts_are([3, 3, 3, 0]);
    assert_eq!(counts(&below("s1")), [2, 2, 0, 2]);
    assert_eq!(counts(&below("s2")), [1, 1, 0, 1], "what was added while it ran is gone");
    assert_eq!(c4.started(), 2);
    assert_eq!(case.child("s3").state, ChildState::Running, "though it had been stopped");
}

/// Names stay: a new supervisor and a new worker are found by the same ones, whatever ended them.
#[test]
fn otp_simple_global_supervisor() {
    let child = Child::new("worker");
    let nested = Supervisor::new("nested").intensity(Intensity::within(0, hours(1)));
    let case = Case::new(otp(Strategy::OneForOne).child(nested.child(child.spec())));
    case.counts_are([1, 1, 1, 0]);
    let nested = || case.runtime.supervisor("top/sup/nested").unwrap();
    let works = |started: usize| {
        until("the worker is there", || child.started() == started);
        let done = child.done();
        case.tell("worker", What::Nothing);
        until("it works", || child.done() > done);
        assert_eq!(counts(&nested()), [1, 1, 0, 1]);
    };
    works(1);
    // The worker fails, which ends its supervisor; both are there again.
    case.tell("worker", What::Panic);
    works(2);
    assert_eq!(case.child("nested").restarts, 1);
    // It ends of its own accord, with the same effect.
    case.tell("worker", What::Normal);
    works(3);
    assert_eq!(case.child("nested").restarts, 2);
    // The supervisor is stopped, and restarted by hand.
    case.sup.stop("nested").wait().unwrap();
    case.sup.restart("nested").wait().unwrap();
    works(4);
    // And the worker.
    nested().stop("worker").wait().unwrap();
    nested().restart("worker").wait().unwrap();
    works(5);
}

/// A nested supervisor that is killed takes all below it along, and comes back whole.
#[test]
fn otp_killed_supervisor_takes_its_children_along() {
    let (child, other) = (Child::new("worker"), Child::new("other"));
    child.stops_in(None);
    let nested = Supervisor::new("nested").child(child.spec().stop_patiently()).kill_to_stop();
    let case = Case::new(otp(Strategy::OneForAll).child(other.spec()).child(nested));
    case.counts_are([2, 2, 1, 1]);
    let end = case.sup.watch("nested").unwrap();
    case.crash(&other);
    until("it is there again", || child.started() == 2);
    assert_eq!(end.wait(), Some(Reason::Killed));
    case.counts_are([2, 2, 1, 1]);
}
