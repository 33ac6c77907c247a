//! Events that have failed in another way than by what their handler returned.

use super::{Claim, Hand, Inner};
use crate::queue::batch::Batch;
use crate::queue::waiting::{Cursor, Wanted};

/// How an event has failed that no handler returned a failure for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    /// It blocked a thread for too long.
    Blocked,
    /// The process died while a handler was at it, so often.
    Died(u32),
    /// Whoever had taken it along did not acknowledge it in time.
    LeaseOver,
}

impl Inner {
    /// An event that is late, for some driver to see to.
    pub(super) fn claim_late(&mut self, wanted: &Wanted) -> Option<(Claim, Hand)> {
        if self.paused || (self.late.is_empty() && self.late_in_line.is_empty()) {
            return None;
        }
        while let Some(seq) = self.late.pop_first() {
            if let Some(hand) = self.in_hand.get(&seq) {
                let kept = hand.kept(wanted);
                let late = Claim::Late { seq, failures: 0, kept, why: Late::Blocked };
                return Some((late, Hand::One(seq)));
            }
            if let (Some(kept), Some(failures)) = (self.kept.get(seq), self.state.failures(seq)) {
                let kept = kept.clone();
                let late = Claim::Late { seq, failures, kept, why: Late::Blocked };
                return Some((late, Hand::Kept(seq)));
            }
        }
        let (batch, at, which) = self.line.first(wanted)?;
        let seq = batch.seq(&batch.events.runs()[at.run as usize], at.index);
        // What has left the line meanwhile was settled after all, or dropped.
        self.late_in_line = self.late_in_line.split_off(&seq);
        let claim = Claim::LateFirst { batch: batch.clone(), at, which };
        self.late_in_line.remove(&seq).then_some((claim, Hand::Range))
    }

    /// A range of the front batch ends before the first late event in it.
    pub(super) fn before_the_late(&self, batch: &Batch, end: Cursor) -> Cursor {
        let from = self.line.batches.front().map_or(end, |front| front.at);
        let from = batch.events.runs().get(from.run as usize).map(|run| batch.seq(run, from.index));
        let suspects = from.map(|from| self.suspects.range(from..));
        let suspect = suspects.and_then(|mut suspects| suspects.next()).map(|(seq, _)| seq);
        let late = self.late_in_line.first().into_iter().chain(suspect);
        let late = late.filter_map(|seq| batch.find(*seq));
        late.fold(end, |end, (run, index)| Cursor { run, index }.min(end))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use super::super::tests_support::subscription;
    use super::super::{Restored, Subscription};
    use super::*;
    use crate::clock::{Moment, Timestamp};
    use crate::error::Failure;
    use crate::message::envelope::{Origin, TopicId};
    use crate::message::{EventId, Seq};
    use crate::queue::batch::Events;
    use crate::queue::fence::Fence;
    use crate::queue::form::Form;
    use crate::queue::kept::Kept;
    use crate::queue::report::Report;
    use crate::queue::settlement::{Commit, Settle};
    use crate::queue::state::Verdict;
    use crate::signal::Cause;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Ping(u64);
    crate::event!(Ping, "ping", key: |event| event.0);

    /// One that reads these from a log; the process died at the second.
    fn accused(keys: [u64; 5]) -> Subscription {
        let mut subscription = subscription();
        subscription.wanted = Wanted::new(vec![TopicId(0)]);
        subscription.keep(0, None);
        subscription.restore(Restored::default(), (&[Seq(1)], 7), |_| TopicId(0));
        let mut events = Events::new(subscription.signals.clone());
        let (pings, form) = (keys.map(Ping).into_iter(), Form::Values { each: 3 });
        events.push(TopicId(0), pings, form, EventId(1), &Origin::OUTSIDE, Timestamp::now);
        let batch = Batch { first: Seq(0), at: Moment::default(), events };
        subscription.begin(Seq(5));
        subscription.note_hunger(&mut subscription.inner.lock());
        subscription.fill(vec![Arc::new(batch)], Seq(5));
        subscription
    }

    /// Else its driver would be given nothing, again and again.
    #[test]
    fn an_accused_event_that_is_held_ends_no_range_of_those_behind_it() {
        let subscription = accused([7, 7, 8, 9, 10]);
        let host = Arc::new(Fence::default());
        let me = subscription.join(0, host.clone());
        let claim = || match subscription.claim(me, &host, Waker::noop()) {
            Claim::Range { batch, from, end, .. } => (batch, from, end),
            _ => panic!("there is something to do"),
        };
        let (batch, from, end) = claim();
        assert_eq!((from.index, end.index), (0, 1));
        let mut kept = Kept::encoded(&batch, 0, 0, 0);
        let (failure, now) = (Failure::permanent("no"), Timestamp::now());
        kept.key = Some(7_u64.into());
        kept.report = Some(Arc::new(Report::next(None, Cause::Failed, failure, Vec::new(), now)));
        let settle = Settle::Failed { seq: Seq(0), failures: 1, verdict: Verdict::Park, kept };
        let commit = Commit { to: Some(from.next()), settle: Some(settle), ..Commit::default() };
        subscription.commit(&host, commit).unwrap().finish(&subscription, &host);
        // The second one waits behind the first.
        let (_, from, end) = claim();
        assert_eq!(from.index, 2);
        assert!(from < end, "{from:?}..{end:?}");
    }
}
