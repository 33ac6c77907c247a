//! The process is ended under load, again and again, in each of several ways.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use cueline::prelude::*;

use crate::ledger::{Ledger, begin, delivered, kill, number, publish_from};
use crate::support::{Directory, Number};

/// The directory, in the process that is to be ended.
fn child() -> Option<Directory> {
    let path = std::env::var_os("CUELINE_LEDGER_CHILD")?;
    Some(Directory::at(path.into()))
}

fn environment(directory: &Directory, from: u64) -> Vec<(&'static str, String)> {
    let path = directory.path().to_str().unwrap().to_owned();
    vec![("CUELINE_LEDGER_CHILD", path), ("CUELINE_FROM", from.to_string())]
}

fn event(value: u64) -> Number {
    Number { value, key: value % 7 }
}

fn say(kills: u64, ledger: &Ledger) {
    let (attempted, acknowledged) = (ledger.attempted.len(), ledger.acknowledged.len());
    let mut out = std::io::stdout();
    writeln!(out, "{kills} ends: {attempted} attempted, {acknowledged} acknowledged").unwrap();
}

/// Row 1 of the fault matrix. `CUELINE_KILLS` says how often, `CUELINE_SEED` how long each time.
#[test]
fn fault_01_kill_at_any_moment() {
    if let Some(directory) = child() {
        let runtime = begin(&directory, None);
        std::mem::forget(directory); // the parent's
        let publish = |value| runtime.publish(event(value)).wait();
        return publish_from(number("CUELINE_FROM", 0), publish);
    }
    let directory = Directory::new("killed");
    let (kills, seed) = (number("CUELINE_KILLS", 20), number("CUELINE_SEED", 1));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut ledger = Ledger::default();
    for _ in 0..kills {
        let environment = environment(&directory, ledger.next());
        let time = Duration::from_micros(random.u64(0..60_000));
        let test = "nothing_acknowledged_is_lost::fault_01_kill_at_any_moment";
        ledger.run(test, &environment, time, kill);
    }
    let (mut delivered, again) = delivered(&directory, None);
    say(kills, &ledger);
    ledger.check(&delivered, again).unwrap();
    assert!(ledger.acknowledged.len() > 1_000);

    // The checker sees what it is for.
    let lost = *ledger.acknowledged.first().unwrap();
    let without: BTreeSet<u64> = delivered.iter().copied().filter(|of| *of != lost).collect();
    assert_eq!(ledger.check(&without, 0), Err(format!("{lost} was acknowledged, and is lost")));
    delivered.insert(u64::MAX);
    assert!(ledger.check(&delivered, 0).unwrap_err().contains("from nowhere"));
    delivered.remove(&u64::MAX);
    assert!(ledger.check(&delivered, 1).unwrap_err().contains("twice"));
}

const SMALL: Option<u64> = Some(16 << 20);

/// Row 25: segments are full all the time, given back, compacted and written again, checkpoints written,
/// and events read that are behind, when it is killed.
#[test]
fn fault_25_compaction_races_with_readers_and_kills() {
    if let Some(directory) = child() {
        let runtime = begin(&directory, SMALL);
        std::mem::forget(directory); // the parent's
        let publish = |value| {
            let ballast = runtime.publish(Ballast("x".repeat(20_000))).wait();
            ballast.map_err(|refused| match refused {
                Refused::NoSpace(_) => Refused::NoSpace(event(value)),
                other => panic!("{other}"),
            })?;
            runtime.publish(event(value)).wait()
        };
        return publish_from(number("CUELINE_FROM", 0), publish);
    }
    let directory = Directory::new("compacted");
    let mut random = fastrand::Rng::with_seed(number("CUELINE_SEED", 1));
    let mut ledger = Ledger::default();
    let kills = number("CUELINE_KILLS", 20) / 2;
    for _ in 0..kills {
        let environment = environment(&directory, ledger.next());
        let time = Duration::from_micros(random.u64(0..200_000));
        let test = "nothing_acknowledged_is_lost::fault_25_compaction_races_with_readers_and_kills";
        ledger.run(test, &environment, time, kill);
    }
    let (delivered, again) = delivered(&directory, SMALL);
    say(kills, &ledger);
    ledger.check(&delivered, again).unwrap();
    let newest = std::fs::read_dir(directory.path()).unwrap();
    let newest = newest.filter_map(|entry| entry.unwrap().file_name().into_string().ok()).max();
    assert!(ledger.acknowledged.len() > 300, "{newest:?} {}", ledger.acknowledged.len());
}

/// Nobody wants it.
#[derive(serde::Serialize, serde::Deserialize)]
struct Ballast(String);
cueline::event!(Ballast, "ballast");

/// Row 55: whoever does not know whether its event is kept publishes it again under the same key, and it
/// comes once.
#[test]
fn fault_55_a_retry_after_a_kill() {
    if let Some(directory) = child() {
        let runtime = begin(&directory, None);
        std::mem::forget(directory); // the parent's
        let publish =
            |value: u64| runtime.publish(event(value)).dedup_key(value.to_string()).wait();
        for value in std::env::var("CUELINE_UNSURE").unwrap().split_whitespace() {
            let value = value.parse().unwrap();
            publish(value).unwrap();
            println!("ack {value}");
        }
        return publish_from(number("CUELINE_FROM", 0), publish);
    }
    let directory = Directory::new("retried");
    let mut random = fastrand::Rng::with_seed(number("CUELINE_SEED", 1));
    let (mut ledger, mut retried) = (Ledger::default(), 0);
    let kills = number("CUELINE_KILLS", 20) / 2;
    for _ in 0..kills {
        let mut environment = environment(&directory, ledger.next());
        let unsure: Vec<String> = ledger.unsure().map(|value| value.to_string()).collect();
        retried += unsure.len();
        environment.push(("CUELINE_UNSURE", unsure.join(" ")));
        let time = Duration::from_micros(random.u64(0..40_000));
        let test = "nothing_acknowledged_is_lost::fault_55_a_retry_after_a_kill";
        ledger.run(test, &environment, time, kill);
    }
    let (delivered, again) = delivered(&directory, None);
    say(kills, &ledger);
    ledger.check(&delivered, again).unwrap();
    assert!(retried as u64 >= kills / 2, "{retried}");
}

/// Row 8: asked to end under load, it does within its time, and says so with its exit code.
#[test]
fn fault_08_sigterm_under_load() {
    if let Some(directory) = child() {
        let runtime = begin(&directory, None);
        std::mem::forget(directory); // the parent's
        let publish = |value| runtime.publish(event(value)).wait();
        std::thread::scope(|threads| {
            threads.spawn(|| publish_from(number("CUELINE_FROM", 0), publish));
            pollster::block_on(runtime.run(secs(20))).unwrap();
        });
        return;
    }
    let directory = Directory::new("asked");
    let mut ledger = Ledger::default();
    for _ in 0..3 {
        let environment = environment(&directory, ledger.next());
        let test = "nothing_acknowledged_is_lost::fault_08_sigterm_under_load";
        let ended = ledger.run(test, &environment, Duration::from_millis(30), |child| {
            let id = child.id().to_string();
            std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap();
        });
        assert_eq!(ended.code(), Some(0));
    }
    let (delivered, again) = delivered(&directory, None);
    say(3, &ledger);
    ledger.check(&delivered, again).unwrap();
}
