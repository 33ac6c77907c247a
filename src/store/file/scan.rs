//! What is in a segment, frame by frame, and what is not: a torn tail, which was never acknowledged,
//! or damage, which must be said. Pure.
//!
//! Each frame says how many before it were on disk when it was written. So a frame that is missing
//! although one behind it knew it to be safe is damage; one that is missing with nobody behind it who
//! knew is the torn end of what a crash interrupted. Also the segment that follows knows where this
//! one ended, and is begun only when that is on disk.

use memchr::memmem;

use super::layout::{End, FRAMES, FrameHead, SegmentHead};

/// A stretch of a segment that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    /// From where to where in the segment.
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// The numbers of the frames that are lost: from the first, up to before the last.
    pub(crate) frames: (u64, u64),
}

/// What was found in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// Where it ends, for whoever comes after it.
    pub(crate) end: End,
    /// How many of its bytes are in use.
    pub(crate) length: u64,
    pub(crate) gaps: Vec<Gap>,
    /// Something was written behind the end, and not to its end.
    pub(crate) torn: bool,
}

/// Looks through a segment; `ended` is where it did, if somebody knows. Visits every frame that is
/// right, with its place.
pub(crate) fn scan(
    segment: &SegmentHead,
    bytes: &[u8],
    ended: Option<End>,
    mut visit: impl FnMut(u64, FrameHead, &[u8]),
) -> Scanned {
    let ended = segment.rewritten.map(|of| of.ends).or(ended);
    let mut at = FRAMES as usize;
    let mut end = segment.before;
    let mut gaps = Vec::new();
    let mut after_gap = false;
    let mut torn = false;
    while ended.is_none_or(|ended| end.next < ended.next) {
        let here = bytes.get(at..).unwrap_or_default();
        match FrameHead::read(segment, here) {
            Some((head, body))
                if head.number == end.next && (after_gap || head.before == end.check) =>
            {
                visit(at as u64, head, body);
                end = End { next: head.number + 1, check: head.check };
                at += super::layout::FRAME_HEAD + body.len();
                after_gap = false;
            }
            _ => match behind(segment, bytes, at, end, ended) {
                Behind::Found(next, head) => {
                    let frames = (end.next, head.number);
                    gaps.push(Gap { from: at as u64, to: next as u64, frames });
                    (at, end.next, after_gap) = (next, head.number, true);
                }
                Behind::Nothing { torn: partly } => {
                    if let Some(ended) = ended {
                        let frames = (end.next, ended.next);
                        gaps.push(Gap { from: at as u64, to: bytes.len() as u64, frames });
                        (at, end) = (bytes.len(), ended);
                    }
                    torn = partly && ended.is_none();
                    break;
                }
            },
        }
    }
    let end = segment.rewritten.map_or(end, |of| of.counts_as);
    Scanned { end, length: at as u64, gaps, torn }
}

enum Behind {
    /// The first frame that is right behind a gap.
    Found(usize, FrameHead),
    Nothing {
        torn: bool,
    },
}

/// What is behind a place where the frame `missing` should be: the next frame, if it is known that
/// the missing one was there.
fn behind(segment: &SegmentHead, bytes: &[u8], at: usize, end: End, ended: Option<End>) -> Behind {
    let mark = segment.mark().to_le_bytes();
    let rest = bytes.get(at..).unwrap_or_default();
    let missing = end.next;
    let mut next = None;
    let torn = FrameHead::was_there(segment, end, rest);
    let mut known = ended.is_some_and(|ended| missing < ended.next);
    for place in memmem::find_iter(rest, &mark).map(|place| at + place) {
        let Some((head, _)) = FrameHead::read(segment, &bytes[place..]) else { continue };
        if head.number < missing || ended.is_some_and(|ended| head.number >= ended.next) {
            continue;
        }
        next.get_or_insert((place, head));
        known |= head.synced() > missing;
        if known {
            break;
        }
    }
    match next {
        Some((place, head)) if known => Behind::Found(place, head),
        _ => Behind::Nothing { torn: torn || next.is_some() },
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::FRAME_HEAD;
    use super::*;
    use proptest::prelude::*;

    fn segment() -> SegmentHead {
        let before = End { next: 10, check: 77 };
        let (number, covers, salt) = (1, 1, 0x5a17);
        SegmentHead { number, covers, generation: 0, salt, first: 0, before, rewritten: None }
    }

    /// A segment of such frames, each group of them synced before the next is written.
    fn written(
        segment: SegmentHead,
        groups: &[Vec<Vec<u8>>],
        room: usize,
    ) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = segment.write();
        let mut places = Vec::new();
        let mut end = segment.before;
        for group in groups {
            let synced = end.next;
            for body in group {
                let behind = (end.next - synced) as u32;
                let length = body.len() as u32;
                let (before, number) = (end.check, end.next);
                let mut head =
                    FrameHead { length, check: 0, before, number, behind, first: 0, time: 0 };
                let at = bytes.len();
                places.push(at);
                bytes.resize(at + FRAME_HEAD, 0);
                bytes.extend(body);
                head.seal(&segment, &mut bytes[at..]);
                end = End { next: number + 1, check: head.check };
            }
        }
        bytes.resize(bytes.len() + room, 0);
        (bytes, places)
    }

    fn groups() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
        let body = prop::collection::vec(any::<u8>(), 0..40);
        prop::collection::vec(prop::collection::vec(body, 1..4), 1..6)
    }

    fn read(bytes: &[u8], ended: Option<End>) -> (Vec<Vec<u8>>, Scanned) {
        let mut bodies = Vec::new();
        let scanned = scan(&segment(), bytes, ended, |_, _, body| bodies.push(body.to_vec()));
        (bodies, scanned)
    }

    proptest! {
        #[test]
        fn what_was_written_is_found(groups in groups(), room in 0usize..100) {
            let (bytes, _) = written(segment(), &groups, room);
            let (bodies, scanned) = read(&bytes, None);
            prop_assert_eq!(&bodies, &groups.concat());
            prop_assert_eq!(scanned.length as usize, bytes.len() - room);
            prop_assert!(scanned.gaps.is_empty() && !scanned.torn);
            let (again, known) = read(&bytes, Some(scanned.end));
            prop_assert_eq!((again, known), (bodies, scanned));
        }

        /// Cut at any byte: all frames before it are there, nothing else is, and it is no damage.
        #[test]
        fn a_torn_tail_is_cut(groups in groups(), cut: prop::sample::Index, garbage: bool) {
            let (mut bytes, places) = written(segment(), &groups, 0);
            let all = bytes.len();
            let cut = FRAMES as usize + cut.index(bytes.len() - FRAMES as usize);
            if garbage { bytes[cut..].fill(0xa5) } else { bytes.truncate(cut) }
            let ends = places.iter().skip(1).copied().chain([all]);
            let whole = ends.filter(|end| *end <= cut).count();
            let (bodies, scanned) = read(&bytes, None);
            prop_assert!(bodies.len() == whole || garbage, "{} of {whole}", bodies.len());
            prop_assert_eq!(&bodies[..], &groups.concat()[..bodies.len()]);
            prop_assert!(scanned.gaps.is_empty());
        }

        /// A flipped bit: what was known to be on disk is missed and said, or nothing is wrong.
        #[test]
        fn a_flipped_bit_is_damage_or_a_torn_tail(
            groups in groups(), bit: prop::sample::Index, known: bool,
        ) {
            let (mut bytes, places) = written(segment(), &groups, 0);
            let all = groups.concat();
            let (_, whole) = read(&bytes, None);
            let bit = FRAMES as usize * 8 + bit.index((bytes.len() - FRAMES as usize) * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let hit = places.partition_point(|place| *place <= bit / 8) - 1;
            let last_group = all.len() - groups[groups.len() - 1].len();
            let (bodies, scanned) = read(&bytes, known.then_some(whole.end));
            if known || hit < last_group {
                let mut left = all.clone();
                left.remove(hit);
                prop_assert_eq!(bodies, left);
                prop_assert_eq!(scanned.gaps.len(), 1);
                let lost = 10 + hit as u64;
                prop_assert_eq!(scanned.gaps[0].frames, (lost, lost + 1));
                prop_assert_eq!(scanned.end, whole.end);
            } else {
                prop_assert_eq!(&bodies[..], &all[..hit]);
                prop_assert!(scanned.gaps.is_empty());
            }
        }

        /// A whole segment of an earlier use behind the end is not read.
        #[test]
        fn what_another_use_left_there_is_not_ours(groups in groups(), before in groups()) {
            let (ours, _) = written(segment(), &groups, 0);
            let other = SegmentHead { salt: 1, ..segment() };
            let (theirs, _) = written(other, &before, 0);
            let mut stale = ours.clone();
            stale.extend(&theirs[theirs.len().min(ours.len())..]);
            let mut found = 0;
            scan(&other, &ours, None, |_, _, _| found += 1);
            prop_assert_eq!(found, 0);
            prop_assert_eq!(read(&stale, None).0, groups.concat());
        }

        #[test]
        fn any_bytes_are_scanned_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..6_000)) {
            let mut bytes = bytes;
            let mark = segment().mark().to_le_bytes();
            if bytes.len() > 4_200 {
                bytes[4_096..4_100].copy_from_slice(&mark);
            }
            read(&bytes, None);
            read(&bytes, Some(End { next: 12, check: 3 }));
        }
    }
}
