//! Events that cannot be read any more, or always fail, and clocks that jump: rows 47, 52 and 56.

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::{
    Directory, Log, Number, Sum, adder, fine, idle, publish, start, stop, within,
};

/// An event as an earlier version of the program had it, and as a later one has.
mod earlier {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct Booked {
        pub seat: u64,
        pub name: String,
    }
    cueline::event!(Booked, "seat.booked", key: |event| event.seat % 2);
}
mod later {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct Booked {
        pub seat: u64,
        /// Nobody said so before.
        pub class: Option<String>,
        pub row: u64,
    }
    cueline::event!(Booked, "seat.booked", key: |event| event.seat % 2);
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct Seats(Vec<u64>);

struct Desk;
impl Processor for Desk {}
impl Handle<earlier::Booked> for Desk {
    async fn handle(&mut self, event: &earlier::Booked, cx: &mut Context) -> Outcome {
        cx.state::<Seats>("all")?.0.push(event.seat);
        Ok(())
    }
}
impl Handle<later::Booked> for Desk {
    async fn handle(&mut self, event: &later::Booked, cx: &mut Context) -> Outcome {
        cx.state::<Seats>("all")?.0.push(event.seat + event.row);
        Ok(())
    }
}

fn seats(runtime: &Runtime) -> Vec<u64> {
    runtime.state::<Seats>("desk", "all").unwrap_or_default().0
}

#[test]
fn fault_52_a_later_schema() {
    let directory = Directory::new("schema");
    let before = |directory: &Directory| {
        start(directory, |of| of.child(processor("desk", || Desk).on::<earlier::Booked>()))
    };
    let after = |directory: &Directory| {
        start(directory, |of| of.child(processor("desk", || Desk).on::<later::Booked>()))
    };
    let runtime = before(&directory);
    runtime.pause("desk").unwrap();
    for seat in 0..4 {
        let name = "Ada".to_owned();
        runtime.publish(earlier::Booked { seat, name }).wait().unwrap();
    }
    stop(runtime);
    let runtime = after(&directory);
    runtime.publish(later::Booked { seat: 9, class: None, row: 100 }).wait().unwrap();
    idle(&runtime);
    // One of each key is parked with its bytes, as they are, and the others wait behind these.
    let parked = runtime.parked();
    assert_eq!(parked.len(), 2);
    for parked in &parked {
        assert_eq!((parked.topic, parked.reason), ("seat.booked", "undecodable"));
        assert!(parked.chain.join(" ").contains("row"), "{:?}", parked.chain);
        assert_eq!(parked.decode::<earlier::Booked>().unwrap().name, "Ada");
        runtime.discard("desk", parked.id).unwrap();
    }
    idle(&runtime);
    assert_eq!(runtime.parked().len(), 2, "those behind them cannot be read either");
    assert_eq!(seats(&runtime), Vec::<u64>::new());
    stop(runtime);
    // The version that can read them has them after all.
    let runtime = before(&directory);
    for parked in runtime.parked() {
        runtime.resubmit("desk", parked.id).unwrap();
    }
    idle(&runtime);
    let mut all = seats(&runtime);
    all.sort_unstable();
    assert_eq!(all, [2, 3]);
    // And cannot read what came later.
    assert_eq!(runtime.parked().len(), 1);
    stop(runtime);
    let runtime = after(&directory);
    runtime.resubmit("desk", runtime.parked()[0].id).unwrap();
    idle(&runtime);
    assert_eq!(seats(&runtime)[2..], [109]);
    assert!(runtime.parked().is_empty());
    stop(runtime);
}

/// An event that is always at fault is tried so often, with what it said the last time, and those of
/// its key wait; all others go on. Over restarts as well.
#[test]
fn fault_47_a_poisoned_event() {
    fn fails(event: &Number, attempt: u32) -> Outcome {
        match event.value {
            5 => Err(Failure::transient(format!("attempt {attempt}"))),
            _ => Ok(()),
        }
    }
    let (directory, log) = (Directory::new("poison"), Log::default());
    let begin = || start(&directory, |of| of.child(adder("adder", &log, fails)));
    let runtime = begin();
    publish(&runtime, 0..21);
    idle(&runtime);
    stop(runtime);
    assert_eq!(log.attempts().iter().filter(|(value, _)| *value == 5).count(), 3);
    let runtime = begin();
    publish(&runtime, 21..28);
    idle(&runtime);
    let parked = runtime.parked();
    assert_eq!((parked.len(), parked[0].attempts), (1, 3));
    assert_eq!(parked[0].chain, ["attempt 3"]);
    assert!(parked[0].first_failed <= parked[0].last_failed);
    let behind = (0..28u64).filter(|value| value % 7 == 5).count() as u64;
    assert_eq!(runtime.state::<Sum>("adder", "all").unwrap().events, 28 - behind);
    stop(runtime);
}

/// A program that handles a type no more leaves its events where they are, for one that does again.
#[test]
fn what_nobody_handles_any_more_waits_for_who_does() {
    let directory = Directory::new("unhandled");
    let both = |directory: &Directory| {
        start(directory, |of| {
            of.child(processor("desk", || Clerk).on::<earlier::Booked>().on::<Number>())
        })
    };
    let one = |directory: &Directory| {
        start(directory, |of| of.child(processor("desk", || Clerk).on::<Number>()))
    };
    let runtime = both(&directory);
    for seat in 0..6 {
        let name = "Ada".to_owned();
        runtime.publish(earlier::Booked { seat, name }).wait().unwrap();
    }
    idle(&runtime);
    assert_eq!(runtime.parked().len(), 2, "one of each key");
    stop(runtime);
    for round in 0..2 {
        let runtime = one(&directory);
        publish(&runtime, round..round + 1);
        idle(&runtime);
        assert!(runtime.parked().is_empty());
        stop(runtime);
    }
    let runtime = both(&directory);
    assert_eq!(runtime.parked().len(), 2);
    assert_eq!(runtime.processors()[0].waiting_behind, 4);
    for _ in 0..3 {
        runtime.parked().iter().for_each(|of| runtime.discard("desk", of.id).unwrap());
        idle(&runtime);
    }
    assert!(runtime.parked().is_empty());
    stop(runtime);
}

struct Clerk;
impl Processor for Clerk {}
impl Handle<earlier::Booked> for Clerk {
    async fn handle(&mut self, _: &earlier::Booked, _: &mut Context) -> Outcome {
        Err(Failure::permanent("there is no seat"))
    }
}
impl Handle<Number> for Clerk {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        Ok(())
    }
}

/// What a processor left that was deleted is there after a restart, but for what somebody gave up.
#[test]
fn orphans_are_there_after_a_restart() {
    let (directory, log) = (Directory::new("orphans"), Log::default());
    let begin = || start(&directory, |of| of.child(adder("adder", &log, fine)));
    let runtime = begin();
    leave_orphans(&runtime);
    let orphans = runtime.parked();
    assert_eq!(orphans[0].reason, "orphaned");
    runtime.discard("adder", orphans[2].id).unwrap();
    stop(runtime);
    let runtime = begin();
    idle(&runtime);
    let mut left: Vec<u64> =
        runtime.parked().iter().map(|of| of.decode::<Number>().unwrap().value).collect();
    left.sort_unstable();
    assert_eq!(left, [0, 1, 3, 4]);
    for of in runtime.parked() {
        runtime.resubmit("adder", of.id).unwrap();
    }
    idle(&runtime);
    let mut handled = log.take();
    handled.sort_unstable();
    assert_eq!(handled, [0, 1, 3, 4]);
    stop(runtime);
}

/// Also if there was another one of its name by then.
#[test]
fn orphans_are_there_for_who_has_taken_the_name() {
    let (directory, log) = (Directory::new("namesake"), Log::default());
    let begin = || start(&directory, |of| of.child(adder("adder", &log, fine)));
    let runtime = begin();
    leave_orphans(&runtime);
    runtime.add("tests", adder("adder", &log, fine)).wait().unwrap();
    runtime.publish(Number { value: 7, key: 7 }).wait().unwrap();
    idle(&runtime);
    assert_eq!((log.take(), runtime.parked().len()), (vec![7], 5));
    stop(runtime);
    for _ in 0..2 {
        let runtime = begin();
        idle(&runtime);
        assert_eq!(runtime.parked().len(), 5);
        stop(runtime);
    }
    let runtime = begin();
    for of in runtime.parked() {
        runtime.resubmit("adder", of.id).unwrap();
    }
    idle(&runtime);
    let mut handled = log.take();
    handled.sort_unstable();
    assert_eq!(handled, [0, 1, 2, 3, 4]);
    stop(runtime);
}

/// Five events wait for a processor that is deleted.
fn leave_orphans(runtime: &Runtime) {
    runtime.pause("adder").unwrap();
    for value in 0..5 {
        runtime.publish(Number { value, key: value }).wait().unwrap();
    }
    let tests = runtime.supervisor("tests").unwrap();
    tests.stop("adder").wait().unwrap();
    tests.delete("adder").wait().unwrap();
    // The last ones are on their way when they are acknowledged.
    let runtime = runtime.clone();
    within("all are parked", move || while runtime.parked().len() < 5 {});
}
