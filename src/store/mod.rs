//! Where a runtime keeps what must outlive a handler. The memory engine is the first: what it
//! keeps survives every processor, and ends with the process.

use std::path::PathBuf;

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
    /// In a log on disk, in that directory.
    Directory(PathBuf),
}

impl Store {
    /// In memory: nothing survives the process.
    pub const fn memory() -> Self {
        Self::Memory
    }

    /// In a log on disk, in that directory, which is made if it is not there. What `publish`
    /// acknowledged is on disk; a runtime that is started with the same directory goes on where the
    /// last one ended, whatever ended it.
    ///
    /// Not finished: there are no limits on its size, and what belongs to processors that are gone is
    /// kept for ever.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self::Directory(path.into())
    }
}
