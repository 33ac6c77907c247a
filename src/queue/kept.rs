//! Events that left their batch without being settled: retried, parked, or behind one that is.
//! They are kept as bytes, so that no batch is pinned by one event and no `Clone` is asked for.

use std::sync::Arc;

use super::batch::Batch;
use super::report::Report;
use crate::error::Failure;
use crate::guard::contain;
use crate::message::envelope::Head;
use crate::message::{EventId, Key};

/// The event itself.
#[derive(Clone)]
pub(crate) enum Body {
    /// As MessagePack.
    Bytes(Arc<[u8]>),
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
}

impl Kept {
    pub(crate) fn id(&self) -> EventId {
        self.head.id(0)
    }

    /// The event at `index` of `run`, as bytes if it can be, else pinned where it is.
    pub(crate) fn encoded(batch: &Arc<Batch>, run: u32, index: u32, which: u16) -> Self {
        let mut kept = Self::pinned(batch, run, index, which);
        if let Ok(bytes) = encode(batch, run, index) {
            kept.body = Body::Bytes(bytes);
        }
        kept
    }

    /// The event at `index` of `run`, where it is.
    pub(crate) fn pinned(batch: &Arc<Batch>, run: u32, index: u32, which: u16) -> Self {
        let head = batch.events.runs()[run as usize].head.skip(index);
        let body = Body::Pinned { batch: batch.clone(), run, index };
        Self { which, head, key: None, body, report: None }
    }

    /// The bytes; an empty slice if the event cannot be encoded.
    pub(crate) fn payload(&self) -> Arc<[u8]> {
        match &self.body {
            Body::Bytes(bytes) => bytes.clone(),
            Body::Pinned { batch, run, index } => {
                encode(batch, *run, *index).unwrap_or_else(|_| Arc::from([]))
            }
        }
    }
}

/// Encoding is user code (`Serialize`): contained.
pub(crate) fn encode(batch: &Batch, run: u32, index: u32) -> Result<Arc<[u8]>, Failure> {
    let run = &batch.events.runs()[run as usize];
    let index = (run.start + index) as usize;
    contain(|| batch.events.column(run).encode(index))
        .unwrap_or_else(|panic| Err(Failure::permanent(panic)))
        .map(Arc::from)
}
