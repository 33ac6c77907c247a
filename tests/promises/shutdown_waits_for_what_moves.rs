use cueline::Unsettled;
use cueline::prelude::*;

use crate::support::{
    Gate, Log, Number, Word, idle, keyed, number, one, publish, supervisor, with, within, words_to,
};

/// Long enough that a test fails which waits for it.
const LONG: std::time::Duration = secs(600);

#[test]
fn what_waits_behind_a_retry_that_is_due_soon_is_handled() {
    let flaky = with("flaky", |_, cx| match cx.attempt() {
        1 => Err(Failure::transient("once")),
        _ => Ok(()),
    });
    let runtime = one(flaky.held(1));
    runtime.pause("flaky").unwrap();
    publish(&runtime, (0..50).map(number));
    runtime.resume("flaky").unwrap();
    let undone = within("shutdown", move || runtime.shutdown(LONG).wait().unwrap());
    assert!(undone.len() <= 1, "back-offs alone are not awaited: {}", undone.len());
}

#[test]
fn what_a_paused_processor_has_in_hand_is_finished_and_its_words_are_read() {
    let (gate, log) = (Gate::default(), Log::default());
    let held = gate.clone();
    let says = with("says", move |event, cx| {
        held.pass();
        cx.publish(Word(event.value.to_string()));
        Ok(())
    });
    let runtime = Runtime::builder("test")
        .threads(2)
        .supervise(supervisor().child(says).child(words_to(log.clone())))
        .start()
        .unwrap();
    publish(&runtime, [number(1)]);
    gate.is_reached();
    runtime.pause("says").unwrap();
    let stopping = runtime.clone();
    let stops = std::thread::spawn(move || stopping.shutdown(LONG).wait().unwrap());
    within("it stops", move || while runtime.why_not_ready().is_empty() {});
    gate.open();
    assert!(within("shutdown", move || stops.join().unwrap()).is_empty());
    assert_eq!(log.all(), ["1"]);
}

#[test]
fn nobody_waits_for_one_that_is_paused_or_full() {
    // Paused, with something fresh.
    let runtime = one(with("rests", |_, _| Ok(())));
    runtime.pause("rests").unwrap();
    publish(&runtime, [number(0)]);
    assert_eq!(within("shutdown", move || runtime.shutdown(LONG).wait().unwrap()).len(), 1);
    // Paused, with something that was resubmitted.
    let runtime = one(with("picky", |_, _| Err(Failure::permanent("no"))));
    publish(&runtime, [number(0)]);
    idle(&runtime);
    runtime.pause("picky").unwrap();
    runtime.resubmit("picky", runtime.parked()[0].id).unwrap();
    assert_eq!(within("shutdown", move || runtime.shutdown(LONG).wait().unwrap()).len(), 1);
    // Full only while the shutdown waits.
    let gate = Gate::default();
    let held = gate.clone();
    let picky = with("picky", move |_, _| {
        held.pass();
        Err(Failure::permanent("no"))
    });
    let runtime = one(picky.held(1));
    publish(&runtime, (0..3).map(number));
    gate.is_reached();
    let stopping = runtime.clone();
    let stops = std::thread::spawn(move || stopping.shutdown(LONG).wait().unwrap());
    within("it stops", move || while runtime.why_not_ready().is_empty() {});
    gate.open();
    assert_eq!(within("shutdown", move || stops.join().unwrap()).len(), 3);
}

#[test]
fn what_several_instances_have_in_hand_comes_back_too() {
    let log = Log::default();
    let seen = log.clone();
    struct Hangs(Log<u64>);
    impl Processor for Hangs {}
    impl Handle<Number> for Hangs {
        async fn handle(&mut self, event: &Number, _: &mut Context) -> Outcome {
            self.0.push(event.value);
            std::future::pending().await
        }
    }
    let crew = processor("crew", move || Hangs(seen.clone())).on::<Number>().instances(2);
    let runtime = one(crew);
    publish(&runtime, [keyed(7, 0), number(1)]);
    let both = log.clone();
    within("both are in hand", move || while both.all().len() < 2 {});
    assert!(runtime.processors()[0].oldest.is_some());
    let undone = runtime.shutdown(millis(1)).wait().unwrap();
    let stood: Vec<_> = undone.iter().map(|event| (event.key.clone(), event.stood)).collect();
    assert_eq!(stood, [(Some(7.into()), Unsettled::Waiting), (None, Unsettled::Waiting)]);
}
