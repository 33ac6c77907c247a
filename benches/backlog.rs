//! Ten million events wait in the log: what that costs whoever publishes, in memory and at the next
//! start; how quickly they are caught up with; what is left on disk then.
//!
//! `cargo bench --bench backlog`; `EVENTS=1000000` for fewer.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Event {
    #[serde(with = "support::bytes")]
    payload: Vec<u8>,
}
cueline::event!(Event, "event");

struct Counter;
impl Processor for Counter {}
impl Handle<Event> for Counter {
    async fn handle(&mut self, _: &Event, _: &mut Context) -> Outcome {
        Ok(())
    }
}

fn start(path: &Path) -> Runtime {
    let counter = processor("counter", || Counter).on::<Event>();
    Runtime::builder("backlog")
        .store(Store::directory(path))
        .supervise(Supervisor::new("backlog").child(counter))
        .serve(0)
        .start()
        .unwrap()
}

/// Publishes so many in thousands; how many a second.
fn publish(runtime: &Runtime, events: u64) -> f64 {
    let begun = Instant::now();
    for _ in (0..events).step_by(1_000) {
        let all = (0..1_000).map(|_| Event { payload: vec![7; 240] });
        runtime.publish_all(all).wait().unwrap();
    }
    events as f64 / begun.elapsed().as_secs_f64()
}

fn status(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

fn metric(runtime: &Runtime, name: &str) -> f64 {
    let metrics = runtime.metrics().unwrap();
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or(0.0)
}

fn size(path: &Path) -> f64 {
    let entries = std::fs::read_dir(path).unwrap();
    entries.map(|entry| entry.unwrap().metadata().unwrap().len() as f64).sum::<f64>() / 1e6
}

fn events() -> u64 {
    std::env::var("EVENTS").map_or(10_000_000, |events| events.parse().unwrap())
}

/// The process that is killed: it says each number when it knows it.
fn fill(path: &Path) {
    let runtime = start(path);
    runtime.idle().wait();
    let tenth = events() / 10;
    // While nothing waits, segments are written again: with all of them in use, fresh ones are.
    let before: Vec<f64> = (0..3).map(|_| publish(&runtime, tenth)).collect();
    runtime.idle().wait();
    runtime.pause("counter").unwrap();
    let waiting: Vec<f64> = (0..10).map(|_| publish(&runtime, tenth)).collect();
    println!("published a second, nothing waits:    {before:.0?}");
    println!("published a second, more and more do: {waiting:.0?}");
    println!("memory at most: {:.0} MiB", status("VmHWM:"));
    std::process::abort();
}

fn open(path: &Path, caches: &str) -> Runtime {
    let begun = Instant::now();
    let runtime = start(path);
    pollster::block_on(runtime.ready()).unwrap();
    println!("open after the kill, {caches}: {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
    runtime
}

fn main() {
    if let Some(path) = std::env::var_os("BACKLOG") {
        return fill(Path::new(&path));
    }
    let path: PathBuf = std::env::temp_dir().join(format!("backlog-{}", std::process::id()));
    let own = std::env::current_exe().unwrap();
    let child = Command::new(own).env("BACKLOG", &path).stderr(Stdio::null()).output().unwrap();
    print!("{}", String::from_utf8_lossy(&child.stdout));
    println!("on disk: {:.0} MB", size(&path));

    // Somebody else has it open by then: it is opened twice, and nothing handled.
    let drop_caches = || {
        Command::new("sync").status().ok();
        std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
    };
    let runtime = open(&path, "warm");
    runtime.pause("counter").unwrap();
    runtime.shutdown(secs(0)).wait().unwrap();
    if drop_caches() {
        let runtime = open(&path, "cold");
        runtime.pause("counter").unwrap();
        runtime.shutdown(secs(0)).wait().unwrap();
    }
    let runtime = start(&path);
    let begun = Instant::now();
    let waiting = runtime.subscriptions()[0].behind;
    runtime.idle().wait();
    let rate = waiting as f64 / begun.elapsed().as_secs_f64();
    println!("caught up with {waiting} at {rate:.0}/s, memory {:.0} MiB", status("VmRSS:"));
    // A little more, so that it is looked at what nobody needs any more.
    publish(&runtime, 300_000);
    runtime.idle().wait();
    let copied = metric(&runtime, "cueline_log_compacted_bytes_total");
    let segments = || metric(&runtime, "cueline_log_segments");
    let begun = Instant::now();
    while segments() > 6.0 && begun.elapsed() < secs(30) {
        std::thread::yield_now();
    }
    println!("{:.0} segments, {:.0} MB on disk; {copied:.0} bytes copied", segments(), size(&path));
    runtime.shutdown(secs(5)).wait().unwrap();
    std::fs::remove_dir_all(path).unwrap();
}
