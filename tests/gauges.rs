//! Whether a processor is there, what it is at and what fails is seen from outside.

#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Instant;

use cueline::IntoChild;
use cueline::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

#[derive(Serialize, Deserialize)]
struct Number(u64);
cueline::event!(Number, "number");

#[derive(Serialize, Deserialize)]
struct Please;
cueline::command!(Please, "please" => u64);

/// Waits at a gate, and refuses commands.
struct Gated(Arc<Notify>);
impl Processor for Gated {}
impl Handle<Number> for Gated {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        self.0.notified().await;
        Ok(())
    }
}
impl Handle<Please> for Gated {
    async fn handle(&mut self, _: &Please, _: &mut Context) -> Outcome<u64> {
        Err(Failure::permanent("no"))
    }
}

fn gated(gate: &Arc<Notify>) -> impl IntoChild + use<> {
    let gate = gate.clone();
    processor("gated", move || Gated(gate.clone())).on::<Number>().serves::<Please>()
}

fn start(child: impl IntoChild) -> Runtime {
    let tests = Supervisor::new("tests").child(child);
    Runtime::builder("test").supervise(tests).serve("127.0.0.1:0").start().unwrap()
}

fn value(runtime: &Runtime, series: &str) -> u64 {
    let metrics = runtime.metrics().unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("no {series} in\n{metrics}")).trim().parse().unwrap()
}

const DOWN: &str = "cueline_processor_down{processor=\"gated\"}";

#[test]
fn a_processor_that_is_down_is_told_from_one_that_has_nothing_to_do() {
    let gate = Arc::new(Notify::new());
    let runtime = start(gated(&gate));
    runtime.idle().wait();
    assert_eq!(value(&runtime, DOWN), 0);
    let tests = runtime.supervisor("tests").unwrap();
    tests.stop("gated").wait().unwrap();
    assert_eq!(value(&runtime, DOWN), 1);
    tests.restart("gated").wait().unwrap();
    gate.notify_one();
    runtime.publish(Number(0)).wait().unwrap();
    runtime.idle().wait();
    assert_eq!(value(&runtime, DOWN), 0);
}

/// Nor is a pool without children.
#[test]
fn a_processor_that_was_removed_is_not_one_that_is_down() {
    let runtime = start(gated(&Arc::default()));
    runtime.idle().wait();
    runtime.remove("gated").unwrap();
    runtime.idle().wait();
    assert_eq!(value(&runtime, DOWN), 0);
    let member = cueline::processor_with("gated", |_: &u32| Gated(Arc::default())).on::<Number>();
    let runtime = start(Pool::new("pool", member));
    runtime.idle().wait();
    assert_eq!(value(&runtime, DOWN), 0);
}

#[test]
fn those_of_a_removed_processor_do_not_stand_still() {
    let gate = Arc::new(Notify::new());
    let runtime = start(gated(&gate));
    runtime.publish(Number(0)).wait().unwrap();
    let reaches = |events: u64| {
        let began = Instant::now();
        while value(&runtime, "cueline_queue_events{processor=\"gated\"}") != events {
            assert!(began.elapsed() < secs(20), "it never shows {events}");
        }
    };
    reaches(1);
    runtime.remove("gated").unwrap();
    reaches(1);
    gate.notify_one();
    reaches(0);
}

#[test]
fn what_is_in_hand_is_told_from_what_waits() {
    let gate = Arc::new(Notify::new());
    let runtime = start(gated(&gate));
    let in_hand = || value(&runtime, "cueline_in_hand_events{processor=\"gated\"}");
    runtime.publish_all((0..3).map(Number)).wait().unwrap();
    let began = Instant::now();
    while in_hand() == 0 {
        assert!(began.elapsed() < secs(20));
    }
    assert_eq!(in_hand(), 1, "of three, one after the other");
    while runtime.processors()[0].waiting > 0 {
        gate.notify_one();
        assert!(began.elapsed() < secs(20));
    }
    // It has let go of the last one by the time that it asks for more.
    while in_hand() > 0 {
        assert!(began.elapsed() < secs(20));
    }
}

#[test]
fn a_command_that_fails_is_among_what_fails() {
    let runtime = start(gated(&Arc::default()));
    runtime.request(Please).wait().unwrap_err();
    assert_eq!(value(&runtime, "cueline_failure_causes_total{cause=\"permanent\"}"), 1);
    assert_eq!(value(&runtime, "cueline_commands_failed_total{command=\"please\"}"), 1);
}
