//! Channels that are kept less well, where that was asked for, and everything else as ever.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use cueline::prelude::*;
use cueline::{Channel, DropReason, Durability, Observer, Signal, WhenFull};

use crate::support::{
    Directory, Doubled, Log, Number, Sum, adder, fine, idle, numbers, publish, stop, total, within,
};

fn begin(directory: &Directory, durability: Durability, log: &Log) -> Runtime {
    let tests = Supervisor::new("tests").child(adder("adder", log, fine)).child(total());
    Runtime::builder("test")
        .threads(2)
        .store(Store::directory(directory.path()))
        .channel::<Number>(Channel::default().durability(durability))
        .channel::<Doubled>(Channel::default().durability(durability))
        .supervise(tests)
        .start()
        .unwrap()
}

fn sum(range: std::ops::Range<u64>) -> Sum {
    Sum { events: range.end - range.start, sum: range.sum() }
}

/// How often the log was synced.
#[derive(Clone, Default)]
struct Syncs(std::sync::Arc<AtomicU64>);

impl Observer for Syncs {
    fn observe(&self, signal: &Signal<'_>) {
        if let Signal::Written { synced: Some(_), .. } = signal {
            self.0.fetch_add(1, SeqCst);
        }
    }
}

/// Whatever else is written meanwhile: what is acknowledged has been synced since it was published.
#[test]
fn nothing_is_acknowledged_before_a_sync_of_its_own() {
    let (directory, syncs, log) = (Directory::new("syncs"), Syncs::default(), Log::default());
    let begin = |name: &str| {
        Runtime::builder("test")
            .store(Store::directory(directory.path()))
            .channel::<Number>(Channel::default().retain(cueline::Retention::Size(1_000)))
            .supervise(Supervisor::new("tests").child(adder(name, &log, fine)))
            .observe(syncs.clone())
            .start()
            .unwrap()
    };
    let publishes = |runtime: &Runtime| {
        for value in 0..50 {
            let before = syncs.0.load(SeqCst);
            runtime.publish(Number { value, key: value }).wait().unwrap();
            assert!(syncs.0.load(SeqCst) > before, "{value}");
        }
    };
    let runtime = begin("adder");
    publishes(&runtime);
    stop(runtime);
    let runtime = begin("other");
    publishes(&runtime);
    runtime.forget_subscription("adder").unwrap();
    publishes(&runtime);
    stop(runtime);
}

#[test]
fn what_is_buffered_goes_on_after_a_restart() {
    let (directory, log) = (Directory::new("buffered"), Log::default());
    for every in [millis(0), millis(3), hours(1)] {
        let before = log.attempts().len() as u64;
        let runtime = begin(&directory, Durability::Buffered { every }, &log);
        publish(&runtime, before..before + 500);
        for value in before + 500..before + 600 {
            runtime.publish(Number { value, key: value % 7 }).wait().unwrap();
        }
        idle(&runtime);
        assert_eq!(runtime.state("adder", "all"), Some(sum(0..before + 600)));
        stop(runtime);
    }
    let runtime = begin(&directory, Durability::Synced, &log);
    idle(&runtime);
    assert_eq!(log.take(), (0..1_800).collect::<Vec<_>>());
    assert_eq!(runtime.state::<Sum>("total", "all").map(|of| of.events), Some(1_800));
    stop(runtime);
}

#[test]
fn what_is_buffered_survives_a_kill() {
    if let Some(directory) = std::env::var_os("CUELINE_BUFFERED_CHILD") {
        let directory = Directory::at(directory.into());
        let every = hours(1);
        let runtime = begin(&directory, Durability::Buffered { every }, &Log::default());
        publish(&runtime, 0..1_000);
        runtime.publish(Number { value: 1_000, key: 0 }).wait().unwrap();
        std::process::abort();
    }
    let directory = Directory::new("buffered-kill");
    let killed = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "channels_are_kept_as_it_was_said::what_is_buffered_survives_a_kill"])
        .env("CUELINE_BUFFERED_CHILD", directory.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(!killed.success());
    let log = Log::default();
    let runtime = begin(&directory, Durability::Synced, &log);
    idle(&runtime);
    assert_eq!(runtime.state("adder", "all"), Some(sum(0..1_001)));
    stop(runtime);
}

#[test]
fn what_is_not_kept_is_handled_as_in_memory_and_gone_afterwards() {
    let (directory, log) = (Directory::new("not-kept"), Log::default());
    let runtime = begin(&directory, Durability::NotKept, &log);
    publish(&runtime, 0..100);
    idle(&runtime);
    runtime.pause("adder").unwrap();
    publish(&runtime, 100..200);
    within("it stops", move || runtime.shutdown(millis(1)).wait()).unwrap();
    assert_eq!(log.take(), (0..100).collect::<Vec<_>>());

    let runtime = begin(&directory, Durability::NotKept, &log);
    idle(&runtime);
    assert_eq!(log.take(), Vec::<u64>::new());
    assert_eq!(runtime.state("adder", "all"), Some(sum(0..100)), "what it keeps is kept");
    publish(&runtime, 200..300);
    idle(&runtime);
    assert_eq!(log.take(), (200..300).collect::<Vec<_>>());
    stop(runtime);
    // No payload is in the log: a value of those was 1 to 3 bytes.
    let files = std::fs::read_dir(directory.path()).unwrap();
    let has_numbers = files
        .map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .any(|bytes| bytes.windows(5).any(|window| window == b"value"));
    assert!(!has_numbers);
}

#[derive(Default)]
struct Missed(AtomicU64);

impl Observer for &'static Missed {
    fn observe(&self, signal: &Signal<'_>) {
        if let Signal::Dropped { events, reason: DropReason::Missed, .. } = signal {
            self.0.fetch_add(*events, SeqCst);
        }
    }
}

/// Reads both channels.
struct Both(Log);
impl Processor for Both {}
impl Handle<Number> for Both {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        self.0.note(event.value, cx.attempt());
        Ok(())
    }
}
impl Handle<Doubled> for Both {
    async fn handle(&mut self, event: &Doubled, cx: &mut Context) -> Outcome {
        self.0.note(1_000_000 + event.0, cx.attempt());
        Ok(())
    }
}

/// Who reads from the log does not see there what is not kept: publishers wait for it, or it is counted.
#[test]
fn who_is_behind_misses_what_is_not_kept() {
    static MISSED: Missed = Missed(AtomicU64::new(0));
    for (when_full, missed) in [(WhenFull::Block, 0), (WhenFull::DropNewest, 10)] {
        let (directory, log) = (Directory::new("behind"), Log::default());
        let seen = log.clone();
        let both = processor("both", move || Both(seen.clone())).on::<Number>().on::<Doubled>();
        let runtime = Runtime::builder("test")
            .store(Store::directory(directory.path()))
            .channel::<Doubled>(Channel::default().durability(Durability::NotKept))
            .observe(&MISSED)
            .supervise(Supervisor::new("tests").child(both.bound(1_000).when_full(when_full)))
            .start()
            .unwrap();
        runtime.pause("both").unwrap();
        runtime.publish_all((0..100).map(Doubled)).wait().unwrap();
        publish(&runtime, 0..5_000);
        for value in 100..110 {
            let full = runtime.try_publish(Doubled(value)).is_err();
            assert_eq!(full, when_full == WhenFull::Block);
        }
        within("they are missed", move || while MISSED.0.load(SeqCst) < missed {});
        runtime.resume("both").unwrap();
        idle(&runtime);
        let (of_log, others): (Vec<_>, Vec<_>) =
            log.take().into_iter().partition(|value| *value < 1_000_000);
        assert_eq!(of_log, (0..5_000).collect::<Vec<_>>());
        assert_eq!(others, (1_000_000..1_000_100).collect::<Vec<_>>());
        assert_eq!(MISSED.0.swap(0, SeqCst), missed);
        stop(runtime);
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Rare(u64);
cueline::event!(Rare, "rare");

struct Clerk;
impl Processor for Clerk {}
impl Handle<Rare> for Clerk {
    async fn handle(&mut self, _: &Rare, _: &mut Context) -> Outcome {
        Ok(())
    }
}
impl Handle<Number> for Clerk {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        Ok(())
    }
}

/// What fits when nothing waits is waited for when something does.
#[test]
fn a_batch_of_channels_with_different_limits_waits_for_its_room() {
    let directory = Directory::new("limits");
    let both = processor("both", || Clerk).on::<Number>().on::<Rare>();
    let runtime = Runtime::builder("test")
        .store(Store::directory(directory.path()))
        .channel::<Rare>(Channel::default().limit(10))
        .channel::<Number>(Channel::default().limit(1_000))
        .supervise(Supervisor::new("tests").child(both))
        .start()
        .unwrap();
    let batch = || {
        let mut batch = runtime.batch();
        (0..5).for_each(|value| batch.add(Rare(value)).unwrap());
        numbers(0..100).for_each(|number| batch.add(number).unwrap());
        batch.publish()
    };
    batch().wait().unwrap();
    idle(&runtime);
    runtime.pause("both").unwrap();
    for value in 0..6 {
        runtime.publish(Rare(value)).wait().unwrap();
    }
    let mut waits = std::pin::pin!(batch());
    let mut task = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(waits.as_mut().poll(&mut task).is_pending());
    runtime.resume("both").unwrap();
    pollster::block_on(waits).unwrap();
    stop(runtime);
}
