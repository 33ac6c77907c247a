//! Sleeping takes as long as it says, also across a restart, and a deadline is over once.

use cueline::prelude::*;

use crate::world::{Approved, Directory, Does, World, does, obliging, work};

fn sleeps(wait: std::time::Duration) -> Does {
    does(move |begin, steps| async move {
        steps.sleep(wait).await?;
        let came = steps.wait_for::<Approved>(begin.order).or_after(millis(5)).await?;
        assert!(came.is_none());
        steps.call(work(format!("{} is awake", begin.order))).await
    })
}

#[test]
fn those_that_sleep_wake_up() {
    for store in [Store::memory(), Directory::new().store()] {
        let world = World::new(store, sleeps(millis(20)), obliging);
        assert_eq!(world.begin(1).ended::<String>().wait().unwrap(), "did 1 is awake");
        world.stop();
    }
}

#[test]
fn also_after_a_restart() {
    let directory = Directory::new();
    let world = World::new(directory.store(), sleeps(millis(1_500)), obliging);
    let ids: Vec<_> = (0..10).map(|order| world.begin(order).id()).collect();
    world.idle();
    world.stop();
    let world = World::new(directory.store(), sleeps(millis(1_500)), obliging);
    let ended = ids.iter().map(|id| world.runtime.workflow(*id).unwrap().ended::<String>());
    for (order, ended) in ended.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(ended.wait().unwrap(), format!("did {order} is awake"));
    }
    world.idle();
    assert_eq!(world.works(), 10);
    world.stop();
}

/// Row: timers that were due while the process was down fire once each, and not all are loaded at a time.
#[test]
fn many_that_are_due_at_once_take_turns() {
    let many: u32 = std::env::var("CUELINE_SLEEPERS").map_or(5_000, |many| many.parse().unwrap());
    let wait = millis(u64::from(many / 10).max(1_000));
    let nap = move || {
        does(move |begin, steps| async move {
            steps.sleep(wait).await?;
            steps.call(work(begin.order.to_string())).await
        })
    };
    let directory = Directory::new();
    let mediator = |nap: Does| {
        Mediator::for_domain("domain").loaded(100).workflow(nap).starts_on::<crate::world::Begin>()
    };
    let world = World::with(directory.store(), mediator(nap()), obliging);
    let orders = (0..many).map(|order| crate::world::Begin { order });
    world.runtime.publish_all(orders).wait().unwrap();
    world.idle();
    world.stop();
    let world = World::with(directory.store(), mediator(nap()), obliging);
    while !world.runtime.workflows(|_| true).is_empty() {
        std::thread::yield_now();
    }
    world.idle();
    let mut done: Vec<u32> = world.log.all().iter().map(|order| order.parse().unwrap()).collect();
    done.sort_unstable();
    done.dedup();
    assert_eq!((done.len(), world.works()), (many as usize, many));
    world.stop();
}
