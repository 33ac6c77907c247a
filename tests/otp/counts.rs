//! Children, counted.

use cueline::prelude::*;

use crate::support::{Case, Child, Plan, What, otp, until};

#[test]
fn otp_count_children() {
    let child = Child::new("c1");
    let made = child.clone();
    let template = processor_with("c1", move |_: &u32| made.make())
        .on::<crate::support::Do>()
        .count(Count::Every)
        .restart(Restart::Temporary);
    let case = Case::new(Pool::new("sup", template).backoff(Backoff::none()));
    let pool = case.runtime.pool::<u32>("top/sup").unwrap();
    assert_eq!(case.counts(), [1, 0, 0, 0]);
    let mut children = Vec::new();
    for thousand in 1..=2 {
        let started: Vec<_> = (0..1_000).map(|number| pool.start(number)).collect();
        children.extend(started.into_iter().map(|asked| asked.wait().unwrap()));
        assert_eq!(case.counts(), [1, thousand * 1_000, 0, thousand * 1_000]);
    }
    let stops: Vec<_> = children.iter().map(|child| pool.stop(child)).collect();
    stops.into_iter().for_each(|asked| asked.wait().unwrap());
    assert_eq!(case.counts(), [1, 0, 0, 0]);
    assert_eq!(child.started(), 2_000);
}

#[test]
fn otp_count_children_supervisor() {
    let pool = Pool::new("sup", Supervisor::new("member"));
    let case = Case::new(pool);
    let pool = case.runtime.pool::<()>("top/sup").unwrap();
    for thousand in 1..=2 {
        let started: Vec<_> = (0..1_000).map(|_| pool.start(())).collect();
        started.into_iter().for_each(|asked| drop(asked.wait().unwrap()));
        assert_eq!(case.counts(), [1, thousand * 1_000, thousand * 1_000, 0]);
    }
}

#[test]
fn otp_count_restarting_children() {
    let children = [Child::new("c1"), Child::new("c2"), Child::new("c3")];
    let unlimited = otp(Strategy::OneForOne).intensity(Intensity::Unlimited);
    let sup = unlimited.backoff(Backoff::new(millis(1), millis(2)));
    let case = Case::new(children.iter().fold(sup, |sup, child| sup.child(child.spec())));
    case.counts_are([3, 3, 0, 3]);
    for child in &children[1..] {
        child.always(Plan::Fail);
    }
    case.tell("c2", What::Panic);
    case.tell("c3", What::Panic);
    case.counts_are([3, 1, 0, 3]);
    for child in &children[1..] {
        child.always(Plan::Run);
    }
    case.counts_are([3, 3, 0, 3]);
    until("they run again", || children[1..].iter().all(|child| child.started() == 2));
}
