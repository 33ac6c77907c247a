//! Whom a supervisor restarts, and when it gives up.

use cueline::prelude::*;

use crate::support::{Case, Child, Plan, What, otp, until};

fn two(strategy: Strategy) -> (Case, Child, Child) {
    let (c1, c2) = (Child::new("c1"), Child::new("c2"));
    let case = Case::new(otp(strategy).child(c1.spec()).child(c2.spec()));
    case.counts_are([2, 2, 0, 2]);
    (case, c1, c2)
}

#[test]
fn otp_one_for_one() {
    let (case, c1, c2) = two(Strategy::OneForOne);
    case.crash(&c1);
    case.counts_are([2, 2, 0, 2]);
    assert_eq!((c1.started(), c2.started()), (2, 1));
    case.crash(&c2);
    assert_eq!((c1.started(), c2.started()), (2, 2));
    case.counts_are([2, 2, 0, 2]);
    let watching = case.watch();
    case.tell("c1", What::Panic);
    assert_eq!(case.ended(watching), Reason::Shutdown);
    case.counts_are([2, 0, 0, 2]);
    assert_eq!((c1.started(), c2.started()), (2, 2));
}

/// One that fails each of its starts uses the limit up.
fn escalates(strategy: Strategy, fails: fn(&Child, &Child)) {
    let (c1, c2) = (Child::new("c1"), Child::new("c2"));
    let sup = otp(strategy).intensity(Intensity::within(4, hours(1)));
    let case = Case::new(sup.child(c1.spec()).child(c2.spec()));
    case.counts_are([2, 2, 0, 2]);
    let watching = case.watch();
    fails(&c1, &c2);
    let tried = c1.tried() + c2.tried();
    case.tell("c1", What::Panic);
    assert_eq!(case.ended(watching), Reason::Shutdown);
    case.counts_are([2, 0, 0, 2]);
    let failed = c1.tried() + c2.tried() - tried - (c1.started() - 1) - (c2.started() - 1);
    assert_eq!(failed, 4, "the panic is the first of five failures, each start one more");
}

#[test]
fn otp_one_for_one_escalation() {
    escalates(Strategy::OneForOne, |c1, _| {
        c1.always(Plan::Fail);
    });
}

#[test]
fn otp_one_for_all() {
    let (case, c1, c2) = two(Strategy::OneForAll);
    case.crash(&c1);
    case.counts_are([2, 2, 0, 2]);
    assert_eq!((c1.started(), c2.started()), (2, 2));
    case.crash(&c2);
    case.counts_are([2, 2, 0, 2]);
    assert_eq!((c1.started(), c2.started()), (3, 3));
    let watching = case.watch();
    case.tell("c1", What::Panic);
    assert_eq!(case.ended(watching), Reason::Shutdown);
}

#[test]
fn otp_one_for_all_escalation() {
    escalates(Strategy::OneForAll, |_, c2| {
        c2.always(Plan::Fail);
    });
}

/// The one that was restarted already is stopped again before the next attempt.
#[test]
fn otp_one_for_all_other_child_fails_restart() {
    let order = crate::support::Order::default();
    let (c1, c2) = (Child::in_order("c1", &order), Child::in_order("c2", &order));
    let case = Case::new(otp(Strategy::OneForAll).child(c1.spec()).child(c2.spec()));
    case.counts_are([2, 2, 0, 2]);
    order.take();
    c2.next(Plan::Fail);
    case.tell("c1", What::Panic);
    until("both run again", || c2.started() == 2 && case.counts() == [2, 2, 0, 2]);
    assert_eq!(order.take(), ["stop c2", "start c1", "stop c1", "start c1", "start c2"]);
}

#[test]
fn otp_rest_for_one() {
    let (c1, c2, c3) = (Child::new("c1"), Child::new("c2"), Child::new("c3"));
    let sup = otp(Strategy::RestForOne).child(c1.spec()).child(c2.spec()).child(c3.spec());
    let case = Case::new(sup);
    case.counts_are([3, 3, 0, 3]);
    case.crash(&c2);
    case.counts_are([3, 3, 0, 3]);
    assert_eq!((c1.started(), c2.started(), c3.started()), (1, 2, 2));
    case.crash(&c2);
    case.counts_are([3, 3, 0, 3]);
    let watching = case.watch();
    case.tell("c2", What::Panic);
    assert_eq!(case.ended(watching), Reason::Shutdown);
}

#[test]
fn otp_rest_for_one_escalation() {
    escalates(Strategy::RestForOne, |_, c2| {
        c2.always(Plan::Fail);
    });
}

/// Only the one whose start failed is tried again; the one before it was through.
#[test]
fn otp_rest_for_one_other_child_fails_restart() {
    let (case, c1, c2) = two(Strategy::RestForOne);
    c2.next(Plan::Fail);
    case.tell("c1", What::Panic);
    until("both run again", || c2.started() == 2);
    case.counts_are([2, 2, 0, 2]);
    assert_eq!((c1.started(), c1.tried(), c2.tried()), (2, 2, 3));
}

/// With a poison event among good ones, nobody but the event is charged: OTP would give up.
#[test]
fn better_one_for_one_does_not_give_up_because_of_poison() {
    let child = Child::new("c1");
    let sup = otp(Strategy::OneForOne).child(child.spec().count(Count::Consecutive));
    let case = Case::new(sup);
    for round in 1..=6 {
        case.tell("c1", What::Nothing);
        case.tell("c1", What::Panic);
        until("it is done", || child.done() == 2 * round);
    }
    assert_eq!(child.started(), 7);
    assert_eq!(case.child("c1").restarts, 0);
}
