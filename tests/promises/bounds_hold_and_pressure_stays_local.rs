use std::sync::Arc;

use cueline::prelude::*;
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::support::{
    Heard, Log, Number, Word, idle, number, one, publish, quick, supervisor, with, within, words_to,
};

#[test]
fn a_full_subscription_gives_events_back_and_drops_what_is_told() {
    let heard = Heard::default();
    let slow = with("slow", |_, _| Ok(())).bound(4);
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(slow))
        .observe(heard.clone())
        .start()
        .unwrap();
    runtime.pause("slow").unwrap();
    publish(&runtime, (0..4).map(number));
    let Err(Refused::Full(back)) = runtime.try_publish(number(4)) else { panic!("it has no room") };
    assert_eq!(back, number(4));
    runtime.tell(number(5)).unwrap();
    assert_eq!(heard.count("Refused { index: 0, topic: \"number\", dropped: true"), 1);
    assert_eq!(heard.count("Refused { index: 0, topic: \"number\", dropped: false"), 1);
    runtime.resume("slow").unwrap();
    idle(&runtime);
    runtime.try_publish(number(6)).unwrap();
}

#[test]
fn publishers_wait_at_the_door_and_are_let_in_when_there_is_room() {
    let log = Log::default();
    let seen = log.clone();
    let runtime = one(with("slow", move |event, _| {
        seen.push(event.value);
        Ok(())
    })
    .bound(8));
    runtime.pause("slow").unwrap();
    let publishers: Vec<_> = (0..5u64)
        .map(|publisher| {
            let runtime = runtime.clone();
            std::thread::spawn(move || {
                if publisher == 0 {
                    runtime.publish_all((0..300).map(number)).wait().unwrap();
                } else {
                    publish(&runtime, (0..300).map(|n| number(publisher * 1_000 + n)));
                }
            })
        })
        .collect();
    runtime.resume("slow").unwrap();
    within("publishers", move || publishers.into_iter().for_each(|of| of.join().unwrap()));
    idle(&runtime);
    let all = log.all();
    assert_eq!(all.len(), 1_500);
    for publisher in 0..5 {
        let own: Vec<u64> = all.iter().copied().filter(|n| n / 1_000 == publisher).collect();
        assert!(own.is_sorted());
    }
}

#[test]
fn a_full_subscription_stops_its_own_topics_only() {
    let log = Log::default();
    let words = log.clone();
    let runtime = Runtime::builder("test")
        .supervise(
            supervisor()
                .child(with("stuck", |_, _| Ok(())).bound(4))
                .child(words_to(words).bound(4)),
        )
        .start()
        .unwrap();
    runtime.pause("stuck").unwrap();
    publish(&runtime, (0..4).map(number));
    assert!(runtime.try_publish(number(4)).is_err());
    let publisher = runtime.clone();
    within("words", move || {
        for n in 0..100 {
            publisher.publish(Word(n.to_string())).wait().unwrap();
        }
    });
    let heard = log.clone();
    within("all words", move || while heard.all().len() < 100 {});
    assert!(runtime.try_publish(number(4)).is_err(), "still stuck");
}

#[test]
fn an_event_heavier_than_the_bound_is_refused_with_advice() {
    let runtime = one(with("small", |_, _| Ok(())).bound_bytes(8));
    let refused = runtime.publish(number(1)).wait().unwrap_err();
    assert!(refused.to_string().contains("bound_bytes"), "{refused}");
}

struct Echo;
impl Processor for Echo {}
impl Handle<Number> for Echo {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        for _ in 0..3 {
            cx.publish(Word(event.value.to_string()));
        }
        Ok(())
    }
}

#[test]
fn a_handler_without_room_is_retried_whole_and_its_events_are_not_doubled() {
    let log = Log::default();
    let words = log.clone();
    let runtime = Runtime::builder("test")
        .threads(2)
        .supervise(
            supervisor()
                .child(
                    processor("echo", || Echo)
                        .on::<Number>()
                        .emits::<Word>()
                        .retry(crate::support::quick(1_000)),
                )
                .child(words_to(words).bound(4)),
        )
        .start()
        .unwrap();
    publish(&runtime, (0..500).map(number));
    idle(&runtime);
    let mut words = log.all();
    words.sort();
    let mut expected: Vec<String> =
        (0..500).flat_map(|n| [n, n, n]).map(|n| n.to_string()).collect();
    expected.sort();
    assert_eq!(words, expected);
}

#[test]
fn when_too_many_events_are_held_it_takes_no_more_and_says_why() {
    let heard = Heard::default();
    let failing = with("failing", |_, _| Err(Failure::permanent("always"))).held(3);
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(failing))
        .observe(heard.clone())
        .start()
        .unwrap();
    publish(&runtime, (0..10).map(number));
    heard
        .wait_for("Held { processor: ProcessorName { index: 0, name: \"failing\" }, stopped: true");
    assert_eq!(runtime.parked().len(), 3);
    assert!(runtime.processors()[0].stopped);
    assert_eq!(runtime.processors()[0].waiting, 7);
    for parked in runtime.parked() {
        runtime.discard("failing", parked.id).unwrap();
    }
    let again = runtime.clone();
    within("goes on", move || while again.processors()[0].waiting != 4 {});
}

struct Relay;
impl Processor for Relay {}
impl Handle<Number> for Relay {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        cx.publish(Word(event.value.to_string()));
        Ok(())
    }
}

/// A processor whose readers are slower than itself pauses before its outcomes must be refused.
#[test]
fn a_flood_through_a_slower_reader_is_slowed_down_and_not_refused() {
    struct Slow(u64);
    impl Processor for Slow {}
    impl Handle<Word> for Slow {
        async fn handle(&mut self, event: &Word, _: &mut Context) -> Outcome {
            for _ in 0..200 {
                self.0 = std::hint::black_box(self.0.wrapping_mul(31) + event.0.len() as u64);
            }
            Ok(())
        }
    }
    let heard = Heard::default();
    let slow = processor("slow", || Slow(1)).on::<Word>().bound(4_096);
    let runtime = Runtime::builder("test")
        .threads(2)
        .supervise(supervisor().child(processor("relay", || Relay).on::<Number>()).child(slow))
        .observe(heard.clone())
        .start()
        .unwrap();
    let publisher = runtime.clone();
    within("the flood", move || publisher.publish_all((0..200_000).map(number)).wait().unwrap());
    idle(&runtime);
    assert_eq!(heard.count("Retried"), 0, "none found no room");
}

/// One that waits at the door and turns out to be too heavy leaves the queue.
#[test]
fn a_publisher_that_is_refused_while_it_waits_holds_up_nobody_behind_it() {
    let runtime = one(with("full", |_, _| Ok(())).bound(4));
    runtime.pause("full").unwrap();
    publish(&runtime, (0..4).map(number));
    let waiting = {
        let runtime = runtime.clone();
        let mut waits = Box::pin(async move { runtime.publish(number(4)).await });
        assert!((&mut waits).now_or_never().is_none());
        waits
    };
    runtime.add("tests", with("light", |_, _| Ok(())).bound_bytes(8)).wait().unwrap();
    let refused = within("the answer", move || pollster::block_on(waiting).unwrap_err());
    assert!(matches!(refused, Refused::Invalid(..)), "{refused}");
    runtime.remove("light").unwrap();
    runtime.resume("full").unwrap();
    let publisher = runtime.clone();
    within("the next one", move || publish(&publisher, [number(5)]));
}

#[derive(Serialize, Deserialize)]
struct Heavy(u64);
impl Message for Heavy {
    const NAME: &'static str = "heavy";
    type Reply = ();
    fn weight(&self) -> usize {
        1_000
    }
}

struct Counted(Arc<Semaphore>);
impl Processor for Counted {}
impl Handle<Heavy> for Counted {
    async fn handle(&mut self, _: &Heavy, _: &mut Context) -> Outcome {
        self.0.acquire().await?.forget();
        Ok(())
    }
}

#[test]
fn a_bound_in_bytes_lets_publishers_in_as_soon_as_there_is_room() {
    let permits = Arc::new(Semaphore::new(0));
    let taken = permits.clone();
    let counted = processor("counted", move || Counted(taken.clone())).on::<Heavy>();
    let runtime = one(counted.bound_bytes(20_000));
    publish(&runtime, (0..20).map(Heavy));
    assert!(matches!(runtime.try_publish(Heavy(20)), Err(Refused::Full(_))));
    permits.add_permits(10);
    let publisher = runtime.clone();
    within("room for one more", move || publish(&publisher, [Heavy(20)]));
    permits.add_permits(11);
    idle(&runtime);
}

#[test]
fn publications_that_wait_for_their_time_are_bounded() {
    let ahead = with("ahead", |event, cx| {
        cx.publish_after(secs(3_600), Word(event.value.to_string()));
        Ok(())
    });
    let runtime = one(ahead.held(10).retry(quick(2)));
    publish(&runtime, (0..12).map(number));
    idle(&runtime);
    let parked = runtime.parked();
    assert_eq!(parked.iter().map(|event| event.reason).collect::<Vec<_>>(), ["overflow"; 2]);
    assert!(parked[0].chain[0].contains("`held`"), "{:?}", parked[0].chain);
    let undone = within("shutdown", move || runtime.shutdown(secs(20)).wait().unwrap());
    let delayed = undone.iter().filter(|of| of.stood == cueline::Unsettled::Delayed).count();
    assert_eq!((delayed, undone.len()), (10, 12));
}

#[test]
fn what_is_held_is_bounded_by_its_weight_too() {
    let fails = processor("fails", || Fails).on::<Heavy>().bound_bytes(5_000);
    let runtime = one(fails.reserve(0));
    runtime.tell(Heavy(0)).unwrap();
    let stopped = runtime.clone();
    within("it takes no more", move || {
        let mut number = 0;
        while !stopped.processors()[0].stopped {
            number += 1;
            stopped.tell(Heavy(number)).unwrap();
        }
    });
    runtime.tell(Heavy(0)).unwrap();
    assert!(runtime.why_not_ready()[0].contains("held"), "{:?}", runtime.why_not_ready());
    for event in runtime.parked() {
        runtime.discard("fails", event.id).unwrap();
    }
    let goes_on = runtime.clone();
    within("it goes on", move || while goes_on.parked().is_empty() {});
}

struct Fails;
impl Processor for Fails {}
impl Handle<Heavy> for Fails {
    async fn handle(&mut self, _: &Heavy, _: &mut Context) -> Outcome {
        Err(Failure::permanent("never"))
    }
}

/// The reserve is what handlers may use beyond the bound; without it and without room their outcome
/// is refused, and in the end parked with the way it came.
#[test]
fn a_handler_that_finds_no_room_is_parked_with_its_path() {
    let full = words_to(Log::default()).bound(1).reserve(2);
    let relay = processor("relay", || Relay).on::<Number>().retry(quick(2));
    let runtime =
        Runtime::builder("test").supervise(supervisor().child(relay).child(full)).start().unwrap();
    runtime.pause("words").unwrap();
    publish(&runtime, (0..5).map(number));
    let stuck = runtime.clone();
    within("two are parked", move || while stuck.parked().len() < 2 {});
    for event in runtime.parked() {
        assert_eq!((event.reason, event.path), ("overflow", vec!["number"]));
    }
    // One within its bound and two of its reserve, when they have come.
    let waits = runtime.clone();
    within("three wait", move || while waits.processors()[1].waiting != 3 {});
    runtime.resume("words").unwrap();
    idle(&runtime);
}
