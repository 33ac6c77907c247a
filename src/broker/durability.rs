//! Which channels are kept, how well, and how much of them may wait: by their names before anybody has
//! published, by their topics after. Pure.

use std::collections::HashMap;
use std::time::Duration;

use super::topics::Topics;
use crate::message::envelope::TopicId;
use crate::queue::batch::Load;
use crate::store::channel::{AtLimit, Channel, Durability};

/// So many never wait; and sums of it do not overflow.
const NO_LIMIT: u64 = u64::MAX / 4;

/// What was said of channels, and is not what is usual.
#[derive(Debug, Default)]
pub(crate) struct Durabilities {
    by_name: HashMap<&'static str, Durability>,
    by_topic: HashMap<TopicId, Durability>,
    limits: HashMap<TopicId, Load>,
    /// Those that refuse at their limit.
    refuse: Vec<&'static str>,
}

impl Durabilities {
    pub(crate) fn new(channels: &HashMap<&'static str, Channel>, topics: &mut Topics) -> Self {
        let unusual = channels.iter().filter(|(_, of)| of.durability != Durability::Synced);
        let by_name: HashMap<_, _> = unusual.map(|(name, of)| (*name, of.durability)).collect();
        let by_topic = by_name.iter().map(|(name, of)| (topics.reserve(name), *of)).collect();
        let mut limits = HashMap::new();
        for (name, of) in channels {
            let limit = Load::new(of.limit.unwrap_or(NO_LIMIT), of.limit_bytes.unwrap_or(NO_LIMIT));
            if limit != Load::new(NO_LIMIT, NO_LIMIT) {
                limits.insert(topics.reserve(name), limit);
            }
        }
        let refuse = channels.iter().filter(|(_, of)| of.at_limit == AtLimit::Refuse);
        let refuse = refuse.map(|(name, _)| *name).collect();
        Self { by_name, by_topic, limits, refuse }
    }

    /// How much may wait for a subscription before publishers of that topic wait.
    pub(crate) fn limit(&self, topic: TopicId) -> Option<Load> {
        if self.limits.is_empty() { None } else { self.limits.get(&topic).copied() }
    }

    /// Whoever publishes on it does not wait.
    pub(crate) fn refuses(&self, name: &str) -> bool {
        self.refuse.contains(&name)
    }

    fn of(&self, topic: TopicId) -> Durability {
        self.by_topic.get(&topic).copied().unwrap_or_default()
    }

    /// Whether its events go into the log at all.
    #[inline]
    pub(crate) fn keeps(&self, name: &str) -> bool {
        self.by_name.is_empty() || self.by_name.get(name) != Some(&Durability::NotKept)
    }

    /// Whether its events go into the log at all.
    #[inline]
    pub(crate) fn keeps_topic(&self, topic: TopicId) -> bool {
        self.by_topic.is_empty() || self.of(topic) != Durability::NotKept
    }

    /// Whether its events count as kept when they are written, or need not even be that.
    #[inline]
    pub(crate) fn is_buffered(&self, topic: TopicId) -> bool {
        !self.by_topic.is_empty() && self.of(topic) != Durability::Synced
    }

    /// Within which time they are to be on disk.
    pub(crate) fn within(&self, topic: TopicId) -> Duration {
        match self.of(topic) {
            Durability::Buffered { every } => every,
            Durability::Synced | Durability::NotKept => Duration::ZERO,
        }
    }
}
