//! What of the log's events somebody still needs, by what its facts say; and what a segment holds, in a
//! few numbers. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use roaring::RoaringTreemap;

use super::bytes::{Bytes, Read};
use super::events::{Entries, Events};
use super::facts::{number_in, position_in};
use super::layout::FRAME_HEAD;
use super::record::{FactKind, Record, Records};

/// How long a log knows a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lasts {
    /// Until it is removed for good.
    Named = 1,
    /// As long as the process: it is one of a pool's, whose names are given anew.
    Process = 2,
}

/// What the fact of a subscription says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubscriptionFact {
    pub(crate) lasts: Lasts,
    pub(crate) name: String,
    /// The channels that it reads.
    pub(crate) topics: Vec<String>,
}

impl SubscriptionFact {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut value = vec![self.lasts as u8];
        for name in std::iter::once(&self.name).chain(&self.topics) {
            super::bytes::put_bytes(&mut value, name.as_bytes());
        }
        value
    }

    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let mut read = Bytes(value);
        let lasts = match read.byte().ok()? {
            1 => Lasts::Named,
            2 => Lasts::Process,
            _ => return None,
        };
        let mut text = || Some(String::from_utf8_lossy(read.bytes().ok()?).into_owned());
        let name = text()?;
        let mut topics = Vec::new();
        while let Some(topic) = text() {
            topics.push(topic);
        }
        Some(Self { lasts, name, topics })
    }
}

/// How far a subscription came, as its fact says: everything before is done with, but for some.
pub(crate) fn progress(value: &[u8]) -> Read<(u64, Vec<u64>)> {
    let mut read = Bytes(value);
    let to = read.number()?;
    let (mut but, mut before) = (Vec::new(), 0);
    while !read.is_empty() {
        before += read.number()?;
        but.push(before);
    }
    Ok((to, but))
}

#[derive(Debug, Default)]
struct Reader {
    to: u64,
    topics: Vec<String>,
}

/// What is still needed of the events of a log.
#[derive(Debug, Default)]
pub(crate) struct Needed {
    channels: HashMap<u32, String>,
    readers: BTreeMap<u32, Reader>,
    /// By channel: everything from there on.
    from: HashMap<u32, u64>,
    /// And those.
    single: RoaringTreemap,
}

impl Needed {
    /// Takes in a fact; to be followed by [`Needed::settle`] when it was the last.
    pub(crate) fn note(&mut self, name: &[u8], value: &[u8]) -> Read<()> {
        let Some(kind) = FactKind::of(name) else { return Ok(()) };
        let mut of = Bytes(&name[1..]);
        match kind {
            FactKind::Channel => {
                let number = number_in(&mut of)?;
                self.channels.insert(number, String::from_utf8_lossy(value).into_owned());
            }
            FactKind::Subscription => {
                let number = number_in(&mut of)?;
                let topics = SubscriptionFact::read(value).map(|fact| fact.topics);
                self.readers.entry(number).or_default().topics = topics.unwrap_or_default();
            }
            FactKind::Progress => {
                let (to, but) = progress(value)?;
                self.readers.entry(number_in(&mut of)?).or_default().to = to;
                self.single.extend(but);
            }
            FactKind::Held | FactKind::Behind => {
                number_in(&mut of)?;
                self.single.insert(position_in(&mut of)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// All facts have been taken in.
    pub(crate) fn settle(&mut self) {
        for (number, name) in &self.channels {
            let readers = self.readers.values().filter(|of| of.topics.contains(name));
            if let Some(to) = readers.map(|of| of.to).min() {
                self.from.insert(*number, to);
            }
        }
    }

    /// Whether the subscription of that number is among those whose needs these are.
    pub(crate) fn knows(&self, subscription: u32) -> bool {
        self.readers.contains_key(&subscription)
    }

    pub(crate) fn channel(&self, number: u32) -> Option<&str> {
        self.channels.get(&number).map(String::as_str)
    }

    pub(crate) fn is_needed(&self, channel: u32, position: u64) -> bool {
        self.from.get(&channel).is_some_and(|from| position >= *from)
            || self.single.contains(position)
    }

    /// How many bytes of a segment are needed, about, at least and at most; those of the channels `kept` in
    /// any case.
    pub(crate) fn bytes(&self, index: &Index, kept: &HashSet<u32>) -> Range<u64> {
        let (mut least, mut most) = (0, 0);
        for (channel, stretch) in &index.channels {
            let mean = stretch.bytes / stretch.events.max(1);
            let events = self.events_in(*channel, stretch, kept);
            most += events.saturating_mul(mean + 1).min(stretch.bytes);
            let from = self.from.get(channel);
            if kept.contains(channel) || from.is_some_and(|from| stretch.first >= *from) {
                least += stretch.bytes;
            }
        }
        least..most
    }

    /// How many events of a segment are needed, at most.
    pub(crate) fn events(&self, index: &Index, kept: &HashSet<u32>) -> u64 {
        let channels = index.channels.iter();
        channels.map(|(channel, stretch)| self.events_in(*channel, stretch, kept)).sum()
    }

    /// Of which channel a single one is, is not known.
    fn events_in(&self, channel: u32, stretch: &Stretch, kept: &HashSet<u32>) -> u64 {
        let some = self.from.get(&channel).is_some_and(|from| stretch.last >= *from);
        if some || kept.contains(&channel) {
            return stretch.events;
        }
        let before = stretch.first.checked_sub(1).map_or(0, |last| self.single.rank(last));
        (self.single.rank(stretch.last) - before).min(stretch.events)
    }
}

/// What the head of a run takes, about.
const RUN_HEAD: usize = 32;

/// What a segment holds of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) events: u64,
    /// About.
    pub(crate) bytes: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// When the newest was written, in milliseconds since 1970.
    pub(crate) time: u64,
}

/// What a segment holds, by channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Index {
    /// How many of its bytes are in use.
    pub(crate) length: u64,
    pub(crate) channels: BTreeMap<u32, Stretch>,
}

impl Index {
    /// Takes in what a frame holds that was written then.
    pub(crate) fn note(&mut self, body: &[u8], time: u64) {
        self.note_some(body, time, &|_, _| true);
    }

    /// Of its events only some, by channel and position.
    pub(crate) fn note_some(&mut self, body: &[u8], time: u64, which: &impl Fn(u32, u64) -> bool) {
        for record in Records::new(body).flatten() {
            if let Record::Events(events) = record {
                self.note_events(&events, time, which);
            }
        }
    }

    fn note_events(&mut self, events: &Events<'_>, time: u64, which: &impl Fn(u32, u64) -> bool) {
        let all: u64 = events.runs.iter().map(|run| u64::from(run.count)).sum();
        // With what each would take alone: what is written anew must not seem to be mostly dead.
        let heads = (FRAME_HEAD + RUN_HEAD * events.runs.len()) as u64 / all.max(1) + 1;
        let mut entries = Entries::new(events.entries);
        let mut position = events.first;
        for run in &events.runs {
            position += u64::from(run.skipped);
            for _ in 0..run.count {
                let before = entries.rest().len();
                entries.next();
                let bytes = (before - entries.rest().len()) as u64 + heads;
                if which(run.channel, position) {
                    let none = Stretch { events: 0, bytes: 0, first: position, last: 0, time };
                    let stretch = self.channels.entry(run.channel).or_insert(none);
                    stretch.events += 1;
                    stretch.bytes += bytes;
                    stretch.last = stretch.last.max(position);
                    stretch.time = stretch.time.max(time);
                }
                position += 1;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::events::{Entry, Run};
    use super::super::record::put_events;
    use super::*;

    /// Published together, they are in one record; a few that are small and needed keep no segment that
    /// is full of large ones.
    #[test]
    fn what_a_channel_takes_is_not_what_others_take_beside_it() {
        let (mut entries, mut body) = (Vec::new(), Vec::new());
        Entry { key: None, payload: &vec![1; 20_000] }.put(&mut entries);
        for _ in 0..10 {
            Entry { key: Some(b"key"), payload: &[2; 15] }.put(&mut entries);
        }
        put_events(&mut body, 70, &[Run::plain(4, 1), Run::plain(5, 10)], &entries);
        let mut index = Index::default();
        index.note(&body, 7);
        let (large, small) = (index.channels[&4], index.channels[&5]);
        assert_eq!((large.events, large.first, large.last), (1, 70, 70));
        assert_eq!((small.events, small.first, small.last), (10, 71, 80));
        assert!((20_000..20_100).contains(&large.bytes), "{large:?}");
        assert!((200..500).contains(&small.bytes), "{small:?}");
    }
}
