//! What a processor keeps, as of its last commit.

use std::any::TypeId;
use std::sync::Arc;

use super::Subscription;
use crate::error::Outcome;
use crate::message::Key;
use crate::store::memory::{KeptState, StateKey, Value, decoded};

impl Subscription {
    /// The value kept under that key, as of the last commit. Decodes it if it comes from the log.
    pub(crate) fn value<S: KeptState>(&self, key: &Key) -> Outcome<Option<Arc<dyn Value>>> {
        let stored = {
            let inner = self.inner.lock();
            if let Some(value) = inner.table.get(&(TypeId::of::<S>(), key.clone())) {
                return Ok(Some(value));
            }
            inner.table.stored::<S>(key)
        };
        let Some(stored) = stored else { return Ok(None) };
        let value: Arc<dyn Value> = decoded::<S>(&stored, &self.signals)?.into(); // user code
        self.inner.lock().table.unpack::<S>(key, value.clone());
        Ok(Some(value))
    }

    pub(crate) fn values<S: KeptState>(&self) -> Vec<(Key, Arc<dyn Value>)> {
        let stored = self.inner.lock().table.stored_keys::<S>();
        for key in stored {
            self.value::<S>(&key).ok();
        }
        self.inner.lock().table.all::<S>()
    }

    /// Whether one more value may be kept, beside those of these names that are about to be.
    pub(crate) fn has_room_for_state(&self, staged: &[&StateKey]) -> bool {
        let inner = self.inner.lock();
        let (kept, most) = (inner.table.len(), self.settings.most_states);
        // Only near the bound it matters which of them are new.
        kept + staged.len() < most
            || kept + staged.iter().filter(|name| !inner.table.has(name)).count() < most
    }
}
