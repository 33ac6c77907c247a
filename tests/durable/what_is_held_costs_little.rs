//! Row 48: a great many events are parked, each with a key of its own, or wait behind one that is; what
//! that costs in memory is a little for each, and when they are released, they come in their order.
//!
//! `CUELINE_HELD` says how many otherwise.

use std::process::Command;

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::{Directory, idle, stop};

#[derive(Serialize, Deserialize)]
struct Job {
    number: u64,
    key: String,
    /// It does not lie in memory.
    text: String,
}
cueline::event!(Job, "job", key: |event| event.key.as_str());

/// What it handles is in the order of the numbers, and it counts that.
#[derive(Default, Clone, Serialize, Deserialize)]
struct Tally {
    count: u64,
    last: u64,
    disordered: u64,
}

struct Worker {
    works: bool,
}
impl Processor for Worker {}
impl Handle<Job> for Worker {
    async fn handle(&mut self, event: &Job, cx: &mut Context) -> Outcome {
        let parks = event.key != "line" || event.number == 0;
        if parks && !self.works && event.key != "none" {
            return Err(Failure::permanent("the device is not there").reason("device"));
        }
        let tally = cx.state::<Tally>("all")?;
        tally.count += 1;
        tally.disordered += u64::from(event.number < tally.last);
        tally.last = event.number;
        Ok(())
    }
}

fn begin(directory: &Directory, works: bool) -> Runtime {
    let worker = processor("worker", move || Worker { works }).on::<Job>().held(10_000_000);
    Runtime::builder("test")
        .store(Store::directory(directory.path()))
        .supervise(Supervisor::new("tests").child(worker))
        .start()
        .unwrap()
}

fn publish(runtime: &Runtime, count: u64, key: impl Fn(u64) -> String) {
    for from in (0..count).step_by(1_000) {
        let job = |number| Job { number, key: key(number), text: "x".repeat(300) };
        runtime.publish_all((from..from + 1_000).map(job)).wait().unwrap();
    }
    idle(runtime);
}

/// How much memory the process has now, in bytes.
#[allow(unsafe_code)]
fn memory() -> u64 {
    // SAFETY: it gives free memory back to the system, and touches nothing else.
    unsafe { libc::malloc_trim(0) };
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn count() -> u64 {
    std::env::var("CUELINE_HELD").map_or(100_000, |held| held.parse().unwrap())
}

/// That test in a process of its own; what it said.
fn in_a_process(test: &str) -> bool {
    if std::env::var_os("CUELINE_HELD_CHILD").is_some() {
        return false;
    }
    let test = format!("what_is_held_costs_little::{test}");
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env("CUELINE_HELD_CHILD", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    said.lines().filter(|line| line.contains("bytes")).for_each(|line| println!("{line}"));
    assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
    true
}

/// What a process takes more or less, whatever it does.
const NOISE: u64 = 4 << 20;

fn check(each: &dyn Fn(u64) -> String, most: u64, parked: u64) {
    let (directory, count) = (Directory::new("held"), count());
    let runtime = begin(&directory, false);
    // What a runtime takes that has handled as many.
    publish(&runtime, count, |_| "none".to_owned());
    let before = memory();
    publish(&runtime, count, each);
    // A checkpoint that is being written takes what is new since the last one.
    let begun = std::time::Instant::now();
    let held = loop {
        let held = memory().saturating_sub(before + NOISE);
        if held / count < most || begun.elapsed() > secs(60) {
            break held;
        }
    };
    println!("{} bytes of memory for each of {count} that are held", held / count);
    assert!(held / count < most, "{} bytes each", held / count);
    let by_reason = runtime.parked_by_reason();
    assert_eq!(by_reason.get("device"), Some(&parked));
    let started = std::time::Instant::now();
    stop(runtime);
    let runtime = begin(&directory, true);
    println!("opened again in {:?} with {} bytes in all", started.elapsed(), memory());
    assert_eq!(runtime.parked_by_reason().get("device"), Some(&parked));
    let tally = runtime.state::<Tally>("worker", "all").unwrap();
    assert_eq!((tally.count, tally.disordered), (count, 0));
    for event in runtime.parked() {
        assert_eq!(event.chain, ["the device is not there"]);
        runtime.resubmit("worker", event.id).unwrap();
    }
    idle(&runtime);
    let tally = runtime.state::<Tally>("worker", "all").unwrap();
    assert_eq!(tally.count, 2 * count);
    // Those of the one key come in their order; those that were parked are all equal.
    assert!(tally.disordered == 1 || parked > 1, "{}", tally.disordered);
    assert!(runtime.parked().is_empty());
    stop(runtime);
}

#[test]
fn fault_48_many_keys_are_parked() {
    if !in_a_process("fault_48_many_keys_are_parked") {
        check(&|number| format!("key {number}"), 256, count());
    }
}

#[test]
fn fault_48_many_wait_behind_one() {
    if !in_a_process("fault_48_many_wait_behind_one") {
        check(&|_| "line".to_owned(), 16, 1);
    }
}
