//! What one domain feels of another: the latency of a workflow of one step (two commits) in a domain of its
//! own, alone, while another mediator is killed over and over, and while that one is flooded.
//! `cargo bench --bench isolation`.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};
use cueline::prelude::*;
use cueline::{Observer, Signal};
use serde::{Deserialize, Serialize};
use support::plain::PlainWriter;
use support::{median, runs, wanted};

#[derive(Serialize, Deserialize)]
struct Quiet {
    order: u64,
}
cueline::event!(Quiet, "quiet");

#[derive(Serialize, Deserialize)]
struct Loud {
    order: u64,
}
cueline::event!(Loud, "loud");

#[derive(Serialize, Deserialize)]
struct Small {
    order: u64,
}
cueline::command!(Small, "small" => u64);

#[derive(Serialize, Deserialize)]
struct Big {
    order: u64,
}
cueline::command!(Big, "big" => u64);

struct Worker;
impl Processor for Worker {}
impl Handle<Small> for Worker {
    async fn handle(&mut self, command: &Small, _: &mut Context) -> Outcome<u64> {
        Ok(command.order)
    }
}
impl Handle<Big> for Worker {
    async fn handle(&mut self, command: &Big, _: &mut Context) -> Outcome<u64> {
        Ok(command.order)
    }
}

struct One;
impl Workflow for One {
    const NAME: &'static str = "one";
    type Input = Quiet;
    type Output = u64;
    type Expects = ();
    async fn run(&self, quiet: Quiet, steps: Steps) -> Outcome<u64> {
        steps.call(Small { order: quiet.order }).await
    }
}

struct Many;
impl Workflow for Many {
    const NAME: &'static str = "many";
    type Input = Loud;
    type Output = u64;
    type Expects = ();
    async fn run(&self, loud: Loud, steps: Steps) -> Outcome<u64> {
        let mut sum = 0;
        for _ in 0..7 {
            sum += steps.call(Big { order: loud.order }).await?;
        }
        Ok(sum)
    }
}

/// Tells when a quiet one has ended, and counts the others.
struct Watch {
    ended: Sender<()>,
    loud: Arc<AtomicU64>,
}
impl Observer for Watch {
    fn observe(&self, signal: &Signal<'_>) {
        match signal {
            Signal::WorkflowEnded { workflow: "one", .. } => drop(self.ended.send(())),
            Signal::WorkflowEnded { .. } => drop(self.loud.fetch_add(1, SeqCst)),
            _ => {}
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Beside {
    Nothing,
    Killed,
    /// A million events wait for it.
    Behind,
    /// They come as fast as one publisher can.
    Flooded,
}

fn start(store: Store) -> (Runtime, Receiver<()>, Arc<AtomicU64>) {
    let (tell, ended) = unbounded();
    let loud = Arc::<AtomicU64>::default();
    let quiet = Supervisor::new("quiet")
        .child(processor("small", || Worker).serves::<Small>())
        .child(Mediator::for_domain("quiet-domain").workflow(One).starts_on::<Quiet>());
    let many = Mediator::for_domain("loud-domain").workflow(Many).starts_on::<Loud>();
    let others = Supervisor::new("loud")
        .child(processor("big", || Worker).serves::<Big>())
        .child(many.kill_to_stop());
    let watch = Watch { ended: tell, loud: loud.clone() };
    let threads = std::env::var("THREADS").ok().and_then(|of| of.parse().ok()).unwrap_or(4);
    let runtime = Runtime::builder("bench").threads(threads).store(store).observe(watch);
    let runtime = runtime.supervise(quiet).supervise(others).start().unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    (runtime, ended, loud)
}

/// Makes trouble until it is told to end.
fn trouble(runtime: &Runtime, beside: Beside, ends: &Arc<AtomicBool>) -> Option<JoinHandle<()>> {
    let (runtime, ends) = (runtime.clone(), ends.clone());
    let publish = move |runtime: &Runtime, from: u64, count: u64| {
        let orders = (from..from + count).map(|order| Loud { order });
        runtime.publish_all(orders).wait().unwrap();
    };
    match beside {
        Beside::Nothing => None,
        Beside::Killed => Some(std::thread::spawn(move || {
            let (tree, mut kills) = (runtime.supervisor("loud").unwrap(), 0);
            while !ends.load(SeqCst) {
                publish(&runtime, kills * 10, 10);
                tree.stop("loud-domain").wait().unwrap();
                tree.restart("loud-domain").wait().unwrap();
                kills += 1;
            }
        })),
        Beside::Behind => {
            (0..1_000).for_each(|of| publish(&runtime, of * 1_000, 1_000));
            None
        }
        Beside::Flooded => Some(std::thread::spawn(move || {
            let mut order = 0;
            while !ends.load(SeqCst) {
                publish(&runtime, order, 256);
                order += 256;
            }
        })),
    }
}

/// In microseconds; and how many workflows a second ended beside it.
struct Latency {
    p50: f64,
    p99: f64,
    beside: f64,
}

impl Latency {
    fn of(mut took: Vec<f64>, beside: f64) -> Self {
        took.sort_by(f64::total_cmp);
        Self { p50: took[took.len() / 2], p99: took[took.len() * 99 / 100], beside }
    }
}

fn latency(beside: Beside, on_disk: bool, times: u64) -> Latency {
    let path: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("isolation");
    std::fs::remove_dir_all(&path).ok();
    let store = if on_disk { Store::directory(&path).into() } else { Store::memory() };
    let (runtime, ended, loud) = start(store);
    let ends = Arc::new(AtomicBool::new(false));
    let trouble = trouble(&runtime, beside, &ends);
    let before = loud.load(SeqCst);
    let mut took = Vec::new();
    let began = Instant::now();
    for order in 0..times {
        let began = Instant::now();
        runtime.publish(Quiet { order }).wait().unwrap();
        ended.recv().unwrap();
        took.push(began.elapsed().as_secs_f64() * 1e6);
    }
    let all = began.elapsed().as_secs_f64();
    ends.store(true, SeqCst);
    trouble.into_iter().for_each(|trouble| trouble.join().unwrap());
    let beside = (loud.load(SeqCst) - before) as f64 / all;
    runtime.shutdown(secs(0)).wait().unwrap();
    std::fs::remove_dir_all(&path).ok();
    Latency::of(took, beside)
}

/// Two commits in a row through a plain writer, while so many threads compute: what the machine does to whoever
/// waits for a disk, whatever is written beside it.
fn plain(computing: usize, times: u64) -> Latency {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("isolation-plain");
    std::fs::remove_dir_all(&path).ok();
    std::fs::create_dir_all(&path).unwrap();
    let (writer, ends) = (PlainWriter::begin(path, true), Arc::new(AtomicBool::new(false)));
    let compute = |_| {
        let ends = ends.clone();
        std::thread::spawn(move || {
            let mut sum = 0u64;
            while !ends.load(SeqCst) {
                (0..1_000).for_each(|n| sum = std::hint::black_box(sum.wrapping_mul(31) + n));
            }
        })
    };
    let computing: Vec<_> = (0..computing).map(compute).collect();
    let two = |_| {
        let began = Instant::now();
        for _ in 0..2 {
            pollster::block_on(writer.write([vec![7; 200]])).unwrap();
        }
        began.elapsed().as_secs_f64() * 1e6
    };
    let took = (0..times).map(two).collect();
    ends.store(true, SeqCst);
    computing.into_iter().for_each(|thread| thread.join().unwrap());
    writer.end();
    Latency::of(took, 0.0)
}

fn main() {
    let times = std::env::var("TIMES").ok().and_then(|of| of.parse().ok()).unwrap_or(2000);
    if wanted("plain") {
        let mut ratios = Vec::new();
        for _ in 0..runs() {
            let (alone, with) = (plain(0, times), plain(2, times));
            let ratio = with.p99 / alone.p99;
            println!(
                "plain, two commits alone: p50 {:.0} us, p99 {:.0} us; beside two threads that compute: p50 {:.0} us, \
                 p99 {:.0} us: {ratio:.2} x",
                alone.p50, alone.p99, with.p50, with.p99
            );
            ratios.push(ratio);
        }
        println!("plain: p99 beside two threads that compute: {:.2} x", median(ratios));
    }
    for (name, on_disk) in [("on disk", true), ("in memory", false)] {
        if !wanted(name) {
            continue;
        }
        let cases = [
            ("killed over and over", Beside::Killed),
            ("a million events behind", Beside::Behind),
            ("flooded as fast as one publisher can", Beside::Flooded),
        ];
        let mut ratios = [const { Vec::new() }; 3];
        for _ in 0..runs() {
            let alone = latency(Beside::Nothing, on_disk, times);
            println!("{name}, alone: p50 {:.0} us, p99 {:.0} us", alone.p50, alone.p99);
            for ((what, beside), ratios) in cases.iter().zip(&mut ratios) {
                let with = latency(*beside, on_disk, times);
                let ratio = with.p99 / alone.p99;
                println!(
                    "{name}, another one {what} ({:.0} workflows/s): p50 {:.0} us, p99 {:.0} us: {ratio:.2} x",
                    with.beside, with.p50, with.p99,
                );
                ratios.push(ratio);
            }
        }
        for ((what, _), ratios) in cases.iter().zip(ratios) {
            println!("{name}: p99 with another mediator {what}: {:.2} x (goal 2)", median(ratios));
        }
    }
}
