//! `cueline-log` copies a log, and mends one: what is damaged is an operator's decision, and what nobody
//! needs is given back.

#![allow(missing_docs, clippy::unwrap_used)]

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use cueline::prelude::*;
use cueline::{Channel, ErrorKind, Retention};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Counted {
    number: u64,
    padding: String,
}
cueline::event!(Counted, "counted", key: |event| event.number % 7);

#[derive(Default, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Tally {
    events: u64,
    sum: u64,
}

/// Keeps how many it has seen, and what they add up to.
struct Counter;
impl Processor for Counter {}
impl Handle<Counted> for Counter {
    async fn handle(&mut self, event: &Counted, cx: &mut Context) -> Outcome {
        let tally = cx.state::<Tally>("all")?;
        (tally.events, tally.sum) = (tally.events + 1, tally.sum + event.number);
        Ok(())
    }
}

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("cueline-mending-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cueline-log")).args(arguments).output().unwrap()
}

fn said(arguments: &[&str]) -> String {
    let ran = run(arguments);
    let (out, error) = (String::from_utf8(ran.stdout).unwrap(), ran.stderr);
    assert!(ran.status.success(), "{out}{}", String::from_utf8_lossy(&error));
    out
}

fn path(directory: &Directory) -> &str {
    directory.0.to_str().unwrap()
}

fn try_start(directory: &Path) -> Result<Runtime, Error> {
    let counter = processor("counter", || Counter).on::<Counted>();
    Runtime::builder("counts")
        .store(Store::directory(directory).limit(64 << 20))
        .supervise(Supervisor::new("counts").child(counter))
        .start()
}

fn start(directory: &Path) -> Runtime {
    try_start(directory).unwrap()
}

fn count(number: u64) -> Counted {
    Counted { number, padding: "x".repeat(400) }
}

fn stop(runtime: Runtime) {
    runtime.shutdown(secs(20)).wait().unwrap();
}

fn tally(runtime: &Runtime) -> Tally {
    runtime.state("counter", "all").unwrap_or_default()
}

/// Flips a bit in the middle of what the last segment holds.
fn damage(directory: &Path) {
    let segment = directory.join("0000000000000000.log");
    let file = std::fs::File::options().read(true).write(true).open(segment).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 4_800).unwrap();
    file.write_all_at(&[byte[0] ^ 4], 4_800).unwrap();
}

#[test]
fn a_damaged_log_is_refused_until_somebody_accepts_what_is_lost() {
    let directory = Directory::new("damaged");
    let runtime = start(&directory.0);
    for number in 0..20 {
        runtime.publish(count(number)).wait().unwrap();
    }
    runtime.idle().wait();
    stop(runtime);
    damage(&directory.0);
    let refused = || try_start(&directory.0).err().unwrap();
    assert_eq!(refused().kind(), ErrorKind::Damaged);
    let text = refused().to_string();
    assert!(text.contains("0000000000000000.log from 4"), "{text}");
    let next = format!("cueline-log accept-loss {}", path(&directory));
    assert!(text.contains(&next), "{text}");
    let compact = run(&["compact", path(&directory)]);
    assert!(String::from_utf8_lossy(&compact.stderr).contains("accept-loss"));

    let accepted = said(&["accept-loss", path(&directory)]);
    assert!(accepted.contains("accepted    0000000000000000.log from 4"), "{accepted}");
    let again = said(&["accept-loss", path(&directory)]);
    assert!(again.contains("nothing is lost that had not been accepted"), "{again}");
    for round in 0..3 {
        let runtime = start(&directory.0);
        runtime.publish(count(100)).wait().unwrap();
        runtime.idle().wait();
        assert!(tally(&runtime).events >= 18 + round, "{:?}", tally(&runtime));
        let busy = run(&["accept-loss", path(&directory)]);
        assert!(String::from_utf8_lossy(&busy.stderr).contains("in use by another process"));
        stop(runtime);
    }
}

/// A log that small is full now and then.
fn publish(runtime: &Runtime, numbers: std::ops::Range<u64>) {
    let mut events: Vec<_> = numbers.map(count).collect();
    loop {
        match runtime.publish_all(events).wait() {
            Ok(()) => return,
            Err(Refused::NoSpace(rest)) => events = rest,
            Err(other) => panic!("{other}"),
        }
    }
}

/// Ends what goes on meanwhile, also when it panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// While it is written as quickly as that goes, and segments are given back and written again.
#[test]
fn a_copy_of_a_running_log_is_a_log_of_its_own() {
    let directory = Directory::new("original");
    let runtime = start(&directory.0);
    let (published, ends) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let over = Over(&ends);
        scope.spawn(|| {
            let mut next = 0;
            while !ends.load(SeqCst) {
                publish(&runtime, next..next + 500);
                next += 500;
                published.store(next, SeqCst);
            }
        });
        while published.load(SeqCst) < 20_000 {
            std::thread::yield_now();
        }
        for round in 0..5 {
            let copy = Directory::new(&format!("copy-{round}"));
            let before = published.load(SeqCst);
            let text = said(&["backup", path(&directory), path(&copy)]);
            assert!(text.contains("up to position"), "{text}");
            assert!(said(&["verify", path(&copy)]).contains("all right"));
            let full = run(&["backup", path(&directory), path(&copy)]);
            assert!(String::from_utf8_lossy(&full.stderr).contains("is not empty"));
            // Nothing that happens to the one happens to the other.
            let restored = start(&copy.0);
            restored.idle().wait();
            let restored_to = tally(&restored);
            assert!(restored_to.events >= before, "{restored_to:?} of {before}");
            assert_eq!(restored_to.sum, (0..restored_to.events).sum::<u64>(), "each once");
            for number in 0..30 {
                publish(&restored, number * 100..number * 100 + 100);
                restored.idle().wait();
            }
            assert_eq!(tally(&restored).events, restored_to.events + 3_000);
            stop(restored);
            assert!(said(&["verify", path(&copy)]).contains("all right"));
            // The copy's links go, and what was linked is written again.
            let passed = published.load(SeqCst) + 10_000;
            while published.load(SeqCst) < passed {
                std::thread::yield_now();
            }
        }
        drop(over);
    });
    runtime.idle().wait();
    let all = published.load(SeqCst);
    assert_eq!(tally(&runtime), Tally { events: all, sum: (0..all).sum() });
    stop(runtime);
    assert!(said(&["verify", path(&directory)]).contains("all right"));
    let runtime = start(&directory.0);
    assert_eq!(tally(&runtime).events, all);
    stop(runtime);
}

fn log_files(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.strip_suffix(".log").is_some()).count()
}

#[test]
fn what_nobody_needs_is_given_back_at_once_and_what_is_retained_is_not() {
    for (retention, given_back) in [(Retention::None, true), (Retention::Age(hours(1)), false)] {
        let directory = Directory::new(&format!("compact-{given_back}"));
        let counter = processor("counter", || Counter).on::<Counted>();
        let runtime = Runtime::builder("counts")
            .store(Store::directory(&directory.0).limit(64 << 20))
            .channel::<Counted>(Channel::default().retain(retention))
            .supervise(Supervisor::new("counts").child(counter))
            .start()
            .unwrap();
        // All but the last are consumed by the time it stops, which is sooner than it is tidied.
        runtime.publish_all((0..30_000).map(count)).wait().unwrap();
        runtime.idle().wait();
        let busy = run(&["compact", path(&directory)]);
        assert!(String::from_utf8_lossy(&busy.stderr).contains("in use by another process"));
        stop(runtime);
        let text = said(&["compact", path(&directory)]);
        assert!(text.contains("segments of"), "{text}");
        assert_eq!(log_files(&directory.0) <= 2, given_back, "{text}");
        assert!(said(&["verify", path(&directory)]).contains("all right"));
        let runtime = start(&directory.0);
        assert_eq!(tally(&runtime).events, 30_000);
        stop(runtime);
    }
}
