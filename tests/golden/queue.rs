//! Events that wait, fail, are parked, delayed and known by their keys.

use std::path::Path;

use cueline::prelude::*;
use cueline::{Channel, Retention, StartFrom};
use serde::{Deserialize, Serialize};

use crate::Sold;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Booked {
    seat: u64,
    name: String,
}
cueline::event!(Booked, "seat.booked", key: |event| event.seat % 5);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Billed {
    seat: u64,
}
cueline::event!(Billed, "seat.billed");

/// Seat 13 is never sold; from seat 20 on it is late.
struct Desk {
    sells: bool,
}
impl Processor for Desk {}
impl Handle<Booked> for Desk {
    async fn handle(&mut self, event: &Booked, cx: &mut Context) -> Outcome {
        if event.seat == 13 && !self.sells {
            return Err(Failure::permanent("nobody sits there").reason("superstition"));
        }
        if event.seat == 21 && !self.sells {
            return Err(Failure::transient("the computer is down"));
        }
        cx.state::<Sold>("all")?.seats.push(event.seat);
        match event.seat {
            19 => cx.publish_after(hours(1_000_000), Billed { seat: 19 }),
            seat => cx.publish(Billed { seat }),
        }
        Ok(())
    }
}

struct Bank;
impl Processor for Bank {}
impl Handle<Billed> for Bank {
    async fn handle(&mut self, event: &Billed, cx: &mut Context) -> Outcome {
        cx.state::<Sold>("billed")?.seats.push(event.seat);
        Ok(())
    }
}

struct Auditor;
impl Processor for Auditor {}
impl Handle<Booked> for Auditor {
    async fn handle(&mut self, event: &Booked, cx: &mut Context) -> Outcome {
        assert_eq!(event.name, format!("guest {}", event.seat));
        cx.state::<Sold>("audited")?.seats.push(event.seat);
        Ok(())
    }
}

fn start(directory: &Path, sells: bool, audits: bool) -> Runtime {
    let later = Retry::attempts(5).backoff(Backoff::new(hours(10_000), hours(10_000)));
    let mut hall = Supervisor::new("hall")
        .child(processor("desk", move || Desk { sells }).on::<Booked>().retry(later))
        .child(processor("bank", || Bank).on::<Billed>());
    if audits {
        let auditor = processor("auditor", || Auditor).on::<Booked>();
        hall = hall.child(auditor.start_from(StartFrom::Earliest));
    }
    Runtime::builder("theatre")
        .store(Store::directory(directory).limit(16 << 20))
        .channel::<Booked>(
            Channel::default().retain(Retention::Size(1 << 40)).dedup(hours(876_000), 99),
        )
        .supervise(hall)
        .start()
        .unwrap()
}

fn book(seat: u64) -> Booked {
    Booked { seat, name: format!("guest {seat}") }
}

/// A process that ends in the middle of everything.
pub fn make(directory: &Path) {
    let runtime = start(directory, false, false);
    for seat in 0..24 {
        runtime.publish(book(seat)).dedup_key(format!("seat {seat}")).wait().unwrap();
    }
    while runtime.processors().iter().map(|of| of.parked + of.retrying).sum::<usize>() < 2 {
        std::thread::yield_now();
    }
    // What the retry of seat 21 waits for will not come.
    crate::fill(&runtime, directory);
    while runtime.publish(book(24)).wait().is_err() {}
    runtime.shutdown(secs(5)).wait().unwrap();
    crate::strip(directory);
}

/// Everything that was in it is there.
fn check(golden: &Path) {
    let copy = crate::Copy::of(golden, "queue");
    let runtime = start(&copy.0, true, true);
    while runtime.state::<Sold>("auditor", "audited").unwrap_or_default().seats.len() < 25 {
        std::thread::yield_now();
    }
    // The parked one, with what waits behind it, and the one whose retry is due in years.
    let parked = runtime.parked();
    assert_eq!((parked.len(), parked[0].reason, parked[0].attempts), (1, "superstition", 1));
    assert_eq!(parked[0].chain, ["nobody sits there"]);
    assert_eq!(parked[0].decode::<Booked>().unwrap(), book(13));
    let desk = runtime.processors().into_iter().find(|of| &*of.name == "desk").unwrap();
    assert_eq!((desk.retrying, desk.parked, desk.waiting_behind), (1, 1, 2));
    let sold = runtime.state::<Sold>("desk", "all").unwrap().seats;
    let before: Vec<u64> = (0..25).filter(|seat| ![13, 18, 21, 23].contains(seat)).collect();
    assert_eq!(sold, before);
    runtime.resubmit("desk", parked[0].id).unwrap();
    while runtime.state::<Sold>("desk", "all").unwrap().seats.len() < 24 {
        std::thread::yield_now();
    }
    assert_eq!(runtime.state::<Sold>("desk", "all").unwrap().seats[21..], [13, 18, 23]);
    // What is billed in a hundred years is not billed yet; the bank has every other.
    while runtime.state::<Sold>("bank", "billed").unwrap_or_default().seats.len() < 23 {
        std::thread::yield_now();
    }
    let mut billed = runtime.state::<Sold>("bank", "billed").unwrap().seats;
    billed.sort_unstable();
    let all: Vec<u64> = (0..25).filter(|seat| ![19, 21].contains(seat)).collect();
    assert_eq!(billed, all);
    // Keys of publishers are known.
    let id = runtime.publish(book(3)).dedup_key("seat 3").wait().unwrap();
    assert!(id.timestamp() < parked[0].last_failed, "it is the old one");
    assert!(runtime.publish(book(4)).dedup_key("seat 3").wait().is_err());
    assert_eq!(runtime.state::<Sold>("auditor", "audited").unwrap().seats.len(), 25);
    runtime.shutdown(secs(5)).wait().unwrap();
    // And it is a log that this version writes on.
    let runtime = start(&copy.0, true, true);
    assert_eq!(runtime.state::<Sold>("desk", "all").unwrap().seats.len(), 24);
    runtime.shutdown(secs(5)).wait().unwrap();
}

#[test]
fn logs_of_every_release_are_read() {
    crate::make();
    let all = crate::releases("logs");
    assert!(!all.is_empty());
    all.iter().for_each(|release| check(&release.join("queue")));
}
