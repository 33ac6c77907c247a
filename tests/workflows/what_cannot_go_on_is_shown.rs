//! R-nondet, row 63: one that cannot go on stops with a name, does nothing more, hurts nobody, and goes on
//! after a fix.

use cueline::WorkflowState;
use cueline::prelude::*;

use crate::world::{Approved, Begin, Directory, Does, World, does, obliging, undo, work};

/// Waits for a person's word, after one step.
fn before() -> Does {
    does(|begin, steps| async move {
        steps.call(work("counter")).undo_with(undo("counter")).await?;
        let by = steps.wait_for::<Approved>(begin.order).await?.by;
        steps.call(work(format!("for {by}"))).await
    })
}

fn left_waiting(directory: &Directory) -> cueline::WorkflowId {
    let world = World::new(directory.store(), before(), obliging);
    let id = world.begin(1).id();
    world.idle();
    world.stop();
    id
}

fn approve(world: &World) {
    world.runtime.publish(Approved { order: 1, by: "ann".into() }).wait().unwrap();
    world.idle();
}

#[test]
fn code_that_does_something_else_is_found_out() {
    let others: [(&str, Does); 4] = [
        (
            "sleeps",
            does(|begin, steps| async move {
                steps.sleep(secs(1)).await?;
                Ok(steps.wait_for::<Approved>(begin.order).await?.by)
            }),
        ),
        (
            "calls another",
            does(|begin, steps| async move {
                steps.call(crate::world::Undo { what: "counter".into(), reply: None }).await?;
                Ok(steps.wait_for::<Approved>(begin.order).await?.by)
            }),
        ),
        (
            "says something else",
            does(|begin, steps| async move {
                steps.call(work("another counter")).await?;
                Ok(steps.wait_for::<Approved>(begin.order).await?.by)
            }),
        ),
        (
            "waits for another key",
            does(|begin, steps| async move {
                steps.call(work("counter")).await?;
                Ok(steps.wait_for::<Approved>(begin.order + 1).await?.by)
            }),
        ),
    ];
    for (what, other) in others {
        let directory = Directory::new();
        let id = left_waiting(&directory);
        let world = World::new(directory.store(), other, obliging);
        approve(&world);
        let handle = world.runtime.workflow(id).unwrap();
        let report = handle.report().unwrap();
        assert_eq!(report.state, WorkflowState::Diverged, "{what}");
        assert!(report.why.contains("where its history has step"), "{what}: {}", report.why);
        assert_eq!(world.works(), 1, "{what}: it does nothing more");
        // Others are unhurt.
        let healthy = world.begin(8);
        world.idle();
        assert_eq!(healthy.report().map(|report| report.state), Some(WorkflowState::Running));
        handle.resume().wait().unwrap();
        world.idle();
        assert_eq!(
            handle.report().unwrap().state,
            WorkflowState::Diverged,
            "{what}: not mended yet"
        );
        world.stop();
        // With its own code again it goes on from where it was.
        let world = World::new(directory.store(), before(), obliging);
        world.idle();
        assert!(world.runtime.workflow(id).unwrap().report().is_none(), "{what}: it has ended");
        assert_eq!(world.log.all().iter().filter(|what| *what == "for ann").count(), 1);
        world.stop();
    }
}

#[test]
fn waiting_for_something_else_is_found_at_once() {
    let waits = does(|_, steps| async move {
        steps.call(work("first")).await?;
        std::future::pending::<()>().await;
        Ok(String::new())
    });
    let world = World::new(Store::memory(), waits, obliging);
    let handle = world.begin(1);
    world.idle();
    let report = handle.report().unwrap();
    assert_eq!(report.state, WorkflowState::ForeignWait);
    assert!(report.why.contains(&handle.id().to_string()), "{}", report.why);
    world.stop();
}

#[test]
fn a_panic_stops_one_and_a_person_has_it_made_up_for() {
    for store in [Store::memory(), Directory::new().store()] {
        let panics = does(|begin, steps| async move {
            steps.call(work("a")).undo_with(undo("a")).await?;
            assert_ne!(begin.order, 1, "the first one panics");
            Ok("fine".into())
        });
        let world = World::new(store, panics, obliging);
        let (bad, good) = (world.begin(1), world.begin(2));
        assert_eq!(good.ended::<String>().wait_at_most(secs(60)).unwrap(), "fine");
        world.idle();
        assert_eq!(bad.report().unwrap().state, WorkflowState::Panicked);
        assert_eq!(world.log.all(), ["a", "a"], "nothing is made up for by itself");
        bad.compensate().wait().unwrap();
        let error = bad.ended::<String>().wait_at_most(secs(60)).unwrap_err();
        assert_eq!(error.failure().unwrap().named_reason(), Some("compensated"));
        assert_eq!(world.log.all(), ["a", "a", "undo a Some(\"did a\")"]);
        world.stop();
    }
}

struct Versioned<const N: u32>;
impl<const N: u32> Workflow for Versioned<N> {
    const NAME: &'static str = "versioned";
    const VERSION: u32 = N;
    type Input = Begin;
    type Output = String;
    type Expects = (Approved,);
    fn key(begin: &Begin) -> Option<Key> {
        Some(begin.order.into())
    }
    async fn run(&self, begin: Begin, steps: Steps) -> Outcome<String> {
        let seldom = Retry::attempts(100).backoff(Backoff::new(millis(100), millis(100)));
        steps.call(work(format!("as version {N}"))).retry(seldom).await?;
        let by = steps.wait_for::<Approved>(begin.order).await?.by;
        steps.call(work(format!("{by} in version {N}"))).await
    }
}

/// R-upgrade, R-compat.
#[test]
fn one_goes_on_with_the_version_that_it_began_with() {
    let directory = Directory::new();
    let world = World::with(
        directory.store(),
        Mediator::for_domain("domain").workflow(Versioned::<1>),
        obliging,
    );
    let id = world.runtime.start::<Versioned<1>>(Begin { order: 1 }).wait().unwrap().id();
    world.idle();
    world.stop();
    // Without its code it waits, visibly.
    let world = World::with(
        directory.store(),
        Mediator::for_domain("domain").workflow(Versioned::<2>),
        obliging,
    );
    let state = || world.runtime.workflow(id).unwrap().report().unwrap().state;
    assert_eq!(state(), WorkflowState::NoCode, "also if nothing has come");
    approve(&world);
    assert_eq!(state(), WorkflowState::NoCode);
    let report = world.runtime.workflow(id).unwrap().report().unwrap();
    assert!(report.why.contains("`versioned` version 1"), "{}", report.why);
    world.stop();
    // With both it goes on, and new ones are of the newer version.
    let both = Mediator::for_domain("domain").workflow(Versioned::<1>).workflow(Versioned::<2>);
    let world = World::with(directory.store(), both, obliging);
    world.idle();
    world.runtime.start::<Versioned<2>>(Begin { order: 2 }).wait().unwrap();
    world.idle();
    assert_eq!(world.log.all(), ["ann in version 1", "as version 2"]);
    world.stop();
}

/// R-upgrade: it waits for a command that is tried again, in both versions.
#[test]
fn one_that_waits_for_a_command_goes_on_in_its_version() {
    let directory = Directory::new();
    let of = Mediator::for_domain;
    let refuses = |_: &str, _: u32| Err(Failure::transient("not now"));
    let calls = |world: &World| !world.failed.all().is_empty();
    let world = World::with(directory.store(), of("domain").workflow(Versioned::<1>), refuses);
    let id = world.runtime.start::<Versioned<1>>(Begin { order: 1 }).wait().unwrap().id();
    while !calls(&world) {
        std::thread::yield_now();
    }
    world.stop();
    let both = of("domain").workflow(Versioned::<1>).workflow(Versioned::<2>);
    let world = World::with(directory.store(), both, obliging);
    let ended = world.runtime.workflow(id).unwrap().ended::<String>();
    approve(&world);
    assert_eq!(ended.wait_at_most(secs(60)).unwrap(), "did ann in version 1");
    assert_eq!(world.log.all(), ["as version 1", "ann in version 1"]);
    world.stop();
}

#[test]
fn a_branch_is_remembered() {
    let old = || {
        does(|begin, steps| async move {
            steps.call(work("first")).await?;
            let by = steps.wait_for::<Approved>(begin.order).await?.by;
            steps.call(work(by)).await
        })
    };
    let new = || {
        does(|begin, steps| async move {
            if steps.version("check first", 1..=2) == 2 {
                steps.call(work("check")).await?;
            }
            steps.call(work("first")).await?;
            let by = steps.wait_for::<Approved>(begin.order).await?.by;
            steps.call(work(by)).await
        })
    };
    let directory = Directory::new();
    let world = World::new(directory.store(), old(), obliging);
    world.begin(1);
    world.idle();
    world.stop();
    let world = World::new(directory.store(), new(), obliging);
    world.begin(1);
    world.idle();
    approve(&world);
    assert_eq!(world.log.all(), ["check", "first", "ann", "ann"]);
    assert!(world.runtime.workflows(|_| true).is_empty());
    world.stop();
}

#[test]
fn a_history_has_a_limit() {
    let endless = does(|_, steps| async move {
        loop {
            steps.call(work("more")).await?;
        }
    });
    let mediator = Mediator::for_domain("domain").history_limit(20, 1 << 20).workflow(endless);
    let world = World::with(Store::memory(), mediator, obliging);
    let handle = world.begin(1);
    world.idle();
    let report = handle.report().unwrap();
    assert_eq!(report.state, WorkflowState::TooLong);
    assert!(report.why.contains("continue_with"), "{}", report.why);
    world.stop();
}

/// R-memory: what comes to it counts, and others go on.
#[test]
fn a_history_has_a_limit_in_bytes() {
    let talks = does(|begin, steps| async move {
        let size = if begin.order == 0 { "100000" } else { "100" };
        for _ in 0..20 {
            steps.call(work(size)).await?;
        }
        Ok("done".into())
    });
    for store in [Store::memory(), Directory::new().store()] {
        let mediator = Mediator::for_domain("domain").history_limit(1_000, 64 << 10);
        let world = World::with(store, mediator.workflow(talks.clone()), |size, _| {
            Ok("x".repeat(size.parse()?))
        });
        let all: Vec<_> = (0..50).map(|order| world.begin(order)).collect();
        world.idle();
        let report = all[0].report().unwrap();
        assert_eq!(report.state, WorkflowState::TooLong);
        assert!(report.why.contains("history_limit"), "{}", report.why);
        assert!(all[1..].iter().all(|handle| handle.report().is_none()), "they have ended");
        assert_eq!(world.works(), 2 + 49 * 20, "it stops when it is over its limit");
        world.stop();
    }
}

/// What it owes does not count against its limit.
#[test]
fn one_that_is_too_long_makes_up_for_all_it_did() {
    let endless = does(|_, steps| async move {
        steps.call(work("a")).undo_with(undo("a")).await?;
        steps.call(work("b")).undo_with(undo("b")).await?;
        loop {
            steps.call(work("more")).await?;
        }
    });
    let mediator = Mediator::for_domain("domain").history_limit(20, 1 << 20).workflow(endless);
    let world = World::with(Store::memory(), mediator, obliging);
    let handle = world.begin(1);
    world.idle();
    assert_eq!(handle.report().unwrap().state, WorkflowState::TooLong);
    let ended = handle.ended::<String>();
    handle.compensate().wait().unwrap();
    ended.wait_at_most(secs(60)).unwrap_err();
    let undone: Vec<String> =
        world.log.all().into_iter().filter(|what| what.starts_with("undo")).collect();
    assert_eq!(undone, ["undo b Some(\"did b\")", "undo a Some(\"did a\")"]);
    world.stop();
}

/// T-signal_prevent_close.
#[test]
fn one_does_not_end_with_an_event_that_it_has_not_taken() {
    let gate = crate::support::Gate::default();
    for store in [Store::memory(), Directory::new().store()] {
        let drains = does(|begin, steps| async move {
            let mut taken = Vec::new();
            loop {
                steps.call(work("round")).await?;
                match steps.received::<Approved>(begin.order)? {
                    Some(approved) => taken.push(approved.by),
                    None => break,
                }
            }
            Ok(taken.join(", "))
        });
        let held = gate.clone();
        let world = World::new(store, drains, move |what, _| {
            held.pass();
            Ok(what.to_owned())
        });
        let mut batch = world.runtime.batch();
        batch.add(Begin { order: 1 }).unwrap();
        batch.add(Approved { order: 1, by: "ann".into() }).unwrap();
        batch.add(Approved { order: 1, by: "bob".into() }).unwrap();
        batch.publish().wait().unwrap();
        gate.open();
        world.idle();
        assert_eq!(world.log.all(), ["round", "round", "round"]);
        world.stop();
    }
}
