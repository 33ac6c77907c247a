//! Where a case plays: a runtime over the engine, a processor that does as it is told and notes what it
//! saw, restarts.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::prelude::*;
use crate::{Channel, IntoChild, On, ProcessorSpec, RuntimeBuilder};

/// What is tested: how to make a store, and whether it survives that its runtime is stopped.
pub struct Engine {
    fresh: Box<dyn Fn() -> Box<dyn Fn() -> Store>>,
    pub(super) survives: bool,
}

impl Engine {
    /// An engine that forgets all when its runtime stops. `open` makes a store that is empty.
    pub fn new<S: Into<Store>>(open: impl Fn() -> S + Clone + 'static) -> Self {
        let fresh = move || {
            let open = open.clone();
            Box::new(move || open().into()) as Box<dyn Fn() -> Store>
        };
        Self { fresh: Box::new(fresh), survives: false }
    }

    /// An engine whose runtime goes on where an earlier one ended. `fresh` makes a place that is empty;
    /// what it returns opens it, as often as it is asked.
    pub fn that_survives<S, F>(fresh: impl Fn() -> F + 'static) -> Self
    where
        S: Into<Store>,
        F: Fn() -> S + 'static,
    {
        let fresh = move || {
            let open = fresh();
            Box::new(move || open().into()) as Box<dyn Fn() -> Store>
        };
        Self { fresh: Box::new(fresh), survives: true }
    }
}

/// The event of most cases: a number, with a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) key: u64,
    pub(super) number: u64,
}
crate::event!(Step, "conformance.step", key: |event| event.key);

/// Another one, without a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remark {
    pub(super) number: u64,
}
crate::event!(Remark, "conformance.remark");

/// What handlers publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Echo {
    pub(super) number: u64,
}
crate::event!(Echo, "conformance.echo");

/// What was handled: which event, by its number and position, and which attempt it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) number: u64,
    pub(super) seq: u64,
    pub(super) attempt: u32,
    pub(super) id: EventId,
}

/// All that was handled, in its order.
#[derive(Clone, Default)]
pub(super) struct Notes(Arc<Mutex<Vec<Seen>>>);

impl Notes {
    pub(super) fn note(&self, number: u64, cx: &Context) {
        let Some(envelope) = cx.envelope() else { return };
        let (seq, id, attempt) = (envelope.seq.get(), envelope.id, cx.attempt());
        self.0.lock().push(Seen { number, seq, attempt, id });
    }

    pub(super) fn all(&self) -> Vec<Seen> {
        self.0.lock().clone()
    }

    pub(super) fn numbers(&self) -> Vec<u64> {
        self.0.lock().iter().map(|seen| seen.number).collect()
    }
}

type Script = Arc<dyn Fn(&Step, &mut Context) -> Outcome + Send + Sync>;

/// Notes what it sees, and does what its script says.
pub(super) struct Player {
    notes: Notes,
    script: Script,
}

impl Processor for Player {}

impl Handle<Step> for Player {
    async fn handle(&mut self, event: &Step, cx: &mut Context) -> Outcome {
        self.notes.note(event.number, cx);
        (self.script)(event, cx)
    }
}

impl Handle<Remark> for Player {
    async fn handle(&mut self, event: &Remark, cx: &mut Context) -> Outcome {
        self.notes.note(event.number, cx);
        Ok(())
    }
}

impl Handle<Echo> for Player {
    async fn handle(&mut self, event: &Echo, cx: &mut Context) -> Outcome {
        self.notes.note(event.number, cx);
        Ok(())
    }
}

/// A processor of all three types that notes here and does that.
pub(super) fn player(
    name: &str,
    notes: &Notes,
    script: impl Fn(&Step, &mut Context) -> Outcome + Send + Sync + 'static,
) -> ProcessorSpec<Player, (On<Remark>, (On<Step>, ()))> {
    let (notes, script): (_, Script) = (notes.clone(), Arc::new(script));
    let make = move || Player { notes: notes.clone(), script: script.clone() };
    let quick = Backoff::new(millis(1), millis(2));
    let retry = Retry::attempts(3).backoff(quick);
    processor(name, make).on::<Step>().on::<Remark>().retry(retry)
}

/// One that notes what others say.
pub(super) fn listener(notes: &Notes) -> impl IntoChild + use<> {
    let notes = notes.clone();
    let script: Script = Arc::new(|_, _| Ok(()));
    processor("listener", move || Player { notes: notes.clone(), script: script.clone() })
        .on::<Echo>()
}

/// Does nothing.
#[allow(clippy::unnecessary_wraps)] // one of several
pub(super) fn fine(_: &Step, _: &mut Context) -> Outcome {
    Ok(())
}

/// Fails so often, then succeeds.
pub(super) fn fails(times: u32) -> impl Fn(&Step, &mut Context) -> Outcome + Send + Sync {
    move |_, cx| match cx.attempt() <= times {
        true => Err(Failure::transient("not yet")),
        false => Ok(()),
    }
}

pub(super) fn steps(range: std::ops::Range<u64>, keys: u64) -> impl Iterator<Item = Step> {
    range.map(move |number| Step { key: number % keys, number })
}

/// A runtime over one store, started as often as a case wants.
pub(super) struct Stage {
    open: Box<dyn Fn() -> Store>,
    runtime: Option<Runtime>,
}

impl Stage {
    pub(super) fn new(engine: &Engine) -> Self {
        Self { open: (engine.fresh)(), runtime: None }
    }

    /// Starts the runtime, anew if it runs.
    pub(super) fn start(&mut self, children: impl FnOnce(Supervisor) -> Supervisor) -> Runtime {
        self.start_with(Channel::default(), children)
    }

    /// As [`Stage::start`]; steps are kept as that says.
    pub(super) fn start_with(
        &mut self,
        channel: Channel,
        children: impl FnOnce(Supervisor) -> Supervisor,
    ) -> Runtime {
        self.stop();
        let builder: RuntimeBuilder = Runtime::builder("conformance").threads(2);
        let tree = children(Supervisor::new("stage"));
        let builder = builder.store((self.open)()).channel::<Step>(channel).supervise(tree);
        let runtime = builder.start().unwrap();
        self.runtime = Some(runtime.clone());
        runtime
    }

    /// The runtime that was started last.
    pub(super) fn runtime(&self) -> Option<Runtime> {
        self.runtime.clone()
    }

    /// Stops the runtime although handlers are at work.
    pub(super) fn stop_at_once(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown(millis(1)).wait().unwrap();
        }
    }

    pub(super) fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown(secs(20)).wait().unwrap();
        }
    }
}

/// Returns when it is so.
///
/// # Panics
///
/// When it is not after a while.
pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < secs(60), "{what}: it did not come to that within a minute");
        std::thread::yield_now();
    }
}

/// Publishes steps, and waits until all is done that can be.
pub(super) fn publish(runtime: &Runtime, range: std::ops::Range<u64>, keys: u64) {
    runtime.publish_all(steps(range, keys)).wait().unwrap();
    runtime.idle().wait();
}
