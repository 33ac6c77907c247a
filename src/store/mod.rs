//! Where a runtime keeps what must outlive a handler. The memory engine is the first: what it
//! keeps survives every processor, and ends with the process.

use std::path::PathBuf;

use crate::error::Error;
use file::log::Sizes;

pub(crate) mod channel;
pub(crate) mod file;
pub(crate) mod memory;

/// Which engine a runtime keeps its events and state in; set with
/// [`RuntimeBuilder::store`](crate::RuntimeBuilder::store).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Store {
    /// In memory: nothing survives the process.
    #[default]
    Memory,
    /// In a log on disk.
    Directory(Directory),
}

impl Store {
    /// In memory: nothing survives the process.
    pub const fn memory() -> Self {
        Self::Memory
    }

    /// In a log on disk, in that directory, which is made if it is not there. What `publish`
    /// acknowledged is on disk; a runtime that is started with the same directory goes on where the
    /// last one ended, whatever ended it.
    pub fn directory(path: impl Into<PathBuf>) -> Directory {
        Directory { path: path.into(), limit: None }
    }
}

/// A log on disk; made by [`Store::directory`].
///
/// It keeps what it acknowledged where the file system keeps what `fdatasync` returned for, keeps names
/// once `fsync` of their directory returned, and replaces a file by `rename` in one step: ext4 and XFS in
/// their usual modes, btrfs and ZFS. It survives the end of the process, however that comes, on any. It
/// does not on file systems that pretend to sync (some network ones, or mounted with `nobarrier`), nor
/// when the disk itself loses what it said was written. One process has it at a time; a network file
/// system must know `flock` for that.
///
/// What the disk damages later is found by its checksums, and said; but damage to the last batch before a
/// power failure cannot be told from a write that it tore.
///
/// ```
/// # use cueline::prelude::*;
/// const GIB: u64 = 1 << 30;
/// let builder = Runtime::builder("airline").store(Store::directory("./data").limit(20 * GIB));
/// ```
#[derive(Debug, Clone)]
pub struct Directory {
    pub(crate) path: PathBuf,
    pub(crate) limit: Option<u64>,
}

/// A log takes no event that is larger, in bytes as it is encoded.
pub(crate) const LARGEST_EVENT: usize = 16 << 20;
/// And no more than so much at once.
pub(crate) const LARGEST_BATCH: usize = 64 << 20;

/// A log has so many segments, at least, when it has reached its limit.
const LEAST_SEGMENTS: u64 = 16;
/// A limit must not be less.
const LEAST_LIMIT: u64 = 16 << 20;

impl Directory {
    /// How many bytes the log may take on disk, at least 16 MiB. Default: as many as there are.
    ///
    /// When they are used up, or the disk is full, publishers are refused
    /// ([`Refused::NoSpace`](crate::Refused::NoSpace)) until enough has been consumed; processors go on
    /// from a reserve that is within the limit.
    #[must_use]
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = Some(bytes);
        self
    }

    pub(crate) fn sizes(&self) -> Result<Sizes, Error> {
        let usual = Sizes::default();
        let Some(limit) = self.limit else { return Ok(usual) };
        if limit < LEAST_LIMIT {
            return Err(Error::config(format!(
                "`limit({limit})`: a log needs at least {LEAST_LIMIT} bytes"
            )));
        }
        let segment = (limit / LEAST_SEGMENTS).next_multiple_of(4096).min(usual.segment);
        Ok(Sizes { segment, ..usual })
    }
}

impl From<Directory> for Store {
    fn from(directory: Directory) -> Self {
        Self::Directory(directory)
    }
}
