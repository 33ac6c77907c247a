//! What the tests share.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use cueline::prelude::*;
use cueline::{Observer, Signal};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Number {
    pub key: Option<u32>,
    pub value: u64,
}
impl Message for Number {
    const NAME: &'static str = "number";
    type Reply = ();
    fn key(&self) -> Option<Key> {
        self.key.map(Key::from)
    }
}

pub fn number(value: u64) -> Number {
    Number { key: None, value }
}

pub fn keyed(key: u32, value: u64) -> Number {
    Number { key: Some(key), value }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Word(pub String);
cueline::event!(Word, "word");

/// Something several threads write down.
pub struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> Log<T> {
    pub fn push(&self, item: T) -> usize {
        let mut log = self.0.lock();
        log.push(item);
        log.len()
    }

    pub fn all(&self) -> Vec<T> {
        self.0.lock().clone()
    }
}

/// What a test does with a number.
pub type Handles = dyn Fn(&Number, &mut Context) -> Outcome + Send + Sync;

/// Handles numbers as a closure says. One type whatever the closure, which compiles faster.
pub struct With(pub Arc<Handles>);
impl Processor for With {}
impl Handle<Number> for With {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        (self.0)(event, cx)
    }
}

/// A processor that handles numbers as a closure says.
pub fn with(
    name: &str,
    handle: impl Fn(&Number, &mut Context) -> Outcome + Send + Sync + 'static,
) -> cueline::ProcessorSpec<With, (cueline::On<Number>, ())> {
    let handle: Arc<Handles> = Arc::new(handle);
    processor(name, move || With(handle.clone())).on::<Number>().retry(quick(5))
}

struct Words(Log<String>);
impl Processor for Words {}
impl Handle<Word> for Words {
    async fn handle(&mut self, event: &Word, _: &mut Context) -> Outcome {
        self.0.push(event.0.clone());
        Ok(())
    }
}

/// A processor that writes words down.
pub fn words_to(
    log: Log<String>,
) -> cueline::ProcessorSpec<impl Handle<Word>, (cueline::On<Word>, ())> {
    processor("words", move || Words(log.clone())).on::<Word>()
}

/// So many deliveries, with hardly any wait between them.
pub fn quick(attempts: u32) -> Retry {
    Retry::attempts(attempts).backoff(Backoff::new(millis(1), millis(5)))
}

pub fn one(child: impl cueline::IntoChild) -> Runtime {
    Runtime::builder("test").supervise(supervisor().child(child)).start().unwrap()
}

pub fn supervisor() -> Supervisor {
    Supervisor::new("tests").backoff(Backoff::new(millis(1), millis(10)))
}

/// Where handlers are held up until it is opened; it stays open.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<(usize, bool)>, parking_lot::Condvar)>);

impl Gate {
    /// Blocks the thread until the gate is open.
    pub fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock();
        state.0 += 1;
        changed.notify_all();
        while !state.1 {
            changed.wait(&mut state);
        }
    }

    /// Waits until somebody stands before it.
    pub fn is_reached(&self) {
        let gate = self.0.clone();
        within("somebody at the gate", move || {
            let (state, changed) = &*gate;
            let mut state = state.lock();
            while state.0 == 0 {
                changed.wait(&mut state);
            }
        });
    }

    /// How many stand, or stood, before it.
    pub fn standing(&self) -> usize {
        self.0.0.lock().0
    }

    pub fn open(&self) {
        let (state, changed) = &*self.0;
        state.lock().1 = true;
        changed.notify_all();
    }
}

/// Runs a test in a process of its own, because an abort or a signal is the whole process's. None
/// inside that process.
pub fn in_a_process_of_its_own(test: &str) -> Option<std::process::Output> {
    if std::env::var_os("CUELINE_TEST_CHILD").is_some() {
        return None;
    }
    let me = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("CUELINE_TEST_CHILD", "1")
        .output();
    Some(me.unwrap())
}

/// Waits for a fact on another thread, so that a test that would hang fails instead.
pub fn within<T: Send + 'static>(what: &str, wait: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = channel();
    std::thread::spawn(move || tell.send(wait()));
    told.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| panic!("{what}: not in 30 s"))
}

pub fn idle(runtime: &Runtime) {
    let runtime = runtime.clone();
    within("idle", move || runtime.idle().wait());
}

pub fn publish<E: Event>(runtime: &Runtime, events: impl IntoIterator<Item = E>) {
    for event in events {
        runtime.publish(event).wait().unwrap();
    }
}

/// Writes every signal down as text, up to its first brace.
#[derive(Clone, Default)]
pub struct Heard(pub Log<String>);

impl Observer for Heard {
    fn observe(&self, signal: &Signal<'_>) {
        self.0.push(format!("{signal:?}"));
    }
}

impl Heard {
    pub fn count(&self, start: &str) -> usize {
        self.0.all().iter().filter(|heard| heard.starts_with(start)).count()
    }

    /// Blocks until such a signal has come.
    pub fn wait_for(&self, start: &str) {
        let (heard, start) = (self.clone(), start.to_owned());
        within(&start.clone(), move || {
            while heard.count(&start) == 0 {
                std::thread::yield_now();
            }
        });
    }
}
