use cueline::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::{Gate, Heard, Log, idle, number, one, publish, supervisor, with, within};

/// How many events were dropped, as stated.
fn dropped(heard: &Heard) -> u64 {
    let of = |signal: &String| {
        let rest = signal.strip_prefix("Dropped")?.split("events: ").nth(1)?.to_owned();
        rest.split(',').next()?.parse::<u64>().ok()
    };
    heard.0.all().iter().filter_map(of).sum()
}

#[test]
fn the_newest_or_the_oldest() {
    for (policy, expected) in
        [(WhenFull::DropNewest, [0, 1, 2, 3]), (WhenFull::DropOldest, [96, 97, 98, 99])]
    {
        let (log, heard) = (Log::default(), Heard::default());
        let seen = log.clone();
        let reader = with("reader", move |event, _| {
            seen.push(event.value);
            Ok(())
        });
        let runtime = Runtime::builder("test")
            .supervise(supervisor().child(reader.bound(4).when_full(policy)))
            .observe(heard.clone())
            .start()
            .unwrap();
        runtime.pause("reader").unwrap();
        publish(&runtime, (0..100).map(number));
        let (all, stated) = (runtime.clone(), heard.clone());
        within(
            "all arrived",
            move || {
                while all.processors()[0].waiting + dropped(&stated) < 100 {}
            },
        );
        assert_eq!(dropped(&heard), 96, "{policy:?}: every drop is counted");
        runtime.resume("reader").unwrap();
        idle(&runtime);
        assert_eq!(log.all(), expected);
    }
}

#[test]
fn the_oldest_goes_and_never_the_latest_while_one_is_in_hand() {
    let (log, gate) = (Log::default(), Gate::default());
    let (seen, held) = (log.clone(), gate.clone());
    let latest = with("latest", move |event, _| {
        seen.push(event.value);
        if event.value == 0 {
            held.pass();
        }
        Ok(())
    });
    let runtime = one(latest.bound(1).when_full(WhenFull::DropOldest));
    publish(&runtime, [number(0)]);
    gate.is_reached();
    publish(&runtime, (1..10).map(number));
    gate.open();
    idle(&runtime);
    assert_eq!(log.all().last(), Some(&9), "{:?}", log.all());
}

#[derive(Serialize, Deserialize)]
struct Weighs(u64);
impl Message for Weighs {
    const NAME: &'static str = "weighs";
    type Reply = ();
    fn weight(&self) -> usize {
        self.0 as usize
    }
}
struct Takes(Log<u64>);
impl Processor for Takes {}
impl Handle<Weighs> for Takes {
    async fn handle(&mut self, event: &Weighs, _: &mut Context) -> Outcome {
        self.0.push(event.0);
        Ok(())
    }
}

#[test]
fn one_that_is_too_heavy_takes_no_others_with_it() {
    for policy in [WhenFull::DropNewest, WhenFull::DropOldest] {
        for published in [[1_000, 1, 2, 3], [1, 2, 1_000, 3], [1, 2, 3, 1_000]] {
            let log = Log::default();
            let seen = log.clone();
            let takes = processor("takes", move || Takes(seen.clone())).on::<Weighs>();
            let runtime = one(takes.bound_bytes(100).when_full(policy));
            runtime.publish_all(published.map(Weighs)).wait().unwrap();
            idle(&runtime);
            assert_eq!(log.all(), [1, 2, 3], "{policy:?} {published:?}");
        }
    }
}
