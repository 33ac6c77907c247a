//! Request-reply beside raw actix: `cargo bench --bench request`.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use actix::Actor;
use cueline::Context;
use cueline::prelude::*;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use support::{Payload, header, medians, row, runs, wanted};

#[derive(Clone, Serialize, Deserialize)]
struct Ask(Payload);
cueline::command!(Ask, "ask" => u64);

#[derive(Serialize, Deserialize)]
struct Go(u64);
cueline::event!(Go, "go");

struct Answers;
impl Processor for Answers {}
impl Handle<Ask> for Answers {
    async fn handle(&mut self, ask: &Ask, _: &mut Context) -> Outcome<u64> {
        Ok(ask.0.0[0])
    }
}

/// Asks so often, one after the other.
struct Asks(Sender<f64>);
impl Processor for Asks {}
impl Handle<Go> for Asks {
    async fn handle(&mut self, go: &Go, cx: &mut Context) -> Outcome {
        let began = Instant::now();
        for number in 0..go.0 {
            assert_eq!(cx.request(Ask(Payload::new(number))).await?, number);
        }
        self.0.send(began.elapsed().as_nanos() as f64 / go.0 as f64)?;
        Ok(())
    }
}

fn start(children: Supervisor) -> Runtime {
    Runtime::builder("bench").threads(1).supervise(children).serve("127.0.0.1:0").start().unwrap()
}

/// Nanoseconds a request, with so many under way, asked for by another thread.
fn outstanding(flight: u64, each: u64) -> f64 {
    let runtime =
        start(Supervisor::new("all").child(processor("answers", || Answers).serves::<Ask>()));
    let took = actix_rt::System::new().block_on(async {
        let began = Instant::now();
        let asking = (0..flight).map(async |_| {
            for number in 0..each {
                let reply = runtime.request(Ask(Payload::new(number))).await;
                assert_eq!(reply.unwrap(), number);
            }
        });
        join_all(asking).await;
        began.elapsed()
    });
    runtime.shutdown(secs(5)).wait().unwrap();
    per(took, flight * each)
}

fn per(took: Duration, requests: u64) -> f64 {
    took.as_nanos() as f64 / requests as f64
}

/// One after the other, asked for by a handler on the same thread.
fn same_thread(requests: u64) -> f64 {
    let (tell, told) = channel();
    let asks = processor("asks", move || Asks(tell.clone())).on::<Go>();
    let answers = processor("answers", || Answers).serves::<Ask>();
    let runtime = start(Supervisor::new("all").child(asks).child(answers));
    runtime.publish(Go(requests)).wait().unwrap();
    let took = told.recv().unwrap();
    runtime.shutdown(secs(5)).wait().unwrap();
    took
}

#[derive(actix::Message)]
#[rtype(result = "u64")]
struct RawAsk(Payload);

struct Raw;
impl Actor for Raw {
    type Context = actix::Context<Self>;
}
impl actix::Handler<RawAsk> for Raw {
    type Result = u64;
    fn handle(&mut self, ask: RawAsk, _: &mut Self::Context) -> u64 {
        ask.0.0[0]
    }
}

fn raw_outstanding(flight: u64, each: u64) -> f64 {
    let took = actix_rt::System::new().block_on(async {
        let arbiter = actix_rt::Arbiter::new();
        let raw = Raw::start_in_arbiter(&arbiter.handle(), |_| Raw);
        let began = Instant::now();
        let asking = (0..flight).map(|_| {
            let raw = raw.clone();
            async move {
                for number in 0..each {
                    assert_eq!(raw.send(RawAsk(Payload::new(number))).await.unwrap(), number);
                }
            }
        });
        join_all(asking).await;
        let took = began.elapsed();
        arbiter.stop();
        arbiter.join().unwrap();
        took
    });
    per(took, flight * each)
}

fn raw_same_thread(requests: u64) -> f64 {
    actix_rt::System::new().block_on(async {
        let raw = Raw.start();
        let began = Instant::now();
        for number in 0..requests {
            assert_eq!(raw.send(RawAsk(Payload::new(number))).await.unwrap(), number);
        }
        per(began.elapsed(), requests)
    })
}

fn main() {
    header();
    if wanted("outstanding") {
        let cases: [&dyn Fn() -> f64; 2] =
            [&|| outstanding(100, 4_000), &|| raw_outstanding(100, 4_000)];
        let found = medians(runs(), &cases);
        row("request, 100 outstanding, other thread", found[0], found[1], ">= 1 x");
    }
    if wanted("same thread") {
        let found = medians(runs(), &[&|| same_thread(200_000), &|| raw_same_thread(200_000)]);
        row("request, sequential, same thread", found[0], found[1], ">= 0.67 x");
    }
}
