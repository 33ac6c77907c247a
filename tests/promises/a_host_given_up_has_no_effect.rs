//! A host that was given up, because it was killed or its thread is stuck, has no effect any more.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::{
    Gate, Heard, Log, Number, Word, idle, keyed, number, one, publish, quick, supervisor, with,
    within, words_to,
};

const LIMIT: std::time::Duration = millis(100);

/// Keeps and publishes; blocks the first time. Tells when it is dropped.
struct Zombie(Gate, Arc<AtomicUsize>);
impl Drop for Zombie {
    fn drop(&mut self) {
        self.1.fetch_add(1, SeqCst);
    }
}
impl Processor for Zombie {}
impl Handle<Number> for Zombie {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        *cx.state::<u32>("times")? += 1;
        cx.publish(Word(format!("{} at {}", event.value, cx.attempt())));
        if cx.attempt() == 1 && event.value == 1 {
            self.0.pass();
        }
        Ok(())
    }
}

/// Whoever was given up and completes after all is refused: its acknowledgement, its publications
/// and what it kept. It takes nothing more either.
#[test]
fn fault_43_late_completion() {
    let (gate, words, dropped) = (Gate::default(), Log::default(), Arc::new(AtomicUsize::new(0)));
    let (held, counts, heard) = (gate.clone(), dropped.clone(), Heard::default());
    let zombie = processor("zombie", move || Zombie(held.clone(), counts.clone())).on::<Number>();
    let runtime = Runtime::builder("test")
        .threads(1)
        .observe(heard.clone())
        .supervise(supervisor().child(zombie.timeout(millis(50))).child(words_to(words.clone())))
        .start()
        .unwrap();
    publish(&runtime, [number(0)]);
    idle(&runtime);
    publish(&runtime, [number(1)]);
    heard.wait_for("ThreadLost");
    idle(&runtime);
    assert_eq!(runtime.state::<u32>("zombie", "times"), Some(2));
    gate.open();
    let gone = dropped.clone();
    within("the zombie is gone", move || while gone.load(SeqCst) == 0 {});
    publish(&runtime, [number(2)]);
    idle(&runtime);
    assert_eq!(words.all(), ["0 at 1", "1 at 2", "2 at 1"]);
    assert_eq!(heard.count("Parked"), 0);
    assert_eq!(runtime.state::<u32>("zombie", "times"), Some(3), "not four times");
    let undone = within("shutdown", move || runtime.shutdown(secs(10)).wait().unwrap());
    assert!(undone.is_empty());
}

/// The old value is dropped when its thread comes back, and not before.
struct Dropped(Arc<AtomicUsize>, Gate);
impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}
impl Processor for Dropped {}
impl Handle<Number> for Dropped {
    async fn handle(&mut self, _: &Number, cx: &mut Context) -> Outcome {
        if cx.attempt() == 1 {
            self.1.pass();
        }
        Ok(())
    }
}

#[test]
fn the_old_instance_is_dropped_when_its_thread_comes_back() {
    let (dropped, gate) = (Arc::new(AtomicUsize::new(0)), Gate::default());
    let (counts, held) = (dropped.clone(), gate.clone());
    let spec = processor("old", move || Dropped(counts.clone(), held.clone())).on::<Number>();
    let runtime = Runtime::builder("test")
        .threads(1)
        .supervise(supervisor().child(spec.timeout(LIMIT)))
        .start()
        .unwrap();
    publish(&runtime, [number(1)]);
    idle(&runtime);
    assert_eq!(dropped.load(SeqCst), 0);
    gate.open();
    let seen = dropped.clone();
    within("the old one is dropped", move || while seen.load(SeqCst) == 0 {});
    runtime.shutdown(secs(10)).wait().unwrap();
    within("the new one too", move || while dropped.load(SeqCst) < 2 {});
}

/// Comes back from where it was stuck with an error, and would go on with what others have done.
struct Returns(Dropped, Log<(std::thread::ThreadId, u64)>);
impl Processor for Returns {}
impl Handle<Number> for Returns {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        self.1.push((std::thread::current().id(), event.value));
        if event.value == 1 && cx.attempt() == 1 {
            self.0.1.pass();
            return Err(Failure::transient("the database did not answer"));
        }
        Ok(())
    }
}

#[test]
fn whoever_comes_back_with_an_error_handles_nothing_more() {
    let (gate, log, dropped) = (Gate::default(), Log::default(), Arc::new(AtomicUsize::new(0)));
    let (held, seen, counts) = (gate.clone(), log.clone(), dropped.clone());
    let make = move || Returns(Dropped(counts.clone(), held.clone()), seen.clone());
    let returns = processor("returns", make).on::<Number>().retry(quick(5));
    let runtime = Runtime::builder("test")
        .threads(1)
        .supervise(supervisor().child(returns.timeout(LIMIT)))
        .start()
        .unwrap();
    runtime.publish_all((0..50).map(number)).wait().unwrap();
    idle(&runtime);
    gate.open();
    within("the zombie is gone", move || while dropped.load(SeqCst) == 0 {});
    publish(&runtime, [number(50)]);
    idle(&runtime);
    runtime.shutdown(secs(10)).wait().unwrap();
    let log = log.all();
    let stuck = log.iter().find(|(_, value)| *value == 1).unwrap().0;
    let after: Vec<_> = log.iter().skip_while(|(_, value)| *value != 1).skip(1).collect();
    assert!(after.iter().all(|(thread, _)| *thread != stuck), "{after:?}");
}

/// A key is held by a retry, its followers are moved aside, and all the while the processor is
/// killed and started again.
#[test]
fn kills_lose_nothing_of_what_waits_behind_a_key() {
    let (log, started) = (Log::default(), Arc::new(AtomicUsize::new(0)));
    let (seen, begun) = (log.clone(), started.clone());
    let keys = with("keys", move |event, cx| {
        begun.fetch_add(1, SeqCst);
        if event.value == 0 && cx.attempt() < 4 {
            return Err(Failure::transient("later"));
        }
        seen.push((event.key, event.value));
        Ok(())
    });
    let keys = keys.retry(Retry::attempts(9).backoff(Backoff::new(millis(20), millis(50))));
    let runtime = Runtime::builder("test")
        .threads(2)
        .supervise(supervisor().child(keys.kill_to_stop()))
        .start()
        .unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    let publisher = runtime.clone();
    let publishing = std::thread::spawn(move || {
        for value in 0..5_000 {
            publisher.publish(keyed(value as u32 % 3, value)).wait().unwrap();
        }
    });
    let sup = runtime.supervisor("tests").unwrap();
    let mut before = 0;
    while !publishing.is_finished() {
        while started.load(SeqCst) == before && !publishing.is_finished() {}
        before = started.load(SeqCst);
        sup.stop("keys").wait().unwrap();
        sup.restart("keys").wait().unwrap();
    }
    publishing.join().unwrap();
    idle(&runtime);
    let mut all: Vec<u64> = log.all().iter().map(|(_, value)| *value).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, (0..5_000).collect::<Vec<_>>(), "none is lost");
    for key in 0..3 {
        let own: Vec<u64> =
            log.all().iter().filter(|(of, _)| *of == Some(key)).map(|(_, value)| *value).collect();
        let firsts: Vec<u64> = own.iter().copied().fold(Vec::new(), |mut firsts, value| {
            if !firsts.contains(&value) {
                firsts.push(value);
            }
            firsts
        });
        assert!(firsts.is_sorted(), "in order, at their first handling");
    }
}

/// Its first `key()` of number one while it is asked for passes the gate.
#[derive(Serialize, Deserialize)]
struct Ordered(u64);
static GATE: LazyLock<Gate> = LazyLock::new(Gate::default);
static ARMED: AtomicBool = AtomicBool::new(false);
impl Message for Ordered {
    const NAME: &'static str = "ordered";
    type Reply = ();
    fn key(&self) -> Option<Key> {
        if self.0 == 1 && ARMED.swap(false, SeqCst) {
            GATE.pass();
        }
        Some(Key::from(7_u32))
    }
}

/// Fails at number zero, the first time.
struct Fails(Log<(u64, u32)>, Arc<AtomicUsize>);
impl Drop for Fails {
    fn drop(&mut self) {
        self.1.fetch_add(1, SeqCst);
    }
}
impl Processor for Fails {}
impl Handle<Ordered> for Fails {
    async fn handle(&mut self, event: &Ordered, cx: &mut Context) -> Outcome {
        self.0.push((event.0, cx.attempt()));
        if event.0 == 0 && cx.attempt() == 1 {
            ARMED.store(true, SeqCst);
            return Err(Failure::transient("later"));
        }
        Ok(())
    }
}

/// It is killed while it finds out whether the next event of the key may start: it may not, because
/// the one before it is still to come.
#[test]
fn whoever_is_killed_starts_nothing_that_waits_behind_another_event() {
    let (log, dropped) = (Log::default(), Arc::new(AtomicUsize::new(0)));
    let (seen, counts) = (log.clone(), dropped.clone());
    let fails = processor("fails", move || Fails(seen.clone(), counts.clone()));
    let runtime = one(fails.on::<Ordered>().retry(quick(5)).kill_to_stop());
    runtime.publish_all((0..2).map(Ordered)).wait().unwrap();
    GATE.is_reached();
    let sup = runtime.supervisor("tests").unwrap();
    let stops = sup.clone();
    within("it is killed", move || stops.stop("fails").wait().unwrap());
    GATE.open();
    let gone = dropped.clone();
    within("it is gone", move || while gone.load(SeqCst) == 0 {});
    assert_eq!(log.all(), [(0, 1)], "nothing was started");
    sup.restart("fails").wait().unwrap();
    idle(&runtime);
    assert_eq!(log.all(), [(0, 1), (0, 2), (1, 1)]);
}
