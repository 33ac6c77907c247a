//! Trouble on demand: whatever it hits is as it was at the last commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cueline::{Failure, Outcome};

/// What is to go wrong, and how often.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    pub panic_every: Option<u64>,
    pub fail_every: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Before,
    After,
}

/// When somebody panics or fails: on the first delivery of every Nth event; panics alternately before and
/// after it changed its state. Shared by all its instances, since it must outlive them.
#[derive(Clone)]
pub struct Trouble {
    wanted: Wanted,
    events: Arc<AtomicU64>,
}

impl Trouble {
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, events: Arc::default() }
    }

    /// Changes a state, or panics, or fails after it did.
    pub fn around<T>(&self, attempt: u32, change: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        let number = if attempt == 1 { self.events.fetch_add(1, Relaxed) + 1 } else { 0 };
        let panics = self.wanted.panic_every.and_then(|every| panics(number, every));
        assert!(panics != Some(Moment::Before), "on demand, before the state was changed");
        let changed = change()?;
        assert!(panics != Some(Moment::After), "on demand, after the state was changed");
        match self.wanted.fail_every {
            Some(every) if number > 0 && number.is_multiple_of(every) => {
                Err(Failure::transient("on demand"))
            }
            _ => Ok(changed),
        }
    }
}

fn panics(number: u64, every: u64) -> Option<Moment> {
    let moment = if number / every % 2 == 1 { Moment::Before } else { Moment::After };
    (number > 0 && number.is_multiple_of(every)).then_some(moment)
}
