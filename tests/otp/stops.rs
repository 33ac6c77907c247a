//! How children are stopped: in reverse order, each within its time, then killed.

use cueline::prelude::*;

use crate::support::{Case, Child, Order, Spec, What, otp, until, within};

#[test]
fn otp_sup_stop_infinity() {
    let (worker, below) = (Child::new("worker"), Child::new("below"));
    worker.stops_in(Some(millis(50)));
    below.stops_in(Some(millis(50)));
    let patient = worker.spec().stop_within(millis(10)).stop_patiently();
    let below = below.spec().stop_within(millis(10)).stop_patiently();
    let nested = Supervisor::new("nested").child(below).stop_patiently();
    let case = Case::new(otp(Strategy::OneForOne).child(patient).child(nested));
    case.counts_are([2, 2, 1, 1]);
    let ends = [case.sup.watch("worker").unwrap(), case.sup.watch("nested").unwrap()];
    case.top.stop("sup").wait().unwrap();
    for end in ends {
        assert_eq!(within("it ends", move || end.wait()), Some(Reason::Shutdown));
    }
}

/// Two children, one of which will not stop because of what it was told.
fn will_not(what: What, spec: fn(&Child) -> Spec) {
    let (c1, c2) = (Child::new("c1"), Child::new("c2"));
    let case = Case::new(otp(Strategy::OneForOne).child(c1.spec()).child(spec(&c2)));
    case.counts_are([2, 2, 0, 2]);
    case.tell("c2", what);
    until("it is at it", || c2.begun() == 1);
    let ends = [case.sup.watch("c1").unwrap(), case.sup.watch("c2").unwrap()];
    let top = case.top.clone();
    within("it stops", move || top.stop("sup").wait()).unwrap();
    let ends = ends.map(|end| within("it ends", move || end.wait()).unwrap());
    assert_eq!(ends, [Reason::Shutdown, Reason::Killed]);
    c2.open();
}

#[test]
fn otp_sup_stop_timeout() {
    will_not(What::Hang, |child| child.spec().stop_within(millis(100)));
}

#[test]
fn otp_sup_stop_timeout_of_a_thread() {
    will_not(What::Block, |child| child.spec().stop_within(millis(100)));
}

#[test]
fn otp_sup_stop_brutal_kill() {
    will_not(What::Hang, |child| child.spec().kill_to_stop());
}

#[test]
fn otp_sup_stop_brutal_kill_of_a_thread() {
    will_not(What::Block, |child| child.spec().kill_to_stop());
}

#[test]
fn otp_order_of_children() {
    let order = Order::default();
    let children: Vec<Child> =
        ["c7", "c3", "c10", "c2", "c5"].iter().map(|name| Child::in_order(name, &order)).collect();
    let sup = children.iter().fold(otp(Strategy::RestForOne), |sup, child| sup.child(child.spec()));
    let case = Case::new(sup);
    case.counts_are([5, 5, 0, 5]);
    assert_eq!(order.take(), ["start c7", "start c3", "start c10", "start c2", "start c5"]);
    case.tell("c10", What::Panic);
    until("they run again", || children[4].started() == 2);
    case.counts_are([5, 5, 0, 5]);
    let expected = ["stop c5", "stop c2", "start c10", "start c2", "start c5"];
    assert_eq!(order.take(), expected);
    case.top.stop("sup").wait().unwrap();
    assert_eq!(order.take(), ["stop c5", "stop c2", "stop c10", "stop c3", "stop c7"]);
}
