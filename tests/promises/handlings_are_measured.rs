use std::time::Duration;

use cueline::prelude::*;
use cueline::{Observer, Sample, Signal};

use crate::support::{Log, Number, idle, number, supervisor, with};

#[derive(Clone, Default)]
struct Samples(Log<Sample>);
impl Observer for Samples {
    fn observe(&self, signal: &Signal<'_>) {
        if let Signal::Handled { samples, .. } = signal {
            for sample in *samples {
                self.0.push(*sample);
            }
        }
    }
}

/// Blocks its thread for that long at least.
fn block(time: Duration) {
    let began = std::time::Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn measured(child: impl cueline::IntoChild) -> Vec<Sample> {
    let samples = Samples::default();
    let runtime = Runtime::builder("test")
        .threads(1)
        .observe(samples.clone())
        .supervise(supervisor().child(child))
        .start()
        .unwrap();
    runtime.pause("slow").unwrap();
    runtime.publish_all((0..2).map(number)).wait().unwrap();
    runtime.resume("slow").unwrap();
    idle(&runtime);
    samples.0.all()
}

/// The first of a claim is always timed; here it is the second one that takes long.
#[test]
fn one_that_blocks_is_measured_whole() {
    let samples = measured(with("slow", |event, _| {
        if event.value == 1 {
            block(millis(60));
        }
        Ok(())
    }));
    let longest = samples.iter().map(|sample| sample.handled).max().unwrap();
    assert!(longest >= millis(58), "{samples:?}");
}

struct Slow;
impl Processor for Slow {}
impl Handle<Number> for Slow {
    async fn handle(&mut self, event: &Number, _: &mut Context) -> Outcome {
        if event.value == 1 {
            block(millis(60));
            tokio::time::sleep(millis(1)).await;
        }
        Ok(())
    }
}

#[test]
fn one_that_blocks_and_then_waits_is_measured_whole_too() {
    let samples = measured(processor("slow", || Slow).on::<Number>());
    let longest = samples.iter().map(|sample| sample.handled).max().unwrap();
    assert!(longest >= millis(58), "{samples:?}");
}

#[derive(Clone, Default)]
struct Counts(Log<u64>);
impl Observer for Counts {
    fn observe(&self, signal: &Signal<'_>) {
        if let Signal::Handled { events, .. } = signal {
            self.0.push(*events);
        }
    }
}

/// Whoever says that an event is done with, and when: it is counted once.
#[test]
fn what_is_acknowledged_by_hand_is_counted_once() {
    let (counts, taken) = (Counts::default(), Log::default());
    let to = taken.clone();
    let handle = move |event: &Number, cx: &mut cueline::Context| {
        match event.value % 4 {
            0 => cx.acknowledgement()?.done()?,
            1 => {
                cx.acknowledgement()?.done()?;
                return Err(Failure::transient("it was done with before"));
            }
            2 => {
                let taken = Some(cx.acknowledgement()?);
                to.push(std::sync::Arc::new(parking_lot::Mutex::new(taken)));
            }
            _ => {}
        }
        Ok(())
    };
    let lease = cueline::Acknowledge::ByHand { lease: hours(1) };
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(with("numbers", handle).acknowledge(lease)))
        .observe(counts.clone())
        .start()
        .unwrap();
    runtime.publish_all((0..40).map(number)).wait().unwrap();
    while taken.all().len() < 10 {
        std::thread::yield_now();
    }
    for taken in taken.all() {
        taken.lock().take().unwrap().done().unwrap();
    }
    idle(&runtime);
    assert_eq!(counts.0.all().iter().sum::<u64>(), 40);
    runtime.shutdown(secs(5)).wait().unwrap();
}
