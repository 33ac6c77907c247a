//! The thread that looks after a log: checkpoints, retention, compaction, and room for what comes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::clock::Timestamp;
use crate::signal::{Signal, Signals};
use crate::store::file::keeper::Keeper;
use crate::store::file::spares::RETRY;

/// Looks after the log whenever a segment is full, until it is closed.
pub(super) fn keep(
    mut keeper: Keeper,
    full: &Receiver<()>,
    ends: &AtomicBool,
    signals: &Signals,
    trusted: Trusted,
    used: &AtomicU64,
) {
    let mut was_short = false;
    loop {
        let patience = if keeper.is_short() { RETRY } else { NOW_AND_THEN };
        let asked = full.recv_timeout(patience);
        if asked == Err(RecvTimeoutError::Disconnected) || ends.load(SeqCst) {
            return;
        }
        // The disk is the writer's in the first place.
        let (begun, before) = (Instant::now(), (keeper.checkpoint(), keeper.copied()));
        let looked = keeper.look(trusted.now(), &mut || {
            std::thread::sleep(PAUSE);
            if ends.load(SeqCst) { Err(std::io::Error::other("it ends")) } else { Ok(()) }
        });
        if let Err(error) = looked
            && !ends.load(SeqCst)
        {
            tracing::error!(%error, "a checkpoint of the log could not be written: it is tried again");
        }
        if (keeper.checkpoint(), keeper.copied()) != before {
            let (took, compacted) = (begun.elapsed(), keeper.copied() - before.1);
            signals.state(&Signal::Checkpointed { took, compacted });
        }
        used.store(keeper.used(), SeqCst);
        let short = keeper.is_short();
        if short != was_short {
            was_short = short;
            signals.state(&Signal::Space { short, used: keeper.used() });
        }
    }
}

/// How often it is looked whether something has grown old.
const NOW_AND_THEN: Duration = Duration::from_secs(60);

/// What time it is, as far as that is to be believed: a clock that jumps makes nothing expire before its
/// time.
#[derive(Clone, Copy)]
pub(super) struct Trusted {
    /// Milliseconds since 1970, when the log was opened.
    opened_at: u64,
    opened: Instant,
}

/// A clock may be set right by so much.
const SMALL_JUMP: u64 = 3_600_000;

impl Trusted {
    pub(super) fn new(opened_at: u64) -> Self {
        Self { opened_at, opened: Instant::now() }
    }

    fn now(&self) -> u64 {
        let passed = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.at(Timestamp::now().as_millis(), passed)
    }

    /// When the wall clock says that, so many milliseconds after the log was opened.
    fn at(&self, wall: u64, passed: u64) -> u64 {
        let most = self.opened_at.saturating_add(passed).saturating_add(SMALL_JUMP);
        wall.clamp(self.opened_at, most)
    }
}

/// Between two writes of a checkpoint, so that it takes a small share of the disk.
const PAUSE: Duration = Duration::from_millis(5);
