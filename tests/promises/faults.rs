//! Rows 57, 58, 60 and 61 of the fault matrix, in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::{
    Heard, Log, Number, idle, number, one, publish, quick, supervisor, with, within,
};

/// Subscribers come, go and panic while others publish: each sees exactly one unbroken stretch.
#[test]
fn fault_57_subscribers_come_and_go_during_broadcast() {
    let runtime = one(with("steady", |_, _| Ok(())));
    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..2u64)
        .map(|publisher| {
            let (runtime, stop) = (runtime.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut value = 0;
                while !stop.load(SeqCst) {
                    runtime.publish(number(publisher << 32 | value)).wait().unwrap();
                    value += 1;
                }
            })
        })
        .collect();
    let mut logs = Vec::new();
    for round in 0..60 {
        let log: Log<u64> = Log::default();
        let seen = log.clone();
        let name = format!("guest-{round}");
        let guest = with(&name, move |event, cx| {
            assert!(event.value % 97 != 0 || cx.attempt() > 1, "on demand");
            seen.push(event.value);
            Ok(())
        });
        runtime.add("tests", guest).wait().unwrap();
        let heard = log.clone();
        within("some events", move || while heard.all().len() < 20 {});
        runtime.remove(&name).unwrap();
        logs.push(log);
    }
    stop.store(true, SeqCst);
    publishers.into_iter().for_each(|of| of.join().unwrap());
    idle(&runtime);
    for log in logs {
        for publisher in 0..2u64 {
            let mut own: Vec<u64> =
                log.all().into_iter().filter(|value| value >> 32 == publisher).collect();
            own.sort_unstable(); // a panicked one comes late
            let unbroken = own.windows(2).all(|pair| pair[0] + 1 == pair[1]);
            assert!(unbroken, "missed or doubled: {own:?}");
        }
    }
}

/// A stuck consumer: by its policy it holds up its own topic or drops; others are unaffected.
#[test]
fn fault_58_a_stuck_consumer_harms_nobody_else() {
    let log = Log::default();
    let seen = log.clone();
    let runtime = Runtime::builder("test")
        .supervise(
            supervisor()
                .child(with("stuck", |_, _| Ok(())).bound(8).when_full(WhenFull::DropOldest))
                .child(with("free", move |event, _| {
                    seen.push(event.value);
                    Ok(())
                })),
        )
        .start()
        .unwrap();
    runtime.pause("stuck").unwrap();
    let publisher = runtime.clone();
    within("publishing", move || publish(&publisher, (0..5_000).map(number)));
    let heard = log.clone();
    within("the free one", move || while heard.all().len() < 5_000 {});
    assert!(runtime.processors()[0].waiting <= 8, "it drops instead of growing");
    runtime.resume("stuck").unwrap();
    idle(&runtime);
}

#[derive(Serialize, Deserialize)]
struct Loop(u64);
cueline::event!(Loop, "loop");

struct Endless(Arc<AtomicU64>);
impl Processor for Endless {}
impl Handle<Number> for Endless {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        cx.publish(Loop(event.value));
        Ok(())
    }
}
impl Handle<Loop> for Endless {
    async fn handle(&mut self, event: &Loop, cx: &mut Context) -> Outcome {
        self.0.fetch_add(1, SeqCst);
        cx.publish(Loop(event.0 + 1));
        Ok(())
    }
}

/// A routing loop ends at the hop limit: the publishing handler's event is parked with its path;
/// resubmitting counts anew.
#[test]
fn fault_60_a_routing_loop_is_parked_with_its_path() {
    let turns = Arc::new(AtomicU64::new(0));
    let counted = turns.clone();
    let endless = processor("endless", move || Endless(counted.clone()));
    let runtime = one(endless.on::<Number>().on::<Loop>());
    publish(&runtime, [number(0)]);
    idle(&runtime);
    let parked = runtime.parked();
    assert_eq!((parked.len(), parked[0].reason), (1, "hop_limit"));
    assert_eq!(parked[0].path, ["loop"; 8]);
    assert_eq!(turns.load(SeqCst), 64);
    runtime.resubmit("endless", parked[0].id).unwrap();
    idle(&runtime);
    assert_eq!(runtime.parked().len(), 1, "it went round again");
    assert_eq!(turns.load(SeqCst), 64 + 65);
}

/// Redelivery counts up; a storm of failures backs off instead of spinning.
#[test]
fn fault_61_a_storm_of_failures_backs_off_with_a_counter() {
    let (log, heard) = (Log::default(), Heard::default());
    let seen = log.clone();
    let failing = with("failing", move |event, cx| {
        seen.push((event.value, cx.attempt()));
        Err(Failure::transient("always"))
    });
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(failing.retry(quick(4))))
        .observe(heard.clone())
        .start()
        .unwrap();
    publish(&runtime, (0..200).map(number));
    idle(&runtime);
    let deliveries = log.all();
    assert_eq!(deliveries.len(), 200 * 4, "exactly four deliveries each");
    for value in 0..200 {
        let attempts: Vec<u32> =
            deliveries.iter().filter(|(of, _)| *of == value).map(|(_, attempt)| *attempt).collect();
        assert_eq!(attempts, [1, 2, 3, 4]);
    }
    assert_eq!((heard.count("Retried"), runtime.parked().len()), (600, 200));
}
