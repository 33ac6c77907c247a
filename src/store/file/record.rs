//! What a frame holds: a closed set of records, byte by byte. Pure.
//!
//! There are events, and there are *facts*: a fact is a name and a value, and the last one of a name
//! counts. All that is durable beside the events themselves is a fact, so the state of a whole
//! runtime is a map from names to values, however it is put together again.
//!
//! A record is its kind, its length and its content.

use super::bytes::{Bytes, Malformed, Read, put_bytes, put_number};
use super::events::{Events, Run, heads_of};

/// The kinds of records.
mod kind {
    pub(super) const EVENTS: u8 = 1;
    pub(super) const PUT: u8 = 2;
    pub(super) const DELETE: u8 = 3;
}

/// What a name begins with: of what kind the fact is. A closed set, so that a tool can tell what it
/// looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FactKind {
    /// A channel's number → its name.
    Channel = 1,
    /// A subscription's number → its name, and since when it is there.
    Subscription = 2,
    /// A subscription's number → how far it came.
    Progress = 3,
    /// A subscription and a position → an event that failed, and what is to become of it.
    Held = 4,
    /// A subscription and a position → the event that this one waits for.
    Behind = 5,
    /// A subscription, a type and a key → what it keeps.
    State = 6,
    /// A subscription and a number → publications that leave later.
    Delayed = 7,
    /// A channel and a publisher's key → the event that was published under it.
    Dedup = 8,
    /// A range of frames → that somebody knows it is lost.
    Accepted = 9,
    /// A subscription and a position → how often the process died of that event.
    Died = 10,
    /// A channel's name → for how long its events are kept when everybody has consumed them.
    Retention = 11,
    /// A mediator and a workflow's id → what began it.
    Workflow = 12,
    /// A mediator, a workflow's id and a number → the steps that it began together.
    Steps = 13,
    /// A mediator, a workflow's id and a place in the order → what came to it.
    Entry = 14,
    /// A mediator and a workflow's id → how it ended, for whoever starts it once more.
    Ended = 15,
}

impl FactKind {
    /// All there are.
    pub(crate) const ALL: [Self; 15] = [
        Self::Channel,
        Self::Subscription,
        Self::Progress,
        Self::Held,
        Self::Behind,
        Self::State,
        Self::Delayed,
        Self::Dedup,
        Self::Accepted,
        Self::Died,
        Self::Retention,
        Self::Workflow,
        Self::Steps,
        Self::Entry,
        Self::Ended,
    ];

    /// It is of use only as long as its subscription is there.
    pub(crate) fn is_of_a_subscription(self) -> bool {
        match self {
            Self::Progress
            | Self::Held
            | Self::Behind
            | Self::State
            | Self::Delayed
            | Self::Died
            | Self::Workflow
            | Self::Steps
            | Self::Entry
            | Self::Ended => true,
            Self::Channel | Self::Subscription | Self::Dedup | Self::Accepted | Self::Retention => {
                false
            }
        }
    }

    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        let first = *name.first()?;
        Self::ALL.into_iter().find(|kind| *kind as u8 == first)
    }
}

/// A record as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    Events(Events<'a>),
    Put { name: &'a [u8], value: &'a [u8] },
    Delete { name: &'a [u8] },
}

/// Appends a record of events.
pub(crate) fn put_events(into: &mut Vec<u8>, first: u64, runs: &[Run], entries: &[u8]) {
    let heads = heads_of(first, runs);
    into.push(kind::EVENTS);
    put_number(into, (heads.len() + entries.len()) as u64);
    into.extend_from_slice(&heads);
    into.extend_from_slice(entries);
}

/// Appends a fact.
pub(crate) fn put_fact(into: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let mut head = Vec::with_capacity(10 + name.len());
    put_bytes(&mut head, name);
    into.push(kind::PUT);
    put_number(into, (head.len() + value.len()) as u64);
    into.extend_from_slice(&head);
    into.extend_from_slice(value);
}

/// Appends that a fact is none any more.
pub(crate) fn put_deleted(into: &mut Vec<u8>, name: &[u8]) {
    into.push(kind::DELETE);
    put_bytes(into, name);
}

/// The records of a frame's body, in order.
pub(crate) struct Records<'a>(Bytes<'a>);

impl<'a> Records<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self(Bytes(body))
    }

    fn read(&mut self) -> Read<Record<'a>> {
        let kind = self.0.byte()?;
        let mut content = Bytes(self.0.bytes()?);
        match kind {
            kind::EVENTS => Events::read(content).map(Record::Events),
            kind::PUT => {
                let name = content.bytes()?;
                FactKind::of(name).ok_or(Malformed)?;
                Ok(Record::Put { name, value: content.0 })
            }
            kind::DELETE => {
                FactKind::of(content.0).ok_or(Malformed)?;
                Ok(Record::Delete { name: content.0 })
            }
            _ => Err(Malformed),
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Read<Record<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.0 = Bytes(&[]);
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::{Chain, Entries, Entry, LONGEST_PATH};
    use super::*;
    use proptest::prelude::*;

    fn chain() -> impl Strategy<Value = Option<Chain>> {
        prop::option::of((any::<u128>(), any::<bool>()))
            .prop_map(|chain| chain.map(|(first, steps)| Chain { first, steps }))
    }

    fn run() -> impl Strategy<Value = Run> {
        let numbers = (any::<u32>(), any::<u8>(), any::<u32>(), any::<u128>(), any::<u16>());
        let numbers = (0u32..3, numbers);
        let path = prop::collection::vec(any::<u32>(), 0..=LONGEST_PATH);
        (numbers, chain(), chain(), 0u64..1 << 48, path).prop_map(
            |(
                (skipped, (channel, codec, count, first, hops)),
                correlation,
                causation,
                at,
                path,
            )| Run {
                skipped,
                channel,
                codec,
                count,
                first,
                correlation,
                causation,
                at,
                hops,
                path,
            },
        )
    }

    type Pairs = Vec<(Option<Vec<u8>>, Vec<u8>)>;

    proptest! {
        #[test]
        fn records_come_back(
            first: u64, runs in prop::collection::vec(run(), 0..5), pairs: Pairs, value: Vec<u8>, key: Vec<u8>,
        ) {
            let entries: Vec<_> = pairs
                .iter()
                .map(|(key, payload)| Entry { key: key.as_deref(), payload })
                .collect();
            let (mut bytes, mut body) = (Vec::new(), Vec::new());
            entries.iter().for_each(|entry| entry.put(&mut bytes));
            let name = [&[FactKind::State as u8][..], &key].concat();
            put_events(&mut body, first, &runs, &bytes);
            put_fact(&mut body, &name, &value);
            put_deleted(&mut body, &name);
            let read: Vec<_> = Records::new(&body).collect::<Read<_>>().unwrap_or_default();
            prop_assert_eq!(read.len(), 3);
            let Record::Events(events) = &read[0] else { panic!("{read:?}") };
            prop_assert_eq!((events.first, &events.runs), (first, &runs));
            let back: Read<Vec<_>> = Entries::new(events.entries).collect();
            prop_assert_eq!(back, Ok(entries));
            prop_assert_eq!(&read[1], &Record::Put { name: &name, value: &value });
            prop_assert_eq!(&read[2], &Record::Delete { name: &name });
        }

        /// Whatever the bytes are: no panic, and an end.
        #[test]
        fn any_bytes_are_read_to_an_end(body: Vec<u8>, kind in 0u8..5) {
            let mut body = body;
            body.insert(0, kind);
            for record in Records::new(&body).flatten() {
                if let Record::Events(events) = record {
                    let all = Entries::new(events.entries).take_while(Result::is_ok).count();
                    prop_assert!(all <= body.len());
                }
            }
        }
    }

    /// An initiating event's envelope, and one that descends from another.
    #[test]
    fn an_envelope_takes_few_bytes() {
        let first = 1_764_086_920_731 << 80 | 0xdead_beef << 48 | 0x075b_cd15;
        let mut run = Run {
            skipped: 0,
            channel: 7,
            codec: 1,
            count: 1,
            first,
            correlation: None,
            causation: None,
            at: 1_764_086_920_731,
            hops: 0,
            path: Vec::new(),
        };
        let length = |run: &Run| {
            let mut body = Vec::new();
            put_events(&mut body, 10_000_000, std::slice::from_ref(run), &[]);
            body.len()
        };
        assert!(length(&run) <= 30, "{}", length(&run));
        let chain = Chain { first: first - (50 << 80) - 100_000, steps: false };
        (run.correlation, run.causation) = (Some(chain), Some(chain));
        (run.hops, run.path) = (8, (0..8).collect());
        assert!(length(&run) <= 48, "{}", length(&run));
    }
}
