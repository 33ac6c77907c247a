use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use cueline::prelude::*;

use crate::support::{Heard, Log, Number, Word, idle, number, publish, with, within, words_to};

/// A supervisor that waits so long before the second restart that nobody lives to see it.
fn patient() -> Supervisor {
    Supervisor::new("tests").backoff(Backoff::new(secs(600), secs(600)))
}

/// Panics on the first `deliveries` of every number from 100 on.
fn breaks(
    deliveries: u32,
    log: &Log<u64>,
) -> cueline::ProcessorSpec<crate::support::With, (cueline::On<Number>, ())> {
    let log = log.clone();
    with("breaks", move |event, cx| {
        log.push(event.value);
        assert!(event.value < 100 || cx.attempt() > deliveries, "on demand");
        Ok(())
    })
}

#[test]
fn with_nothing_to_show_since_the_last_restart_the_next_one_waits() {
    let log = Log::default();
    let (heard, words) = (Heard::default(), Log::default());
    let runtime = Runtime::builder("test")
        .threads(1)
        .observe(heard.clone())
        .supervise(patient().child(breaks(2, &log)).child(words_to(words.clone())))
        .start()
        .unwrap();
    // The first event breaks two instances, and is parked: that is charged once, and the restarts
    // are at once. The second one breaks another, with nothing in between, and the restart waits.
    publish(&runtime, [number(100)]);
    heard.wait_for("Parked");
    publish(&runtime, [number(101)]);
    heard.wait_for("Restarts");
    let heard_of_both = heard.clone();
    within("the second charge", move || while heard_of_both.count("Restarts") < 2 {});
    publish(&runtime, [number(1)]);
    // On the same thread, so that what could go on there has gone on.
    for word in 0..100 {
        publish(&runtime, [Word(word.to_string())]);
    }
    let all = words.clone();
    within("the words", move || while all.all().len() < 100 {});
    assert_eq!(log.all(), [100, 100, 101], "number 1 waits for its processor");
    assert_eq!(heard.count("Restarted"), 2);
    assert_eq!(runtime.processors()[0].waiting, 1);
}

#[test]
fn panics_among_successes_do_not_slow_their_processor() {
    let log = Log::default();
    let heard = Heard::default();
    let runtime = Runtime::builder("test")
        .observe(heard.clone())
        .supervise(patient().child(breaks(1, &log)))
        .start()
        .unwrap();
    for round in 0..5 {
        publish(&runtime, [number(round)]);
        publish(&runtime, [number(100 + round)]);
        idle(&runtime);
    }
    assert_eq!(heard.count("Restarted"), 5);
    assert_eq!(log.all().len(), 15);
}

#[test]
fn whoever_waits_for_rest_does_not_wait_for_an_instance_without_events() {
    let log = Log::default();
    let heard = Heard::default();
    let runtime = Runtime::builder("test")
        .observe(heard.clone())
        .supervise(patient().child(breaks(2, &log).count(Count::Every)))
        .start()
        .unwrap();
    publish(&runtime, [number(100)]);
    heard.wait_for("Parked");
    idle(&runtime); // its instance is rebuilt in ten minutes
    assert_eq!(heard.count("Restarted"), 1);
}

/// Runs, breaks, and then does not start again for some times.
struct Comes(Arc<std::sync::atomic::AtomicUsize>);
impl Processor for Comes {
    async fn started(&mut self, _: &mut Context) -> Outcome {
        match self.0.fetch_add(1, SeqCst) {
            1..=3 => Err(Failure::transient("not yet")),
            _ => Ok(()),
        }
    }
}
impl Handle<Number> for Comes {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        assert!(event.value != 1 || cx.attempt() > 1, "on demand");
        Ok(())
    }
}

#[test]
fn once_it_runs_again_its_supervisor_knows_it_whoever_was_charged() {
    let (heard, tried) = (Heard::default(), Arc::default());
    let comes = processor("comes", move || Comes(Arc::clone(&tried))).on::<Number>();
    let quick = Supervisor::new("tests").backoff(Backoff::none());
    let runtime = Runtime::builder("test")
        .observe(heard.clone())
        .supervise(quick.child(comes))
        .start()
        .unwrap();
    publish(&runtime, (0..3).map(number)); // the first succeeds: the panic is the second one's
    idle(&runtime);
    heard.wait_for("Recovered");
    let child = runtime.tree().children[0].children[0].clone();
    assert_eq!((child.state, child.restarts), (cueline::ChildState::Running, 3));
}

/// Fails to start once, after it published and kept something.
struct StartsLate(Arc<AtomicBool>);
impl Processor for StartsLate {
    async fn started(&mut self, cx: &mut Context) -> Outcome {
        if !self.0.swap(true, SeqCst) {
            cx.publish(Word("too early".into()));
            *cx.state::<u64>("k")? = 1;
            return Err(Failure::transient("not yet"));
        }
        Ok(())
    }
}
impl Handle<Number> for StartsLate {
    async fn handle(&mut self, _: &Number, cx: &mut Context) -> Outcome {
        cx.publish(Word("in time".into()));
        Ok(())
    }
}

#[test]
fn what_a_start_that_failed_published_and_kept_is_dropped() {
    let (words, tried) = (Log::default(), Arc::new(AtomicBool::new(false)));
    let late = processor("late", move || StartsLate(tried.clone())).on::<Number>();
    let quick = Supervisor::new("tests").backoff(Backoff::none());
    let runtime = Runtime::builder("test")
        .supervise(quick.child(late).child(words_to(words.clone())))
        .start()
        .unwrap();
    publish(&runtime, [number(1)]);
    idle(&runtime);
    assert_eq!(words.all(), ["in time"]);
    assert_eq!(runtime.state::<u64>("late", "k"), None);
}

#[test]
fn resubmitted_an_event_that_broke_instances_gets_its_extra_delivery_again() {
    let log = Log::default();
    let quick = Supervisor::new("tests").backoff(Backoff::none());
    let runtime = Runtime::builder("test").supervise(quick.child(breaks(9, &log))).start().unwrap();
    publish(&runtime, [number(100)]);
    idle(&runtime);
    assert_eq!(log.all().len(), 2);
    runtime.resubmit("breaks", runtime.parked()[0].id).unwrap();
    idle(&runtime);
    assert_eq!((log.all().len(), runtime.parked().len()), (4, 1));
}
