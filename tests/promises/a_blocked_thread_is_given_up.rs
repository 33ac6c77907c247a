use std::sync::Arc;

use cueline::prelude::*;
use cueline::{Cause, RestartCause, Signal};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::support::{
    Gate, Heard, Log, Number, Word, idle, keyed, number, publish, supervisor, with, within,
    words_to,
};

/// Long enough for everybody else, and short enough to wait for.
const LIMIT: std::time::Duration = millis(100);

/// Blocks its thread at that number, as often as it is delivered.
fn blocks_at(
    at: u64,
    gate: &Gate,
    log: &Log<(u64, u32)>,
) -> cueline::ProcessorSpec<crate::support::With, (cueline::On<Number>, ())> {
    let (gate, log) = (gate.clone(), log.clone());
    with("blocks", move |event, cx| {
        log.push((event.value, cx.attempt()));
        if event.value == at {
            gate.pass();
        }
        Ok(())
    })
    .timeout(LIMIT)
}

/// Gives way to whoever wants its thread, until it is let go on.
struct Waits(watch::Receiver<u64>, Log<(u64, u32)>);
impl Processor for Waits {}
impl Handle<Number> for Waits {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        let attempt = cx.attempt();
        self.1.push((event.value, attempt));
        let through = |up_to: &u64| *up_to > event.value;
        self.0.wait_for(through).await?;
        Ok(())
    }
}

#[test]
fn the_event_that_blocks_is_delivered_once_more_then_parked_and_the_others_flow() {
    let (gate, log) = (Gate::default(), Log::default());
    let runtime = Runtime::builder("test")
        .threads(1)
        .supervise(supervisor().child(blocks_at(3, &gate, &log)))
        .start()
        .unwrap();
    publish(&runtime, (0..6).map(number));
    idle(&runtime);
    let parked = runtime.parked();
    assert_eq!(parked.len(), 1);
    assert_eq!((parked[0].cause, parked[0].attempts), (Cause::TimedOut, 2));
    assert_eq!(parked[0].decode::<Number>().unwrap(), number(3));
    assert!(parked[0].chain[0].contains("held its thread"), "{:?}", parked[0].chain);
    assert_eq!(gate.standing(), 2, "twice, and on two threads that are lost");
    // Those before it in its claim may have been delivered again, none of them as a failure.
    let log = log.all();
    let attempts =
        |value| log.iter().filter(move |(of, _)| *of == value).map(|(_, attempt)| *attempt);
    assert_eq!(attempts(3).collect::<Vec<_>>(), [1, 2]);
    assert!([0, 1, 2, 4, 5].into_iter().flat_map(attempts).all(|attempt| attempt == 1));
    let first = |value| log.iter().position(|(of, _)| *of == value).unwrap();
    assert!(
        (0..5).all(|value| first(value) < first(value + 1)),
        "first deliveries keep their order"
    );
    gate.open();
}

#[test]
fn what_else_was_in_hand_on_that_thread_is_delivered_again_uncharged() {
    let (gate, waits) = (Gate::default(), Log::default());
    let ((go_on, wait), held) = (watch::channel(0), gate.clone());
    let (seen, heard) = (waits.clone(), Heard::default());
    let waiting = processor("waits", move || Waits(wait.clone(), seen.clone())).on::<Number>();
    let blocks = with("blocks", move |event, cx| {
        if event.value == 1 && cx.attempt() == 1 {
            held.pass();
        }
        Ok(())
    });
    let runtime = Runtime::builder("test")
        .threads(1)
        .observe(heard.clone())
        .supervise(supervisor().child(waiting).child(blocks.timeout(LIMIT)))
        .start()
        .unwrap();
    publish(&runtime, [number(0)]);
    let seen = waits.clone();
    within("one is in hand", move || while seen.all().is_empty() {});
    publish(&runtime, [number(1)]); // which blocks
    heard.wait_for("ThreadLost");
    let seen = waits.clone();
    within("it is in hand again", move || while seen.all().len() < 2 {});
    assert_eq!(waits.all(), [(0, 1), (0, 1)], "as if it had never been");
    go_on.send(1).unwrap();
    let seen = waits.clone();
    within("the next one", move || while seen.all().last() != Some(&(1, 1)) {});
    go_on.send(2).unwrap();
    idle(&runtime);
    assert!(runtime.parked().is_empty());
    gate.open();
}

#[test]
fn with_several_instances_only_its_key_waits_for_the_blocked_one() {
    let (gate, log) = (Gate::default(), Log::default());
    let (held, seen) = (gate.clone(), log.clone());
    let crew = with("crew", move |event, cx| {
        if event.value == 0 && cx.attempt() == 1 {
            held.pass();
        }
        seen.push((event.key.unwrap_or(0), event.value, cx.attempt()));
        Ok(())
    });
    let crew = crew.instances(4).timeout(LIMIT);
    let runtime =
        Runtime::builder("test").threads(2).supervise(supervisor().child(crew)).start().unwrap();
    publish(&runtime, (0..200).map(|value| keyed(value as u32 % 5, value)));
    idle(&runtime);
    let log = log.all();
    assert_eq!(log.len(), 200);
    for key in 0..5 {
        let own: Vec<u64> =
            log.iter().filter(|(of, ..)| *of == key).map(|(_, value, _)| *value).collect();
        assert!(own.is_sorted(), "{key}: {own:?}");
    }
    let charged: Vec<_> = log.iter().filter(|(.., attempt)| *attempt > 1).collect();
    assert_eq!(charged, [&(0, 0, 2)]);
    gate.open();
}

#[test]
fn a_blocking_instance_loses_its_own_thread_and_nobody_elses() {
    let (gate, log, heard) = (Gate::default(), Log::default(), Heard::default());
    let others = with("others", |_, _| Ok(()));
    let runtime = Runtime::builder("test")
        .observe(heard.clone())
        .supervise(supervisor().child(others).child(blocks_at(1, &gate, &log).blocking()))
        .start()
        .unwrap();
    publish(&runtime, (0..3).map(number));
    idle(&runtime);
    let told = heard.clone();
    within("both restarts", move || while told.count("Restarted") < 2 {});
    assert_eq!((heard.count("ThreadLost"), heard.count("Restarted")), (2, 2));
    assert_eq!(runtime.parked().len(), 1);
    gate.open();
}

/// Publishes, and blocks, whatever it is given: what it was allowed to publish must come back.
#[test]
fn room_that_a_lost_thread_held_comes_back() {
    let (gate, words) = (Gate::default(), Log::default());
    let held = gate.clone();
    let relay = with("relay", move |event, cx| {
        cx.publish(Word(event.value.to_string()));
        if event.value < 4 {
            held.pass();
        }
        Ok(())
    });
    let runtime = Runtime::builder("test")
        .threads(1)
        .supervise(
            supervisor()
                .child(relay.timeout(millis(20)))
                .child(words_to(words.clone()).bound(2).reserve(2)),
        )
        .start()
        .unwrap();
    publish(&runtime, (0..20).map(number));
    idle(&runtime);
    assert_eq!(runtime.parked().len(), 4, "those that block, twice each");
    assert_eq!(words.all().len(), 16);
    assert_eq!(gate.standing(), 8);
    gate.open();
}

/// Who blocks in its factory or its start is charged as a child, and nobody else is.
struct Starts(Option<Gate>, Log<&'static str>);
impl Processor for Starts {
    async fn started(&mut self, _: &mut Context) -> Outcome {
        if let Some(gate) = self.0.take() {
            gate.pass();
        }
        self.1.push("started");
        Ok(())
    }
}
impl Handle<Number> for Starts {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        self.1.push("handled");
        Ok(())
    }
}

#[test]
fn a_start_that_blocks_its_thread_is_tried_again_on_another() {
    let (gate, log, heard) = (Gate::default(), Log::default(), Heard::default());
    let first = Arc::new(Mutex::new(Some(gate.clone())));
    let seen = log.clone();
    let starts = processor("starts", move || Starts(first.lock().take(), seen.clone()));
    let runtime = Runtime::builder("test")
        .threads(1)
        .observe(heard.clone())
        .supervise(supervisor().child(starts.on::<Number>().timeout(LIMIT)))
        .start()
        .unwrap();
    publish(&runtime, [number(1)]);
    let ready = runtime.clone();
    within("it starts", move || pollster::block_on(ready.ready()).unwrap());
    idle(&runtime);
    assert_eq!(log.all(), ["started", "handled"]);
    assert_eq!(heard.count("Restarts"), 1);
    let tests = &runtime.tree().children[0];
    assert_eq!(tests.children[0].restarts, 1);
    let last = tests.children[0].last_failure.clone().unwrap();
    assert!(last.contains("held its thread"), "{last}");
    gate.open();
}

#[test]
fn who_was_restarted_and_why_is_told() {
    struct Causes(Log<RestartCause>);
    impl cueline::Observer for Causes {
        fn observe(&self, signal: &Signal<'_>) {
            if let Signal::Restarted { cause, .. } = signal {
                self.0.push(*cause);
            }
        }
    }
    let (gate, log, causes) = (Gate::default(), Log::default(), Log::default());
    let runtime = Runtime::builder("test")
        .threads(1)
        .observe(Causes(causes.clone()))
        .supervise(
            supervisor().child(with("other", |_, _| Ok(()))).child(blocks_at(0, &gate, &log)),
        )
        .start()
        .unwrap();
    publish(&runtime, [number(0)]);
    let told = causes.clone();
    within("both, twice", move || while told.all().len() < 4 {});
    let of = |cause| causes.all().into_iter().filter(|of| *of == cause).count();
    assert_eq!((of(RestartCause::Blocked), of(RestartCause::Displaced)), (2, 2));
    gate.open();
}

/// Awaits, and blocks its thread after that, when nobody else does anything.
struct LateBlocker(Gate);
impl Processor for LateBlocker {}
impl Handle<Number> for LateBlocker {
    async fn handle(&mut self, _: &Number, cx: &mut Context) -> Outcome {
        if cx.attempt() == 1 {
            tokio::time::sleep(millis(100)).await;
            self.0.pass();
        }
        Ok(())
    }
}

#[test]
fn a_thread_that_is_blocked_while_all_else_is_quiet_is_seen_too() {
    let gate = Gate::default();
    let held = gate.clone();
    let blocks = processor("blocks", move || LateBlocker(held.clone())).on::<Number>();
    let runtime = Runtime::builder("test")
        .threads(1)
        .supervise(supervisor().child(blocks.timeout(millis(150))))
        .start()
        .unwrap();
    publish(&runtime, [number(1)]);
    idle(&runtime);
    assert!(runtime.parked().is_empty());
    gate.open();
}

/// Takes its time to be made, and to fail, but never longer than it may.
struct Slow;
impl Processor for Slow {}
impl Handle<Number> for Slow {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        std::thread::sleep(millis(15));
        Err(Failure::permanent("slowly"))
    }
}

#[test]
fn whoever_is_slow_again_and_again_is_not_stuck() {
    let heard = Heard::default();
    let make = || {
        std::thread::sleep(millis(15));
        Slow
    };
    let runtime = Runtime::builder("test")
        .threads(1)
        .observe(heard.clone())
        .supervise(
            supervisor().child(processor("slow", make).on::<Number>().instances(20).timeout(LIMIT)),
        )
        .start()
        .unwrap();
    let ready = runtime.clone();
    within("it is made", move || pollster::block_on(ready.ready()).unwrap());
    publish(&runtime, (0..20).map(number));
    idle(&runtime);
    assert_eq!((heard.count("ThreadLost"), runtime.parked().len()), (0, 20));
}
