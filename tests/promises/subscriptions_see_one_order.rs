use cueline::prelude::*;

use crate::support::{Heard, Log, Number, Word, idle, number, one, publish, supervisor, with};

#[derive(Clone)]
struct Both(Log<String>);
impl Processor for Both {}
impl Handle<Number> for Both {
    async fn handle(&mut self, event: &Number, _: &mut Context) -> Outcome {
        self.0.push(event.value.to_string());
        Ok(())
    }
}
impl Handle<Word> for Both {
    async fn handle(&mut self, event: &Word, _: &mut Context) -> Outcome {
        self.0.push(event.0.clone());
        Ok(())
    }
}

#[test]
fn a_processor_of_two_types_sees_them_in_the_order_of_publication() {
    let log = Log::default();
    let both = Both(log.clone());
    let runtime = one(processor("both", move || both.clone()).on::<Number>().on::<Word>());
    let mut expected = Vec::new();
    for value in 0..3_000u64 {
        if value % 3 == 1 {
            runtime.publish(Word(format!("w{value}"))).wait().unwrap();
            expected.push(format!("w{value}"));
        } else {
            runtime.publish(number(value)).wait().unwrap();
            expected.push(value.to_string());
        }
    }
    idle(&runtime);
    assert_eq!(log.all(), expected);
}

#[test]
fn all_subscribers_see_the_same_order_whoever_published() {
    let logs: [Log<u64>; 3] = Default::default();
    let mut all = supervisor();
    for (index, log) in logs.iter().enumerate() {
        let log = log.clone();
        all = all.child(with(&format!("reader-{index}"), move |event, _| {
            log.push(event.value);
            Ok(())
        }));
    }
    let runtime = Runtime::builder("test").threads(2).supervise(all).start().unwrap();
    std::thread::scope(|scope| {
        for publisher in 0..4 {
            let runtime = &runtime;
            scope.spawn(move || {
                publish(runtime, (0..2_000).map(|n| number(publisher * 10_000 + n)));
            });
        }
    });
    idle(&runtime);
    let first = logs[0].all();
    assert_eq!(first.len(), 8_000);
    assert!(logs.iter().all(|log| log.all() == first));
    for publisher in 0..4 {
        let own: Vec<u64> = first.iter().copied().filter(|n| n / 10_000 == publisher).collect();
        assert!(own.is_sorted(), "one publisher's events keep their order");
    }
}

#[test]
fn ids_are_unique_and_grow_and_descendants_inherit_the_correlation() {
    let log: Log<Envelope> = Log::default();
    let seen = log.clone();
    let runtime = Runtime::builder("test")
        .supervise(
            supervisor()
                .child(with("first", |event, cx| {
                    cx.publish(Word(event.value.to_string()));
                    Ok(())
                }))
                .child(processor("second", move || Envelopes(seen.clone())).on::<Word>()),
        )
        .start()
        .unwrap();
    let ids: Vec<EventId> = (0..500).map(|n| runtime.publish(number(n)).wait().unwrap()).collect();
    idle(&runtime);
    assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]));
    let seen = log.all();
    assert_eq!(seen.len(), 500);
    for (parent, child) in ids.iter().zip(&seen) {
        assert_eq!(child.causation, Some(*parent));
        assert_eq!(child.correlation, *parent);
        assert_eq!((child.hops, child.attempt), (1, 1));
        assert!(!ids.contains(&child.id));
    }
}

struct Envelopes(Log<Envelope>);
impl Processor for Envelopes {}
impl Handle<Word> for Envelopes {
    async fn handle(&mut self, _: &Word, cx: &mut Context) -> Outcome {
        self.0.push(cx.envelope().unwrap());
        Ok(())
    }
}

#[test]
fn a_filter_leaves_events_out_and_counts_them_as_handled() {
    let (log, heard) = (Log::default(), Heard::default());
    let seen = log.clone();
    let even =
        processor("even", move || Both(seen.clone())).on_if::<Number>(|event| event.value % 2 == 0);
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(even))
        .observe(heard.clone())
        .start()
        .unwrap();
    publish(&runtime, (0..10).map(number));
    idle(&runtime);
    assert_eq!(log.all(), ["0", "2", "4", "6", "8"]);
    let sum = |field: &str| -> u64 {
        let told = heard.0.all().into_iter().filter(|told| told.starts_with("Handled"));
        let number =
            |told: String| told.split(field).nth(1)?.split(',').next()?.parse::<u64>().ok();
        told.map(|told| number(told).unwrap()).sum()
    };
    assert_eq!((sum("events: "), sum("filtered: ")), (10, 5));
}

#[test]
fn a_subscription_added_while_running_sees_exactly_what_is_published_after() {
    let log = Log::default();
    let runtime = one(with("from-the-start", |_, _| Ok(())));
    for round in 0..20u64 {
        publish(&runtime, (0..50).map(|n| number(round * 1_000 + n)));
        let seen = log.clone();
        let name = format!("late-{round}");
        runtime
            .add(
                "tests",
                with(&name, move |event, _| {
                    seen.push((round, event.value));
                    Ok(())
                }),
            )
            .wait()
            .unwrap();
        publish(&runtime, (50..100).map(|n| number(round * 1_000 + n)));
        runtime.remove(&name).unwrap();
        publish(&runtime, (100..120).map(|n| number(round * 1_000 + n)));
    }
    idle(&runtime);
    for round in 0..20 {
        let own: Vec<u64> =
            log.all().iter().filter(|(of, _)| *of == round).map(|(_, value)| *value).collect();
        let expected: Vec<u64> = (50..100).map(|n| round * 1_000 + n).collect();
        assert_eq!(own, expected);
    }
}

#[test]
fn the_topology_says_who_publishes_and_consumes_what_and_what_nobody_wants() {
    let echo = with("echo", |event, cx| {
        cx.publish(Word(event.value.to_string()));
        Ok(())
    });
    let runtime = one(echo.emits::<Word>());
    publish(&runtime, (0..7).map(number));
    idle(&runtime);
    let topology = runtime.topology();
    let [numbers, words] = ["number", "word"]
        .map(|name| topology.iter().find(|topic| topic.topic == name).unwrap().clone());
    assert!(numbers.seen_publishers.contains("outside") && numbers.consumers.contains("echo"));
    assert!(words.declared_publishers.contains("echo") && words.seen_publishers.contains("echo"));
    assert_eq!((words.published, words.unrouted, numbers.unrouted), (7, 7, 0));
}
