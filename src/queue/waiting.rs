//! The batches that wait for one subscription, and the cursor over them. Pure.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::batch::{Batch, Load};
use crate::message::Seq;
use crate::message::envelope::TopicId;

/// Which topics a subscription wants, and which of its message types each is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    topics: Vec<TopicId>,
    by_topic: Vec<u16>,
}

impl Wanted {
    const NONE: u16 = u16::MAX;

    /// The topics in the order of the processor's message types.
    pub(crate) fn new(topics: Vec<TopicId>) -> Self {
        let length = topics.iter().map(|topic| usize::from(topic.0) + 1).max().unwrap_or(0);
        let mut by_topic = vec![Self::NONE; length];
        for (which, topic) in topics.iter().enumerate() {
            by_topic[usize::from(topic.0)] = which as u16;
        }
        Self { topics, by_topic }
    }

    pub(crate) fn which(&self, topic: TopicId) -> Option<u16> {
        self.by_topic.get(usize::from(topic.0)).copied().filter(|&which| which != Self::NONE)
    }

    pub(crate) fn topics(&self) -> &[TopicId] {
        &self.topics
    }
}

/// A place in a batch: a run, and an event within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Cursor {
    pub(crate) run: u32,
    pub(crate) index: u32,
}

impl Cursor {
    /// The first wanted event from here on.
    pub(crate) fn seek(self, batch: &Batch, wanted: &Wanted) -> Option<(Self, u16)> {
        let runs = batch.events.runs();
        let mut here = self;
        loop {
            let run = runs.get(here.run as usize)?;
            if let Some(which) = wanted.which(run.head.topic)
                && here.index < run.length
            {
                return Some((here, which));
            }
            here = Self { run: here.run + 1, index: 0 };
        }
    }

    pub(crate) fn next(self) -> Self {
        Self { run: self.run, index: self.index + 1 }
    }
}

/// What the wanted events between two places of a batch take up.
pub(crate) fn load_between(batch: &Batch, wanted: &Wanted, from: Cursor, to: Cursor) -> Load {
    let mut load = Load::default();
    let runs = batch.events.runs();
    let last = (to.run as usize + 1).min(runs.len());
    for (number, run) in runs.iter().enumerate().take(last).skip(from.run as usize) {
        if wanted.which(run.head.topic).is_none() {
            continue;
        }
        let start = if number == from.run as usize { from.index } else { 0 };
        let end = if number == to.run as usize { to.index } else { run.length };
        let range: Range<u32> = start..end.min(run.length).max(start);
        load.add(Load::new(range.len() as u64, batch.events.weight_of(run, range)));
    }
    load
}

/// The end of a batch.
pub(crate) fn end_of(batch: &Batch) -> Cursor {
    Cursor { run: batch.events.runs().len() as u32, index: 0 }
}

/// A batch that waits, from `at` up to `end`; or a stretch of one.
pub(crate) struct Waiting {
    pub(crate) batch: Arc<Batch>,
    pub(crate) at: Cursor,
    pub(crate) end: Cursor,
}

/// Batches in order, and what their waiting events take up.
#[derive(Default)]
pub(crate) struct Line {
    pub(crate) batches: VecDeque<Waiting>,
    pub(crate) load: Load,
}

impl Line {
    /// Puts a batch at the end.
    pub(crate) fn push(&mut self, batch: Arc<Batch>, wanted: &Wanted) {
        let whole = load_between(&batch, wanted, Cursor::default(), end_of(&batch));
        self.push_stretch(batch, Cursor::default(), None, whole);
    }

    /// Puts at the end what of a batch is not before that place.
    pub(crate) fn push_from(&mut self, batch: Arc<Batch>, wanted: &Wanted, from: Seq) {
        let end = end_of(&batch);
        let start = match from > batch.first {
            true => batch.find(from).map_or(end, |(run, index)| Cursor { run, index }),
            false => Cursor::default(),
        };
        let load = load_between(&batch, wanted, start, end);
        self.push_stretch(batch, start, None, load);
    }

    /// Puts at the end what `fits` of a batch: the whole, or else what does, asked event by event.
    /// Returns what did not.
    pub(crate) fn push_fitting(
        &mut self,
        batch: &Arc<Batch>,
        wanted: &Wanted,
        mut fits: impl FnMut(Load) -> bool,
    ) -> Load {
        let whole = load_between(batch, wanted, Cursor::default(), end_of(batch));
        if fits(whole) {
            self.push_stretch(batch.clone(), Cursor::default(), None, whole);
            return Load::default();
        }
        let (mut at, mut dropped) = (Cursor::default(), Load::default());
        let (mut start, mut taken) = (at, Load::default());
        while let Some((here, _)) = at.seek(batch, wanted) {
            let one = load_between(batch, wanted, here, here.next());
            at = here.next();
            if fits(one) {
                taken.add(one);
                continue;
            }
            dropped.add(one);
            self.push_stretch(batch.clone(), start, Some(here), std::mem::take(&mut taken));
            start = at;
        }
        self.push_stretch(batch.clone(), start, None, taken);
        dropped
    }

    fn push_stretch(&mut self, batch: Arc<Batch>, at: Cursor, end: Option<Cursor>, load: Load) {
        if load.events > 0 {
            self.load.add(load);
            let end = end.unwrap_or_else(|| end_of(&batch));
            self.batches.push_back(Waiting { batch, at, end });
        }
    }

    /// The first waiting event, if there is one.
    pub(crate) fn first(&self, wanted: &Wanted) -> Option<(&Arc<Batch>, Cursor, u16)> {
        let front = self.batches.front()?;
        let (here, which) = front.at.seek(&front.batch, wanted)?;
        (here < front.end).then_some((&front.batch, here, which))
    }

    /// Drops what waits longest until the rest fits the bound. Returns what was dropped, and the
    /// batches that went with it, to be dropped outside of any lock.
    pub(crate) fn drop_oldest(&mut self, wanted: &Wanted, bound: Load) -> (Load, Vec<Arc<Batch>>) {
        let mut dropped = Load::default();
        let mut gone = Vec::new();
        while !self.load.fits(bound) {
            let Some((_, here, _)) = self.first(wanted) else { break };
            let (one, batch) = self.advance(here.next(), wanted);
            dropped.add(one);
            gone.extend(batch);
        }
        (dropped, gone)
    }

    /// Moves the front batch's cursor; the batch leaves when nothing of it is left.
    pub(crate) fn advance(&mut self, to: Cursor, wanted: &Wanted) -> (Load, Option<Arc<Batch>>) {
        let Some(front) = self.batches.front_mut() else {
            return (Load::default(), None);
        };
        let to = to.min(front.end);
        let left = load_between(&front.batch, wanted, front.at, to);
        front.at = to;
        self.load = self.load.less(left);
        let done = front.at.seek(&front.batch, wanted).is_none_or(|(here, _)| here >= front.end);
        let gone = if done { self.batches.pop_front() } else { None };
        (left, gone.map(|waiting| waiting.batch))
    }
}
