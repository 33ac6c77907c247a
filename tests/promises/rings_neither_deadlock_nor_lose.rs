use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use cueline::prelude::*;
use cueline::{Observer, Signal, Unsettled};
use serde::{Deserialize, Serialize};

use crate::support::{supervisor, within};

#[derive(Serialize, Deserialize)]
struct Tick(u64);
cueline::event!(Tick, "tick");
#[derive(Serialize, Deserialize)]
struct Tock(u64);
cueline::event!(Tock, "tock");

/// Answers each event with so many others, until enough were handled and settled.
struct Answer {
    amplification: u64,
    settled: Arc<AtomicU64>,
}
const ENOUGH: u64 = 100_000;
impl Processor for Answer {}
impl Handle<Tick> for Answer {
    async fn handle(&mut self, event: &Tick, cx: &mut Context) -> Outcome {
        if self.settled.load(SeqCst) < ENOUGH {
            (0..self.amplification).for_each(|_| cx.publish(Tock(event.0 + 1)));
        }
        Ok(())
    }
}
impl Handle<Tock> for Answer {
    async fn handle(&mut self, event: &Tock, cx: &mut Context) -> Outcome {
        if self.settled.load(SeqCst) < ENOUGH {
            (0..self.amplification).for_each(|_| cx.publish(Tick(event.0 + 1)));
        }
        Ok(())
    }
}

fn ring(amplification: u64, threads: usize) {
    let [published, settled]: [Arc<AtomicU64>; 2] = Default::default();
    let make = {
        let settled = settled.clone();
        move || Answer { amplification, settled: settled.clone() }
    };
    let retry = Retry::attempts(3).backoff(Backoff::none());
    // Of two answers one finds no room: as many events are parked as are settled.
    let spec = |name: &str| processor(name, make.clone()).bound(4).retry(retry).held(200_000);
    let runtime = Runtime::builder("test")
        .threads(threads)
        .hop_limit(u16::MAX)
        .supervise(supervisor().child(spec("ping").on::<Tick>()).child(spec("pong").on::<Tock>()))
        .observe(Counted { published: published.clone(), settled: settled.clone() })
        .start()
        .unwrap();
    for number in 0..4 {
        runtime.publish(Tick(number)).wait().unwrap();
    }
    let enough = settled.clone();
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
    // What `tell` could not place and what a refused outcome held was never published. Everything
    // that got a place was settled by success, or is parked, or comes back: each exactly once.
    let settled = settled.load(SeqCst);
    let parked = undone.iter().filter(|of| of.stood == Unsettled::Parked).count() as u64;
    let returned = undone.len() as u64 - parked;
    assert_eq!(settled + parked + returned, published.load(SeqCst), "lost or doubled");
}

struct Counted {
    published: Arc<AtomicU64>,
    settled: Arc<AtomicU64>,
}
impl Observer for Counted {
    fn observe(&self, signal: &Signal<'_>) {
        match signal {
            Signal::Published { events, .. } => self.published.fetch_add(*events, SeqCst),
            Signal::Handled { events, .. } => self.settled.fetch_add(*events, SeqCst),
            _ => return,
        };
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
