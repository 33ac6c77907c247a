//! What a panic costs, beside `panic` + `catch_unwind` alone. `cargo bench --bench recovery`.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

use cueline::prelude::*;
use support::{Payload, median, medians, ours, runs};

/// Tells when it is done; panics on zero, the first time.
struct Fragile(Sender<Instant>);
impl Processor for Fragile {}
impl Handle<ours::Ping> for Fragile {
    async fn handle(&mut self, event: &ours::Ping, cx: &mut Context) -> Outcome {
        assert!(event.0.0[0] != 0 || cx.attempt() > 1, "on demand");
        self.0.send(Instant::now()).unwrap();
        Ok(())
    }
}

/// Panics on every hundredth event, the first time.
struct Hundredth(bool);
impl Processor for Hundredth {}
impl Handle<ours::Ping> for Hundredth {
    async fn handle(&mut self, event: &ours::Ping, cx: &mut Context) -> Outcome {
        let due = self.0 && event.0.0[0].is_multiple_of(100) && cx.attempt() == 1;
        assert!(!due, "on demand");
        Ok(())
    }
}

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    let found = medians(runs(), &[&panic_to_next, &bare_panic_and_hop]);
    println!(
        "panic to next event handled, p50                   {:>9.1} us, bare {:.1} us ({:.2} x, goal <= 3)",
        found[0],
        found[1],
        found[0] / found[1]
    );
    let found = medians(runs(), &[&|| hundredth(true), &|| hundredth(false)]);
    println!(
        "added by a panic, one in 100 events                {:>9.2} us (goal <= 10)",
        (found[0] - found[1]) * 100.0 / 1_000.0
    );
}

/// Microseconds from publishing an event that panics to its next delivery, median.
fn panic_to_next() -> f64 {
    let (done, told) = channel();
    let make = move || Fragile(done.clone());
    let fragile = Supervisor::new("bench")
        .backoff(Backoff::none())
        .child(processor("fragile", make).on::<ours::Ping>());
    let runtime = ours::start(fragile, 1, true);
    let mut all = Vec::new();
    for _ in 0..400 {
        runtime.publish(ours::Ping(Payload::new(1))).wait().unwrap();
        told.recv().unwrap();
        let began = Instant::now();
        runtime.publish(ours::Ping(Payload::new(0))).wait().unwrap();
        all.push((told.recv().unwrap() - began).as_nanos() as f64 / 1_000.0);
    }
    runtime.shutdown(secs(5)).wait().unwrap();
    median(all)
}

/// The same without us: one hop to a thread, `panic`, `catch_unwind`, a factory.
fn bare_panic_and_hop() -> f64 {
    let (send, receive) = channel::<u64>();
    let (done, told) = channel();
    let thread = std::thread::spawn(move || {
        let make = || Box::new([0u64; 8]);
        let mut state = make();
        for event in receive {
            let handled = catch_unwind(AssertUnwindSafe(|| {
                state[0] += 1;
                assert!(event != 0, "on demand");
            }));
            if handled.is_err() {
                state = make();
            }
            done.send(Instant::now()).unwrap();
        }
    });
    let mut all = Vec::new();
    for _ in 0..400 {
        send.send(1).unwrap();
        told.recv().unwrap();
        let began = Instant::now();
        send.send(0).unwrap();
        all.push((told.recv().unwrap() - began).as_nanos() as f64 / 1_000.0);
    }
    drop(send);
    thread.join().unwrap();
    median(all)
}

/// Nanoseconds an event, with or without a panic in every hundredth.
fn hundredth(panics: bool) -> f64 {
    let spec = processor("hundredth", move || Hundredth(panics)).on::<ours::Ping>();
    let runtime = ours::start(Supervisor::new("bench").child(spec), 1, true);
    let (events, began) = (100_000, Instant::now());
    ours::publish(&runtime, events, 64);
    let took = began.elapsed().as_nanos() as f64 / events as f64;
    runtime.shutdown(secs(5)).wait().unwrap();
    took
}
