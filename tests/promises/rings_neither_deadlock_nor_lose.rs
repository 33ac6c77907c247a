use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use cueline::Unsettled;
use cueline::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::{Heard, quick, supervisor, within};

#[derive(Serialize, Deserialize)]
struct Tick(u64);
cueline::event!(Tick, "tick");
#[derive(Serialize, Deserialize)]
struct Tock(u64);
cueline::event!(Tock, "tock");

/// Answers each event with so many others, until enough were handled.
struct Answer {
    amplification: u64,
    handled: Arc<AtomicU64>,
}
const ENOUGH: u64 = 100_000;
impl Processor for Answer {}
impl Handle<Tick> for Answer {
    async fn handle(&mut self, event: &Tick, cx: &mut Context) -> Outcome {
        if self.handled.load(SeqCst) < ENOUGH {
            (0..self.amplification).for_each(|_| cx.publish(Tock(event.0 + 1)));
        }
        self.handled.fetch_add(1, SeqCst);
        Ok(())
    }
}
impl Handle<Tock> for Answer {
    async fn handle(&mut self, event: &Tock, cx: &mut Context) -> Outcome {
        if self.handled.load(SeqCst) < ENOUGH {
            (0..self.amplification).for_each(|_| cx.publish(Tick(event.0 + 1)));
        }
        self.handled.fetch_add(1, SeqCst);
        Ok(())
    }
}

fn ring(amplification: u64, threads: usize) {
    let (handled, published): (Arc<AtomicU64>, Arc<AtomicU64>) = Default::default();
    let make = {
        let handled = handled.clone();
        move || Answer { amplification, handled: handled.clone() }
    };
    let heard = Heard::default();
    let spec = |name: &str| processor(name, make.clone()).bound(4).retry(quick(3));
    let runtime = Runtime::builder("test")
        .threads(threads)
        .hop_limit(u16::MAX)
        .supervise(supervisor().child(spec("ping").on::<Tick>()).child(spec("pong").on::<Tock>()))
        .observe(Counted(published.clone(), heard.clone()))
        .start()
        .unwrap();
    for number in 0..4 {
        runtime.publish(Tick(number)).wait().unwrap();
    }
    let enough = handled.clone();
    let again = runtime.clone();
    // Parked events may leave the ring without any: more are thrown in, as a user would.
    within("100,000 handled", move || {
        while enough.load(SeqCst) < ENOUGH {
            let quiet = |of: &cueline::ProcessorReport| of.waiting == 0 && of.retrying == 0;
            if again.processors().iter().all(quiet) {
                again.tell(Tick(0)).unwrap();
            }
            std::thread::yield_now();
        }
    });
    let undone = within("shutdown", move || runtime.shutdown(secs(20)).wait().unwrap());
    let parked = undone.iter().filter(|of| of.stood == Unsettled::Parked).count();
    let returned = undone.len() - parked;
    // What handlers published and was refused never got a place; what `tell` could not place was
    // never published. Everything that got a place is handled, parked or comes back.
    let accounted = handled.load(SeqCst) + (parked + returned) as u64;
    let repeated = heard.count("Retried") as u64 + heard.count("Parked") as u64;
    assert!(accounted >= published.load(SeqCst), "{accounted} of {published:?}: some were lost");
    assert!(
        accounted <= published.load(SeqCst) + repeated,
        "{accounted} of {published:?} with {repeated} repeated: some were doubled"
    );
}

struct Counted(Arc<AtomicU64>, Heard);
impl cueline::Observer for Counted {
    fn observe(&self, signal: &cueline::Signal<'_>) {
        match signal {
            cueline::Signal::Published { events, .. } => {
                self.0.fetch_add(*events, SeqCst);
            }
            cueline::Signal::Retried { .. } | cueline::Signal::Parked { .. } => {
                self.1.observe(signal);
            }
            _ => {}
        }
    }
}

#[test]
fn each_answers_one_on_one_thread() {
    ring(1, 1);
}

#[test]
fn each_answers_one_on_two_threads() {
    ring(1, 2);
}

#[test]
fn each_answers_two_on_one_thread() {
    ring(2, 1);
}

#[test]
fn each_answers_two_on_two_threads() {
    ring(2, 2);
}
