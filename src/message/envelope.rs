//! What travels with an event: its ids, where it descends from, its time.

use super::id::{EventId, Seq};
use super::key::Key;
use crate::clock::Timestamp;

/// What the runtime knows about one event; a handler reads it with
/// [`Context::envelope`](crate::Context::envelope).
///
/// Correlation and causation ids as in Hohpe & Woolf, "Enterprise Integration Patterns": the first
/// names the whole conversation, the second the message that this one answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// The event's own id, the same through retries, parking and repair.
    pub id: EventId,
    /// The position in the order of all events.
    pub seq: Seq,
    /// The id of the initiating event: all that descends from it shares it.
    pub correlation: EventId,
    /// The event whose handler published this one; none for an initiating event.
    pub causation: Option<EventId>,
    /// The key, if the event has one.
    pub key: Option<Key>,
    /// When it was published (wall clock, as coarse as a batch).
    pub at: Timestamp,
    /// Which delivery this is, counted from 1.
    pub attempt: u32,
    /// How many handlers lie between the initiating event and this one.
    pub hops: u16,
}

/// A topic's number within one runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TopicId(pub(crate) u16);

/// The last eight topics an event descends through, packed: compared once a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Path {
    topics: u128,
    length: u8,
}

impl Path {
    const LENGTH: u8 = 8;

    pub(crate) fn then(self, topic: TopicId) -> Self {
        let topics = self.topics << u16::BITS | u128::from(topic.0);
        Self { topics, length: (self.length + 1).min(Self::LENGTH) }
    }

    /// Oldest first.
    pub(crate) fn topics(self) -> impl Iterator<Item = TopicId> {
        let place = move |back: u8| TopicId((self.topics >> (u32::from(back) * u16::BITS)) as u16);
        (0..self.length).rev().map(place)
    }
}

/// Where a publication comes from; what its events inherit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The cause, and the correlation id it hands on; none for initiating events.
    pub(crate) parent: Option<(EventId, EventId)>,
    pub(crate) hops: u16,
    pub(crate) path: Path,
}

impl Origin {
    pub(crate) const OUTSIDE: Self =
        Self { parent: None, hops: 0, path: Path { topics: 0, length: 0 } };
}

/// Ids of consecutive events: all the same, or each one greater than the one before.
#[derive(Debug, Clone, Copy)]
struct Chain {
    first: u128,
    step: u8,
}

impl Chain {
    #[inline]
    fn at(self, index: u32) -> u128 {
        if self.step == 0 { self.first } else { self.first + u128::from(index) }
    }

    /// Whether `id` may be the one at `index`; the second id fixes the step.
    #[inline]
    fn accepts(&mut self, index: u32, id: u128) -> bool {
        if index == 1 {
            let step = id.wrapping_sub(self.first);
            self.step = step as u8;
            return step <= 1;
        }
        self.at(index) == id
    }
}

/// The ids of a run: each chain's first, and whether it moves in step with the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunIds {
    pub(crate) first: u128,
    /// None if each event is its own.
    pub(crate) correlation: Option<(u128, bool)>,
    /// None if they come from outside.
    pub(crate) causation: Option<(u128, bool)>,
}

/// What a run of consecutive events of one type shares: one head instead of an envelope each.
///
/// Correlation and causation of a run are either constant or move in step with the ids, because
/// handlers that turn each event of a run into one event each are what long flows are made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) topic: TopicId,
    first: EventId,
    correlation: Chain,
    causation: Chain,
    pub(crate) at: Timestamp,
    pub(crate) hops: u16,
    pub(crate) path: Path,
}

impl Head {
    pub(crate) fn new(topic: TopicId, first: EventId, at: Timestamp, origin: &Origin) -> Self {
        let (cause, correlation) = origin.parent.unwrap_or((EventId(0), first));
        // Initiating events are their own correlation; of others the second one fixes the step.
        let step = u8::from(origin.parent.is_none());
        Self {
            topic,
            first,
            correlation: Chain { first: correlation.0, step },
            causation: Chain { first: cause.0, step: 0 },
            at,
            hops: origin.hops,
            path: origin.path,
        }
    }

    #[inline]
    pub(crate) fn id(&self, index: u32) -> EventId {
        EventId(self.first.0 + u128::from(index))
    }

    #[inline]
    pub(crate) fn correlation(&self, index: u32) -> EventId {
        EventId(self.correlation.at(index))
    }

    pub(crate) fn causation(&self, index: u32) -> Option<EventId> {
        let cause = self.causation.at(index);
        (cause != 0).then_some(EventId(cause))
    }

    /// Whether `count` events with these ids and that origin fit at `index`, the present end of
    /// the run.
    #[inline]
    pub(crate) fn accepts(
        &mut self,
        index: u32,
        count: u32,
        topic: TopicId,
        first: EventId,
        origin: &Origin,
    ) -> bool {
        if self.topic != topic || self.id(index) != first || self.hops != origin.hops {
            return false;
        }
        let (correlations, causes) = (self.correlation, self.causation);
        let fits = match origin.parent {
            // Initiating events: each is its own beginning.
            None => self.is_own() && self.causation.first == 0,
            Some((cause, correlation)) => {
                self.path == origin.path
                    && self.correlation.accepts(index, correlation.0)
                    && self.causation.accepts(index, cause.0)
                    && (count == 1 || self.correlation.step + self.causation.step == 0)
            }
        };
        if !fits {
            (self.correlation, self.causation) = (correlations, causes);
        }
        fits
    }

    /// As it is stored, for a run of so many events; `path` is its own, by the log's numbers.
    pub(crate) fn ids(&self) -> RunIds {
        let chain = |chain: Chain| (chain.first, chain.step == 1);
        RunIds {
            first: self.first.0,
            correlation: (!self.is_own()).then_some(chain(self.correlation)),
            causation: (self.causation.first != 0).then_some(chain(self.causation)),
        }
    }

    /// The head of a run that was stored.
    pub(crate) fn restored(
        topic: TopicId,
        ids: RunIds,
        at: Timestamp,
        hops: u16,
        path: Path,
    ) -> Self {
        let chain = |(first, steps)| Chain { first, step: u8::from(steps) };
        Self {
            topic,
            first: EventId(ids.first),
            correlation: chain(ids.correlation.unwrap_or((ids.first, true))),
            causation: chain(ids.causation.unwrap_or((0, false))),
            at,
            hops,
            path,
        }
    }

    fn is_own(&self) -> bool {
        self.correlation.first == self.first.0 && self.correlation.step == 1
    }

    /// The head of what is left when the first `index` events are taken away.
    pub(crate) fn skip(mut self, index: u32) -> Self {
        self.first = self.id(index);
        self.correlation.first = self.correlation.at(index);
        self.causation.first = self.causation.at(index);
        self
    }

    /// The same events, come the way that another head tells.
    pub(crate) fn by_the_way_of(self, other: &Self) -> Self {
        Self { hops: other.hops, path: other.path, ..self }
    }

    /// A person vouches for the event: its hops are counted anew.
    pub(crate) fn forget_way(&mut self) {
        self.hops = 0;
        self.path = Path::default();
    }

    /// What events inherit that the handler of the event at `index` publishes.
    pub(crate) fn origin_of_children(&self, index: u32) -> Origin {
        Origin {
            parent: Some((self.id(index), self.correlation(index))),
            hops: self.hops.saturating_add(1),
            path: self.path.then(self.topic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A run gives back exactly the ids that were put in, whatever the pattern.
        #[test]
        fn a_run_gives_back_what_was_put_in(
            events in prop::collection::vec((0u128..3, 0u128..3, 0u16..2), 1..40)
        ) {
            let mut runs: Vec<(Head, u32)> = Vec::new();
            let mut expected = Vec::new();
            for (number, (cause, correlation, hops)) in events.into_iter().enumerate() {
                let id = EventId(1_000 + number as u128);
                let parent = Some((EventId(10 + cause), EventId(20 + correlation)));
                let origin = Origin { parent, hops, path: Path::default() };
                expected.push((id, origin));
                if let Some((head, length)) = runs.last_mut()
                    && head.accepts(*length, 1, TopicId(1), id, &origin)
                {
                    *length += 1;
                    continue;
                }
                runs.push((Head::new(TopicId(1), id, Timestamp(0), &origin), 1));
            }
            let found: Vec<_> = runs
                .iter()
                .flat_map(|(head, length)| (0..*length).map(move |index| (
                    head.skip(index).id(0),
                    Origin {
                        parent: head.causation(index).map(|cause| (cause, head.correlation(index))),
                        hops: head.hops,
                        path: head.path,
                    },
                )))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_path_keeps_the_last_eight_topics() {
        let path = (0..11).fold(Path::default(), |path, topic| path.then(TopicId(topic)));
        let kept: Vec<u16> = path.topics().map(|topic| topic.0).collect();
        assert_eq!(kept, [3, 4, 5, 6, 7, 8, 9, 10]);
    }
}
