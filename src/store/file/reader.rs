//! Reading the log while it is written: by whole frames, and no further than what is on disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use memchr::memmem;
use parking_lot::RwLock;

use super::disk::read_up_to;
use super::layout::{FRAME_HEAD, FRAMES, FrameHead};
use super::log::Segment;

/// How much is read at once, at least.
const CHUNK: usize = 256 << 10;

/// The segments of a log, for whoever reads it. `length` is what is on disk of each.
#[derive(Clone, Default)]
pub(crate) struct Segments {
    all: Arc<RwLock<Vec<Segment>>>,
    /// Everything before that position is on disk.
    next: Arc<AtomicU64>,
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    segment: u64,
    at: u64,
}

impl Segments {
    pub(super) fn add(&self, segment: Segment) {
        self.all.write().push(segment);
    }

    /// So much of the last one is on disk, and all events before that position.
    pub(super) fn synced(&self, length: u64, next: u64) {
        if let Some(last) = self.all.write().last_mut() {
            last.length = length;
        }
        self.next.store(next, SeqCst);
    }

    /// Everything before that position is on disk.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(SeqCst)
    }

    /// A place from where all events from that position on can be read.
    pub(crate) fn seek(&self, position: u64) -> Place {
        let all = self.all.read();
        let behind = all.partition_point(|segment| segment.head.first <= position);
        let segment = all.get(behind.saturating_sub(1)).map_or(0, |of| of.head.number);
        Place { segment, at: FRAMES }
    }

    /// All of them, in order.
    pub(super) fn all(&self) -> Vec<Segment> {
        self.all.read().clone()
    }

    /// The first one is gone.
    pub(super) fn remove_first(&self) {
        self.all.write().remove(0);
    }

    /// The segment with that number, or the next one that is there; and whether it is the last one.
    fn segment(&self, number: u64) -> Option<(Segment, bool)> {
        let all = self.all.read();
        let place = all.partition_point(|segment| segment.head.covers < number);
        Some((all.get(place)?.clone(), place + 1 == all.len()))
    }

    /// Reads some more frames, and moves the place behind them. False at the end of what is on disk.
    pub(crate) fn read(
        &self,
        place: &mut Place,
        mut visit: impl FnMut(FrameHead, &[u8]),
    ) -> io::Result<bool> {
        loop {
            let Some((segment, is_last)) = self.segment(place.segment) else { return Ok(false) };
            if segment.head.number > place.segment {
                *place = Place { segment: segment.head.number, at: FRAMES };
            }
            let left = usize::try_from(segment.length.saturating_sub(place.at)).unwrap_or(0);
            if left == 0 {
                if is_last {
                    return Ok(false);
                }
                *place = Place { segment: segment.head.covers + 1, at: FRAMES };
                continue;
            }
            if read_frames(&segment, &mut place.at, &mut visit)? == 0 {
                place.at = behind_damage(&segment, place.at)?;
            }
            return Ok(true);
        }
    }
}

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
