//! The end: in order, bounded in time, and nothing unsaid.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::control::Command;
use super::core::Core;
use super::handle::Runtime;
use crate::broker::publish::is_inside_handler;
use crate::clock::deadline;
use crate::error::Error;
use crate::message::{EventId, Key, Message, Payload};
use crate::queue::Unsettled;
use crate::queue::kept::{Kept, encode};

/// An event that was not settled when the runtime stopped.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Undone {
    /// The processor that should have handled it; for a delayed publication, that published it.
    pub processor: Arc<str>,
    /// The event's topic.
    pub topic: &'static str,
    /// Its id.
    pub id: EventId,
    /// Its key, if it has one.
    pub key: Option<Key>,
    /// Where it stood.
    pub stood: Unsettled,
    /// The event itself.
    pub payload: Payload,
}

impl Undone {
    /// Decodes the payload as the message type it is.
    ///
    /// # Errors
    ///
    /// `NotFound` for another topic's event, `Config` for bytes that do not fit the type.
    pub fn decode<E: Message>(&self) -> Result<E, Error> {
        self.payload.decode(self.topic)
    }
}

/// A runtime on its way to rest; made by [`Runtime::shutdown`]. Resolves
/// with what was left undone.
///
/// ```
/// # use cueline::prelude::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = Runtime::builder("example").start()?;
/// for event in runtime.shutdown(secs(10)).wait()? {
///     eprintln!("{} of {} was {:?} at {}", event.id, event.topic, event.stood, event.processor);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "await it, or call `wait`"]
pub struct Shutdown {
    /// Kept alive until then: the last handle that goes stops it at once.
    runtime: Runtime,
    timeout: Duration,
}

impl Shutdown {
    pub(super) fn new(runtime: Runtime, timeout: Duration) -> Self {
        Self { runtime, timeout }
    }

    /// Blocks the thread until the runtime has stopped.
    ///
    /// # Errors
    ///
    /// `InsideHandler` from inside a handler; `Closed` if it was stopped before.
    pub fn wait(self) -> Result<Vec<Undone>, Error> {
        pollster::block_on(self.into_future())
    }

    async fn run(self) -> Result<Vec<Undone>, Error> {
        if is_inside_handler() {
            return Err(Error::inside_handler("shutdown"));
        }
        let (done, stopped) = oneshot::channel();
        let deadline = deadline(self.timeout);
        let command = Command::Shutdown(deadline, done);
        let core = &self.runtime.core;
        core.commands.send(command).map_err(|_| Error::closed())?;
        stopped.await.map_err(|_| Error::closed())?;
        Ok(undone(core))
    }
}

impl IntoFuture for Shutdown {
    type Output = Result<Vec<Undone>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Collected on the caller's thread, because encoding is user code.
fn undone(core: &Core) -> Vec<Undone> {
    let names = core.broker.intake.lock().topics.names();
    let name = |kept: &Kept| names[usize::from(kept.head.topic.0)];
    let processors = core.all();
    processors.iter().for_each(|running| running.subscription.seal());
    // Whoever was about to publish with its commit has done so in a moment.
    let at_most = Instant::now() + Duration::from_secs(1);
    while processors.iter().any(|running| running.subscription.has_untold())
        && Instant::now() < at_most
    {
        std::thread::yield_now();
    }
    for running in &processors {
        core.broker.has_news(&running.subscription, false);
    }
    core.broker.sequencer.turn();
    // With a log, what is left undone waits there.
    let kept = core.writing.lock().take().is_some();
    // What a stuck thread did not pick up from its lane goes to its subscriptions, to be counted.
    core.broker.sequencer.lanes().iter().for_each(|lane| drop(lane.pass_round()));
    let mut all = Vec::new();
    for running in processors {
        let processor = running.declaration.name.clone();
        let unsettled = if kept { Vec::new() } else { running.subscription.unsettled() };
        for (_, kept, stood) in unsettled {
            all.push(Undone {
                processor: processor.clone(),
                topic: name(&kept),
                id: kept.id(),
                key: kept.key.clone(),
                stood,
                payload: kept.payload(),
            });
        }
        let delayed = if kept { Vec::new() } else { running.subscription.take_delayed() };
        for events in delayed {
            let batch = Arc::new(crate::queue::batch::Batch::unplaced(events));
            for (number, run) in batch.events.runs().iter().enumerate() {
                for index in 0..run.length {
                    all.push(Undone {
                        processor: processor.clone(),
                        topic: names[usize::from(run.head.topic.0)],
                        id: run.head.id(index),
                        key: None,
                        stood: Unsettled::Delayed,
                        payload: encode(&batch, number as u32, index).unwrap_or_default(),
                    });
                }
            }
        }
    }
    all
}
