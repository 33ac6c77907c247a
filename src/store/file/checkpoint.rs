//! A checkpoint: all facts of the log up to some segment, sorted, in a file like a segment. With it a
//! log is opened without reading what came before; and what came before may go.
//!
//! The next one is this one, merged in a stream with what the segments since say: nothing of the live
//! state is touched, and only what is new is in memory.

use std::collections::{BTreeMap, HashSet};
use std::io;

use super::bytes::Bytes;
use super::disk::{Disk, read_up_to, write_all};
use super::facts::number_in;
use super::layout::{End, FRAME_HEAD, FRAMES, FrameHead, Rewritten, SegmentHead};
use super::reader::read_frames;
use super::record::{FactKind, Record, Records, put_fact};
use super::segment::Segment;

/// How much is written between two pauses.
const STRIDE: usize = 256 << 10;
/// How large a frame becomes.
const FRAME: usize = 64 << 10;

/// How far a checkpoint reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach {
    /// The last segment of which everything is in it.
    pub(crate) segment: u64,
    /// Where that ended.
    pub(crate) end: End,
    /// The position of the next event, and the time, there.
    pub(crate) next: u64,
    pub(crate) time: u64,
}

/// What was said since: the last value of each name, none where it is none any more.
pub(crate) type Changes = BTreeMap<Box<[u8]>, Option<Box<[u8]>>>;

pub(crate) fn checkpoint_name(number: u64) -> String {
    format!("{number:016x}.checkpoint")
}

/// The numbers of all checkpoints, the newest first.
pub(crate) fn checkpoints(disk: &dyn Disk) -> io::Result<Vec<u64>> {
    let number = |name: String| {
        let number = u64::from_str_radix(name.strip_suffix(".checkpoint")?, 16).ok()?;
        (checkpoint_name(number) == name).then_some(number)
    };
    let mut numbers: Vec<u64> = disk.names()?.into_iter().filter_map(number).collect();
    numbers.sort_unstable_by_key(|number| std::cmp::Reverse(*number));
    Ok(numbers)
}

/// Opens a checkpoint; none if it is damaged. Visits the body of each of its frames.
pub(crate) fn read(
    disk: &dyn Disk,
    number: u64,
    mut visit: impl FnMut(&[u8]),
) -> io::Result<Option<(Reach, Segment)>> {
    let file = disk.open(&checkpoint_name(number))?;
    let page = read_up_to(&*file, 0, FRAMES as usize)?;
    let Ok(head) = SegmentHead::read(&page) else { return Ok(None) };
    let Some(Rewritten { ends, counts_as }) = head.rewritten.filter(|_| head.number == number)
    else {
        return Ok(None);
    };
    let length = file.length()?;
    let segment = Segment::new(head, file, length);
    let (mut at, mut end, mut time) = (FRAMES, head.before, 0);
    while end.next < ends.next {
        let mut right = true;
        let read = read_frames(&segment, &mut at, |frame, body| {
            right &= frame.number == end.next && frame.before == end.check;
            (end, time) = (End { next: frame.number + 1, check: frame.check }, frame.time);
            visit(body);
        })?;
        if read == 0 || !right {
            return Ok(None);
        }
    }
    let reach = Reach { segment: number, end: counts_as, next: head.first, time };
    Ok((end == ends).then_some((reach, segment)))
}

/// Notes what a frame says.
pub(crate) fn note(changes: &mut Changes, body: &[u8]) {
    for record in Records::new(body).flatten() {
        match record {
            Record::Put { name, value } => {
                changes.insert(name.into(), Some(value.into()));
            }
            Record::Delete { name } => {
                changes.insert(name.into(), None);
            }
            Record::Events(_) => {}
        }
    }
}

/// Writes the next checkpoint, and gives it its name when it is whole. `pause` is called often, to
/// leave the disk to others.
pub(crate) fn write(
    disk: &dyn Disk,
    random: &mut fastrand::Rng,
    reach: Reach,
    before: Option<&Segment>,
    changes: &Changes,
    pause: &mut dyn FnMut() -> io::Result<()>,
) -> io::Result<Segment> {
    let temporary = format!("{:016x}.new", reach.segment);
    match disk.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(&temporary)?;
    let head = SegmentHead {
        number: reach.segment,
        covers: reach.segment,
        generation: 0,
        salt: random.u64(..),
        first: reach.next,
        before: End::default(),
        rewritten: None,
    };
    let mut out =
        Out { file: &*file, head, at: FRAMES, end: head.before, reach, frame: Vec::new() };
    let (mut unsynced, mut known) = (0, HashSet::new());
    let mut put = |name: &[u8], value: &[u8]| {
        if is_left_over(name, &mut known) {
            return Ok(());
        }
        let written = out.put(name, value)?;
        unsynced += written;
        if unsynced >= STRIDE {
            out.file.sync()?;
            unsynced = 0;
            pause()?;
        }
        Ok(())
    };
    merge(before, changes, &mut put)?;
    out.seal()?; // also if nothing is in it: it says what time it was
    let rewritten = Some(Rewritten { ends: out.end, counts_as: reach.end });
    let head = SegmentHead { rewritten, ..head };
    let length = out.at;
    write_all(&*file, &head.write(), 0)?;
    file.sync()?;
    disk.rename(&temporary, &checkpoint_name(reach.segment))?;
    disk.sync_names()?;
    Ok(Segment::new(head, file, length))
}

/// Whether a fact is about a subscription that is gone; `known` are those that are not, which come
/// before all that is about them.
fn is_left_over(name: &[u8], known: &mut HashSet<u32>) -> bool {
    let number = name.get(1..).and_then(|rest| number_in(&mut Bytes(rest)).ok());
    let (Some(kind), Some(number)) = (FactKind::of(name), number) else { return false };
    if kind == FactKind::Subscription {
        known.insert(number);
    }
    kind.is_of_a_subscription() && !known.contains(&number)
}

/// All facts in their order: those of a checkpoint, and what changed since.
pub(super) fn merge(
    before: Option<&Segment>,
    changes: &Changes,
    put: &mut dyn FnMut(&[u8], &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut changes = changes.iter().peekable();
    let mut failed = Ok(());
    let (mut at, length) = (FRAMES, before.map_or(0, |segment| segment.length));
    while let Some(segment) = before.filter(|_| at < length) {
        let read = read_frames(segment, &mut at, |_, body| {
            for record in Records::new(body).flatten() {
                let Record::Put { name, value } = record else { continue };
                let mut result = Ok(());
                while let Some((other, change)) = changes.next_if(|(other, _)| ***other < *name) {
                    result = change.as_ref().map_or(Ok(()), |value| put(other, value));
                    if result.is_err() {
                        break;
                    }
                }
                let changed = changes.next_if(|(other, _)| ***other == *name);
                let value = changed.map_or(Some(value), |(_, change)| change.as_deref());
                if let (Ok(()), Some(value)) = (&result, value) {
                    result = put(name, value);
                }
                if failed.is_ok() {
                    failed = result;
                }
            }
        })?;
        std::mem::replace(&mut failed, Ok(()))?;
        if read == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the last checkpoint is damaged",
            ));
        }
    }
    for (name, change) in changes {
        if let Some(value) = change {
            put(name, value)?;
        }
    }
    Ok(())
}

/// A checkpoint that is being written.
struct Out<'a> {
    file: &'a dyn super::disk::DiskFile,
    head: SegmentHead,
    at: u64,
    end: End,
    reach: Reach,
    frame: Vec<u8>,
}

impl Out<'_> {
    /// How much was written by that.
    fn put(&mut self, name: &[u8], value: &[u8]) -> io::Result<usize> {
        if self.frame.is_empty() {
            self.frame.resize(FRAME_HEAD, 0);
        }
        put_fact(&mut self.frame, name, value);
        if self.frame.len() >= FRAME { self.seal() } else { Ok(0) }
    }

    fn seal(&mut self) -> io::Result<usize> {
        if self.frame.is_empty() {
            self.frame.resize(FRAME_HEAD, 0);
        }
        let mut head = FrameHead {
            length: (self.frame.len() - FRAME_HEAD) as u32,
            check: 0,
            before: self.end.check,
            number: self.end.next,
            behind: 0,
            first: self.reach.next,
            time: self.reach.time,
        };
        head.seal(&self.head, &mut self.frame);
        write_all(self.file, &self.frame, self.at)?;
        let written = self.frame.len();
        self.at += written as u64;
        self.end = End { next: head.number + 1, check: head.check };
        self.frame.clear();
        Ok(written)
    }
}
