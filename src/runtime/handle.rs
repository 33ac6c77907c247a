//! What an application holds: a handle that is `Clone + Send + Sync` and works from anywhere.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::asked::Asked;
use super::builder::RuntimeBuilder;
use super::control::Command;
use super::core::{Core, Running};
use super::pools::PoolHandle;
use super::shutdown::Shutdown;
use super::supervisors::SupervisorHandle;
use crate::broker::door::Door;
use crate::broker::publish::{Publish, is_inside_handler};
use crate::broker::publish_all::PublishAll;
use crate::broker::publish_batch::Batch;
use crate::broker::topics::TopicReport;
use crate::error::{Error, ErrorKind, Refused};
use crate::message::{Event, EventId, Key};
use crate::store::memory::{KeptState, typed};
use crate::supervise::{ChildReport, IntoChild};

/// A running runtime. Clones are the same runtime; when the last one is dropped without
/// [`Runtime::shutdown`], it stops at once and without waiting.
///
/// ```
/// # use cueline::prelude::*;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct DoorOpened { door: u32 }
/// # cueline::event!(DoorOpened, "door.opened", key: |event| event.door);
/// struct Alarm;
/// impl Processor for Alarm {}
/// impl Handle<DoorOpened> for Alarm {
///     async fn handle(&mut self, event: &DoorOpened, _: &mut Context) -> Outcome {
///         if event.door == 13 {
///             return Err(Failure::permanent("there is no such door").reason("no_door"));
///         }
///         Ok(())
///     }
/// }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let house = Supervisor::new("house").child(processor("alarm", || Alarm).on::<DoorOpened>());
/// let runtime = Runtime::builder("example").supervise(house).start()?;
/// let id = runtime.publish(DoorOpened { door: 13 }).wait()?;
/// runtime.publish_all((1..=12).map(|door| DoorOpened { door })).wait()?;
/// runtime.idle().wait();
///
/// assert_eq!(runtime.parked_by_reason()["no_door"], 1);
/// assert_eq!(runtime.parked()[0].decode::<DoorOpened>()?.door, 13);
/// runtime.discard("alarm", id)?;
/// assert_eq!(runtime.topology()[0].published, 13);
/// assert!(runtime.shutdown(secs(1)).wait()?.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Runtime {
    pub(super) core: Arc<Core>,
    _owner: Arc<Owner>,
}

struct Owner(Arc<Core>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.commands.send(Command::Abandon).ok();
    }
}

impl Runtime {
    /// Begins a runtime. Its name follows the rules of message names
    /// ([`Message::NAME`](crate::Message::NAME)).
    pub fn builder(name: impl Into<String>) -> RuntimeBuilder {
        RuntimeBuilder::new(name)
    }

    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { _owner: Arc::new(Owner(core.clone())), core }
    }

    /// Publishes an event; resolves when it is kept, and waits at the door until its topic has
    /// room: as much as the fullest of the subscriptions that block. On a plain thread:
    /// `runtime.publish(event).wait()`. Dropped before it is ready, nothing was published.
    ///
    /// # Errors
    ///
    /// [`Refused`] gives the event back: the runtime has stopped, the call was made inside a
    /// handler, or the event cannot be published (its NAME is another type's, it is heavier than a
    /// subscription may hold at all).
    pub fn publish<E: Event>(&self, event: E) -> Publish<'_, E> {
        Publish::new(&self.core.broker, event)
    }

    /// Publishes many events of one type: in order, and several times cheaper than one by one.
    /// They go in as room comes, not all or nothing: dropped before it is ready, some have gone.
    ///
    /// # Errors
    ///
    /// As [`Runtime::publish`]; [`Refused`] gives those back that have not gone in.
    pub fn publish_all<E: Event>(&self, events: impl IntoIterator<Item = E>) -> PublishAll<'_, E> {
        PublishAll::new(&self.core.broker, events.into_iter().collect())
    }

    /// Begins a batch: events of several types that are published together or not at all.
    pub fn batch(&self) -> Batch {
        Batch::new(self.core.broker.clone())
    }

    /// Publishes an event if there is room; else gives it back, counted as refused.
    ///
    /// ```
    /// # use cueline::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct DoorOpened { door: u32 }
    /// # cueline::event!(DoorOpened, "door.opened");
    /// fn open(runtime: &Runtime, door: u32) -> Result<(), Error> {
    ///     match runtime.try_publish(DoorOpened { door }) {
    ///         Ok(_id) => Ok(()),
    ///         Err(Refused::Full(event)) => Ok(println!("busy; door {} has to wait", event.door)),
    ///         Err(Refused::Invalid(_, error)) => Err(error),
    ///         Err(_) => Ok(println!("closed")),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Refused::Full`] without room; else as [`Runtime::publish`].
    pub fn try_publish<E: Event>(&self, event: E) -> Result<EventId, Refused<E>> {
        self.core.broker.try_publish(event)
    }

    /// Fire and forget: never waits. An event that finds no room is dropped, counted and said.
    ///
    /// # Errors
    ///
    /// Only what no waiting would cure: a stopped runtime, a message that cannot be published.
    pub fn tell<E: Event>(&self, event: E) -> Result<(), Refused<E>> {
        self.core.broker.tell(event)
    }

    /// Resolves when nothing is waiting, in hand or retrying. Parked events, and those behind them,
    /// wait for a person and do not count; neither does what is to be published later.
    ///
    /// # Panics
    ///
    /// Inside a handler, which would wait for itself.
    pub fn idle(&self) -> Idle<'_> {
        Idle { rest: self.core.broker.rest(Door::is_idle) }
    }

    /// Resolves when every instance has been built and has started, or the runtime has stopped.
    /// [`RuntimeBuilder::start`] does not wait for that: events wait for their processor.
    ///
    /// # Errors
    ///
    /// `GaveUp` if the tree of supervisors gave up instead: the text names the child and what it
    /// said.
    ///
    /// # Panics
    ///
    /// Inside a handler or a hook, which would wait for itself.
    pub async fn ready(&self) -> Result<(), Error> {
        assert!(!is_inside_handler(), "{}", Error::inside_handler("ready"));
        loop {
            let built = self.core.built.notified();
            if let Some(ended) = self.core.has_ended() {
                return ended;
            }
            if self.core.is_built() {
                return Ok(());
            }
            built.await;
        }
    }

    /// The value that a processor keeps under a key, as of its last commit; none if it keeps none
    /// of that type there, or there is no such processor.
    pub fn state<S: KeptState>(&self, processor: &str, key: impl Into<Key>) -> Option<S> {
        let running = self.core.find(processor)?;
        let value = running.subscription.value::<S>(&key.into()).ok()??;
        typed::<S>(&*value).cloned()
    }

    /// All values of one type that a processor keeps, by key.
    pub fn states<S: KeptState>(&self, processor: &str) -> BTreeMap<Key, S> {
        let Some(running) = self.core.find(processor) else { return BTreeMap::new() };
        let values = running.subscription.values::<S>();
        values
            .into_iter()
            .filter_map(|(key, value)| Some((key, typed::<S>(&*value)?.clone())))
            .collect()
    }

    /// Lets a processor rest: its events wait, within its bound. What it has in hand it finishes.
    ///
    /// # Errors
    ///
    /// `NotFound` without such a processor; the text names those there are.
    pub fn pause(&self, processor: &str) -> Result<(), Error> {
        self.running(processor)?.subscription.pause(true);
        self.core.broker.intake.wake_resters(); // who shuts down does not wait for it
        Ok(())
    }

    /// Lets a paused processor go on.
    ///
    /// # Errors
    ///
    /// As [`Runtime::pause`].
    pub fn resume(&self, processor: &str) -> Result<(), Error> {
        self.running(processor)?.subscription.pause(false);
        Ok(())
    }

    /// Adds a child to a supervisor while running: [`SupervisorHandle::add`].
    ///
    /// # Errors
    ///
    /// `NotFound` without such a supervisor; else as there.
    pub fn add(&self, supervisor: &str, child: impl IntoChild) -> Asked<bool> {
        self.handle_of(supervisor).add(child)
    }

    /// A supervisor, by its names from the top-level one down: `operations/reports`.
    ///
    /// # Errors
    ///
    /// `NotFound` without such a supervisor; the text names those there are.
    pub fn supervisor(&self, path: &str) -> Result<SupervisorHandle, Error> {
        let handle = self.handle_of(path);
        handle.count().map(|_| handle)
    }

    fn handle_of(&self, path: &str) -> SupervisorHandle {
        SupervisorHandle { core: self.core.clone(), path: Arc::from(path) }
    }

    /// A pool, by its names from the top-level supervisor down, whose children are started with an
    /// `A`.
    ///
    /// # Errors
    ///
    /// `NotFound` without such a pool, `Config` if the argument is of another type.
    pub fn pool<A: Any + Send + Sync>(&self, path: &str) -> Result<PoolHandle<A>, Error> {
        PoolHandle::of(self.core.clone(), path)
    }

    /// The address of a plain actor ([`actor`](crate::actor())) that runs now, by its names from the
    /// top-level supervisor down: `house/bell`. It changes when the actor is started anew.
    pub fn actor<A: actix::Actor>(&self, path: &str) -> Option<actix::Addr<A>> {
        self.core.actors.get(path)
    }

    /// The whole hierarchy: what runs, what is down, what failed last and when it starts again.
    /// Printed, it is a tree. Empty when the runtime has stopped.
    pub fn tree(&self) -> ChildReport {
        super::tree::tree(&self.core)
    }

    /// Resolves when the process is asked to end (ctrl-c or SIGTERM), or the tree of supervisors
    /// ends; then it has shut down in order within `timeout`. What was left undone, if it did not
    /// give up.
    ///
    /// # Errors
    ///
    /// `GaveUp` if the last supervisor gave up: the text names the child and what it said.
    pub async fn run(&self, timeout: Duration) -> Result<Vec<super::Undone>, Error> {
        let ended = {
            let signal = std::pin::pin!(self.stop_signal());
            let ends = std::pin::pin!(self.core.ends());
            match futures_util::future::select(signal, ends).await {
                futures_util::future::Either::Left(_) => Ok(()),
                futures_util::future::Either::Right((ended, _)) => ended,
            }
        };
        let undone = self.shutdown(timeout).await;
        ended.and(undone)
    }

    /// Removes a processor: what was published before is still handled, nothing after; if it is down,
    /// that is parked as orphaned. Its kept
    /// state goes with it. What it had parked can no longer be resubmitted, so look before; it comes
    /// back from [`Runtime::shutdown`], with all that is undone.
    ///
    /// # Errors
    ///
    /// As [`Runtime::pause`]; `Conflict` for a mediator with workflows that have not ended.
    pub fn remove(&self, processor: &str) -> Result<(), Error> {
        // Who finds it gone looks again, to be told what there is.
        loop {
            let running = self.running(processor)?;
            if running.subscription.settings.shared {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("`{processor}` is a pool's: stop its children, or delete the pool"),
                ));
            }
            self.core.may_be_removed(&running)?;
            // First: when its hosts have ended, nobody is to start them again.
            let gone = super::tree::let_go(&self.core, &running);
            if gone || self.core.dismiss(&running) {
                return Ok(());
            }
        }
    }

    /// Who publishes and consumes what, as declared and as seen, topic by topic.
    pub fn topology(&self) -> Vec<TopicReport> {
        let inner = self.core.broker.intake.lock();
        inner.topics.reports(|topic| inner.door.published(topic))
    }

    /// How the processors are doing, in the order they were added.
    pub fn processors(&self) -> Vec<super::watch::ProcessorReport> {
        let lanes = self.core.broker.sequencer.lanes();
        lanes.iter().for_each(|lane| lane.pass_round_for_it());
        self.core.processors.read().iter().map(|running| Core::report(running)).collect()
    }

    /// What keeps the runtime from being ready, one line each, as `/readyz` says; empty if it is.
    pub fn why_not_ready(&self) -> Vec<String> {
        self.core.why_not_ready()
    }

    /// All metrics in Prometheus' text format, as `/metrics` shows them; none if they go to the
    /// application's own recorder (a runtime without `serve`).
    pub fn metrics(&self) -> Option<String> {
        self.core.render()
    }

    /// Where `/metrics` is served, if it is.
    pub fn address(&self) -> Option<SocketAddr> {
        self.core.address.get().copied()
    }

    /// Resolves with the signal's name when the process is asked to end (ctrl-c or SIGTERM). From
    /// then on the first such signal no longer ends the process by itself; the second one does, at
    /// once, should the way to the end take too long.
    pub fn stop_signal(&self) -> impl Future<Output = &'static str> + Send + use<> {
        let (tell, told) = tokio::sync::oneshot::channel();
        self.core.commands.send(Command::StopSignal(tell)).ok();
        async move { told.await.unwrap_or("stopped") }
    }

    /// Stops in order: takes nothing more from outside, lets the processors finish what waits, runs
    /// their `stopping` hooks, ends the threads. Does not await retries that are due later. What is
    /// not done when `timeout` is over comes back. On a plain thread: `.wait()`.
    pub fn shutdown(&self, timeout: Duration) -> Shutdown {
        Shutdown::new(self.clone(), timeout)
    }

    pub(super) fn running(&self, processor: &str) -> Result<Arc<Running>, Error> {
        self.core.find(processor).ok_or_else(|| {
            let mut known: Vec<String> = Vec::new();
            for running in self.core.processors.read().iter() {
                known.push(format!("`{}`", running.declaration.name));
            }
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Error::not_found(format!("there is no processor `{processor}`; there are {known}"))
        })
    }
}

/// Resolves when the runtime is idle; made by [`Runtime::idle`].
#[must_use = "await it, or call `wait`"]
pub struct Idle<'a> {
    rest: crate::broker::rest::Rest<'a>,
}

impl Idle<'_> {
    /// Blocks the thread until the runtime is idle.
    pub fn wait(self) {
        pollster::block_on(self);
    }
}

impl Future for Idle<'_> {
    type Output = ();

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        task: &mut std::task::Context<'_>,
    ) -> std::task::Poll<()> {
        assert!(!is_inside_handler(), "{}", Error::inside_handler("idle"));
        std::pin::Pin::new(&mut self.rest).poll(task)
    }
}
