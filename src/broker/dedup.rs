//! Whether a publication is one that has come already: by a key that its publisher gives it, for as long
//! and as many as its channel's window says. Pure: whoever asks says what time it is.
//!
//! The idea is that of Amazon SQS's deduplication ids and NATS' `Nats-Msg-Id`; unlike there, another
//! event under a known key is an error, not dropped unseen.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::journal::Due;
use super::topics::Topics;
use crate::message::envelope::TopicId;
use crate::queue::once::{KeyNote, Keyed};
use crate::store::channel::{Channel, Window};

/// What was published under a key first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct First {
    pub(crate) keyed: Keyed,
    /// What it waits for, or waited; none if it was there when the runtime started.
    pub(crate) due: Option<Due>,
}

/// A publication's key, and what says whether it is the same one again.
#[derive(Debug, Clone)]
pub(crate) struct Once {
    pub(crate) key: Arc<str>,
    pub(crate) digest: u128,
}

impl Once {
    /// By the bytes of all that is published under it.
    pub(crate) fn of<'a>(key: Arc<str>, bytes: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut digest = Xxh3::new();
        bytes.into_iter().for_each(|bytes| digest.update(bytes));
        Self { key, digest: digest.digest128() }
    }
}

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Fresh,
    /// The same was published under it.
    Again(First),
    /// Something else was.
    Other(First),
}

#[derive(Debug, Default)]
struct Keys {
    known: HashMap<Arc<str>, First>,
    /// By age; every known key is here once.
    order: VecDeque<Arc<str>>,
}

/// The keys of all channels.
#[derive(Debug, Default)]
pub(crate) struct Dedup {
    channels: HashMap<TopicId, Keys>,
    windows: HashMap<TopicId, Window>,
}

impl Dedup {
    pub(crate) fn new(channels: &HashMap<&'static str, Channel>, topics: &mut Topics) -> Self {
        let unusual = channels.iter().filter(|(_, of)| of.dedup != Window::default());
        let windows = unusual.map(|(name, of)| (topics.reserve(name), of.dedup)).collect();
        Self { channels: HashMap::new(), windows }
    }

    fn window(&self, topic: TopicId) -> Window {
        self.windows.get(&topic).copied().unwrap_or_default()
    }

    /// What is known of a key, when it is so late. What has left the window goes to `forgotten`.
    pub(crate) fn look(
        &mut self,
        topic: TopicId,
        once: &Once,
        now: u64,
        forgotten: &mut Vec<KeyNote>,
    ) -> Known {
        self.expire(topic, now, forgotten);
        let known = self.channels.get(&topic).and_then(|keys| keys.known.get(&once.key));
        match known {
            None => Known::Fresh,
            Some(first) if first.keyed.digest == once.digest => Known::Again(*first),
            Some(first) => Known::Other(*first),
        }
    }

    /// It is published under that key. `now` is a time that no clock that jumps can make too late.
    pub(crate) fn note(
        &mut self,
        topic: TopicId,
        key: Arc<str>,
        first: First,
        now: u64,
        forgotten: &mut Vec<KeyNote>,
    ) {
        let keys = self.channels.entry(topic).or_default();
        if keys.known.insert(key.clone(), first).is_none() {
            keys.order.push_back(key);
        }
        self.expire(topic, now, forgotten);
    }

    fn expire(&mut self, topic: TopicId, now: u64, forgotten: &mut Vec<KeyNote>) {
        let window = self.window(topic);
        let within = u64::try_from(window.within.as_millis()).unwrap_or(u64::MAX);
        let Some(keys) = self.channels.get_mut(&topic) else { return };
        while let Some(oldest) = keys.order.front() {
            let is_old = keys
                .known
                .get(oldest)
                .is_none_or(|first| now.saturating_sub(first.keyed.at) >= within);
            if !is_old && keys.order.len() <= window.most {
                return;
            }
            let Some(key) = keys.order.pop_front() else { return };
            keys.known.remove(&key);
            forgotten.push(KeyNote { topic, key, first: None });
        }
    }

    /// What a log says was published under keys, in any order.
    pub(crate) fn restore(&mut self, known: impl Iterator<Item = (TopicId, Arc<str>, First)>) {
        for (topic, key, first) in known {
            self.channels.entry(topic).or_default().known.insert(key, first);
        }
        for keys in self.channels.values_mut() {
            let mut order: Vec<_> = keys.known.iter().map(|(key, of)| (of.keyed.id, key)).collect();
            order.sort_unstable(); // ids grow with time
            keys.order = order.into_iter().map(|(_, key)| key.clone()).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::message::EventId;

    const TOPIC: TopicId = TopicId(3);

    fn with(within: u64, most: usize) -> Dedup {
        let window = Window { within: Duration::from_millis(within), most };
        Dedup { windows: HashMap::from([(TOPIC, window)]), ..Dedup::default() }
    }

    proptest! {
        /// Beside a model that keeps everything: a key is known exactly as long as it is young enough
        /// and not too many came after it, and whatever is forgotten is said once.
        #[test]
        fn a_key_is_known_as_long_as_its_window_says(
            steps in prop::collection::vec((0u64..8, 0u64..40, 0u128..2), 1..80),
            within in 1u64..100, most in 1usize..6,
        ) {
            let mut dedup = with(within, most);
            let mut model: Vec<(Arc<str>, u128, u64)> = Vec::new();
            let (mut now, mut forgotten, mut noted) = (0, Vec::new(), 0);
            for (number, (key, passes, digest)) in steps.into_iter().enumerate() {
                now += passes;
                model.retain(|(_, _, at)| now - at < within);
                let once = Once { key: key.to_string().into(), digest };
                let known = dedup.look(TOPIC, &once, now, &mut forgotten);
                let expected = model.iter().find(|(of, _, _)| *of == once.key);
                match expected {
                    None => prop_assert_eq!(known, Known::Fresh),
                    Some((_, same, _)) if *same == digest => {
                        prop_assert!(matches!(known, Known::Again(_)));
                    }
                    Some(_) => prop_assert!(matches!(known, Known::Other(_))),
                }
                if known == Known::Fresh {
                    let id = EventId(number as u128);
                    let first = First { keyed: Keyed { id, digest, at: now }, due: None };
                    dedup.note(TOPIC, once.key.clone(), first, now, &mut forgotten);
                    noted += 1;
                    model.push((once.key, digest, now));
                    if model.len() > most {
                        model.remove(0);
                    }
                }
            }
            prop_assert_eq!(noted - forgotten.len(), model.len());
        }
    }

    #[test]
    fn what_a_log_says_is_known_again_in_its_order() {
        let mut dedup = with(1_000, 2);
        let keyed = |id| Keyed { id: EventId(id), digest: id, at: id as u64 };
        let first = |id| First { keyed: keyed(id), due: None };
        let known = [("b", 2), ("a", 1)].map(|(key, id)| (TOPIC, Arc::from(key), first(id)));
        dedup.restore(known.into_iter());
        let mut forgotten = Vec::new();
        dedup.note(TOPIC, "c".into(), first(3), 3, &mut forgotten);
        let forgotten: Vec<_> = forgotten.iter().map(|note| &*note.key).collect();
        assert_eq!(forgotten, ["a"]);
    }
}
