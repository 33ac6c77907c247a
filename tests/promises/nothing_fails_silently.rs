use std::io::Write;
use std::sync::Arc;

use cueline::prelude::*;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::support::{Heard, idle, number, publish, supervisor, with};

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
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone());
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
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
