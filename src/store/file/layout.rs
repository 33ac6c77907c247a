//! The head of a segment and the head of a frame, byte by byte. Pure.
//!
//! A segment is a file of fixed size. At its start stands its head, twice, so that one damaged block
//! does not cost the whole; its frames begin at [`FRAMES`]. A frame is one or several commits that
//! are kept together or not at all.
//!
//! Segments are used again, with what they held before still in them. A frame belongs to its segment
//! only if it begins with the segment's own mark, its checksum begins with the segment's salt, and it
//! names its predecessor's checksum.

use super::bytes::{Bytes, Malformed, Read};

/// The version of everything that is stored. A higher one is refused untouched.
pub(crate) const VERSION: u32 = 1;

/// Where the frames of a segment begin.
pub(crate) const FRAMES: u64 = 4096;
/// Where the second copy of the head is.
pub(crate) const SECOND_HEAD: usize = 2048;

const MAGIC: [u8; 8] = *b"cueline\n";
const HEAD: usize = 8 + 4 + 4 + 4 * 8 + 3 * 12 + 4;

/// Where a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct End {
    /// The number of the frame that comes next.
    pub(crate) next: u64,
    pub(crate) check: u32,
}

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    pub(crate) number: u64,
    /// The last segment whose frames are in here: this one, unless others were merged into it.
    pub(crate) covers: u64,
    /// How often it was written anew with less in it.
    pub(crate) generation: u32,
    pub(crate) salt: u64,
    /// The position of the first event that can be in it.
    pub(crate) first: u64,
    /// Where the segment before it ended.
    pub(crate) before: End,
    pub(crate) rewritten: Option<Rewritten>,
}

/// A segment that was written anew, with less in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rewritten {
    pub(crate) ends: End,
    /// Where the one ended in whose place it is, which its successor knows.
    pub(crate) counts_as: End,
}

const NOWHERE: End = End { next: u64::MAX, check: 0 };
const NEVER: Rewritten = Rewritten { ends: NOWHERE, counts_as: NOWHERE };

/// Why a head is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoHead {
    /// It is damaged, or there is none.
    Unreadable,
    /// It was written by a later version than this one.
    Newer(u32),
}

impl SegmentHead {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut page = vec![0; FRAMES as usize];
        let mut head = Vec::with_capacity(HEAD);
        head.extend(MAGIC);
        head.extend(VERSION.to_le_bytes());
        head.extend(self.generation.to_le_bytes());
        for number in [self.number, self.covers, self.salt, self.first] {
            head.extend(number.to_le_bytes());
        }
        let rewritten = self.rewritten.unwrap_or(NEVER);
        for end in [self.before, rewritten.ends, rewritten.counts_as] {
            head.extend(end.next.to_le_bytes());
            head.extend(end.check.to_le_bytes());
        }
        head.extend(crc32c::crc32c(&head).to_le_bytes());
        page[..HEAD].copy_from_slice(&head);
        page[SECOND_HEAD..SECOND_HEAD + HEAD].copy_from_slice(&head);
        page
    }

    /// Reads it from the first bytes of a file.
    pub(crate) fn read(page: &[u8]) -> Result<Self, NoHead> {
        let first = Self::read_one(page);
        let second = || Self::read_one(page.get(SECOND_HEAD..).unwrap_or_default());
        match first {
            Ok(head) => Ok(head),
            Err(newer @ NoHead::Newer(_)) => Err(newer),
            Err(NoHead::Unreadable) => second(),
        }
    }

    fn read_one(bytes: &[u8]) -> Result<Self, NoHead> {
        let unreadable = |_: Malformed| NoHead::Unreadable;
        let mut read = Bytes(bytes);
        let magic = read.take(MAGIC.len()).map_err(unreadable)?;
        let version = read.u32().map_err(unreadable)?;
        if magic != MAGIC || version == 0 {
            return Err(NoHead::Unreadable);
        }
        let checked = bytes.get(..HEAD - 4).ok_or(NoHead::Unreadable)?;
        let right = Bytes(&bytes[HEAD - 4..]).u32() == Ok(crc32c::crc32c(checked));
        if version > VERSION {
            return Err(NoHead::Newer(version)); // whatever its checksum is like
        }
        if !right {
            return Err(NoHead::Unreadable);
        }
        Self::fields(&mut read).map_err(unreadable)
    }

    fn fields(read: &mut Bytes<'_>) -> Read<Self> {
        let generation = read.u32()?;
        let [number, covers, salt, first] = [read.u64()?, read.u64()?, read.u64()?, read.u64()?];
        let mut end = || Ok(End { next: read.u64()?, check: read.u32()? });
        let [before, ends, counts_as] = [end()?, end()?, end()?];
        let rewritten = Rewritten { ends, counts_as };
        let rewritten = (rewritten != NEVER).then_some(rewritten);
        Ok(Self { number, covers, generation, salt, first, before, rewritten })
    }

    /// What each of its frames begins with.
    pub(crate) fn mark(&self) -> u32 {
        crc32c::crc32c_append(self.generation, &self.salt.to_le_bytes())
    }
}

/// How long the head of a frame is.
pub(crate) const FRAME_HEAD: usize = 4 + 4 + 4 + 4 + 8 + 4 + 8 + 8;

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHead {
    /// How long its body is.
    pub(crate) length: u32,
    pub(crate) check: u32,
    /// The checksum of the frame before it.
    pub(crate) before: u32,
    /// Grows by one with every frame of the log.
    pub(crate) number: u64,
    /// So many frames before it were not known to be on disk when it was written.
    pub(crate) behind: u32,
    /// The position of its first event, or of the next one if it has none.
    pub(crate) first: u64,
    /// Milliseconds since 1970; never less than in a frame before it.
    pub(crate) time: u64,
}

impl FrameHead {
    /// All frames before that number were on disk when it was written.
    pub(crate) fn synced(&self) -> u64 {
        self.number - u64::from(self.behind).min(self.number)
    }

    fn fields(&self) -> [u8; FRAME_HEAD - 12] {
        let mut bytes = [0; FRAME_HEAD - 12];
        let (before, number) = (self.before.to_le_bytes(), self.number.to_le_bytes());
        let (behind, first) = (self.behind.to_le_bytes(), self.first.to_le_bytes());
        bytes[..4].copy_from_slice(&before);
        bytes[4..12].copy_from_slice(&number);
        bytes[12..16].copy_from_slice(&behind);
        bytes[16..24].copy_from_slice(&first);
        bytes[24..32].copy_from_slice(&self.time.to_le_bytes());
        bytes
    }

    fn checksum(&self, salt: u64, body: &[u8]) -> u32 {
        let check = crc32c::crc32c(&salt.to_le_bytes());
        let check = crc32c::crc32c_append(check, &self.length.to_le_bytes());
        let check = crc32c::crc32c_append(check, &self.fields());
        crc32c::crc32c_append(check, body)
    }

    /// Writes a head with its checksum into the room that was left for it before the body.
    pub(crate) fn seal(&mut self, segment: &SegmentHead, frame: &mut [u8]) {
        let (head, body) = frame.split_at_mut(FRAME_HEAD);
        self.check = self.checksum(segment.salt, body);
        head[..4].copy_from_slice(&segment.mark().to_le_bytes());
        head[4..8].copy_from_slice(&self.length.to_le_bytes());
        head[8..12].copy_from_slice(&self.check.to_le_bytes());
        head[12..].copy_from_slice(&self.fields());
    }

    /// The frame at the start of `bytes`, and its body; nothing if there is none whole and right.
    pub(crate) fn read<'a>(segment: &SegmentHead, bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let head = Self::peek(segment, bytes)?;
        let body = bytes.get(FRAME_HEAD..FRAME_HEAD + head.length as usize)?;
        (head.check == head.checksum(segment.salt, body)).then_some((head, body))
    }

    /// As [`FrameHead::read`], of the head alone: whether its body is there and right is not known.
    pub(crate) fn peek(segment: &SegmentHead, bytes: &[u8]) -> Option<Self> {
        let mut read = Bytes(bytes.get(..FRAME_HEAD)?);
        if read.u32() != Ok(segment.mark()) {
            return None;
        }
        Self::parse(&mut read).ok()
    }

    /// Whether these bytes were once the frame behind that end, or the beginning of it: damage to one
    /// part of its head leaves the other.
    pub(crate) fn was_there(segment: &SegmentHead, end: End, bytes: &[u8]) -> bool {
        let mut read = Bytes(bytes);
        let marked = read.u32() == Ok(segment.mark());
        let follows = read.take(8).and_then(|_| Ok((read.u32()?, read.u64()?)));
        marked || follows == Ok((end.check, end.next))
    }

    fn parse(read: &mut Bytes<'_>) -> Read<Self> {
        let [length, check, before] = [read.u32()?, read.u32()?, read.u32()?];
        let (number, behind) = (read.u64()?, read.u32()?);
        let (first, time) = (read.u64()?, read.u64()?);
        Ok(Self { length, check, before, number, behind, first, time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head() -> SegmentHead {
        SegmentHead {
            number: 3,
            covers: 3,
            generation: 1,
            salt: 99,
            first: 1_000,
            before: End { next: 7, check: 8 },
            rewritten: None,
        }
    }

    #[test]
    fn a_head_comes_back_also_from_its_second_copy() {
        let (ends, counts_as) = (End { next: 9, check: 10 }, End { next: 11, check: 12 });
        for rewritten in [None, Some(Rewritten { ends, counts_as })] {
            let head = SegmentHead { rewritten, ..head() };
            let mut page = head.write();
            assert_eq!(SegmentHead::read(&page), Ok(head));
            page[..HEAD].fill(0xff);
            assert_eq!(SegmentHead::read(&page), Ok(head));
            page[SECOND_HEAD] = 0;
            assert_eq!(SegmentHead::read(&page), Err(NoHead::Unreadable));
        }
    }

    #[test]
    fn a_later_version_is_known_as_such() {
        let mut page = head().write();
        page[8] = 2;
        assert_eq!(SegmentHead::read(&page), Err(NoHead::Newer(2)));
        assert_eq!(SegmentHead::read(&[]), Err(NoHead::Unreadable));
    }

    proptest! {
        /// A flipped bit anywhere makes it no frame, and so does another salt.
        #[test]
        fn a_frame_is_right_or_none(body: Vec<u8>, numbers: (u32, u64, u32, u64, u64), flip: usize) {
            let (before, number, behind, first, time) = numbers;
            let length = body.len() as u32;
            let mut frame = FrameHead { length, check: 0, before, number, behind, first, time };
            let mut bytes = vec![0; FRAME_HEAD];
            bytes.extend(&body);
            frame.seal(&head(), &mut bytes);
            prop_assert_eq!(FrameHead::read(&head(), &bytes), Some((frame, &body[..])));
            let other = SegmentHead { salt: 98, ..head() };
            prop_assert_eq!(FrameHead::read(&other, &bytes), None);
            let bit = flip % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(FrameHead::read(&head(), &bytes), None);
        }
    }
}
