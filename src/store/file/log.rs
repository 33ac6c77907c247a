//! The end of the log, where it grows: commits are packed into frames, frames written to the last
//! segment, and segments begun. One at a time, by whoever has it; the thread that does is
//! the writer's.

use std::io;
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::disk::{Disk, write_all};
use super::fresh::{Fresh, Source};
use super::layout::{End, FRAME_HEAD, FRAMES, FrameHead, SegmentHead};
use super::reader::Segments;
use super::segment::Segment;
use super::spares::Spares;

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

/// One commit: its records, and the positions of its events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Commit<'a> {
    pub(crate) records: &'a [u8],
    /// Of the first event; where it has none, of the next one.
    pub(crate) first: u64,
    /// The next one behind it.
    pub(crate) next: u64,
}

/// The end of the log.
pub(crate) struct Log {
    source: Source,
    sizes: Sizes,
    current: Segment,
    /// What the current segment is, as long as it is not part of the log.
    fresh: Option<Fresh>,
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
    /// What is behind the last sync is unknown: nothing more is written there.
    broken: bool,
    /// What is being written anew, until all of it is.
    hidden: Option<Hidden>,
}

/// Segments that nobody reads yet.
struct Hidden {
    /// They take the place of what is behind that length of the segment of that number.
    from: (u64, u64),
    /// That one's.
    salt: u64,
    segments: Vec<Segment>,
}

impl Hidden {
    fn holds(&mut self, segment: Segment) {
        self.segments.retain(|of| of.head.number != segment.head.number);
        self.segments.push(segment);
    }
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
        random: fastrand::Rng,
        number: u64,
        Stand { end, next, time }: Stand,
        segments: Segments,
    ) -> io::Result<Self> {
        let mut source = Source { disk, random, size: sizes.segment, spares: None };
        let fresh = source.fresh(number, end, next)?;
        source.enters(&fresh)?;
        segments.add(fresh.segment.clone());
        let stand = Stand { end, next, time };
        Ok(Self::stands(source, sizes, fresh.segment, stand, segments))
    }

    /// Goes on at the end of a segment.
    pub(crate) fn goes_on(
        disk: Arc<dyn Disk>,
        sizes: Sizes,
        random: fastrand::Rng,
        current: Segment,
        stand: Stand,
        segments: Segments,
    ) -> Self {
        let source = Source { disk, random, size: sizes.segment, spares: None };
        Self::stands(source, sizes, current, stand, segments)
    }

    fn stands(
        source: Source,
        sizes: Sizes,
        current: Segment,
        Stand { end, next, time }: Stand,
        segments: Segments,
    ) -> Self {
        segments.show(current.length, next);
        let (buffer, fresh, broken, hidden) = (Vec::new(), None, false, None);
        let (commits, length) = (0, current.length);
        let safe = Safe { end, next, commits, length };
        Self {
            source,
            sizes,
            current,
            fresh,
            end,
            next,
            time,
            commits,
            safe,
            buffer,
            segments,
            broken,
            hidden,
        }
    }

    /// From there it gets segments that may be written again, and there it tells that one is full.
    pub(crate) fn reuse(&mut self, spares: Spares, full: Sender<()>) {
        self.source.spares = Some((spares, full));
    }

    /// How many commits have been written.
    pub(crate) fn commits(&self) -> u64 {
        self.commits
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
    #[cfg(test)]
    pub(crate) fn current(&self) -> &Segment {
        &self.current
    }

    /// What can be read of it, also while it is written.
    pub(crate) fn segments(&self) -> Segments {
        self.segments.clone()
    }

    /// Writes commits, in their order, each whole within one frame. They are on disk after
    /// [`Log::sync`].
    ///
    /// # Errors
    ///
    /// What the file system says. Only [`Log::redo`] may be asked for then.
    pub(crate) fn append<'a>(
        &mut self,
        commits: impl Iterator<Item = Commit<'a>>,
        now: u64,
    ) -> io::Result<()> {
        self.check()?;
        self.write(commits, now).inspect_err(|_| self.broken = true)
    }

    /// Returns when all that was written is on disk.
    ///
    /// # Errors
    ///
    /// What the file system says. What was written since the last time may be there or not. Only
    /// [`Log::redo`] may be asked for then.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.check()?;
        self.sync_current()?;
        if let Some(mut hidden) = self.hidden.take() {
            hidden.holds(self.current.clone());
            self.segments.goes_on(hidden.from, hidden.segments, self.next);
        }
        Ok(())
    }

    /// Writes one commit, and returns when it is on disk.
    ///
    /// # Errors
    ///
    /// As [`Log::append`].
    #[cfg(any(test, feature = "tools"))]
    pub(crate) fn keep(&mut self, commit: Commit<'_>, now: u64) -> io::Result<()> {
        self.append(std::iter::once(commit), now)?;
        self.sync()
    }

    /// All that is not on disk is written anew, to another segment, to be synced next: after a write or a sync that failed
    /// nobody knows what the disk has of it, whatever it says later (A. Rebello et al., "Can
    /// Applications Recover from fsync Failures?", 2020). It counts from then on, and what was written
    /// before does until then: whoever opens the log of a process that was killed finds one or the other,
    /// and so does whoever reads.
    /// `unsynced` begins with the first commit that was handed over after so many others.
    ///
    /// # Errors
    ///
    /// What the file system says. It may be asked for again.
    pub(crate) fn redo<'a>(
        &mut self,
        unsynced: impl Iterator<Item = Commit<'a>>,
        after: u64,
        now: u64,
    ) -> io::Result<()> {
        self.broken = true;
        self.buffer.clear();
        let Safe { end, next, commits, length } = self.safe;
        if let Some(fresh) = self.fresh.take() {
            self.source.discard(&fresh);
        }
        let SegmentHead { number, covers, salt, .. } = self.current.head;
        match &mut self.hidden {
            None => {
                let (from, segments) = ((number, length), Vec::new());
                self.hidden = Some(Hidden { from, salt, segments });
            }
            // Some of what was written anew is safe there.
            Some(hidden) if length > FRAMES && hidden.salt != salt => {
                hidden.holds(Segment { length, ..self.current.clone() });
            }
            Some(_) => {}
        }
        // One that holds nothing that counts is replaced.
        let number = if length > FRAMES { covers + 1 } else { number };
        (self.end, self.next, self.commits) = (end, next, commits);
        let fresh = self.source.fresh(number, end, next)?;
        self.current = fresh.segment.clone();
        self.fresh = Some(fresh);
        self.safe = self.here();
        self.write(unsynced.skip((commits - after) as usize), now)?;
        self.broken = false;
        Ok(())
    }

    /// The current segment is part of the log, if it was not.
    fn enter(&mut self) -> io::Result<()> {
        if let Some(fresh) = &self.fresh {
            self.source.enters(fresh)?;
            self.fresh = None;
        }
        Ok(())
    }

    fn check(&self) -> io::Result<()> {
        if self.broken { Err(io::Error::other("an earlier write failed")) } else { Ok(()) }
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
        self.flush(self.buffer.len())?;
        self.enter()
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
        self.enter()?;
        self.sync_current()?;
        self.begin_next()
    }

    fn here(&self) -> Safe {
        let Self { end, next, commits, .. } = *self;
        Safe { end, next, commits, length: self.current.length }
    }

    /// Goes on in another segment.
    fn begin_next(&mut self) -> io::Result<()> {
        let number = self.current.head.covers + 1;
        let fresh = self.source.fresh(number, self.end, self.next)?;
        self.source.enters(&fresh).inspect_err(|_| self.source.discard(&fresh))?;
        match &mut self.hidden {
            None => self.segments.add(fresh.segment.clone()),
            Some(hidden) => hidden.holds(self.current.clone()),
        }
        self.current = fresh.segment;
        self.safe = self.here();
        self.source.say_full();
        Ok(())
    }

    /// What is written may be read, although it is not on disk yet.
    pub(crate) fn show(&self) {
        if self.hidden.is_none() {
            self.segments.show(self.current.length, self.next);
        }
    }

    fn sync_current(&mut self) -> io::Result<()> {
        if self.safe.end.next < self.end.next {
            self.current.file.sync().inspect_err(|_| self.broken = true)?;
            self.safe = self.here();
            self.show();
        }
        Ok(())
    }
}
