//! Dynamic pools: OTP's `simple_one_for_one`.

use std::time::Instant;

use cueline::prelude::*;
use cueline::{ErrorKind, PoolChild, PoolHandle};

use crate::support::{Case, Child, Plan, Spec, What, until, within};

/// A pool of children like this one, whose argument is what they stop within.
fn pool_of(child: &Child, change: impl Fn(Spec) -> Spec) -> (Case, PoolHandle<u32>) {
    let made = child.clone();
    let template = processor_with("c1", move |_: &u32| made.make())
        .on_if(|event: &crate::support::Do| event.to == "c1")
        .count(Count::Every)
        .retry(Retry::attempts(2).backoff(Backoff::none()))
        .stop_within(secs(1));
    let pool = Pool::new("sup", change(template))
        .intensity(Intensity::within(2, hours(1)))
        .backoff(Backoff::none());
    let case = Case::new(pool);
    let pool = case.runtime.pool("top/sup").unwrap();
    (case, pool)
}

fn two(pool: &PoolHandle<u32>) -> [PoolChild; 2] {
    [pool.start(1).wait().unwrap(), pool.start(2).wait().unwrap()]
}

#[test]
fn otp_sup_start_ignore_child_start_child_simple() {
    for restart in [Restart::Temporary, Restart::Permanent] {
        let child = Child::new("c1");
        let (case, pool) = pool_of(&child, |spec| spec.restart(restart));
        child.next(Plan::Ignore);
        assert_eq!(pool.start(1).wait().unwrap_err().kind(), ErrorKind::Ignored);
        pool.start(2).wait().unwrap();
        assert_eq!(case.names().len(), 1);
        assert_eq!(case.counts(), [1, 1, 0, 1]);
        case.top.stop("sup").wait().unwrap();
    }
}

#[test]
fn otp_sup_start_child_returns_error_simple() {
    let child = Child::new("c1");
    let (case, pool) = pool_of(&child, |spec| spec);
    child.next(Plan::Fail);
    assert_eq!(pool.start(1).wait().unwrap_err().kind(), ErrorKind::StartFailed);
    assert!(case.names().is_empty());
    assert_eq!(case.counts(), [1, 0, 0, 0]);
}

#[test]
fn otp_sup_start_map_simple() {
    let child = Child::new("c1");
    let (case, pool) = pool_of(&child, |spec| spec.restart(Restart::Transient));
    (1..=3).for_each(|number| drop(pool.start(number).wait().unwrap()));
    let all = pool.children().unwrap();
    assert_eq!(all.len(), 3);
    for report in &all {
        assert_eq!(report.restart, Restart::Transient);
        assert_eq!(report.stops_within, Some(secs(1)));
    }
    drop(case);
}

#[test]
fn otp_child_adm_simple() {
    let child = Child::new("c1");
    let (case, pool) = pool_of(&child, |spec| spec);
    assert!(case.names().is_empty());
    assert_eq!(case.counts(), [1, 0, 0, 0]);
    let [first, second] = two(&pool);
    assert_eq!(case.counts(), [1, 2, 0, 2]);
    // By a name nothing is allowed; restart and delete cannot even be said of a pool's child.
    for error in [
        case.sup.stop("c1").wait().unwrap_err(),
        case.sup.restart("c1").wait().unwrap_err(),
        case.sup.delete("c1").wait().unwrap_err(),
        case.sup.add(child.spec()).wait().unwrap_err(),
    ] {
        assert!(
            error.kind() == ErrorKind::Conflict && error.to_string().contains("pool"),
            "{error}"
        );
    }
    let end = pool.watch(&first).unwrap();
    pool.stop(&first).wait().unwrap();
    assert_eq!(within("it ends", move || end.wait()), Some(Reason::Shutdown));
    assert_eq!(case.counts(), [1, 1, 0, 1]);
    pool.stop(&first).wait().unwrap(); // it has ended already, which is what was wanted
    assert_eq!(pool.watch(&first).unwrap_err().kind(), ErrorKind::NotFound);
    // Another pool's child is not to be found, and unharmed.
    let elsewhere = Pool::new(
        "other",
        processor_with("c2", |_: &u32| Child::new("c2").make()).on::<crate::support::Do>(),
    );
    case.top.add(elsewhere).wait().unwrap();
    let other = case.runtime.pool::<u32>("top/other").unwrap();
    assert_eq!(other.stop(&second).wait().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(case.counts(), [1, 1, 0, 1]);
    // And an argument of another type is none.
    assert_eq!(case.runtime.pool::<String>("top/sup").err().unwrap().kind(), ErrorKind::Config);
}

#[test]
fn otp_simple_one_for_one() {
    let child = Child::new("c1");
    let (case, pool) = pool_of(&child, |spec| spec);
    two(&pool);
    case.crash(&child);
    case.counts_are([1, 2, 0, 2]);
    assert_eq!(child.started(), 3, "the other one is untouched");
    case.crash(&child);
    case.counts_are([1, 2, 0, 2]);
    let watching = case.watch();
    case.tell("c1", What::Panic);
    assert_eq!(case.ended(watching), Reason::Shutdown);
    assert_eq!(case.counts(), [1, 0, 0, 0]);
}

/// The argument is the same after a restart.
#[test]
fn otp_simple_one_for_one_extra() {
    let seen = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let (child, log) = (Child::new("c1"), seen.clone());
    let made = child.clone();
    let template = processor_with("c1", move |argument: &u32| {
        log.lock().push(*argument);
        made.make()
    });
    let template = template.on::<crate::support::Do>().count(Count::Every);
    let pool = Pool::new("sup", template).backoff(Backoff::none());
    let case = Case::new(pool);
    case.runtime.pool::<u32>("top/sup").unwrap().start(7).wait().unwrap();
    case.crash(&child);
    assert_eq!(*seen.lock(), [7, 7]);
}

#[test]
fn otp_simple_one_for_one_escalation() {
    let child = Child::new("c1");
    let (case, pool) = pool_of(&child, |spec| spec);
    two(&pool);
    let watching = case.watch();
    child.always(Plan::Fail);
    case.tell("c1", What::Panic);
    assert_eq!(case.ended(watching), Reason::Shutdown);
    assert_eq!(case.counts(), [1, 0, 0, 0]);
    assert_eq!(child.tried(), 4, "two that ran, and two restarts that failed");
}

/// They stop all at the same time, and one that takes too long is killed.
#[test]
fn otp_simple_one_for_one_shutdown() {
    let (quick, slow) = (Child::new("c1"), Child::new("c1"));
    quick.stops_in(Some(millis(300)));
    slow.stops_in(None);
    let makes = (quick.clone(), slow.clone());
    let template = processor_with(
        "c1",
        move |slow: &bool| {
            if *slow { makes.1.make() } else { makes.0.make() }
        },
    );
    let template = template.on::<crate::support::Do>().stop_within(millis(600));
    let case = Case::new(Pool::new("sup", template));
    let pool = case.runtime.pool::<bool>("top/sup").unwrap();
    let mut ends = Vec::new();
    for slow in [false, false, true] {
        let child = pool.start(slow).wait().unwrap();
        ends.push(pool.watch(&child).unwrap());
    }
    let (top, began) = (case.top.clone(), Instant::now());
    within("it stops", move || top.stop("sup").wait()).unwrap();
    assert!(began.elapsed() >= millis(600), "the slow one has its time");
    let ends = ends.into_iter().map(|end| within("it ends", move || end.wait()).unwrap());
    let expected = [Reason::Shutdown, Reason::Shutdown, Reason::Killed];
    assert_eq!(ends.collect::<Vec<_>>(), expected);
}

#[test]
fn otp_transient_normal_simple() {
    let child = Child::new("c1");
    let (case, pool) = pool_of(&child, |spec| spec.restart(Restart::Transient));
    two(&pool);
    case.tell("c1", What::Normal);
    case.counts_are([1, 1, 0, 1]);
}

/// A child of a pool of the same name, of another runtime.
#[test]
fn otp_foreign_child_simple() {
    let child = Child::new("c1");
    let (case, pool) = pool_of(&child, |spec| spec);
    let (other, other_pool) = pool_of(&child, |spec| spec);
    let [mine, _] = two(&pool);
    two(&other_pool);
    assert_eq!(other_pool.stop(&mine).wait().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!((case.counts(), other.counts()), ([1, 2, 0, 2], [1, 2, 0, 2]));
}

/// Events that come while the pool is empty wait for its first child.
#[test]
fn better_simple_one_for_one_loses_nothing_while_it_is_empty() {
    let child = Child::new("c1");
    let (case, pool) = pool_of(&child, |spec| spec);
    (0..100).for_each(|_| case.tell("c1", What::Nothing));
    let members = two(&pool);
    until("all is done", || child.done() == 100);
    members.iter().for_each(|member| pool.stop(member).wait().unwrap());
    (0..100).for_each(|_| case.tell("c1", What::Nothing));
    pool.start(3).wait().unwrap();
    until("all is done", || child.done() == 200);
}
