use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::{
    Gate, Log, Number, idle, keyed, number, one, publish, supervisor, with, within, words_to,
};

fn never(name: &str) -> impl cueline::IntoChild + use<> {
    with(name, |_, _| Err(Failure::permanent("no")))
}

#[test]
fn of_two_that_remove_one_at_once_one_is_refused_and_its_neighbour_loses_nothing() {
    let log = Log::default();
    let seen = log.clone();
    let stays = with("stays", move |event, _| {
        seen.push(event.value);
        Ok(())
    });
    let runtime = Runtime::builder("test")
        .threads(2)
        .supervise(supervisor().child(words_to(Log::default())).child(stays))
        .start()
        .unwrap();
    // They meet by spinning, so that they come as close as two threads can.
    let (turn, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (its_turn, answers, other) = (turn.clone(), answer.clone(), runtime.clone());
    const ROUNDS: usize = 1_000;
    let removes = std::thread::spawn(move || {
        for round in 1..=ROUNDS {
            while its_turn.load(SeqCst) < round {}
            let removed = other.remove("goes").is_ok();
            answers.store(2 * round + usize::from(removed), SeqCst);
        }
    });
    for round in 1..=ROUNDS {
        runtime.add("tests", with("goes", |_, _| Ok(()))).wait().unwrap();
        turn.store(round, SeqCst);
        (0..round * 37 % 128).for_each(|_| std::hint::spin_loop());
        let mine = runtime.remove("goes").is_ok();
        while answer.load(SeqCst) / 2 < round {}
        let its = answer.load(SeqCst) % 2 == 1;
        assert!(mine != its, "round {round}: one of them removed it, and only one");
        publish(&runtime, [number(round as u64)]);
    }
    removes.join().unwrap();
    idle(&runtime);
    assert_eq!(log.all(), (1..=ROUNDS as u64).collect::<Vec<_>>());
    assert_eq!(runtime.topology().iter().map(|topic| topic.unrouted).sum::<u64>(), 0);
}

#[test]
fn removed_while_it_is_added_it_is_gone_or_there_and_nothing_between() {
    let runtime = one(with("stays", |_, _| Ok(())));
    let stop = Arc::new(AtomicBool::new(false));
    let (other, stopped) = (runtime.clone(), stop.clone());
    let remover = std::thread::spawn(move || {
        while !stopped.load(SeqCst) {
            other.remove("goes").ok();
        }
    });
    for round in 0..2_000 {
        runtime.add("tests", with("goes", |_, _| Ok(()))).wait().ok();
        runtime.remove("goes").ok();
        if round % 20 == 19 {
            publish(&runtime, [number(round)]);
            idle(&runtime);
        }
    }
    stop.store(true, SeqCst);
    remover.join().unwrap();
}

#[test]
fn removed_while_it_is_paused_it_still_handles_what_it_has() {
    let log = Log::default();
    let seen = log.clone();
    let runtime = one(with("goes", move |event, _| {
        seen.push(event.value);
        Ok(())
    }));
    runtime.pause("goes").unwrap();
    publish(&runtime, (0..3).map(number));
    runtime.remove("goes").unwrap();
    idle(&runtime);
    assert_eq!(log.all(), [0, 1, 2]);
    let error = runtime.resume("goes").unwrap_err().to_string();
    assert!(error.ends_with("there are none"), "{error}");
    assert!(runtime.shutdown(secs(30)).wait().unwrap().is_empty());
}

#[test]
fn removed_while_it_holds_all_it_may_it_still_tries_what_waits_and_gives_all_back() {
    let runtime = one(with("goes", |_, _| Err(Failure::permanent("no"))).held(3));
    publish(&runtime, (0..10).map(number));
    let full = runtime.clone();
    within("it is full", move || while !full.processors()[0].stopped {});
    runtime.remove("goes").unwrap();
    idle(&runtime);
    assert_eq!(runtime.shutdown(secs(30)).wait().unwrap().len(), 10);
}

#[test]
fn a_parked_event_of_a_removed_processor_stays_parked_whoever_resubmits_it() {
    let runtime = one(with("stays", |_, _| Ok(())));
    for round in 0..60 {
        runtime.add("tests", never("goes")).wait().unwrap();
        publish(&runtime, [number(round)]);
        idle(&runtime);
        let id = runtime.parked()[0].id;
        let other = runtime.clone();
        let resubmits = std::thread::spawn(move || {
            let there = |error: &Error| !error.to_string().contains("no processor");
            while other.resubmit("goes", id).as_ref().err().is_none_or(there) {}
        });
        runtime.remove("goes").unwrap();
        resubmits.join().unwrap();
        idle(&runtime);
    }
}

#[test]
fn what_came_back_from_a_shutdown_can_not_be_discarded_too() {
    let runtime = one(never("picky"));
    publish(&runtime, [number(0)]);
    idle(&runtime);
    let id = runtime.parked()[0].id;
    assert_eq!(runtime.shutdown(secs(30)).wait().unwrap().len(), 1);
    assert!(runtime.discard("picky", id).is_err());
    assert!(runtime.resubmit("picky", id).is_err());
}

#[test]
fn whoever_adds_while_the_runtime_shuts_down_is_refused_at_once() {
    let gate = Gate::default();
    let held = gate.clone();
    let runtime = one(with("stuck", move |_, _| {
        held.pass();
        Ok(())
    }));
    publish(&runtime, [number(1)]);
    gate.is_reached();
    let adders: Vec<_> = (0..4)
        .map(|adder| {
            let adding = runtime.clone();
            std::thread::spawn(move || {
                for number in 0.. {
                    let more = with(&format!("more-{adder}-{number}"), |_: &Number, _| Ok(()));
                    if adding.add("tests", more).wait().is_err() {
                        return;
                    }
                }
            })
        })
        .collect();
    let stopping = runtime.clone();
    let shutdown = std::thread::spawn(move || stopping.shutdown(secs(600)).wait());
    within("the refusals", move || adders.into_iter().for_each(|adder| adder.join().unwrap()));
    gate.open();
    within("the shutdown", move || shutdown.join().unwrap()).unwrap();
    within("ready", move || pollster::block_on(runtime.ready()).unwrap());
}

#[test]
fn a_shutdown_outlives_the_handle_it_came_from() {
    fn end(runtime: Runtime) -> cueline::Shutdown {
        runtime.shutdown(secs(600))
    }
    let (log, gate) = (Log::default(), Gate::default());
    let (seen, held) = (log.clone(), gate.clone());
    let runtime = one(with("slow", move |event, _| {
        held.pass();
        seen.push(event.value);
        Ok(())
    }));
    publish(&runtime, (0..20).map(number));
    let ends = end(runtime);
    gate.open();
    assert!(within("shutdown", move || ends.wait().unwrap()).is_empty());
    assert_eq!(log.all().len(), 20);
}

struct NeverStarts;
impl Processor for NeverStarts {
    async fn started(&mut self, _: &mut Context) -> Outcome {
        std::future::pending::<()>().await;
        Ok(())
    }
}
impl Handle<Number> for NeverStarts {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        Ok(())
    }
}

#[test]
fn whoever_waits_for_a_start_that_never_ends_is_answered_when_the_runtime_stops() {
    let runtime = one(processor("hangs", || NeverStarts).on::<Number>());
    let waits = runtime.clone();
    let waiting = std::thread::spawn(move || pollster::block_on(waits.ready()).unwrap());
    runtime.shutdown(millis(10)).wait().unwrap();
    within("ready", move || waiting.join().unwrap());
}

/// Counts how many values of it are gone.
static GONE: AtomicUsize = AtomicUsize::new(0);
#[derive(Default, Clone, Serialize, Deserialize)]
struct Tells(#[serde(skip)] bool);
impl Drop for Tells {
    fn drop(&mut self) {
        GONE.fetch_add(usize::from(self.0), SeqCst);
    }
}
struct Keeps;
impl Processor for Keeps {
    async fn started(&mut self, cx: &mut Context) -> Outcome {
        cx.state::<Tells>("k")?.0 = true;
        Ok(())
    }
}
impl Handle<Number> for Keeps {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        Ok(())
    }
}

#[test]
fn of_a_removed_processor_nothing_stays_whether_it_had_topics_or_not() {
    let runtime = one(with("stays", |_, _| Ok(())));
    for round in 1..=20 {
        if round % 2 == 0 {
            runtime.add("tests", processor("goes", || Keeps).on::<Number>()).wait().unwrap();
        } else {
            let ticks = processor("goes", || Keeps).every(secs(3_600), || number(1));
            runtime.add("tests", ticks).wait().unwrap();
        }
        pollster::block_on(runtime.ready()).unwrap();
        runtime.remove("goes").unwrap();
        within("its state is gone", move || while GONE.load(SeqCst) < round {});
    }
}

#[test]
fn who_waits_for_rest_hears_of_a_crew_that_ends() {
    let gate = Gate::default();
    let held = gate.clone();
    let crew = with("crew", move |event, _| match event.value {
        0 => Err(Failure::permanent("no")),
        9 => {
            held.pass();
            Ok(())
        }
        _ => Ok(()),
    });
    let runtime = Runtime::builder("test")
        .threads(1)
        .supervise(supervisor().child(crew.instances(2)))
        .start()
        .unwrap();
    publish(&runtime, [keyed(1, 0)]);
    idle(&runtime);
    publish(&runtime, [keyed(2, 9)]);
    gate.is_reached();
    publish(&runtime, [keyed(1, 1), keyed(1, 2)]); // they are going to wait behind the parked one
    runtime.remove("crew").unwrap();
    let (tell, told) = channel();
    let waits = runtime.clone();
    std::thread::spawn(move || {
        let mut rest = Box::pin(waits.idle());
        pollster::block_on(std::future::poll_fn(|task| {
            let rests = rest.as_mut().poll(task);
            tell.send(rests.is_ready()).ok();
            rests
        }));
    });
    assert!(!told.recv().unwrap(), "it waits");
    gate.open();
    assert!(within("rest", move || told.iter().any(|rests| rests)));
}

/// Starts once; whatever is made later does not.
struct StartsOnce(bool, Log<u64>);
impl Processor for StartsOnce {
    async fn started(&mut self, _: &mut Context) -> Outcome {
        if self.0 { Ok(()) } else { Err(Failure::transient("never")) }
    }
}
impl Handle<Number> for StartsOnce {
    async fn handle(&mut self, event: &Number, _: &mut Context) -> Outcome {
        tokio::task::yield_now().await;
        self.1.push(event.value);
        Ok(())
    }
}

#[test]
fn an_instance_that_never_starts_takes_nothing_from_the_others_when_both_are_removed() {
    let (made, log) = (AtomicUsize::new(0), Log::default());
    let seen = log.clone();
    let crew = processor("crew", move || StartsOnce(made.fetch_add(1, SeqCst) == 0, seen.clone()));
    let runtime = Runtime::builder("test")
        .threads(1)
        .supervise(supervisor().child(crew.on::<Number>().instances(2)))
        .start()
        .unwrap();
    runtime.publish_all((0..5_000).map(number)).wait().unwrap();
    let begun = log.clone();
    within("it works", move || while begun.all().is_empty() {});
    runtime.remove("crew").unwrap();
    idle(&runtime);
    assert_eq!(log.all().len(), 5_000);
}
