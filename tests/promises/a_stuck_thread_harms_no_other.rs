use std::thread::ThreadId;

use cueline::prelude::*;
use parking_lot::Mutex;

use crate::support::{
    Gate, Log, Word, idle, keyed, number, publish, supervisor, with, within, words_to,
};

#[test]
fn a_blocking_processor_gets_its_events_while_a_worker_thread_is_stuck() {
    for served in [false, true] {
        let (log, gate) = (Log::default(), Gate::default());
        let held = gate.clone();
        let stuck = with("stuck", move |_, _| {
            held.pass();
            Ok(())
        });
        let all = supervisor().child(stuck).child(words_to(log.clone()).blocking());
        let mut builder = Runtime::builder("test").threads(1).supervise(all);
        if served {
            builder = builder.serve(0);
        }
        let runtime = builder.start().unwrap();
        pollster::block_on(runtime.ready()).unwrap();
        publish(&runtime, [number(0)]);
        gate.is_reached();
        publish(&runtime, [Word("read".into())]);
        within("the word", move || while log.all().is_empty() {});
        gate.open();
        idle(&runtime);
    }
}

struct Sticks(Gate, std::sync::Arc<Mutex<Option<ThreadId>>>);
impl Processor for Sticks {}
impl Handle<Word> for Sticks {
    async fn handle(&mut self, _: &Word, _: &mut Context) -> Outcome {
        *self.1.lock() = Some(std::thread::current().id());
        self.0.pass();
        Ok(())
    }
}

#[test]
fn an_instance_on_another_thread_takes_what_one_on_the_stuck_thread_was_woken_for() {
    let (log, gate) = (Log::default(), Gate::default());
    let (seen, held, stuck_on) = (log.clone(), gate.clone(), std::sync::Arc::default());
    let thread: std::sync::Arc<Mutex<Option<ThreadId>>> = std::sync::Arc::clone(&stuck_on);
    let crew = with("crew", move |event, _| {
        seen.push((event.value, std::thread::current().id()));
        Ok(())
    });
    let sticks = processor("sticks", move || Sticks(held.clone(), thread.clone())).on::<Word>();
    let runtime = Runtime::builder("test")
        .threads(2)
        .supervise(supervisor().child(crew.instances(2)).child(sticks))
        .start()
        .unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    publish(&runtime, [Word::default()]);
    gate.is_reached();
    for number_ in 0..40 {
        publish(&runtime, [number(number_)]);
        let handled = log.clone();
        let many = number_ as usize;
        within("somebody else", move || while handled.all().len() <= many {});
    }
    let stuck_on = stuck_on.lock().unwrap();
    assert!(log.all().iter().all(|(_, thread)| *thread != stuck_on));
    gate.open();
    idle(&runtime);
}

/// The tick sleeps when nothing happens; whoever publishes wakes it.
#[test]
fn also_when_nothing_had_happened_for_a_while() {
    for first in 0..4 {
        let (log, gate) = (Log::default(), Gate::default());
        let (seen, held) = (log.clone(), gate.clone());
        let crew = with("crew", move |event, _| {
            seen.push(event.value);
            Ok(())
        });
        let sticks = processor("sticks", move || Sticks(held.clone(), std::sync::Arc::default()));
        let runtime = Runtime::builder("test")
            .threads(2)
            .supervise(supervisor().child(sticks.on::<Word>()).child(crew.instances(2)))
            .start()
            .unwrap();
        pollster::block_on(runtime.ready()).unwrap();
        publish(&runtime, [Word::default()]);
        gate.is_reached();
        let began = std::time::Instant::now();
        while began.elapsed() < millis(60) {
            std::hint::spin_loop();
        }
        publish(&runtime, [keyed(first, 1)]);
        within("the event", move || while log.all().is_empty() {});
        gate.open();
    }
}
