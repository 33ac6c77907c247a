//! What a workflow can do beside calling: run something once, race, start others, begin anew, ask a person.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use cueline::prelude::*;

use crate::world::{Approved, Begin, Directory, Does, World, does, obliging, work};

#[test]
fn something_is_run_once_and_its_result_kept() {
    let directory = Directory::new();
    let times = Arc::new(AtomicU32::new(0));
    let runs = |times: Arc<AtomicU32>| {
        does(move |begin, steps| {
            let times = times.clone();
            async move {
                let drawn = steps
                    .run("draw", move || async move {
                        tokio::task::yield_now().await;
                        Ok(times.fetch_add(1, SeqCst))
                    })
                    .await?;
                let by = steps.wait_for::<Approved>(begin.order).await?.by;
                Ok(format!("{drawn} by {by}"))
            }
        })
    };
    let world = World::new(directory.store(), runs(times.clone()), obliging);
    let id = world.begin(1).id();
    world.idle();
    world.stop();
    let world = World::new(directory.store(), runs(times.clone()), obliging);
    let ended = world.runtime.workflow(id).unwrap().ended::<String>();
    world.runtime.publish(Approved { order: 1, by: "ann".into() }).wait().unwrap();
    // It was started by hand, and is about nothing: it waits for that very key.
    assert_eq!(ended.wait_at_most(secs(60)).unwrap(), "0 by ann");
    assert_eq!(times.load(SeqCst), 1, "it was not run again");
    world.stop();
}

#[test]
fn the_first_of_two_wins_and_the_other_is_abandoned() {
    let races = does(|begin, steps| async move {
        let slow = steps.wait_for::<Approved>(begin.order);
        match steps.race(steps.call(work("quick")), slow).await {
            Winner::First(did) => did,
            Winner::Second(approved) => Ok(approved?.by),
        }
    });
    for store in [Store::memory(), Directory::new().store()] {
        let world = World::new(store, races.clone(), obliging);
        assert_eq!(world.begin(1).ended::<String>().wait_at_most(secs(60)).unwrap(), "did quick");
        world.stop();
    }
}

struct Parent;
impl Workflow for Parent {
    const NAME: &'static str = "parent";
    type Input = u32;
    type Output = Vec<String>;
    type Expects = ();
    async fn run(&self, children: u32, steps: Steps) -> Outcome<Vec<String>> {
        let all = (0..children).map(|order| steps.child::<Does>(Begin { order }));
        let mut outputs = Vec::new();
        for child in all.collect::<Vec<_>>() {
            outputs.push(child.await.unwrap_or_else(|failure| failure.chain().join(": ")));
        }
        Ok(outputs)
    }
}

#[test]
fn others_are_started_and_their_ends_waited_for() {
    let child = || {
        does(|begin, steps| async move {
            if begin.order == 1 {
                return Err(Failure::permanent("not the first"));
            }
            steps.call(work(begin.order.to_string())).await
        })
    };
    for store in [Store::memory(), Directory::new().store()] {
        // In two domains.
        let others = Mediator::for_domain("others").workflow(Parent);
        let world = World::new(store, child(), obliging);
        world.runtime.add("tests", others).wait().unwrap();
        let parent = world.runtime.start::<Parent>(3).wait().unwrap();
        let outputs: Vec<String> = parent.ended().wait_at_most(secs(60)).unwrap();
        assert_eq!(outputs, ["did 0", "not the first", "did 2"]);
        world.stop();
    }
}

/// T-continue_as_new.
#[test]
fn one_that_goes_on_for_ever_does_not_grow() {
    let counts = || {
        does(|begin, steps| async move {
            steps.call(work(format!("round {}", begin.order))).await?;
            if begin.order < 20 {
                return steps.continue_with::<Does>(Begin { order: begin.order + 1 });
            }
            let taken = steps.received::<Approved>(0)?;
            Ok(taken.map_or("nobody".into(), |approved| approved.by))
        })
    };
    for store in [Store::memory(), Directory::new().store()] {
        let world = World::new(store, counts(), obliging);
        let mut batch = world.runtime.batch();
        batch.add(Begin { order: 0 }).unwrap();
        batch.add(Approved { order: 0, by: "ann".into() }).unwrap();
        batch.publish().wait().unwrap();
        world.idle();
        assert_eq!(world.works(), 21);
        assert!(world.runtime.workflows(|_| true).is_empty());
        world.stop();
    }
}

#[test]
fn a_person_is_asked_and_answers_once() {
    let asks = || {
        does(|begin, steps| async move {
            let question = format!("what about order {}?", begin.order);
            let said = steps.ask_person::<String>(question).or_after(hours(1)).await?;
            Ok(said.unwrap_or_default())
        })
    };
    let directory = Directory::new();
    let world = World::new(directory.store(), asks(), obliging);
    let id = world.begin(9).id();
    world.idle();
    world.stop();
    let world = World::new(directory.store(), asks(), obliging);
    let tasks = world.runtime.tasks();
    assert_eq!((tasks.len(), tasks[0].question.as_str()), (1, "what about order 9?"));
    assert!(tasks[0].left.unwrap() > secs(3_500));
    let ended = world.runtime.workflow(id).unwrap().ended::<String>();
    world.runtime.answer(&tasks[0], &"let it go").wait().unwrap();
    assert_eq!(ended.wait_at_most(secs(60)).unwrap(), "let it go");
    let again = world.runtime.answer(&tasks[0], &"no").wait().unwrap_err();
    assert_eq!(again.kind(), cueline::ErrorKind::NotFound);
    world.stop();
}

/// R-promise, R-idem: the same key starts it once, and the same comes of it.
#[test]
fn one_key_starts_one() {
    struct Keyed;
    impl Workflow for Keyed {
        const NAME: &'static str = "keyed";
        type Input = (u32, String);
        type Output = String;
        type Expects = ();
        fn key((order, _): &Self::Input) -> Option<Key> {
            Some((*order).into())
        }
        async fn run(&self, (_, what): Self::Input, steps: Steps) -> Outcome<String> {
            steps.call(work(what)).await
        }
    }
    let directory = Directory::new();
    for round in 0..2 {
        let mediator = Mediator::for_domain("domain").workflow(Keyed);
        let world = World::with(directory.store(), mediator, obliging);
        let start = |order: u32, what: &str| {
            world.runtime.start::<Keyed>((order, what.to_owned())).wait().unwrap()
        };
        let (one, same, other) = (start(1, "one"), start(1, "again"), start(2, "other"));
        assert_eq!(one.id(), same.id());
        assert_ne!(one.id(), other.id());
        for handle in [&one, &same, &world.runtime.workflow_of::<Keyed>(1).unwrap()] {
            assert_eq!(
                handle.ended::<String>().wait_at_most(secs(60)).unwrap(),
                "did one",
                "in round {round}"
            );
        }
        assert_eq!(other.ended::<String>().wait_at_most(secs(60)).unwrap(), "did other");
        world.idle();
        assert_eq!(world.works(), 2, "in round {round}");
        world.stop();
    }
}

/// R-idem: however many want it at once; and another workflow of that key is another one.
#[test]
fn one_key_starts_one_of_each_kind_at_once() {
    struct Of<const KIND: usize>;
    impl<const KIND: usize> Workflow for Of<KIND> {
        const NAME: &'static str = ["keyed.one", "keyed.other"][KIND];
        type Input = u32;
        type Output = String;
        type Expects = ();
        fn key(order: &u32) -> Option<Key> {
            Some((*order).into())
        }
        async fn run(&self, order: u32, steps: Steps) -> Outcome<String> {
            steps.call(work(format!("{KIND} {order}"))).await
        }
    }
    for store in [Store::memory(), Directory::new().store()] {
        let mediator = Mediator::for_domain("domain").workflow(Of::<0>).workflow(Of::<1>);
        let world = World::with(store, mediator.shards(2), obliging);
        let start = || {
            let one = (0..20).map(|order| world.runtime.start::<Of<0>>(order)).collect::<Vec<_>>();
            let other = world.runtime.start::<Of<1>>(7).wait().unwrap();
            let ids = one.into_iter().map(|asked| asked.wait().unwrap().id());
            ids.chain([other.id()]).collect::<Vec<_>>()
        };
        let ids = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(start));
            threads.map(|thread| thread.join().unwrap())
        });
        assert!(ids.iter().all(|of| *of == ids[0]));
        world.idle();
        assert_eq!(world.works(), 21, "each is done once");
        world.stop();
    }
}

/// It was asked before an earlier process ended, and nobody waits for the answer any more.
#[test]
fn a_question_that_lost_its_race_is_not_asked_again() {
    let asks = || {
        does(|_, steps| async move {
            let late = steps.race(steps.ask_person::<u32>("first?"), steps.sleep(millis(1))).await;
            assert!(matches!(late, Winner::Second(Ok(()))));
            steps.ask_person::<String>("second?").await
        })
    };
    let directory = Directory::new();
    let world = World::new(directory.store(), asks(), obliging);
    world.begin(1);
    let questions = |world: &World| -> Vec<String> {
        world.runtime.tasks().into_iter().map(|task| task.question).collect()
    };
    while questions(&world) != ["second?"] {
        std::thread::yield_now();
    }
    world.idle();
    world.stop();
    let world = World::new(directory.store(), asks(), obliging);
    assert_eq!(questions(&world), ["second?"]);
    world.stop();
}

/// R-flush: what a step did is kept before the next one begins.
#[test]
fn nothing_that_was_run_is_run_again() {
    let runs = crate::support::Log::default();
    let three = || {
        let runs = runs.clone();
        does(move |begin, steps| {
            let runs = runs.clone();
            async move {
                for number in 0..3 {
                    let runs = runs.clone();
                    steps.run("number", move || async move { Ok(runs.push(number)) }).await?;
                }
                Ok(steps.wait_for::<Approved>(begin.order).await?.by)
            }
        })
    };
    let directory = Directory::new();
    let world = World::new(directory.store(), three(), obliging);
    let id = world.begin(1).id();
    world.idle();
    assert_eq!(runs.all(), [0, 1, 2]);
    world.stop();
    let world = World::new(directory.store(), three(), obliging);
    let ended = world.runtime.workflow(id).unwrap().ended::<String>();
    world.runtime.publish(Approved { order: 1, by: "ann".into() }).wait().unwrap();
    assert_eq!(ended.wait_at_most(secs(60)).unwrap(), "ann");
    assert_eq!(runs.all(), [0, 1, 2]);
    world.stop();
}

/// Whoever asks when it is too late hears that as well.
#[test]
fn whoever_waits_for_its_end_hears_that_the_runtime_has_stopped() {
    let waits =
        does(|begin, steps| async move { Ok(steps.wait_for::<Approved>(begin.order).await?.by) });
    for store in [Store::memory(), Directory::new().store()] {
        let world = World::new(store, waits.clone(), obliging);
        let (runtime, handle) = (world.runtime.clone(), world.begin(1));
        let before = handle.ended::<String>();
        world.stop();
        let closed = |error: cueline::Error| error.kind() == cueline::ErrorKind::Closed;
        assert!(closed(before.wait().unwrap_err()));
        assert!(closed(handle.ended::<String>().wait_at_most(secs(60)).unwrap_err()));
        assert!(closed(handle.cancel().wait().unwrap_err()));
        assert!(closed(runtime.start::<Does>(Begin { order: 2 }).wait().err().unwrap()));
    }
}

struct Keyless;
impl Workflow for Keyless {
    const NAME: &'static str = "keyless";
    type Input = u32;
    type Output = ();
    type Expects = ();
    async fn run(&self, _: u32, _: Steps) -> Outcome {
        Ok(())
    }
    fn key(_: &u32) -> Option<Key> {
        panic!("it has no key")
    }
}

/// What panics there is code of the application, and stops nobody else.
#[test]
fn a_child_whose_key_panics_is_a_step_that_fails() {
    let starts = does(|_, steps| async move {
        let failure = steps.child::<Keyless>(1).await.unwrap_err();
        Ok(failure.chain().join(": "))
    });
    let mediator = Mediator::for_domain("domain").workflow(starts).workflow(Keyless);
    let world = World::with(Store::memory(), mediator, obliging);
    let said = world.begin(1).ended::<String>().wait_at_most(secs(60)).unwrap();
    assert!(said.contains("the key of `keyless` panicked: it has no key"), "{said}");
    world.stop();
}

/// A result of what it left behind comes when it has begun anew.
#[test]
fn what_comes_late_from_an_earlier_run_does_not_stop_it() {
    for store in [Store::memory(), Directory::new().store()] {
        let gate = crate::support::Gate::default();
        let held = gate.clone();
        let leaves = does(|begin, steps| async move {
            if begin.order < 100 {
                match steps.race(steps.call(work("slow")), steps.sleep(millis(1))).await {
                    Winner::First(did) => return did,
                    Winner::Second(slept) => slept?,
                }
                return steps.continue_with::<Does>(Begin { order: begin.order + 100 });
            }
            Ok(steps.wait_for::<Approved>(begin.order).await?.by)
        });
        let world = World::new(store, leaves, move |what, _| {
            held.pass();
            obliging(what, 1)
        });
        let handle = world.begin(1);
        while handle.report().is_none_or(|report| report.run == 0) {
            std::thread::yield_now();
        }
        gate.open();
        world.idle();
        let report = handle.report().unwrap();
        assert_eq!(report.state, cueline::WorkflowState::Running, "{}", report.why);
        let ended = handle.ended::<String>();
        world.runtime.publish(Approved { order: 101, by: "ann".into() }).wait().unwrap();
        assert_eq!(ended.wait_at_most(secs(60)).unwrap(), "ann");
        world.stop();
    }
}
