//! What an application may say about a channel of the log.

use std::time::Duration;

/// How long the events of a channel stay in the log when every subscription has consumed them: for
/// subscriptions that come later and [begin](crate::ProcessorSpec::start_from) in the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retention {
    /// Not at all.
    #[default]
    None,
    /// So long, by the time at which they were written. A clock that jumps makes nothing expire sooner.
    Age(Duration),
    /// As long as there are not so many bytes of newer ones.
    Size(u64),
}

/// When an event counts as kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When it is on disk: it survives a power failure.
    #[default]
    Synced,
    /// When the operating system has it: it survives the end of the process, however that comes. A power
    /// failure, or a crash of the operating system, may take what was published within the last `every`.
    /// Several times quicker where few events are published at a time.
    Buffered {
        /// How often it is put on disk.
        every: Duration,
    },
    /// At once: it is not kept. An event is lost when the process ends before it is handled, and also to
    /// a subscription that is so far behind that it reads from the log (counted as `missed`).
    NotKept,
}

/// What happens to a publication when its channel's limit is reached; see
/// [`Channel::limit`](crate::Channel::limit) and [`Channel::limit_bytes`](crate::Channel::limit_bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AtLimit {
    /// It waits until there is room.
    #[default]
    Wait,
    /// It is refused at once ([`Refused::Full`](crate::Refused::Full)), for whoever has something better
    /// to do.
    Refuse,
}

/// How long a channel remembers the keys that its publishers gave
/// ([`Publish::dedup_key`](crate::Publish::dedup_key)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) within: Duration,
    pub(crate) most: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { within: Duration::from_secs(600), most: 100_000 }
    }
}

/// What is said of a channel; given to [`RuntimeBuilder::channel`](crate::RuntimeBuilder::channel). It
/// matters with a log on disk.
///
/// ```
/// # use cueline::prelude::*;
/// # use cueline::{Channel, Retention};
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Departed;
/// # cueline::event!(Departed, "flight.departed");
/// let week = Retention::Age(hours(7 * 24));
/// let builder = Runtime::builder("airline")
///     .store(Store::directory("./data"))
///     .channel::<Departed>(Channel::default().retain(week));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct Channel {
    pub(crate) retention: Retention,
    pub(crate) durability: Durability,
    pub(crate) dedup: Window,
    pub(crate) limit: Option<u64>,
    pub(crate) limit_bytes: Option<u64>,
    pub(crate) at_limit: AtLimit,
}

impl Channel {
    /// When its events count as kept. Default: when they are on disk.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How long the keys of its publications are remembered
    /// ([`Publish::dedup_key`](crate::Publish::dedup_key)), by the time of the log, and how many at most.
    /// Default: ten minutes and 100,000. In memory as long as the process lives; on disk over restarts.
    pub fn dedup(mut self, within: Duration, at_most: usize) -> Self {
        self.dedup = Window { within, most: at_most };
        self
    }

    /// How many events may wait for the slowest subscription that reads the channel, those of its other
    /// channels included, before publishers of this one wait. A handler never does: it may publish as
    /// many beyond that, and then its outcome is refused and tried again later. One that is stopped keeps
    /// nobody waiting; and after a restart everybody waits for what was left to be worked off so far.
    ///
    /// Default: as many as the subscriptions have room for in memory ([`bound`]); on disk none, whoever is
    /// slow reads from there, and only the [limit of the log](crate::Directory::limit) counts.
    ///
    /// [`bound`]: crate::ProcessorSpec::bound
    pub fn limit(mut self, events: usize) -> Self {
        self.limit = Some(events as u64);
        self
    }

    /// As [`limit`](Self::limit), in bytes, as the log has them; without a log, or of a channel that is
    /// [not kept](Durability::NotKept), by what its type [weighs](crate::Message::weight). What was left
    /// before a restart is reckoned by the mean size of what is there. Of both limits, the one that is
    /// reached first counts.
    pub fn limit_bytes(mut self, bytes: u64) -> Self {
        self.limit_bytes = Some(bytes);
        self
    }

    /// What happens to what is published at a limit. Default: it waits.
    pub fn at_limit(mut self, at_limit: AtLimit) -> Self {
        self.at_limit = at_limit;
        self
    }

    /// How long its events stay when everybody has consumed them. A little longer, in fact: whole
    /// segments are given back. Default: not at all.
    pub fn retain(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }
}
