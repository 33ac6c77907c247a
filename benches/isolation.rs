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
    w: Arc<std::sync::Mutex<Vec<(u64, u64, u64, Instant)>>>,
}
impl Observer for Watch {
    fn observe(&self, signal: &Signal<'_>) {
        match signal {
            Signal::WorkflowEnded { workflow: "one", .. } => drop(self.ended.send(())),
            Signal::Written { commits, bytes, synced } => self.w.lock().unwrap().push((
                *commits as u64,
                *bytes,
                synced.map_or(0, |s| s.as_micros() as u64),
                Instant::now(),
            )),
            Signal::WorkflowEnded { .. } => drop(self.loud.fetch_add(1, SeqCst)),
            _ => {}
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Beside {
    Nothing,
    Killed,
    Flooded,
}

static W: std::sync::OnceLock<Arc<std::sync::Mutex<Vec<(u64, u64, u64, Instant)>>>> =
    std::sync::OnceLock::new();
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
    let watch =
        Watch { ended: tell, loud: loud.clone(), w: W.get_or_init(Default::default).clone() };
    let threads = std::env::var("THREADS").ok().and_then(|of| of.parse().ok()).unwrap_or(4);
    let runtime = Runtime::builder("bench").threads(threads).store(store).observe(watch);
    (runtime.supervise(quiet).supervise(others).start().unwrap(), ended, loud)
}

/// Makes trouble until it is told to end.
fn trouble(runtime: &Runtime, beside: Beside, ends: &Arc<AtomicBool>) -> Option<JoinHandle<u64>> {
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
            kills
        })),
        Beside::Flooded => Some(std::thread::spawn(move || {
            let mut order = 0;
            while !ends.load(SeqCst) {
                publish(&runtime, order, 256);
                order += 256;
            }
            order
        })),
    }
}

/// The median and the 99th percentile, in microseconds; and how much was done beside it.
fn latency(beside: Beside, on_disk: bool, times: u64) -> (f64, f64, u64, f64) {
    let path: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("isolation");
    std::fs::remove_dir_all(&path).ok();
    let store = if on_disk { Store::directory(&path).into() } else { Store::memory() };
    let (runtime, ended, loud) = start(store);
    let ends = Arc::new(AtomicBool::new(false));
    let trouble = trouble(&runtime, beside, &ends);
    let mut took = Vec::new();
    let mut pubs = Vec::new();
    let began = Instant::now();
    for order in 0..times {
        let began = Instant::now();
        runtime.publish(Quiet { order }).wait().unwrap();
        pubs.push(began.elapsed().as_secs_f64() * 1e6);
        ended.recv().unwrap();
        took.push(began.elapsed().as_secs_f64() * 1e6);
    }
    let all = began.elapsed().as_secs_f64();
    ends.store(true, SeqCst);
    {
        let mut w = std::mem::take(&mut *W.get().unwrap().lock().unwrap());
        let gaps: Vec<u64> = w.windows(2).map(|p| (p[1].3 - p[0].3).as_micros() as u64).collect();
        let q = |mut v: Vec<u64>| {
            v.sort_unstable();
            let n = v.len();
            if n == 0 {
                return String::new();
            }
            format!(
                "p50 {} p90 {} p99 {} max {}",
                v[n / 2],
                v[n * 9 / 10],
                v[n * 99 / 100],
                v[n - 1]
            )
        };
        eprintln!(
            "groups {} commits {} bytes {} sync {} gaps {}",
            w.len(),
            q(w.iter().map(|x| x.0).collect()),
            q(w.iter().map(|x| x.1).collect()),
            q(w.iter().map(|x| x.2).collect()),
            q(gaps)
        );
        w.clear();
    }
    let done = trouble.map_or(0, |trouble| trouble.join().unwrap());
    let rate = loud.load(SeqCst) as f64 / all;
    runtime.shutdown(secs(0)).wait().unwrap();
    std::fs::remove_dir_all(&path).ok();
    took.sort_by(f64::total_cmp);
    pubs.sort_by(f64::total_cmp);
    eprintln!(
        "publish p50 {:.0} p99 {:.0} max {:.0}; all max {:.0} p90 {:.0}",
        pubs[pubs.len() / 2],
        pubs[pubs.len() * 99 / 100],
        pubs[pubs.len() - 1],
        took[took.len() - 1],
        took[took.len() * 9 / 10]
    );
    (took[took.len() / 2], took[took.len() * 99 / 100], done, rate)
}

fn main() {
    for (name, on_disk) in [("on disk", true), ("in memory", false)] {
        if !wanted(name) {
            continue;
        }
        let mut ratios = (Vec::new(), Vec::new());
        for _ in 0..runs() {
            let times = std::env::var("TIMES").ok().and_then(|of| of.parse().ok()).unwrap_or(3000);
            let alone = latency(Beside::Nothing, on_disk, times);
            println!("{name}, alone: p50 {:.0} us, p99 {:.0} us", alone.0, alone.1);
            for (what, beside, into) in [
                ("killed", Beside::Killed, &mut ratios.0),
                ("flooded", Beside::Flooded, &mut ratios.1),
            ] {
                let with = latency(beside, on_disk, times);
                println!(
                    "{name}, another one {what} ({}; {:.0} workflows/s): p50 {:.0} us, p99 {:.0} us: {:.2} x",
                    with.2,
                    with.3,
                    with.0,
                    with.1,
                    with.1 / alone.1
                );
                into.push(with.1 / alone.1);
            }
        }
        println!("{name}: p99 with another mediator killed {:.2} x", median(ratios.0));
        println!("{name}: p99 with another mediator flooded {:.2} x", median(ratios.1));
    }
}
