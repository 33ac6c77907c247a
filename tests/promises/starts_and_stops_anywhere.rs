use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use cueline::prelude::*;
use cueline::{ErrorKind, Unsettled};
use futures_util::FutureExt;
use parking_lot::Mutex;

use crate::support::{
    Log, Number, Word, idle, keyed, number, one, publish, supervisor, with, within, words_to,
};

#[test]
fn many_runtimes_live_in_one_process() {
    let runtimes: Vec<(Runtime, Log<u64>)> = (0..8)
        .map(|_| {
            let log = Log::default();
            let seen = log.clone();
            let runtime = one(with("numbers", move |event, _| {
                seen.push(event.value);
                Ok(())
            }));
            (runtime, log)
        })
        .collect();
    for (index, (runtime, _)) in runtimes.iter().enumerate() {
        publish(runtime, (0..10).map(|n| number(index as u64 * 100 + n)));
    }
    for (index, (runtime, log)) in runtimes.iter().enumerate() {
        idle(runtime);
        assert_eq!(log.all(), (0..10).map(|n| index as u64 * 100 + n).collect::<Vec<_>>());
    }
}

#[test]
fn inside_tokio_and_inside_actix_it_starts_waits_and_stops() {
    async fn all(started: &str) {
        let log = Log::default();
        let seen = log.clone();
        let runtime = one(with("numbers", move |event, _| {
            seen.push(event.value);
            Ok(())
        }));
        runtime.ready().await.unwrap();
        runtime.publish(number(1)).await.unwrap();
        runtime.publish_all([number(2), number(3)]).await.unwrap();
        runtime.idle().await;
        assert_eq!(log.all(), [1, 2, 3], "inside {started}");
        assert!(runtime.shutdown(secs(5)).await.unwrap().is_empty());
        let refused = runtime.publish(number(4)).await.unwrap_err();
        assert!(matches!(refused, Refused::Closed(back) if back == number(4)));
        assert_eq!(runtime.shutdown(secs(5)).await.unwrap_err().kind(), ErrorKind::Closed);
    }
    within("tokio", || {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(all("tokio"));
    });
    within("actix", || actix::System::new().block_on(all("actix")));
}

#[test]
fn dropped_without_shutdown_also_inside_async_it_just_ends() {
    within("drop", || {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            for _ in 0..5 {
                let runtime = one(with("numbers", |_, _| Ok(())));
                runtime.publish(number(1)).await.unwrap();
                drop(runtime);
            }
        });
    });
}

struct Stuck;
impl Processor for Stuck {}
impl Handle<Number> for Stuck {
    async fn handle(&mut self, event: &Number, _: &mut Context) -> Outcome {
        if event.value == 0 {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

#[test]
fn shutdown_gives_back_what_it_left_undone_with_its_payload() {
    let failing = with("failing", |event, _| match event.value {
        7 => Err(Failure::permanent("no")),
        _ => Err(Failure::transient("later")),
    });
    let patient = Retry::attempts(9).backoff(Backoff::new(secs(600), secs(600)));
    let runtime = Runtime::builder("test")
        .supervise(
            supervisor()
                .child(processor("stuck", || Stuck).on::<Number>())
                .child(failing.retry(patient)),
        )
        .start()
        .unwrap();
    publish(&runtime, [keyed(1, 7), keyed(1, 8), number(9), number(0), number(1)]);
    let undone = within("shutdown", move || runtime.shutdown(millis(300)).wait().unwrap());
    let found = |processor: &str, value: u64| {
        let mut of = undone.iter().filter(|of| {
            of.processor.as_ref() == processor
                && of.decode::<Number>().is_ok_and(|number| number.value == value)
        });
        of.next().map(|of| of.stood)
    };
    assert_eq!(found("stuck", 0), Some(Unsettled::Waiting), "it was in hand");
    assert_eq!(found("stuck", 1), Some(Unsettled::Waiting));
    assert_eq!(found("stuck", 7), None, "that one was handled");
    assert_eq!(found("failing", 7), Some(Unsettled::Parked));
    assert_eq!(found("failing", 8), Some(Unsettled::Behind));
    assert_eq!(found("failing", 9), Some(Unsettled::Retrying), "back-offs are not awaited");
    let logged = format!("payload: {} bytes", undone[0].payload.len());
    assert!(format!("{:?}", undone[0]).contains(&logged), "a log shows no payload");
}

#[test]
fn a_blocked_handler_does_not_hold_up_shutdown_past_its_timeout() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Arc::new(parking_lot::Mutex::new(wait));
    let runtime = one(with("blocked", move |_, _| {
        wait.lock().recv().ok();
        Ok(())
    }));
    publish(&runtime, [number(1), number(2)]);
    let undone = within("shutdown", move || runtime.shutdown(millis(100)).wait().unwrap());
    assert_eq!(undone.len(), 2);
    drop(go);
}

struct Hooked(Log<String>, &'static str);
impl Processor for Hooked {
    async fn stopping(&mut self, _: &mut Context) -> Outcome {
        self.0.push(format!("stopping {}", self.1));
        Ok(())
    }
}
impl Handle<Number> for Hooked {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        self.0.push(format!("{} {}", self.1, event.value));
        if self.1 == "first" {
            cx.publish(Word("late".to_owned()));
        }
        Ok(())
    }
}
impl Handle<Word> for Hooked {
    async fn handle(&mut self, _: &Word, _: &mut Context) -> Outcome {
        self.0.push(format!("{} word", self.1));
        Ok(())
    }
}

#[test]
fn shutdown_drains_what_waits_and_what_that_publishes_then_runs_the_hooks() {
    let log = Log::default();
    let (one, two) = (log.clone(), log.clone());
    let runtime = Runtime::builder("test")
        .supervise(
            supervisor()
                .child(processor("first", move || Hooked(one.clone(), "first")).on::<Number>())
                .child(processor("second", move || Hooked(two.clone(), "second")).on::<Word>()),
        )
        .start()
        .unwrap();
    runtime.publish_all((0..20).map(number)).wait().unwrap();
    let undone = within("shutdown", move || runtime.shutdown(secs(20)).wait().unwrap());
    assert!(undone.is_empty());
    let said = log.all();
    assert_eq!(said.iter().filter(|said| *said == "second word").count(), 20);
    assert_eq!(said.iter().filter(|said| said.starts_with("stopping")).count(), 2);
}

#[test]
fn inside_a_handler_waiting_for_the_runtime_is_refused_with_advice() {
    let log = Log::default();
    let (seen, shared) = (log.clone(), std::sync::Arc::new(parking_lot::Mutex::new(None)));
    let handle: std::sync::Arc<parking_lot::Mutex<Option<Runtime>>> = shared.clone();
    let runtime = one(with("eager", move |_, _| {
        let runtime = handle.lock().clone().unwrap();
        seen.push(runtime.publish(number(2)).wait().unwrap_err().to_string());
        seen.push(runtime.publish_all([number(2)]).wait().unwrap_err().to_string());
        seen.push(runtime.try_publish(number(2)).unwrap_err().to_string());
        seen.push(runtime.tell(number(2)).unwrap_err().to_string());
        seen.push(runtime.shutdown(secs(1)).wait().unwrap_err().to_string());
        runtime.idle().wait();
        Ok(())
    }));
    *shared.lock() = Some(runtime.clone());
    publish(&runtime, [number(1)]);
    idle(&runtime);
    assert_eq!(log.all().len(), 2 * 5, "it is delivered once more, and parked");
    assert!(log.all().iter().all(|said| said.contains("use cx")), "{:?}", log.all());
    let parked = runtime.parked();
    assert!(parked[0].chain[0].contains("`runtime.idle`"), "{:?}", parked[0].chain);
    shared.lock().take();
}

#[test]
fn a_removed_processor_neither_holds_up_shutdown_nor_loses_what_it_had() {
    let patient = Retry::attempts(9).backoff(Backoff::new(secs(600), secs(600)));
    let runtime = one(with("leaving", |event, _| match event.value {
        1 => Err(Failure::transient("later")),
        2 => Err(Failure::permanent("never")),
        _ => Ok(()),
    })
    .retry(patient));
    publish(&runtime, (0..4).map(number));
    let all = runtime.clone();
    within("all handled", move || while all.processors()[0].waiting > 0 {});
    runtime.remove("leaving").unwrap();
    assert!(runtime.processors().is_empty());
    // It must not wait for a retry that is due in ten minutes.
    let undone = within("shutdown", move || runtime.shutdown(secs(3_600)).wait().unwrap());
    let stood: Vec<Unsettled> = undone.iter().map(|of| of.stood).collect();
    assert_eq!(stood, [Unsettled::Retrying, Unsettled::Parked]);
}

#[test]
fn limits_that_no_clock_can_say_are_as_good_as_none() {
    struct Naps;
    impl Processor for Naps {}
    impl Handle<Number> for Naps {
        async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
            tokio::task::yield_now().await;
            Ok(())
        }
    }
    let runtime = one(processor("naps", || Naps).on::<Number>().timeout(Duration::MAX));
    publish(&runtime, [number(1)]);
    idle(&runtime);
    assert!(runtime.parked().is_empty(), "{:?}", runtime.parked());
    let undone = within("shutdown", move || runtime.shutdown(Duration::MAX).wait().unwrap());
    assert!(undone.is_empty());
}

/// What was published after it had left is not counted as undone by it, wherever it lies.
#[test]
fn a_removed_processor_gets_nothing_that_came_later_not_even_at_the_end() {
    let ((go, wait), (stuck, is_stuck)) = (channel(), channel());
    let wait = Arc::new(Mutex::new(wait));
    let stuck = Mutex::new(stuck);
    let stuck = Arc::new(stuck);
    let blocks = with("blocks", move |_, _| {
        stuck.lock().send(()).ok();
        wait.lock().recv().ok();
        Ok(())
    });
    struct Parks;
    impl Processor for Parks {}
    impl Handle<Word> for Parks {
        async fn handle(&mut self, _: &Word, _: &mut Context) -> Outcome {
            Err(Failure::permanent("never"))
        }
    }
    let runtime = Runtime::builder("test")
        .threads(1)
        .supervise(supervisor().child(processor("leaver", || Parks).on::<Word>()).child(blocks))
        .start()
        .unwrap();
    publish(&runtime, [Word("before".into())]);
    idle(&runtime);
    runtime.remove("leaver").unwrap();
    publish(&runtime, [number(0)]);
    is_stuck.recv().unwrap();
    publish(&runtime, (0..3).map(|_| Word("after".into())));
    let undone = within("shutdown", move || runtime.shutdown(millis(50)).wait().unwrap());
    let words: Vec<_> = undone.iter().filter(|of| of.topic == "word").map(|of| of.stood).collect();
    assert_eq!(words, [Unsettled::Parked]);
    drop::<std::sync::mpsc::Sender<()>>(go);
}

#[test]
fn a_processor_that_cannot_be_built_can_be_removed() {
    struct Never;
    impl Processor for Never {}
    impl Handle<Number> for Never {
        async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
            Ok(())
        }
    }
    let make = || -> Never { panic!("in the factory") };
    let broken = processor("broken", make).on::<Number>().instances(3);
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(with("sound", |_, _| Ok(()))).child(broken))
        .start()
        .unwrap();
    publish(&runtime, [number(1)]);
    runtime.remove("broken").unwrap();
    idle(&runtime);
    let ready = runtime.clone();
    within("ready", move || pollster::block_on(ready.ready()).unwrap());
    assert!(runtime.why_not_ready().is_empty(), "{:?}", runtime.why_not_ready());
    let undone = within("shutdown", move || runtime.shutdown(secs(3_600)).wait().unwrap());
    assert_eq!(undone.iter().map(|of| &*of.processor).collect::<Vec<_>>(), ["broken"]);
}

#[test]
fn of_two_that_add_the_same_name_at_once_one_is_refused() {
    let runtime = one(with("other", |_, _| Ok(())));
    for round in 0..100 {
        let name = format!("twin-{round}");
        let added: Vec<bool> = std::thread::scope(|scope| {
            let add = || runtime.add("tests", with(&name, |_, _| Ok(()))).wait().is_ok();
            let threads = [scope.spawn(add), scope.spawn(add)];
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(added.iter().filter(|added| **added).count(), 1);
        runtime.remove(&name).unwrap();
    }
}

/// Stands in the way of one signal until it is told to let it pass.
struct Holds(
    &'static str,
    Mutex<std::sync::mpsc::Sender<()>>,
    Mutex<std::sync::mpsc::Receiver<()>>,
);
impl cueline::Observer for Holds {
    fn observe(&self, signal: &cueline::Signal<'_>) {
        if format!("{signal:?}").starts_with(self.0) {
            self.1.lock().send(()).ok();
            self.2.lock().recv().ok();
        }
    }
}

#[test]
fn it_rests_only_when_everything_that_was_done_has_been_told() {
    for what in ["Handled", "Parked", "Restarted"] {
        let ((tell, told), (go, wait)) = (channel(), channel());
        let fails = with("fails", |event, cx| match (event.value, cx.attempt()) {
            (1, _) => Err(Failure::permanent("never")),
            (2, 1) => panic!("once"),
            _ => Ok(()),
        });
        let runtime = Runtime::builder("test")
            .threads(1)
            .supervise(supervisor().child(fails))
            .observe(Holds(what, Mutex::new(tell), Mutex::new(wait)))
            .start()
            .unwrap();
        pollster::block_on(runtime.ready()).unwrap();
        publish(
            &runtime,
            [number(match what {
                "Parked" => 1,
                "Restarted" => 2,
                _ => 0,
            })],
        );
        told.recv().unwrap();
        assert!(runtime.idle().now_or_never().is_none(), "{what} has not been told yet");
        drop(go);
        idle(&runtime);
    }
}

#[test]
fn paused_it_delivers_nothing_again_either() {
    let (log, words) = (Log::default(), Log::default());
    let slot = Arc::new(Mutex::new(None::<Runtime>));
    let (seen, handle) = (log.clone(), slot.clone());
    let retried = with("retried", move |_, cx| {
        seen.push(cx.attempt());
        if cx.attempt() == 1 {
            handle.lock().take().unwrap().pause("retried")?;
            return Err(Failure::transient("again"));
        }
        Ok(())
    });
    let runtime = Runtime::builder("test")
        .threads(1)
        .supervise(supervisor().child(retried.retry(Retry::attempts(2).backoff(Backoff::none()))))
        .start()
        .unwrap();
    runtime.add("tests", words_to(words.clone())).wait().unwrap();
    *slot.lock() = Some(runtime.clone());
    publish(&runtime, [number(1)]);
    // On the same thread, so that what could go on there has gone on.
    for number in 1..100 {
        publish(&runtime, [Word::default()]);
        let read = words.clone();
        within("the word", move || while read.all().len() < number {});
    }
    assert_eq!(log.all(), [1]);
    runtime.resume("retried").unwrap();
    idle(&runtime);
    assert_eq!(log.all(), [1, 2]);
}
