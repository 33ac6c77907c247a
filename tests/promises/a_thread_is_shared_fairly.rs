use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::channel;

use cueline::prelude::*;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::support::{
    Heard, Log, Number, With, Word, idle, number, publish, quick, supervisor, with, within,
};

/// How many numbers had been handled when the word came.
struct Waits(Arc<AtomicU64>, Log<u64>);
impl Processor for Waits {}
impl Handle<Word> for Waits {
    async fn handle(&mut self, _: &Word, _: &mut Context) -> Outcome {
        self.1.push(self.0.load(SeqCst));
        Ok(())
    }
}

/// How many numbers a word had to wait for, with so many busy instances on its thread.
fn numbers_before_the_word(instances: usize, batch: usize) -> u64 {
    const NUMBERS: u64 = 50_000;
    let (handled, log) = (Arc::new(AtomicU64::new(0)), Log::default());
    let counts = handled.clone();
    let busy = with("busy", move |_, _| {
        (0..2_000).for_each(|_| std::hint::spin_loop());
        counts.fetch_add(1, SeqCst);
        Ok(())
    });
    let (sees, writes) = (handled.clone(), log.clone());
    let waits = processor("waits", move || Waits(sees.clone(), writes.clone())).on::<Word>();
    let runtime = Runtime::builder("test")
        .threads(1)
        .supervise(supervisor().child(busy.instances(instances)).child(waits))
        .start()
        .unwrap();
    runtime.pause("busy").unwrap();
    for first in (0..NUMBERS).step_by(batch) {
        runtime.publish_all((first..first + batch as u64).map(number)).wait().unwrap();
    }
    runtime.resume("busy").unwrap();
    let began = handled.clone();
    within("it begins", move || while began.load(SeqCst) == 0 {});
    let before = handled.load(SeqCst);
    publish(&runtime, [Word::default()]);
    let told = log.clone();
    within("the word", move || while told.all().is_empty() {});
    log.all()[0] - before
}

#[test]
fn a_busy_processor_lets_others_on_its_thread_have_their_turn() {
    for (instances, batch) in [(1, 50_000), (1, 10), (2, 50_000)] {
        let waited = numbers_before_the_word(instances, batch);
        assert!(waited < 25_000, "{instances} instances, batches of {batch}: waited for {waited}");
    }
}

static LIVE: AtomicI64 = AtomicI64::new(0);

#[derive(Serialize, Deserialize)]
struct Counted;
impl Counted {
    fn new() -> Self {
        LIVE.fetch_add(1, SeqCst);
        Self
    }
}
impl Drop for Counted {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, SeqCst);
    }
}
cueline::event!(Counted, "counted");

struct Stuck(Arc<Mutex<std::sync::mpsc::Receiver<()>>>, std::sync::mpsc::Sender<()>);
impl Processor for Stuck {}
impl Handle<Counted> for Stuck {
    async fn handle(&mut self, _: &Counted, _: &mut Context) -> Outcome {
        self.1.send(()).ok();
        self.0.lock().recv().ok();
        Ok(())
    }
}

/// Its whole thread stands still, and with it the actor that passes batches round.
#[test]
fn a_handler_that_blocks_its_thread_costs_no_more_than_its_bounds() {
    let ((go, wait), (stuck, is_stuck)) = (channel(), channel());
    let wait = Arc::new(Mutex::new(wait));
    let stuck = processor("stuck", move || Stuck(wait.clone(), stuck.clone())).on::<Counted>();
    let heard = Heard::default();
    let runtime = Runtime::builder("test")
        .threads(1)
        .supervise(supervisor().child(stuck.bound(8).when_full(WhenFull::DropOldest)))
        .observe(heard.clone())
        .start()
        .unwrap();
    runtime.publish(Counted::new()).wait().unwrap();
    is_stuck.recv().unwrap();
    for _ in 0..100 {
        runtime.publish_all((0..10_000).map(|_| Counted::new())).wait().unwrap();
    }
    let live = LIVE.load(SeqCst);
    assert!(live < 300_000, "{live} events of 1,000,000 are still there");
    let report = &runtime.processors()[0];
    assert_eq!(report.waiting, 8 + 1, "as many as may wait, and the one in hand");
    assert!(report.oldest.is_some());
    assert!(heard.count("Dropped") > 0);
    drop(go);
    idle(&runtime);
}

/// Handles number 1 once it fails no more and its gate is open.
struct Gated(Arc<Notify>, Log<u64>);
impl Processor for Gated {}
impl Handle<Number> for Gated {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        if event.value == 1 {
            if cx.attempt() == 1 {
                return Err(Failure::transient("once"));
            }
            self.1.push(0);
            self.0.notified().await;
        }
        self.1.push(event.value);
        Ok(())
    }
}

#[test]
fn a_free_instance_gets_the_next_event_also_when_another_was_woken_by_its_timer() {
    for _ in 0..20 {
        let (gate, log) = (Arc::new(Notify::new()), Log::default());
        let (opened, seen) = (gate.clone(), log.clone());
        let crew = processor("crew", move || Gated(opened.clone(), seen.clone())).on::<Number>();
        let runtime = Runtime::builder("test")
            .threads(2)
            .supervise(supervisor().child(crew.instances(2).retry(quick(3))))
            .start()
            .unwrap();
        pollster::block_on(runtime.ready()).unwrap();
        publish(&runtime, [number(1)]);
        let began = log.clone();
        within("the second delivery", move || while began.all().is_empty() {});
        publish(&runtime, [number(2)]);
        let handled = log.clone();
        within("number 2, beside it", move || while handled.all() != [0, 2] {});
        gate.notify_one();
        idle(&runtime);
    }
}

#[test]
fn an_instance_that_cannot_be_rebuilt_does_not_hold_up_the_others() {
    let (built, log) = (Arc::new(AtomicU32::new(0)), Log::default());
    let seen = log.clone();
    let crew = processor("crew", move || {
        assert!(built.fetch_add(1, SeqCst) < 4, "there are no more");
        let seen = seen.clone();
        With(Arc::new(move |event: &Number, cx: &mut Context| {
            assert!(event.value != 0 || cx.attempt() > 1, "on demand");
            seen.push(event.value);
            Ok(())
        }))
    });
    let supervisor = Supervisor::new("tests").backoff(Backoff::new(secs(3_600), secs(3_600)));
    let runtime = Runtime::builder("test")
        .threads(1)
        .supervise(supervisor.child(crew.on::<Number>().instances(4)))
        .start()
        .unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    publish(&runtime, (0..100).map(number));
    idle(&runtime);
    assert_eq!(log.all().len(), 100);
}

#[test]
fn a_retry_without_any_wait_leaves_the_others_their_turn() {
    for instances in [1, 2] {
        let log = Log::default();
        let seen = log.clone();
        let stubborn = with("stubborn", move |event, _| {
            if event.value == 0 {
                return Err(Failure::transient("again"));
            }
            seen.push(event.value);
            Ok(())
        });
        let at_once = Retry::attempts(u32::MAX).backoff(Backoff::none());
        let runtime = Runtime::builder("test")
            .threads(1)
            .supervise(supervisor().child(stubborn.retry(at_once).instances(instances)))
            .start()
            .unwrap();
        publish(&runtime, [number(0)]);
        publish(&runtime, (1..100).map(number));
        within("the others", move || while log.all().len() < 99 {});
    }
}

#[test]
fn a_tick_that_takes_longer_than_its_period_leaves_events_and_shutdown_their_turn() {
    let log = Log::default();
    let seen = log.clone();
    let ticks = with("ticks", move |event, _| {
        seen.push(event.value);
        Ok(())
    });
    let slow = || {
        let began = std::time::Instant::now();
        while began.elapsed() < millis(2) {
            std::hint::spin_loop();
        }
        Word::default()
    };
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(ticks.every(millis(1), slow)))
        .start()
        .unwrap();
    let ticking = runtime.clone();
    within("it ticks", move || {
        while ticking.topology().iter().all(|topic| topic.topic != "word" || topic.published < 3) {}
    });
    publish(&runtime, (0..5).map(number));
    within("the events", move || while log.all().len() < 5 {});
    assert!(within("shutdown", move || runtime.shutdown(secs(600)).wait().unwrap()).is_empty());
}

/// How many slow numbers, each of a millisecond, had been handled when a word was read.
fn slow_numbers_before_the_word() -> u64 {
    let (handled, log) = (Arc::new(AtomicU64::new(0)), Log::default());
    let counts = handled.clone();
    let slow = with("slow", move |_, _| {
        let began = std::time::Instant::now();
        while began.elapsed() < millis(1) {
            std::hint::spin_loop();
        }
        counts.fetch_add(1, SeqCst);
        Ok(())
    });
    let (sees, writes) = (handled.clone(), log.clone());
    let waits = processor("waits", move || Waits(sees.clone(), writes.clone())).on::<Word>();
    let runtime = Runtime::builder("test")
        .threads(1)
        .supervise(supervisor().child(slow).child(waits))
        .start()
        .unwrap();
    runtime.publish_all((0..250).map(number)).wait().unwrap();
    let began = handled.clone();
    within("it begins", move || while began.load(SeqCst) == 0 {});
    publish(&runtime, [Word::default()]);
    let told = log.clone();
    within("the word", move || while told.all().is_empty() {});
    log.all()[0]
}

/// A claim is cut short not only after so many events, but also after so much time.
#[test]
fn slow_handlers_let_others_on_their_thread_have_their_turn_after_few_events() {
    // The tick is another thread's, and this one publishes: on a busy machine either may be late.
    let mut tries = std::iter::repeat_with(slow_numbers_before_the_word).take(40);
    assert!(tries.any(|read| read < 200), "it waits for the whole claim each time");
}
