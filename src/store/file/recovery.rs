//! Opening a log: what is in it, what is missing, and where it goes on.

use std::io;
use std::sync::Arc;

use super::checkpoint::{self, Reach, checkpoints};
use super::disk::{Disk, read_up_to, write_all};
use super::facts::Facts;
use super::layout::{End, FRAMES, NoHead, SegmentHead};
use super::log::{Log, Sizes, Stand};
use super::reader::Segments;
use super::record::{FactKind, Record, Records};
use super::scan::{Gap, scan};
use super::segment::{Segment, segment_name, segment_number};

/// A stretch of the log that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) segment: u64,
    /// Where in it; none if the whole segment is missing.
    pub(crate) gap: Gap,
}

impl Lost {
    /// The name of the fact that somebody knows of it.
    pub(crate) fn name(&self) -> [u8; 17] {
        let mut name = [FactKind::Accepted as u8; 17];
        name[1..9].copy_from_slice(&self.gap.frames.0.to_be_bytes());
        name[9..].copy_from_slice(&self.gap.frames.1.to_be_bytes());
        name
    }

    /// Somebody decided to go on without it.
    pub(crate) fn is_accepted(&self, facts: &Facts) -> bool {
        facts.get(&self.name()).is_some()
    }
}

/// What was found when a log was opened.
#[derive(Default)]
pub(crate) struct Found {
    /// The newest checkpoints that are right, the newest first; two at most.
    pub(crate) checkpoints: Vec<(Reach, Segment)>,
    /// Checkpoints that are not.
    pub(crate) damaged: Vec<u64>,
    pub(crate) lost: Vec<Lost>,
    /// The end was torn, and has been cut.
    pub(crate) torn: bool,
}

/// Why a log is not opened.
#[derive(Debug)]
pub(crate) enum NotOpened {
    Refused(io::Error),
    /// It was written by a later version.
    Newer(u32),
}

impl From<io::Error> for NotOpened {
    fn from(error: io::Error) -> Self {
        Self::Refused(error)
    }
}

impl std::fmt::Display for NotOpened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Newer(version) => write!(
                f,
                "it has format {version}, which this version of cueline does not know: use the version \
                 that wrote it, or a later one; nothing was changed"
            ),
        }
    }
}

/// As [`open`], with what its facts add up to.
pub(crate) fn open_with_facts(
    disk: &Arc<dyn Disk>,
    sizes: Sizes,
) -> Result<(Log, Found, Facts), NotOpened> {
    let mut facts = Facts::default();
    let (log, found) = open(disk, sizes, fastrand::Rng::new(), |body| {
        Records::new(body).flatten().for_each(|record| facts.apply(&record));
    })?;
    Ok((log, found, facts))
}

/// The segments that are there, in their order; those that nothing was ever written to left out.
fn segments(disk: &dyn Disk) -> Result<Vec<(u64, Result<Segment, ()>)>, NotOpened> {
    let mut numbers: Vec<u64> =
        disk.names()?.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    let mut found = Vec::new();
    let mut covered = 0;
    for number in numbers {
        let file = disk.open(&segment_name(number))?;
        let page = read_up_to(&*file, 0, FRAMES as usize)?;
        let head = match SegmentHead::read(&page) {
            Err(NoHead::Newer(version)) => return Err(NotOpened::Newer(version)),
            // One that was used before under another number is not in use under this one.
            Ok(head) if head.number == number => Ok(head),
            Ok(_) | Err(NoHead::Unreadable) => Err(()),
        };
        if number < covered {
            continue; // it was merged into one before it
        }
        covered = head.map_or(covered, |head| head.covers + 1);
        found.push((number, head.map(|head| Segment::new(head, file, FRAMES))));
    }
    // What comes behind the last one that has a head was prepared, and never used.
    let used = found.iter().rposition(|(_, segment)| segment.is_ok()).map_or(0, |last| last + 1);
    found.truncate(used);
    Ok(found)
}

/// Opens a log, or begins one. Visits every frame that is there, in order, with the number of its
/// segment and its place there.
pub(crate) fn open(
    disk: &Arc<dyn Disk>,
    sizes: Sizes,
    random: fastrand::Rng,
    mut visit: impl FnMut(&[u8]),
) -> Result<(Log, Found), NotOpened> {
    let segments = segments(&**disk)?;
    let mut found = Found::default();
    let readable = Segments::default();
    let mut stand = Stand { end: End::default(), next: 0, time: 0 };
    let mut expected = segments.first().map_or(0, |(number, _)| *number);
    let mut last: Option<(Segment, u64)> = None;
    for number in checkpoints(&**disk)? {
        // The one before the newest is there for when that is damaged.
        let newest = found.checkpoints.is_empty();
        let read = match newest {
            true => checkpoint::read(&**disk, number, &mut visit)?,
            false => checkpoint::read(&**disk, number, |_| {})?,
        };
        match read {
            Some((reach, segment)) => {
                if newest {
                    stand = Stand { end: reach.end, next: reach.next, time: reach.time };
                    expected = number + 1;
                }
                found.checkpoints.push((reach, segment));
            }
            None => found.damaged.push(number),
        }
    }
    found.checkpoints.truncate(2);
    let covered = found.checkpoints.first().map(|(reach, _)| reach.segment);
    for (place, (number, segment)) in segments.iter().enumerate() {
        // One that cannot be read at all: what follows says how much it was.
        let Ok(segment) = segment else { continue };
        let next =
            segments.get(place + 1).and_then(|(number, next)| Some((number, next.as_ref().ok()?)));
        let next = next.filter(|(number, _)| **number == segment.head.covers + 1);
        let ended = next.map(|(_, next)| next.head.before);
        if covered.is_some_and(|covered| segment.head.covers <= covered) {
            // What it says is in the checkpoint; its events are read when somebody wants them.
            let length = segment.file.length()?;
            let ends = ended.map_or(u64::MAX, |end| end.next);
            readable.add(Segment { length, ends, ..segment.clone() });
            continue;
        }
        let is_last = place + 1 == segments.len();
        // What was before the first file may be gone, if no checkpoint says how far it reaches.
        let known = place > 0 || covered.is_some() || !found.damaged.is_empty();
        if known && segment.head.before.next > stand.end.next {
            let frames = (stand.end.next, segment.head.before.next);
            found.lost.push(Lost { segment: expected, gap: Gap { from: 0, to: 0, frames } });
        }
        stand.next = stand.next.max(segment.head.first);
        let length = usize::try_from(segment.file.length()?).unwrap_or(usize::MAX);
        let bytes = read_up_to(&*segment.file, 0, length)?;
        let mut unsynced = FRAMES;
        let mut before: Vec<(u64, u64)> = Vec::new();
        let scanned = scan(&segment.head, &bytes, ended, |at, head, body| {
            stand.next = stand.next.max(head.first).max(end_of_events(body));
            stand.time = stand.time.max(head.time);
            if is_last {
                before.push((head.number, at));
                unsynced = before
                    .iter()
                    .find(|(number, _)| *number >= head.synced())
                    .map_or(at, |(_, at)| *at);
                before.retain(|(number, _)| *number >= head.synced());
            }
            visit(body);
        });
        found.lost.extend(scanned.gaps.iter().map(|gap| Lost { segment: *number, gap: *gap }));
        found.torn |= scanned.torn && is_last;
        stand.end = scanned.end;
        expected = segment.head.covers + 1;
        let segment = Segment { length: scanned.length, ..segment.clone() };
        readable.add(segment.clone());
        if is_last {
            // It may be in the cache of the operating system only: written once more, so that it
            // counts as new, and is on disk before anybody relies on it.
            let tail = bytes.get(unsynced as usize..scanned.length as usize).unwrap_or_default();
            write_all(&*segment.file, &segment.head.write(), 0)?;
            write_all(&*segment.file, tail, unsynced)?;
            if (bytes.len() as u64) < sizes.segment {
                segment.file.reserve(sizes.segment)?;
            }
            segment.file.sync()?;
            last = Some((segment, u64::from(scanned.torn || !scanned.gaps.is_empty())));
        }
    }
    found.lost.iter().for_each(|lost| readable.is_said(lost.gap.frames.0));
    let log = match last {
        Some((segment, 0)) => Log::goes_on(disk.clone(), sizes, random, segment, stand, readable),
        // Nothing is written behind what was cut: whole frames may still be there.
        Some((segment, _)) => {
            let number = segment.head.covers + 1;
            Log::begin(disk.clone(), sizes, random, number, stand, readable)?
        }
        None => Log::begin(disk.clone(), sizes, random, expected, stand, readable)?,
    };
    Ok((log, found))
}

/// The position behind the last event of a frame.
fn end_of_events(body: &[u8]) -> u64 {
    let ends = Records::new(body).flatten().map(|record| match record {
        Record::Events(events) => events.end(),
        _ => 0,
    });
    ends.max().unwrap_or(0)
}
