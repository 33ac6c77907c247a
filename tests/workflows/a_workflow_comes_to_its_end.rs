//! A workflow sends commands, waits for their replies, and comes to an end; in memory and with a log.

use cueline::WorkflowState;
use cueline::prelude::*;

use crate::world::{Begin, Directory, Does, World, does, obliging, work};

fn several() -> Does {
    does(|begin, steps| async move {
        let first = steps.call(work(format!("{} first", begin.order))).await?;
        let (second, third) = tokio::join!(steps.call(work("second")), steps.call(work("third")));
        let last = steps.call(work("last")).await?;
        Ok(format!("{first}, {}, {}, {last}", second?, third?))
    })
}

fn comes_to_its_end(store: Store) {
    let world = World::new(store, several(), obliging);
    let handle = world.begin(7);
    let output: String = handle.ended().wait_at_most(secs(60)).unwrap();
    assert_eq!(output, "did 7 first, did second, did third, did last");
    world.idle();
    assert_eq!(world.works(), 4);
    assert!(handle.report().is_none(), "it is not there any more");
    world.stop();
}

#[test]
fn in_memory() {
    comes_to_its_end(Store::memory());
}

#[test]
fn with_a_log() {
    comes_to_its_end(Directory::new().store());
}

#[test]
fn each_event_begins_one() {
    for store in [Store::memory(), Directory::new().store()] {
        let world = World::new(store, several(), obliging);
        world.runtime.publish_all((0..200).map(|order| Begin { order })).wait().unwrap();
        world.idle();
        assert_eq!(world.works(), 800);
        assert!(world.runtime.workflows(|_| true).is_empty());
        world.stop();
    }
}

#[test]
fn who_looks_sees_what_it_waits_for() {
    let waits = does(|begin, steps| async move {
        steps.call(work("first")).await?;
        steps.show(&begin.order)?;
        let by = steps.wait_for::<crate::world::Approved>(begin.order).await?.by;
        Ok(by)
    });
    let world = World::new(Store::memory(), waits, obliging);
    let handle = world.begin(3);
    world.idle();
    let report = handle.report().unwrap();
    assert_eq!(report.state, WorkflowState::Running);
    assert_eq!(report.why, "it waits for step 1 (wait_for `approved`)");
    assert_eq!(report.waits_for[0].key, Some(Key::from(3)));
    assert_eq!(report.history.len(), 3, "{:?}", report.history);
    assert_eq!(handle.shown::<u32>(), Some(3));
    assert_eq!(world.runtime.workflows(|_| true), [handle.id()]);
    world.stop();
}

#[test]
fn whoever_asks_for_another_output_than_its_own_is_told_so() {
    let world = World::new(Store::memory(), several(), obliging);
    let error = world.begin(1).ended::<u32>().wait().unwrap_err();
    assert_eq!(error.kind(), cueline::ErrorKind::Config);
    assert!(error.to_string().contains("no `u32`: ask for its `Output`"), "{error}");
    world.stop();
}

/// Whoever waits need not wait for ever; it goes on all the same.
#[test]
fn whoever_waits_for_its_end_may_give_up_waiting() {
    let waits = does(|begin, steps| async move {
        Ok(steps.wait_for::<crate::world::Approved>(begin.order).await?.by)
    });
    let world = World::new(Store::memory(), waits, obliging);
    let handle = world.begin(1);
    world.idle();
    let error = handle.ended::<String>().wait_at_most(millis(1)).unwrap_err();
    assert_eq!(error.kind(), cueline::ErrorKind::TimedOut);
    assert!(error.to_string().contains("goes on"), "{error}");
    let ended = handle.ended::<String>();
    let approved = crate::world::Approved { order: 1, by: "ann".into() };
    world.runtime.publish(approved).wait().unwrap();
    assert_eq!(ended.wait_at_most(secs(20)).unwrap(), "ann");
    world.stop();
}
