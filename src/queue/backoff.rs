//! How long to wait before trying again.

use std::time::Duration;

/// Exponential back-off with jitter: the wait doubles from `first` up to `most`, and each wait is
/// drawn from its upper half, so that what failed together does not come back together
/// (M. Brooker, "Exponential Backoff And Jitter").
///
/// ```
/// use cueline::prelude::*;
/// let patient = Backoff::new(millis(50), secs(30));
/// assert!(Backoff::none() != patient);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
}

impl Default for Backoff {
    /// From 100 ms to 30 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(30))
    }
}

impl Backoff {
    /// Doubles from `first` to `most`.
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most }
    }

    /// Does not wait at all.
    pub const fn none() -> Self {
        Self::new(Duration::ZERO, Duration::ZERO)
    }

    /// The wait after failure number `failures` (from 1); `jitter` is any number from 0 to 1.
    pub(crate) fn wait(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.most);
        full.div_f64(2.0).saturating_add(full.mul_f64(jitter.clamp(0.0, 1.0) / 2.0))
    }
}

/// How often, and how patiently, a failed event is delivered again before it is parked.
///
/// ```
/// use cueline::prelude::*;
/// let retry = Retry::attempts(3).backoff(Backoff::new(millis(10), secs(1)));
/// assert_ne!(retry, Retry::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    pub(crate) attempts: u32,
    pub(crate) backoff: Backoff,
}

impl Default for Retry {
    /// Five deliveries, waiting from 100 ms to 30 s.
    fn default() -> Self {
        Self { attempts: 5, backoff: Backoff::default() }
    }
}

impl Retry {
    /// At most that many deliveries in all; 1 (or 0) means: park at the first failure. After a
    /// panic or a timeout an event is delivered once more in any case.
    pub const fn attempts(attempts: u32) -> Self {
        let most = Duration::from_secs(30);
        Self { attempts, backoff: Backoff::new(Duration::from_millis(100), most) }
    }

    /// Waits like this between deliveries.
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_wait_lies_in_the_upper_half_of_its_step_and_below_the_most(
            first in 0u64..10_000, most in 0u64..100_000, failures in 0u32..200, jitter in 0.0f64..1.0
        ) {
            let backoff = Backoff::new(Duration::from_millis(first), Duration::from_millis(most));
            let wait = backoff.wait(failures, jitter);
            let step = first.saturating_mul(1 << failures.saturating_sub(1).min(31)).min(most);
            prop_assert!(wait <= Duration::from_millis(step) + Duration::from_nanos(1));
            prop_assert!(wait + Duration::from_nanos(1) >= Duration::from_millis(step) / 2);
        }
    }
}
