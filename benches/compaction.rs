//! One event in two hundred is kept for somebody who does not come, all others are handled: what it costs
//! to give their room back, in bytes copied per byte written, and what is left on disk.
//!
//! `cargo bench --bench compaction`; `EVENTS=400000` for fewer.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::path::PathBuf;
use std::time::Instant;

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Usual {
    #[serde(with = "support::bytes")]
    payload: Vec<u8>,
}
cueline::event!(Usual, "usual");

#[derive(Serialize, Deserialize)]
struct Rare {
    #[serde(with = "support::bytes")]
    payload: Vec<u8>,
}
cueline::event!(Rare, "rare");

struct Reader;
impl Processor for Reader {}
impl Handle<Usual> for Reader {
    async fn handle(&mut self, _: &Usual, _: &mut Context) -> Outcome {
        Ok(())
    }
}

struct Absent;
impl Processor for Absent {}
impl Handle<Rare> for Absent {
    async fn handle(&mut self, _: &Rare, _: &mut Context) -> Outcome {
        Ok(())
    }
}

fn metric(runtime: &Runtime, name: &str) -> f64 {
    let metrics = runtime.metrics().unwrap();
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or(0.0)
}

fn main() {
    let events: u64 = std::env::var("EVENTS").map_or(4_000_000, |events| events.parse().unwrap());
    let path: PathBuf = std::env::temp_dir().join(format!("compaction-{}", std::process::id()));
    let runtime = Runtime::builder("compaction")
        .store(Store::directory(&path))
        .supervise(
            Supervisor::new("all")
                .child(processor("reader", || Reader).on::<Usual>())
                .child(processor("absent", || Absent).on::<Rare>()),
        )
        .serve(0)
        .start()
        .unwrap();
    runtime.pause("absent").unwrap();
    let begun = Instant::now();
    for _ in (0..events).step_by(200) {
        let usual = (0..199).map(|_| Usual { payload: vec![7; 240] });
        runtime.publish_all(usual).wait().unwrap();
        runtime.publish(Rare { payload: vec![7; 240] }).wait().unwrap();
    }
    let rate = events as f64 / begun.elapsed().as_secs_f64();
    let (disk, written) = ("cueline_log_disk_bytes", "cueline_log_bytes_total");
    let most = 10.0 * f64::from(32 << 20);
    let begun = Instant::now();
    while metric(&runtime, disk) > most && begun.elapsed() < secs(30) {
        std::thread::yield_now();
    }
    let copied = metric(&runtime, "cueline_log_compacted_bytes_total");
    let written = metric(&runtime, written);
    let needed = events as f64 / 200.0 * 256.0;
    println!("{events} events at {rate:.0}/s, {:.0} MB written", written / 1e6);
    println!("copied per byte written: {:.3}   goal <= 0.5", copied / written);
    println!(
        "left on disk: {:.0} MB, of which {:.0} MB are needed, and 235 MB are segments in use, ready or \
         to be written again",
        metric(&runtime, disk) / 1e6,
        needed / 1e6
    );
    runtime.shutdown(secs(5)).wait().unwrap();
    std::fs::remove_dir_all(path).unwrap();
}
