use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use cueline::prelude::*;
use cueline::{Observer, Signal};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::support::{
    Gate, Heard, Log, Number, Word, idle, number, one, publish, supervisor, with, within, words_to,
};

/// Publishes on a thread of its own; the other end hears of it.
fn published(runtime: &Runtime, event: Number) -> Receiver<()> {
    let (runtime, (tell, told)) = (runtime.clone(), channel());
    std::thread::spawn(move || {
        runtime.publish(event).wait().unwrap();
        tell.send(()).unwrap();
    });
    told
}

/// Until somebody waits at the door: it is refused to who does not want to wait.
fn wait_in_line(runtime: &Runtime, mut polled: impl FnMut() -> bool + Send + 'static) {
    let _ = runtime;
    within("it waits at the door", move || while !polled() {});
}

/// A publication polled once, which waits from then on.
macro_rules! waiting {
    ($publication:expr) => {{
        let mut publication = Box::pin($publication);
        let mut task = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(publication.as_mut().poll(&mut task).is_pending());
        publication
    }};
}

struct Two;
impl Processor for Two {}
impl Handle<Number> for Two {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        Ok(())
    }
}
impl Handle<Word> for Two {
    async fn handle(&mut self, _: &Word, _: &mut Context) -> Outcome {
        Ok(())
    }
}

/// Stops the thread that states that 64 events were handled.
struct StopsAt64(Mutex<Option<(Sender<()>, Receiver<()>)>>);
impl Observer for StopsAt64 {
    fn observe(&self, signal: &Signal<'_>) {
        if let Signal::Handled { events: 64, .. } = signal
            && let Some((tell, wait)) = self.0.lock().take()
        {
            tell.send(()).unwrap();
            wait.recv().ok();
        }
    }
}

#[test]
fn room_that_another_topic_was_allowed_in_between_wakes_nobody_too_late() {
    let ((tell, told), (go, wait)) = (channel(), channel());
    let two = processor("two", || Two).on::<Number>().on::<Word>().bound(64);
    let runtime = Runtime::builder("test")
        .threads(1)
        .observe(StopsAt64(Mutex::new(Some((tell, wait)))))
        .supervise(supervisor().child(two))
        .start()
        .unwrap();
    runtime.pause("two").unwrap();
    runtime.publish_all((0..64).map(number)).wait().unwrap();
    let (asked, let_in) = (Log::default(), runtime.clone());
    let says = asked.clone();
    let waits = std::thread::spawn(move || {
        let mut publication = Box::pin(let_in.publish(number(64)));
        pollster::block_on(std::future::poll_fn(|task| {
            let polled = publication.as_mut().poll(task);
            says.push(polled.is_ready());
            polled
        }))
        .unwrap();
    });
    wait_in_line(&runtime, move || !asked.all().is_empty());
    runtime.resume("two").unwrap();
    told.recv().unwrap();
    runtime.try_publish(Word::default()).unwrap(); // between the commit and the look at who waits
    go.send(()).unwrap();
    within("the publisher is let in", move || waits.join().unwrap());
}

/// Waits for a permit at number 8.
struct StopsAt8(Arc<Semaphore>);
impl Processor for StopsAt8 {}
impl Handle<Number> for StopsAt8 {
    async fn handle(&mut self, event: &Number, _: &mut Context) -> Outcome {
        if event.value == 8 {
            self.0.acquire().await?.forget();
        }
        Ok(())
    }
}

#[test]
fn who_waits_is_let_in_at_half_the_bound_the_second_time_as_well() {
    let permits = Arc::new(Semaphore::new(0));
    let taken = permits.clone();
    let runtime = one(processor("slow", move || StopsAt8(taken.clone())).on::<Number>().bound(16));
    for _ in 0..2 {
        runtime.pause("slow").unwrap();
        runtime.publish_all((0..16).map(number)).wait().unwrap();
        let let_in = published(&runtime, number(100));
        runtime.resume("slow").unwrap();
        within("the publisher is let in", move || let_in.recv().unwrap());
        permits.add_permits(1);
        idle(&runtime);
    }
}

#[test]
fn a_publisher_that_is_removed_keeps_no_room() {
    let runtime = one(words_to(Log::default()).bound(64));
    for _ in 0..60 {
        let gate = Gate::default();
        let held = gate.clone();
        let relay = with("relay", move |_, cx| {
            cx.publish(Word("a".into()));
            held.pass();
            Ok(())
        });
        runtime.add("tests", relay).wait().unwrap();
        publish(&runtime, [number(1)]);
        gate.is_reached();
        runtime.remove("relay").unwrap();
        runtime.processors(); // passes its lane round, so that it is closed when it asks for more
        gate.open();
        idle(&runtime);
        runtime.try_publish(Word("b".into())).unwrap();
        idle(&runtime);
    }
}

#[test]
fn a_publisher_that_rests_or_waits_keeps_no_room() {
    struct Publishes(Gate);
    impl Processor for Publishes {}
    impl Handle<Number> for Publishes {
        async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
            if event.value == 0 {
                cx.publish(Word::default());
                return Ok(());
            }
            let gate = self.0.clone();
            std::thread::spawn(move || gate.pass());
            std::future::pending().await
        }
    }
    for waits in [false, true] {
        let gate = Gate::default();
        let mut all = supervisor().child(words_to(Log::default()).bound(64));
        for number in 0..8 {
            let held = gate.clone();
            let publishes =
                processor(format!("publishes-{number}"), move || Publishes(held.clone()));
            all = all.child(publishes.on::<Number>());
        }
        let runtime = Runtime::builder("test").threads(1).supervise(all).start().unwrap();
        publish(&runtime, [number(0)]);
        if waits {
            publish(&runtime, [number(1)]);
            let (reached, words) = (gate.clone(), runtime.clone());
            within("all wait", move || while reached.standing() < 8 {});
            within("words are read", move || while words.processors()[0].waiting > 0 {});
        } else {
            idle(&runtime);
        }
        runtime.pause("words").unwrap();
        for _ in 0..64 {
            runtime.try_publish(Word::default()).unwrap();
        }
        assert!(matches!(runtime.try_publish(Word::default()), Err(Refused::Full(_))));
        runtime.resume("words").unwrap();
        gate.open();
    }
}

#[test]
fn a_new_subscription_is_not_flooded_by_what_was_allowed_before_it() {
    let gate = Gate::default();
    let held = gate.clone();
    let relay = with("relay", move |event, cx| {
        if event.value == 1 {
            held.pass();
        }
        cx.publish(Word::default());
        Ok(())
    });
    let runtime = Runtime::builder("test")
        .threads(2)
        .supervise(supervisor().child(relay.retry(Retry::attempts(1))))
        .start()
        .unwrap();
    runtime.publish_all((0..2).map(number)).wait().unwrap();
    gate.is_reached();
    runtime.add("tests", words_to(Log::default()).bound(4).reserve(4)).wait().unwrap();
    runtime.pause("words").unwrap();
    // Allowed to the application before: only what is left of that counts.
    runtime.publish_all((2..400).map(number)).wait().unwrap();
    // They are there when it asks for more, so that it does not rest before.
    let there = runtime.clone();
    within("they are there", move || while there.processors()[0].waiting < 399 {});
    gate.open();
    let words = |runtime: &Runtime| {
        let topics = runtime.topology().into_iter().filter(|topic| topic.topic == "word");
        topics.map(|topic| topic.published).sum::<u64>()
    };
    let tried = runtime.clone();
    within("all is tried", move || while words(&tried) + tried.parked().len() as u64 != 400 {});
    let words = words(&runtime);
    assert!((8..=10).contains(&words), "bound 4, reserve 4, two in hand before: {words}");
}

#[test]
fn credit_that_was_given_before_somebody_subscribed_counts_for_nothing() {
    let runtime = one(with("numbers", |_, _| Ok(())));
    publish(&runtime, [Word::default()]); // allows the application many more
    runtime.add("tests", words_to(Log::default()).bound(4)).wait().unwrap();
    runtime.pause("words").unwrap();
    for _ in 0..4 {
        runtime.try_publish(Word::default()).unwrap();
    }
    assert!(matches!(runtime.try_publish(Word::default()), Err(Refused::Full(_))));
}

#[test]
fn publishers_that_give_up_hold_up_nobody_and_others_are_let_in_in_their_order() {
    let log = Log::default();
    let seen = log.clone();
    let reader = with("reader", move |event, _| {
        seen.push(event.value);
        Ok(())
    });
    // For ever, so that what waits for it can wait on another thread.
    let runtime: &'static Runtime = Box::leak(Box::new(one(reader.bound(1))));
    for many in [false, true] {
        runtime.pause("reader").unwrap();
        publish(runtime, [number(0)]);
        if many {
            drop(waiting!(runtime.publish_all([number(1), number(2)])));
        } else {
            drop(waiting!(runtime.publish(number(1))));
        }
        let second = waiting!(runtime.publish(number(3)));
        let mut third = waiting!(runtime.publish(number(4)));
        runtime.resume("reader").unwrap();
        within("there is room", move || while runtime.processors()[0].waiting > 0 {});
        let mut task = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(third.as_mut().poll(&mut task).is_pending(), "it is not its turn");
        within("the second", move || pollster::block_on(second)).unwrap();
        within("the third", move || pollster::block_on(third)).unwrap();
        idle(runtime);
    }
    assert_eq!(log.all(), [0, 3, 4, 0, 3, 4]);
}

#[test]
fn who_waits_at_the_door_is_told_when_the_full_one_is_removed_and_when_the_runtime_stops() {
    for stops in [false, true] {
        let gate = Gate::default();
        let held = gate.clone();
        let full = with("full", move |_, _| {
            held.pass();
            Ok(())
        });
        let runtime = one(full.bound(1));
        publish(&runtime, [number(0)]);
        gate.is_reached();
        let (waits, (tell, told)) = (runtime.clone(), channel());
        let polled = tell.clone();
        std::thread::spawn(move || {
            let mut publication = Box::pin(waits.publish(number(1)));
            let ended = pollster::block_on(std::future::poll_fn(|task| {
                let now = publication.as_mut().poll(task);
                polled.send(None).unwrap();
                now
            }));
            tell.send(Some(ended.is_ok())).unwrap();
        });
        assert_eq!(told.recv().unwrap(), None, "it was asked once, and waits");
        if stops {
            assert_eq!(runtime.shutdown(millis(1)).wait().unwrap().len(), 1);
        } else {
            runtime.remove("full").unwrap();
        }
        let let_in = within("an answer", move || told.iter().find_map(|told| told).unwrap());
        assert_eq!(let_in, !stops);
        gate.open();
    }
}

#[derive(Serialize, Deserialize)]
struct Heavy(u64);
impl Message for Heavy {
    const NAME: &'static str = "heavy";
    type Reply = ();
    fn weight(&self) -> usize {
        self.0 as usize
    }
}
struct TakesHeavy(Log<u64>);
impl Processor for TakesHeavy {}
impl Handle<Heavy> for TakesHeavy {
    async fn handle(&mut self, event: &Heavy, _: &mut Context) -> Outcome {
        self.0.push(event.0);
        Ok(())
    }
}

fn takes_heavy(log: &Log<u64>) -> cueline::ProcessorSpec<TakesHeavy, (cueline::On<Heavy>, ())> {
    let log = log.clone();
    processor("heavy", move || TakesHeavy(log.clone())).on::<Heavy>()
}

#[test]
fn one_that_never_fits_is_refused_also_among_many_and_also_for_later() {
    let log = Log::default();
    let later = with("later", |_, cx| {
        cx.publish_after(millis(1), Heavy(1_000));
        Ok(())
    });
    let all = supervisor().child(takes_heavy(&log).bound_bytes(100)).child(later);
    let runtime = Runtime::builder("test").supervise(all).start().unwrap();
    let many = runtime.clone();
    let refused = within("a refusal", move || {
        many.publish_all([Heavy(1), Heavy(1_000), Heavy(2)]).wait().unwrap_err()
    });
    let Refused::Invalid(left, error) = refused else { panic!("{refused}") };
    assert!(left.len() == 2 && error.to_string().contains("bound_bytes"), "{error}");
    publish(&runtime, [number(1)]);
    idle(&runtime);
    let parked = runtime.parked();
    assert!(parked[0].chain[0].contains("bound_bytes"), "{:?}", parked[0].chain);
    assert_eq!(log.all(), [1]);
}

#[test]
fn weights_that_no_memory_has_neither_overflow_nor_hang() {
    let log = Log::default();
    let runtime = one(takes_heavy(&log).when_full(WhenFull::DropNewest));
    publish(&runtime, (0..20).map(|_| Heavy(1 << 61)));
    publish(&runtime, [Heavy(u64::MAX), Heavy(1)]);
    idle(&runtime);
    assert_eq!(log.all(), [1]);
    let runtime = one(with("numbers", |_, _| Ok(())));
    within("nobody wants it", move || runtime.publish(Heavy(u64::MAX)).wait().unwrap());
}

#[test]
fn a_publication_whose_time_has_come_waits_for_its_room() {
    let (log, heard) = (Log::default(), Heard::default());
    let later = with("later", |_, cx| {
        cx.publish_after(millis(1), Word("later".into()));
        Ok(())
    });
    let runtime = Runtime::builder("test")
        .observe(heard)
        .supervise(supervisor().child(words_to(log.clone()).bound(1).reserve(0)).child(later))
        .start()
        .unwrap();
    runtime.pause("words").unwrap();
    publish(&runtime, [Word("first".into())]);
    publish(&runtime, [number(1)]);
    // Another one is due later, and so says that the first was asked for and found no room.
    let tries = runtime.clone();
    within("it is due", move || {
        let began = std::time::Instant::now();
        while began.elapsed() < millis(50) {
            tries.processors();
        }
    });
    assert!(log.all().is_empty());
    runtime.resume("words").unwrap();
    let seen = log.clone();
    within("both are read", move || while seen.all().len() < 2 {});
    assert_eq!(log.all(), ["first", "later"]);
}
