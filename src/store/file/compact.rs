//! Segments that are mostly dead, written anew with what is still needed of their events, in their place:
//! nothing moves to the tail, so the order of the log stays the order of its events. Their facts are in
//! checkpoints.

use std::io;

use super::disk::{Disk, write_all};
use super::layout::{End, FRAME_HEAD, FRAMES, FrameHead, Rewritten, SegmentHead};
use super::reader::read_frames;
use super::record::{Record, Records, put_events};
use super::segment::{Segment, segment_name};

/// How much is written between two pauses.
const STRIDE: u64 = 256 << 10;

/// Writes segments that follow each other anew, as one; of each as many bytes as are in use. `counts_as` is where the last of them ended;
/// `keep` is asked for each event, with its channel and its position.
pub(super) fn write(
    disk: &dyn Disk,
    salt: u64,
    sources: &[(Segment, u64)],
    counts_as: End,
    keep: impl Fn(u32, u64) -> bool,
    pause: &mut dyn FnMut() -> io::Result<()>,
) -> io::Result<Segment> {
    let nothing = || io::Error::other("there is nothing to compact");
    let ((first, _), (last, _)) =
        (sources.first().ok_or_else(nothing)?, sources.last().ok_or_else(nothing)?);
    let generation = sources.iter().map(|(of, _)| of.head.generation).max().unwrap_or(0) + 1;
    let head =
        SegmentHead { covers: last.head.covers, generation, salt, rewritten: None, ..first.head };
    let temporary = format!("{:016x}.new", head.number);
    match disk.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(&temporary)?;
    let (mut at, mut end, mut unsynced) = (FRAMES, head.before, 0);
    for (source, length) in sources {
        let mut place = FRAMES;
        while place < *length {
            let mut frames = Vec::new();
            let read = read_frames(source, &mut place, |frame, body| {
                let kept = kept_of(body, &keep);
                if kept.len() > FRAME_HEAD {
                    end = seal(&head, end, frame, kept, &mut frames);
                }
            })?;
            if read == 0 {
                let text = "a damaged segment is left as it is";
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            write_all(&*file, &frames, at)?;
            (at, unsynced) = (at + frames.len() as u64, unsynced + frames.len() as u64);
            if unsynced >= STRIDE {
                file.sync()?;
                unsynced = 0;
                pause()?;
            }
        }
    }
    let head = SegmentHead { rewritten: Some(Rewritten { ends: end, counts_as }), ..head };
    write_all(&*file, &head.write(), 0)?;
    file.sync()?;
    disk.rename(&temporary, &segment_name(head.number))?;
    disk.sync_names()?;
    Ok(Segment::new(head, file, at))
}

/// What is needed of a frame's body, with room for its head.
fn kept_of(body: &[u8], keep: &impl Fn(u32, u64) -> bool) -> Vec<u8> {
    let mut kept = vec![0; FRAME_HEAD];
    for record in Records::new(body).flatten() {
        if let Record::Events(events) = record
            && let Ok((runs, entries)) = events.only(keep)
            && !runs.is_empty()
        {
            put_events(&mut kept, events.first, &runs, &entries);
        }
    }
    kept
}

/// Appends a frame; where it ends.
fn seal(
    segment: &SegmentHead,
    end: End,
    was: FrameHead,
    mut frame: Vec<u8>,
    into: &mut Vec<u8>,
) -> End {
    let mut head = FrameHead {
        length: (frame.len() - FRAME_HEAD) as u32,
        before: end.check,
        number: end.next,
        behind: 0,
        ..was
    };
    head.seal(segment, &mut frame);
    into.extend_from_slice(&frame);
    End { next: head.number + 1, check: head.check }
}
