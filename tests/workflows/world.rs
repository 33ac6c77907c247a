//! A workflow that does what a test says, and a processor that does its work.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use cueline::prelude::*;
use cueline::{IntoChild, WorkflowHandle};
use serde::{Deserialize, Serialize};

use crate::support::{Log, quick, supervisor};

/// Begins a workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Begin {
    pub order: u32,
}
cueline::event!(Begin, "begin", key: |begin| begin.order);

/// What a workflow has done by others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Work {
    pub what: String,
}
cueline::command!(Work, "work" => String);

/// What makes up for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Undo {
    pub what: String,
    pub reply: Option<String>,
}
cueline::command!(Undo, "undo" => Done);

/// What a workflow may wait for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approved {
    pub order: u32,
    pub by: String,
}
cueline::event!(Approved, "approved", key: |approved| approved.order);

pub type Runs = Pin<Box<dyn Future<Output = Outcome<String>>>>;
type Run = dyn Fn(Begin, Steps) -> Runs + Send + Sync;

/// A workflow as a closure says.
#[derive(Clone)]
pub struct Does(pub Arc<Run>);
impl Workflow for Does {
    const NAME: &'static str = "does";
    type Input = Begin;
    type Output = String;
    type Expects = (Approved,);
    async fn run(&self, begin: Begin, steps: Steps) -> Outcome<String> {
        (self.0)(begin, steps).await
    }
}

pub fn does<F: Future<Output = Outcome<String>> + 'static>(
    run: impl Fn(Begin, Steps) -> F + Send + Sync + 'static,
) -> Does {
    Does(Arc::new(move |begin, steps| Box::pin(run(begin, steps))))
}

type Handles = dyn Fn(&str, u32) -> Outcome<String> + Send + Sync;

/// Does the work, and writes down what it did. Told how often it was asked for just that.
pub struct Worker {
    handle: Arc<Handles>,
    log: Log<String>,
}
impl Processor for Worker {}
impl Handle<Work> for Worker {
    async fn handle(&mut self, work: &Work, cx: &mut Context) -> Outcome<String> {
        let attempt = cx.attempt();
        let did = (self.handle)(&work.what, attempt)?;
        *cx.state::<u32>("works")? += 1;
        self.log.push(work.what.clone());
        Ok(did)
    }
}
impl Handle<Undo> for Worker {
    async fn handle(&mut self, undo: &Undo, cx: &mut Context) -> Outcome<Done> {
        let what = format!("undo {} {:?}", undo.what, undo.reply);
        (self.handle)(&what, cx.attempt())?;
        self.log.push(what);
        Ok(Done)
    }
}

/// A worker that writes down there what it did.
pub fn worker(
    log: Log<String>,
    retry: Retry,
    handle: impl Fn(&str, u32) -> Outcome<String> + Send + Sync + 'static,
) -> impl IntoChild {
    let handle: Arc<Handles> = Arc::new(handle);
    let worker = processor("worker", move || Worker { handle: handle.clone(), log: log.clone() });
    worker.serves::<Work>().serves::<Undo>().retry(retry)
}

pub fn work(what: impl Into<String>) -> Work {
    Work { what: what.into() }
}

pub fn undo(what: &str) -> impl FnOnce(EventId, Option<&String>) -> Undo + use<> {
    let what = what.to_owned();
    move |_, reply| Undo { what, reply: reply.cloned() }
}

/// What all that work comes to.
pub struct World {
    pub runtime: Runtime,
    pub log: Log<String>,
    /// Commands that failed for good, and why.
    pub failed: Log<&'static str>,
}

struct Failures(Log<&'static str>);
impl cueline::Observer for Failures {
    fn observe(&self, signal: &cueline::Signal<'_>) {
        if let cueline::Signal::CommandFailed { cause, .. } = signal {
            self.0.push(cause.as_str());
        }
    }
}

pub fn mediator(does: Does) -> Mediator<Does> {
    Mediator::for_domain("domain").workflow(does).starts_on::<Begin>()
}

impl World {
    pub fn new(
        store: Store,
        does: Does,
        handle: impl Fn(&str, u32) -> Outcome<String> + Send + Sync + 'static,
    ) -> Self {
        Self::with(store, mediator(does), handle)
    }

    /// As [`World::new`], with metrics.
    pub fn served(
        does: Does,
        handle: impl Fn(&str, u32) -> Outcome<String> + Send + Sync + 'static,
    ) -> Self {
        Self::built(Runtime::builder("test").serve(0), mediator(does), handle)
    }

    pub fn with(
        store: Store,
        mediator: impl IntoChild,
        handle: impl Fn(&str, u32) -> Outcome<String> + Send + Sync + 'static,
    ) -> Self {
        Self::built(Runtime::builder("test").store(store), mediator, handle)
    }

    fn built(
        builder: cueline::RuntimeBuilder,
        mediator: impl IntoChild,
        handle: impl Fn(&str, u32) -> Outcome<String> + Send + Sync + 'static,
    ) -> Self {
        let log = Log::default();
        let worker = worker(log.clone(), quick(3), handle);
        let tree = supervisor().child(worker).child(mediator);
        let failed = Log::default();
        let runtime = builder.supervise(tree).observe(Failures(failed.clone())).start().unwrap();
        Self { runtime, log, failed }
    }

    pub fn begin(&self, order: u32) -> WorkflowHandle {
        self.runtime.start::<Does>(Begin { order }).wait().unwrap()
    }

    pub fn idle(&self) {
        crate::support::idle(&self.runtime);
    }

    pub fn works(&self) -> u32 {
        self.runtime.state("worker", "works").unwrap_or_default()
    }

    pub fn stop(self) {
        self.runtime.shutdown(secs(20)).wait().unwrap();
    }
}

/// As it is asked for.
#[allow(clippy::unnecessary_wraps)]
pub fn obliging(what: &str, _: u32) -> Outcome<String> {
    Ok(format!("did {what}"))
}

static NEXT: AtomicU64 = AtomicU64::new(0);

pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Self {
        let number = NEXT.fetch_add(1, SeqCst);
        let name = format!("cueline-workflows-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn store(&self) -> Store {
        Store::directory(&self.0).into()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
