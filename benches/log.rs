//! The persistent log: events a second, each on disk before it is acknowledged, beside a plain segment
//! writer with a thread of its own, and raw writes, in the same run. `cargo bench --bench log`.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use cueline::prelude::*;
use cueline::{Channel, Durability};
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde::{Deserialize, Serialize};
use support::plain::{PlainWriter, segment};
use support::{medians, runs, wanted};

/// What one event takes up, beside its envelope.
const BYTES: usize = 256;

#[derive(Clone, Serialize, Deserialize)]
struct Event {
    #[serde(with = "support::bytes")]
    data: Vec<u8>,
}
cueline::event!(Event, "event");

fn event() -> Event {
    Event { data: vec![7; BYTES] }
}

/// Where everything is written: on the disk that the build is on.
fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::remove_dir_all(&path).ok();
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Keeps so many running until all are through; events a second.
fn in_flight<F: Future>(flight: usize, events: usize, mut publish: impl FnMut() -> F) -> f64 {
    let began = Instant::now();
    pollster::block_on(async {
        let mut running: FuturesUnordered<F> = (0..flight).map(|_| publish()).collect();
        let mut left = events - flight;
        while running.next().await.is_some() {
            if left > 0 {
                left -= 1;
                running.push(publish());
            }
        }
    });
    events as f64 / began.elapsed().as_secs_f64()
}

fn ours(flight: usize, events: usize) -> f64 {
    let path = directory("ours");
    let runtime = Runtime::builder("bench").store(Store::directory(&path)).start().unwrap();
    let rate = in_flight(flight, events, || runtime.publish(event()));
    runtime.shutdown(secs(10)).wait().unwrap();
    std::fs::remove_dir_all(path).unwrap();
    rate
}

fn encoded() -> Vec<u8> {
    rmp_serde::to_vec_named(&event()).unwrap()
}

fn plain(flight: usize, events: usize) -> f64 {
    let writer = PlainWriter::begin(directory("plain"), true);
    let rate = in_flight(flight, events, || writer.write([encoded()]));
    writer.end();
    rate
}

/// One write and one sync an event, by the thread that publishes: what the disk can do.
fn raw(events: usize) -> f64 {
    let path = directory("raw");
    let file = segment(&path, &mut 0);
    let began = Instant::now();
    for number in 0..events {
        let bytes = encoded();
        file.write_all_at(&bytes, (number * bytes.len()) as u64).unwrap();
        file.sync_data().unwrap();
    }
    let rate = events as f64 / began.elapsed().as_secs_f64();
    std::fs::remove_dir_all(path).unwrap();
    rate
}

/// The median of how long one publication takes, one at a time, in microseconds.
fn one_at_a_time(events: usize, mut publish: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..events)
        .map(|_| {
            let began = Instant::now();
            publish();
            began.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let runs = runs();
    println!("{:<44} {:>12} {:>12} {:>8} {:>8}", "case", "cueline", "plain", "ratio", "goal");
    for (flight, events, goal) in [(64, 100_000, ">= 0.8"), (1_024, 1_000_000, ">= 0.7")] {
        let case = format!("publish synced, {flight} in flight");
        if wanted(&case) {
            let found = medians(runs, &[&|| ours(flight, events), &|| plain(flight, events)]);
            let ratio = found[0] / found[1];
            println!(
                "{case:<44} {:>10.0}/s {:>10.0}/s {ratio:>7.2}x {goal:>8}",
                found[0], found[1]
            );
        }
    }
    if wanted("buffered") {
        let found = medians(runs, &[&|| buffered(4_000), &|| plain_batches(4_000)]);
        let (case, ratio) = ("publish Buffered, batches of 100", found[0] / found[1]);
        println!(
            "{case:<44} {:>10.0}/s {:>10.0}/s {ratio:>7.2}x {:>8}",
            found[0], found[1], ">= 0.7"
        );
    }
    if wanted("bytes") {
        for (flight, events, goal) in [(64, 60_000, "< 2"), (1_024, 300_000, "< 1.3")] {
            let found = medians(runs, &[&|| written(flight, events)]);
            let case = format!("bytes written per payload byte, {flight} in flight");
            println!("{case:<44} {:>36.2} {goal:>8}", found[0]);
        }
    }
    if wanted("checkpoint") {
        let runs: Vec<[f64; 4]> = (0..runs).map(|_| beside_a_checkpoint()).collect();
        let [quiet, busy, most, share] = [0, 1, 2, 3].map(|which| {
            let mut all: Vec<f64> = runs.iter().map(|run| run[which]).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        });
        println!(
            "{:<44} {busy:>9.0} us {quiet:>9.0} us {:>7.2}x {:>8}",
            "publish p99 beside a checkpoint / quiet",
            busy / quiet,
            "<= 4"
        );
        println!(
            "  (the longest beside one: {:.1} ms; goal 25; {:.0} % beside one)",
            most / 1e3,
            share
        );
    }
    if wanted("consume") {
        let [alone, one, eight] =
            [0, 1, 8].map(|subscriptions| move || consumed(subscriptions, 64, 60_000));
        let found = medians(runs, &[&alone, &one, &eight]);
        for (place, subscriptions) in [(1, "1 subscription"), (2, "8 subscriptions")] {
            let case = format!("64 publish, {subscriptions} consume / alone");
            let ratio = found[place] / found[0];
            println!(
                "{case:<44} {:>10.0}/s {:>10.0}/s {ratio:>7.2}x {:>8}",
                found[place], found[0], ">= 0.6"
            );
        }
        println!("  (8 subscriptions cost {:.2} x one; goal < 1.3)", found[1] / found[2]);
    }
    if wanted("one at a time") {
        let found =
            medians(runs, &[&|| single_ours(3_000), &|| single_plain(3_000), &|| raw(3_000)]);
        let ratio = found[0] / found[1];
        println!(
            "{:<44} {:>9.1} us {:>9.1} us {ratio:>7.2}x {:>8}",
            "one at a time, median", found[0], found[1], "<= 1.15"
        );
        println!("  (raw write and sync by the thread that publishes: {:.1} us)", 1e6 / found[2]);
    }
}

/// Events a second, published in batches of 100 that are acknowledged when they are written.
fn buffered(batches: usize) -> f64 {
    let path = directory("buffered");
    let buffered = Channel::default().durability(Durability::Buffered { every: secs(1) });
    let runtime = Runtime::builder("bench").store(Store::directory(&path));
    let runtime = runtime.channel::<Event>(buffered).start().unwrap();
    let began = Instant::now();
    for _ in 0..batches {
        runtime.publish_all((0..100).map(|_| event())).wait().unwrap();
    }
    let rate = (100 * batches) as f64 / began.elapsed().as_secs_f64();
    runtime.shutdown(secs(10)).wait().unwrap();
    std::fs::remove_dir_all(path).unwrap();
    rate
}

/// The same with a plain segment writer that does not sync.
fn plain_batches(batches: usize) -> f64 {
    let writer = PlainWriter::begin(directory("plain-batches"), false);
    let began = Instant::now();
    for _ in 0..batches {
        let batch: Vec<_> = (0..100).map(|_| encoded()).collect();
        pollster::block_on(writer.write(batch)).unwrap();
    }
    let rate = (100 * batches) as f64 / began.elapsed().as_secs_f64();
    writer.end();
    rate
}

/// So many bytes this process has had written to disks.
fn written_so_far() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find(|line| line.starts_with("write_bytes")).unwrap();
    line.split(' ').next_back().unwrap().parse().unwrap()
}

/// Bytes written to the disk for each byte of the events, as they are encoded.
fn written(flight: usize, events: usize) -> f64 {
    let path = directory("written");
    let payload = encoded().len() * events;
    let runtime = Runtime::builder("bench").store(Store::directory(&path)).start().unwrap();
    let before = written_so_far();
    in_flight(flight, events, || runtime.publish(event()));
    let written = written_so_far() - before;
    runtime.shutdown(secs(10)).wait().unwrap();
    std::fs::remove_dir_all(path).unwrap();
    written as f64 / payload as f64
}

#[derive(Clone, Serialize, Deserialize)]
struct Kept(u64);
cueline::event!(Kept, "kept", key: |event| event.0);

struct Keeper;
impl Processor for Keeper {}
impl Handle<Kept> for Keeper {
    async fn handle(&mut self, event: &Kept, cx: &mut Context) -> Outcome {
        *cx.state::<String>(event.0)? = "x".repeat(400);
        Ok(())
    }
}

/// With 200,000 kept states: how long a publication takes, of 64 in flight, at the 99th percentile, when
/// no checkpoint is written and while one is; the longest; and the share of those beside one. In
/// microseconds.
fn beside_a_checkpoint() -> [f64; 4] {
    let path = directory("checkpoint");
    let keeper = processor("keeper", || Keeper).on::<Kept>();
    let store = Store::directory(&path);
    let bench = Supervisor::new("bench").child(keeper);
    let runtime = Runtime::builder("bench").threads(2).store(store).supervise(bench);
    let runtime = runtime.start().unwrap();
    runtime.publish_all((0..200_000).map(Kept)).wait().unwrap();
    runtime.idle().wait();
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    let unfinished = || {
        let files = std::fs::read_dir(&path).unwrap();
        files.filter_map(Result::ok).any(|of| of.path().extension().is_some_and(|of| of == "new"))
    };
    pollster::block_on(async {
        let publish = || async {
            let began = Instant::now();
            runtime.publish(event()).await.unwrap();
            began.elapsed().as_secs_f64() * 1e6
        };
        let mut running: FuturesUnordered<_> = (0..64).map(|_| publish()).collect();
        let (mut left, mut beside) = (1_200_000_u32, false);
        while let Some(took) = running.next().await {
            let times = if beside { &mut busy } else { &mut quiet };
            times.push(took);
            if left > 0 {
                left -= 1;
                running.push(publish());
            }
            if left.is_multiple_of(512) {
                beside = unfinished();
            }
        }
    });
    runtime.shutdown(secs(10)).wait().unwrap();
    std::fs::remove_dir_all(&path).unwrap();
    quiet.sort_by(f64::total_cmp);
    busy.sort_by(f64::total_cmp);
    let p99 = |all: &[f64]| all.get(all.len() * 99 / 100).copied().unwrap_or(f64::NAN);
    let share = 100.0 * busy.len() as f64 / (busy.len() + quiet.len()) as f64;
    [p99(&quiet), p99(&busy), busy.last().copied().unwrap_or(f64::NAN), share]
}

struct Consumer;
impl Processor for Consumer {}
impl Handle<Event> for Consumer {
    async fn handle(&mut self, event: &Event, _: &mut Context) -> Outcome {
        std::hint::black_box(event.data.len());
        Ok(())
    }
}

/// Events a second that are published, and handled and acknowledged by so many processors.
fn consumed(subscriptions: usize, flight: usize, events: usize) -> f64 {
    let path = directory("consumed");
    let consumers = (0..subscriptions).fold(Supervisor::new("bench"), |bench, number| {
        bench.child(processor(format!("consumer-{number}"), || Consumer).on::<Event>())
    });
    let store = Store::directory(&path);
    let runtime = Runtime::builder("bench").threads(2).store(store).supervise(consumers);
    let runtime = runtime.start().unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    let began = Instant::now();
    in_flight(flight, events, || runtime.publish(event()));
    runtime.idle().wait();
    let rate = events as f64 / began.elapsed().as_secs_f64();
    runtime.shutdown(secs(10)).wait().unwrap();
    std::fs::remove_dir_all(path).unwrap();
    rate
}

fn single_ours(events: usize) -> f64 {
    let path = directory("single");
    let runtime = Runtime::builder("bench").store(Store::directory(&path)).start().unwrap();
    let median = one_at_a_time(events, || {
        runtime.publish(event()).wait().unwrap();
    });
    runtime.shutdown(secs(10)).wait().unwrap();
    std::fs::remove_dir_all(path).unwrap();
    median
}

fn single_plain(events: usize) -> f64 {
    let writer = PlainWriter::begin(directory("single-plain"), true);
    let median = one_at_a_time(events, || pollster::block_on(writer.write([encoded()])).unwrap());
    writer.end();
    median
}
