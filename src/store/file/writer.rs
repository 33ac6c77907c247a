//! The one thread that writes: it takes all that waits, writes it once, syncs once, and says so to
//! all who wait (group commit; P. Helland et al., "Group Commit Timers and High Volume Transaction
//! Systems", 1987).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};

use super::log::{Commit, Log};
use crate::clock::Timestamp;

/// What the writer writes at once: records, commit by commit.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) records: Vec<u8>,
    /// Where each commit's records end, and the positions of its events.
    commits: Vec<(usize, u64, u64)>,
}

impl Group {
    /// What was put into `records` since the last time is one commit.
    pub(crate) fn commit(&mut self, first: u64, next: u64) {
        let begin = self.commits.last().map_or(0, |(end, ..)| *end);
        if self.records.len() > begin {
            self.commits.push((self.records.len(), first, next));
        }
    }

    fn commits(&self) -> impl Iterator<Item = Commit<'_>> {
        let begins = std::iter::once(0).chain(self.commits.iter().map(|(end, ..)| *end));
        let each = begins.zip(&self.commits);
        each.map(|(begin, &(end, first, next))| {
            let records = &self.records[begin..end];
            Commit { records, first, next }
        })
    }

    fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    fn clear(&mut self) {
        self.records.clear();
        self.commits.clear();
    }
}

/// From whom the writer gets its work, and whom it tells what became of it. All of it is called on
/// the writer's thread.
pub(crate) trait Feed: Send + 'static {
    /// Puts all that waits into the group, in order. Returns whether there was anything at all.
    fn take(&mut self, group: &mut Group) -> bool;
    /// What was taken is kept.
    fn kept(&mut self);
    /// What was taken may be on disk or not, and nothing more will be.
    fn failed(&mut self, error: &io::Error);
    /// The writer has nothing to do; asked once more whether anything waits after it has said so.
    fn is_idle(&mut self) -> bool;
}

/// Where the writer is rung for.
#[derive(Clone)]
pub(crate) struct Bell {
    ring: Sender<()>,
    asleep: Arc<AtomicBool>,
}

impl Bell {
    /// Something waits, and is to be written now. To be called after it is where it is taken from.
    #[inline]
    pub(crate) fn ring(&self) {
        if self.asleep.load(SeqCst) {
            self.ring.try_send(()).ok(); // if it is rung already, that will do
        }
    }
}

/// The writer's thread.
pub(crate) struct Writer {
    bell: Bell,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<Log>>,
}

/// A bell for a writer to come.
pub(crate) fn bell() -> (Bell, Receiver<()>) {
    let (ring, rung) = crossbeam_channel::bounded(1);
    (Bell { ring, asleep: Arc::default() }, rung)
}

impl Writer {
    /// Starts it.
    pub(crate) fn start(
        log: Log,
        feed: impl Feed,
        (bell, rung): (Bell, Receiver<()>),
    ) -> io::Result<Self> {
        let ends = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("cueline-writer".to_owned()).spawn({
            let (bell, ends) = (bell.clone(), ends.clone());
            move || run(log, feed, &bell, &rung, &ends)
        })?;
        Ok(Self { bell, ends, thread: Some(thread) })
    }

    /// Writes what waits, and ends. The log as it is then; none if the writer panicked, or has been
    /// stopped before.
    pub(crate) fn stop(&mut self) -> Option<Log> {
        let thread = self.thread.take()?;
        self.ends.store(true, SeqCst);
        self.bell.ring.try_send(()).ok();
        thread.join().ok()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(
    mut log: Log,
    mut feed: impl Feed,
    bell: &Bell,
    rung: &Receiver<()>,
    ends: &AtomicBool,
) -> Log {
    let mut group = Group::default();
    loop {
        let ending = ends.load(SeqCst);
        group.clear();
        if feed.take(&mut group) {
            let written = match group.is_empty() {
                true => Ok(()),
                false => log
                    .append(group.commits(), Timestamp::now().as_millis())
                    .and_then(|()| log.sync()),
            };
            match written {
                Ok(()) => feed.kept(),
                Err(error) => feed.failed(&error),
            }
            continue;
        }
        if ending {
            return log;
        }
        bell.asleep.store(true, SeqCst);
        if feed.is_idle() && rung.recv().is_err() {
            return log;
        }
        bell.asleep.store(false, SeqCst);
    }
}
