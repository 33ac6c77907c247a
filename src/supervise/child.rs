//! What a supervisor needs to know of a child, and what a child needs to run and to tell.

use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;

use parking_lot::Mutex;

use super::options::{Count, OnExit, Reason, Restart, StopRule};
use super::policy::{NodeId, Verdict};
use super::registry::Registry;
use crate::broker::handle::Broker;
use crate::broker::holders::Holder;
use crate::error::Error;
use crate::guard::{Quiet, contain};
use crate::message::Declared;
use crate::pulse::Pulse;
use crate::queue::fence::Fence;
use crate::queue::{QueueSettings, Subscription};
use crate::request::Requests;
use crate::signal::During;
use crate::store::file::workflows::Workflows;

/// A processor as it was declared.
#[derive(Debug, Clone)]
pub(crate) struct Declaration {
    pub(crate) name: Arc<str>,
    /// The message types it handles, in the order of its handlers.
    pub(crate) handles: Vec<Declared>,
    pub(crate) emits: Vec<Declared>,
    pub(crate) settings: QueueSettings,
    /// Its handlers block: each instance has a thread of its own.
    pub(crate) blocking: bool,
    /// How long user code of it may hold its thread.
    pub(crate) timeout: std::time::Duration,
    pub(crate) count: Count,
    /// The periods of what it publishes by the clock.
    pub(crate) ticks: Vec<std::time::Duration>,
    /// The type of the argument that its factory needs.
    pub(crate) argument: std::any::TypeId,
    /// A pool's children do not share one subscription: each has its own.
    pub(crate) own: bool,
    /// It owns workflows, and may have something to do without any event.
    pub(crate) is_mediator: bool,
}

/// How a child is dealt with, as the application says.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChildOptions {
    pub(crate) restart: Restart,
    pub(crate) stop: Option<StopRule>,
    pub(crate) significant: bool,
}

/// Code of the application that says what to do about a failure.
pub(crate) type Decider = Quiet<Box<dyn Fn(&str, &Reason) -> OnExit + Send + Sync>>;

/// What a factory is given: nothing, or what a pool's child is started with.
pub(crate) type Argument = Arc<dyn Any + Send + Sync>;

/// A child that can be started: its type is known to itself only.
pub(crate) trait Child: Send + Sync {
    fn declaration(&self) -> Declaration;

    /// It has its place, and takes up what it left there.
    ///
    /// # Errors
    ///
    /// It cannot run like that.
    fn remembers(&self, _: Memory<'_>) -> Result<(), Error> {
        Ok(())
    }

    /// Starts a host on the thread this is called on.
    fn host(self: Arc<Self>, seat: Seat);
}

/// What a child is told before its hosts start.
pub(crate) struct Memory<'a> {
    /// As which it is known for ever, if there is a log, or else in this process.
    pub(crate) number: u32,
    /// On how many threads it runs.
    pub(crate) hosts: usize,
    /// What the log says of its workflows.
    pub(crate) workflows: Workflows,
    pub(crate) subscription: &'a Arc<Subscription>,
    pub(crate) broker: &'a Arc<Broker>,
    pub(crate) requests: &'a Arc<Requests>,
}

/// What one host of a child gets: its place in the order, and its share of the instances.
pub(crate) struct Seat {
    pub(crate) broker: Arc<Broker>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) fence: Arc<Fence>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) reports: Reports,
    /// As whom its drivers publish.
    pub(crate) holders: Arc<Mutex<Vec<Holder>>>,
    pub(crate) argument: Argument,
    /// Where a plain actor is found, and by what names.
    pub(crate) registry: Arc<Registry>,
    pub(crate) path: String,
    pub(crate) host: usize,
    pub(crate) slots: usize,
    pub(crate) hop_limit: u16,
    /// The thread is this host's alone, and ends with it.
    pub(crate) own_thread: bool,
}

impl Seat {
    /// The thread runs code of the application for this host, and somebody is to see how long.
    pub(crate) fn enter(&self) {
        self.broker.clock.working();
        self.pulse.enter(self.reports.id.life, self.subscription.log_number());
    }
}

/// One host of one life of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostId {
    pub(crate) node: NodeId,
    /// Grows with every start of a host, whichever.
    pub(crate) life: u64,
    pub(crate) host: usize,
}

/// What a host tells its supervisor.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) from: HostId,
    pub(crate) says: Says,
}

#[derive(Debug)]
pub(crate) enum Says {
    /// All its instances have been built, or one again after a failure.
    Built,
    /// It has nothing to do.
    Ignored,
    /// It has ended; of its own accord, if it says why.
    Ended(Option<Reason>),
}

impl actix::Message for Report {
    type Result = ();
}

/// A host failed, with nothing to show for it.
#[derive(Debug)]
pub(crate) struct Broke {
    pub(crate) from: HostId,
    pub(crate) error: String,
    /// No instance of the child is left, on any thread.
    pub(crate) whole: bool,
    pub(crate) advice: OnExit,
}

impl actix::Message for Broke {
    type Result = Verdict;
}

/// How a host talks to its supervisor. That it has ended is told when this is dropped.
pub(crate) struct Reports {
    pub(crate) id: HostId,
    pub(crate) tell: actix::Recipient<Report>,
    pub(crate) ask: actix::Recipient<Broke>,
    pub(crate) decider: Option<Arc<Decider>>,
    pub(crate) count: Count,
    /// Why it ends, if of its own accord.
    pub(crate) reason: RefCell<Option<Reason>>,
}

impl Reports {
    pub(crate) fn say(&self, says: Says) {
        self.tell.do_send(Report { from: self.id, says });
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        self.say(Says::Ended(self.reason.take()));
    }
}

/// Asks the application's code what to do about a failure. If it panics, the failure is a matter for
/// the supervisor above.
pub(crate) fn decide(
    decider: &Decider,
    child: &str,
    reason: &Reason,
    panicked: impl FnOnce(During),
) -> OnExit {
    contain(|| decider(child, reason)).unwrap_or_else(|_| {
        panicked(During::Decider);
        OnExit::Escalate
    })
}
