//! Segments that are made ready before they are needed. They are the reserve for a full disk: when no
//! more can be made, nothing new is taken in, and what is needed to work off what is there goes on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::disk::{Disk, is_too_many};

/// So many are to be ready.
pub(crate) const READY: usize = 3;
/// What was used before is better than a fresh one: so many more are kept.
const MOST: usize = READY + 1;
/// How often somebody looks whether there is room again.
pub(crate) const RETRY: Duration = Duration::from_millis(200);

/// Segments to be written again, by their names.
#[derive(Clone)]
pub(crate) struct Spares {
    disk: Arc<dyn Disk>,
    /// How long each is.
    size: u64,
    /// So many bytes are to be used in all, at most.
    limit: Option<u64>,
    give: Sender<String>,
    take: Receiver<String>,
    short: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
}

/// Whether the file system says that there is no room: on the disk, for this user, or for one more file.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) || is_too_many(error)
}

impl Spares {
    pub(crate) fn new(disk: Arc<dyn Disk>, size: u64, limit: Option<u64>) -> Self {
        let (give, take) = crossbeam_channel::bounded(MOST);
        let (short, closed) = (Arc::default(), Arc::default());
        Self { disk, size, limit, give, take, short, closed }
    }

    /// No more can be made ready: nothing new is to be taken in.
    pub(crate) fn is_short(&self) -> bool {
        self.short.load(SeqCst)
    }

    /// How long each is, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes are ready.
    pub(super) fn bytes(&self) -> u64 {
        self.take.len() as u64 * self.size
    }

    pub(super) fn take(&self) -> Option<String> {
        self.take.try_iter().find(|spare| self.is_ours_alone(spare))
    }

    /// One that a backup has as well must not be written to: it is left to the backup. Nobody links it
    /// any more, since it has not its old name.
    fn is_ours_alone(&self, spare: &str) -> bool {
        let links = self.disk.open(spare).and_then(|file| file.links());
        let alone = links.is_ok_and(|links| links == 1);
        if !alone {
            self.disk.remove(spare).ok();
        }
        alone
    }

    /// Nobody is to wait for one any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
    }

    /// Waits for one; none if nobody is to wait any more.
    pub(super) fn wait(&self) -> Option<String> {
        while !self.closed.load(SeqCst) {
            self.short.store(true, SeqCst);
            let spare = self.take.recv_timeout(RETRY).ok();
            if let Some(spare) = spare.filter(|spare| self.is_ours_alone(spare)) {
                return Some(spare);
            }
        }
        None
    }

    /// A file that is not needed any more is kept to be written again, or removed.
    pub(super) fn give(&self, name: &str) -> io::Result<()> {
        let fits = || self.disk.open(name)?.length();
        if self.give.is_full() || fits()? != self.size {
            return self.disk.remove(name);
        }
        let stem = name.split('.').next().unwrap_or_default();
        let spare = format!("{stem}.spare");
        if spare != name {
            self.disk.rename(name, &spare)?;
        }
        self.give.try_send(spare).ok();
        Ok(())
    }

    /// Makes as many ready as there are to be, if so many bytes are used by now. Whether there was room
    /// for all.
    ///
    /// # Errors
    ///
    /// What the file system says, but for that it has no room.
    pub(super) fn provide(&self, used: u64) -> io::Result<bool> {
        let made = self.make(self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(used)));
        let short = match &made {
            Ok(all) => !all,
            Err(error) => is_no_space(error),
        };
        self.short.store(short, SeqCst);
        match made {
            Err(error) if !short => Err(error),
            _ => Ok(!short),
        }
    }

    fn make(&self, mut room: u64) -> io::Result<bool> {
        while self.take.len() < READY {
            if room < self.size || !self.disk.may_open_more() {
                return Ok(false);
            }
            room -= self.size;
            let name = self.fresh_name()?;
            let reserved = self.disk.create(&name)?.reserve(self.size);
            if let Err(error) = reserved {
                self.disk.remove(&name)?;
                return Err(error);
            }
            self.give.try_send(name).ok();
        }
        Ok(true)
    }

    /// No segment's number is as high.
    fn fresh_name(&self) -> io::Result<String> {
        let names = self.disk.names()?;
        let name = |count: u64| format!("{:016x}.spare", u64::MAX - count);
        let free = (0..=names.len() as u64).map(name).find(|name| !names.contains(name));
        Ok(free.unwrap_or_default())
    }
}
