//! What is done behind the writer's back: checkpoints are written, and segments that nobody needs any
//! more are given back to be written again. Decided whenever a segment is full, by one thread, or by a
//! test.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crossbeam_channel::Sender;

use super::checkpoint::{self, Changes, Reach, checkpoint_name, checkpoints};
use super::disk::Disk;
use super::layout::{End, FRAMES};
use super::needed::{Index, Needed};
use super::reader::{Segments, read_frames};
use super::segment::{Segment, segment_number};
use super::spares::Spares;
use super::tidy::Learned;
use super::worth::Measured;
use crate::store::channel::Retention;

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
    /// One more than the last subscription that began in the past.
    begun: AtomicU64,
    looks: Sender<()>,
}

impl Floor {
    /// The keeper is told there that it is to look.
    pub(crate) fn new(looks: Sender<()>) -> Self {
        let (floor, wanted) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Self(Arc::new(Position { floor, wanted, begun: AtomicU64::new(0), looks }))
    }

    /// A subscription of that number begins with what is there already.
    pub(crate) fn begins(&self, subscription: u32) {
        self.0.begun.store(u64::from(subscription) + 1, SeqCst);
    }

    /// The last one that did.
    pub(super) fn begun(&self) -> Option<u32> {
        self.0.begun.load(SeqCst).checked_sub(1).map(|number| number as u32)
    }

    pub(crate) fn set(&self, position: u64) {
        self.0.floor.store(position, SeqCst);
        if position >= self.0.wanted.load(SeqCst) {
            self.0.wanted.store(u64::MAX, SeqCst);
            self.0.looks.try_send(()).ok(); // once is enough
        }
    }

    pub(super) fn get(&self) -> u64 {
        self.0.floor.load(SeqCst)
    }

    /// Tells when it reaches that, also if it has already.
    pub(super) fn wait_for(&self, position: u64) {
        self.0.wanted.store(position, SeqCst);
        self.set(self.get());
    }
}

/// Writes checkpoints, and takes away what is not needed.
pub(crate) struct Keeper {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) segments: Segments,
    pace: Pace,
    pub(super) random: fastrand::Rng,
    /// The last two, the newest last: if one is damaged there is another, and all that is needed to
    /// bring it up to date.
    pub(super) checkpoints: VecDeque<(Reach, Segment)>,
    pub(super) floor: Floor,
    pub(super) spares: Spares,
    /// For how long events are kept that everybody has consumed, by channel.
    pub(super) retention: HashMap<String, Retention>,
    /// Segments that are left as they are: they are damaged.
    pub(super) damaged: HashSet<u64>,
    /// What is needed by the newest checkpoint and what was written since, up to there.
    pub(super) needed: Option<(Learned, Needed)>,
    /// Segments that had to be read to see how much of them is needed.
    pub(super) measured: HashMap<u64, Measured>,
    /// The checkpoint that was read to its end.
    pub(super) read: Option<u64>,
    /// How many bytes compaction has written.
    pub(super) copied: u64,
    /// What can be given back is, whether there is need of it or not.
    thrifty: bool,
}

impl Keeper {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        segments: Segments,
        pace: Pace,
        random: fastrand::Rng,
        mut newest: Vec<(Reach, Segment)>,
        floor: Floor,
        spares: Spares,
    ) -> Self {
        newest.reverse();
        let checkpoints = newest.into();
        Self {
            disk,
            segments,
            pace,
            random,
            checkpoints,
            floor,
            spares,
            retention: HashMap::new(),
            damaged: HashSet::new(),
            needed: None,
            measured: HashMap::new(),
            read: None,
            copied: 0,
            thrifty: false,
        }
    }

    /// Events of some channels are kept although everybody has consumed them.
    pub(crate) fn retain(mut self, retention: HashMap<String, Retention>) -> Self {
        self.retention = retention;
        self
    }

    /// Gives back all that can be, as if there were no room.
    #[cfg(feature = "tools")]
    pub(crate) fn thrifty(mut self) -> Self {
        self.thrifty = true;
        self
    }

    /// Whatever can be given back is to be.
    pub(super) fn is_thrifty(&self) -> bool {
        self.thrifty || self.spares.is_short()
    }

    /// Files that an earlier process did not finish are taken away, those that it meant to use again
    /// are taken over, and as many more are made ready as there are to be.
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
        let all = self.segments.all();
        let merged = |number: u64| {
            let of = all.partition_point(|of| of.head.covers < number);
            all.get(of).is_some_and(|of| of.head.number < number)
        };
        for name in self.disk.names()? {
            if ours(&name, ".new") || segment_number(&name).is_some_and(merged) {
                self.disk.remove(&name)?;
            } else if ours(&name, ".spare") {
                self.spares.give(&name)?;
            }
        }
        self.provide()?;
        self.disk.sync_names()
    }

    /// Whether there is room for all that is to be ready.
    fn provide(&self) -> io::Result<bool> {
        self.spares.provide(self.used())
    }

    /// No more can be made ready.
    pub(crate) fn is_short(&self) -> bool {
        self.spares.is_short()
    }

    /// The newest checkpoint, by the segment that it reaches to.
    pub(crate) fn checkpoint(&self) -> Option<u64> {
        self.checkpoints.back().map(|(reach, _)| reach.segment)
    }

    /// How many bytes compaction has written.
    pub(crate) fn copied(&self) -> u64 {
        self.copied
    }

    /// How many bytes are used on disk.
    pub(crate) fn used(&self) -> u64 {
        let length = |segment: &Segment| segment.file.length().unwrap_or(0);
        let checkpoints = self.checkpoints.iter().map(|(_, segment)| segment);
        let segments = self.segments.all();
        segments.iter().chain(checkpoints).map(length).sum::<u64>() + self.spares.bytes()
    }

    /// Does what is to be done at that time, in milliseconds since 1970. `pause` is called often, to leave
    /// the disk to others; if it fails, that is the end of it, and what was begun is begun anew another
    /// time.
    pub(crate) fn look(
        &mut self,
        now: u64,
        pause: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        let all = self.segments.all();
        let full = &all[..all.len().saturating_sub(1)];
        let reached = self.checkpoints.back().map(|(reach, _)| reach.segment);
        let since: Vec<&Segment> = full
            .iter()
            .filter(|of| reached.is_none_or(|reached| of.head.number > reached))
            .collect();
        let bytes: u64 = since.iter().map(|segment| segment.length - FRAMES).sum();
        let size = self.checkpoints.back().map_or(0, |(_, segment)| segment.length - FRAMES);
        let due = bytes >= self.pace.0.max(2 * size) || self.is_thrifty();
        if due && !since.is_empty() {
            self.write(&since, &all, pause)?;
        }
        drop(all);
        self.tidy(now, pause)?;
        self.provide().map(drop)
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
            let (mut at, mut index) = (FRAMES, Index::default());
            // Damaged ones are gaps: what they said is lost, and was said when the log was opened.
            while at < segment.length {
                let read = read_frames(segment, &mut at, |head, body| {
                    time = time.max(head.time);
                    checkpoint::note(&mut changes, body);
                    index.note(body, head.time);
                })?;
                if read == 0 {
                    self.damaged.insert(segment.head.number);
                    at = super::reader::behind_damage(segment, at)?;
                }
            }
            index.length = segment.length;
            segment.has(index);
            pause()?;
        }
        let Some(last) = since.last() else { return Ok(()) };
        let next = all.iter().find(|of| of.head.number > last.head.number);
        let Some(next) = next else { return Ok(()) };
        let end: End = next.head.before;
        let reach = Reach { segment: last.head.covers, end, next: next.head.first, time };
        let before = self.checkpoints.back().map(|(_, segment)| segment);
        let written =
            checkpoint::write(&*self.disk, &mut self.random, reach, before, &changes, pause);
        let written = written.inspect_err(|error| {
            if error.kind() == io::ErrorKind::InvalidData {
                self.checkpoints.pop_back(); // the one before it is merged with what is since then
            }
        })?;
        self.checkpoints.push_back((reach, written));
        self.remove_checkpoints(2)
    }

    /// Leaves so many.
    pub(super) fn remove_checkpoints(&mut self, leave: usize) -> io::Result<()> {
        while self.checkpoints.len() > leave {
            if let Some((old, _)) = self.checkpoints.pop_front() {
                self.disk.remove(&checkpoint_name(old.segment))?;
            }
        }
        Ok(())
    }
}
