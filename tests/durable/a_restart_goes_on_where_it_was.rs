//! A runtime that is started with the directory of another one goes on where that ended.

use cueline::ErrorKind;
use cueline::prelude::*;

use crate::support::{
    Directory, Log, Number, Sum, adder, fine, idle, numbers, publish, start, stop, total,
};

fn sum(events: std::ops::Range<u64>) -> Sum {
    Sum { events: events.end - events.start, sum: events.sum() }
}

#[test]
fn what_was_handled_is_not_handled_again_and_what_was_kept_is_there() {
    let (directory, log) = (Directory::new("handled"), Log::default());
    let begin = || start(&directory, |of| of.child(adder("adder", &log, fine)).child(total()));
    let runtime = begin();
    publish(&runtime, 0..1_000);
    idle(&runtime);
    stop(runtime);
    assert_eq!(log.take().len(), 1_000);
    let runtime = begin();
    idle(&runtime);
    assert_eq!(log.take(), Vec::<u64>::new());
    assert_eq!(runtime.state("adder", "all"), Some(sum(0..1_000)));
    publish(&runtime, 1_000..1_500);
    idle(&runtime);
    assert_eq!(log.take(), (1_000..1_500).collect::<Vec<_>>());
    assert_eq!(runtime.state("adder", "all"), Some(sum(0..1_500)));
    let total = runtime.state::<Sum>("total", "all").unwrap();
    assert_eq!((total.events, total.sum), (1_500, 2 * (0..1_500).sum::<u64>()));
    stop(runtime);
}

#[test]
fn what_was_not_handled_is_handled_in_its_order() {
    let (directory, log) = (Directory::new("waiting"), Log::default());
    let begin = || start(&directory, |of| of.child(adder("adder", &log, fine)).child(total()));
    let runtime = begin();
    runtime.pause("adder").unwrap();
    publish(&runtime, 0..5_000);
    stop(runtime);
    assert_eq!(log.take(), Vec::<u64>::new());
    let runtime = begin();
    publish(&runtime, 5_000..6_000);
    idle(&runtime);
    assert_eq!(log.take(), (0..6_000).collect::<Vec<_>>());
    assert_eq!(runtime.state("adder", "all"), Some(sum(0..6_000)));
    stop(runtime);
}

/// One event always fails, and those of its key wait behind it: before and after.
#[test]
fn what_is_parked_stays_parked_and_its_key_waits_behind_it() {
    fn fails(event: &Number, _: u32) -> Outcome {
        match event.value {
            7 => Err(Failure::permanent("seven").reason("unlucky")),
            _ => Ok(()),
        }
    }
    let (directory, log) = (Directory::new("parked"), Log::default());
    let begin =
        |fails| start(&directory, |of| of.child(adder("adder", &log, fails)).child(total()));
    let runtime = begin(fails);
    publish(&runtime, 0..70);
    idle(&runtime);
    stop(runtime);
    let others: Vec<u64> = (0..70).filter(|value| value % 7 != 0 || *value <= 7).collect();
    assert_eq!(log.take(), others);

    let runtime = begin(fine);
    idle(&runtime);
    assert_eq!(log.take(), Vec::<u64>::new());
    let parked = runtime.parked();
    assert_eq!((parked.len(), parked[0].reason, parked[0].attempts), (1, "unlucky", 1));
    assert_eq!(parked[0].chain, ["seven"]);
    let event: Number = parked[0].decode().unwrap();
    assert_eq!((event.value, parked[0].seq.get()), (7, 7));
    publish(&runtime, 70..80);
    runtime.resubmit("adder", parked[0].id).unwrap();
    idle(&runtime);
    let (mut handled, of_key): (Vec<_>, Vec<_>) =
        log.take().into_iter().partition(|value| value % 7 != 0);
    assert_eq!(of_key, [7, 14, 21, 28, 35, 42, 49, 56, 63, 70, 77], "in the old order");
    handled.sort_unstable();
    assert_eq!(handled, [71, 72, 73, 74, 75, 76, 78, 79]);
    assert_eq!(runtime.state("adder", "all"), Some(sum(0..80)));
    stop(runtime);
    let runtime = begin(fine);
    idle(&runtime);
    assert!(runtime.parked().is_empty() && log.take().is_empty(), "all is done with");
    stop(runtime);
}

#[test]
fn attempts_are_counted_across_restarts() {
    fn fails(_: &Number, _: u32) -> Outcome {
        Err(Failure::transient("not yet"))
    }
    let (directory, log) = (Directory::new("attempts"), Log::default());
    let spec = |wait: u64| {
        let backoff = Backoff::new(millis(wait), millis(wait));
        adder("adder", &log, fails).retry(Retry::attempts(3).backoff(backoff))
    };
    let runtime = start(&directory, |of| of.child(spec(100_000)));
    publish(&runtime, 0..1);
    let seen = log.clone();
    crate::support::within("it has failed", move || while seen.attempts().is_empty() {});
    stop(runtime);
    assert_eq!(log.attempts(), [(0, 1)]);
    // It is due in a minute and more.
    let runtime = start(&directory, |of| of.child(spec(1)));
    assert!(runtime.parked().is_empty());
    assert_eq!(log.attempts(), [(0, 1)]);
    stop(runtime);
}

#[test]
fn several_instances_handle_each_event_once() {
    let (directory, log) = (Directory::new("crew"), Log::default());
    let spec = || adder("crew", &log, fine).instances(4);
    let mut all = Vec::new();
    for round in 0..4 {
        let runtime = start(&directory, |of| of.child(spec()).child(total()));
        publish(&runtime, round * 500..(round + 1) * 500);
        if round % 2 == 1 {
            idle(&runtime);
        }
        stop(runtime);
        all.extend(log.take());
    }
    let runtime = start(&directory, |of| of.child(spec()).child(total()));
    idle(&runtime);
    all.extend(log.take());
    let sums = runtime.states::<Sum>("crew");
    assert_eq!(sums.values().map(|of| of.events).sum::<u64>(), 2_000);
    assert_eq!(sums.values().map(|of| of.sum).sum::<u64>(), (0..2_000).sum::<u64>());
    assert_eq!(runtime.state::<Sum>("total", "all").unwrap().events, 2_000);
    for key in 0..7 {
        let of_key: Vec<u64> = all.iter().copied().filter(|value| value % 7 == key).collect();
        assert!(of_key.is_sorted(), "key {key}");
    }
    stop(runtime);
}

#[test]
fn whoever_is_new_gets_what_is_published_from_then_on() {
    let (directory, log) = (Directory::new("new"), Log::default());
    let runtime = start(&directory, |of| of.child(total()));
    publish(&runtime, 0..100);
    stop(runtime);
    let runtime = start(&directory, |of| of.child(adder("adder", &log, fine)));
    publish(&runtime, 100..110);
    idle(&runtime);
    assert_eq!(log.take(), (100..110).collect::<Vec<_>>());
    stop(runtime);
}

#[test]
fn a_second_process_is_refused_at_once() {
    let directory = Directory::new("second");
    let runtime = start(&directory, |of| of.child(total()));
    let second = Runtime::builder("test").store(Store::directory(directory.path())).start();
    let error = second.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("in use by another"), "{error}");
    stop(runtime);
    stop(start(&directory, |of| of.child(total())));
}

/// A subscription that falls behind what it may have in memory reads from the log, and loses nothing.
#[test]
fn whoever_is_slow_reads_from_the_log_and_nobody_waits_for_it() {
    let (directory, log) = (Directory::new("slow"), Log::default());
    let slow = adder("adder", &log, fine).bound(100);
    let runtime = start(&directory, |of| of.child(slow));
    runtime.pause("adder").unwrap();
    publish(&runtime, 0..20_000);
    runtime.resume("adder").unwrap();
    for value in 20_000..21_000 {
        runtime.publish(numbers(value..value + 1).next().unwrap()).wait().unwrap();
    }
    idle(&runtime);
    assert_eq!(log.take(), (0..21_000).collect::<Vec<_>>());
    assert_eq!(runtime.state("adder", "all"), Some(sum(0..21_000)));
    stop(runtime);
}

struct Stuck;
impl Processor for Stuck {}
impl Handle<Number> for Stuck {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        std::future::pending().await
    }
}

/// Else a backlog would look young after every start.
#[test]
fn how_old_an_event_is_counts_from_when_it_was_published() {
    let directory = Directory::new("age");
    let begin = || start(&directory, |of| of.child(processor("stuck", || Stuck).on::<Number>()));
    let runtime = begin();
    publish(&runtime, 0..10);
    let published = std::time::Instant::now();
    runtime.shutdown(millis(1)).wait().unwrap();
    let age = published.elapsed();
    let runtime = begin();
    let oldest = || runtime.processors().iter().find_map(|of| of.oldest);
    let oldest = std::iter::from_fn(|| Some(oldest())).flatten().next().unwrap();
    assert!(oldest + millis(1) >= age, "{oldest:?}, published {age:?} before it was started");
    runtime.shutdown(millis(1)).wait().unwrap();
}
