//! A directory is one process's at a time.

use std::fs::{File, TryLockError};

use super::disk::Folder;
use crate::error::{Error, ErrorKind};

/// Held as long as somebody has the log open; the kernel gives it back whatever ends the process.
const LOCK: &str = "cueline.lock";

/// A directory that is this process's.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Drop for Lock {
    /// Also if a child of this process has the file open, as it has between its fork and its exec.
    fn drop(&mut self) {
        self.0.unlock().ok();
    }
}

/// Takes the directory for this process.
///
/// # Errors
///
/// [`ErrorKind::Conflict`] if somebody has it.
pub(crate) fn lock(folder: &Folder) -> Result<Lock, Error> {
    let path = folder.path();
    let refused = |error: std::io::Error| {
        let text = format!("cannot lock the log in `{}`: {error}", path.display());
        Error::new(ErrorKind::Storage, text)
    };
    let lock = folder.file(LOCK).map_err(refused)?;
    match lock.try_lock() {
        Ok(()) => Ok(Lock(lock)),
        Err(TryLockError::WouldBlock) => Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "the log in `{}` is in use by another process, or another runtime of this one: stop \
                 that first, or give this one a directory of its own",
                path.display()
            ),
        )),
        Err(TryLockError::Error(error)) => Err(refused(error)),
    }
}
