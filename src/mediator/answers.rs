//! What a mediator is told with somebody's commit: that a workflow begins, that something came to one.

use std::sync::Arc;
use std::task::Waker;

use tokio::sync::oneshot;

use super::domain::Domain;
use super::inbox::Arrival;
use super::record::{Head, Place};
use crate::queue::answer::Answer;
use crate::workflow::WorkflowId;

/// A workflow begins. What follows from it can be derived from the event that began it.
pub(crate) struct Began {
    domain: Arc<Domain>,
    id: WorkflowId,
    attempt: u64,
    head: Option<Head>,
}

impl Began {
    pub(crate) fn new(domain: Arc<Domain>, id: WorkflowId, attempt: u64, head: Head) -> Self {
        Self { domain, id, attempt, head: Some(head) }
    }
}

impl Answer for Began {
    fn runs_ahead(&self) -> bool {
        true
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

/// Something came to a workflow, to be told when it is kept, in the order in which it is.
pub(crate) struct Told {
    domain: Arc<Domain>,
    id: WorkflowId,
    entry: Vec<u8>,
    place: Place,
}

impl Told {
    pub(crate) fn new(domain: Arc<Domain>, id: WorkflowId, entry: Vec<u8>) -> Self {
        Self { domain, id, entry, place: Place::of(0) }
    }

    fn arrives(&mut self, counted: bool) -> Option<Waker> {
        let (id, place, entry) = (self.id, self.place, std::mem::take(&mut self.entry));
        self.domain.arrives(id, Arrival::Told { id, place, entry, counted })
    }
}

impl Answer for Told {
    fn record(&mut self, order: u64, into: &mut Vec<u8>) {
        self.place = Place::of(order);
        self.domain.names(self.id).put_entry(into, self.place, &self.entry);
    }

    fn give(mut self: Box<Self>) -> Option<Waker> {
        self.arrives(false)
    }
}

/// As [`Told`], of an event that a workflow has to take before it may end.
pub(crate) struct Event {
    told: Told,
    counted: bool,
}

impl Event {
    pub(crate) fn new(told: Told) -> Self {
        Self::count(&told, 1);
        Self { told, counted: true }
    }

    fn count(told: &Told, more: i32) {
        if let Some(mut shard) = told.domain.shard(told.id)
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
        }
    }
}
