//! R-restart-from-prefix: from one of its steps on all is done anew, and what was done before is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use cueline::prelude::*;

use crate::support::Gate;
use crate::world::{Approved, Begin, Directory, Does, World, does, obliging, undo, work};

fn stores() -> [Store; 2] {
    [Store::memory(), Directory::new().store()]
}

fn approve(world: &World) {
    world.runtime.publish(Approved { order: 1, by: "ann".into() }).wait().unwrap();
    world.idle();
}

#[test]
fn one_is_done_anew_from_a_step_on() {
    for store in stores() {
        let steps = does(|begin, steps| async move {
            for what in ["a", "b", "c"] {
                steps.call(work(what)).await?;
            }
            Ok(steps.wait_for::<Approved>(begin.order).await?.by)
        });
        let world = World::new(store, steps, obliging);
        let handle = world.begin(1);
        world.idle();
        let error = handle.restart_from(9).wait().unwrap_err();
        assert_eq!(error.kind(), cueline::ErrorKind::NotFound);
        assert!(error.to_string().contains("has begun no step 9"), "{error}");
        handle.restart_from(1).wait().unwrap();
        world.idle();
        assert_eq!(world.log.all(), ["a", "b", "c", "b", "c"]);
        let ended = handle.ended::<String>();
        approve(&world);
        assert_eq!(ended.wait_at_most(secs(60)).unwrap(), "ann");
        world.stop();
    }
}

/// Not even in the same turn; and after a crash it is as it was.
#[test]
fn what_was_begun_before_it_in_the_same_turn_is_not_done_again() {
    let beside = || {
        does(|begin, steps| async move {
            let (a, b) = tokio::join!(steps.call(work("a")), steps.call(work("b")));
            let by = steps.wait_for::<Approved>(begin.order).await?.by;
            Ok(format!("{}, {}, {by}", a?, b?))
        })
    };
    let directory = Directory::new();
    let world = World::new(directory.store(), beside(), obliging);
    let handle = world.begin(1);
    world.idle();
    for _ in 0..2 {
        let history = handle.report().unwrap().history;
        let step =
            |of: &String| of.contains("call").then(|| of.split([' ', ':']).nth(4)?.parse().ok());
        let calls: Vec<u32> = history.iter().filter_map(step).flatten().collect();
        handle.restart_from(calls[1]).wait().unwrap();
        world.idle();
    }
    assert_eq!(world.log.all(), ["a", "b", "b", "b"]);
    let id = handle.id();
    world.stop();
    let world = World::new(directory.store(), beside(), obliging);
    world.idle();
    let handle = world.runtime.workflow(id).unwrap();
    handle.history().unwrap().replay(beside()).unwrap();
    let ended = handle.ended::<String>();
    approve(&world);
    assert_eq!(ended.wait_at_most(secs(60)).unwrap(), "did a, did b, ann");
    assert_eq!(world.log.all(), [""; 0], "nothing is done again");
    world.stop();
}

/// Somebody was impatient: each is obeyed in turn, and what is there then decides.
#[test]
fn orders_that_come_together_are_obeyed_in_turn() {
    let calls = || {
        does(|begin, steps| async move {
            for what in ["a", "b", "c", "d"] {
                steps.call(work(what)).await?;
            }
            Ok(steps.wait_for::<Approved>(begin.order).await?.by)
        })
    };
    for orders in [[1, 1], [1, 3], [3, 1], [0, 2]] {
        let directory = Directory::new();
        let world = World::new(directory.store(), calls(), obliging);
        let handle = world.begin(1);
        world.idle();
        let both = orders.map(|step| handle.restart_from(step));
        assert!(both.into_iter().filter_map(|asked| asked.wait().ok()).count() > 0);
        world.idle();
        let waits = |handle: &cueline::WorkflowHandle| handle.report().unwrap().why;
        assert!(waits(&handle).contains("wait_for"), "{orders:?}: {}", waits(&handle));
        let id = handle.id();
        world.stop();
        let world = World::new(directory.store(), calls(), obliging);
        world.idle();
        let handle = world.runtime.workflow(id).unwrap();
        assert!(waits(&handle).contains("wait_for"), "{orders:?}: {}", waits(&handle));
        let ended = handle.ended::<String>();
        approve(&world);
        assert_eq!(ended.wait_at_most(secs(60)).unwrap(), "ann");
        assert_eq!(world.log.all(), [""; 0], "nothing is done again");
        world.stop();
    }
}

/// It is another step now.
#[test]
fn whoever_still_answers_what_was_done_before_is_too_late() {
    for store in stores() {
        let gate = Gate::default();
        let (held, asked) = (gate.clone(), Arc::new(AtomicU32::new(0)));
        let calls = does(|_, steps| async move {
            let first = steps.call(work("a")).undo_with(undo("a")).await?;
            Ok(first + &steps.call(work("b")).await?)
        });
        let world = World::new(store, calls, move |what, _| {
            held.pass();
            Ok(format!("{what}{} ", asked.fetch_add(1, SeqCst)))
        });
        let handle = world.begin(1);
        gate.is_reached();
        handle.restart_from(0).wait().unwrap();
        let ended = handle.ended::<String>();
        gate.open();
        assert_eq!(ended.wait_at_most(secs(60)).unwrap(), "a1 b2 ", "the answer a0 is nobody's");
        world.stop();
    }
}

struct Parent;
impl Workflow for Parent {
    const NAME: &'static str = "parent";
    type Input = Begin;
    type Output = String;
    type Expects = (Approved,);
    fn key(begin: &Begin) -> Option<Key> {
        Some(begin.order.into())
    }
    async fn run(&self, begin: Begin, steps: Steps) -> Outcome<String> {
        let child = steps.child::<Does>(Begin { order: begin.order + 10 }).await?;
        steps.wait_for::<Approved>(begin.order).await?;
        Ok(child)
    }
}

/// Whether it has ended or not.
#[test]
fn a_child_is_begun_anew() {
    let asks = || {
        does(|begin, steps| async move {
            steps.call(work("a")).await?;
            steps.wait_for::<Approved>(begin.order).await.map(|approved| approved.by)
        })
    };
    for store in stores() {
        let mediator = Mediator::for_domain("domain").workflow(asks()).workflow(Parent);
        let world = World::with(store, mediator, obliging);
        let parent = world.runtime.start::<Parent>(Begin { order: 1 }).wait().unwrap();
        world.idle();
        let say = |by: &str| {
            world.runtime.publish(Approved { order: 11, by: by.into() }).wait().unwrap();
            world.idle();
        };
        let others = || {
            let all = world.runtime.workflows(|_| true).into_iter();
            all.filter(|id| *id != parent.id()).collect::<Vec<_>>()
        };
        let first = others();
        parent.restart_from(0).wait().unwrap();
        world.idle();
        let second = others();
        assert_eq!((first.len(), second.len()), (1, 1), "the first one is cancelled");
        assert_ne!(first, second);
        say("ann");
        assert_eq!(others(), [], "the second one has ended");
        let child = parent.report().unwrap().history[0].clone();
        assert!(child.contains("step 1: child"), "{child}");
        parent.restart_from(1).wait().unwrap();
        world.idle();
        say("bob");
        let ended = parent.ended::<String>();
        approve(&world);
        assert_eq!(ended.wait_at_most(secs(60)).unwrap(), "bob");
        assert_eq!(world.log.all(), ["a", "a", "a"]);
        world.stop();
    }
}

/// One that was cancelled goes on where that had not come yet.
#[test]
fn one_that_makes_up_for_what_it_did_may_go_on_instead() {
    for store in stores() {
        let gate = Gate::default();
        let held = gate.clone();
        let waits = does(|begin, steps| async move {
            steps.call(work("a")).undo_with(undo("a")).await?;
            Ok(steps.wait_for::<Approved>(begin.order).await?.by)
        });
        let world = World::new(store, waits, move |what, _| {
            if what.starts_with("undo") {
                held.pass();
            }
            Ok(what.to_owned())
        });
        let handle = world.begin(1);
        world.idle();
        handle.cancel().wait().unwrap();
        gate.is_reached();
        handle.restart_from(1).wait().unwrap();
        gate.open();
        world.idle();
        let report = handle.report().unwrap();
        assert_eq!(report.state, cueline::WorkflowState::Running, "{}", report.why);
        let ended = handle.ended::<String>();
        approve(&world);
        assert_eq!(ended.wait_at_most(secs(60)).unwrap(), "ann");
        world.stop();
    }
}
