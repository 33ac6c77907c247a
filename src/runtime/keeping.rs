//! The thread that looks after a log: checkpoints, retention, compaction, and room for what comes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::clock::Trusted;
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

/// Between two writes of a checkpoint, so that it takes a small share of the disk.
const PAUSE: Duration = Duration::from_millis(5);
