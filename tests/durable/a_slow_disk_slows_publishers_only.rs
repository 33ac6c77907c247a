//! Rows 23, 24 and 59: a disk that takes its time, or stands still, makes publishers wait and nothing
//! grow; it is said, and the process is not taken for dead. Nor does anything grow in memory where
//! publishers are much quicker than who handles their events.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output};

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::{Directory, idle, stop};

#[derive(Serialize, Deserialize)]
struct Bulk {
    number: u64,
    text: String,
}
cueline::event!(Bulk, "bulk");

fn bulk(number: u64, bytes: usize) -> Bulk {
    Bulk { number, text: "x".repeat(bytes) }
}

struct Counter;
impl Processor for Counter {}
impl Handle<Bulk> for Counter {
    async fn handle(&mut self, _: &Bulk, cx: &mut Context) -> Outcome {
        *cx.state::<u64>("all")? += 1;
        Ok(())
    }
}

fn begin(directory: &Directory) -> Runtime {
    let counter = processor("counter", || Counter).on::<Bulk>();
    Runtime::builder("test")
        .store(Store::directory(directory.path()))
        .supervise(Supervisor::new("tests").child(counter))
        .serve(0)
        .start()
        .unwrap()
}

/// That test in a process of its own; its system calls as slow as that says.
fn in_a_process(test: &str, inject: Option<&str>) -> Option<Output> {
    if std::env::var_os("CUELINE_SLOW_CHILD").is_some() {
        return None;
    }
    let test = format!("a_slow_disk_slows_publishers_only::{test}");
    let own = std::env::current_exe().unwrap();
    let mut command = match inject {
        None => Command::new(own),
        Some(inject) => {
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={inject}")]);
            strace.arg(own);
            strace
        }
    };
    let command = command.args(["--exact", &test, "--nocapture"]).env("CUELINE_SLOW_CHILD", "1");
    Some(command.output().expect("`./test` installs strace"))
}

fn is_fine(ran: &Output) {
    let [out, error] = [&ran.stdout, &ran.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(ran.status.success(), "{out}{error}");
}

/// The most memory that the process ever had, in bytes.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

const MIB: u64 = 1 << 20;

#[test]
fn fault_23_a_slow_disk() {
    let slow = "fdatasync:delay_enter=200000";
    if let Some(ran) = in_a_process("fault_23_a_slow_disk", Some(slow)) {
        return is_fine(&ran);
    }
    let directory = Directory::new("slow");
    let runtime = begin(&directory);
    let before = most_memory();
    // A fifth of a second for 16 MiB: most of it finds no room at the door, and is dropped and counted.
    for number in 0..200_000 {
        runtime.tell(bulk(number, 1_000)).unwrap();
    }
    assert!(most_memory() - before < 128 * MIB, "{} MiB", (most_memory() - before) / MIB);
    let metrics = runtime.metrics().unwrap();
    let refused = metrics
        .lines()
        .find(|line| line.starts_with("cueline_refusals_total") && line.contains("dropped"));
    let refused = refused.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap();
    runtime.publish(bulk(0, 1)).wait().unwrap();
    idle(&runtime);
    let handled = runtime.state::<u64>("counter", "all").unwrap();
    assert_eq!(handled, 200_001 - refused as u64, "all that was taken in is handled");
    assert!(refused > 100_000.0, "{refused}");
    stop(runtime);
}

fn status(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

#[test]
fn fault_24_a_disk_that_stands_still() {
    let still = "fdatasync:delay_enter=8000000:when=6";
    if let Some(ran) = in_a_process("fault_24_a_disk_that_stands_still", Some(still)) {
        return is_fine(&ran);
    }
    let directory = Directory::new("still");
    let runtime = begin(&directory);
    let address = runtime.address().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..20 {
                runtime.publish(bulk(number, 10)).wait().unwrap();
            }
        });
        let (_, answer) = loop {
            let found = status(address, "/readyz");
            if found.0 != 200 && found.1.contains("the disk is slow") {
                break found;
            }
            std::thread::yield_now();
        };
        assert!(answer.contains("nothing is acknowledged until it is through"), "{answer}");
        assert_eq!(status(address, "/healthz").0, 200, "it is alive");
        assert!(runtime.metrics().unwrap().lines().any(|line| {
            let writing = line.strip_prefix("cueline_log_writing_seconds ");
            writing.is_some_and(|seconds| seconds.parse::<f64>().unwrap() >= 5.0)
        }));
    });
    idle(&runtime);
    assert_eq!(status(address, "/readyz").0, 200, "{:?}", runtime.why_not_ready());
    assert_eq!(runtime.state::<u64>("counter", "all"), Some(20));
    stop(runtime);
}

#[derive(Serialize, Deserialize)]
struct Copied(String);
cueline::event!(Copied, "copied");

struct Copier;
impl Processor for Copier {}
impl Handle<Bulk> for Copier {
    async fn handle(&mut self, event: &Bulk, cx: &mut Context) -> Outcome {
        for _ in 0..4 {
            cx.publish(Copied(event.text.clone()));
        }
        *cx.state::<u64>("all")? += 1;
        Ok(())
    }
}

/// Handlers go on with what is there; but not with more than they may tell when the disk goes on.
#[test]
fn fault_23_handlers_beside_a_slow_disk() {
    let slow = "fdatasync:delay_enter=300000";
    if let Some(ran) = in_a_process("fault_23_handlers_beside_a_slow_disk", Some(slow)) {
        return is_fine(&ran);
    }
    const EVENTS: u64 = 60_000;
    let directory = Directory::new("beside");
    let copier = processor("copier", || Copier).on::<Bulk>().emits::<Copied>();
    let runtime = Runtime::builder("test")
        .store(Store::directory(directory.path()))
        .supervise(Supervisor::new("tests").child(copier))
        .start()
        .unwrap();
    runtime.pause("copier").unwrap();
    runtime.publish_all((0..EVENTS).map(|number| bulk(number, 300))).wait().unwrap();
    let before = most_memory();
    runtime.resume("copier").unwrap();
    idle(&runtime);
    // Four times as much is published as was there: 72 MB.
    assert!(most_memory() - before < 32 * MIB, "{} MiB", (most_memory() - before) / MIB);
    assert_eq!(runtime.state::<u64>("copier", "all"), Some(EVENTS));
    stop(runtime);
}

/// Ten times as many events as memory may hold; `CUELINE_FLOOD` says how many otherwise.
#[test]
fn fault_59_a_flood_spills_to_disk() {
    if let Some(ran) = in_a_process("fault_59_a_flood_spills_to_disk", None) {
        return is_fine(&ran);
    }
    let directory = Directory::new("flood");
    let runtime = begin(&directory);
    let flood = std::env::var("CUELINE_FLOOD").map_or(1_000_000, |flood| flood.parse().unwrap());
    runtime.pause("counter").unwrap();
    for number in (0..flood).step_by(1_000) {
        let events = (number..number + 1_000).map(|number| bulk(number, 200));
        runtime.publish_all(events).wait().unwrap();
    }
    runtime.resume("counter").unwrap();
    idle(&runtime);
    assert_eq!(runtime.state::<u64>("counter", "all"), Some(flood.next_multiple_of(1_000)));
    assert!(most_memory() < 128 * MIB, "{} MiB", most_memory() / MIB);
    stop(runtime);
}
