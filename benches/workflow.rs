//! Durable workflows: seven steps in five barriers (1, 1, 3, 1, 1), beside a plain segment writer with a
//! thread of its own in the same run. `cargo bench --bench workflow`.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use cueline::prelude::*;
use cueline::{Observer, Signal};
use serde::{Deserialize, Serialize};
use support::plain::PlainWriter;
use support::{median, medians, runs, wanted};

#[derive(Serialize, Deserialize)]
struct Begin {
    order: u64,
}
cueline::event!(Begin, "begin");

#[derive(Serialize, Deserialize)]
struct Do {
    order: u64,
    step: u8,
}
cueline::command!(Do, "do" => u64);

struct Worker;
impl Processor for Worker {}
impl Handle<Do> for Worker {
    async fn handle(&mut self, command: &Do, _: &mut Context) -> Outcome<u64> {
        Ok(command.order + u64::from(command.step))
    }
}

struct Seven;
impl Workflow for Seven {
    const NAME: &'static str = "seven";
    type Input = Begin;
    type Output = u64;
    type Expects = ();
    async fn run(&self, begin: Begin, steps: Steps) -> Outcome<u64> {
        let call = |step| steps.call(Do { order: begin.order, step });
        call(1).await?;
        call(2).await?;
        let (a, b, c) = tokio::join!(call(3), call(4), call(5));
        let sum = a? + b? + c?;
        call(6).await?;
        Ok(sum + call(7).await?)
    }
}

struct Sleeps;
impl Workflow for Sleeps {
    const NAME: &'static str = "sleeps";
    type Input = Nap;
    type Output = ();
    type Expects = ();
    async fn run(&self, nap: Nap, steps: Steps) -> Outcome {
        steps.sleep(secs(nap.wait)).await
    }
}
#[derive(Serialize, Deserialize)]
struct Nap {
    order: u64,
    wait: u64,
}
cueline::event!(Nap, "nap");

/// What is counted while it runs.
#[derive(Default)]
struct Counts {
    syncs: AtomicU64,
    bytes: AtomicU64,
}

struct Watch {
    ended: Sender<()>,
    counts: Arc<Counts>,
}
impl Observer for Watch {
    fn observe(&self, signal: &Signal<'_>) {
        match signal {
            Signal::WorkflowEnded { .. } => drop(self.ended.send(())),
            Signal::Written { bytes, synced, .. } => {
                self.counts.bytes.fetch_add(*bytes, SeqCst);
                self.counts.syncs.fetch_add(u64::from(synced.is_some()), SeqCst);
            }
            _ => {}
        }
    }
}

fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::remove_dir_all(&path).ok();
    path
}

fn start(store: Store) -> (Runtime, Receiver<()>, Arc<Counts>) {
    let (tell, ended) = unbounded();
    let counts = Arc::<Counts>::default();
    let mediator = Mediator::for_domain("orders").bound(2_000_000);
    let mediator =
        mediator.workflow(Seven).starts_on::<Begin>().workflow(Sleeps).starts_on::<Nap>();
    let tree = Supervisor::new("bench")
        .child(processor("worker", || Worker).serves::<Do>())
        .child(mediator);
    let watch = Watch { ended: tell, counts: counts.clone() };
    let threads = std::env::var("THREADS").ok().and_then(|of| of.parse().ok()).unwrap_or(2);
    let runtime = Runtime::builder("bench").threads(threads).store(store).observe(watch);
    let runtime = runtime.supervise(tree).start();
    (runtime.unwrap(), ended, counts)
}

/// Keeps so many going until all have ended; workflows a second.
fn in_flight(store: Store, flight: u64, workflows: u64) -> (f64, u64) {
    let (runtime, ended, counts) = start(store);
    let began = Instant::now();
    let (mut begun, mut left) = (0, workflows);
    let mut room = flight;
    while left > 0 {
        let more = room.min(workflows - begun);
        if more > 0 {
            let orders = begun..begun + more;
            runtime.publish_all(orders.map(|order| Begin { order })).wait().unwrap();
            begun += more;
            room -= more;
        }
        ended.recv().unwrap();
        let through = 1 + ended.try_iter().count() as u64;
        room += through;
        left -= through;
    }
    let rate = workflows as f64 / began.elapsed().as_secs_f64();
    runtime.shutdown(secs(10)).wait().unwrap();
    (rate, counts.bytes.load(SeqCst))
}

fn synced(flight: u64, workflows: u64) -> f64 {
    let path = directory("workflow-synced");
    let (rate, _) = in_flight(Store::directory(&path).into(), flight, workflows);
    std::fs::remove_dir_all(path).unwrap();
    rate
}

/// Events a second that a plain segment writer takes, each synced, with so many in flight.
fn raw_log(flight: usize, events: usize) -> f64 {
    use futures_util::stream::{FuturesUnordered, StreamExt};
    let path = directory("workflow-plain");
    std::fs::create_dir_all(&path).unwrap();
    let writer = PlainWriter::begin(path, true);
    let write = || writer.write([vec![7; 200]]);
    let began = Instant::now();
    pollster::block_on(async {
        let mut running: FuturesUnordered<_> = (0..flight).map(|_| write()).collect();
        let mut left = events - flight;
        while running.next().await.is_some() {
            if left > 0 {
                left -= 1;
                running.push(write());
            }
        }
    });
    let rate = events as f64 / began.elapsed().as_secs_f64();
    writer.end();
    rate
}

/// The median of one at a time, in microseconds, and how many syncs each took.
fn alone(workflows: u64) -> (f64, f64) {
    let path = directory("workflow-alone");
    let (runtime, ended, counts) = start(Store::directory(&path).into());
    let mut times = Vec::new();
    let before = counts.syncs.load(SeqCst);
    for order in 0..workflows {
        let began = Instant::now();
        runtime.publish(Begin { order }).wait().unwrap();
        ended.recv().unwrap();
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    let syncs = (counts.syncs.load(SeqCst) - before) as f64 / workflows as f64;
    runtime.shutdown(secs(10)).wait().unwrap();
    std::fs::remove_dir_all(path).unwrap();
    (median(times), syncs)
}

/// The median of six commits in a row through a plain writer, in microseconds.
fn six_commits(times: u64) -> f64 {
    let path = directory("workflow-six");
    std::fs::create_dir_all(&path).unwrap();
    let writer = PlainWriter::begin(path, true);
    let six = |_| {
        let began = Instant::now();
        for _ in 0..6 {
            pollster::block_on(writer.write([vec![7; 200]])).unwrap();
        }
        began.elapsed().as_secs_f64() * 1e6
    };
    let found = median((0..times).map(six).collect());
    writer.end();
    found
}

fn bytes_per_step(flight: u64, workflows: u64) -> f64 {
    let path = directory("workflow-bytes");
    let (_, bytes) = in_flight(Store::directory(&path).into(), flight, workflows);
    std::fs::remove_dir_all(path).unwrap();
    bytes as f64 / (workflows * 7) as f64
}

const CHILD: &str = "CUELINE_BENCH_WORKFLOWS";

/// The process that is killed while so many are under way.
fn is_killed(path: &Path) {
    let (runtime, ended, _) = start(Store::directory(path).into());
    runtime.publish_all((0..1_000).map(|order| Begin { order })).wait().unwrap();
    println!("begun");
    loop {
        ended.recv().unwrap();
        runtime.publish(Begin { order: 0 }).wait().unwrap();
    }
}

fn child(path: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.env(CHILD, path).stdout(Stdio::piped()).spawn().unwrap()
}

/// Milliseconds from opening until all that were under way have ended.
fn recovered() -> f64 {
    use std::io::{BufRead, BufReader};
    let path = directory("workflow-killed");
    let mut child = child(&path);
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    child.kill().unwrap();
    child.wait().unwrap();
    let began = Instant::now();
    let (runtime, _, _) = start(Store::directory(&path).into());
    runtime.idle().wait();
    while !runtime.workflows(|_| true).is_empty() {
        std::thread::yield_now();
    }
    let took = began.elapsed().as_secs_f64() * 1e3;
    runtime.shutdown(secs(10)).wait().unwrap();
    std::fs::remove_dir_all(path).unwrap();
    took
}

/// What the process has in memory (`VmRSS`), or had at most (`VmHWM`).
fn memory(of: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(of)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn sleep(runtime: &Runtime, workflows: u64, wait: u64) {
    for first in (0..workflows).step_by(10_000) {
        let naps = (first..first + 10_000).map(|order| Nap { order, wait });
        runtime.publish_all(naps).wait().unwrap();
    }
}

const MILLION: u64 = 1_000_000;
const DUE: &str = "CUELINE_BENCH_DUE";

/// The process in which all are due when it opens the log.
fn wakes_all(path: &Path) {
    let (runtime, ended, _) = start(Store::directory(path).into());
    let (opened, began) = (memory("VmRSS"), Instant::now());
    (0..MILLION).for_each(|_| ended.recv().unwrap());
    println!("{opened} {} {}", memory("VmHWM"), began.elapsed().as_secs_f64());
    runtime.shutdown(secs(60)).wait().unwrap();
}

/// Bytes in memory when a log is open in which a million are due, what more there was at most until all had
/// ended, and how many seconds that took.
fn due() -> (f64, f64, f64) {
    let path = directory("workflow-due");
    let (runtime, _, _) = start(Store::directory(&path).into());
    let wait = 60;
    sleep(&runtime, MILLION, wait);
    runtime.idle().wait();
    runtime.shutdown(secs(60)).wait().unwrap();
    std::thread::sleep(secs(wait));
    let ran = Command::new(std::env::current_exe().unwrap()).env(DUE, &path).output().unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    let mut said = said.split_whitespace().map(|number| number.parse::<f64>().unwrap());
    let [opened, most, took] = std::array::from_fn(|_| said.next().unwrap());
    std::fs::remove_dir_all(path).unwrap();
    (opened, most - opened, took)
}

/// Bytes for each that sleeps, and seconds until a log with all of them is open.
fn sleeping(workflows: u64) -> (f64, f64) {
    let path = directory("workflow-sleeping");
    let (runtime, _, _) = start(Store::directory(&path).into());
    let before = memory("VmRSS");
    sleep(&runtime, workflows, 86_400);
    runtime.idle().wait();
    let each = (memory("VmRSS") - before) as f64 / workflows as f64;
    runtime.shutdown(secs(60)).wait().unwrap();
    let began = Instant::now();
    let (runtime, _, _) = start(Store::directory(&path).into());
    let opened = began.elapsed().as_secs_f64();
    assert_eq!(runtime.workflows(|_| true).len() as u64, workflows);
    runtime.shutdown(secs(60)).wait().unwrap();
    std::fs::remove_dir_all(path).unwrap();
    (each, opened)
}

fn main() {
    if let Some(path) = std::env::var_os(CHILD) {
        return is_killed(Path::new(&path));
    }
    if let Some(path) = std::env::var_os(DUE) {
        return wakes_all(Path::new(&path));
    }
    let runs = runs();
    println!("{:<44} {:>14} {:>14} {:>8} {:>12}", "case", "cueline", "plain", "ratio", "goal");
    if wanted("in memory") {
        let found = medians(runs, &[&|| in_flight(Store::memory(), 100, 200_000).0]);
        println!("{:<44} {:>12.0}/s {:>36}", "in memory, 100 in flight", found[0], ">= 100,000/s");
    }
    for (flight, workflows, goal) in [(100, 20_000, ">= 20,000/s"), (1_000, 40_000, ">= 30,000/s")]
    {
        let case = format!("synced, {flight} in flight");
        if wanted(&case) {
            let (ours, raw) = (
                || synced(flight, workflows),
                || raw_log(flight as usize, 7 * workflows as usize) / 7.0,
            );
            let found = medians(runs, &[&ours, &raw]);
            let ratio = found[0] / found[1];
            println!(
                "{case:<44} {:>12.0}/s {:>12.0}/s {ratio:>7.2}x {goal:>12}",
                found[0], found[1]
            );
            println!("  (the raw log: seven synced events of 200 bytes count as one workflow)");
        }
    }
    if wanted("one at a time") {
        let found = medians(runs, &[&|| alone(500).0, &|| six_commits(500)]);
        let ratio = found[0] / found[1];
        let case = "one at a time / six commits, median";
        println!(
            "{case:<44} {:>11.0} us {:>11.0} us {ratio:>7.2}x {:>12}",
            found[0], found[1], "<= 1.25"
        );
        println!("  (syncs for each: {:.2}; goal 6)", alone(500).1);
    }
    if wanted("bytes") {
        let found = medians(runs, &[&|| bytes_per_step(100, 20_000)]);
        println!(
            "{:<44} {:>14.0} {:>37}",
            "log bytes for each step, 100 in flight", found[0], "< 300"
        );
    }
    if wanted("killed") {
        let found = medians(runs, &[&recovered]);
        println!(
            "{:<44} {:>11.0} ms {:>37}",
            "killed with 1,000 in flight, all complete", found[0], "< 500 ms"
        );
    }
    if wanted("sleeping") {
        let (each, opened) = sleeping(MILLION);
        println!("{:<44} {each:>8.0} bytes {:>37}", "1,000,000 sleeping, each", "< 1,024");
        println!(
            "{:<44} {opened:>12.2} s {:>37}",
            "a log with all of them is open after", "< 1.5 s"
        );
    }
    if wanted("due") {
        let (opened, more, took) = due();
        println!(
            "1,000,000 due when the log is opened: {:.0} MB then, {:.0} MB more at most, all have ended after {took:.1} s",
            opened / 1e6,
            more / 1e6,
        );
    }
}
