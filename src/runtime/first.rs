//! After a process that died: the events that it was at are delivered first, one at a time.

use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use crate::queue::Trial;

/// So long all else waits for that, at most: a handler may await something for long.
const LONGEST: Duration = Duration::from_secs(5);
/// So often it is looked whether the one whose turn it is is through.
const LOOK: Duration = Duration::from_millis(5);

impl Core {
    /// What is delivered first, if there is a log.
    pub(super) fn trial(&self) -> Option<Arc<Trial>> {
        self.subscriptions.lock().as_ref().map(|of| of.trial.clone())
    }

    /// What an earlier process died of is on disk as a fact.
    pub(super) fn forget_who_died(&self) {
        self.broker.journal.iter().for_each(|journal| journal.in_flight.forget());
    }

    /// All processors are there, and none has begun.
    pub(super) fn begin_trial(&self) {
        let Some(trial) = self.trial().filter(|trial| !trial.is_over()) else { return };
        let events = trial.begin();
        if trial.is_over() {
            return;
        }
        tracing::warn!(
            events,
            "the last process died while handlers were at these events: they are delivered first, one \
             at a time, so that it is known of which one it dies if it does so again"
        );
        let broker = self.broker.clone();
        actix_rt::spawn(async move {
            let takes_turns = async {
                while !trial.is_over() {
                    match trial.is_through() {
                        Some((turn, its)) => {
                            its.iter().for_each(|its| broker.has_news(its, true));
                            broker.is_kept().await.ok();
                            trial.next(turn);
                        }
                        None => tokio::time::sleep(LOOK).await,
                    }
                }
            };
            if tokio::time::timeout(LONGEST, takes_turns).await.is_err() {
                tracing::warn!(after = ?LONGEST, "all other events are delivered too from now on");
                trial.end();
            }
        });
    }
}
