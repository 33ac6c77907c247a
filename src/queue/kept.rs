//! Events that left their batch without being settled: retried, parked, or behind one that is.
//! They are kept as bytes, so that no batch is pinned by one event and no `Clone` is asked for.

use std::sync::Arc;

use std::collections::BTreeMap;

use super::batch::Batch;
use super::report::Report;
use crate::error::Failure;
use crate::guard::contain;
use crate::message::envelope::Head;
use crate::message::{EventId, Key, Payload, Seq};

/// The event itself.
#[derive(Clone)]
pub(crate) enum Body {
    /// As MessagePack.
    Bytes(Payload),
    /// Still in its batch: it will not stay long, or it cannot be encoded.
    Pinned { batch: Arc<Batch>, run: u32, index: u32 },
}

/// A kept event.
#[derive(Clone)]
pub(crate) struct Kept {
    /// Which of the processor's message types it is.
    pub(crate) which: u16,
    /// The head of a run that holds only this event.
    pub(crate) head: Head,
    pub(crate) key: Option<Key>,
    pub(crate) body: Body,
    pub(crate) report: Option<Arc<Report>>,
    /// A log has it as well, if there is one.
    pub(crate) logged: bool,
}

impl Kept {
    pub(crate) fn id(&self) -> EventId {
        self.head.id(0)
    }

    /// The event at `index` of `run`, as bytes if it can be, else pinned where it is.
    pub(crate) fn encoded(batch: &Arc<Batch>, run: u32, index: u32, which: u16) -> Self {
        Self::pinned(batch, run, index, which).unpinned()
    }

    /// The event at `index` of `run`, where it is.
    pub(crate) fn pinned(batch: &Arc<Batch>, run: u32, index: u32, which: u16) -> Self {
        let stored = &batch.events.runs()[run as usize];
        let logged = stored.stored || batch.events.stored_column(stored).is_some();
        let head = stored.head.skip(index);
        let body = Body::Pinned { batch: batch.clone(), run, index };
        Self { which, head, key: None, body, report: None, logged }
    }

    /// As the log has it.
    pub(crate) fn stored(which: u16, head: Head, key: Option<Key>, payload: Payload) -> Self {
        Self { which, head, key, body: Body::Bytes(payload), report: None, logged: true }
    }

    pub(crate) fn is_pinned(&self) -> bool {
        matches!(self.body, Body::Pinned { .. })
    }

    /// The same, as bytes if it can be.
    pub(crate) fn unpinned(mut self) -> Self {
        if let Body::Pinned { batch, run, index } = &self.body
            && let Ok(bytes) = encode(batch, *run, *index)
        {
            self.body = Body::Bytes(bytes);
        }
        self
    }

    /// It begins anew: the way it came is forgotten.
    pub(crate) fn forget_way(&mut self) {
        self.head.forget_way();
        if let Some(report) = &mut self.report {
            Arc::make_mut(report).broke = 0;
        }
    }

    fn weight(&self) -> u64 {
        match &self.body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Pinned { batch, run, index } => {
                batch.events.weight_of(&batch.events.runs()[*run as usize], *index..*index + 1)
            }
        }
    }

    pub(crate) fn payload(&self) -> Payload {
        match &self.body {
            Body::Bytes(bytes) => bytes.clone(),
            Body::Pinned { batch, run, index } => encode(batch, *run, *index).unwrap_or_default(),
        }
    }
}

/// All kept events of a subscription, in their order, and what they weigh.
#[derive(Default)]
pub(crate) struct KeptEvents {
    events: BTreeMap<Seq, Kept>,
    weight: u64,
}

impl KeptEvents {
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn get(&self, seq: Seq) -> Option<&Kept> {
        self.events.get(&seq)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Seq, &Kept)> {
        self.events.iter()
    }

    pub(crate) fn into_events(self) -> impl Iterator<Item = (Seq, Kept)> {
        self.events.into_iter()
    }

    /// Gives back what it replaces, to be dropped outside of any lock.
    pub(crate) fn insert(&mut self, seq: Seq, kept: Kept) -> Option<Kept> {
        self.weight += kept.weight();
        let before = self.events.insert(seq, kept);
        self.weight -= before.as_ref().map_or(0, Kept::weight);
        before
    }

    /// As [`KeptEvents::insert`], if the event is still there and still pinned.
    pub(crate) fn unpin(&mut self, seq: Seq, unpinned: Kept) -> Option<Kept> {
        match self.events.get(&seq) {
            Some(kept) if kept.is_pinned() && !unpinned.is_pinned() => self.insert(seq, unpinned),
            _ => Some(unpinned),
        }
    }

    pub(crate) fn remove(&mut self, seq: Seq) -> Option<Kept> {
        let kept = self.events.remove(&seq);
        self.weight -= kept.as_ref().map_or(0, Kept::weight);
        kept
    }

    /// It begins anew.
    pub(crate) fn forget_way(&mut self, seq: Seq) {
        if let Some(kept) = self.events.get_mut(&seq) {
            kept.forget_way();
        }
    }
}

/// Encoding is user code (`Serialize`): contained.
pub(crate) fn encode(batch: &Batch, run: u32, index: u32) -> Result<Payload, Failure> {
    let run = &batch.events.runs()[run as usize];
    let index = (run.start + index) as usize;
    contain(|| batch.events.column(run).encode(index))
        .unwrap_or_else(|panic| Err(Failure::permanent(panic)))
        .map(Payload::new)
}
