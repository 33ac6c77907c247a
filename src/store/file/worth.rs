//! How much of a segment is needed, and whether it is worth it to write it anew without the rest. What a
//! segment's index says is an upper bound; where that leaves it open, the segment is read.

use std::collections::HashSet;
use std::io;

use super::keeper::Keeper;
use super::layout::FRAMES;
use super::needed::Index;
use super::reader::read_frames;
use super::segment::Segment;

/// A segment is written anew if less than that share of its bytes is needed; where there is no room, less
/// is worth it.
const MOSTLY_DEAD: (u64, u64) = (1, 4);
const PARTLY_DEAD: (u64, u64) = (3, 4);

/// What was found when a segment was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    /// So many events could have been needed by then. It never grows: what is done stays done.
    wanted: u64,
    /// So many bytes were.
    live: u64,
}

impl Keeper {
    /// Whether to write a segment anew of whose bytes so many are live.
    pub(super) fn is_worth(&self, used: u64, live: u64) -> bool {
        let (of, in_all) = if self.is_thrifty() { PARTLY_DEAD } else { MOSTLY_DEAD };
        live.saturating_mul(in_all) < used.saturating_mul(of)
    }

    /// How many bytes of a segment are needed, at most.
    pub(super) fn live(&self, segment: &Segment, retained: &HashSet<u32>) -> u64 {
        let number = segment.head.number;
        let index = segment.index().filter(|_| !self.damaged.contains(&number));
        let (Some(index), Some((_, needed))) = (index, &self.needed) else { return u64::MAX };
        let bytes = needed.bytes(index, retained).end;
        self.measured.get(&number).map_or(bytes, |of| bytes.min(of.live))
    }

    /// Reads a segment to see how much of it is needed, if that may be worth it. False if there is none.
    /// None is read again before it can have halved.
    pub(super) fn measure(&mut self, retained: &[HashSet<u32>]) -> io::Result<bool> {
        let Some((_, needed)) = &self.needed else { return Ok(false) };
        let all = self.segments.all();
        let open = all.iter().zip(retained).find_map(|(segment, kept)| {
            let number = segment.head.number;
            let index = segment.index().filter(|_| !self.damaged.contains(&number))?;
            let (used, bytes) = (index.length - FRAMES, needed.bytes(index, kept));
            let wanted = needed.events(index, kept);
            let known = self.measured.get(&number);
            let open = self.is_worth(used, bytes.start)
                && !self.is_worth(used, self.live(segment, kept))
                && known.is_none_or(|of| wanted <= of.wanted / 2);
            open.then_some((segment, kept, index.length, wanted))
        });
        let Some((segment, kept, length, wanted)) = open else { return Ok(false) };
        let (mut at, mut found) = (FRAMES, Index::default());
        let keep = |channel: u32, position: u64| {
            kept.contains(&channel) || needed.is_needed(channel, position)
        };
        while at < length {
            let read = read_frames(segment, &mut at, |head, body| {
                found.note_some(body, head.time, &keep);
            })?;
            if read == 0 {
                self.damaged.insert(segment.head.number);
                return Ok(true);
            }
        }
        let live = found.channels.values().map(|of| of.bytes).sum();
        self.measured.insert(segment.head.number, Measured { wanted, live });
        Ok(true)
    }

    /// What the first so many segments hold, if that is not known, and is of interest.
    pub(super) fn look_into(&mut self, all: &[Segment], count: usize) -> io::Result<()> {
        let floor = self.floor.get();
        for (segment, next) in all.iter().zip(all.iter().skip(1)).take(count) {
            let number = segment.head.number;
            let passed = next.head.first <= floor && self.retention.is_empty();
            if passed || segment.index().is_some() || self.damaged.contains(&number) {
                continue;
            }
            let ends = segment.head.rewritten.map_or(next.head.before, |of| of.ends);
            let (mut index, mut end) = (Index::default(), segment.head.before.next);
            let mut length = FRAMES;
            while end < ends.next {
                let read = read_frames(segment, &mut length, |head, body| {
                    end = head.number + 1;
                    index.note(body, head.time);
                })?;
                if read == 0 {
                    self.damaged.insert(number);
                    break;
                }
            }
            if end >= ends.next {
                segment.has(Index { length, ..index });
            }
        }
        Ok(())
    }
}
