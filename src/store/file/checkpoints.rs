//! Facts under power failures while checkpoints are written and segments given back: what is there
//! after any crash is what was there after some commit, and not before the last acknowledged one.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::checkpoint::{checkpoint_name, checkpoints};
use super::crash::{CrashDisk, Fault};
use super::disk::Disk;
use super::facts::Facts;
use super::keeper::{Floor, Keeper, Pace};
use super::log::{Commit, Log, Sizes};
use super::record::{FactKind, Records, put_deleted, put_fact};
use super::recovery::{Found, open};
use super::segment::segment_number;
use super::spares::Spares;

const SIZES: Sizes = Sizes { segment: 4096 + 300, frame: 100 };
const PACE: Pace = Pace(500);

/// What the facts were after each commit.
struct World {
    disk: CrashDisk,
    log: Log,
    keeper: Keeper,
    history: Vec<Facts>,
    acknowledged: usize,
    random: fastrand::Rng,
}

fn opened(disk: &CrashDisk, seed: u64) -> Option<(Log, Keeper, Found, Facts)> {
    let of: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut facts = Facts::default();
    let random = fastrand::Rng::with_seed(seed);
    let (mut log, mut found) = open(&of, SIZES, random, |body| {
        Records::new(body).flatten().for_each(|record| facts.apply(&record));
    })
    .ok()?;
    let floor = Floor::new(crossbeam_channel::bounded(1).0);
    floor.set(u64::MAX);
    let newest = std::mem::take(&mut found.checkpoints);
    let random = fastrand::Rng::with_seed(seed + 1);
    let spares = Spares::new(of.clone(), SIZES.segment, None);
    let keeper = Keeper::new(of, log.segments(), PACE, random, newest, floor, spares.clone());
    keeper.clear().ok()?;
    let (full, _) = crossbeam_channel::bounded(1);
    log.reuse(spares, full);
    Some((log, keeper, found, facts))
}

impl World {
    fn new(disk: CrashDisk, seed: u64) -> Option<Self> {
        let (log, keeper, _, facts) = opened(&disk, seed)?;
        let (history, random) = (vec![facts], fastrand::Rng::with_seed(seed));
        Some(Self { disk, log, keeper, history, acknowledged: 0, random })
    }

    /// One commit of some facts, synced; the keeper looks now and then.
    fn step(&mut self) -> std::io::Result<()> {
        let mut records = Vec::new();
        for _ in 0..self.random.usize(1..4) {
            let name = [FactKind::State as u8, self.random.u8(0..6)];
            match self.random.u8(0..4) {
                0 => put_deleted(&mut records, &name),
                _ => put_fact(
                    &mut records,
                    &name,
                    &vec![self.random.u8(..); self.random.usize(0..40)],
                ),
            }
        }
        let mut facts = self.history.last().cloned().unwrap_or_default();
        Records::new(&records).flatten().for_each(|record| facts.apply(&record));
        self.history.push(facts);
        self.log.keep(Commit { records: &records, first: 0, next: 0 }, 7)?;
        self.acknowledged = self.history.len() - 1;
        self.keeper.look(7, &mut || Ok(()))
    }

    fn runs(&mut self, steps: usize) {
        for _ in 0..steps {
            if self.step().is_err() {
                return;
            }
        }
    }

    /// After a crash: what it is now was so once, and not long ago.
    fn check(&self, facts: &Facts, found: &Found, what: &str) {
        assert_eq!(found.lost, [], "{what}");
        let allowed = &self.history[self.acknowledged..];
        assert!(allowed.contains(facts), "{what}: {facts:?} is none of {allowed:?}");
    }
}

#[test]
fn what_is_there_after_any_crash_was_there_at_the_last_commit() {
    const STEPS: usize = 60;
    let Some(mut whole) = World::new(CrashDisk::default(), 1) else { panic!("it opens") };
    whole.runs(STEPS);
    let number = whole.disk.done();
    for crash in 0..=number {
        let disk = CrashDisk::default();
        disk.fails(crash, Fault::Crash);
        let Some(mut world) = World::new(disk, 1) else { continue };
        world.runs(STEPS);
        for seed in 0..3 {
            let what = format!("crash {crash}, seed {seed}");
            let left = match seed {
                0 => world.disk.after_kill(),
                seed => world.disk.after_crash(&mut fastrand::Rng::with_seed(seed * 77 + crash)),
            };
            let again = left.after_kill();
            let Some((_, _, found, facts)) = opened(&left, seed) else { panic!("{what}") };
            world.check(&facts, &found, &what);
            // Crashes of the recovery, and what is written after it.
            let second = fastrand::Rng::with_seed(crash).u64(0..=left.done() + 20);
            again.fails(second, Fault::Crash);
            if let Some(mut next) = World::new(again.clone(), seed + 5) {
                world.check(&next.history[0], &Found::default(), &what);
                next.runs(10);
                let left = again.after_crash(&mut fastrand::Rng::with_seed(second));
                let Some((_, _, found, facts)) = opened(&left, seed) else { panic!("{what}") };
                next.check(&facts, &found, &format!("{what}, then {second}"));
            } else {
                let left = again.after_crash(&mut fastrand::Rng::with_seed(second));
                let Some((_, _, found, facts)) = opened(&left, seed) else { panic!("{what}") };
                world.check(&facts, &found, &format!("{what}, then {second}"));
            }
        }
    }
}

#[test]
fn a_log_whose_events_nobody_needs_stays_small() {
    let Some(mut world) = World::new(CrashDisk::default(), 3) else { panic!("it opens") };
    let mut most = 0;
    for _ in 0..2_000 {
        assert!(world.step().is_ok());
        let Ok(names) = world.disk.names() else { panic!("it has names") };
        most = most.max(names.iter().filter(|name| segment_number(name).is_some()).count());
    }
    assert!(world.log.current().head.number > 200, "{}", world.log.current().head.number);
    assert!(most <= 12, "{most} segments at once");
    let Some((_, _, found, facts)) = opened(&world.disk, 4) else { panic!("it opens") };
    world.check(&facts, &found, "at the end");
}

/// One checkpoint that is damaged costs nothing: the one before it and the log since say the same.
#[test]
fn a_damaged_checkpoint_is_done_without() {
    let Some(mut world) = World::new(CrashDisk::default(), 5) else { panic!("it opens") };
    world.runs(200);
    let Ok(all) = checkpoints(&world.disk) else { panic!("it has names") };
    assert_eq!(all.len(), 2);
    let name = checkpoint_name(all[0]);
    let Ok(file) = world.disk.open(&name) else { panic!("it is there") };
    let Ok(length) = file.length() else { panic!("it has a length") };
    let used = (0..76).chain(2048..2124).chain(4096..length as usize);
    let mut seen = BTreeMap::new();
    for byte in used {
        let disk = world.disk.after_kill();
        disk.damage(&name, |bytes| bytes[byte] ^= 1 << (byte % 8));
        let Some((_, _, found, facts)) = opened(&disk, 6) else {
            assert!((8..12).contains(&(byte % 2048)), "byte {byte}");
            continue; // another version
        };
        world.check(&facts, &found, &format!("byte {byte}"));
        *seen.entry(found.damaged.len()).or_insert(0) += 1;
    }
    assert!(seen[&1] > 50, "{seen:?}");
    // Both of them: that is said.
    let disk = world.disk.after_kill();
    for number in all {
        disk.damage(&checkpoint_name(number), |bytes| bytes.truncate(100));
    }
    let Some((_, _, found, _)) = opened(&disk, 6) else { panic!("it opens") };
    assert_eq!(found.damaged.len(), 2);
    assert!(!found.lost.is_empty(), "what it said is lost");
}

#[test]
fn facts_outlive_a_segment_behind_them_that_was_begun_three_times() {
    let disk = CrashDisk::default();
    let Some((mut log, mut keeper, ..)) = opened(&disk, 1) else { panic!("it opens") };
    let fact = |name: u8| {
        let mut records = Vec::new();
        put_fact(&mut records, &[FactKind::State as u8, name], &[name; 10]);
        records
    };
    let keep = |log: &mut Log, of: u8| {
        log.keep(Commit { records: &fact(of), first: 0, next: 0 }, 7).unwrap();
    };
    keep(&mut log, 1);
    keep(&mut log, 2);
    let after = log.commits();
    let three = fact(3);
    let third = || std::iter::once(Commit { records: &three, first: 0, next: 0 });
    log.append(third(), 7).unwrap();
    disk.fails(disk.done(), Fault::Refused(libc::EIO));
    log.sync().unwrap_err();
    // A spare: head, frames
    disk.fails(disk.done() + 1, Fault::Refused(libc::EIO));
    log.redo(third(), after, 7).unwrap_err();
    // remove, head
    disk.fails(disk.done() + 1, Fault::Refused(libc::EIO));
    log.redo(third(), after, 7).unwrap_err();
    log.redo(third(), after, 7).and_then(|()| log.sync()).unwrap();
    log.show();
    for of in 4..60 {
        keep(&mut log, of);
        keeper.look(7, &mut || Ok(())).unwrap();
    }
    assert!(keeper.checkpoint().is_some());
    drop((log, keeper));
    let Some((_, _, found, facts)) = opened(&disk, 2) else { panic!("it opens") };
    assert_eq!(found.lost, []);
    for of in 1..60 {
        assert!(facts.get(&[FactKind::State as u8, of]).is_some(), "fact {of} is lost");
    }
}

#[test]
fn a_segment_that_was_not_begun_after_all_is_given_back() {
    let disk = CrashDisk::default();
    let Some((mut log, mut keeper, ..)) = opened(&disk, 1) else { panic!("it opens") };
    let mut records = Vec::new();
    put_fact(&mut records, &[FactKind::State as u8, 1], &[1; 10]);
    let commit = || std::iter::once(Commit { records: &records, first: 0, next: 0 });
    log.append(commit(), 7).unwrap();
    disk.fails(disk.done(), Fault::Refused(libc::EIO));
    log.sync().unwrap_err();
    let count = |disk: &CrashDisk| disk.names().unwrap().len();
    let before = count(&disk);
    for _ in 0..10 {
        disk.fails(disk.done(), Fault::Refused(libc::EIO)); // the head
        log.redo(commit(), 0, 7).unwrap_err();
        keeper.look(7, &mut || Ok(())).unwrap();
    }
    log.redo(commit(), 0, 7).and_then(|()| log.sync()).unwrap();
    keeper.look(7, &mut || Ok(())).unwrap();
    assert!(
        count(&disk) <= before + 2,
        "{before} files, then {}: {:?}; used {}",
        count(&disk),
        disk.names(),
        keeper.used()
    );
}
