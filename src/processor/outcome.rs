//! What becomes of an event, given how its handler ended. Pure.

use std::time::Duration;

use crate::error::{Error, Failure};
use crate::queue::backoff::Retry;
use crate::signal::{Cause, RestartCause};

/// How a handler ended that did not succeed.
#[derive(Debug)]
pub(crate) enum Ended {
    Failed(Failure),
    Panicked(String),
    TimedOut(Duration),
    /// It held its thread for longer than that, and the thread was given up.
    Blocked(Duration),
    /// The process died while an earlier delivery was at it, so many times.
    Died(u32),
    /// Nobody acknowledged it while its lease lasted, so long.
    LeaseOver(Duration),
    /// It succeeded, but what it published found no room.
    Overflowed(&'static str),
    /// It succeeded, but the log takes in nothing now.
    LogClosed(Error),
    /// It published beyond the hop limit.
    TooManyHops(u16),
    /// Too many of its publications wait for their time, at most so many.
    TooManyDelayed(usize),
    /// It published a message that cannot be published.
    Misused(Failure),
    /// The kept bytes are no event of its type.
    Undecodable(Failure),
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    RetryAfter(Duration),
    Park,
}

impl Ended {
    /// Whether the instance may be broken and is rebuilt.
    pub(crate) fn breaks_instance(&self) -> Option<RestartCause> {
        match self {
            Self::Panicked(_) => Some(RestartCause::Panic),
            Self::TimedOut(_) => Some(RestartCause::Timeout),
            _ => None,
        }
    }

    /// The failure as it is reported, and its cause.
    pub(crate) fn into_failure(self) -> (Cause, Failure) {
        match self {
            Self::Failed(failure) | Self::Misused(failure) if failure.is_permanent() => {
                (Cause::Permanent, failure)
            }
            Self::Failed(failure) | Self::Misused(failure) => (Cause::Failed, failure),
            Self::Panicked(text) => {
                (Cause::Panicked, Failure::transient(format!("the handler panicked: {text}")))
            }
            Self::TimedOut(limit) => (
                Cause::TimedOut,
                Failure::transient(format!(
                    "the handler did not finish within {limit:?}; raise `timeout`, or make it \
                     quicker"
                )),
            ),
            Self::Blocked(limit) => (
                Cause::TimedOut,
                Failure::transient(format!(
                    "the handler held its thread for more than {limit:?} without awaiting anything, \
                     and the thread was given up: declare the processor `blocking()` and raise \
                     `timeout`, or let the handler await"
                )),
            ),
            Self::Died(_) => (
                Cause::Crashed,
                Failure::transient(
                    "the process died while the handler was at it: look for an abort, a stack overflow \
                     or a panic within a panic",
                ),
            ),
            Self::LeaseOver(lease) => (
                Cause::LeaseOver,
                Failure::transient(format!(
                    "it was not acknowledged within its lease of {lease:?}, or the acknowledgement was \
                     dropped: raise the lease, or `extend` it"
                )),
            ),
            Self::Overflowed(topic) => (
                Cause::Overflow,
                Failure::transient(format!(
                    "what it published on `{topic}` found no room, not even in the reserve of the \
                     fullest subscription: raise its `bound` or `reserve`, or publish less"
                )),
            ),
            Self::LogClosed(why) => (Cause::NoSpace, Failure::transient(why.to_string())),
            Self::TooManyDelayed(most) => (
                Cause::Overflow,
                Failure::transient(format!(
                    "too many of its publications wait for their time already: raise `held` (at \
                     {most}) or `bound_bytes`, or publish less ahead"
                )),
            ),
            Self::TooManyHops(limit) => (
                Cause::HopLimit,
                Failure::permanent(format!(
                    "it published an event more than {limit} hops from the initiating event: look \
                     for a routing loop in its path, or raise `hop_limit`"
                )),
            ),
            Self::Undecodable(failure) => (Cause::Undecodable, failure),
        }
    }
}

/// After that an event is delivered again whose publications found no room on disk.
const UNTIL_THERE_IS_SPACE: Duration = Duration::from_secs(1);

/// Decides about an event that failed for the `failures`-th time, and has broken `broke` instances.
/// `jitter` is from 0 to 1.
pub(crate) fn decide(
    retry: &Retry,
    cause: Cause,
    failures: u32,
    broke: u32,
    jitter: f64,
) -> Decision {
    let again = match cause {
        Cause::Permanent | Cause::HopLimit | Cause::Undecodable | Cause::Orphaned => false,
        // Delivered once more, by a fresh instance, then parked: it may be the event's fault.
        Cause::Panicked | Cause::TimedOut | Cause::Crashed => broke < 2,
        Cause::Failed | Cause::Overflow | Cause::LeaseOver => failures < retry.attempts,
        Cause::NoSpace => true,
    };
    if !again {
        return Decision::Park;
    }
    match cause {
        Cause::Panicked | Cause::TimedOut | Cause::Crashed => Decision::RetryAfter(Duration::ZERO),
        Cause::NoSpace => Decision::RetryAfter(UNTIL_THERE_IS_SPACE),
        _ => Decision::RetryAfter(retry.backoff.wait(failures, jitter)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::backoff::Backoff;

    #[test]
    fn a_transient_failure_is_retried_until_its_attempts_are_used_up() {
        let retry = Retry::attempts(3).backoff(Backoff::none());
        let decide = |failures| decide(&retry, Cause::Failed, failures, 0, 0.5);
        assert_eq!(decide(1), Decision::RetryAfter(Duration::ZERO));
        assert_eq!(decide(2), Decision::RetryAfter(Duration::ZERO));
        assert_eq!(decide(3), Decision::Park);
    }

    #[test]
    fn a_panic_or_a_timeout_gets_one_more_delivery_whatever_the_policy_says() {
        for retry in [Retry::attempts(1), Retry::attempts(100)] {
            for cause in [Cause::Panicked, Cause::TimedOut, Cause::Crashed] {
                for failures in [1, 7] {
                    let once_more = decide(&retry, cause, failures, 1, 0.0);
                    assert_eq!(once_more, Decision::RetryAfter(Duration::ZERO));
                    assert_eq!(decide(&retry, cause, failures + 1, 2, 0.0), Decision::Park);
                }
            }
        }
    }

    #[test]
    fn what_cannot_get_better_is_parked_at_once() {
        let retry = Retry::default();
        for cause in [Cause::Permanent, Cause::HopLimit, Cause::Undecodable] {
            assert_eq!(decide(&retry, cause, 1, 0, 0.0), Decision::Park);
        }
    }
}
