//! What the tests of the log share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cueline::prelude::*;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Number {
    pub value: u64,
    pub key: u64,
}
cueline::event!(Number, "number", key: |event| event.key);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Doubled(pub u64);
cueline::event!(Doubled, "doubled");

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    pub events: u64,
    pub sum: u64,
}

/// A directory that is gone when the test is over.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new(name: &str) -> Self {
        let name = format!("cueline-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::remove_dir_all(&path).ok();
        Self(path)
    }

    /// One that is there.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// What was handled, in its order.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<(u64, u32)>>>);

impl Log {
    pub fn note(&self, value: u64, attempt: u32) {
        self.0.lock().push((value, attempt));
    }

    pub fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.0.lock()).into_iter().map(|(value, _)| value).collect()
    }

    pub fn attempts(&self) -> Vec<(u64, u32)> {
        self.0.lock().clone()
    }
}

/// Fails as it is told, adds up what it handles and tells the double of it.
pub struct Adder {
    log: Log,
    fails: fn(&Number, u32) -> Outcome,
}

impl Processor for Adder {}

impl Handle<Number> for Adder {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        self.log.note(event.value, cx.attempt());
        (self.fails)(event, cx.attempt())?;
        let key = if cx.processor() == "crew" { event.key.to_string() } else { "all".to_owned() };
        let sum = cx.state::<Sum>(key.as_str())?;
        (sum.events, sum.sum) = (sum.events + 1, sum.sum + event.value);
        cx.publish(Doubled(event.value * 2));
        Ok(())
    }
}

/// Adds up what it is told.
pub struct Total;
impl Processor for Total {}
impl Handle<Doubled> for Total {
    async fn handle(&mut self, event: &Doubled, cx: &mut Context) -> Outcome {
        let sum = cx.state::<Sum>("all")?;
        (sum.events, sum.sum) = (sum.events + 1, sum.sum + event.0);
        Ok(())
    }
}

pub type Spec = cueline::ProcessorSpec<Adder, (cueline::On<Number>, ())>;

pub fn adder(name: &str, log: &Log, fails: fn(&Number, u32) -> Outcome) -> Spec {
    let log = log.clone();
    processor(name, move || Adder { log: log.clone(), fails })
        .on::<Number>()
        .retry(Retry::attempts(3).backoff(Backoff::new(millis(1), millis(5))))
}

pub fn total() -> impl cueline::IntoChild {
    processor("total", || Total).on::<Doubled>()
}

#[allow(clippy::unnecessary_wraps)] // one of several
pub fn fine(_: &Number, _: u32) -> Outcome {
    Ok(())
}

pub fn start(directory: &Directory, children: impl FnOnce(Supervisor) -> Supervisor) -> Runtime {
    let supervisor = children(Supervisor::new("tests"));
    let runtime = Runtime::builder("test").threads(2).store(Store::directory(directory.path()));
    runtime.supervise(supervisor).start().unwrap()
}

pub fn numbers(range: std::ops::Range<u64>) -> impl Iterator<Item = Number> {
    range.map(|value| Number { value, key: value % 7 })
}

pub fn publish(runtime: &Runtime, range: std::ops::Range<u64>) {
    runtime.publish_all(numbers(range)).wait().unwrap();
}

pub fn idle(runtime: &Runtime) {
    let runtime = runtime.clone();
    within("the runtime rests", move || runtime.idle().wait());
}

pub fn stop(runtime: Runtime) {
    let undone = within("it stops", move || runtime.shutdown(secs(10)).wait()).unwrap();
    assert!(undone.is_empty(), "with a log, what is left undone waits there");
}

/// A test that would hang fails instead.
pub fn within<T: Send + 'static>(what: &str, wait: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(wait()));
    told.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("{what}: not in 60 s"))
}
