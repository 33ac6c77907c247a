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
