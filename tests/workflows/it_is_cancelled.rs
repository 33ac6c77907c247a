//! R-cancel: whoever waits is told, what was done is made up for, and nothing stops that.

use cueline::WorkflowState;
use cueline::prelude::*;

use crate::world::{Approved, Directory, Does, World, does, obliging, undo, work};

fn waits() -> Does {
    does(|begin, steps| async move {
        steps.call(work("a")).undo_with(undo("a")).await?;
        let waited = steps.wait_for::<Approved>(begin.order).await;
        assert_eq!(waited.as_ref().unwrap_err().named_reason(), Some("cancelled"));
        assert!(steps.is_cancelled());
        let later = steps.call(work("later")).await;
        assert_eq!(later.unwrap_err().named_reason(), Some("cancelled"));
        waited.map(|approved| approved.by)
    })
}

#[test]
fn from_outside() {
    for store in [Store::memory(), Directory::new().store()] {
        let world = World::new(store, waits(), obliging);
        let handle = world.begin(1);
        world.idle();
        handle.cancel().wait().unwrap();
        let error = handle.ended::<String>().wait_at_most(secs(60)).unwrap_err();
        assert_eq!(error.failure().unwrap().chain(), ["the workflow was cancelled"]);
        assert_eq!(world.log.all(), ["a", "undo a Some(\"did a\")"]);
        world.stop();
    }
}

#[test]
fn its_child_is_cancelled_with_it() {
    struct Parent;
    impl Workflow for Parent {
        const NAME: &'static str = "parent";
        type Input = u32;
        type Output = String;
        type Expects = ();
        async fn run(&self, order: u32, steps: Steps) -> Outcome<String> {
            steps.child::<Does>(crate::world::Begin { order }).await
        }
    }
    for store in [Store::memory(), Directory::new().store()] {
        let mediator = Mediator::for_domain("domain").workflow(waits()).workflow(Parent);
        let world = World::with(store, mediator, obliging);
        let parent = world.runtime.start::<Parent>(5).wait().unwrap();
        world.idle();
        assert_eq!(world.runtime.workflows(|state| state == WorkflowState::Running).len(), 2);
        parent.cancel().wait().unwrap();
        parent.ended::<String>().wait_at_most(secs(60)).unwrap_err();
        world.idle();
        assert!(world.runtime.workflows(|_| true).is_empty());
        assert_eq!(world.log.all(), ["a", "undo a Some(\"did a\")"]);
        world.stop();
    }
}

/// Nobody waits for it any more, although its parent goes on.
#[test]
fn a_child_is_cancelled_when_its_time_is_over() {
    struct Impatient;
    impl Workflow for Impatient {
        const NAME: &'static str = "impatient";
        type Input = u32;
        type Output = String;
        type Expects = ();
        async fn run(&self, order: u32, steps: Steps) -> Outcome<String> {
            let child = steps.child::<Does>(crate::world::Begin { order });
            let none = child.or_after(millis(20)).await?;
            assert!(none.is_none());
            steps.call(crate::world::work("goes on")).await
        }
    }
    for store in [Store::memory(), Directory::new().store()] {
        let mediator = Mediator::for_domain("domain").workflow(waits()).workflow(Impatient);
        let world = World::with(store, mediator, obliging);
        let parent = world.runtime.start::<Impatient>(5).wait().unwrap();
        assert_eq!(parent.ended::<String>().wait_at_most(secs(60)).unwrap(), "did goes on");
        world.idle();
        assert!(world.runtime.workflows(|_| true).is_empty());
        let mut done = world.log.all();
        done.sort_unstable();
        assert_eq!(done, ["a", "goes on", "undo a Some(\"did a\")"]);
        world.stop();
    }
}

/// Whatever it waits for: a time, a person, a command that somebody is at.
#[test]
fn whatever_it_waits_for() {
    for store in [Store::memory(), Directory::new().store()] {
        for what in ["sleep", "ask", "call"] {
            let gate = crate::support::Gate::default();
            let held = gate.clone();
            let waits = does(move |_, steps| async move {
                match what {
                    "sleep" => steps.sleep(hours(1)).await.map(|()| String::new()),
                    "ask" => steps.ask_person("what now?").await,
                    _ => steps.call(work("slow")).undo_with(undo("slow")).await,
                }
            });
            let world = World::new(store.clone(), waits, move |what, _| {
                held.pass();
                Ok(what.to_owned())
            });
            let handle = world.begin(1);
            match what {
                "call" => gate.is_reached(),
                _ => world.idle(),
            }
            let ended = handle.ended::<String>();
            handle.cancel().wait().unwrap();
            gate.open();
            let error = ended.wait_at_most(secs(60)).unwrap_err();
            assert_eq!(error.failure().unwrap().named_reason(), Some("cancelled"), "{what}");
            world.idle();
            assert!(
                world.runtime.tasks().is_empty() && world.runtime.workflows(|_| true).is_empty()
            );
            let did = if what == "call" { vec!["slow", "undo slow None"] } else { Vec::new() };
            assert_eq!(world.log.all(), did);
            world.stop();
        }
    }
}
