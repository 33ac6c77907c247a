//! Events that a workflow declares are kept for it from its start until it takes them.

use cueline::prelude::*;

use crate::world::{Approved, Directory, Does, World, does, obliging, work};

fn waits() -> Does {
    does(|begin, steps| async move {
        steps.call(work("first")).await?;
        let approved = steps.wait_for::<Approved>(begin.order).await?;
        steps.call(work(format!("as {} says", approved.by))).await
    })
}

fn approved(order: u32, by: &str) -> Approved {
    Approved { order, by: by.to_owned() }
}

#[test]
fn one_that_comes_later_is_waited_for() {
    for store in [Store::memory(), Directory::new().store()] {
        let world = World::new(store, waits(), obliging);
        let handle = world.begin(3);
        world.runtime.publish(approved(4, "nobody")).wait().unwrap();
        world.idle();
        assert!(handle.report().is_some());
        let id = handle.id();
        // It is about what began it, or about its key; this one was started by hand and has none.
        world.runtime.publish(approved(3, "ann")).wait().unwrap();
        assert_eq!(
            handle.ended::<String>().wait_at_most(secs(60)).unwrap(),
            "did as ann says",
            "{id}"
        );
        world.stop();
    }
}

#[test]
fn one_that_comes_early_is_kept() {
    for store in [Store::memory(), Directory::new().store()] {
        let world = World::new(store, waits(), obliging);
        let mut batch = world.runtime.batch();
        batch.add(crate::world::Begin { order: 5 }).unwrap();
        batch.add(approved(5, "bob")).unwrap();
        batch.publish().wait().unwrap();
        world.idle();
        assert_eq!(world.log.all(), ["first", "as bob says"]);
        world.stop();
    }
}

/// Events that are about it, and that it does not declare, are not told to it; least of all its own.
#[test]
fn what_it_does_not_expect_is_none_of_its_business() {
    for store in [Store::memory(), Directory::new().store()] {
        let world = World::new(store, waits(), obliging);
        for _ in 0..2 {
            world.runtime.publish(crate::world::Begin { order: 9 }).wait().unwrap();
            world.idle();
        }
        let all = world.runtime.workflows(|_| true);
        assert_eq!(all.len(), 2);
        for id in all {
            let report = world.runtime.workflow(id).unwrap().report().unwrap();
            assert_eq!(report.history.len(), 3, "{:?}", report.history);
        }
        world.stop();
    }
}

#[test]
fn it_cannot_wait_for_what_it_does_not_declare() {
    let asks = does(|begin, steps| async move {
        let failure = steps.received::<crate::world::Begin>(begin.order).err().unwrap();
        assert_eq!(failure.named_reason(), Some("not_expected"));
        steps.wait_for::<crate::world::Begin>(begin.order).await?;
        Ok(String::new())
    });
    let world = World::new(Store::memory(), asks, obliging);
    let error = world.begin(1).ended::<String>().wait_at_most(secs(60)).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("`begin`") && said.contains("type Expects"), "{said}");
    world.stop();
}

/// It begins anew after each of them, and they come all the time.
#[test]
fn what_comes_while_it_begins_anew_is_not_lost() {
    const MANY: u32 = 300;
    let counts = does(|begin, steps| async move {
        let (key, count) = (begin.order % 10, begin.order / 10);
        if count == MANY {
            return Ok("all".to_owned());
        }
        steps.wait_for::<Approved>(key).await?;
        steps.continue_with::<Does>(crate::world::Begin { order: begin.order + 10 })
    });
    for store in [Store::memory(), Directory::new().store()] {
        let world = World::new(store, counts.clone(), obliging);
        world.runtime.publish(crate::world::Begin { order: 3 }).wait().unwrap();
        world.idle();
        let id = world.runtime.workflows(|_| true)[0];
        let ended = world.runtime.workflow(id).unwrap().ended::<String>();
        for number in 0..MANY {
            world.runtime.publish(approved(3, &number.to_string())).wait().unwrap();
        }
        world.idle();
        let left = world.runtime.workflow(id).unwrap().report();
        assert!(left.is_none(), "it has had them all: {left:?}");
        assert_eq!(ended.wait_at_most(secs(60)).unwrap(), "all");
        world.stop();
    }
}

/// Waits that are over are over: an event is told once.
#[test]
fn who_waited_for_it_before_is_told_once() {
    let waits = does(|_, steps| async move {
        for _ in 0..3 {
            let none = steps.wait_for::<Approved>(99).or_after(millis(1)).await?;
            assert!(none.is_none());
        }
        let first = steps.wait_for::<Approved>(99).await?.by;
        Ok(first + &steps.wait_for::<Approved>(99).await?.by)
    });
    for store in [Store::memory(), Directory::new().store()] {
        let world = World::new(store, waits.clone(), obliging);
        let both = [1, 2].map(|order| world.begin(order));
        let waits_in_earnest = |handle: &cueline::WorkflowHandle| {
            handle.report().unwrap().waits_for.iter().any(|step| step.step == 3)
        };
        while !both.iter().all(waits_in_earnest) {
            std::thread::yield_now();
        }
        world.runtime.publish(approved(99, "a")).wait().unwrap();
        world.idle();
        let ended = both.each_ref().map(cueline::WorkflowHandle::ended::<String>);
        world.runtime.publish(approved(99, "b")).wait().unwrap();
        for ended in ended {
            assert_eq!(ended.wait_at_most(secs(60)).unwrap(), "ab");
        }
        world.stop();
    }
}
