//! A process under load that is ended from outside, and a ledger that is kept there: whatever was
//! acknowledged is there, whatever is there was published, and nothing is there twice (the total queue
//! of Jepsen's checkers, and more).

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::{Directory, Doubled, Log, adder, fine, idle, stop};

pub const PUBLISHERS: u64 = 4;

/// Which of 64 values have come, and how often one came that had come before.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Seen {
    bits: u64,
    again: u64,
}

struct Recorder;
impl Processor for Recorder {}
impl Handle<Doubled> for Recorder {
    async fn handle(&mut self, event: &Doubled, cx: &mut Context) -> Outcome {
        let value = event.0 / 2;
        let seen = cx.state::<Seen>(value / 64)?;
        seen.again += seen.bits >> (value % 64) & 1;
        seen.bits |= 1 << (value % 64);
        Ok(())
    }
}

/// A log of so many bytes, if it is to be small.
pub fn begin(directory: &Directory, limit: Option<u64>) -> Runtime {
    let log = Log::default();
    let store = Store::directory(directory.path());
    let store = limit.map_or(store.clone(), |limit| store.limit(limit));
    let tests = Supervisor::new("tests")
        .child(adder("crew", &log, fine).instances(2))
        .child(processor("recorder", || Recorder).on::<Doubled>());
    Runtime::builder("test").threads(2).store(store).supervise(tests).start().unwrap()
}

/// What is there in the end, and how much of it twice.
pub fn delivered(directory: &Directory, limit: Option<u64>) -> (BTreeSet<u64>, u64) {
    let runtime = begin(directory, limit);
    idle(&runtime);
    // One that was at work at two kills in a row is suspected of them, and waits for a person.
    for parked in runtime.parked() {
        assert_eq!(parked.reason, "crashed");
        println!("{} was at work at {} kills", parked.id, parked.attempts);
        runtime.resubmit(&parked.processor, parked.id).unwrap();
        idle(&runtime);
    }
    let (mut delivered, mut again) = (BTreeSet::new(), 0);
    for (key, seen) in runtime.states::<Seen>("recorder") {
        let first: u64 = key.as_str().parse::<u64>().unwrap() * 64;
        delivered.extend((0..64).filter(|bit| seen.bits >> bit & 1 == 1).map(|bit| first + bit));
        again += seen.again;
    }
    stop(runtime);
    (delivered, again)
}

/// What the process said.
#[derive(Debug, Default)]
pub struct Ledger {
    pub attempted: BTreeSet<u64>,
    pub acknowledged: BTreeSet<u64>,
}

impl Ledger {
    fn note(&mut self, line: &str) {
        let Some((word, value)) = line.split_once(' ') else { return };
        let Ok(value) = value.parse() else { return };
        match word {
            "try" => drop(self.attempted.insert(value)),
            "ack" => drop(self.acknowledged.insert(value)),
            _ => {}
        }
    }

    /// The first value that was never tried.
    pub fn next(&self) -> u64 {
        self.attempted.last().map_or(0, |last| last + 1)
    }

    /// What was tried, and is not known to be kept.
    pub fn unsure(&self) -> impl Iterator<Item = u64> + '_ {
        self.attempted.difference(&self.acknowledged).copied()
    }

    /// What is wrong with what was delivered, if anything.
    pub fn check(&self, delivered: &BTreeSet<u64>, again: u64) -> Result<(), String> {
        if let Some(lost) = self.acknowledged.difference(delivered).next() {
            return Err(format!("{lost} was acknowledged, and is lost"));
        }
        if let Some(nowhere) = delivered.difference(&self.attempted).next() {
            return Err(format!("{nowhere} comes from nowhere"));
        }
        if again > 0 { Err(format!("{again} came twice")) } else { Ok(()) }
    }

    /// Runs that test in a process of its own until `end`, some time after its first acknowledgement.
    pub fn run(
        &mut self,
        test: &str,
        environment: &[(&str, String)],
        time: Duration,
        mut end: impl FnMut(&mut Child),
    ) -> ExitStatus {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut first = None;
        let before = self.acknowledged.len();
        while let Some(Ok(line)) = lines.next() {
            self.note(&line);
            assert!(!line.starts_with("not "), "{line}");
            if self.acknowledged.len() > before {
                let began = *first.get_or_insert_with(Instant::now);
                if began.elapsed() >= time {
                    end(&mut child);
                    break;
                }
            }
        }
        for line in lines.map_while(Result::ok) {
            self.note(&line);
        }
        let status = child.wait().unwrap();
        assert!(self.acknowledged.len() > before, "it has acknowledged something");
        status
    }
}

/// `kill -9`.
pub fn kill(child: &mut Child) {
    child.kill().unwrap();
}

/// A number from outside.
pub fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |value| value.parse().unwrap())
}

/// What the process does: publishes from some value on, and says what it is about to publish and what
/// was acknowledged.
pub fn publish_from(
    from: u64,
    publish: impl Fn(u64) -> Result<EventId, Refused<crate::support::Number>> + Sync,
) {
    std::thread::scope(|threads| {
        for publisher in 0..PUBLISHERS {
            let publish = &publish;
            threads.spawn(move || {
                for value in (from + publisher..).step_by(PUBLISHERS as usize) {
                    println!("try {value}");
                    loop {
                        match publish(value) {
                            Ok(_) => println!("ack {value}"),
                            Err(Refused::NoSpace(_)) => continue,
                            Err(Refused::Closed(_)) => return,
                            Err(refused) => return println!("not {refused}"),
                        }
                        break;
                    }
                }
            });
        }
    });
}
