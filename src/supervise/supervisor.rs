//! The supervisor: a name, children, and how patiently they are restarted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::child::Child;
use super::policy::Restarts;
use crate::clock::Clock;
use crate::queue::backoff::Backoff;

/// Restarts its children when they fail, each by itself (one for one), with back-off.
///
/// A child's events wait while it is down. A failing event is charged to the event; the child is
/// charged only if no event succeeded since it was built, so that a poison event among good ones
/// does not slow its processor.
///
/// ```
/// # use cueline::prelude::*;
/// # struct Board;
/// # impl Processor for Board {}
/// let operations = Supervisor::new("operations")
///     .backoff(Backoff::new(millis(10), secs(5)))
///     .child(processor("board", || Board));
/// ```
pub struct Supervisor {
    pub(crate) name: String,
    pub(crate) backoff: Backoff,
    pub(crate) children: Vec<Arc<dyn Child>>,
}

/// What can be a supervisor's child: made by [`processor`](crate::processor()).
pub trait IntoChild: into_child::Sealed {}

pub(crate) mod into_child {
    use super::{Arc, Child};

    pub trait Sealed {
        #[allow(private_interfaces)]
        fn into_child(self) -> Arc<dyn Child>;
    }
}

impl Supervisor {
    /// A supervisor without children. Its name follows the rules of message names.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), backoff: Backoff::default(), children: Vec::new() }
    }

    /// How long to wait between restarts of a child that keeps failing. Default: the first restart
    /// at once, then 100 ms doubling to 30 s.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Adds a child. Children start in this order; a runtime that stops asks them to stop in the
    /// reverse one, and does not wait for one before it asks the next.
    #[must_use]
    pub fn child(mut self, child: impl IntoChild) -> Self {
        self.children.push(child.into_child());
        self
    }
}

/// A child failed with nothing to show since it was built; answered with how long it must wait.
pub(crate) struct ChildFailed {
    /// The processor's number.
    pub(crate) child: usize,
}

impl actix::Message for ChildFailed {
    type Result = Duration;
}

/// The supervisor as an actor: keeps the record of each child.
pub(crate) struct SupervisorActor {
    backoff: Backoff,
    records: HashMap<usize, Restarts>,
    clock: Arc<Clock>,
}

impl SupervisorActor {
    pub(crate) fn new(backoff: Backoff, clock: Arc<Clock>) -> Self {
        Self { backoff, records: HashMap::new(), clock }
    }
}

impl actix::Actor for SupervisorActor {
    type Context = actix::Context<Self>;
}

impl actix::Handler<ChildFailed> for SupervisorActor {
    type Result = actix::MessageResult<ChildFailed>;

    fn handle(&mut self, failed: ChildFailed, _: &mut Self::Context) -> Self::Result {
        let backoff = self.backoff;
        let record = self.records.entry(failed.child).or_insert_with(|| Restarts::new(backoff));
        actix::MessageResult(record.failed(self.clock.now(), fastrand::f64()))
    }
}
