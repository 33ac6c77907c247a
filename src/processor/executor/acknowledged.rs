//! When an event counts as handled, where that is not simply with its success.

use super::Executor;
use crate::message::{EventId, Key, Seq};
use crate::processor::Processor;
use crate::processor::acknowledgement::Leased;
use crate::processor::dispatch::HandlerList;
use crate::processor::outcome::Ended;
use crate::queue::kept::Kept;
use crate::queue::settlement::Settle;
use crate::queue::state::Verdict;
use crate::queue::{Acknowledge, Late};
use crate::signal::Signal;

impl<P: Processor, L: HandlerList<P>> Executor<P, L> {
    /// Settles the event before it is handled, if that is the processor's way, and waits until that is
    /// on disk. False if it must not be handled.
    pub(super) async fn acknowledges(&self, seq: Seq) -> bool {
        let (broker, subscription) = (&self.seat.broker, &self.seat.subscription);
        if subscription.settings.acknowledge != Acknowledge::BeforeHandling {
            return true;
        }
        if !subscription.acknowledge(&self.seat.fence, seq) {
            return false;
        }
        broker.has_news(subscription, true);
        // The other instances need a driver meanwhile.
        self.crew.waits.set(true);
        broker.is_kept().await.is_ok() && !self.seat.fence.is_fenced()
    }

    /// An event that was handed out by itself was handled: it is settled, or waits for whoever took its
    /// acknowledgement along.
    pub(super) fn succeeded(
        &mut self,
        seq: Seq,
        failures: u32,
        key: Option<Key>,
        kept: impl FnOnce() -> Kept,
    ) {
        self.seat.fence.succeeds();
        let by_hand =
            matches!(self.seat.subscription.settings.acknowledge, Acknowledge::ByHand { .. });
        let until = if by_hand { self.seat.subscription.lease_of(seq) } else { None };
        let Some(until) = until else {
            self.link.count_handled();
            self.link.commit(Some(Settle::Done { seq, key }));
            return;
        };
        let mut kept = kept();
        if kept.key.is_none() {
            kept.key = key;
        }
        let verdict = Verdict::Retry(until);
        self.link.commit(Some(Settle::Failed { seq, failures, verdict, kept }));
        Leased::begins(&self.link, seq);
    }

    /// An event that failed had been settled before: it is not delivered again. Its id, if so; else how
    /// it ended.
    pub(super) fn settled_before(
        &mut self,
        seq: Seq,
        kept: &Kept,
        ended: Ended,
    ) -> Result<EventId, Ended> {
        let subscription = &self.seat.subscription;
        let (settle, event) = (Settle::Done { seq, key: kept.key.clone() }, kept.id());
        match subscription.settings.acknowledge {
            Acknowledge::BeforeHandling if subscription.is_acknowledged(seq) => {
                let (cause, failure) = ended.into_failure();
                let error = failure.chain().join(": ");
                if cause.breaks_instance() {
                    self.broken_by = (error.clone(), false);
                }
                if self.is_awaited(kept) {
                    self.tells(kept, 1, failure);
                }
                let processor = &subscription.name;
                let signal = Signal::Forgone { processor, event, cause, error: &error };
                self.link.commit_and_tell(Some(settle), None, Some(&signal));
                Ok(event)
            }
            // Somebody had said that it is done with, and it was counted then.
            Acknowledge::ByHand { .. } if subscription.give_up_lease(seq) => {
                self.link.commit(Some(settle));
                Ok(event)
            }
            _ => Err(ended),
        }
    }

    /// How an event ended that no handler returned a failure for.
    pub(super) fn late(&self, why: Late) -> Ended {
        match (why, self.seat.subscription.settings.acknowledge) {
            (Late::Died(times), _) => Ended::Died(times),
            (Late::LeaseOver, Acknowledge::ByHand { lease }) => Ended::LeaseOver(lease),
            _ => Ended::Blocked(self.spec.timeout),
        }
    }
}
