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
        assert_eq!(
            world.begin(1).ended::<String>().wait_at_most(secs(60)).unwrap(),
            "did 1 is awake"
        );
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
        assert_eq!(ended.wait_at_most(secs(60)).unwrap(), format!("did {order} is awake"));
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

const MOST: u32 = 300;

/// Half an hour, and a second more for each.
fn half_an_hour() -> Does {
    does(|begin, steps| async move {
        let wait = secs(1800) + secs(u64::from(begin.order));
        if begin.order % 5 == 0 {
            let came = steps.wait_for::<Approved>(begin.order).or_after(wait).await?;
            assert!(came.is_none());
        } else {
            steps.sleep(wait).await?;
        }
        steps.call(work(format!("{:04}", begin.order))).await
    })
}

/// What a process does whose clock says that it is so late.
fn at(clock: &str, directory: &Directory) {
    let test = "timers_fire_once::in_order_whatever_the_clock_says";
    let ran = std::process::Command::new("faketime")
        .args(["-f", clock])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("CUELINE_CLOCK_CHILD", directory.path())
        .env("CUELINE_CLOCK", clock)
        .output()
        .expect("`./test` installs faketime");
    let [out, error] = [&ran.stdout, &ran.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(ran.status.success(), "{clock}: {out}{error}");
}

/// The wall clock jumps back an hour, and forward: none is lost, none comes twice, and those that were due
/// meanwhile come in their order.
#[test]
fn in_order_whatever_the_clock_says() {
    let Some(path) = std::env::var_os("CUELINE_CLOCK_CHILD") else {
        let directory = Directory::new();
        for clock in ["+0", "-1h", "+1h", "-1h", "+0"] {
            at(clock, &directory);
        }
        return;
    };
    let store: Store = Store::directory(&path).into();
    let mediator = crate::world::mediator(half_an_hour());
    let world = World::with(store, mediator, obliging);
    let clock = std::env::var("CUELINE_CLOCK").unwrap();
    let waiting = || world.runtime.workflows(|_| true).len() as u32;
    match (clock.as_str(), waiting(), world.works()) {
        ("+0", 0, 0) => {
            (0..MOST).rev().for_each(|order| drop(world.begin(order)));
            world.idle();
            assert_eq!((waiting(), world.works()), (MOST, 0));
        }
        ("-1h", MOST, 0) => {
            world.idle();
            assert_eq!((waiting(), world.works()), (MOST, 0));
        }
        ("+1h", MOST, 0) => {
            while waiting() > 0 {
                std::thread::yield_now();
            }
            world.idle();
            assert_eq!(world.works(), MOST);
            let done = world.log.all();
            assert!(done.is_sorted(), "{done:?}");
        }
        // Once and for all.
        (_, 0, MOST) => {
            world.idle();
            assert_eq!(world.works(), MOST);
        }
        (clock, waiting, works) => panic!("{clock}: {waiting} wait, {works} are done"),
    }
    world.stop();
}
