use std::sync::Arc;

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::{Log, supervisor, within};

/// Says on which thread it was dropped.
#[derive(Serialize, Deserialize)]
struct Tells {
    #[serde(skip)]
    log: Log<String>,
}
impl Drop for Tells {
    fn drop(&mut self) {
        let thread = std::thread::current();
        self.log.push(thread.name().unwrap_or_default().to_owned());
    }
}
cueline::event!(Tells, "tells");

struct Takes(Arc<()>);
impl Processor for Takes {}
impl Handle<Tells> for Takes {
    async fn handle(&mut self, _: &Tells, cx: &mut Context) -> Outcome {
        cx.state::<Vec<u8>>("kept")?.push(Arc::strong_count(&self.0) as u8);
        Ok(())
    }
}

/// A runtime with ten events that wait, and what its factory captured.
fn with_waiting_events(log: &Log<String>, paused: bool) -> (Runtime, Arc<()>) {
    let shared = Arc::new(());
    let captured = shared.clone();
    let takes = processor("takes", move || Takes(captured.clone())).on::<Tells>();
    let runtime =
        Runtime::builder("test").threads(2).supervise(supervisor().child(takes)).start().unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    if paused {
        runtime.pause("takes").unwrap();
    }
    runtime.publish_all((0..10).map(|_| Tells { log: log.clone() })).wait().unwrap();
    (runtime, shared)
}

fn keeps_nothing(paused: bool, stop: impl Fn(Runtime)) {
    for _ in 0..10 {
        let log = Log::default();
        let (runtime, shared) = with_waiting_events(&log, paused);
        stop(runtime);
        let dropped = log.clone();
        within("all events are dropped", move || while dropped.all().len() < 10 {});
        within("the factory is dropped", move || while Arc::strong_count(&shared) > 1 {});
        let forbidden = |thread: &String| thread.ends_with("-control");
        assert!(!log.all().iter().any(forbidden), "code of the application ran on {:?}", log.all());
    }
}

#[test]
fn dropped_it_gives_everything_back_and_never_on_its_control_thread() {
    keeps_nothing(true, drop);
    keeps_nothing(false, drop);
}

#[test]
fn shut_down_it_gives_everything_back_too() {
    keeps_nothing(true, |runtime| {
        assert_eq!(runtime.shutdown(millis(1)).wait().unwrap().len(), 10);
    });
    keeps_nothing(false, |runtime| {
        assert!(runtime.shutdown(secs(20)).wait().unwrap().is_empty());
    });
}

#[test]
fn whoever_waits_for_rest_after_a_shutdown_is_answered() {
    let log = Log::default();
    let (runtime, _) = with_waiting_events(&log, true);
    let waits = runtime.clone();
    let waiting = std::thread::spawn(move || waits.idle().wait());
    assert_eq!(runtime.shutdown(millis(1)).wait().unwrap().len(), 10);
    within("who waited before", move || waiting.join().unwrap());
    within("who asks now", move || runtime.idle().wait());
}
