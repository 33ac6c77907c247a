//! Segments that are begun: made ready under a name of their own, and part of the log when they get
//! theirs.

use std::io;
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::disk::{Disk, DiskFile, write_all};
use super::layout::{End, FRAMES, SegmentHead};
use super::segment::{Segment, segment_name};
use super::spares::{Spares, is_no_space};

/// Where the log gets its segments.
pub(super) struct Source {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) random: fastrand::Rng,
    /// How long each is.
    pub(super) size: u64,
    /// Segments to be written again; and who is told that one is full.
    pub(super) spares: Option<(Spares, Sender<()>)>,
}

/// A segment that is not part of the log yet.
pub(super) struct Fresh {
    name: String,
    pub(super) segment: Segment,
}

impl Source {
    /// Makes a segment of that number ready, behind that end. Where there is no room for one, it waits
    /// for it: all that was acknowledged is safe.
    pub(super) fn fresh(&mut self, number: u64, before: End, first: u64) -> io::Result<Fresh> {
        let mut spare = self.spares.as_ref().and_then(|(spares, _)| spares.take());
        let (name, file) = loop {
            let made = match spare {
                Some(spare) => match self.disk.open(&spare) {
                    Ok(file) => Ok((spare, file)),
                    Err(error) => {
                        self.give_back(&spare);
                        Err(error)
                    }
                },
                None => self.make(format!("{number:016x}.new")),
            };
            match (made, &self.spares) {
                (Err(error), Some((spares, _))) if is_no_space(&error) => {
                    self.say_full();
                    spare = Some(spares.wait().ok_or(error)?);
                }
                (made, _) => break made?,
            }
        };
        let (salt, covers, generation, rewritten) = (self.random.u64(..), number, 0, None);
        let head = SegmentHead { number, covers, generation, salt, first, before, rewritten };
        let fresh = Fresh { name, segment: Segment::new(head, file, FRAMES) };
        // It is on disk when its first frames are.
        let written = write_all(&*fresh.segment.file, &head.write(), 0);
        written.inspect_err(|_| self.discard(&fresh))?;
        Ok(fresh)
    }

    fn make(&self, name: String) -> io::Result<(String, Arc<dyn DiskFile>)> {
        let file = match self.disk.create(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.disk.open(&name),
            made => made,
        };
        let file = file?;
        if file.length()? < self.size {
            let reserved = file.reserve(self.size);
            reserved.inspect_err(|_| drop(self.disk.remove(&name)))?;
        }
        Ok((name, file))
    }

    /// It is part of the log from now on, in the place of the one that had its number, if there was one.
    pub(super) fn enters(&self, fresh: &Fresh) -> io::Result<()> {
        self.disk.rename(&fresh.name, &segment_name(fresh.segment.head.number))?;
        // Before anything in it counts.
        self.disk.sync_names()
    }

    /// It is not needed after all.
    pub(super) fn discard(&self, fresh: &Fresh) {
        self.give_back(&fresh.name);
    }

    /// Where it cannot be: the next process clears it away.
    fn give_back(&self, name: &str) {
        match &self.spares {
            Some((spares, _)) if name.strip_suffix(".spare").is_some() => spares.give(name).ok(),
            _ => self.disk.remove(name).ok(),
        };
    }

    /// A segment is full.
    pub(super) fn say_full(&self) {
        if let Some((_, full)) = &self.spares {
            full.try_send(()).ok(); // once is enough
        }
    }
}
