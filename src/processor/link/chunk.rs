//! What one commit is to hold.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clock::{Moment, Timestamp};
use crate::processor::emitted::Emitted;
use crate::queue::answer::Answers;
use crate::queue::batch::{Events, Load};
use crate::queue::settlement::Applies;
use crate::store::memory::{StateKey, StoredValue, Value};

pub(super) struct Chunk {
    pub(super) outbox: Events,
    pub(super) emitted: Vec<Emitted>,
    pub(super) staged:
        HashMap<StateKey, (Arc<dyn Value>, Option<StoredValue>), foldhash::fast::RandomState>,
    pub(super) delayed: Vec<(Moment, Events, &'static str)>,
    /// What those take up.
    pub(super) delayed_load: Load,
    pub(super) answers: Answers,
    /// Facts that the log is to have.
    pub(super) facts: Vec<u8>,
    pub(super) applies: Option<Applies>,
    pub(super) now: Option<Timestamp>,
}

impl Chunk {
    pub(super) fn new(outbox: Events) -> Self {
        Self {
            outbox,
            emitted: Vec::new(),
            staged: HashMap::default(),
            delayed: Vec::new(),
            delayed_load: Load::default(),
            answers: Vec::new(),
            facts: Vec::new(),
            applies: None,
            now: None,
        }
    }
}
