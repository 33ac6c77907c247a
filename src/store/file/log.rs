//! The end of the log, where it grows: commits are packed into frames, frames written to the last
//! segment, and segments begun. One at a time, by whoever has it; the thread that does is
//! the writer's.

use std::io;
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::disk::{Disk, DiskFile, write_all};
use super::layout::{End, FRAME_HEAD, FRAMES, FrameHead, SegmentHead};
use super::reader::Segments;
use super::spares::{Spares, is_no_space};

/// Sizes of the log, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Of a segment.
    pub(crate) segment: u64,
    /// Small commits share a frame up to this.
    pub(crate) frame: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { segment: 32 << 20, frame: 16 << 10 }
    }
}

impl Sizes {
    /// No commit may be larger.
    pub(crate) fn most(&self) -> usize {
        (self.segment - FRAMES) as usize - FRAME_HEAD
    }
}

/// One commit: its records, and the positions of its events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Commit<'a> {
    pub(crate) records: &'a [u8],
    /// Of the first event; where it has none, of the next one.
    pub(crate) first: u64,
    /// The next one behind it.
    pub(crate) next: u64,
}

/// A segment of the log.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) head: SegmentHead,
    pub(crate) file: Arc<dyn DiskFile>,
    /// How many of its bytes are in use.
    pub(crate) length: u64,
}

/// The name of a segment's file.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:016x}.log")
}

/// The number of the segment with that name, if it is one.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".log").filter(|number| number.len() == 16)?;
    let number = u64::from_str_radix(number, 16).ok()?;
    (segment_name(number) == name).then_some(number)
}

/// The end of the log.
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    sizes: Sizes,
    random: fastrand::Rng,
    current: Segment,
    end: End,
    /// The position of the next event.
    next: u64,
    time: u64,
    /// How many commits have been written.
    commits: u64,
    /// What is on disk.
    safe: Safe,
    buffer: Vec<u8>,
    /// What can be read.
    segments: Segments,
    /// Segments to be written again; and who is told that one is full.
    spares: Option<(Spares, Sender<()>)>,
    /// Nothing may be written any more.
    broken: bool,
}

/// How far the log is on disk.
#[derive(Debug, Clone, Copy)]
struct Safe {
    end: End,
    next: u64,
    commits: u64,
    /// Of the segment that is written to.
    length: u64,
}

/// Where a log stands that is opened.
pub(crate) struct Stand {
    pub(crate) end: End,
    pub(crate) next: u64,
    pub(crate) time: u64,
}

impl Log {
    /// Begins with a segment of that number, behind that end.
    pub(crate) fn begin(
        disk: Arc<dyn Disk>,
        sizes: Sizes,
        mut random: fastrand::Rng,
        number: u64,
        Stand { end, next, time }: Stand,
        segments: Segments,
    ) -> io::Result<Self> {
        let current = begin_segment(&*disk, sizes, &mut random, number, end, next)?;
        segments.add(current.clone());
        Ok(Self::goes_on(disk, sizes, random, current, Stand { end, next, time }, segments))
    }

    /// Goes on at the end of a segment.
    pub(crate) fn goes_on(
        disk: Arc<dyn Disk>,
        sizes: Sizes,
        random: fastrand::Rng,
        current: Segment,
        Stand { end, next, time }: Stand,
        segments: Segments,
    ) -> Self {
        segments.show(current.length, next);
        let (buffer, spares, broken) = (Vec::new(), None, false);
        let (commits, length) = (0, current.length);
        let safe = Safe { end, next, commits, length };
        Self {
            disk,
            sizes,
            random,
            current,
            end,
            next,
            time,
            commits,
            safe,
            buffer,
            segments,
            spares,
            broken,
        }
    }

    /// From there it gets segments that may be written again, and there it tells that one is full.
    pub(crate) fn reuse(&mut self, spares: Spares, full: Sender<()>) {
        self.spares = Some((spares, full));
    }

    /// The position of the next event.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The time of the last frame, in milliseconds since 1970.
    pub(crate) fn time(&self) -> u64 {
        self.time
    }

    /// The segment that is written to, as far as it is.
    pub(crate) fn current(&self) -> &Segment {
        &self.current
    }

    /// What can be read of it, also while it is written.
    pub(crate) fn segments(&self) -> Segments {
        self.segments.clone()
    }

    /// Writes commits, in their order, each whole within one frame. They are on disk after
    /// [`Log::sync`]. `unsynced` are all that are not on disk, and so many of them were written
    /// before: where a write fails, all are written anew to another segment.
    ///
    /// # Errors
    ///
    /// What the file system says. Nothing may be written any more: the log is to be opened anew.
    pub(crate) fn append<'a>(
        &mut self,
        unsynced: impl Iterator<Item = Commit<'a>> + Clone,
        written: usize,
        now: u64,
    ) -> io::Result<()> {
        self.check()?;
        let begin = self.commits - written as u64;
        let mut appended = self.write(unsynced.clone().skip(written), now);
        if let Err(error) = &appended
            && !self.broken
            && let Some(safe) = self.safe.commits.checked_sub(begin)
        {
            tracing::error!(%error, "a write to the log failed: it is done anew in another segment");
            appended = self.renew().and_then(|()| self.write(unsynced.skip(safe as usize), now));
        }
        self.broken |= appended.is_err();
        appended
    }

    fn check(&self) -> io::Result<()> {
        if self.broken { Err(io::Error::other("an earlier write failed")) } else { Ok(()) }
    }

    /// Goes on behind what is on disk, in another segment: what is behind that in this one is
    /// unknown, and nothing may follow it.
    fn renew(&mut self) -> io::Result<()> {
        self.buffer.clear();
        let Safe { end, next, commits, length } = self.safe;
        (self.end, self.next, self.commits, self.current.length) = (end, next, commits, length);
        self.show();
        self.begin_next()
    }

    fn write<'a>(&mut self, commits: impl Iterator<Item = Commit<'a>>, now: u64) -> io::Result<()> {
        self.time = self.time.max(now);
        self.buffer.clear();
        let mut commits = commits.peekable();
        while let Some(commit) = commits.next() {
            let begin = self.buffer.len();
            self.buffer.resize(begin + FRAME_HEAD, 0);
            self.buffer.extend_from_slice(commit.records);
            let (first, mut next) = (commit.first, commit.next);
            let length = |log: &Self| log.buffer.len() - begin - FRAME_HEAD;
            let mut count = 1;
            while let Some(small) =
                commits.next_if(|more| length(self) + more.records.len() <= self.sizes.frame)
            {
                self.buffer.extend_from_slice(small.records);
                next = small.next;
                count += 1;
            }
            let frame = self.buffer.len() - begin;
            if self.current.length + self.buffer.len() as u64 > self.sizes.segment {
                self.roll(begin)?;
            }
            self.seal(frame, first);
            self.next = self.next.max(next);
            self.commits += count;
        }
        self.flush(self.buffer.len())
    }

    /// Completes the last frame of the buffer.
    fn seal(&mut self, frame: usize, first: u64) {
        let begin = self.buffer.len() - frame;
        let End { next: number, check: before } = self.end;
        let mut head = FrameHead {
            length: (frame - FRAME_HEAD) as u32,
            check: 0,
            before,
            number,
            behind: u32::try_from(number - self.safe.end.next).unwrap_or(u32::MAX),
            first,
            time: self.time,
        };
        head.seal(&self.current.head, &mut self.buffer[begin..]);
        self.end = End { next: number + 1, check: head.check };
    }

    /// Writes the first so many bytes of the buffer.
    fn flush(&mut self, length: usize) -> io::Result<()> {
        write_all(&*self.current.file, &self.buffer[..length], self.current.length)?;
        self.current.length += length as u64;
        self.buffer.drain(..length);
        Ok(())
    }

    /// The current segment is full: what is in the buffer before that place still belongs to it.
    fn roll(&mut self, begin: usize) -> io::Result<()> {
        self.flush(begin)?;
        self.sync_current()?;
        self.begin_next()
    }

    fn here(&self) -> Safe {
        let Self { end, next, commits, .. } = *self;
        Safe { end, next, commits, length: self.current.length }
    }

    /// Goes on in another segment. Where there is no room for one, it waits for it: all that was
    /// acknowledged is safe.
    fn begin_next(&mut self) -> io::Result<()> {
        let number = self.current.head.covers + 1;
        let mut spare = self.spares.as_ref().and_then(|(spares, _)| spares.take());
        let fresh = loop {
            if let Some(spare) = spare {
                self.disk.rename(&spare, &segment_name(number))?;
            }
            let (end, next) = (self.end, self.next);
            let begun = begin_segment(&*self.disk, self.sizes, &mut self.random, number, end, next);
            match (begun, &self.spares) {
                (Err(error), Some((spares, full))) if is_no_space(&error) => {
                    full.try_send(()).ok();
                    spare = Some(spares.wait().ok_or(error)?);
                }
                (begun, _) => break begun?,
            }
        };
        self.segments.add(fresh.clone());
        self.current = fresh;
        self.safe = self.here();
        if let Some((_, full)) = &self.spares {
            full.try_send(()).ok(); // once is enough
        }
        Ok(())
    }

    /// Returns when all that was written is on disk.
    ///
    /// # Errors
    ///
    /// What the file system says. What was written since the last time may be there or not, and
    /// nothing more is written: the log is to be opened anew.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.check()?;
        self.sync_current()
    }

    /// What is written may be read, although it is not on disk yet.
    pub(crate) fn show(&self) {
        self.segments.show(self.current.length, self.next);
    }

    fn sync_current(&mut self) -> io::Result<()> {
        if self.safe.end.next < self.end.next {
            // What was written before a sync that failed may be lost although the next one succeeds.
            self.current.file.sync().inspect_err(|_| self.broken = true)?;
            self.safe = self.here();
            self.show();
        }
        Ok(())
    }
}

/// Makes the file of a segment ready; one that was prepared or used before is used again.
fn begin_segment(
    disk: &dyn Disk,
    sizes: Sizes,
    random: &mut fastrand::Rng,
    number: u64,
    before: End,
    first: u64,
) -> io::Result<Segment> {
    let name = segment_name(number);
    let file = match disk.open(&name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(&name)?,
        found => found?,
    };
    if file.length()? < sizes.segment {
        file.reserve(sizes.segment)?;
    }
    let salt = random.u64(..);
    let (covers, generation, rewritten) = (number, 0, None);
    let head = SegmentHead { number, covers, generation, salt, first, before, rewritten };
    write_all(&*file, &head.write(), 0)?;
    // Its name is on disk before anything in it counts; its head when its first frames are.
    disk.sync_names()?;
    Ok(Segment { head, file, length: FRAMES })
}
