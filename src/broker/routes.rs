//! Who wants which topic: lanes for the broker, subscriptions for a lane. Pure.

use std::sync::Arc;

use crate::message::envelope::TopicId;
use crate::queue::Subscription;
use crate::queue::batch::Batch;

/// For each topic the lanes that have a subscription to it, with how many.
#[derive(Debug, Default)]
pub(crate) struct LaneRoutes {
    topics: Vec<Vec<(usize, usize)>>,
}

impl LaneRoutes {
    pub(crate) fn add(&mut self, topics: &[TopicId], lane: usize) {
        for topic in topics {
            let index = usize::from(topic.0);
            if self.topics.len() <= index {
                self.topics.resize(index + 1, Vec::new());
            }
            match self.topics[index].iter_mut().find(|(of, _)| *of == lane) {
                Some((_, count)) => *count += 1,
                None => self.topics[index].push((lane, 1)),
            }
        }
    }

    pub(crate) fn remove(&mut self, topics: &[TopicId], lane: usize) {
        for topic in topics {
            if let Some(lanes) = self.topics.get_mut(usize::from(topic.0)) {
                for (of, count) in lanes.iter_mut() {
                    *count -= usize::from(*of == lane);
                }
                lanes.retain(|(_, count)| *count > 0);
            }
        }
    }

    pub(crate) fn is_wanted(&self, topic: TopicId) -> bool {
        self.topics.get(usize::from(topic.0)).is_some_and(|lanes| !lanes.is_empty())
    }

    /// The lanes of any of these topics, each once.
    pub(crate) fn lanes(&self, topics: impl Iterator<Item = TopicId>, into: &mut Vec<usize>) {
        into.clear();
        for topic in topics {
            for (lane, _) in self.topics.get(usize::from(topic.0)).into_iter().flatten() {
                if !into.contains(lane) {
                    into.push(*lane);
                }
            }
        }
    }
}

/// For each topic the subscriptions of one thread.
#[derive(Default)]
pub(crate) struct LocalRoutes {
    topics: Vec<Vec<Arc<Subscription>>>,
}

impl LocalRoutes {
    pub(crate) fn add(&mut self, subscription: Arc<Subscription>) {
        for topic in subscription.wanted.topics() {
            let index = usize::from(topic.0);
            if self.topics.len() <= index {
                self.topics.resize(index + 1, Vec::new());
            }
            self.topics[index].push(subscription.clone());
        }
    }

    pub(crate) fn remove(&mut self, subscription: &Arc<Subscription>) {
        for subscriptions in &mut self.topics {
            subscriptions.retain(|of| !Arc::ptr_eq(of, subscription));
        }
    }

    /// Gives the batch to each subscription that wants any of it, once. What they push out goes to
    /// `gone`.
    pub(crate) fn deliver(&self, batch: &Arc<Batch>, gone: &mut Vec<Arc<Batch>>) {
        let mut before: Vec<TopicId> = Vec::new();
        for topic in batch.events.topics() {
            for subscription in self.topics.get(usize::from(topic.0)).into_iter().flatten() {
                let has_it = before.iter().any(|of| subscription.wanted.which(*of).is_some());
                if !has_it {
                    subscription.push(batch.clone(), gone);
                }
            }
            before.push(topic);
        }
    }
}
