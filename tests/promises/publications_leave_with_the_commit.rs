use std::sync::{Arc, OnceLock};

use cueline::prelude::*;

use crate::support::{
    Log, Number, Word, idle, number, one, publish, quick, supervisor, with, within, words_to,
};

fn words_of(first: impl cueline::IntoChild, log: &Log<String>) -> Runtime {
    let log = log.clone();
    Runtime::builder("test")
        .supervise(supervisor().child(first).child(words_to(log)))
        .start()
        .unwrap()
}

#[test]
fn what_a_failed_delivery_published_never_leaves() {
    let log = Log::default();
    let speaker = with("speaker", |event, cx| {
        cx.publish(Word(format!("{} at attempt {}", event.value, cx.attempt())));
        match (event.value % 4, cx.attempt()) {
            (1, 1) => Err(Failure::transient("once")),
            (2, 1) => panic!("once"),
            (3, _) => Err(Failure::permanent("for ever")),
            _ => Ok(()),
        }
    });
    let runtime = words_of(speaker, &log);
    publish(&runtime, (0..40).map(number));
    idle(&runtime);
    let mut said = log.all();
    said.sort();
    let mut expected: Vec<String> = (0..40)
        .filter(|n| n % 4 != 3)
        .map(|n| format!("{n} at attempt {}", if n % 4 == 0 { 1 } else { 2 }))
        .collect();
    expected.sort();
    assert_eq!(said, expected);
}

struct Halfway(tokio::sync::mpsc::UnboundedReceiver<()>);
impl Processor for Halfway {}
impl Handle<Number> for Halfway {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        cx.publish(Word(format!("before {}", event.value)));
        if event.value == 1 {
            self.0.recv().await;
        }
        cx.publish(Word(format!("after {}", event.value)));
        Ok(())
    }
}

#[test]
fn a_settled_handlers_words_leave_before_the_next_one_waits_and_a_waiting_ones_do_not() {
    let log = Log::default();
    let (go, wait) = tokio::sync::mpsc::unbounded_channel();
    let wait = parking_lot::Mutex::new(Some(wait));
    let halfway = processor("halfway", move || Halfway(wait.lock().take().unwrap()));
    let runtime = words_of(halfway.on::<Number>(), &log);
    runtime.publish_all((0..3).map(number)).wait().unwrap();
    let heard = log.clone();
    within("the first one's words", move || while heard.all().len() < 2 {});
    assert_eq!(log.all(), ["before 0", "after 0"], "event 1 waits; its words too");
    go.send(()).unwrap();
    idle(&runtime);
    assert_eq!(log.all()[2..], ["before 1", "after 1", "before 2", "after 2"]);
}

#[test]
fn what_is_published_later_leaves_later_and_only_after_success() {
    let log = Log::default();
    let speaker = with("speaker", |event, cx| {
        cx.publish_after(millis(30), Word(format!("late {}", event.value)));
        cx.publish(Word(format!("now {}", event.value)));
        if event.value == 1 { Err(Failure::permanent("no")) } else { Ok(()) }
    });
    let runtime = words_of(speaker, &log);
    publish(&runtime, (0..3).map(number));
    let heard = log.clone();
    within("late words", move || while heard.all().len() < 4 {});
    let said = log.all();
    assert_eq!(said[..2], ["now 0", "now 2"]);
    let mut late = said[2..].to_vec();
    late.sort();
    assert_eq!(late, ["late 0", "late 2"]);
}

#[test]
fn a_tick_comes_again_and_again() {
    let log = Log::default();
    let ticking = with("ticking", |_, _| Ok(())).every(millis(2), || Word("tick".to_owned()));
    let runtime = words_of(ticking, &log);
    let heard = log.clone();
    within("five ticks", move || while heard.all().len() < 5 {});
    drop(runtime);
}

struct Greets;
impl Processor for Greets {
    async fn started(&mut self, cx: &mut Context) -> Outcome {
        cx.publish(Word("started".to_owned()));
        Ok(())
    }
    async fn stopping(&mut self, cx: &mut Context) -> Outcome {
        cx.publish(Word("stopping".to_owned()));
        Ok(())
    }
}
impl Handle<Number> for Greets {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        Ok(())
    }
}

#[test]
fn hooks_may_publish_too() {
    let log = Log::default();
    let runtime = words_of(processor("greets", || Greets).on::<Number>(), &log);
    let heard = log.clone();
    within("the word", move || while heard.all().is_empty() {});
    assert_eq!(log.all(), ["started"]);
    drop(runtime);
    let _ = one(with("other", |_, _| Ok(())));
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Other;
cueline::event!(Other, "other");

/// A failed delivery leaves nothing behind, not even an empty place among what others publish.
#[test]
fn what_a_failed_delivery_published_does_not_stand_in_the_way_of_others() {
    let log = Log::default();
    let speaker = with("speaker", |event, cx| match event.value {
        0 => {
            cx.publish(Word("never".to_owned()));
            Err(Failure::permanent("no"))
        }
        1 => {
            cx.publish(Other);
            Ok(())
        }
        _ => {
            cx.publish(Word("said".to_owned()));
            Ok(())
        }
    });
    let runtime = words_of(speaker, &log);
    runtime.publish_all((0..2).map(number)).wait().unwrap();
    idle(&runtime);
    publish(&runtime, [number(2)]);
    idle(&runtime);
    assert_eq!(log.all(), ["said"]);
}

struct Up;
impl Processor for Up {}
impl Handle<Number> for Up {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        *cx.state::<u64>("last")? = event.value;
        cx.publish(Word(event.value.to_string()));
        Ok(())
    }
}

/// Looks at the state of who published the word.
struct Down(Arc<OnceLock<Runtime>>, Log<String>);
impl Processor for Down {}
impl Handle<Word> for Down {
    async fn handle(&mut self, event: &Word, _: &mut Context) -> Outcome {
        let seen = self.0.get().and_then(|runtime| runtime.state::<u64>("up", "last"));
        if seen.unwrap_or(0) < event.0.parse()? {
            self.1.push(format!("{} came before its state: {seen:?}", event.0));
        }
        Ok(())
    }
}

#[test]
fn whoever_sees_a_publication_sees_the_state_of_the_same_commit() {
    let (runtime_of, log) = (Arc::new(OnceLock::new()), Log::default());
    let (looks, writes) = (runtime_of.clone(), log.clone());
    let down = processor("down", move || Down(looks.clone(), writes.clone())).on::<Word>();
    let runtime = Runtime::builder("test")
        .threads(2)
        .supervise(supervisor().child(processor("up", || Up).on::<Number>()).child(down))
        .start()
        .unwrap();
    runtime_of.set(runtime.clone()).ok();
    for round in 0..5_000 {
        publish(&runtime, (round * 3 + 1..round * 3 + 4).map(number));
        runtime.idle().wait();
    }
    assert!(log.all().is_empty(), "{:?}", log.all());
}

/// Publishes, and then waits, every second time.
struct PublishesAndWaits {
    fails: bool,
}
impl Processor for PublishesAndWaits {}
impl Handle<Number> for PublishesAndWaits {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        cx.publish(Word(event.value.to_string()));
        if event.value % 2 == 1 {
            tokio::task::yield_now().await;
        }
        if self.fails && event.value % 3 == 1 && cx.attempt() == 1 {
            return Err(Failure::transient("once"));
        }
        Ok(())
    }
}

#[test]
fn what_was_published_before_an_await_leaves_once_whatever_room_was_allowed_before() {
    for fails in [false, true] {
        let log = Log::default();
        let publishes = processor("publishes", move || PublishesAndWaits { fails });
        let runtime = Runtime::builder("test")
            .threads(1)
            .supervise(
                supervisor()
                    .child(publishes.on::<Number>().retry(quick(5)))
                    .child(words_to(log.clone())),
            )
            .start()
            .unwrap();
        runtime.pause("publishes").unwrap();
        publish(&runtime, (0..10).map(number));
        runtime.resume("publishes").unwrap();
        idle(&runtime);
        let mut words = log.all();
        words.sort();
        assert_eq!(words, (0..10).map(|word| word.to_string()).collect::<Vec<_>>());
    }
}
