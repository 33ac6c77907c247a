//! When the log has reached its limit, or the disk is full, publishers are told so and handlers wait
//! with what they publish; all that is there is handled and acknowledged, and when enough of it is gone
//! everything goes on without a restart.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use cueline::prelude::*;
use cueline::{Refused, Store};
use serde::{Deserialize, Serialize};

use crate::support::{Directory, Log, Sum, idle, stop, within};

const MIB: u64 = 1 << 20;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Bulk {
    value: u64,
    text: String,
}
cueline::event!(Bulk, "bulk");

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Trigger(u64);
cueline::event!(Trigger, "trigger");

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Triggered(u64);
cueline::event!(Triggered, "triggered");

struct Slow;
impl Processor for Slow {}
impl Handle<Bulk> for Slow {
    async fn handle(&mut self, event: &Bulk, cx: &mut Context) -> Outcome {
        let sum = cx.state::<Sum>("all")?;
        (sum.events, sum.sum) = (sum.events + 1, sum.sum + event.value);
        Ok(())
    }
}
impl Handle<Triggered> for Slow {
    async fn handle(&mut self, event: &Triggered, cx: &mut Context) -> Outcome {
        *cx.state::<u64>("triggered")? += event.0;
        Ok(())
    }
}

struct Teller(Log);
impl Processor for Teller {}
impl Handle<Trigger> for Teller {
    async fn handle(&mut self, event: &Trigger, cx: &mut Context) -> Outcome {
        self.0.note(event.0, cx.attempt());
        cx.publish(Triggered(event.0));
        Ok(())
    }
}

fn bulk(value: u64) -> Bulk {
    Bulk { value, text: "x".repeat(1_000) }
}

fn begin(store: Directory_, log: &Log) -> Runtime {
    let log = log.clone();
    let teller = processor("teller", move || Teller(log.clone())).on::<Trigger>();
    let slow = processor("slow", || Slow).on::<Bulk>().on::<Triggered>();
    let tests = Supervisor::new("tests").child(slow).child(teller);
    Runtime::builder("test").threads(2).store(store).supervise(tests).start().unwrap()
}

type Directory_ = cueline::Directory;

/// Publishes until there is no room, and a trigger after so many; how many were taken in.
fn fill(runtime: &Runtime, trigger: u64) -> u64 {
    for value in 0.. {
        if value == trigger {
            runtime.publish(Trigger(7)).wait().unwrap();
        }
        match runtime.publish(bulk(value)).wait() {
            Ok(_) => {}
            Err(Refused::NoSpace(event)) => {
                assert_eq!(event.value, value, "it comes back");
                return value;
            }
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!("the disk is never full")
}

fn handles_what_is_there(
    store: impl Fn() -> Directory_,
    trigger: u64,
    full: impl FnOnce(&Runtime),
) {
    let log = Log::default();
    let runtime = begin(store(), &log);
    runtime.pause("slow").unwrap();
    runtime.pause("teller").unwrap();
    let taken = fill(&runtime, trigger);
    assert!(taken > trigger, "{taken} were taken in");
    let why = runtime.why_not_ready().join("\n");
    assert!(why.contains("disk is full"), "{why}");
    assert!(matches!(runtime.try_publish(bulk(0)), Err(Refused::NoSpace(_))));
    runtime.tell(bulk(0)).unwrap(); // dropped, and counted
    let refused = runtime.publish_all(vec![bulk(0), bulk(1)]).wait().unwrap_err();
    assert_eq!(refused.into_event().map(|events| events.len()), Some(2));

    // A handler that publishes waits for room, and that is no fault of its event.
    runtime.resume("teller").unwrap();
    let seen = log.clone();
    within("it is tried twice", move || waits_for_attempts(&seen, 2));
    assert!(log.attempts().iter().all(|attempt| *attempt == (7, 1)), "{:?}", log.attempts());

    full(&runtime);
    runtime.resume("slow").unwrap();
    idle(&runtime);
    let sum = Sum { events: taken, sum: (0..taken).sum() };
    assert_eq!(runtime.state("slow", "all"), Some(sum.clone()));
    assert_eq!(runtime.state::<u64>("slow", "triggered"), Some(7));
    assert_eq!(runtime.why_not_ready(), Vec::<String>::new());
    runtime.publish(bulk(1)).wait().unwrap();
    idle(&runtime);
    stop(runtime);
    let runtime = begin(store(), &log);
    idle(&runtime);
    let sum = Sum { events: sum.events + 1, sum: sum.sum + 1 };
    assert_eq!(runtime.state("slow", "all"), Some(sum));
    stop(runtime);
}

#[test]
fn a_log_at_its_limit() {
    let directory = Directory::new("limit");
    let used = || {
        let files = std::fs::read_dir(directory.path()).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>()
    };
    let most = AtomicU64::new(0);
    let store = || Store::directory(directory.path()).limit(16 * MIB);
    handles_what_is_there(store, 1, |_| most.store(used(), SeqCst));
    let most = most.into_inner();
    assert!((12 * MIB..17 * MIB).contains(&most), "{most} bytes at its limit");
}

#[test]
fn a_limit_that_is_too_small_is_refused() {
    let directory = Directory::new("small");
    let store = Store::directory(directory.path()).limit(MIB);
    let error = Runtime::builder("test").store(store).start().err().unwrap();
    assert_eq!(error.kind(), cueline::ErrorKind::Config);
}

/// A file system of so many bytes, in memory; gone when the test is over.
struct Small(std::path::PathBuf);

impl Small {
    /// None where this user must not mount anything.
    fn new(name: &str, bytes: u64) -> Option<Self> {
        let path = Directory::new(name);
        let (at, size) = (path.path().to_owned(), format!("size={bytes},nr_inodes=64"));
        std::mem::forget(path);
        std::fs::create_dir_all(&at).unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "cueline-test"])
            .arg(&at)
            .status();
        let mounted = mount.is_ok_and(|status| status.success());
        let small = Self(at);
        mounted.then_some(small)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg("-l").arg(&self.0).status().ok();
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn waits_for_attempts(log: &Log, attempts: usize) {
    while log.attempts().len() < attempts {
        std::thread::yield_now();
    }
}

fn waits_for_room(runtime: &Runtime) {
    while !runtime.why_not_ready().is_empty() {
        std::thread::yield_now();
    }
}

/// Rows 20 and 21 of the fault matrix.
#[test]
fn fault_20_and_21_a_full_disk_and_room_again() {
    let Some(disk) = Small::new("full", 170 * MIB) else {
        eprintln!("not tested: only root may mount a small file system");
        return;
    };
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![1; 30 << 20]).unwrap();
    let data = disk.0.join("data");
    handles_what_is_there(
        || Store::directory(&data),
        1_000,
        |runtime| {
            std::fs::remove_file(&ballast).unwrap();
            std::fs::write(&ballast, "there is room for another segment").unwrap();
            let runtime = runtime.clone();
            within("it takes events again", move || waits_for_room(&runtime));
        },
    );
}

/// Row 22: no room for another file.
#[test]
fn fault_22_no_inodes_left() {
    let Some(disk) = Small::new("inodes", 400 * MIB) else {
        eprintln!("not tested: only root may mount a small file system");
        return;
    };
    let data = disk.0.join("data");
    let file = |number: u64| disk.0.join(number.to_string());
    let free = 64 - 12; // the log needs a few
    (0..free).for_each(|number| drop(std::fs::write(file(number), "")));
    handles_what_is_there(
        || Store::directory(&data),
        1_000,
        |runtime| {
            (0..free).for_each(|number| drop(std::fs::remove_file(file(number))));
            let runtime = runtime.clone();
            within("it takes events again", move || waits_for_room(&runtime));
        },
    );
}

/// Row 22: the process may open no more files. What it needs to work off what is there it has in reserve.
#[test]
fn fault_22_too_many_open_files() {
    const TEST: &str = "a_full_disk_stops_publishers_only::fault_22_too_many_open_files";
    if std::env::var_os("CUELINE_FILES_CHILD").is_none() {
        let ran = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env("CUELINE_FILES_CHILD", "1")
            .output()
            .unwrap();
        let [out, error] = [&ran.stdout, &ran.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        assert!(ran.status.success(), "{out}{error}");
        return;
    }
    let directory = Directory::new("files");
    let slow = processor("slow", || Slow).on::<Bulk>();
    let runtime = Runtime::builder("test")
        .store(Store::directory(directory.path()))
        .supervise(Supervisor::new("tests").child(slow))
        .start()
        .unwrap();
    runtime.pause("slow").unwrap();
    publish_all(&runtime, 0).unwrap();
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let limit = format!("--nofile={}", open + 4);
    let pid = std::process::id().to_string();
    let limited = std::process::Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(limited.unwrap().success());
    let mut taken = 1;
    while publish_all(&runtime, taken).is_ok() {
        taken += 1;
        assert!(taken < 1_000, "no file more, and no end");
    }
    assert!(runtime.why_not_ready().iter().any(|why| why.contains("the disk is full")));
    runtime.resume("slow").unwrap();
    idle(&runtime);
    within("it takes in events again", {
        let runtime = runtime.clone();
        move || while publish_all(&runtime, taken).is_err() {}
    });
    idle(&runtime);
    let events = (taken + 1) * 1_000;
    let sum = Sum { events, sum: (0..events).sum() };
    assert_eq!(runtime.state::<Sum>("slow", "all"), Some(sum));
    stop(runtime);
}

/// The next thousand: all of them, or none.
fn publish_all(runtime: &Runtime, thousand: u64) -> Result<(), Refused<cueline::Batch>> {
    let mut batch = runtime.batch();
    (thousand * 1_000..(thousand + 1) * 1_000).for_each(|value| batch.add(bulk(value)).unwrap());
    batch.publish().wait().map(drop)
}
