//! Which segments are given back, and which are written anew with less in them: those whose facts are
//! in checkpoints, and whose events hardly anybody needs.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::checkpoint::{self, Changes};
use super::compact;
use super::keeper::Keeper;
use super::layout::FRAMES;
use super::needed::Needed;
use super::reader::read_frames;
use super::segment::{Segment, segment_name};
use crate::store::channel::Retention;

/// Up to where somebody has learned what is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Learned {
    checkpoint: u64,
    end: Option<(u64, u64)>,
}

impl Keeper {
    /// Gives back and compacts what can be.
    pub(super) fn tidy(
        &mut self,
        now: u64,
        pause: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(reached) = self.reached()? else { return Ok(()) };
        self.learn()?;
        loop {
            let all = self.segments.all();
            let sealed = all.len().saturating_sub(1);
            let count = all[..sealed].partition_point(|of| of.head.covers <= reached);
            self.look_into(&all, if self.retention.is_empty() { count } else { sealed })?;
            let retained = self.retained(&all[..sealed], now);
            drop(all);
            let given = self.give_back(&retained[..count])?;
            if !self.compact(&retained[given..count], pause)?
                && !self.measure(&retained[given..count])?
            {
                return Ok(());
            }
        }
    }

    /// The segment up to which all facts are in both checkpoints. Where there is no room, one checkpoint
    /// must do, if it can be read.
    fn reached(&mut self) -> io::Result<Option<u64>> {
        if self.is_thrifty() && self.is_readable()? {
            self.remove_checkpoints(1)?;
        } else if self.checkpoints.len() < 2 {
            return Ok(None);
        }
        Ok(self.checkpoints.front().map(|(oldest, _)| oldest.segment))
    }

    /// Whether the newest checkpoint is there, and right.
    fn is_readable(&mut self) -> io::Result<bool> {
        let Some((newest, _)) = self.checkpoints.back() else { return Ok(false) };
        let number = newest.segment;
        if self.read != Some(number) && checkpoint::read(&*self.disk, number, |_| {})?.is_some() {
            self.read = Some(number);
        }
        Ok(self.read == Some(number))
    }

    /// What the newest checkpoint says is needed; where there is no room, what was said since counts, too.
    fn learn(&mut self) -> io::Result<()> {
        let Some((newest, checkpoint)) = self.checkpoints.back() else { return Ok(()) };
        let all = self.segments.all();
        let since = all.partition_point(|of| of.head.covers <= newest.segment);
        let since = if self.is_thrifty() { &all[since..] } else { &[] };
        let end = since.last().map(|last| (last.head.number, last.length));
        let learned = Learned { checkpoint: newest.segment, end };
        if self.needed.as_ref().is_some_and(|(of, _)| *of == learned) {
            return Ok(());
        }
        let mut changes = Changes::new();
        for segment in since {
            let mut at = FRAMES;
            while read_frames(segment, &mut at, |_, body| checkpoint::note(&mut changes, body))? > 0
            {
            }
        }
        let mut needed = Needed::default();
        checkpoint::merge(Some(checkpoint), &changes, &mut |name, value| {
            needed.note(name, value).ok(); // one that cannot be read is no fact
            Ok(())
        })?;
        needed.settle();
        self.needed = Some((learned, needed));
        Ok(())
    }

    /// By segment: the channels whose events in it stay although everybody has consumed them.
    fn retained(&self, sealed: &[Segment], now: u64) -> Vec<HashSet<u32>> {
        let mut newer: HashMap<u32, u64> = HashMap::new();
        let rule = |channel: u32| {
            let (_, needed) = self.needed.as_ref()?;
            self.retention.get(needed.channel(channel)?)
        };
        // What is in the segment that is written to is not counted: a little more is kept.
        let retained = sealed.iter().rev().map(|segment| {
            let index = segment.index().filter(|_| !self.retention.is_empty());
            let stretches = index.iter().flat_map(|index| &index.channels);
            let kept = stretches.filter_map(|(channel, stretch)| {
                let newer = newer.entry(*channel).or_default();
                let keeps = match rule(*channel).unwrap_or(&Retention::None) {
                    Retention::None => false,
                    Retention::Age(age) => {
                        u128::from(now.saturating_sub(stretch.time)) <= age.as_millis()
                    }
                    Retention::Size(bytes) => *newer < *bytes,
                };
                *newer += stretch.bytes;
                keeps.then_some(*channel)
            });
            kept.collect()
        });
        let mut retained: Vec<HashSet<u32>> = retained.collect();
        retained.reverse();
        retained
    }

    /// Gives back segments at the beginning of which nobody needs anything. How many.
    fn give_back(&mut self, retained: &[HashSet<u32>]) -> io::Result<usize> {
        for (given, retained) in retained.iter().enumerate() {
            let all = self.segments.all();
            let passed = all[1].head.first <= self.floor.get();
            let free = (passed && retained.is_empty())
                || (self.is_up_to_date() && self.live(&all[0], retained) == 0);
            if !free {
                if !passed {
                    self.floor.wait_for(all[1].head.first);
                }
                return Ok(given);
            }
            drop(all);
            let segment = self.segments.remove_first();
            self.free(&segment)?;
        }
        Ok(retained.len())
    }

    /// No subscription has begun since with what was there already.
    fn is_up_to_date(&self) -> bool {
        let needed = self.needed.as_ref();
        self.floor.begun().is_none_or(|begun| needed.is_some_and(|(_, of)| of.knows(begun)))
    }

    /// A segment's file is used again, unless somebody still reads it.
    fn free(&mut self, segment: &Segment) -> io::Result<()> {
        let name = segment_name(segment.head.number);
        self.damaged.remove(&segment.head.number);
        self.measured.remove(&segment.head.number);
        match Arc::strong_count(&segment.file) {
            1 => self.spares.give(&name),
            _ => self.disk.remove(&name),
        }
    }

    /// Which segments to write anew together: some that are mostly dead, and small ones beside them.
    fn chosen(&self, all: &[Segment], retained: &[HashSet<u32>]) -> Option<Range<usize>> {
        let most = self.spares.size() / 4 * if self.is_thrifty() { 3 } else { 1 };
        let (mut from, mut together, mut worth) = (0, 0, false);
        let mut chosen = None;
        for (place, (segment, retained)) in all.iter().zip(retained).enumerate() {
            let length = segment.index().map_or(u64::MAX, |of| of.length);
            let (used, live) = (length.saturating_sub(FRAMES), self.live(segment, retained));
            let dead = self.is_worth(used, live);
            let joins = (dead || used <= most) && live <= most;
            if joins && together + live <= most {
                together += live;
            } else if worth {
                break;
            } else {
                (from, together) = if joins { (place, live) } else { (place + 1, 0) };
            }
            worth |= joins && dead;
            if worth {
                chosen = Some(from..place + 1);
            }
        }
        chosen
    }

    /// Writes some segments anew. False if there are none.
    fn compact(
        &mut self,
        retained: &[HashSet<u32>],
        pause: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<bool> {
        if !self.is_up_to_date() {
            return Ok(false);
        }
        let all = self.segments.all();
        let Some(range) = self.chosen(&all, retained) else { return Ok(false) };
        let Some((_, needed)) = &self.needed else { return Ok(false) };
        let (sources, retained) = (&all[range.clone()], &retained[range.clone()]);
        let counts_as = all[range.end].head.before;
        let keep = |channel: u32, position: u64| {
            let behind = sources.partition_point(|of| of.head.first <= position);
            needed.is_needed(channel, position)
                || retained[behind.saturating_sub(1)].contains(&channel)
        };
        let length = |of: &Segment| of.index().map_or(0, |of| of.length);
        let sources: Vec<(Segment, u64)> =
            sources.iter().map(|of| (of.clone(), length(of))).collect();
        let salt = self.random.u64(..);
        let written = compact::write(&*self.disk, salt, &sources, counts_as, keep, pause);
        let numbers: Vec<u64> = sources.iter().map(|(of, _)| of.head.number).collect();
        drop((all, sources));
        if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::InvalidData) {
            self.damaged.extend(numbers);
            return Ok(true);
        }
        let written = written?;
        self.copied += written.length;
        self.measured.remove(&written.head.number);
        let replaced = self.segments.replace(written);
        for segment in replaced.iter().filter(|of| of.head.number != numbers[0]) {
            self.free(segment)?;
        }
        Ok(true)
    }
}
