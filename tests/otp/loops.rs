//! A child that never starts again holds up nobody, and is stopped at once: neither its start that
//! hangs nor a thread that it blocks stands in the way.

use cueline::prelude::*;
use cueline::{ChildState, ErrorKind};

use crate::support::{Case, Child, Plan, Spec, What, otp, until, within};

fn hangs(strategy: Strategy, plan: Plan) {
    let child = Child::new("c1");
    let spec: Spec = child.spec().stop_within(millis(100));
    let sup = otp(strategy).intensity(Intensity::within(8, secs(10)));
    let case = Case::new(sup.child(spec));
    case.counts_are([1, 1, 0, 1]);
    child.always(plan);
    case.tell("c1", What::Panic);
    until("it is being started", || child.tried() == 2);
    // It is answered meanwhile, and says how it stands.
    case.counts_are([1, 0, 0, 1]);
    assert_eq!(case.child("c1").state, ChildState::Restarting);
    let conflict = |error: Error| error.kind() == ErrorKind::Conflict;
    assert!(conflict(case.sup.add(child.spec()).wait().unwrap_err()));
    assert!(conflict(case.sup.restart("c1").wait().unwrap_err()));
    assert!(conflict(case.sup.delete("c1").wait().unwrap_err()));
    let sup = case.sup.clone();
    within("it is stopped", move || sup.stop("c1").wait()).unwrap();
    assert_eq!(case.counts(), [1, 0, 0, 1]);
    assert_eq!(case.child("c1").state, ChildState::Down);
    // Once more, and now its supervisor is stopped.
    child.always(Plan::Run);
    let sup = case.sup.clone();
    within("it starts", move || sup.restart("c1").wait()).unwrap();
    child.always(plan);
    let tried = child.tried();
    case.tell("c1", What::Panic);
    until("it is being started", || child.tried() > tried);
    let top = case.top.clone();
    within("the supervisor stops", move || top.stop("sup").wait()).unwrap();
    child.open();
}

#[test]
fn otp_hanging_restart_loop() {
    hangs(Strategy::OneForOne, Plan::Hang);
}

#[test]
fn otp_hanging_restart_loop_of_a_thread() {
    hangs(Strategy::OneForOne, Plan::Block);
}

#[test]
fn otp_hanging_restart_loop_rest_for_one() {
    hangs(Strategy::RestForOne, Plan::Hang);
}

#[test]
fn otp_hanging_restart_loop_rest_for_one_of_a_thread() {
    hangs(Strategy::RestForOne, Plan::Block);
}

#[test]
fn otp_hanging_restart_loop_simple() {
    for plan in [Plan::Hang, Plan::Block] {
        let child = Child::new("c1");
        let made = child.clone();
        let template = processor_with("c1", move |_: &u32| made.make())
            .on::<crate::support::Do>()
            .count(Count::Every)
            .stop_within(millis(100));
        let pool = Pool::new("sup", template)
            .intensity(Intensity::within(8, secs(10)))
            .backoff(Backoff::none());
        let case = Case::new(pool);
        let pool = case.runtime.pool::<u32>("top/sup").unwrap();
        let member = pool.start(1).wait().unwrap();
        child.always(plan);
        case.tell("c1", What::Panic);
        until("it is being started", || child.tried() == 2);
        case.counts_are([1, 0, 0, 1]);
        let stops = pool.clone();
        within("it is stopped", move || stops.stop(&member).wait()).unwrap();
        assert_eq!(case.counts(), [1, 0, 0, 0]);
        let top = case.top.clone();
        within("the pool stops", move || top.stop("sup").wait()).unwrap();
        child.open();
    }
}

/// While OTP tries again at once, time after time, here every attempt waits longer: a stop in the
/// middle of a wait is obeyed at once.
#[test]
fn better_hanging_restart_loop_is_patient() {
    let child = Child::new("c1");
    let patient = otp(Strategy::OneForOne).backoff(Backoff::new(hours(1), hours(1)));
    let case = Case::new(patient.intensity(Intensity::Unlimited).child(child.spec()));
    case.counts_are([1, 1, 0, 1]);
    child.always(Plan::Fail);
    case.tell("c1", What::Panic);
    until("it waits", || case.child("c1").next_restart.is_some_and(|wait| wait > secs(60)));
    assert_eq!(child.tried(), 2, "at once, and then in an hour");
    let sup = case.sup.clone();
    within("it is stopped", move || sup.stop("c1").wait()).unwrap();
    assert_eq!(case.child("c1").state, ChildState::Down);
}
