use std::io::Write;
use std::sync::{Arc, OnceLock};

use cueline::prelude::*;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::support::{Heard, Log, Number, Word, idle, number, publish, supervisor, with};

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);
impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// All that anybody in this process logs, spans included.
fn everything_logged() -> Written {
    static WRITTEN: OnceLock<Written> = OnceLock::new();
    let install = || {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone());
        tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
        written
    };
    WRITTEN.get_or_init(install).clone()
}

#[derive(Serialize, Deserialize)]
struct Secret(String);
cueline::event!(Secret, "secret");

struct Leaks;
impl Processor for Leaks {}
impl Handle<Secret> for Leaks {
    async fn handle(&mut self, event: &Secret, _: &mut Context) -> Outcome {
        panic!("cannot handle {}", event.0);
    }
}

#[test]
fn panics_are_logged_with_the_events_id_and_never_with_its_content() {
    let written = everything_logged();
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(processor("leaks", || Leaks).on::<Secret>()))
        .start()
        .unwrap();
    let id = runtime.publish(Secret("hunter2".to_owned())).wait().unwrap();
    idle(&runtime);
    runtime.shutdown(secs(5)).wait().unwrap();
    let log = String::from_utf8(written.0.lock().clone()).unwrap();
    assert!(log.contains(&id.to_string()), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn every_failure_retry_and_restart_is_stated_once() {
    let heard = Heard::default();
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(with("flaky", |event, cx| {
            match (event.value, cx.attempt()) {
                (1, 1 | 2) => Err(Failure::transient("twice")),
                (2, _) => Err(Failure::permanent("for ever")),
                (3, 1) => panic!("once"),
                _ => Ok(()),
            }
        })))
        .observe(heard.clone())
        .start()
        .unwrap();
    publish(&runtime, (0..5).map(number));
    idle(&runtime);
    assert_eq!(heard.count("Retried"), 3);
    assert_eq!(heard.count("Parked"), 1);
    assert_eq!(heard.count("Restarted"), 1);
    let parked = &runtime.parked()[0];
    assert_eq!(parked.processor.as_ref(), "flaky");
    assert_eq!(parked.chain, ["for ever"]);
    assert!(parked.first_failed <= parked.last_failed && parked.published <= parked.first_failed);
}

#[test]
fn the_error_chain_is_kept_whole() {
    let runtime = crate::support::one(with("reads", |_, _| {
        let error = anyhow::anyhow!("the disk").context("the file").context("the row");
        Err::<(), _>(error).permanent()
    }));
    publish(&runtime, [number(1)]);
    idle(&runtime);
    assert_eq!(runtime.parked()[0].chain, ["the row", "the file", "the disk"]);
}

/// Says what it does in the log, also after it waited.
struct Speaks;
impl Processor for Speaks {}
impl Handle<Number> for Speaks {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        tokio::task::yield_now().await;
        tracing::info!("speaking of {}", event.value);
        cx.publish(Word("said".into()));
        Ok(())
    }
}
struct Answers(Log<Envelope>);
impl Processor for Answers {}
impl Handle<Word> for Answers {
    async fn handle(&mut self, _: &Word, cx: &mut Context) -> Outcome {
        tracing::info!("answering");
        self.0.push(cx.envelope().unwrap());
        Ok(())
    }
}

#[test]
fn what_a_handler_logs_carries_the_ids_of_its_event() {
    let (written, log) = (everything_logged(), Log::default());
    let answered = log.clone();
    let answers = processor("answers", move || Answers(answered.clone())).on::<Word>();
    let speaks = processor("speaks", || Speaks).on::<Number>();
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(speaks).child(answers))
        .start()
        .unwrap();
    let id = runtime.publish(number(777_001)).wait().unwrap();
    idle(&runtime);
    let text = String::from_utf8(written.0.lock().clone()).unwrap();
    let line = |said: &str| text.lines().find(|line| line.contains(said)).unwrap().to_owned();
    let speaking = line("speaking of 777001");
    assert!(speaking.contains(&format!("event={id} correlation={id}")), "{speaking}");
    let answer = log.all()[0].id;
    let answering = line(&format!("event={answer} "));
    let descends = format!("correlation={id} causation={id}");
    assert!(answering.contains("answering") && answering.contains(&descends), "{answering}");
}

/// What takes long is not left to chance: every one that waits is measured.
#[test]
fn every_event_that_waits_is_measured() {
    #[derive(Clone, Default)]
    struct Samples(Log<cueline::Sample>);
    impl cueline::Observer for Samples {
        fn observe(&self, signal: &cueline::Signal<'_>) {
            if let cueline::Signal::Handled { samples, .. } = signal {
                for sample in *samples {
                    self.0.push(*sample);
                }
            }
        }
    }
    let samples = Samples::default();
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(processor("speaks", || Speaks).on::<Number>()))
        .observe(samples.clone())
        .start()
        .unwrap();
    runtime.publish_all((0..50).map(number)).wait().unwrap();
    idle(&runtime);
    assert_eq!(samples.0.all().len(), 50);
}

#[test]
fn failures_of_ticks_and_of_stopping_are_stated() {
    struct Ends;
    impl Processor for Ends {
        async fn stopping(&mut self, _: &mut Context) -> Outcome {
            Err(Failure::transient("cannot stop"))
        }
    }
    impl Handle<Number> for Ends {
        async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
            Ok(())
        }
    }
    let heard = Heard::default();
    let make = || -> Word { panic!("in a tick") };
    let ends = processor("ends", || Ends).on::<Number>().every(millis(1), make);
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(ends))
        .observe(heard.clone())
        .start()
        .unwrap();
    heard.wait_for(
        "HookFailed { processor: ProcessorName { index: 0, name: \"ends\" }, hook: Every",
    );
    runtime.shutdown(secs(20)).wait().unwrap();
    let stopping =
        "HookFailed { processor: ProcessorName { index: 0, name: \"ends\" }, hook: Stopping";
    assert_eq!(heard.count(stopping), 1);
}
