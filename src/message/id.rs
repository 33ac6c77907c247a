//! Ids of events and positions in the order of all events.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::clock::Timestamp;
use crate::error::Error;

/// The id of one event: 128 bits, ordered by time, unique across threads and restarts.
///
/// Written as a [ULID](https://github.com/ulid/spec): 48 bits of milliseconds, then 32 bits drawn
/// at random when the runtime starts, then 48 bits that count. An event keeps its id through
/// retries, parking and repair.
///
/// ```
/// use cueline::EventId;
/// let id: EventId = "01KAXWCDGV0000000000000000".parse().unwrap();
/// assert_eq!(id.to_string(), "01KAXWCDGV0000000000000000");
/// assert_eq!(id.timestamp().as_millis(), 1_764_086_920_731);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventId(pub(crate) u128);

impl EventId {
    /// The time at which the id was drawn.
    pub fn timestamp(self) -> Timestamp {
        Timestamp((self.0 >> 80) as u64)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ulid(self.0).fmt(f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EventId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Ulid::from_string(text).map(|id| Self(id.0)).map_err(|_| {
            Error::config("an event id is a ULID: 26 letters and digits, as the logs print it")
        })
    }
}

/// A position in the one order of all events: logical, never reused, never a place in a file.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Seq(pub(crate) u64);

impl Seq {
    /// The position as a number; the first event of a runtime has 0.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl From<u64> for Seq {
    fn from(position: u64) -> Self {
        Self(position)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const COUNT_BITS: u32 = 48;
const BLOCK: u64 = 1024;

/// What the id sources of one runtime share: its random part and the next unused number.
#[derive(Debug)]
pub(crate) struct IdSpace {
    salt: u32,
    next: AtomicU64,
}

impl IdSpace {
    pub(crate) fn new() -> Arc<Self> {
        // The other half of all ids is derived, not drawn.
        Arc::new(Self { salt: fastrand::u32(..1 << 31), next: AtomicU64::new(0) })
    }
}

/// Draws ids for one thread, or under one lock: each is greater than the one before.
#[derive(Debug)]
pub(crate) struct IdSource {
    space: Arc<IdSpace>,
    prefix: u128,
    next: u64,
    end: u64,
}

impl IdSource {
    pub(crate) fn new(space: Arc<IdSpace>) -> Self {
        Self { space, prefix: 0, next: 0, end: 0 }
    }

    /// Moves the time part forward; it never goes back, whatever the wall clock does.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        let prefix = (u128::from(now.0) << 32 | u128::from(self.space.salt)) << COUNT_BITS;
        self.prefix = self.prefix.max(prefix);
    }

    #[inline]
    pub(crate) fn draw(&mut self) -> EventId {
        self.draw_many(1).0
    }

    /// Draws consecutive ids: the first, and how many, at most `most` and at least one.
    #[inline]
    pub(crate) fn draw_many(&mut self, most: u64) -> (EventId, u64) {
        if self.next == self.end {
            self.next = self.space.next.fetch_add(BLOCK, Relaxed);
            self.end = self.next + BLOCK;
        }
        let first = EventId(self.prefix | u128::from(self.next));
        let drawn = most.min(self.end - self.next);
        self.next += drawn;
        (first, drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_within_a_source_and_never_meet_between_sources() {
        let space = IdSpace::new();
        let mut sources = [IdSource::new(space.clone()), IdSource::new(space)];
        let mut seen = std::collections::HashSet::new();
        for source in &mut sources {
            let mut last = EventId(0);
            for step in 0..5_000u64 {
                source.advance(Timestamp(1_000 + step % 7));
                let id = source.draw();
                assert!(id > last, "{id} after {last}");
                assert!(seen.insert(id));
                last = id;
            }
        }
    }

    #[test]
    fn an_id_reads_back_from_its_text_and_knows_its_time() {
        let mut source = IdSource::new(IdSpace::new());
        source.advance(Timestamp(1_700_000_000_000));
        let id = source.draw();
        assert_eq!(id.to_string().parse::<EventId>().expect("a ULID"), id);
        assert_eq!(id.timestamp().as_millis(), 1_700_000_000_000);
        assert!("not an id".parse::<EventId>().is_err());
    }
}
