//! Metrics go to the recorder that the application has already, if the runtime serves none.

#![allow(missing_docs, clippy::unwrap_used)]

use cueline::prelude::*;
use metrics_exporter_prometheus::PrometheusBuilder;
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

#[test]
fn the_applications_recorder_gets_counts_and_gauges() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).unwrap();
    let takes = processor("takes", || Takes).on::<Number>();
    let runtime =
        Runtime::builder("test").supervise(Supervisor::new("tests").child(takes)).start().unwrap();
    runtime.publish_all((0..50).map(Number)).wait().unwrap();
    runtime.idle().wait();
    assert!(runtime.metrics().is_none(), "they are the application's to render");
    let counted = "cueline_events_handled_total{processor=\"takes\"} 50";
    let gauge = "cueline_queue_events{processor=\"takes\"} ";
    // Counts are there at once; gauges within the second, as the control thread sets them.
    assert!(handle.render().contains(counted), "{}", handle.render());
    while !handle.render().contains(gauge) {
        std::thread::yield_now();
    }
}
