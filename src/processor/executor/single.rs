//! Events that are handed out by themselves: to one of several instances, or because they are held.

use std::pin::pin;
use std::sync::Arc;

use super::Executor;
use crate::guard::contained;
use crate::message::Seq;
use crate::processor::Processor;
use crate::processor::context::InHand;
use crate::processor::dispatch::{HandlerList, Ran, Stretch};
use crate::processor::link::BUDGET;
use crate::processor::outcome::Ended;
use crate::queue::Cursor;
use crate::queue::batch::Batch;
use crate::queue::kept::{Body, Kept};

impl<P: Processor, L: HandlerList<P>> Executor<P, L> {
    /// Handles one event that was handed out by itself. False if its instance is gone.
    pub(super) async fn one(
        &mut self,
        batch: Arc<Batch>,
        at: Cursor,
        which: u16,
        home: Option<u64>,
    ) -> bool {
        let seq = batch.seq(&batch.events.runs()[at.run as usize], at.index);
        if !self.acknowledges(seq).await {
            return !self.seat.fence.is_fenced();
        }
        let Some((slot, mut instance)) = self.crew.take(home) else { return true };
        let now = self.seat.broker.clock.now();
        let timed = self.link.measured.is_due(self.seat.broker.clock.tick());
        let mut began = timed.then_some(now);
        self.link.measured.begin(now, timed);
        let mut budget = self.budget;
        let stretch = Stretch {
            batch: &batch,
            run: at.run,
            from: at.index,
            to: at.index + 1,
            asked: true,
            failures: 0,
            head: None,
            budget: &mut budget,
            tick: self.tick,
        };
        let ran = self.stretch(which, &mut instance, stretch).await;
        self.budget = self.budget.saturating_sub(1);
        // What is handed out by itself is settled by name, not by how far the batch was handled.
        self.link.forget_reached();
        self.sample(&mut began);
        if let Ran::Ended(_, ended) = ran {
            let breaks = ended.breaks_instance().map(|cause| (cause, self.telling()));
            let kept = Kept::encoded(&batch, at.run, at.index, which);
            let event = self.fail(seq, 0, kept, *ended);
            if let Some((cause, telling)) = breaks {
                match self.rebuild(instance, cause, event, telling).await {
                    Some(fresh) => instance = fresh,
                    None => return false,
                }
            }
        } else {
            self.succeeded(seq, 0, None, || Kept::encoded(&batch, at.run, at.index, which));
        }
        self.crew.put(slot, instance);
        true
    }

    /// Delivers a held event. False if its instance is gone.
    pub(super) async fn kept(&mut self, seq: Seq, failures: u32, kept: Kept) -> bool {
        if !self.acknowledges(seq).await {
            return !self.seat.fence.is_fenced();
        }
        let Some((slot, mut instance)) = self.crew.take(None) else { return true };
        self.budget = self.budget.saturating_sub(1);
        self.link.measured.begin(self.seat.broker.clock.now(), false);
        let ended = match &kept.body {
            Body::Bytes(bytes) => {
                self.cx.take(InHand::Kept { kept: kept.clone(), seq }, 0, failures);
                let handled =
                    self.spec.handlers.kept(kept.which, &mut instance, &mut self.cx, bytes);
                match contained(pin!(handled)).await {
                    Ok(ended) => ended,
                    Err(panic) => Some(Box::new(Ended::Panicked(panic))),
                }
            }
            Body::Pinned { batch, run, index } => {
                let mut budget = BUDGET;
                let stretch = Stretch {
                    batch,
                    run: *run,
                    from: *index,
                    to: *index + 1,
                    asked: true,
                    failures,
                    head: Some(batch.events.runs()[*run as usize].head.by_the_way_of(&kept.head)),
                    budget: &mut budget,
                    tick: self.tick,
                };
                let ran = self.stretch(kept.which, &mut instance, stretch).await;
                self.link.forget_reached();
                match ran {
                    Ran::Ended(_, ended) => Some(ended),
                    _ => None,
                }
            }
        };
        match ended {
            None => {
                self.succeeded(seq, failures, kept.key.clone(), || kept.unpinned());
            }
            Some(ended) => {
                let breaks = ended.breaks_instance().map(|cause| (cause, self.telling()));
                let event = self.fail(seq, failures, kept, *ended);
                if let Some((cause, telling)) = breaks {
                    match self.rebuild(instance, cause, event, telling).await {
                        Some(fresh) => instance = fresh,
                        None => return false,
                    }
                }
            }
        }
        self.crew.put(slot, instance);
        true
    }
}
