//! Mediators are killed, blocked and flooded: their workflows go on, and those of others do not notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use cueline::prelude::*;

use crate::world::{Begin, Directory, World, does, obliging, work};

/// Three steps each, the last of which says that it was done.
fn three() -> crate::world::Does {
    does(|begin, steps| async move {
        for step in 0..3 {
            steps.call(work(format!("{} {step}", begin.order))).await?;
        }
        Ok(String::new())
    })
}

fn each_once(world: &World, workflows: u32) {
    world.idle();
    let mut done = world.log.all();
    done.sort_unstable();
    let before = done.len();
    done.dedup();
    assert_eq!((before, done.len()), (workflows as usize * 3, workflows as usize * 3));
    assert!(world.runtime.workflows(|_| true).is_empty());
}

#[test]
fn it_is_stopped_and_started_while_its_workflows_are_under_way() {
    for store in [Store::memory(), Directory::new().store()] {
        let mediator = Mediator::for_domain("domain").shards(2).workflow(three());
        let mediator = mediator.starts_on::<Begin>().kill_to_stop();
        let world = World::with(store, mediator, obliging);
        let tree = world.runtime.supervisor("tests").unwrap();
        for round in 0..20 {
            let orders = (0..20).map(|order| Begin { order: round * 20 + order });
            world.runtime.publish_all(orders).wait().unwrap();
            tree.stop("domain").wait().unwrap();
            tree.restart("domain").wait().unwrap();
        }
        each_once(&world, 400);
        world.stop();
    }
}

#[test]
fn code_that_blocks_its_thread_loses_it_and_goes_on_elsewhere() {
    for store in [Store::memory(), Directory::new().store()] {
        let (gate, blocked) = (crate::support::Gate::default(), Arc::new(AtomicU32::new(0)));
        let (held, times) = (gate.clone(), blocked.clone());
        let blocks = does(move |begin, steps| {
            let (held, times) = (held.clone(), times.clone());
            async move {
                for step in 0..3 {
                    steps.call(work(format!("{} {step}", begin.order))).await?;
                    if begin.order == 7 && step == 1 && times.fetch_add(1, SeqCst) == 0 {
                        held.pass(); // it waits with its thread
                    }
                }
                Ok(String::new())
            }
        });
        let mediator = Mediator::for_domain("domain").timeout(millis(100)).workflow(blocks);
        let world = World::with(store, mediator.starts_on::<Begin>(), obliging);
        world.runtime.publish_all((0..20).map(|order| Begin { order })).wait().unwrap();
        each_once(&world, 20);
        assert!(blocked.load(SeqCst) > 1, "it was done again, elsewhere");
        gate.open();
        world.stop();
    }
}

#[test]
fn more_than_may_be_loaded_take_turns() {
    for store in [Store::memory(), Directory::new().store()] {
        let mediator = Mediator::for_domain("domain").loaded(3).workflow(three());
        let world = World::with(store, mediator.starts_on::<Begin>(), obliging);
        world.runtime.publish_all((0..300).map(|order| Begin { order })).wait().unwrap();
        each_once(&world, 300);
        world.stop();
    }
}

#[test]
fn a_full_processor_makes_workflows_wait_and_loses_nothing() {
    struct Narrow(crate::support::Log<String>);
    impl Processor for Narrow {}
    impl Handle<crate::world::Work> for Narrow {
        async fn handle(&mut self, work: &crate::world::Work, _: &mut Context) -> Outcome<String> {
            tokio::task::yield_now().await;
            self.0.push(work.what.clone());
            Ok(String::new())
        }
    }
    let log = crate::support::Log::default();
    let narrow = processor("narrow", {
        let log = log.clone();
        move || Narrow(log.clone())
    });
    let narrow = narrow.serves::<crate::world::Work>().bound(3);
    let mediator = Mediator::for_domain("domain").workflow(three()).starts_on::<Begin>();
    let tree = crate::support::supervisor().child(narrow).child(mediator);
    let runtime = Runtime::builder("test").supervise(tree).start().unwrap();
    let world = World { runtime, log, failed: crate::support::Log::default() };
    world.runtime.publish_all((0..100).map(|order| Begin { order })).wait().unwrap();
    each_once(&world, 100);
    world.stop();
}

#[test]
fn what_cannot_be_is_said_at_the_start() {
    let start = |mediators: [Mediator<crate::world::Does>; 2]| {
        let [one, other] = mediators;
        let tree = crate::support::supervisor().child(one).child(other);
        Runtime::builder("test").supervise(tree).start().map(drop).unwrap_err().to_string()
    };
    let of = |name: &str| Mediator::for_domain(name).workflow(three());
    let both = start([of("one"), of("other")]);
    assert!(both.contains("two mediators own workflows `does`"), "{both}");
    let twice = start([of("one").workflow(three()), of("other")]);
    assert!(twice.contains("two workflows `does` of version 1"), "{twice}");
    let none = crate::support::supervisor().child(Mediator::for_domain("idle"));
    let none = Runtime::builder("test").supervise(none).start().map(drop).unwrap_err().to_string();
    assert!(none.contains("owns no workflow"), "{none}");
}
