//! Everything in a directory, read and never written.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::message::{EventId, Seq};
use crate::queue::Restored;
use crate::store::file::checkpoint::{checkpoint_name, checkpoints, read};
use crate::store::file::disk::{Disk, Folder, read_up_to};
use crate::store::file::events::{Entries, Entry, Run};
use crate::store::file::facts::{Facts, number_in};
use crate::store::file::layout::{End, FRAMES, NoHead, SegmentHead};
use crate::store::file::needed::SubscriptionFact;
use crate::store::file::record::{FactKind, Record, Records};
use crate::store::file::scan::scan;
use crate::store::file::segment::{segment_name, segment_number};

/// What is wrong with a log.
pub(super) enum Problem {
    Checkpoint(String),
    Head(u64),
    Gap {
        segment: u64,
        from: u64,
        to: u64,
        frames: u64,
    },
    Missing {
        before: u64,
        frames: u64,
    },
    Newer(u64, u32),
    /// It was written anew without its facts, which no checkpoint here has.
    NoFacts(u64),
}

pub(super) struct SegmentLook {
    pub(super) number: u64,
    pub(super) first: u64,
    pub(super) frames: u64,
    pub(super) bytes: u64,
}

/// A subscription, as the log knows it.
#[derive(Default)]
pub(super) struct SubscriptionLook {
    pub(super) to: u64,
    pub(super) held: usize,
    pub(super) parked: usize,
    pub(super) states: usize,
}

/// One event.
pub(super) struct EventLook {
    pub(super) channel: String,
    position: u64,
    at: u64,
    id: EventId,
    key: Option<String>,
    payload: Vec<u8>,
}

impl EventLook {
    fn value(&self) -> serde_json::Value {
        rmp_serde::from_slice(&self.payload)
            .unwrap_or_else(|_| serde_json::Value::from(format!("{} bytes", self.payload.len())))
    }

    pub(super) fn line(&self) -> String {
        let key = self.key.as_deref().unwrap_or("-").escape_debug().to_string();
        format!(
            "{:>10}  {}  {}  {}  {key}  {}",
            self.position,
            self.at,
            self.channel.escape_debug(),
            self.id,
            self.value()
        )
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "position": self.position,
            "at": self.at,
            "channel": self.channel,
            "id": self.id.to_string(),
            "key": self.key,
            "event": self.value(),
        })
    }
}

/// All that is known of a directory.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) checkpoints: Vec<(String, u64)>,
    pub(super) segments: Vec<SegmentLook>,
    pub(super) channels: BTreeMap<String, (u64, u64)>,
    pub(super) subscriptions: BTreeMap<String, SubscriptionLook>,
    pub(super) problems: Vec<Problem>,
    pub(super) frames: u64,
    /// The position of the next event.
    pub(super) next: u64,
    names: BTreeMap<u32, String>,
    facts: Facts,
}

impl Looked {
    /// Reads all of it, and shows each event.
    pub(super) fn at(
        directory: &Path,
        mut show: impl FnMut(&EventLook, Seq) -> io::Result<()>,
    ) -> io::Result<Self> {
        if !directory.is_dir() {
            let text = format!("{} is no directory", directory.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        let disk = Folder::open(directory)?;
        let mut looked = Self::default();
        let reached = looked.checkpoints(&disk)?;
        let mut numbers: Vec<u64> =
            disk.names()?.iter().filter_map(|name| segment_number(name)).collect();
        numbers.sort_unstable();
        if numbers.is_empty() && looked.checkpoints.is_empty() {
            let text = format!("there is no log in {}", directory.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        let mut heads: Vec<(u64, Option<SegmentHead>)> = Vec::new();
        for number in numbers {
            let file = disk.open(&segment_name(number))?;
            let head = match SegmentHead::read(&read_up_to(&*file, 0, FRAMES as usize)?) {
                Ok(head) if head.number == number => Some(head),
                Err(NoHead::Newer(version)) => {
                    looked.problems.push(Problem::Newer(number, version));
                    None
                }
                _ => None,
            };
            heads.push((number, head));
        }
        // What comes behind the last one that has a head was prepared, and never used.
        let used = heads.iter().rposition(|(_, head)| head.is_some()).map_or(0, |last| last + 1);
        heads.truncate(used);
        let mut end: Option<End> = None;
        let mut failed = Ok(());
        for (place, (number, head)) in heads.iter().enumerate() {
            let Some(head) = head else {
                looked.problems.push(Problem::Head(*number));
                continue;
            };
            let next = heads.get(place + 1).and_then(|(_, next)| *next);
            let ended = next.filter(|next| next.number == head.covers + 1).map(|next| next.before);
            // The first one goes on where the checkpoint ended, or before that.
            let before = end.or(reached.map(|(_, end)| end));
            let missing = before.map_or(0, |end| head.before.next.saturating_sub(end.next));
            if missing > 0 && (place == 0 || heads[place - 1].1.is_some()) {
                looked.problems.push(Problem::Missing { before: *number, frames: missing });
            }
            let file = disk.open(&segment_name(*number))?;
            let bytes = read_up_to(&*file, 0, file.length()? as usize)?;
            // What a checkpoint says already is not said once more, but for the events.
            let covered = reached.is_some_and(|(reached, _)| head.covers <= reached);
            if head.rewritten.is_some() && !covered {
                looked.problems.push(Problem::NoFacts(*number));
            }
            let mut frames = 0;
            let scanned = scan(head, &bytes, ended, |_, _, body| {
                frames += 1;
                let read = looked.body(body, covered, &mut show);
                if failed.is_ok() {
                    failed = read;
                }
            });
            std::mem::replace(&mut failed, Ok(()))?;
            for gap in &scanned.gaps {
                let frames = gap.frames.1 - gap.frames.0;
                let (segment, from, to) = (*number, gap.from, gap.to);
                looked.problems.push(Problem::Gap { segment, from, to, frames });
            }
            looked.frames += frames;
            let (first, bytes) = (head.first, scanned.length);
            looked.next = looked.next.max(first);
            looked.segments.push(SegmentLook { number: *number, first, frames, bytes });
            end = Some(scanned.end);
        }
        looked.subscriptions();
        Ok(looked)
    }

    /// The newest checkpoint that is right: how far it reaches, and where that ended.
    fn checkpoints(&mut self, disk: &Folder) -> io::Result<Option<(u64, End)>> {
        let mut reached = None;
        for number in checkpoints(disk)? {
            let name = checkpoint_name(number);
            let facts = &mut self.facts;
            let newest = reached.is_none();
            let found = read(disk, number, |body| {
                if newest {
                    Records::new(body).flatten().for_each(|record| facts.apply(&record));
                }
            })?;
            match found {
                Some((reach, segment)) => {
                    self.checkpoints.push((name, segment.length));
                    self.next = self.next.max(reach.next);
                    reached = reached.or(Some((number, reach.end)));
                }
                None => self.problems.push(Problem::Checkpoint(name)),
            }
        }
        self.name_channels();
        Ok(reached)
    }

    fn name_channels(&mut self) {
        for (mut name, value) in self.facts.of(FactKind::Channel) {
            if let Ok(number) = number_in(&mut name) {
                self.names.insert(number, String::from_utf8_lossy(value).into_owned());
            }
        }
    }

    fn body(
        &mut self,
        body: &[u8],
        covered: bool,
        show: &mut impl FnMut(&EventLook, Seq) -> io::Result<()>,
    ) -> io::Result<()> {
        for record in Records::new(body).flatten() {
            match record {
                Record::Events(events) => {
                    self.next = self.next.max(events.end());
                    let mut entries = Entries::new(events.entries);
                    let mut at = events.first;
                    for run in &events.runs {
                        at += u64::from(run.skipped);
                        for index in 0..run.count {
                            let Some(Ok(entry)) = entries.next() else { return Ok(()) };
                            let event = self.event(run, index, at, entry);
                            show(&event, Seq(at))?;
                            at += 1;
                        }
                    }
                }
                fact if covered => drop(fact),
                fact => {
                    let names = matches!(&fact, Record::Put { name, .. }
                        if FactKind::of(name) == Some(FactKind::Channel));
                    self.facts.apply(&fact);
                    if names {
                        self.name_channels();
                    }
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, run: &Run, index: u32, position: u64, entry: Entry<'_>) -> EventLook {
        let unnamed = || format!("channel {}", run.channel);
        let channel = self.names.get(&run.channel).cloned().unwrap_or_else(unnamed);
        let counts = self.channels.entry(channel.clone()).or_default();
        *counts = (counts.0 + 1, counts.1 + entry.payload.len() as u64);
        EventLook {
            channel,
            position,
            at: run.at,
            id: EventId(run.first + u128::from(index)),
            key: entry.key.map(|key| String::from_utf8_lossy(key).into_owned()),
            payload: entry.payload.to_vec(),
        }
    }

    fn subscriptions(&mut self) {
        for (mut number, value) in self.facts.of(FactKind::Subscription) {
            let Ok(number) = number_in(&mut number) else { continue };
            let Some(SubscriptionFact { name, .. }) = SubscriptionFact::read(value) else {
                continue;
            };
            let Some(restored) = Restored::read(&self.facts, number) else { continue };
            let look = SubscriptionLook {
                to: restored.to.0,
                held: restored.held.len(),
                parked: restored.parked(),
                states: restored.states.len(),
            };
            self.subscriptions.insert(name, look);
        }
    }
}
