//! The same work on cueline, with everything switched on: ids, bounds, supervision, and metrics in
//! a recorder that is served.

use std::time::Instant;

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

use super::Payload;

#[derive(Serialize, Deserialize)]
pub struct Ping(pub Payload);
cueline::event!(Ping, "ping");

pub struct Count(u64);
impl Count {
    pub fn new() -> Self {
        Self(0)
    }
}
impl Processor for Count {}
impl Handle<Ping> for Count {
    async fn handle(&mut self, event: &Ping, _: &mut Context) -> Outcome {
        self.0 = self.0.wrapping_add(std::hint::black_box(event.0.0[0]));
        Ok(())
    }
}

pub fn start(supervisor: Supervisor, threads: usize, metrics: bool) -> Runtime {
    let mut builder = Runtime::builder("bench").threads(threads).supervise(supervisor);
    if metrics {
        builder = builder.serve("127.0.0.1:0");
    }
    let runtime = builder.start().unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    runtime
}

pub fn counters(subscribers: usize) -> Supervisor {
    (0..subscribers).fold(Supervisor::new("bench"), |supervisor, number| {
        supervisor.child(processor(format!("count-{number}"), Count::new).on::<Ping>())
    })
}

/// Publishes `events` one by one, or in batches; waits until all is handled.
pub fn publish(runtime: &Runtime, events: u64, batch: u64) {
    if batch == 1 {
        for number in 0..events {
            runtime.publish(Ping(Payload::new(number))).wait().unwrap();
        }
    } else {
        for first in (0..events).step_by(batch as usize) {
            let rows = (first..first + batch).map(|number| Ping(Payload::new(number)));
            runtime.publish_all(rows).wait().unwrap();
        }
    }
    runtime.idle().wait();
}

/// Nanoseconds a delivery.
pub fn broadcast(
    subscribers: usize,
    threads: usize,
    events: u64,
    batch: u64,
    metrics: bool,
) -> f64 {
    let runtime = start(counters(subscribers), threads, metrics);
    let began = Instant::now();
    publish(&runtime, events, batch);
    let took = began.elapsed();
    assert!(runtime.shutdown(secs(5)).wait().unwrap().is_empty());
    took.as_nanos() as f64 / (events * subscribers as u64) as f64
}

macro_rules! hop {
    ($($stage:ident: $from:ident -> $to:ident = $name:literal;)*) => {$(
        #[derive(Serialize, Deserialize)]
        struct $to(Payload);
        cueline::event!($to, $name);
        struct $stage;
        impl Processor for $stage {}
        impl Handle<$from> for $stage {
            async fn handle(&mut self, event: &$from, cx: &mut Context) -> Outcome {
                cx.publish($to(event.0));
                Ok(())
            }
        }
    )*};
}
hop! {
    Stage1: Ping -> Hop1 = "hop.1";
    Stage2: Hop1 -> Hop2 = "hop.2";
    Stage3: Hop2 -> Hop3 = "hop.3";
    Stage4: Hop3 -> Hop4 = "hop.4";
}
struct Last(u64);
impl Processor for Last {}
impl Handle<Hop4> for Last {
    async fn handle(&mut self, event: &Hop4, _: &mut Context) -> Outcome {
        self.0 = self.0.wrapping_add(std::hint::black_box(event.0.0[0]));
        Ok(())
    }
}

fn row() -> Supervisor {
    Supervisor::new("bench")
        .child(processor("stage-1", || Stage1).on::<Ping>().emits::<Hop1>())
        .child(processor("stage-2", || Stage2).on::<Hop1>().emits::<Hop2>())
        .child(processor("stage-3", || Stage3).on::<Hop2>().emits::<Hop3>())
        .child(processor("stage-4", || Stage4).on::<Hop3>().emits::<Hop4>())
        .child(processor("last", || Last(0)).on::<Hop4>())
}

/// Five processors in a row on `threads` threads: nanoseconds an event, end to end.
pub fn row_of_five(threads: usize, events: u64) -> f64 {
    let runtime = start(row(), threads, true);
    let began = Instant::now();
    publish(&runtime, events, 1);
    let took = began.elapsed();
    assert!(runtime.shutdown(secs(5)).wait().unwrap().is_empty());
    took.as_nanos() as f64 / events as f64
}
