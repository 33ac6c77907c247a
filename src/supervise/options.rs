//! The words of supervision, after Erlang/OTP's `supervisor(3)`: how children are restarted and
//! stopped, and what the end of one means for the others. Pure.

use std::fmt;
use std::time::Duration;

/// Whom a supervisor restarts when a child fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// The child that failed.
    #[default]
    OneForOne,
    /// All children: the others are stopped in reverse order, then all start in order.
    OneForAll,
    /// The child that failed and those that were started after it.
    RestForOne,
}

/// How many restarts a supervisor puts up with before it gives up: stops its children, ends, and
/// leaves the matter to its own supervisor; the last one stops the runtime.
///
/// ```
/// use cueline::prelude::*;
/// let strict = Supervisor::new("ledger").intensity(Intensity::within(1, secs(5)));
/// let never_gives_up = Supervisor::new("feeds").intensity(Intensity::Unlimited);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Intensity {
    /// Never gives up: back-off alone keeps failing children in check.
    #[default]
    Unlimited,
    /// Gives up when there would be more; made by [`Intensity::within`].
    #[non_exhaustive]
    Within {
        /// So many restarts
        restarts: u32,
        /// in so long a time.
        period: Duration,
    },
}

impl Intensity {
    /// At most that many restarts within any `period`; one more, and the supervisor gives up. With
    /// none at all, the first failure is one too many.
    ///
    /// # Panics
    ///
    /// With a period of zero, in which no restart could ever be counted; say
    /// [`Intensity::Unlimited`] instead. In a `const`, that is an error of the compiler:
    ///
    /// ```compile_fail
    /// # use cueline::Intensity;
    /// const NEVER: Intensity = Intensity::within(1, std::time::Duration::ZERO);
    /// # let _ = NEVER;
    /// ```
    pub const fn within(restarts: u32, period: Duration) -> Self {
        assert!(!period.is_zero(), "a period of zero counts nothing: use `Intensity::Unlimited`");
        Self::Within { restarts, period }
    }
}

/// Whether a child starts again after it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// Only after a failure; one that ended in order stays down and can be restarted by hand.
    Transient,
    /// Never, and its supervisor forgets it when it has ended.
    Temporary,
}

/// How a child is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopRule {
    /// In order, and killed if that takes longer.
    Within(Duration),
    /// In order, however long it takes.
    Patient,
    /// Killed at once.
    Kill,
}

/// When a supervisor stops by itself because of *significant* children that have ended of their own
/// accord (OTP's EEP 56).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AutoShutdown {
    /// Never; no child may be significant.
    #[default]
    Never,
    /// With the first of them.
    AnySignificant,
    /// With the last of them.
    AllSignificant,
}

/// Which failures of its handlers a processor is charged with as a child, beside the event that
/// failed. A failed start is charged always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Count {
    /// Those with no event handled successfully since it was last built, and each event once: a poison
    /// event, delivered twice among good ones, is the event's fault.
    #[default]
    Consecutive,
    /// Every one, as in OTP.
    Every,
}

/// What a supervisor does about a child that failed; what a decider answers
/// ([`on_exit`](crate::Supervisor::on_exit)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnExit {
    /// As the strategy says.
    #[default]
    Restart,
    /// The child stays down.
    Stop,
    /// Gives up, as if there had been too many restarts.
    Escalate,
}

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It was through with its work.
    Normal,
    /// It was asked to stop, or its supervisor ended.
    Shutdown,
    /// As [`Reason::Shutdown`], with a word why.
    ShutdownFor(String),
    /// It failed; the text says how.
    Failed(String),
    /// It did not stop in time, or was not asked to.
    Killed,
}

impl Reason {
    /// Whether a transient child stays down after it.
    pub fn is_normal(&self) -> bool {
        matches!(self, Self::Normal | Self::Shutdown | Self::ShutdownFor(_))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::ShutdownFor(why) => write!(f, "shutdown: {why}"),
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::Killed => f.write_str("killed"),
        }
    }
}
