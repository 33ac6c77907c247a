//! When a failed child starts again. Pure.
//!
//! One for one: a child's failure is its own affair. The first restart is at once, each further
//! one without a success in between waits longer, and a quiet time clears the record.

use std::time::Duration;

use crate::clock::Moment;
use crate::queue::backoff::Backoff;

/// Failures are forgotten after this long without one, or after twice the last wait.
const QUIET: Duration = Duration::from_secs(10);

/// The record of one child.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Restarts {
    backoff: Backoff,
    failures: u32,
    forget_at: Moment,
}

impl Restarts {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { backoff, failures: 0, forget_at: Moment::default() }
    }

    /// The child failed and nothing succeeded since it was built: how long to wait before it
    /// starts again. `jitter` is from 0 to 1.
    pub(crate) fn failed(&mut self, now: Moment, jitter: f64) -> Duration {
        if now >= self.forget_at {
            self.failures = 0;
        }
        let wait = match self.failures {
            0 => Duration::ZERO,
            failures => self.backoff.wait(failures, jitter),
        };
        self.failures = self.failures.saturating_add(1);
        self.forget_at = now.after(wait.saturating_mul(2).max(QUIET));
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::default().after(Duration::from_secs(seconds))
    }

    #[test]
    fn the_first_restart_is_at_once_and_the_next_ones_wait_longer() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let mut restarts = Restarts::new(backoff);
        let waits: Vec<u64> =
            (0..5).map(|second| restarts.failed(at(second), 1.0).as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8]);
    }

    #[test]
    fn a_quiet_time_clears_the_record() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let mut restarts = Restarts::new(backoff);
        for _ in 0..10 {
            restarts.failed(at(0), 1.0);
        }
        assert!(restarts.failed(at(100), 1.0) > Duration::ZERO, "60 s waited, 120 s remembered");
        assert_eq!(restarts.failed(at(100 + 130), 1.0), Duration::ZERO);
    }

    #[test]
    fn thirty_days_of_failures_do_not_overflow() {
        let mut restarts = Restarts::new(Backoff::default());
        for second in 0..30 * 24 * 360 {
            assert!(restarts.failed(at(second * 10), 1.0) <= Duration::from_secs(31));
        }
    }
}
