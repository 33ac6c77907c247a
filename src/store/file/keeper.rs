//! What is done behind the writer's back: checkpoints are written, and segments that nobody needs any
//! more are given back to be written again. Decided whenever a segment is full, by one thread, or by a
//! test.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crossbeam_channel::{Receiver, Sender};

use super::checkpoint::{self, Changes, Reach, checkpoint_name, checkpoints};
use super::disk::Disk;
use super::layout::{End, FRAMES};
use super::log::{Segment, segment_name};
use super::reader::{Segments, read_frames};

/// Segments that are kept to be written again.
const SPARES: usize = 2;

/// When a checkpoint is worth it: after so many bytes of log, or twice its own size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace(pub(crate) u64);

impl Default for Pace {
    fn default() -> Self {
        Self(64 << 20)
    }
}

/// How far everybody who reads events has come: what is before is needed by nobody.
#[derive(Clone)]
pub(crate) struct Floor(Arc<Position>);

struct Position {
    floor: AtomicU64,
    /// When the floor reaches that, a segment is free, and the keeper is to look.
    wanted: AtomicU64,
    looks: Sender<()>,
}

impl Floor {
    /// The keeper is told there that it is to look.
    pub(crate) fn new(looks: Sender<()>) -> Self {
        let (floor, wanted) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Self(Arc::new(Position { floor, wanted, looks }))
    }

    pub(crate) fn set(&self, position: u64) {
        self.0.floor.store(position, SeqCst);
        if position >= self.0.wanted.load(SeqCst) {
            self.0.wanted.store(u64::MAX, SeqCst);
            self.0.looks.try_send(()).ok(); // once is enough
        }
    }

    fn get(&self) -> u64 {
        self.0.floor.load(SeqCst)
    }

    /// Tells when it reaches that, also if it has already.
    fn wait_for(&self, position: u64) {
        self.0.wanted.store(position, SeqCst);
        self.set(self.get());
    }
}

/// Writes checkpoints, and takes away what is not needed.
pub(crate) struct Keeper {
    disk: Arc<dyn Disk>,
    segments: Segments,
    pace: Pace,
    random: fastrand::Rng,
    /// The last two, the newest last: if one is damaged there is another, and all that is needed to
    /// bring it up to date.
    checkpoints: VecDeque<(Reach, Segment)>,
    floor: Floor,
    spares: Spares,
}

/// Segments to be written again, by their names.
#[derive(Clone)]
pub(crate) struct Spares {
    give: Sender<String>,
    take: Receiver<String>,
}

impl Default for Spares {
    fn default() -> Self {
        let (give, take) = crossbeam_channel::bounded(SPARES);
        Self { give, take }
    }
}

impl Spares {
    pub(super) fn take(&self) -> Option<String> {
        self.take.try_recv().ok()
    }
}

impl Keeper {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        segments: Segments,
        pace: Pace,
        random: fastrand::Rng,
        mut newest: Vec<(Reach, Segment)>,
        floor: Floor,
    ) -> Self {
        newest.reverse();
        let (checkpoints, spares) = (newest.into(), Spares::default());
        Self { disk, segments, pace, random, checkpoints, floor, spares }
    }

    pub(crate) fn spares(&self) -> Spares {
        self.spares.clone()
    }

    /// Files that an earlier process did not finish, or meant to use again, are taken away.
    pub(crate) fn clear(&self) -> io::Result<()> {
        let kept: Vec<u64> = self.checkpoints.iter().map(|(reach, _)| reach.segment).collect();
        for number in checkpoints(&*self.disk)? {
            // Others are damaged, or older; where there is no other they may be of use to somebody.
            if !(kept.is_empty() || kept.contains(&number)) {
                self.disk.remove(&checkpoint_name(number))?;
            }
        }
        let ours = |name: &str, ending: &str| {
            let stem = name.strip_suffix(ending).unwrap_or_default();
            stem.len() == 16 && stem.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        for name in self.disk.names()? {
            if ours(&name, ".new") || ours(&name, ".spare") {
                self.disk.remove(&name)?;
            }
        }
        self.disk.sync_names()
    }

    /// Does what is to be done by now. `pause` is called often, to leave the disk to others; if it fails,
    /// that is the end of it, and what was begun is begun anew another time.
    pub(crate) fn look(&mut self, pause: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        let all = self.segments.all();
        let full = &all[..all.len().saturating_sub(1)];
        let reached = self.checkpoints.back().map(|(reach, _)| reach.segment);
        let since: Vec<&Segment> = full
            .iter()
            .filter(|of| reached.is_none_or(|reached| of.head.number > reached))
            .collect();
        let bytes: u64 = since.iter().map(|segment| segment.length - FRAMES).sum();
        let size = self.checkpoints.back().map_or(0, |(_, segment)| segment.length - FRAMES);
        if bytes >= self.pace.0.max(2 * size) && !since.is_empty() {
            self.write(&since, &all, pause)?;
        }
        self.give_back(&all)
    }

    fn write(
        &mut self,
        since: &[&Segment],
        all: &[Segment],
        pause: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut changes = Changes::new();
        let mut time = self.checkpoints.back().map_or(0, |(reach, _)| reach.time);
        for segment in since {
            let mut at = FRAMES;
            // Damaged ones are gaps: what they said is lost, and was said when the log was opened.
            while at < segment.length {
                let read = read_frames(segment, &mut at, |head, body| {
                    time = time.max(head.time);
                    checkpoint::note(&mut changes, body);
                })?;
                if read == 0 {
                    at = super::reader::behind_damage(segment, at)?;
                }
            }
            pause()?;
        }
        let Some(last) = since.last() else { return Ok(()) };
        let next = all.iter().find(|of| of.head.number > last.head.number);
        let Some(next) = next else { return Ok(()) };
        let end: End = next.head.before;
        let reach = Reach { segment: last.head.covers, end, next: next.head.first, time };
        let before = self.checkpoints.back().map(|(_, segment)| segment);
        let written =
            checkpoint::write(&*self.disk, &mut self.random, reach, before, &changes, pause)?;
        self.checkpoints.push_back((reach, written));
        while self.checkpoints.len() > 2 {
            if let Some((old, _)) = self.checkpoints.pop_front() {
                self.disk.remove(&checkpoint_name(old.segment))?;
            }
        }
        Ok(())
    }

    /// Segments whose facts are in both checkpoints, and whose events nobody needs, are free.
    fn give_back(&mut self, all: &[Segment]) -> io::Result<()> {
        if self.checkpoints.len() < 2 {
            return Ok(());
        }
        let Some((oldest, _)) = self.checkpoints.front() else { return Ok(()) };
        let (reached, floor) = (oldest.segment, self.floor.get());
        for pair in all.windows(2) {
            let (segment, next) = (&pair[0], &pair[1]);
            if segment.head.covers > reached {
                break; // the next checkpoint is to come first
            }
            if next.head.first > floor {
                self.floor.wait_for(next.head.first);
                break;
            }
            self.segments.remove_first();
            let name = segment_name(segment.head.number);
            let spare = format!("{:016x}.spare", segment.head.number);
            if self.spares.give.is_full() {
                self.disk.remove(&name)?;
            } else {
                self.disk.rename(&name, &spare)?;
                self.spares.give.try_send(spare).ok();
            }
        }
        Ok(())
    }
}
