//! The release binary under faults of its storage, made by `strace`: what it may not do is lose or
//! double anything, or go on as if nothing were the matter.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::{Data, built, of_the_flights, report, week};

/// A small job, so that all of its system calls can be tried in turn.
struct Job {
    files: [PathBuf; 2],
    expected: Value,
}

impl Job {
    fn new(name: &str) -> Self {
        let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
        let weather = data.join("weather-2013-02-04-to-10.csv");
        let weather = std::fs::read_to_string(weather).unwrap();
        let first = |text: &str, lines: usize| -> String {
            text.lines().take(lines).flat_map(|line| [line, "\n"]).collect()
        };
        let file = |kind: &str, text: String| {
            let name = format!("cueline-{}-{name}-{kind}.csv", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let files = [file("flights", first(&week(), 40)), file("weather", first(&weather, 4))];
        let mut job = Self { files, expected: Value::Null };
        let mut arguments = job.arguments();
        arguments.push("--memory".to_owned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        job.expected = of_the_flights(report(&arguments));
        job
    }

    fn arguments(&self) -> Vec<String> {
        let [flights, weather] = self.files.each_ref().map(|file| file.display().to_string());
        ["--json", "--flights", &flights, "--weather", &weather].map(str::to_owned).to_vec()
    }

    fn under(&self, inject: &str, data: &Data) -> Output {
        Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={inject}")])
            .arg(built())
            .args(self.arguments())
            .args(["--data".as_ref(), data.0.as_os_str()])
            .output()
            .expect("`./test` installs strace")
    }

    /// Run once more, undisturbed, it is as if nothing had happened.
    fn is_right_in_the_end(&self, data: &Data, what: &str) {
        let arguments = self.arguments();
        let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        arguments.extend(["--data", data.0.to_str().unwrap()]);
        assert_eq!(of_the_flights(report(&arguments)), self.expected, "{what}");
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.files.iter().for_each(|file| drop(std::fs::remove_file(file)));
    }
}

/// Row 2: killed before the first, the second, … call of each kind, until it is through without.
#[test]
fn fault_02_killed_at_every_system_call() {
    let job = Job::new("call");
    let mut kills = 0;
    for call in ["pwrite64", "fdatasync", "fsync", "fallocate", "openat", "mkdir"] {
        for number in 1.. {
            let data = Data::new(&format!("{call}-{number}"));
            let inject = format!("{call}:signal=KILL:when={number}");
            let ran = job.under(&inject, &data);
            job.is_right_in_the_end(&data, &inject);
            if ran.status.code() == Some(0) {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills > 30, "{kills}");
}

/// Row 18: after a sync that failed everything that it was for is written anew, and synced there. Where
/// all syncs fail from then on nothing is acknowledged any more; started anew, it goes on.
#[test]
fn fault_18_a_failed_sync() {
    let job = Job::new("failed");
    let mut failures = 0;
    for number in 1.. {
        let data = Data::new(&format!("failed-{number}"));
        let inject = format!("fdatasync:error=EIO:when={number}+");
        let ran = job.under(&inject, &data);
        job.is_right_in_the_end(&data, &inject);
        if ran.status.code() == Some(0) {
            break;
        }
        failures += 1;
        refused(&ran, "Input/output error", &inject);
        let data = Data::new(&format!("failed-once-{number}"));
        let inject = format!("fdatasync:error=EIO:when={number}");
        let ran = job.under(&inject, &data);
        assert_eq!(ran.status.code(), Some(0), "{inject}");
        let said: Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!(of_the_flights(said), job.expected, "{inject}");
        job.is_right_in_the_end(&data, &inject);
    }
    assert!(failures >= 3, "{failures}");
}

fn refused(ran: &Output, because: &str, what: &str) {
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{what}: {said}");
    assert!(said.contains(because), "{what}: {said}");
    assert!(ran.stdout.is_empty());
}

/// Row 19: a write that failed is made anew elsewhere; while the log is opened it is an error.
#[test]
fn fault_19_a_failed_write() {
    let job = Job::new("write");
    let mut went_on = 0;
    for number in 1..16 {
        let data = Data::new(&format!("write-{number}"));
        let inject = format!("pwrite64:error=EIO:when={number}");
        let ran = job.under(&inject, &data);
        match ran.status.code() {
            Some(0) => {
                let said: Value = serde_json::from_slice(&ran.stdout).unwrap();
                assert_eq!(of_the_flights(said), job.expected, "{inject}");
                went_on += 1;
            }
            _ => refused(&ran, "Input/output error", &inject),
        }
        job.is_right_in_the_end(&data, &inject);
    }
    assert!(went_on >= 10, "{went_on}");
}

/// Row 20: no room for another segment.
#[test]
fn fault_20_no_space() {
    let job = Job::new("space");
    let data = Data::new("space");
    let ran = job.under("fallocate:error=ENOSPC:when=2+", &data);
    refused(&ran, "the disk is full", "no room");
    job.is_right_in_the_end(&data, "no room");
}

/// Row 13: an interrupted call is made again.
#[test]
fn fault_13_interrupted_calls() {
    let job = Job::new("interrupted");
    for number in 1..8 {
        let data = Data::new(&format!("interrupted-{number}"));
        let ran = job.under(&format!("pwrite64:error=EINTR:when={number}"), &data);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let said: Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!(of_the_flights(said), job.expected);
        job.is_right_in_the_end(&data, "interrupted");
    }
}

/// Row 56: the clock stands ten years ahead, then in 1970, then an hour back: nothing is lost or doubled
/// by that, and nothing waits for ever.
#[test]
fn fault_56_a_clock_that_jumps() {
    let job = Job::new("clock");
    let data = Data::new("clock");
    for (number, clock) in ["+0", "+10y", "1970-01-02 00:00:00", "-1h"].into_iter().enumerate() {
        let ran = Command::new("faketime")
            .args(["-f", clock])
            .arg(built())
            .args(job.arguments())
            .args(["--crash-after", &(8 + number).to_string()])
            .args(["--data".as_ref(), data.0.as_os_str()])
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .output()
            .expect("`./test` installs faketime");
        assert!(!ran.status.success(), "{clock}: it was to crash");
    }
    job.is_right_in_the_end(&data, "a clock that jumps");
}
