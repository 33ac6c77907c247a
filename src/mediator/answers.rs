//! What a mediator is told with somebody's commit: that a workflow begins, that something came to one.

use std::sync::Arc;
use std::task::Waker;

use tokio::sync::oneshot;

use super::domain::Domain;
use super::inbox::Arrival;
use super::record::{Head, Names};
use crate::queue::answer::Answer;
use crate::request::awaits::Awaits;
use crate::store::file::workflows::Place;
use crate::workflow::WorkflowId;

/// A workflow begins. What follows from it can be derived from the event that began it.
pub(crate) struct Began {
    domain: Arc<Domain>,
    id: WorkflowId,
    attempt: u64,
    head: Option<Head>,
    runs_ahead: bool,
}

impl Began {
    pub(crate) fn new(domain: Arc<Domain>, id: WorkflowId, attempt: u64, head: Head) -> Self {
        // What another mediator does is not sure to come behind its parent's commit in the log.
        let mut parents = head.parent.iter().map(|(parent, _)| parent.mediator());
        let runs_ahead = parents.all(|mediator| mediator == domain.number());
        Self { domain, id, attempt, head: Some(head), runs_ahead }
    }
}

impl Answer for Began {
    fn runs_ahead(&self) -> bool {
        self.runs_ahead
    }

    fn give(mut self: Box<Self>) -> Option<Waker> {
        let (id, attempt, head) = (self.id, self.attempt, self.head.take()?);
        self.domain.says_begun(head.workflow);
        self.domain.arrives(id, Arrival::Begins { id, attempt, head })
    }
}

impl Drop for Began {
    /// The commit was not carried out.
    fn drop(&mut self) {
        let Some(head) = self.head.take() else { return };
        let shard = self.domain.shard(self.id);
        let is_last = shard.is_some_and(|mut shard| shard.starting.ends(self.id, self.attempt));
        if let Some(key) = head.key.as_ref().filter(|_| is_last) {
            self.domain.index.lock().removes(head.workflow, key, self.id);
        }
    }
}

/// Somebody hears that it is kept.
pub(crate) struct Kept<T>(Option<(oneshot::Sender<T>, T)>);

impl<T> Kept<T> {
    pub(crate) fn new(who: oneshot::Sender<T>, what: T) -> Self {
        Self(Some((who, what)))
    }
}

impl<T: Send> Answer for Kept<T> {
    fn give(mut self: Box<Self>) -> Option<Waker> {
        let (who, what) = self.0.take()?;
        who.send(what).ok();
        None
    }
}

/// Where what comes to workflows goes.
pub(crate) trait Receives: Awaits + 'static {
    /// Something came. Whom to wake.
    fn arrives(&self, id: WorkflowId, arrival: Arrival) -> Option<Waker>;
}

/// Something came to a workflow, to be told when it is kept, in the order in which it is.
pub(crate) struct Told<To: Receives> {
    to: Arc<To>,
    id: WorkflowId,
    entry: Vec<u8>,
    place: Place,
}

impl<To: Receives> Told<To> {
    pub(crate) fn new(to: Arc<To>, id: WorkflowId, entry: Vec<u8>) -> Self {
        Self { to, id, entry, place: 0 }
    }

    fn arrives(&mut self, counted: bool) -> Option<Waker> {
        let (id, place, entry) = (self.id, self.place, std::mem::take(&mut self.entry));
        self.to.arrives(id, Arrival::Told { id, place, entry, counted })
    }
}

impl<To: Receives> Answer for Told<To> {
    fn record(&mut self, order: u64, into: &mut Vec<u8>) {
        self.place = order;
        let names = Names { mediator: self.to.number(), id: self.id };
        names.put_entry(into, self.place, &self.entry);
    }

    fn give(mut self: Box<Self>) -> Option<Waker> {
        self.arrives(false)
    }
}

/// As [`Told`], of an event that a workflow has to take before it may end.
pub(crate) struct Event {
    told: Told<Domain>,
    counted: bool,
}

impl Event {
    pub(crate) fn new(told: Told<Domain>) -> Self {
        Self::count(&told, 1);
        Self { told, counted: true }
    }

    fn count(told: &Told<Domain>, more: i32) {
        if let Some(mut shard) = told.to.shard(told.id)
            && let Some(record) = shard.records.get_mut(&told.id)
        {
            record.arriving = record.arriving.saturating_add_signed(more);
        }
    }
}

impl Answer for Event {
    fn record(&mut self, order: u64, into: &mut Vec<u8>) {
        self.told.record(order, into);
    }

    fn give(mut self: Box<Self>) -> Option<Waker> {
        self.counted = false;
        self.told.arrives(true)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if self.counted {
            Self::count(&self.told, -1);
            let Told { to: domain, id, .. } = &self.told;
            domain.shard(*id).into_iter().for_each(|mut shard| shard.queue(*id));
            domain.put(domain.place_of(*id), |_| {}).into_iter().for_each(Waker::wake);
        }
    }
}
