//! The one thread that writes: it takes all that waits, writes it once, syncs once, and says so to
//! all who wait (group commit; P. Helland et al., "Group Commit Timers and High Volume Transaction
//! Systems", 1987).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::log::{Commit, Log};
use crate::clock::Timestamp;
use crate::slice::ask_for_short_slices;

/// What is not on disk yet: records, commit by commit.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) records: Vec<u8>,
    /// Where each commit's records end, and the positions of its events.
    commits: Vec<(usize, u64, u64)>,
    /// Within that time it is to be on disk.
    within: Option<Duration>,
}

impl Group {
    /// What was put into `records` since the last time is one commit.
    pub(crate) fn commit(&mut self, first: u64, next: u64) {
        let begin = self.commits.last().map_or(0, |(end, ..)| *end);
        if self.records.len() > begin {
            self.commits.push((self.records.len(), first, next));
        }
    }

    /// What was put into `records` is to be on disk within that time.
    pub(crate) fn within(&mut self, within: Duration) {
        self.within = Some(self.within.map_or(within, |before| before.min(within)));
    }

    fn commits(&self) -> impl Iterator<Item = Commit<'_>> + Clone {
        let begins = std::iter::once(0).chain(self.commits.iter().map(|(end, ..)| *end));
        let each = begins.zip(&self.commits);
        each.map(|(begin, &(end, first, next))| {
            let records = &self.records[begin..end];
            Commit { records, first, next }
        })
    }

    fn clear(&mut self) {
        self.records.clear();
        self.commits.clear();
        self.within = None;
    }
}

/// From whom the writer gets its work, and whom it tells what became of it. All of it is called on
/// the writer's thread.
pub(crate) trait Feed: Send + 'static {
    /// Puts all that waits into the group, in order. Returns whether there was anything at all.
    fn take(&mut self, group: &mut Group) -> bool;
    /// What was taken last is written; and all that is written is on disk, if it is `synced`.
    fn written(&mut self, synced: bool);
    /// What that took.
    fn wrote(&mut self, wrote: Wrote);
    /// All that is written is on disk.
    fn synced(&mut self);
    /// What was taken could not be written, for the `times`-th time: it may be on disk or not. It is tried
    /// again, until it is [`written`](Feed::written) or [`given_up`](Feed::given_up).
    fn failed(&mut self, error: &io::Error, times: u32);
    /// It is never written: this is the end.
    fn given_up(&mut self);
    /// The writer has nothing to do; asked once more whether anything waits after it has said so.
    fn is_idle(&mut self) -> bool;
}

/// What was written at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wrote {
    pub(crate) commits: u64,
    pub(crate) bytes: u64,
    /// Until it was on disk.
    pub(crate) synced: Option<Duration>,
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

/// So many bytes are on their way to the disk at most.
const MOST_UNSYNCED: usize = 4 << 20;

/// A disk that failed is asked again at once, then so soon, and later and later.
const SOON: Duration = Duration::from_millis(20);
const LATER: Duration = Duration::from_secs(2);

/// Tries again until it succeeds; false if the writer is to end before.
fn retry(
    mut again: impl FnMut() -> io::Result<()>,
    mut error: io::Error,
    feed: &mut impl Feed,
    rung: &Receiver<()>,
    ends: &AtomicBool,
) -> bool {
    let mut wait = SOON;
    for times in 1.. {
        feed.failed(&error, times);
        if times > 1 {
            // Whoever ends it rings.
            rung.recv_timeout(wait).ok();
            wait = (wait * 2).min(LATER);
            if ends.load(SeqCst) {
                break;
            }
        }
        match again() {
            Ok(()) => return true,
            Err(more) => error = more,
        }
    }
    false
}

fn run(
    mut log: Log,
    mut feed: impl Feed,
    bell: &Bell,
    rung: &Receiver<()>,
    ends: &AtomicBool,
) -> Log {
    ask_for_short_slices();
    let mut group = Group::default();
    // So many commits were written before it.
    let mut after = log.commits();
    // When the group is to be on disk.
    let mut due: Option<Instant> = None;
    loop {
        let ending = ends.load(SeqCst);
        let (before, bytes_before) = (group.commits.len(), group.records.len());
        let any = feed.take(&mut group);
        if let Some(within) = group.within.take() {
            let more = Instant::now() + within;
            due = Some(due.map_or(more, |due| due.min(more)));
        }
        let much = group.records.len() >= MOST_UNSYNCED;
        let mut is_due = due.is_some_and(|due| ending || much || due <= Instant::now());
        let (commits, bytes) = (group.commits.len() - before, group.records.len());
        let (begun, now) = (Instant::now(), Timestamp::now().as_millis());
        let written = match commits > 0 {
            true => log.append(group.commits().skip(before), now),
            false => Ok(()),
        };
        let written = written.and_then(|()| if is_due { log.sync() } else { Ok(()) });
        if let Err(error) = written {
            let again = || log.redo(group.commits(), after, now).and_then(|()| log.sync());
            if !retry(again, error, &mut feed, rung, ends) {
                feed.given_up();
                return log;
            }
            is_due = true;
        }
        if !is_due {
            log.show();
        }
        if commits > 0 || is_due {
            let bytes = (bytes - bytes_before) as u64;
            let synced = is_due.then(|| begun.elapsed());
            feed.wrote(Wrote { commits: commits as u64, bytes, synced });
        }
        if any {
            feed.written(is_due || due.is_none());
        } else if is_due {
            feed.synced();
        }
        if is_due {
            group.clear();
            after = log.commits();
            due = None;
        }
        if any || is_due {
            continue;
        }
        if ending {
            return log;
        }
        bell.asleep.store(true, SeqCst);
        if feed.is_idle() {
            let woken = match due {
                None => rung.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => rung.recv_deadline(due),
            };
            if woken == Err(RecvTimeoutError::Disconnected) {
                return log;
            }
        }
        bell.asleep.store(false, SeqCst);
    }
}
