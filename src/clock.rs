//! Time, read in one place: a monotonic clock for deadlines, the wall clock for what people see,
//! and a coarse tick that costs one relaxed load.

use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Nanoseconds by the monotonic clock, since long before the runtime started: what was due before it can be
/// said, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Moment(pub(crate) u64);

impl Moment {
    pub(crate) fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
    }

    pub(crate) fn before(self, past: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(past.as_nanos()).unwrap_or(u64::MAX)))
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A point of wall-clock time in milliseconds since 1970 (UTC).
///
/// ```
/// use cueline::Timestamp;
/// assert!(Timestamp::now().as_millis() > 1_700_000_000_000);
/// ```
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Timestamp(pub(crate) u64);

impl Timestamp {
    /// So many milliseconds after 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Now, by the wall clock; a clock set before 1970 reads as 1970.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Milliseconds since 1970 (UTC).
    pub fn as_millis(self) -> u64 {
        self.0
    }
}

/// What time it is, as far as that is to be believed: a clock that jumps makes nothing expire before its
/// time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trusted {
    /// Milliseconds since 1970, when it begins.
    begun_at: u64,
    begun: std::time::Instant,
}

/// A clock may be set right by so much.
const SMALL_JUMP: u64 = 3_600_000;

impl Trusted {
    pub(crate) fn new(begun_at: u64) -> Self {
        Self { begun_at, begun: std::time::Instant::now() }
    }

    /// In milliseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        let passed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.at(Timestamp::now().as_millis(), passed)
    }

    /// When the wall clock says that, so many milliseconds after it began.
    fn at(&self, wall: u64, passed: u64) -> u64 {
        let most = self.begun_at.saturating_add(passed).saturating_add(SMALL_JUMP);
        wall.clamp(self.begun_at, most)
    }
}

/// How long one tick lasts while there is work.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// Ticks without any work after which the ticker sleeps, so that an idle runtime uses no CPU.
const IDLE_TICKS: u32 = 8;

/// How long before the runtime started its clock began: a hundred years.
const BEFORE: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The runtime's clock, shared by its threads.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    tick: AtomicU64,
    asleep: AtomicBool,
    worked: AtomicBool,
    wake: Notify,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            tick: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
            worked: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment::default().after(BEFORE + self.origin.elapsed())
    }

    pub(crate) fn instant(&self, moment: Moment) -> Instant {
        self.origin + Duration::from_nanos(moment.0).saturating_sub(BEFORE)
    }

    /// The coarse time: moves every millisecond while somebody calls [`Clock::working`].
    #[inline]
    pub(crate) fn tick(&self) -> u64 {
        self.tick.load(Relaxed)
    }

    /// Says that there is work, so that the tick moves.
    pub(crate) fn working(&self) {
        if !self.worked.load(Relaxed) {
            self.worked.store(true, SeqCst);
            if self.asleep.swap(false, SeqCst) {
                self.wake.notify_one();
            }
        }
    }

    /// The ticker saw no work and wants to sleep. False if there has been some since it looked:
    /// whoever did it saw the ticker awake, and will not wake it.
    fn may_sleep(&self) -> bool {
        self.asleep.store(true, SeqCst);
        !(self.worked.load(SeqCst) && self.asleep.swap(false, SeqCst))
    }

    /// Moves the tick while there is work, and calls `each` every time; runs on the control thread
    /// for ever.
    pub(crate) async fn run(&self, each: impl Fn()) {
        let mut idle = 0;
        loop {
            if idle >= IDLE_TICKS && self.may_sleep() {
                self.wake.notified().await;
            }
            tokio::time::sleep(TICK).await;
            self.tick.fetch_add(1, Relaxed);
            each();
            idle = if self.worked.swap(false, SeqCst) { 0 } else { idle + 1 };
        }
    }
}

/// That much later; a limit that no clock can say is as good as none.
pub(crate) fn deadline(wait: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(wait).unwrap_or_else(|| now + FAR)
}

/// A hundred years.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// `seconds`, as a duration.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// `milliseconds`, as a duration.
pub const fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// `hours`, as a duration.
pub const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_done_while_the_ticker_falls_asleep_keeps_it_awake() {
        let clock = Clock::new();
        clock.asleep.store(false, SeqCst); // it ticks, and has just looked: no work
        clock.working();
        assert!(!clock.may_sleep(), "nobody would ever wake it");
        clock.worked.store(false, SeqCst); // it looks again: none
        assert!(clock.may_sleep());
        clock.working();
        assert!(!clock.asleep.load(SeqCst), "whoever works wakes it");
    }
}
