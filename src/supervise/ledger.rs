//! What a supervisor keeps a record of: how often it restarted somebody, and how often each child
//! failed in a row. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use super::options::Intensity;
use crate::clock::Moment;
use crate::queue::backoff::Backoff;

/// Failures are forgotten after this long without one, or after twice the last wait.
const QUIET: Duration = Duration::from_secs(10);

/// The restarts of one supervisor within its period.
#[derive(Debug, Default)]
pub(crate) struct Window(VecDeque<Moment>);

impl Window {
    /// One more restart. Whether that is one too many.
    pub(crate) fn exceeds(&mut self, intensity: Intensity, now: Moment) -> bool {
        let Intensity::Within { restarts, period } = intensity else { return false };
        while self.0.front().is_some_and(|first| now.since(*first) > period) {
            self.0.pop_front();
        }
        self.0.push_back(now);
        self.0.len() > restarts as usize
    }
}

/// The failures of one child.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Failures {
    in_a_row: u32,
    forget_at: Moment,
}

impl Failures {
    /// One more: how long to wait before it starts again. The first restart is at once, each further
    /// one without a quiet time in between waits longer. `jitter` is from 0 to 1.
    pub(crate) fn one_more(&mut self, backoff: Backoff, now: Moment, jitter: f64) -> Duration {
        if now >= self.forget_at {
            self.in_a_row = 0;
        }
        let wait = match self.in_a_row {
            0 => Duration::ZERO,
            failures => backoff.wait(failures, jitter),
        };
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.forget_at = now.after(wait.saturating_mul(2).max(QUIET));
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Moment {
        Moment::default().after(Duration::from_secs(seconds))
    }

    #[test]
    fn the_first_restart_is_at_once_and_the_next_ones_wait_longer() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let mut failures = Failures::default();
        let waits: Vec<u64> =
            (0..5).map(|second| failures.one_more(backoff, at(second), 1.0).as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8]);
    }

    #[test]
    fn a_quiet_time_clears_the_record() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let mut failures = Failures::default();
        for _ in 0..10 {
            failures.one_more(backoff, at(0), 1.0);
        }
        let wait = failures.one_more(backoff, at(100), 1.0);
        assert!(wait > Duration::ZERO, "60 s waited, 120 s remembered");
        assert_eq!(failures.one_more(backoff, at(100 + 130), 1.0), Duration::ZERO);
    }

    #[test]
    fn thirty_days_of_failures_neither_overflow_nor_pile_up() {
        let (mut failures, mut window) = (Failures::default(), Window::default());
        let intensity = Intensity::within(2, Duration::from_secs(25));
        for second in 0..30 * 24 * 360 {
            let wait = failures.one_more(Backoff::default(), at(second * 10), 1.0);
            assert!(wait <= Duration::from_secs(31));
            assert!(!window.exceeds(Intensity::Unlimited, at(second * 10)));
            assert_eq!(window.exceeds(intensity, at(second * 10)), second >= 2);
            assert!(window.0.len() <= 3);
        }
    }

    proptest! {
        /// Against the definition: so many in some stretch of the period's length that ends now.
        #[test]
        fn a_window_forgets_what_is_older_than_its_period(
            steps in prop::collection::vec(0u64..4_000, 1..60),
            restarts in 0u32..5,
            period in 1u64..5_000,
        ) {
            let intensity = Intensity::within(restarts, Duration::from_millis(period));
            let (mut window, mut all, mut now) = (Window::default(), Vec::new(), 0);
            for step in steps {
                now += step;
                all.push(now);
                let recent = all.iter().filter(|at| now - **at <= period).count();
                let moment = Moment::default().after(Duration::from_millis(now));
                prop_assert_eq!(window.exceeds(intensity, moment), recent > restarts as usize);
            }
        }
    }
}
