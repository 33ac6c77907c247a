//! R-retry, R-terminal, T-retry_on_error: how often a step is tried, and what the workflow sees of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use cueline::prelude::*;

use crate::support::quick;
use crate::world::{Directory, World, does, obliging, work};

#[derive(serde::Serialize, serde::Deserialize)]
struct Strange;
cueline::command!(Strange, "strange" => u32);
struct Stranger;
impl Processor for Stranger {}
impl Handle<Strange> for Stranger {
    async fn handle(&mut self, _: &Strange, _: &mut Context) -> Outcome<u32> {
        Ok(7)
    }
}

#[test]
fn its_processor_tries_it_again_before_the_workflow_hears_of_it() {
    for store in [Store::memory(), Directory::new().store()] {
        let calls = does(|_, steps| async move { steps.call(work("third time lucky")).await });
        let world = World::new(store, calls, |what, attempt| match attempt {
            3 => Ok(format!("{what}: {attempt} attempts")),
            _ => Err(Failure::transient("not now")),
        });
        let output: String = world.begin(1).ended().wait_at_most(secs(60)).unwrap();
        assert_eq!(output, "third time lucky: 3 attempts");
        world.stop();
    }
}

#[test]
fn what_its_handler_says_for_good_comes_to_the_workflow() {
    let calls = does(|_, steps| async move {
        let failure = steps.call(work("never")).await.unwrap_err();
        assert!(failure.is_permanent());
        // Again it says the same.
        let again = steps.call(work("never")).await.unwrap_err();
        assert_eq!(again.chain(), failure.chain());
        Err(failure)
    });
    let no = |_: &str, _| Err(Failure::permanent("out of the question").reason("policy"));
    let world = World::new(Store::memory(), calls, no);
    let error = world.begin(1).ended::<String>().wait_at_most(secs(60)).unwrap_err();
    let failure = error.failure().unwrap();
    assert_eq!(
        (failure.chain()[0].as_str(), failure.named_reason()),
        ("out of the question", Some("policy"))
    );
    world.stop();
}

#[test]
fn the_workflow_has_it_tried_as_often_as_it_says() {
    for store in [Store::memory(), Directory::new().store()] {
        let times = Arc::new(AtomicU32::new(0));
        let calls = does(|_, steps| async move { steps.call(work("never")).retry(quick(5)).await });
        let tried = times.clone();
        let world = World::new(store, calls, move |_, _| {
            Err(Failure::transient(format!("attempt {}", tried.fetch_add(1, SeqCst) + 1)))
        });
        let error = world.begin(1).ended::<String>().wait_at_most(secs(60)).unwrap_err();
        // Each of the five is delivered three times.
        assert_eq!(times.load(SeqCst), 15);
        assert_eq!(error.failure().unwrap().chain(), ["attempt 15"]);
        world.stop();
    }
}

/// T-backoff_persistent_timer.
#[test]
fn a_long_back_off_survives_a_restart() {
    let directory = Directory::new();
    let patient = Retry::attempts(3).backoff(Backoff::new(millis(1_200), millis(1_200)));
    let calls =
        move || does(move |_, steps| async move { steps.call(work("flaky")).retry(patient).await });
    let world = World::new(directory.store(), calls(), |_, _| Err(Failure::transient("not now")));
    let id = world.begin(1).id();
    world.idle();
    world.stop();
    let world =
        World::new(directory.store(), calls(), |_, attempt| Ok(format!("delivery {attempt}")));
    let handle = world.runtime.workflow(id).unwrap();
    let history = handle.report().unwrap().history.join("\n");
    assert!(history.contains("step 0 failed: not now"), "{history}");
    assert_eq!(handle.ended::<String>().wait_at_most(secs(60)).unwrap(), "delivery 1");
    world.stop();
}

#[test]
fn nobody_to_handle_it_is_an_error_or_is_waited_for() {
    let calls = does(|_, steps| async move {
        let failure = steps.call(Strange).await.unwrap_err();
        assert_eq!(failure.named_reason(), Some("no_handler"));
        steps.call(work("told")).await?;
        let came = steps.call(Strange).wait_for_handler().await?;
        Ok(format!("{}, then {came}", failure.chain()[0]))
    });
    for store in [Store::memory(), Directory::new().store()] {
        let world = World::new(store, calls.clone(), |what, _| Ok(what.to_owned()));
        let handle = world.begin(1);
        while world.works() == 0 {
            std::thread::yield_now();
        }
        let stranger = processor("stranger", || Stranger).serves::<Strange>();
        world.runtime.add("tests", stranger).wait().unwrap();
        let output: String = handle.ended().wait_at_most(secs(60)).unwrap();
        assert!(output.starts_with("nobody handles the command `strange`"), "{output}");
        assert!(output.ends_with("then 7"), "{output}");
        world.stop();
    }
}

/// While it waits for somebody to handle its command, its time runs, it says so, and it can be cancelled.
#[test]
fn whoever_waits_for_a_handler_does_not_wait_for_ever() {
    let calls = does(|_, steps| async move {
        let failure = steps.call(Strange).wait_for_handler().timeout(millis(20)).await.unwrap_err();
        assert_eq!(failure.named_reason(), Some("timed_out"));
        let beside = steps.call(work("beside"));
        tokio::try_join!(beside, async { steps.call(Strange).wait_for_handler().await.map(drop) })?;
        Ok(String::new())
    });
    let directory = Directory::new();
    for store in [Store::memory(), directory.store()] {
        let world = World::new(store, calls.clone(), |what, _| Ok(what.to_owned()));
        let handle = world.begin(1);
        while world.works() == 0 {
            std::thread::yield_now(); // what stands beside it is done all the same
        }
        world.idle();
        let report = handle.report().unwrap();
        let why = "it waits for step 2 (call `strange`), which failed: nobody handles the command `strange`";
        assert!(report.why.starts_with(why), "{}", report.why);
        let ended = handle.ended::<String>();
        handle.cancel().wait().unwrap();
        assert_eq!(
            ended.wait_at_most(secs(60)).unwrap_err().failure().unwrap().named_reason(),
            Some("cancelled")
        );
        world.stop();
    }
}

/// Whoever has given up is not answered: the command is not sent any more.
#[test]
fn whoever_has_waited_long_enough_for_a_handler_sends_nothing() {
    let calls = does(|begin, steps| async move {
        if begin.order == 2 {
            steps.sleep(millis(150)).await?; // as long as whoever looks for a handler looks three times
            return Ok(String::new());
        }
        steps.call(Strange).wait_for_handler().timeout(millis(5)).await.unwrap_err();
        Ok(steps.wait_for::<crate::world::Approved>(begin.order).await?.by)
    });
    for store in [Store::memory(), Directory::new().store()] {
        let world = World::new(store, calls.clone(), |what, _| Ok(what.to_owned()));
        let handle = world.begin(1);
        while !handle.report().unwrap().waits_for.iter().any(|step| step.kind == "wait_for") {
            std::thread::yield_now();
        }
        let stranger = processor("stranger", || Stranger).serves::<Strange>();
        world.runtime.add("tests", stranger).wait().unwrap();
        world.begin(2).ended::<String>().wait_at_most(secs(60)).unwrap();
        world.idle();
        let topology = world.runtime.topology();
        let strange = topology.iter().find(|of| of.topic == "strange").unwrap();
        assert_eq!(strange.published, 0, "nobody waits for it");
        world.stop();
    }
}

/// Also in another process, with another handler.
#[test]
fn whoever_waits_for_a_handler_waits_on_after_a_restart() {
    let calls = does(|_, steps| async move {
        let came = steps.call(Strange).wait_for_handler().await?;
        steps.call(work(format!("{came}"))).await
    });
    let directory = Directory::new();
    let world = World::new(directory.store(), calls.clone(), |what, _| Ok(what.to_owned()));
    let id = world.begin(1).id();
    world.idle();
    world.stop();
    let world = World::new(directory.store(), calls, |what, _| Ok(what.to_owned()));
    let ended = world.runtime.workflow(id).unwrap().ended::<String>();
    let stranger = processor("stranger", || Stranger).serves::<Strange>();
    world.runtime.add("tests", stranger).wait().unwrap();
    assert_eq!(ended.wait_at_most(secs(60)).unwrap(), "7");
    world.stop();
}

/// Row 62: the timeout races the completion, and what was perhaps done is made up for.
#[test]
fn a_timeout_says_that_nobody_knows() {
    let gate = crate::support::Gate::default();
    let calls = does(|_, steps| async move {
        let slow = steps.call(work("slow")).undo_with(crate::world::undo("slow"));
        let failure = slow.timeout(millis(20)).await.unwrap_err();
        assert_eq!(failure.named_reason(), Some("timed_out"));
        Err(failure)
    });
    let held = gate.clone();
    let world = World::new(Store::memory(), calls, move |what, _| {
        if what == "slow" {
            held.pass();
        }
        Ok(what.to_owned())
    });
    let handle = world.begin(1);
    while handle.report().is_some_and(|report| report.state != cueline::WorkflowState::Compensating)
    {
        std::thread::yield_now();
    }
    gate.open();
    handle.ended::<String>().wait_at_most(secs(60)).unwrap_err();
    assert_eq!(world.log.all(), ["slow", "undo slow None"]);
    world.stop();
}

/// However often it may be tried.
#[test]
fn what_is_said_for_good_is_not_tried_again() {
    let calls = does(|_, steps| async move {
        let called = steps.call(work("a")).retry(Retry::attempts(u32::MAX)).await;
        Ok(called.unwrap_err().chain().join(": "))
    });
    let world = World::new(Store::memory(), calls, |_, _| Err(Failure::permanent("never")));
    assert_eq!(world.begin(1).ended::<String>().wait_at_most(secs(60)).unwrap(), "never");
    world.stop();
}

struct Sets;
impl Processor for Sets {}
#[derive(serde::Serialize, serde::Deserialize)]
struct Set(bool);
cueline::command!(Set, "set" => Done);
impl Handle<Set> for Sets {
    async fn handle(&mut self, set: &Set, cx: &mut Context) -> Outcome<Done> {
        *cx.state::<u32>("set")? += 1;
        if set.0 { Ok(Done) } else { Err(Failure::permanent("no")) }
    }
}

/// R-set-then-fail.
#[test]
fn what_a_handler_keeps_before_it_fails_is_not_kept() {
    for store in [Store::memory(), Directory::new().store()] {
        let sets = does(|_, steps| async move {
            steps.call(Set(true)).await?;
            steps.call(Set(false)).await.unwrap_err();
            Ok(String::new())
        });
        let mediator = Mediator::for_domain("domain").workflow(sets);
        let world = World::with(store, mediator, obliging);
        world.runtime.add("tests", processor("sets", || Sets).serves::<Set>()).wait().unwrap();
        world.begin(1).ended::<String>().wait_at_most(secs(60)).unwrap();
        assert_eq!(world.runtime.state::<u32>("sets", "set"), Some(1));
        world.stop();
    }
}
