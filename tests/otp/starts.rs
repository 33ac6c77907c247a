//! How children start, and what becomes of those that do not.

use cueline::prelude::*;
use cueline::{ChildState, ErrorKind};

use crate::support::{Case, Child, Plan, What, otp, until, within};

#[test]
fn otp_sup_start_normal() {
    let case = Case::new(otp(Strategy::OneForOne));
    assert_eq!(case.counts(), [0, 0, 0, 0]);
    let watching = case.watch();
    case.top.stop("sup").wait().unwrap();
    assert_eq!(case.ended(watching), Reason::Shutdown);
}

#[test]
fn otp_sup_start_ignore_child() {
    let (c1, c2) = (Child::new("c1"), Child::new("c2"));
    let case = Case::new(otp(Strategy::OneForOne));
    c1.next(Plan::Ignore);
    assert!(!case.sup.add(c1.spec()).wait().unwrap(), "it does not run");
    assert!(case.sup.add(c2.spec()).wait().unwrap());
    assert_eq!(case.names(), ["c1", "c2"]);
    assert_eq!(case.child("c1").state, ChildState::Down);
    assert_eq!(case.counts(), [2, 1, 0, 2]);
}

#[test]
fn otp_sup_start_ignore_temporary_child() {
    let (c1, c2) = (Child::new("c1"), Child::new("c2"));
    c1.next(Plan::Ignore);
    let temporary = |child: &Child| child.spec().restart(Restart::Temporary);
    let case = Case::new(otp(Strategy::OneForOne).child(temporary(&c1)).child(temporary(&c2)));
    case.counts_are([1, 1, 0, 1]);
    assert_eq!(case.names(), ["c2"]);
}

#[test]
fn otp_sup_start_ignore_temporary_child_start_child() {
    let (c1, c2) = (Child::new("c1"), Child::new("c2"));
    let case = Case::new(otp(Strategy::OneForOne));
    c1.next(Plan::Ignore);
    assert!(!case.sup.add(c1.spec().restart(Restart::Temporary)).wait().unwrap());
    assert!(case.sup.add(c2.spec().restart(Restart::Temporary)).wait().unwrap());
    assert_eq!(case.names(), ["c2"]);
    assert_eq!(case.counts(), [1, 1, 0, 1]);
}

/// An init that fails, or panics: the start fails with the cause, and nothing of it stays.
#[test]
fn otp_sup_start_error_return() {
    for (plan, cause) in [(Plan::Fail, "it will not start"), (Plan::Panic, "it panics when")] {
        let child = Child::new("c1");
        child.always(plan);
        let strict = otp(Strategy::OneForOne).intensity(Intensity::within(0, secs(1)));
        let runtime =
            Runtime::builder("otp").supervise(strict.child(child.spec())).start().unwrap();
        let begun = runtime.clone();
        let error = within("it gives up", move || pollster::block_on(begun.ready())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::GaveUp);
        assert!(error.to_string().contains("sup/c1") && error.to_string().contains(cause));
        assert_eq!(child.started(), 0);
    }
}

#[test]
fn otp_sup_start_fail() {
    let child = Child::new("c1");
    let strict = otp(Strategy::OneForOne).intensity(Intensity::within(0, secs(1)));
    child.always(Plan::Panic);
    let runtime = Runtime::builder("otp").supervise(strict.child(child.spec())).start().unwrap();
    let run = runtime.clone();
    let error = within("it gives up", move || pollster::block_on(run.run(secs(5)))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::GaveUp);
    assert!(runtime.tree().children.iter().all(|child| child.state == ChildState::Down));
}

/// Where OTP gives up at once, a child that cannot start yet is tried again, more and more patiently.
#[test]
fn better_sup_start_fail_is_tried_again() {
    let child = Child::new("c1");
    child.next(Plan::Panic).next(Plan::Fail).next(Plan::Fail);
    let patient = Supervisor::new("sup").backoff(Backoff::new(millis(1), millis(2)));
    let runtime = Runtime::builder("otp").supervise(patient.child(child.spec())).start().unwrap();
    let begun = runtime.clone();
    within("it starts", move || pollster::block_on(begun.ready())).unwrap();
    assert_eq!((child.tried(), child.started()), (4, 1));
}

#[test]
fn otp_sup_start_child_returns_error() {
    let case = Case::new(otp(Strategy::OneForOne));
    for plan in [Plan::Fail, Plan::Panic] {
        let child = Child::new("c1");
        child.always(plan);
        let error = case.sup.add(child.spec()).wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StartFailed);
        assert!(error.to_string().contains("it "), "{error}");
        assert!(case.names().is_empty());
        assert_eq!(child.tried(), 1);
    }
    // As if it had never been there: its name is free.
    until("its name is free", || case.sup.add(Child::new("c1").spec()).wait().is_ok());
}

#[test]
fn otp_sup_start_restart_child_returns_error() {
    let child = Child::new("c1");
    let case = Case::new(otp(Strategy::OneForOne).child(child.spec()));
    case.counts_are([1, 1, 0, 1]);
    case.sup.stop("c1").wait().unwrap();
    child.next(Plan::Fail);
    let error = case.sup.restart("c1").wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert_eq!(case.child("c1").state, ChildState::Down);
    assert_eq!(case.counts(), [1, 0, 0, 1]);
}

#[test]
fn otp_sup_start_map() {
    let child = || processor("c1", || Child::new("c1").make()).on::<crate::support::Do>();
    let nested = Supervisor::new("nested");
    let case = Case::new(otp(Strategy::OneForOne).child(child()).child(nested));
    let c1 = case.child("c1");
    assert_eq!((c1.restart, c1.stops_within), (Restart::Permanent, Some(secs(5))));
    let nested = case.child("nested");
    assert_eq!((nested.restart, nested.stops_within), (Restart::Permanent, None));
    assert_eq!(case.sup.stop("c2").wait().unwrap_err().kind(), ErrorKind::NotFound);
}

/// Of the faulty specifications of OTP, those without an id or a start are refused by the compiler
/// (`src/supervise/refused.rs`); an id that is none is left.
#[test]
fn otp_sup_start_map_faulty_specs() {
    let case = Case::new(otp(Strategy::OneForOne));
    let nameless = Supervisor::new("");
    assert_eq!(case.sup.add(nameless).wait().unwrap_err().kind(), ErrorKind::Config);
    assert!(case.names().is_empty());
}

#[test]
fn better_to_ignore_means_nothing_but_at_the_start() {
    let c1 = Child::new("c1");
    let case = Case::new(otp(Strategy::OneForOne).child(c1.spec()));
    case.counts_are([1, 1, 0, 1]);
    case.tell("c1", What::Ignore);
    until("it is handled", || c1.done() == 1);
    case.crash(&c1);
    case.counts_are([1, 1, 0, 1]);
}
