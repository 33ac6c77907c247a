use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use cueline::Cause;
use cueline::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::{Heard, Log, Number, idle, number, one, publish, supervisor, with, within};

/// A payload whose `Drop` panics too.
struct Bomb;
impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the payload's drop");
    }
}

#[test]
fn fault_30_31_whatever_is_thrown_the_event_is_delivered_once_more_then_parked_and_others_flow() {
    let (log, others, heard) = (Log::default(), Log::default(), Heard::default());
    let (seen, noted) = (log.clone(), others.clone());
    let panics = with("panics", move |event, _| {
        match event.value {
            3 => panic!("a string {}", event.value),
            5 => panic!("a literal"),
            7 => std::panic::panic_any(42u8),
            9 => std::panic::panic_any(Bomb),
            _ => {}
        }
        seen.push(event.value);
        Ok(())
    });
    let other = with("other", move |event, _| {
        noted.push(event.value);
        Ok(())
    });
    let runtime = Runtime::builder("test")
        .threads(1)
        .observe(heard.clone())
        .supervise(supervisor().child(panics).child(other))
        .start()
        .unwrap();
    publish(&runtime, (0..12).map(number));
    idle(&runtime);
    assert_eq!(log.all(), [0, 1, 2, 4, 6, 8, 10, 11]);
    assert_eq!(others.all(), (0..12).collect::<Vec<_>>(), "nobody else notices");
    assert_eq!(heard.count("Restarted"), 8);
    let parked = runtime.parked();
    assert_eq!(parked.len(), 4);
    for event in &parked {
        assert_eq!((event.cause, event.attempts), (Cause::Panicked, 2));
    }
    assert!(parked[0].chain[0].contains("a string 3"));
    assert!(parked[2..].iter().all(|event| event.chain[0].contains("no text")));
    assert_eq!(parked[0].decode::<Number>().unwrap(), number(3));
}

struct AfterAwait(Log<u64>);
impl Processor for AfterAwait {}
impl Handle<Number> for AfterAwait {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        tokio::task::yield_now().await;
        assert!(event.value != 1 || cx.attempt() > 1, "after an await");
        self.0.push(event.value);
        Ok(())
    }
}

#[test]
fn fault_34_after_an_await_as_well() {
    let (log, heard) = (Log::default(), Heard::default());
    let seen = log.clone();
    let runtime = Runtime::builder("test")
        .supervise(
            supervisor()
                .child(processor("awaits", move || AfterAwait(seen.clone())).on::<Number>()),
        )
        .observe(heard.clone())
        .start()
        .unwrap();
    publish(&runtime, (0..4).map(number));
    idle(&runtime);
    let mut done = log.all();
    done.sort();
    assert_eq!(done, [0, 1, 2, 3]);
    assert_eq!(heard.count("Restarted"), 1);
}

#[derive(Serialize, Deserialize)]
struct Fuse(bool);
impl Drop for Fuse {
    fn drop(&mut self) {
        assert!(!std::mem::take(&mut self.0), "in an event's drop");
    }
}
cueline::event!(Fuse, "fuse");

struct Ignores;
impl Processor for Ignores {}
impl<E: Event> Handle<E> for Ignores {
    async fn handle(&mut self, _: &E, _: &mut Context) -> Outcome {
        Ok(())
    }
}

#[test]
fn in_the_drop_of_one_event_and_of_two_of_a_batch() {
    for fuses in [1, 2, 5] {
        let heard = Heard::default();
        let runtime = Runtime::builder("test")
            .supervise(
                supervisor().child(processor("ignores", || Ignores).on::<Fuse>().on::<Number>()),
            )
            .observe(heard.clone())
            .start()
            .unwrap();
        let events: Vec<Fuse> = (0..10).map(|n| Fuse(n < fuses)).collect();
        runtime.publish_all(events).wait().unwrap();
        publish(&runtime, [number(1)]);
        idle(&runtime);
        let contained = "PanicContained { during: EventDrop, event: Some";
        let hears = heard.clone();
        within("contained", move || while hears.count(contained) < fuses {});
        publish(&runtime, [number(2)]);
        idle(&runtime);
        assert_eq!(heard.count(contained), fuses);
    }
}

struct Brittle;
impl Drop for Brittle {
    fn drop(&mut self) {
        panic!("in a processor's drop");
    }
}
impl Processor for Brittle {}
impl Handle<Number> for Brittle {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        assert!(event.value != 1 || cx.attempt() > 1, "in the handler");
        Ok(())
    }
}

#[test]
fn fault_32_in_the_drop_of_a_processor_while_it_is_rebuilt() {
    let heard = Heard::default();
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(processor("brittle", || Brittle).on::<Number>()))
        .observe(heard.clone())
        .start()
        .unwrap();
    publish(&runtime, (0..4).map(number));
    idle(&runtime);
    assert_eq!(heard.count("Restarted"), 1);
    assert_eq!(heard.count("PanicContained { during: ProcessorDrop"), 1);
    assert!(runtime.parked().is_empty());
}

struct Starts(u32, &'static str);
impl Processor for Starts {
    async fn started(&mut self, _: &mut Context) -> Outcome {
        match (self.0, self.1) {
            (0, "panic") => panic!("in started"),
            (0, "error") => Err(Failure::transient("in started")),
            _ => Ok(()),
        }
    }
}
impl Handle<Number> for Starts {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        Ok(())
    }
}

#[test]
fn in_the_factory_and_in_started_it_is_tried_again_and_its_events_wait() {
    for how in ["factory", "panic", "error"] {
        let (tries, heard) = (Arc::new(AtomicU32::new(0)), Heard::default());
        let starts = processor("starts", move || {
            let attempt = tries.fetch_add(1, SeqCst);
            assert!(attempt > 0 || how != "factory", "in the factory");
            Starts(attempt, how)
        });
        let runtime = Runtime::builder("test")
            .supervise(supervisor().child(starts.on::<Number>()))
            .observe(heard.clone())
            .start()
            .unwrap();
        publish(&runtime, (0..10).map(number));
        idle(&runtime);
        assert_eq!(heard.count("StartFailed"), 1, "{how}");
        assert_eq!(runtime.processors()[0].waiting, 0);
    }
}

#[derive(Serialize, Deserialize)]
struct BadKey(u64);
impl Message for BadKey {
    const NAME: &'static str = "bad.key";
    type Reply = ();
    fn key(&self) -> Option<Key> {
        assert!(self.0 != 3, "in key()");
        Some(Key::from(self.0 % 2))
    }
}

#[test]
fn in_key_the_event_is_parked_and_others_flow() {
    for instances in [1, 3] {
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        let keyed = processor("keyed", move || Counts(counted.clone())).on::<BadKey>();
        let runtime = one(keyed.instances(instances).retry(crate::support::quick(3)));
        runtime.publish_all((0..10).map(BadKey)).wait().unwrap();
        idle(&runtime);
        let parked = runtime.parked();
        // With one instance keys are only asked for while something is held up.
        assert_eq!(parked.len(), 1, "{instances} instances");
        assert!(parked[0].chain[0].contains("key()"));
        assert_eq!(count.load(SeqCst), 9);
    }
}

/// Fails its first event once, so that the machine has to ask for keys.
struct Counts(Arc<AtomicU32>);
impl Processor for Counts {}
impl Handle<BadKey> for Counts {
    async fn handle(&mut self, event: &BadKey, cx: &mut Context) -> Outcome {
        if event.0 == 0 && cx.attempt() == 1 {
            return Err(Failure::transient("once"));
        }
        self.0.fetch_add(1, SeqCst);
        Ok(())
    }
}

#[test]
fn in_a_filter_the_event_is_parked_and_others_flow() {
    let spec = processor("filtered", || Ignores).on_if::<Number>(|event| {
        assert!(event.value != 3, "in the filter");
        true
    });
    let runtime = one(spec);
    publish(&runtime, (0..6).map(number));
    idle(&runtime);
    let parked = runtime.parked();
    assert_eq!((parked.len(), parked[0].cause), (1, Cause::Panicked));
}

/// Its `Drop` panics once it has counted something.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Mine(u32);
impl Drop for Mine {
    fn drop(&mut self) {
        assert!(self.0 == 0, "in a state's drop");
    }
}

#[test]
fn in_the_drop_of_kept_states_of_one_handler_and_of_a_stopped_runtime() {
    let heard = Heard::default();
    let keeps = with("keeps", |event, cx| {
        for key in 0..3u32 {
            cx.state::<Mine>(key)?.0 += 1;
        }
        match event.value {
            1 => Err(Failure::permanent("all three copies are dropped")),
            _ => Ok(()),
        }
    });
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(keeps))
        .observe(heard.clone())
        .start()
        .unwrap();
    publish(&runtime, (0..3).map(number));
    idle(&runtime);
    assert_eq!(runtime.parked().len(), 1);
    let contained = "PanicContained { during: StateDrop";
    heard.wait_for(contained);
    assert!(heard.count(contained) >= 3, "those of the failed handler");
    drop(runtime);
}

struct Nosy;
impl cueline::Observer for Nosy {
    fn observe(&self, _: &cueline::Signal<'_>) {
        panic!("in an observer");
    }
}

#[test]
fn in_an_observer_others_are_told_and_nothing_stops() {
    let (log, heard) = (Log::default(), Heard::default());
    let seen = log.clone();
    let counts = with("counts", move |event, _| {
        seen.push(event.value);
        Ok(())
    });
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(counts))
        .observe(Nosy)
        .observe(heard.clone())
        .start()
        .unwrap();
    publish(&runtime, (0..100).map(number));
    idle(&runtime);
    assert_eq!(log.all().len(), 100);
    assert!(heard.count("PanicContained { during: Observer") > 0);
    assert!(heard.count("Handled") > 0);
}

#[derive(Serialize, Deserialize)]
struct OftenBadKey(u64);
impl Message for OftenBadKey {
    const NAME: &'static str = "often.bad.key";
    type Reply = ();
    fn key(&self) -> Option<Key> {
        assert!(!self.0.is_multiple_of(5), "in key");
        Some(Key::from(self.0))
    }
}

struct Tallies(Arc<Vec<AtomicU32>>);
impl Processor for Tallies {}
impl Handle<OftenBadKey> for Tallies {
    async fn handle(&mut self, event: &OftenBadKey, _: &mut Context) -> Outcome {
        self.0[event.0 as usize].fetch_add(1, SeqCst);
        tokio::task::yield_now().await;
        Ok(())
    }
}

#[test]
fn in_key_before_several_threads_no_other_event_is_lost_or_doubled() {
    let tally: Arc<Vec<AtomicU32>> = Arc::new((0..2_000).map(|_| AtomicU32::new(0)).collect());
    let counts = tally.clone();
    let crew = processor("crew", move || Tallies(counts.clone())).on::<OftenBadKey>();
    let heard = Heard::default();
    let runtime = Runtime::builder("test")
        .threads(2)
        .supervise(supervisor().child(crew.instances(4)))
        .observe(heard.clone())
        .start()
        .unwrap();
    for first in (0..2_000).step_by(10) {
        runtime.publish_all((first..first + 10).map(OftenBadKey)).wait().unwrap();
    }
    idle(&runtime);
    for (number, count) in tally.iter().enumerate() {
        let expected = u32::from(number % 5 != 0);
        assert_eq!(count.load(SeqCst), expected, "deliveries of number {number}");
    }
    assert_eq!((runtime.parked().len(), heard.count("Parked")), (400, 400));
}

struct Breaks;
impl Processor for Breaks {}
impl Handle<Fuse> for Breaks {
    async fn handle(&mut self, _: &Fuse, _: &mut Context) -> Outcome {
        panic!("in the handler")
    }
}

/// The second delivery is from bytes, and its event the handler's own to drop.
#[test]
fn in_the_handler_and_in_the_drop_of_its_event_too() {
    let runtime = one(processor("breaks", || Breaks).on::<Fuse>());
    runtime.publish(Fuse(true)).wait().unwrap();
    idle(&runtime);
    assert_eq!(runtime.parked()[0].attempts, 2);
}
