//! Where a subscription's fresh events come from: from who publishes, as they come; or from the log,
//! if it is behind. A slow subscription costs no memory, and keeps nobody waiting.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::{Inner, Subscription};
use crate::message::Seq;
use crate::queue::batch::{Batch, Load, Run};
use crate::queue::waiting::Line;

/// So many bytes are read ahead of a subscription that is behind; more is read when half of it has
/// been handled.
const AHEAD: Load = Load { events: 16_384, weight: 1 << 20 };
/// One that is so near takes in what comes meanwhile.
const NEAR: u64 = 65_536;

/// Where fresh events come from.
pub(super) enum Source {
    /// There is no log, or it has only begun.
    Memory,
    /// Whatever comes goes into the line; everything before `have` is there already.
    Live { have: Seq },
    /// Nothing that comes goes in: it is read from the log, from `have` on.
    Lagging { have: Seq, asked: bool },
    /// It is read from the log up to `until`, and what comes meanwhile waits behind that.
    Joining { have: Seq, asked: bool, until: Seq, behind: Line },
}

impl Source {
    /// Everything before this place has been in the line.
    pub(super) fn have(&self) -> Seq {
        match self {
            Self::Memory => Seq(0),
            Self::Live { have } | Self::Lagging { have, .. } | Self::Joining { have, .. } => *have,
        }
    }

    /// It begins there, if it has not begun yet.
    pub(super) fn begin(&mut self, at: Seq) {
        if matches!(self, Self::Memory) {
            *self = Self::Live { have: at };
        }
    }

    pub(super) fn restore(&mut self, have: Seq) {
        *self = Self::Lagging { have, asked: false };
    }

    pub(super) fn is_lagging(&self) -> bool {
        matches!(self, Self::Lagging { .. } | Self::Joining { .. })
    }
}

/// The place behind the last event of a batch.
fn end_of(batch: &Batch) -> Seq {
    Seq(batch.first.0 + u64::from(batch.events.len()))
}

impl Subscription {
    /// A batch is there, and whether it goes into the line depends on where that stands. What it misses
    /// by that: what is not in the log either.
    pub(super) fn push_kept(
        &self,
        inner: &mut Inner,
        batch: Arc<Batch>,
        gone: &mut Vec<Arc<Batch>>,
    ) -> Load {
        let mut missed = Load::default();
        let end = end_of(&batch);
        inner.seen = inner.seen.max(end);
        let bound = self.settings.bound;
        match &mut inner.source {
            Source::Memory => inner.line.push(batch, &self.wanted),
            Source::Live { have } if end <= *have => {}
            Source::Live { have } if inner.line.load.fits(bound) => {
                *have = end;
                inner.line.push(batch, &self.wanted);
            }
            Source::Live { have } => {
                missed = self.not_in_log(&batch);
                inner.source = Source::Lagging { have: *have, asked: false };
            }
            // Nothing lies between: it is read as it comes from now on.
            Source::Lagging { have, .. }
                if batch.first == *have && inner.line.load.fits(bound) && end > *have =>
            {
                inner.source = Source::Live { have: end };
                inner.line.push(batch, &self.wanted);
            }
            Source::Lagging { .. } => missed = self.not_in_log(&batch),
            Source::Joining { have, asked, behind, .. } => {
                if behind.load.fits(bound) {
                    behind.push(batch, &self.wanted);
                } else {
                    let line = std::mem::take(behind);
                    missed = self.not_in_log(&batch);
                    let more = line.batches.iter().map(|waiting| self.not_in_log(&waiting.batch));
                    more.for_each(|more| missed.add(more));
                    gone.extend(line.batches.into_iter().map(|waiting| waiting.batch));
                    inner.source = Source::Lagging { have: *have, asked: *asked };
                }
            }
        }
        self.note_hunger(inner);
        missed
    }

    /// What is wanted of a batch, and never in the log.
    fn not_in_log(&self, batch: &Batch) -> Load {
        let events = &batch.events;
        let loads = events.runs().iter().zip(events.loads());
        let lost = |run: &Run| !run.stored && self.wanted.which(run.head.topic).is_some();
        loads
            .filter(|(run, _)| lost(run))
            .fold(Load::default(), |sum, (_, (_, load))| sum.and(load))
    }

    /// More is to be read from the log for it.
    pub(super) fn note_hunger(&self, inner: &mut Inner) {
        let low = inner.line.load.events <= AHEAD.events / 2
            && inner.line.load.weight <= AHEAD.weight / 2;
        let closed = inner.halted || inner.orphaned;
        if let Source::Lagging { asked, .. } | Source::Joining { asked, .. } = &mut inner.source
            && !*asked
            && low
            && !closed
        {
            *asked = true;
            self.hungry.store(true, SeqCst);
        }
        if !inner.fetch.is_empty() && inner.fetching.is_empty() && !inner.fetch_asked {
            inner.fetch_asked = true;
            self.hungry.store(true, SeqCst);
        }
    }

    /// Something of the log has yet to be read, or handled: what an earlier process left is counted
    /// nowhere else.
    pub(crate) fn is_behind(&self) -> bool {
        let inner = self.inner.lock();
        let waits = || !(inner.line.batches.is_empty() && inner.in_hand.is_empty());
        inner.source.is_lagging() || (inner.news.is_some() && waits())
    }

    /// It is through with all that it wants of the log, and holds nothing.
    pub(crate) fn needs_nothing(&self) -> bool {
        !self.is_behind() && self.held().events == 0
    }

    /// What an earlier process left that it is not through with.
    pub(crate) fn left_by_earlier(&self) -> Load {
        let inner = self.inner.lock();
        let places = match inner.earlier {
            Seq(u64::MAX) => 0, // it is about to begin
            earlier => earlier.0.saturating_sub(inner.taken_to(self).0),
        };
        Load::new(places, places.saturating_mul(inner.earlier_weight))
    }

    /// What an earlier process left for it weighs so much each in the mean.
    pub(crate) fn earlier_weigh(&self, each: u64) {
        self.inner.lock().earlier_weight = each;
    }

    /// It reads from the log.
    pub(crate) fn is_lagging(&self) -> bool {
        self.inner.lock().source.is_lagging()
    }

    /// Whether somebody is to read for it; said once.
    pub(crate) fn is_hungry(&self) -> bool {
        self.hungry.load(SeqCst) && self.hungry.swap(false, SeqCst)
    }

    /// From where on to read, and how much; none if it does not need it any more.
    pub(crate) fn reads_from(&self) -> Option<(Seq, Load)> {
        let inner = self.inner.lock();
        match inner.source {
            Source::Lagging { have, asked: true } | Source::Joining { have, asked: true, .. } => {
                Some((have, AHEAD))
            }
            // It was for something else that it asked.
            _ => None,
        }
    }

    /// What was read for it, up to before `to`.
    pub(crate) fn fill(&self, batches: Vec<Arc<Batch>>, to: Seq) {
        let mut inner = self.inner.lock();
        let Inner { source, line, seen, orphaned, .. } = &mut *inner;
        if !source.is_lagging() || *orphaned {
            return; // it has caught up meanwhile, or is gone
        }
        let (have, to) = (source.have(), to.max(source.have()));
        for batch in batches {
            line.push_from(batch, &self.wanted, have);
        }
        match source {
            Source::Memory | Source::Live { .. } => {}
            Source::Lagging { .. } if *seen <= to => *source = Source::Live { have: to },
            Source::Lagging { .. } if seen.0 - to.0 <= NEAR => {
                let (until, behind) = (*seen, Line::default());
                *source = Source::Joining { have: to, asked: false, until, behind };
            }
            Source::Joining { until, behind, .. } if *until <= to => {
                let behind = std::mem::take(behind);
                let mut have = to;
                for waiting in behind.batches {
                    let end = end_of(&waiting.batch);
                    if end > have {
                        have = end;
                        line.push(waiting.batch, &self.wanted);
                    }
                }
                *source = Source::Live { have };
            }
            Source::Lagging { have, asked } | Source::Joining { have, asked, .. } => {
                (*have, *asked) = (to, false);
            }
        }
        self.note_hunger(&mut inner);
        self.clock.working();
        let wakers = inner.wake_one();
        drop(inner);
        wakers.wake();
    }
}
