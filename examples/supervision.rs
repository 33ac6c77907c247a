//! A small tree that is hurt in each way in turn, and what its supervisors do about it: a panic, an
//! error, a hang, a thread that is blocked, a child that cannot start, a thousand that die at once,
//! and poison. At the end it counts: no event was lost. `cargo run --release --example supervision`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cueline::prelude::*;
use cueline::{ChildState, Observer, Signal};
use serde::{Deserialize, Serialize};

/// Work, and how it hurts whoever does it first.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq)]
enum Hurt {
    No,
    Panic,
    Error,
    Hang,
    Block,
    /// Every time it is delivered.
    Poison,
    /// Takes the licence away.
    Expire,
}

#[derive(Serialize, Deserialize)]
struct Task {
    number: u64,
    hurt: Hurt,
}
cueline::event!(Task, "task", key: |task| task.number);

/// All members of the choir hear it.
#[derive(Serialize, Deserialize)]
struct WrongNote;
cueline::event!(WrongNote, "wrong-note");

/// Does what it is told, and counts it in its kept state.
struct Worker;
impl Processor for Worker {}
impl Handle<Task> for Worker {
    async fn handle(&mut self, task: &Task, cx: &mut Context) -> Outcome {
        let first = cx.attempt() == 1;
        match task.hurt {
            Hurt::Panic => assert!(!first, "task {} hurts", task.number),
            Hurt::Error if first => return Err(Failure::transient("not this time")),
            Hurt::Hang if first => std::future::pending().await,
            Hurt::Block if first => std::thread::sleep(secs(3_600)),
            Hurt::Poison => panic!("task {} is poison", task.number),
            Hurt::No | Hurt::Error | Hurt::Hang | Hurt::Block | Hurt::Expire => {}
        }
        *cx.state::<u64>("done")? += 1;
        Ok(())
    }
}

/// Starts only with a licence.
struct Licensed(Arc<AtomicBool>);
impl Processor for Licensed {
    async fn started(&mut self, _: &mut Context) -> Outcome {
        if self.0.load(SeqCst) { Ok(()) } else { Err(Failure::transient("no licence yet")) }
    }
}
impl Handle<Task> for Licensed {
    async fn handle(&mut self, task: &Task, cx: &mut Context) -> Outcome {
        if task.hurt == Hurt::Expire && cx.attempt() == 1 {
            self.0.store(false, SeqCst);
            panic!("the licence has expired");
        }
        *cx.state::<u64>("done")? += 1;
        Ok(())
    }
}

/// Dies of a wrong note, once.
struct Singer(Arc<AtomicU64>);
impl Processor for Singer {}
impl Handle<WrongNote> for Singer {
    async fn handle(&mut self, _: &WrongNote, cx: &mut Context) -> Outcome {
        assert!(cx.attempt() > 1, "a wrong note");
        self.0.fetch_add(1, SeqCst);
        Ok(())
    }
}

/// Prints what the supervisors do, but for the storm, of which there would be thousands of lines.
struct Narrator(Arc<AtomicBool>);
impl Observer for Narrator {
    fn observe(&self, signal: &Signal<'_>) {
        if self.0.load(SeqCst) {
            return;
        }
        match signal {
            Signal::Restarted { processor, cause, took, .. } => {
                println!("    {processor} runs again after {took:.1?}: {}", cause.as_str());
            }
            Signal::Retried { processor, cause, wait, .. } => {
                println!("    {processor} gets the event again in {wait:.0?}: it {cause}");
            }
            Signal::Parked { processor, attempts, cause, .. } => {
                println!("    {processor}: parked after {attempts} attempts: it {cause}");
            }
            Signal::StartFailed { processor, error, wait, .. } => {
                let next = wait.map_or("not again".to_owned(), |wait| format!("in {wait:.0?}"));
                println!("    {processor} could not start: {error}; next try {next}");
            }
            Signal::ThreadLost { stuck, .. } => {
                println!("    a thread was stuck for {stuck:.0?}, and is given up");
            }
            Signal::GaveUp { supervisor, child, cause } => {
                println!("    {supervisor} gives up because of {child}: {cause}");
            }
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().len() > 1 {
        println!("hurts a small tree of supervisors in each way in turn; takes no arguments");
        return Ok(());
    }
    std::panic::set_hook(Box::new(|_| {})); // what happens is told below
    let (licence, sung, storm) =
        (Arc::new(AtomicBool::new(true)), Arc::default(), Arc::new(AtomicBool::new(false)));
    let runtime = start(&licence, &sung, &storm)?;
    println!("The tree:\n\n{}", runtime.tree());

    let mut published = 0;
    for (what, hurt) in [
        ("A handler panics: its instance is made anew, and gets the event again", Hurt::Panic),
        ("A handler returns an error: the event is tried again later", Hurt::Error),
        ("A handler awaits for ever: its future is dropped at its timeout", Hurt::Hang),
        ("A handler blocks its thread: the thread is given up, all on it moves", Hurt::Block),
        ("An event is poison: delivered twice, then parked; nobody else notices", Hurt::Poison),
    ] {
        println!("{what}.");
        let tasks = (0..100).map(|number| {
            let hurt = if number == 50 { hurt } else { Hurt::No };
            Task { number: published + number, hurt }
        });
        runtime.publish_all(tasks.collect::<Vec<_>>()).wait()?;
        published += 100;
        until(|| rests(&runtime, "worker"));
        println!();
    }

    println!("A child cannot start again: it is tried more and more patiently; its events wait.");
    let tasks = (0..100).map(|number| {
        let hurt = if number == 50 { Hurt::Expire } else { Hurt::No };
        Task { number: published + number, hurt }
    });
    runtime.publish_all(tasks.collect::<Vec<_>>()).wait()?;
    published += 100;
    until(|| restarts(&runtime, "licensed") >= 4);
    licence.store(true, SeqCst);
    runtime.idle().wait();
    println!("    its licence has come, and it has caught up\n");

    println!("A thousand die at once: each is restarted by itself.");
    let choir = runtime.pool::<u64>("company/choir")?;
    let singers: Vec<_> = (0..1_000).map(|number| choir.start(number)).collect();
    singers.into_iter().try_for_each(|singer| singer.wait().map(drop))?;
    storm.store(true, SeqCst);
    let began = Instant::now();
    runtime.publish(WrongNote).wait()?;
    runtime.idle().wait();
    let took = began.elapsed();
    storm.store(false, SeqCst);
    println!("    {} sing again after {took:.0?}\n", sung.load(SeqCst));

    println!("The tree now:\n\n{}", brief(&runtime));
    let done = |name| runtime.state::<u64>(name, "done").unwrap_or(0);
    let parked = runtime.parked().len() as u64;
    println!("published {published} tasks; worker: {} done, {parked} parked", done("worker"));
    println!("                     licensed: {} done", done("licensed"));
    assert_eq!(done("worker") + parked, published, "the worker lost or doubled something");
    assert_eq!(done("licensed"), published, "the licensed one lost or doubled something");
    assert_eq!(sung.load(SeqCst), 1_000);
    let undone = runtime.shutdown(secs(10)).wait()?;
    assert_eq!(undone.len() as u64, parked, "what is parked comes back");
    println!("No event was lost, and none was counted twice.");
    Ok(())
}

fn start(
    licence: &Arc<AtomicBool>,
    sung: &Arc<AtomicU64>,
    quiet: &Arc<AtomicBool>,
) -> Result<Runtime, Error> {
    let (licence, sung) = (licence.clone(), sung.clone());
    let worker = processor("worker", || Worker)
        .on::<Task>()
        .timeout(millis(200))
        .retry(Retry::attempts(3).backoff(Backoff::new(millis(10), millis(100))));
    let licensed = processor("licensed", move || Licensed(licence.clone())).on::<Task>();
    let singer = processor_with("singer", move |_: &u64| Singer(sung.clone()))
        .on::<WrongNote>()
        .own_subscription(|_: &u64, _| true)
        .count(Count::Every);
    let company = Supervisor::new("company")
        .intensity(Intensity::within(5, secs(10)))
        .child(worker)
        .child(Supervisor::new("office").backoff(Backoff::new(millis(20), secs(1))).child(licensed))
        .child(Pool::new("choir", singer).backoff(Backoff::none()));
    let runtime =
        Runtime::builder("theatre").observe(Narrator(quiet.clone())).supervise(company).start()?;
    let all_run = || runtime.tree().children.iter().all(|child| child.state == ChildState::Running);
    until(all_run);
    Ok(runtime)
}

/// Looks again and again until it is so.
fn until(fact: impl Fn() -> bool) {
    while !fact() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Nothing waits for it, and nothing of it will be tried again.
fn rests(runtime: &Runtime, name: &str) -> bool {
    let reports = runtime.processors();
    reports.iter().any(|of| &*of.name == name && of.waiting == 0 && of.retrying == 0)
}

/// How often a child of the office was restarted.
fn restarts(runtime: &Runtime, name: &str) -> u64 {
    let office = runtime.supervisor("company/office").and_then(|office| office.children());
    let children = office.unwrap_or_default();
    children.iter().find(|child| child.name == name).map_or(0, |child| child.restarts)
}

/// The tree without the choir's members.
fn brief(runtime: &Runtime) -> String {
    let tree = runtime.tree().to_string();
    let lines = tree.lines().filter(|line| !line.contains("singer#"));
    lines.fold(String::new(), |all, line| all + line + "\n")
}
