//! Events as the log has them.

use std::cell::RefCell;

use crate::error::Error;
use crate::message::{Message, codec, weight_of};
use crate::queue::form::Form;
use crate::store::LARGEST_EVENT;
use crate::store::file::events::Entry;

thread_local! {
    static SCRATCH: RefCell<[Vec<u8>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Events as the log has them.
pub(crate) struct StoredBytes {
    entries: Vec<u8>,
    payload: Vec<u8>,
    /// Where each ends, if they are several.
    ends: Vec<usize>,
}

impl StoredBytes {
    /// The first of these events, as many as are worth going in at once. `Serialize` and `key` are code
    /// of the application: no lock may be held.
    pub(crate) fn of<E: Message>(events: &[E]) -> Result<Self, Error> {
        let [entries, payload] = SCRATCH.take();
        let ends = Vec::with_capacity(if events.len() > 1 { events.len() } else { 0 });
        let mut stored = Self { entries, payload, ends };
        stored.entries.clear();
        for event in events {
            stored.payload.clear();
            codec::encode_into(&mut stored.payload, event).map_err(|failure| {
                Error::config(format!("`{}`: {}", E::NAME, failure.chain().join(": ")))
            })?;
            if stored.payload.len() > LARGEST_EVENT {
                return Err(Error::too_large(&format!("an event `{}`", E::NAME), LARGEST_EVENT));
            }
            let key = event.key();
            let key = key.as_ref().map(|key| key.as_str().as_bytes());
            Entry { key, payload: &stored.payload }.put(&mut stored.entries);
            if events.len() > 1 {
                stored.ends.push(stored.entries.len());
                if stored.entries.len() >= ENOUGH {
                    break;
                }
            }
        }
        Ok(stored)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.ends.len().max(1)
    }

    /// What they are to a queue.
    pub(crate) fn form(&self) -> Form<'_> {
        Form::Stored { bytes: &self.entries, ends: &self.ends, cut: 0 }
    }

    /// All of them.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.entries
    }
}

impl Drop for StoredBytes {
    /// The next one on this thread uses the room again.
    fn drop(&mut self) {
        let room = [std::mem::take(&mut self.entries), std::mem::take(&mut self.payload)];
        if room.iter().all(|room| room.capacity() <= MOST_ROOM) {
            SCRATCH.try_with(|scratch| scratch.replace(room)).ok();
        }
    }
}

/// What an event is to a queue, if it has been made bytes of, or if not.
pub(crate) fn form_of<'a, E: Message>(event: &E, stored: Option<&'a StoredBytes>) -> Form<'a> {
    stored.map_or_else(|| Form::Values { each: weight_of(event) }, StoredBytes::form)
}

/// No more events are made bytes of at a time when there are so many of these.
const ENOUGH: usize = 1 << 20;
/// No thread keeps more than so much room.
const MOST_ROOM: usize = 1 << 20;
