//! What becomes of an event that did not succeed: the decision is carried out and told.

use std::sync::Arc;

use super::Executor;
use crate::clock::Timestamp;
use crate::error::{Error, Failure};
use crate::message::{EventId, Seq};
use crate::processor::Processor;
use crate::processor::dispatch::HandlerList;
use crate::processor::outcome::{Decision, Ended, decide};
use crate::queue::batch::Batch;
use crate::queue::kept::Kept;
use crate::queue::report::Report;
use crate::queue::settlement::Settle;
use crate::queue::state::Verdict;
use crate::queue::{Cursor, key_of};
use crate::request::answer::GaveUp;
use crate::signal::{Cause, Signal};

impl<P: Processor, L: HandlerList<P>> Executor<P, L> {
    /// Settles the first failure of an event of the front batch.
    pub(super) fn fail_first(
        &mut self,
        batch: &Arc<Batch>,
        here: Cursor,
        which: u16,
        ended: Ended,
    ) -> EventId {
        let mut kept = Kept::encoded(batch, here.run, here.index, which);
        kept.key = key_of(batch, here).unwrap_or_default();
        let seq = batch.seq(&batch.events.runs()[here.run as usize], here.index);
        self.link.reached(here.next());
        self.fail(seq, 0, kept, ended)
    }

    /// Settles a failure: the event is delivered again later, or parked.
    pub(super) fn fail(
        &mut self,
        seq: Seq,
        failures: u32,
        mut kept: Kept,
        ended: Ended,
    ) -> EventId {
        self.cx.forget();
        self.link.measured.close_span();
        let ended = match self.settled_before(seq, &kept, ended) {
            Ok(event) => return event,
            Err(ended) => ended,
        };
        let died = if let Ended::Died(times) = ended { times } else { 0 };
        let (cause, failure) = ended.into_failure();
        // It is no fault of the event that the disk is full.
        let charged = u32::from(cause != Cause::NoSpace);
        let failures = failures.saturating_add(charged);
        let event = kept.id();
        let said = cause.breaks_instance().then(|| failure.chain().join(": "));
        let path = if cause == Cause::HopLimit || cause == Cause::Overflow {
            let inner = self.seat.broker.intake.lock();
            let topics = kept.head.path.then(kept.head.topic);
            topics.topics().map(|topic| inner.topics.name(topic)).collect()
        } else {
            Vec::new()
        };
        let awaited = self.is_awaited(&kept).then(|| failure.clone());
        let before = kept.report.as_deref();
        let mut report = Report::next(before, cause, failure, path, Timestamp::now());
        report.broke = report.broke.max(died);
        report.deliveries = report.deliveries.max(died);
        let (deliveries, broke) = (report.deliveries, report.broke);
        if let Some(said) = said {
            self.broken_by = (said, broke > 1);
        }
        let decision = decide(&self.spec.retry, cause, failures, broke, fastrand::f64());
        if decision == Decision::Park
            && let Some(failure) = awaited
        {
            // Somebody waits, and is told: it is that one's business from now on.
            let command = self.tells(&kept, deliveries, failure);
            let processor = &self.seat.subscription.name;
            let told =
                Signal::CommandFailed { command, processor, event, attempts: deliveries, cause };
            let settle = Settle::GivenUp { seq, key: kept.key };
            self.link.commit_and_tell(Some(settle), None, Some(&told));
            return event;
        }
        kept.report = Some(Arc::new(report));
        let verdict = match decision {
            Decision::RetryAfter(wait) => Verdict::Retry(self.seat.broker.clock.now().after(wait)),
            Decision::Park => Verdict::Park,
        };
        let pressed_until = match verdict {
            Verdict::Retry(due) if cause == Cause::Overflow => self.link.under_pressure(due),
            Verdict::Retry(due) if cause == Cause::NoSpace => Some(due),
            _ => None,
        };
        let settle = Settle::Failed { seq, failures, verdict, kept };
        let processor = &self.seat.subscription.name;
        let told = match decision {
            Decision::RetryAfter(wait) => {
                Signal::Retried { processor, event, attempt: deliveries, cause, wait }
            }
            Decision::Park => Signal::Parked { processor, event, attempts: deliveries, cause },
        };
        self.link.commit_and_tell(Some(settle), pressed_until, Some(&told));
        event
    }

    /// Whether somebody waits for the answer to a command.
    pub(super) fn is_awaited(&self, kept: &Kept) -> bool {
        let (requests, command) = (&self.seat.requests, kept.id());
        requests.deadline_of(command).is_some() || requests.workflow_awaits(command)
    }

    /// Whoever waits for the answer to a command is told that it failed for good. Its name.
    pub(super) fn tells(&self, kept: &Kept, attempts: u32, failure: Failure) -> &'static str {
        let name = self.seat.broker.name_of(kept.head.topic);
        let requests = self.seat.requests.clone();
        if let Some(answer) = requests.step_failure(kept.id(), failure.clone()) {
            self.link.stage_answer(answer);
            return name;
        }
        let error = Error::failed(name, attempts, failure);
        self.link.stage_answer(Box::new(GaveUp::new(requests, kept.id(), name, error)));
        name
    }
}
