//! The application's own recorder may panic, and nothing stops.

#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use cueline::prelude::*;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Number(u64);
cueline::event!(Number, "number");

struct Takes;
impl Processor for Takes {}
impl Handle<Number> for Takes {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        Ok(())
    }
}

/// How often a gauge has been set. Every second time it panics.
#[derive(Default)]
struct Sets(AtomicU64);
impl metrics::GaugeFn for Sets {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}
    fn set(&self, _: f64) {
        assert!(self.0.fetch_add(1, SeqCst) % 2 == 1, "the recorder");
    }
}

struct Panics(Arc<Sets>);
impl metrics::Recorder for Panics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.0.clone())
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn gauges_go_on_and_processors_can_be_removed() {
    let sets = Arc::new(Sets::default());
    metrics::set_global_recorder(Panics(sets.clone())).unwrap();
    let takes = |name| processor(name, || Takes).on::<Number>();
    let runtime = Runtime::builder("test")
        .supervise(Supervisor::new("tests").child(takes("one")).child(takes("two")))
        .start()
        .unwrap();
    let before = sets.0.load(SeqCst);
    runtime.remove("one").unwrap();
    runtime.publish(Number(1)).wait().unwrap();
    runtime.idle().wait();
    assert_eq!(runtime.topology()[0].consumers.len(), 1);
    // Set every second by the control thread, which has panicked in between.
    while sets.0.load(SeqCst) < before + 6 {
        std::thread::yield_now();
    }
    assert!(runtime.shutdown(secs(600)).wait().unwrap().is_empty());
}
