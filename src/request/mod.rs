//! Request-reply: a command goes to the one processor that handles it, and its reply comes back to whoever
//! asked, by the command's id ([`inbox`], shared by all), or through a queue that is there for this one
//! request ([`temporary`]). [`Request`] is the future that waits for it, [`Gather`] waits for several,
//! [`waits`] knows who waits for whom and says if that is a circle, [`answer`] is the way back.

pub(crate) mod answer;
pub(crate) mod ask;
pub(crate) mod awaits;
mod door;
pub(crate) mod gather;
mod inbox;
mod slot;
mod temporary;
pub(crate) mod waits;
mod way;

pub use ask::Request;
pub use gather::Gather;

use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::broker::handle::Broker;
use crate::clock::Moment;
use crate::error::{Error, ErrorKind};
use crate::message::EventId;
use crate::queue::fence::Fence;
use crate::signal::{RequestOutcome, Signal};
use awaits::Mediators;
use door::AtDoor;
use inbox::Inbox;
use slot::Told;
use temporary::TemporaryQueues;
use waits::Waits;

/// How long a requester waits if it says nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The requests of a runtime that are under way; from [`Runtime::requests`](crate::Runtime::requests).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestsReport {
    /// How many have been sent, and are not answered yet.
    pub outstanding: usize,
    /// The names of the temporary queues that are there now.
    pub temporary_queues: Vec<String>,
}

/// All requests of a runtime.
pub(crate) struct Requests {
    pub(crate) broker: Arc<Broker>,
    inbox: Inbox,
    queues: TemporaryQueues,
    waits: Mutex<Waits>,
    at_door: AtDoor,
    pub(crate) mediators: Mediators,
    /// The runtime has stopped.
    closed: AtomicBool,
    /// The tick in which one was measured last.
    measured: AtomicU64,
    /// Numbers of those that have no id yet, and others.
    numbers: AtomicU64,
    /// When somebody looks next whose time is over, in nanoseconds; `u64::MAX` if nobody waits.
    looks_at: AtomicU64,
    looks: Notify,
}

impl Requests {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        Self {
            broker,
            inbox: Inbox::default(),
            queues: TemporaryQueues::default(),
            waits: Mutex::default(),
            at_door: AtDoor::default(),
            mediators: Mediators::default(),
            closed: AtomicBool::new(false),
            measured: AtomicU64::new(0),
            numbers: AtomicU64::new(1),
            looks_at: AtomicU64::new(u64::MAX),
            looks: Notify::new(),
        }
    }

    pub(crate) fn report(&self) -> RequestsReport {
        RequestsReport { outstanding: self.inbox.count(), temporary_queues: self.queues.names() }
    }

    /// Whether none was measured in this tick before. That two think so hurts nobody.
    fn is_first_of_tick(&self) -> bool {
        let tick = self.broker.clock.tick() + 1; // the first one is number 0
        let is_first = self.measured.load(Relaxed) != tick;
        if is_first {
            self.measured.store(tick, Relaxed);
        }
        is_first
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, SeqCst)
    }

    /// Whoever answers that id tells `to`, until then.
    fn expect(&self, id: EventId, to: Arc<dyn Told>, until: Moment) {
        self.inbox.put(id, to, until);
        if until.0 < self.looks_at.load(SeqCst) {
            self.looks.notify_one();
        }
        if self.closed.load(SeqCst) {
            self.close();
        }
    }

    /// Until when somebody waits for that answer, if anybody does.
    pub(crate) fn deadline_of(&self, id: EventId) -> Option<Moment> {
        self.inbox.deadline(id)
    }

    /// That command has been handled, and will be answered when that is committed: whoever waits for it is
    /// not in the way of others.
    pub(crate) fn handled(&self, command: EventId) {
        self.waits.lock().handled(command);
    }

    /// One request ended without its reply. Whoever took it out of the inbox says so, so it is said once.
    fn ended(&self, command: &'static str, outcome: RequestOutcome) {
        self.broker.signals.state(&Signal::Requested { command, outcome, requests: 1, took: &[] });
    }

    /// A command was answered, and nobody waits for that any more.
    fn dropped(&self, command: &'static str, event: EventId) {
        self.broker.signals.state(&Signal::ReplyDropped { command, event });
    }

    /// Tells whose time is over, as long as the runtime lives.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut empty = false;
        loop {
            let now = self.broker.clock.now();
            for (id, to) in self.inbox.over(now) {
                self.ended(to.asked().command, RequestOutcome::TimedOut);
                if let Ok(number) = u64::try_from(id.0) {
                    self.at_door.leaves(&self.broker, number, false);
                }
                to.is_over();
            }
            // Whoever comes while it is looked who is next says so.
            self.looks_at.store(u64::MAX, SeqCst);
            let next = self.inbox.earliest();
            // One more look when nobody is there: those that come one after the other need not all say so.
            let at = match next {
                Some(next) => next,
                None if !empty => now.after(PATIENCE),
                None => Moment(u64::MAX),
            };
            empty = next.is_none();
            self.looks_at.store(at.0, SeqCst);
            tokio::time::sleep(LOOKS).await;
            match at.0 {
                u64::MAX => self.looks.notified().await,
                _ => {
                    let at = self.broker.clock.instant(at);
                    tokio::time::timeout_at(at, self.looks.notified()).await.ok();
                }
            }
        }
    }

    /// A host is gone, or its thread is lost and its requests are never dropped: nobody waits for them, and
    /// nobody behind them.
    pub(crate) fn gone(&self, fence: &Arc<Fence>) {
        let host = host_of(fence);
        self.waits.lock().gone(host);
        self.at_door.gone(&self.broker, host);
        self.queues.gone(host);
        for to in self.inbox.take_if(|asked| asked.host == host) {
            self.ended(to.asked().command, RequestOutcome::Abandoned);
        }
    }

    /// The processor that handles the command is gone, and what it had not handled is parked: nobody is
    /// answered any more.
    pub(crate) fn orphaned(&self, command: &'static str, processor: &str) {
        for to in self.inbox.take_if(|asked| asked.command == command) {
            self.ended(command, RequestOutcome::Failed);
            let text = format!(
                "`{processor}` is gone, and `{command}` was perhaps not handled: if it was not, it is parked \
                 as orphaned"
            );
            to.fails(Error::new(ErrorKind::NoHandler, text));
        }
    }

    /// The runtime has stopped: nobody is answered any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
        for to in self.inbox.take_if(|_| true) {
            self.ended(to.asked().command, RequestOutcome::Failed);
            to.fails(Error::closed());
        }
    }
}

/// By what a host is known, as long as it is there.
pub(crate) fn host_of(fence: &Arc<Fence>) -> usize {
    Arc::as_ptr(fence) as usize
}

/// Nobody looks more often than that.
const LOOKS: Duration = Duration::from_millis(5);
