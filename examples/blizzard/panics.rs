//! Panics on demand: whatever they hit is as it was at the last commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Before,
    After,
}

/// When somebody panics: on the first delivery of every Nth event, alternately before and
/// after it changed its state. Shared by all its instances, since it must outlive them.
#[derive(Clone)]
pub struct Panics {
    every: Option<u64>,
    events: Arc<AtomicU64>,
}

impl Panics {
    pub fn every(every: Option<u64>) -> Self {
        Self { every, events: Arc::default() }
    }

    /// Changes a state, or panics.
    pub fn around<T>(&self, attempt: u32, change: impl FnOnce() -> T) -> T {
        let due = self.due(attempt);
        assert!(due != Some(Moment::Before), "on demand, before the state was changed");
        let changed = change();
        assert!(due != Some(Moment::After), "on demand, after the state was changed");
        changed
    }

    fn due(&self, attempt: u32) -> Option<Moment> {
        let every = self.every?;
        if attempt > 1 {
            return None;
        }
        let number = self.events.fetch_add(1, Relaxed) + 1;
        let moment = if number / every % 2 == 1 { Moment::Before } else { Moment::After };
        number.is_multiple_of(every).then_some(moment)
    }
}
