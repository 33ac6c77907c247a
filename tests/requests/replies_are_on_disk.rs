//! With a log a reply says what is on disk, and a command is handled once, also if whoever asked died with
//! the process.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cueline::prelude::*;

use crate::support::{idle, supervisor};
use crate::world::{server, stop, twice};

static NEXT: AtomicU64 = AtomicU64::new(0);

struct Directory(std::path::PathBuf);

impl Directory {
    fn new() -> Self {
        let number = NEXT.fetch_add(1, SeqCst);
        let name = format!("cueline-requests-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Adds up; the process dies at the value 666, which only the first process has to handle.
fn start(path: &std::path::Path, dies: bool) -> Runtime {
    let adds = server(move |command, cx| {
        Box::pin(async move {
            if command.value == 666 && dies {
                std::process::abort();
            }
            let sum = cx.state::<u64>("sum")?;
            *sum += command.value;
            Ok(*sum)
        })
    });
    let runtime = Runtime::builder("test").store(Store::directory(path));
    runtime.supervise(supervisor().child(adds)).start().unwrap()
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    if let Some(path) = std::env::var_os("CUELINE_REQUESTS_CHILD") {
        let runtime = start(path.as_ref(), true);
        for value in 1..=20 {
            println!("sum {}", runtime.request(twice(value)).wait().unwrap());
        }
        runtime.request(twice(666)).wait().unwrap();
        unreachable!("it dies before");
    }
    let directory = Directory::new();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "replies_are_on_disk::what_was_answered_is_there_after_a_kill"])
        .arg("--nocapture")
        .env("CUELINE_REQUESTS_CHILD", &directory.0)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(said.contains("sum 210"), "{said}");
    assert!(!child.status.success());
    let runtime = start(&directory.0, false);
    idle(&runtime);
    // All twenty, once; and the one that nobody waits for any more.
    assert_eq!(runtime.state::<u64>("server", "sum"), Some(210 + 666));
    assert_eq!(runtime.request(twice(1)).wait().unwrap(), 210 + 666 + 1);
    stop(&runtime);
}

/// Each sync takes a while: that of the command, and that of what its handler did. The reply is not there
/// before both are over.
#[test]
fn a_reply_waits_for_its_sync() {
    const SYNC: Duration = Duration::from_millis(150);
    if let Some(path) = std::env::var_os("CUELINE_REQUESTS_CHILD") {
        let runtime = start(path.as_ref(), false);
        let began = Instant::now();
        runtime.request(twice(1)).wait().unwrap();
        println!("took {}", began.elapsed().as_micros());
        return stop(&runtime);
    }
    let directory = Directory::new();
    let inject = format!("inject=fdatasync:delay_enter={}", SYNC.as_micros());
    let child = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &inject])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "replies_are_on_disk::a_reply_waits_for_its_sync", "--nocapture"])
        .env("CUELINE_REQUESTS_CHILD", &directory.0)
        .output()
        .expect("`./test` installs strace");
    let said = String::from_utf8_lossy(&child.stdout);
    let took = said.lines().find_map(|line| line.strip_prefix("took ")).expect(&said);
    assert!(took.parse::<u64>().unwrap() >= 2 * SYNC.as_micros() as u64, "{took} us");
}

#[test]
fn many_share_a_sync() {
    let directory = Directory::new();
    let runtime = start(&directory.0, false);
    let replies = runtime.request_all((0..300).map(|_| twice(1))).wait();
    assert_eq!(replies.into_iter().map(Result::unwrap).max(), Some(300));
    stop(&runtime);
    let runtime = start(&directory.0, false);
    assert_eq!(runtime.state::<u64>("server", "sum"), Some(300));
    stop(&runtime);
}
