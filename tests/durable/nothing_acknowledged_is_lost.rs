//! The process is killed under load, again and again, and a ledger is kept outside of it: whatever was
//! acknowledged is there, whatever is there was published, and nothing is there twice (the total queue
//! of Jepsen's checkers, and more).

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::{Directory, Doubled, Log, Number, adder, fine, idle, start, stop};

const PUBLISHERS: u64 = 4;

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

fn begin(directory: &Directory) -> Runtime {
    let log = Log::default();
    start(directory, |of| {
        of.child(adder("crew", &log, fine).instances(2))
            .child(processor("recorder", || Recorder).on::<Doubled>())
    })
}

/// What the killed process does: publishes from some value on, and says what it is about to publish
/// and what was acknowledged.
fn child(directory: Directory, from: u64) {
    let runtime = begin(&directory);
    std::mem::forget(directory); // the parent's
    std::thread::scope(|threads| {
        for publisher in 0..PUBLISHERS {
            let runtime = &runtime;
            threads.spawn(move || {
                for value in (from + publisher..).step_by(PUBLISHERS as usize) {
                    println!("try {value}");
                    let event = Number { value, key: value % 7 };
                    match runtime.publish(event).wait() {
                        Ok(_) => println!("ack {value}"),
                        Err(refused) => return println!("not {refused}"),
                    }
                }
            });
        }
    });
}

#[derive(Debug, Default)]
struct Ledger {
    attempted: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
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

    /// What is wrong with what was delivered, if anything.
    fn check(&self, delivered: &BTreeSet<u64>, again: u64) -> Result<(), String> {
        if let Some(lost) = self.acknowledged.difference(delivered).next() {
            return Err(format!("{lost} was acknowledged, and is lost"));
        }
        if let Some(nowhere) = delivered.difference(&self.attempted).next() {
            return Err(format!("{nowhere} comes from nowhere"));
        }
        if again > 0 { Err(format!("{again} came twice")) } else { Ok(()) }
    }
}

/// Runs a child until it is killed, some time after its first acknowledgement.
fn run_and_kill(directory: &Directory, from: u64, time: Duration, ledger: &mut Ledger) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "nothing_acknowledged_is_lost::fault_01_kill_at_any_moment",
            "--nocapture",
        ])
        .env("CUELINE_KILLED_CHILD", directory.path())
        .env("CUELINE_FROM", from.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut first = None;
    let before = ledger.acknowledged.len();
    while let Some(Ok(line)) = lines.next() {
        ledger.note(&line);
        assert!(!line.starts_with("not "), "{line}");
        if ledger.acknowledged.len() > before {
            let began = *first.get_or_insert_with(Instant::now);
            if began.elapsed() >= time {
                child.kill().unwrap();
                break;
            }
        }
    }
    for line in lines.map_while(Result::ok) {
        ledger.note(&line);
    }
    child.wait().unwrap();
    assert!(ledger.acknowledged.len() > before, "it has acknowledged something");
}

/// Row 1 of the fault matrix. `CUELINE_KILLS` says how often, `CUELINE_SEED` how long each time.
#[test]
fn fault_01_kill_at_any_moment() {
    let number = |name: &str, usual: u64| -> u64 {
        std::env::var(name).map_or(usual, |value| value.parse().unwrap())
    };
    if let Some(path) = std::env::var_os("CUELINE_KILLED_CHILD") {
        return child(Directory::at(path.into()), number("CUELINE_FROM", 0));
    }
    let directory = Directory::new("killed");
    let (kills, seed) = (number("CUELINE_KILLS", 20), number("CUELINE_SEED", 1));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut ledger = Ledger::default();
    for _ in 0..kills {
        let from = ledger.attempted.last().map_or(0, |last| last + 1);
        let time = Duration::from_micros(random.u64(0..60_000));
        run_and_kill(&directory, from, time, &mut ledger);
    }
    let runtime = begin(&directory);
    idle(&runtime);
    let (mut delivered, mut again) = (BTreeSet::new(), 0);
    for (key, seen) in runtime.states::<Seen>("recorder") {
        let first: u64 = key.as_str().parse::<u64>().unwrap() * 64;
        delivered.extend((0..64).filter(|bit| seen.bits >> bit & 1 == 1).map(|bit| first + bit));
        again += seen.again;
    }
    stop(runtime);
    let (attempted, acknowledged) = (ledger.attempted.len(), ledger.acknowledged.len());
    let mut out = std::io::stdout();
    writeln!(out, "{kills} kills: {attempted} attempted, {acknowledged} acknowledged").unwrap();
    ledger.check(&delivered, again).unwrap();
    assert!(acknowledged > 1_000, "{acknowledged}");

    // The checker sees what it is for.
    let lost = *ledger.acknowledged.first().unwrap();
    let without: BTreeSet<u64> = delivered.iter().copied().filter(|of| *of != lost).collect();
    assert_eq!(ledger.check(&without, 0), Err(format!("{lost} was acknowledged, and is lost")));
    delivered.insert(u64::MAX);
    assert!(ledger.check(&delivered, 0).unwrap_err().contains("from nowhere"));
    delivered.remove(&u64::MAX);
    assert!(ledger.check(&delivered, 1).unwrap_err().contains("twice"));
}
