//! A general mediator classifies and hands on; each kind has a mediator of its own. And mediators come and go.

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::{Log, idle, quick, supervisor};
use crate::world::{Approved, Begin, Directory, World, does, mediator, obliging, work, worker};

macro_rules! kinds {
    ($($kind:ident, $workflow:ident, $event:literal, $name:literal;)*) => {$(
        #[derive(Serialize, Deserialize)]
        struct $kind { order: u32 }
        cueline::event!($kind, $event, key: |kind| kind.order);

        struct $workflow;
        impl Workflow for $workflow {
            const NAME: &'static str = $name;
            type Input = $kind;
            type Output = ();
            type Expects = ();
            async fn run(&self, it: $kind, steps: Steps) -> Outcome {
                let answer = match $name {
                    "complex" => steps.ask_person(format!("what becomes of {}?", it.order)).await?,
                    _ => $name.to_owned(),
                };
                steps.call(Done { order: it.order, as_what: answer }).await.map(drop)
            }
        }
    )*};
}
kinds!(
    Simple, DoesSimple, "order.simple", "simple";
    Hard, DoesHard, "order.hard", "hard";
    Complex, DoesComplex, "order.complex", "complex";
);

#[derive(Serialize, Deserialize)]
struct Done {
    order: u32,
    as_what: String,
}
cueline::command!(Done, "done" => cueline::Done);

struct Clerk;
impl Processor for Clerk {}
impl Handle<Done> for Clerk {
    async fn handle(&mut self, done: &Done, cx: &mut Context) -> Outcome<cueline::Done> {
        cx.state::<Vec<(u32, String)>>("done")?.push((done.order, done.as_what.clone()));
        Ok(cueline::Done)
    }
}

/// Knows which is which, and does nothing of it.
struct Classify;
impl Workflow for Classify {
    const NAME: &'static str = "classify";
    type Input = Begin;
    type Output = ();
    type Expects = ();
    async fn run(&self, Begin { order }: Begin, steps: Steps) -> Outcome {
        match order % 3 {
            0 => steps.publish(Simple { order }),
            1 => steps.publish(Hard { order }),
            _ => steps.publish(Complex { order }),
        }
    }
}

#[test]
fn simple_hard_complex_and_those_that_wait_for_a_person() {
    for store in [Store::memory(), Directory::new().store()] {
        let general = Mediator::for_domain("general").workflow(Classify).starts_on::<Begin>();
        let of = Mediator::for_domain;
        let tree = supervisor()
            .child(processor("clerk", || Clerk).serves::<Done>())
            .child(general)
            .child(of("simple").workflow(DoesSimple).starts_on::<Simple>())
            .child(of("hard").workflow(DoesHard).starts_on::<Hard>())
            .child(of("complex").workflow(DoesComplex).starts_on::<Complex>());
        let runtime = Runtime::builder("test").store(store).supervise(tree).start().unwrap();
        runtime.publish_all((0..9).map(|order| Begin { order })).wait().unwrap();
        idle(&runtime);
        let tasks = runtime.tasks();
        let questions: Vec<_> = tasks.iter().map(|task| task.question.as_str()).collect();
        assert_eq!(tasks.len(), 3, "{questions:?}");
        for task in &tasks {
            assert_eq!(
                (&*task.name, task.question.starts_with("what becomes of")),
                ("complex", true)
            );
            runtime.answer(task, &"decided").wait().unwrap();
        }
        idle(&runtime);
        let mut done = runtime.state::<Vec<(u32, String)>>("clerk", "done").unwrap();
        done.sort();
        let as_what = |order| ["simple", "hard", "decided"][order as usize % 3].to_owned();
        assert_eq!(done, (0..9).map(|order| (order, as_what(order))).collect::<Vec<_>>());
        assert!(runtime.workflows(|_| true).is_empty());
        runtime.shutdown(secs(20)).wait().unwrap();
    }
}

#[test]
fn one_with_workflows_stays_and_without_them_it_may_go_and_come_back() {
    let waits = || {
        does(|begin, steps| async move {
            steps.wait_for::<crate::world::Approved>(begin.order).await.map(|approved| approved.by)
        })
    };
    for store in [Store::memory(), Directory::new().store()] {
        let world = World::new(store, waits(), obliging);
        world.runtime.publish(Begin { order: 1 }).wait().unwrap();
        world.idle();
        let error = world.runtime.remove("domain").unwrap_err();
        assert_eq!(error.kind(), cueline::ErrorKind::Conflict);
        assert!(error.to_string().contains("1 workflows that have not ended"), "{error}");
        let id = world.runtime.workflows(|_| true)[0];
        world.runtime.workflow(id).unwrap().cancel().wait().unwrap();
        world.idle();
        world.runtime.remove("domain").unwrap();
        while world.runtime.add("tests", mediator(waits())).wait().is_err() {
            std::thread::yield_now(); // it finishes what it has
        }
        world.runtime.publish(Begin { order: 2 }).wait().unwrap();
        world.idle();
        assert_eq!(world.runtime.workflows(|_| true).len(), 1);
        world.stop();
    }
}

/// Its commands lie in the log, and are handled whether it is there or not.
#[test]
fn one_that_is_added_later_hears_what_was_answered_before() {
    let calls = || {
        does(|begin, steps| async move {
            let did = steps.call(work("a")).await?;
            let by = steps.wait_for::<Approved>(begin.order).await?.by;
            Ok(format!("{did} for {by}"))
        })
    };
    for in_same_process in [true, false] {
        let directory = Directory::new();
        let seldom = Retry::attempts(9).backoff(Backoff::new(millis(200), millis(200)));
        let log = Log::default();
        let failed = log.clone();
        let fails = move |_: &str, attempt: u32| {
            failed.push(attempt);
            Err(Failure::transient("not now"))
        };
        let tree =
            supervisor().child(worker(Log::default(), seldom, fails)).child(mediator(calls()));
        let runtime =
            Runtime::builder("test").store(directory.store()).supervise(tree).start().unwrap();
        let id = runtime.start::<crate::world::Does>(Begin { order: 1 }).wait().unwrap().id();
        while log.all().is_empty() {
            std::thread::yield_now();
        }
        runtime.shutdown(secs(20)).wait().unwrap();
        // Somebody handles the command, and its mediator is not there.
        let alone = || {
            let tree = supervisor().child(worker(Log::default(), quick(3), obliging));
            Runtime::builder("test").store(directory.store()).supervise(tree).start().unwrap()
        };
        let mut runtime = alone();
        while runtime.state::<u32>("worker", "works") != Some(1) {
            std::thread::yield_now();
        }
        if !in_same_process {
            runtime.shutdown(secs(20)).wait().unwrap();
            runtime = alone();
        }
        runtime.add("tests", mediator(calls())).wait().unwrap();
        idle(&runtime);
        let ended = runtime.workflow(id).unwrap().ended::<String>();
        runtime.publish(Approved { order: 1, by: "ann".into() }).wait().unwrap();
        assert_eq!(ended.wait_at_most(secs(60)).unwrap(), "did a for ann");
        assert_eq!(runtime.state::<u32>("worker", "works"), Some(1), "it was done once");
        runtime.shutdown(secs(20)).wait().unwrap();
    }
}

/// Whoever waits for the end of one of its workflows hears that there will be none.
#[test]
fn whoever_waits_for_one_that_is_deleted_is_told() {
    let waits =
        does(|begin, steps| async move { Ok(steps.wait_for::<Approved>(begin.order).await?.by) });
    for store in [Store::memory(), Directory::new().store()] {
        let world = World::new(store, waits.clone(), obliging);
        let handle = world.begin(1);
        world.idle();
        let ended = handle.ended::<String>();
        let tree = world.runtime.supervisor("tests").unwrap();
        tree.stop("domain").wait().unwrap();
        tree.delete("domain").wait().unwrap();
        let closed = |error: cueline::Error| error.kind() == cueline::ErrorKind::Closed;
        assert!(closed(ended.wait_at_most(secs(60)).unwrap_err()));
        assert!(closed(handle.ended::<String>().wait_at_most(secs(60)).unwrap_err()));
        assert!(closed(handle.cancel().wait().unwrap_err()));
        world.stop();
    }
}

/// Waits for its child, until somebody says that this is not needed.
struct Impatient;
impl Workflow for Impatient {
    const NAME: &'static str = "impatient";
    type Input = u32;
    type Output = ();
    type Expects = (Approved,);
    async fn run(&self, order: u32, steps: Steps) -> Outcome {
        let child = steps.child::<crate::world::Does>(Begin { order: order + 10 });
        steps.race(child, steps.wait_for::<Approved>(order)).await;
        Ok(())
    }
}

#[test]
fn a_child_is_cancelled_that_is_not_there() {
    let waits = || {
        does(|begin, steps| async move {
            steps.call(work("a")).undo_with(crate::world::undo("a")).await?;
            Ok(steps.wait_for::<Approved>(begin.order).await?.by)
        })
    };
    let parents = || Mediator::for_domain("parents").workflow(Impatient);
    let directory = Directory::new();
    let world = World::new(directory.store(), waits(), obliging);
    world.runtime.add("tests", parents()).wait().unwrap();
    world.runtime.start::<Impatient>(1).wait().unwrap();
    world.idle();
    assert_eq!(world.runtime.workflows(|_| true).len(), 2);
    world.stop();
    let world = World::with(directory.store(), parents(), obliging);
    world.runtime.publish(Approved { order: 1, by: "ann".into() }).wait().unwrap();
    world.idle();
    assert!(world.runtime.workflows(|_| true).is_empty(), "its parent has ended");
    world.runtime.add("tests", mediator(waits())).wait().unwrap();
    world.idle();
    assert!(world.runtime.workflows(|_| true).is_empty(), "and it has been cancelled");
    assert_eq!(world.log.all(), ["undo a Some(\"did a\")"]);
    world.stop();
}
