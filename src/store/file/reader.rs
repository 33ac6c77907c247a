//! Reading the log while it is written: by whole frames, and no further than what is on disk.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use memchr::memmem;
use parking_lot::{Mutex, RwLock};

use super::disk::read_up_to;
use super::layout::{FRAME_HEAD, FRAMES, FrameHead, SegmentHead};
use super::segment::Segment;

/// How much is read at once, at least.
const CHUNK: usize = 256 << 10;
/// So much is passed over where it cannot be read.
const PAGE: u64 = 4096;

/// The segments of a log, for whoever reads it. `length` is what may be read of each:
/// what is on disk, and what is buffered.
#[derive(Clone, Default)]
pub(crate) struct Segments {
    all: Arc<RwLock<Vec<Segment>>>,
    /// Everything before that position may be read.
    next: Arc<AtomicU64>,
    /// From which commits on some are known to be missing.
    said: Arc<Mutex<BTreeSet<u64>>>,
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    segment: u64,
    /// Another one may take its number.
    salt: u64,
    at: u64,
    /// The next frame that is there, if none is damaged.
    frame: u64,
}

impl Place {
    /// The beginning of a segment.
    fn begin(segment: &Segment) -> Self {
        let SegmentHead { number, salt, before, .. } = segment.head;
        Self { segment: number, salt, at: FRAMES, frame: before.next }
    }
}

impl Segments {
    pub(super) fn add(&self, segment: Segment) {
        self.all.write().push(segment);
    }

    /// What is behind that length of the last one, which has that number, is in these; and all events
    /// before that position.
    pub(super) fn goes_on(&self, (number, length): (u64, u64), in_these: Vec<Segment>, next: u64) {
        let mut all = self.all.write();
        if length > FRAMES {
            all.iter_mut().filter(|of| of.head.number == number).for_each(|of| of.length = length);
        } else {
            all.retain(|of| of.head.number != number);
        }
        all.extend(in_these);
        self.next.store(next, SeqCst);
    }

    /// So much of the last one may be read, and all events before that position.
    pub(super) fn show(&self, length: u64, next: u64) {
        if let Some(last) = self.all.write().last_mut() {
            last.length = length;
        }
        self.next.store(next, SeqCst);
    }

    /// Everything before that position may be read.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(SeqCst)
    }

    /// A place from where all events from that position on can be read.
    pub(crate) fn seek(&self, position: u64) -> Place {
        let all = self.all.read();
        let behind = all.partition_point(|segment| segment.head.first <= position);
        let none = Place { segment: 0, salt: 0, at: FRAMES, frame: 0 };
        all.get(behind.saturating_sub(1)).map_or(none, Place::begin)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.all.read().len()
    }

    /// How many bytes there are from that position on.
    pub(crate) fn bytes_from(&self, position: u64) -> u64 {
        let all = self.all.read();
        let behind = all.partition_point(|segment| segment.head.first <= position);
        all[behind.saturating_sub(1)..].iter().map(|segment| segment.length).sum()
    }

    /// What an event from that position on takes in the mean.
    pub(crate) fn mean_from(&self, position: u64) -> u64 {
        let all = self.all.read();
        let behind = all.partition_point(|segment| segment.head.first <= position);
        let those = &all[behind.saturating_sub(1)..];
        let events = those.first().map_or(0, |of| self.next().saturating_sub(of.head.first));
        those.iter().map(|segment| segment.length).sum::<u64>() / events.max(1)
    }

    /// The position of the first event that can be there.
    pub(crate) fn first(&self) -> u64 {
        self.all.read().first().map_or(0, |of| of.head.first)
    }

    /// The position of the first event that was written at that time, or later; none if all are older.
    pub(crate) fn position_at(&self, time: u64) -> io::Result<Option<u64>> {
        let all = self.all();
        // Time never goes back: the last segment that begins before it.
        let (mut from, mut to) = (0, all.len());
        while from < to {
            let middle = usize::midpoint(from, to);
            let mut first = None;
            read_frames(&all[middle], &mut FRAMES.clone(), |head, _| {
                first.get_or_insert(head.time);
            })?;
            if first.is_some_and(|first| first < time) { from = middle + 1 } else { to = middle }
        }
        let Some(segment) = all.get(from.saturating_sub(1)) else { return Ok(None) };
        let (mut place, mut found) = (Place::begin(segment), None);
        while found.is_none() {
            let more = self.read(&mut place, &|_| true, |head, _| {
                if head.time >= time {
                    found.get_or_insert(head.first);
                }
            });
            match more {
                Ok(true) => {}
                Ok(false) => break,
                // Whoever reads it says so.
                Err(error) => match Unreadable::of(&error) {
                    Some(unreadable) => drop(self.said.lock().remove(&unreadable.from)),
                    None => return Err(error),
                },
            }
        }
        Ok(found)
    }

    /// All of them, in order.
    pub(super) fn all(&self) -> Vec<Segment> {
        self.all.read().clone()
    }

    /// The first one is gone.
    pub(super) fn remove_first(&self) -> Segment {
        self.all.write().remove(0)
    }

    /// One is in the place of all that it covers, which come back.
    pub(super) fn replace(&self, by: Segment) -> Vec<Segment> {
        let mut all = self.all.write();
        let from = all.partition_point(|of| of.head.number < by.head.number);
        let to = all.partition_point(|of| of.head.number <= by.head.covers);
        all.splice(from..to, [by]).collect()
    }

    /// The segment with that number, or the next one that is there; and whether it is the last one.
    fn segment(&self, number: u64) -> Option<(Segment, bool)> {
        let all = self.all.read();
        let place = all.partition_point(|segment| segment.head.covers < number);
        Some((all.get(place)?.clone(), place + 1 == all.len()))
    }

    /// Reads some more frames, and moves the place behind them, but passes over segments that are known to
    /// hold nothing of the channels that are wanted. False at the end of what is on disk.
    ///
    /// # Errors
    ///
    /// What the file system says, or [`Unreadable`], said once: the next time it is read behind that.
    pub(crate) fn read(
        &self,
        place: &mut Place,
        wants: &dyn Fn(u32) -> bool,
        mut visit: impl FnMut(FrameHead, &[u8]),
    ) -> io::Result<bool> {
        loop {
            let Some((segment, is_last)) = self.segment(place.segment) else { return Ok(false) };
            let here = (segment.head.number, segment.head.salt);
            if here != (place.segment, place.salt) {
                // What was there is gone, or was written anew: read again, as far as it is there.
                let before = std::mem::replace(place, Place::begin(&segment));
                if before.salt == 0 && before.frame > 0 && before.segment == segment.head.number {
                    self.misses(before.frame, place.frame)?;
                }
            }
            let left = usize::try_from(segment.length.saturating_sub(place.at)).unwrap_or(0);
            let unwanted =
                segment.index().is_some_and(|index| !index.channels.keys().any(|of| wants(*of)));
            let compacted = segment.head.rewritten.is_some();
            if left == 0 || (unwanted && !is_last) {
                if is_last {
                    return Ok(false);
                }
                let frame = if unwanted || compacted { 0 } else { place.frame };
                *place = Place { segment: segment.head.covers + 1, salt: 0, at: FRAMES, frame };
                continue;
            }
            let mut missing = None;
            let read = read_frames(&segment, &mut place.at, |head, body| {
                if head.number > place.frame && !compacted {
                    missing.get_or_insert((place.frame, head.number));
                }
                place.frame = head.number + 1;
                visit(head, body);
            });
            let read = match read {
                Ok(0) => behind_damage(&segment, place.at).map(|behind| place.at = behind),
                read => read.map(drop),
            };
            // What cannot be read is passed over.
            read.inspect_err(|_| place.at = (place.at + PAGE).min(segment.length))?;
            if let Some((from, to)) = missing {
                self.misses(from, to)?;
            }
            return Ok(true);
        }
    }

    /// Frames between these are not there; said once.
    fn misses(&self, from: u64, to: u64) -> io::Result<()> {
        match to > from && self.said.lock().insert(from) {
            true => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                Unreadable { from, frames: to - from },
            )),
            false => Ok(()),
        }
    }

    /// That frames are missing from there on has been said.
    pub(super) fn is_said(&self, from: u64) {
        self.said.lock().insert(from);
    }
}

/// Some commits of the log are damaged, or not there.
#[derive(Debug)]
pub(crate) struct Unreadable {
    from: u64,
    pub(crate) frames: u64,
}

impl Unreadable {
    /// The error, if it is this one.
    pub(crate) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref().and_then(|error| error.downcast_ref::<Self>())
    }
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} commits are damaged or missing: `cueline-log verify` says where", self.frames)
    }
}

impl std::error::Error for Unreadable {}

/// Reads some frames of a segment, and moves the place behind them. How many there were: none at the
/// end, and where it is damaged.
pub(super) fn read_frames(
    segment: &Segment,
    at: &mut u64,
    mut visit: impl FnMut(FrameHead, &[u8]),
) -> io::Result<usize> {
    let left = usize::try_from(segment.length.saturating_sub(*at)).unwrap_or(0);
    let mut bytes = read_up_to(&*segment.file, *at, left.min(CHUNK))?;
    if let Some(head) = FrameHead::peek(&segment.head, &bytes) {
        let whole = FRAME_HEAD + head.length as usize;
        if whole > bytes.len() && whole <= left {
            bytes = read_up_to(&*segment.file, *at, whole)?;
        }
    }
    let (mut read, mut frames) = (0, 0);
    while let Some((head, body)) = FrameHead::read(&segment.head, &bytes[read..]) {
        if head.number >= segment.ends {
            *at = segment.length;
            return Ok(frames);
        }
        visit(head, body);
        read += FRAME_HEAD + body.len();
        frames += 1;
    }
    *at += read as u64;
    Ok(frames)
}

/// Where the next frame may begin, behind a place where there is none: it is damaged there, or that is
/// its end.
pub(super) fn behind_damage(segment: &Segment, at: u64) -> io::Result<u64> {
    let left = usize::try_from(segment.length.saturating_sub(at)).unwrap_or(0);
    let bytes = read_up_to(&*segment.file, at + 1, left.min(CHUNK))?;
    Ok(at + 1 + next_mark(segment, &bytes) as u64)
}

/// Where the next frame may begin.
fn next_mark(segment: &Segment, bytes: &[u8]) -> usize {
    let mark = segment.head.mark().to_le_bytes();
    // The mark itself may lie across the end.
    memmem::find(bytes, &mark).unwrap_or(bytes.len().saturating_sub(mark.len() - 1))
}
