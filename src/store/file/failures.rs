//! Generated lives of a log on a disk that fails, is killed or loses its power, with somebody who reads and
//! somebody who tidies beside it: what was acknowledged is there, and each event is read once, in its
//! order, at any moment.

#![allow(clippy::unwrap_used)]

use std::ops::Range;
use std::sync::Arc;

use super::bytes::put_number;
use super::crash::{CrashDisk, Fault};
use super::disk::Disk;
use super::facts::name_of;
use super::keeper::{Floor, Keeper};
use super::log::{Commit, Log};
use super::needed::{Lasts, SubscriptionFact};
use super::reader::{Place, Segments};
use super::readings::{PACE, SIZES, event, positions_in};
use super::record::{FactKind, put_fact};
use super::recovery::open;
use super::spares::Spares;

/// One process with its log.
struct Life {
    log: Log,
    keeper: Keeper,
    segments: Segments,
    floor: Floor,
    /// What is not on disk, and how many commits were written before that.
    group: Vec<(Vec<u8>, u64)>,
    after: u64,
}

fn commits(of: &[(Vec<u8>, u64)]) -> impl Iterator<Item = Commit<'_>> {
    of.iter().map(|(records, at)| Commit { records, first: *at, next: at + 1 })
}

impl Life {
    fn begin(disk: &CrashDisk, floor: u64, random: &mut fastrand::Rng) -> Self {
        let of: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut rng = || fastrand::Rng::with_seed(random.u64(..));
        let (mut log, mut found) = open(&of, SIZES, rng(), |_| {}).ok().unwrap();
        assert_eq!(found.lost, []);
        let (segments, needed) = (log.segments(), Floor::new(crossbeam_channel::bounded(1).0));
        needed.set(floor.min(log.next()));
        let newest = std::mem::take(&mut found.checkpoints);
        let spares = Spares::new(of.clone(), SIZES.segment, None);
        let (all, of_keeper) = (segments.clone(), spares.clone());
        let keeper = Keeper::new(of, all, PACE, rng(), newest, needed.clone(), of_keeper);
        keeper.clear().unwrap();
        log.reuse(spares, crossbeam_channel::bounded(1).0);
        let after = log.commits();
        Self { log, keeper, segments, floor: needed, group: Vec::new(), after }
    }

    fn write(&mut self, from: usize, sync: bool) -> std::io::Result<()> {
        if from < self.group.len() {
            self.log.append(commits(&self.group[from..]), 7)?;
        }
        if sync { self.log.sync() } else { Ok(()) }
    }

    fn redo(&mut self) -> std::io::Result<()> {
        self.log.redo(commits(&self.group), self.after, 7)?;
        self.log.sync()
    }

    fn is_synced(&mut self) {
        self.group.clear();
        self.after = self.log.commits();
    }

    /// Reads on from there; no event twice, none left out.
    fn read(&self, place: &mut Place, to: &mut u64) {
        let mut more = true;
        while more {
            let read = self.segments.read(place, &|_| true, |_, body| {
                for position in positions_in(body) {
                    assert!(position <= *to, "{to} is left out");
                    *to = (*to).max(position + 1);
                }
            });
            more = read.unwrap();
        }
    }

    /// How far somebody comes who begins to read now.
    fn read_anew(&self, from: u64) -> u64 {
        let (mut place, mut to) = (self.segments.seek(from), from);
        self.read(&mut place, &mut to);
        to
    }
}

/// One event; now and then with what makes its segment needed no more.
fn records(position: u64, floor: u64, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut records = Vec::new();
    if position == 0 || random.u8(0..4) == 0 {
        let (lasts, name, topics) = (Lasts::Named, "s".to_owned(), vec!["x".to_owned()]);
        let fact = SubscriptionFact { lasts, name, topics };
        put_fact(&mut records, &name_of(FactKind::Channel, 0), b"x");
        put_fact(&mut records, &name_of(FactKind::Subscription, 0), &fact.write());
        let mut value = Vec::new();
        put_number(&mut value, floor);
        put_fact(&mut records, &name_of(FactKind::Progress, 0), &value);
    }
    records.extend(event(0, position));
    records
}

fn some(random: &mut fastrand::Rng, one_in: u8) -> bool {
    random.u8(0..one_in) == 0
}

fn lives(seed: u64) {
    let random = &mut fastrand::Rng::with_seed(seed);
    let mut disk = CrashDisk::default();
    let (advances, loses_power) = (random.bool(), random.bool());
    let (mut synced, mut floor) = (0, 0);
    for _ in 0..3 {
        let mut life = Life::begin(&disk, floor, random);
        let mut next = life.log.next();
        assert!(next >= synced, "{next} of {synced} are there");
        let (mut place, mut to) = (life.segments.seek(floor), floor);
        life.read(&mut place, &mut to);
        assert_eq!(to, next);
        synced = next;
        'life: for _ in 0..random.usize(5..40) {
            if some(random, 6) {
                let from = disk.done() + random.u64(0..8);
                let all: Range<u64> = from..from + random.u64(1..9);
                disk.fails_for(all, Fault::Refused(libc::EIO));
            }
            let before = life.group.len();
            for _ in 0..random.usize(0..8) {
                life.group.push((records(next, floor, random), next));
                next += 1;
            }
            let sync = random.bool();
            let mut written = life.write(before, sync);
            let failed = written.is_err();
            while written.is_err() {
                if random.bool() {
                    life.read(&mut place, &mut to);
                }
                if random.bool() {
                    assert!(life.read_anew(floor) >= to, "what was shown is not there");
                }
                if some(random, 4) {
                    life.keeper.look(7, &mut || Ok(())).ok();
                }
                if some(random, 40) {
                    break 'life;
                }
                written = life.redo();
            }
            life.log.show();
            if sync || failed {
                synced = next;
                life.is_synced();
            }
            if random.bool() {
                life.read(&mut place, &mut to);
                assert_eq!(to, next);
            }
            if some(random, 3) {
                assert_eq!(life.read_anew(floor), next);
            }
            if advances && some(random, 5) {
                floor = floor.max(to.min(synced));
                life.floor.set(floor);
            }
            if some(random, 3) {
                life.keeper.look(7, &mut || Ok(())).ok();
            }
        }
        drop(life);
        disk = if loses_power { disk.after_crash(random) } else { disk.after_kill() };
    }
}

/// `CUELINE_LIVES` says of how many.
#[test]
fn whatever_fails_each_event_is_there_and_read_once() {
    for seed in 0..super::damages::times("CUELINE_LIVES", 500) {
        let lived = std::panic::catch_unwind(|| lives(seed));
        assert!(lived.is_ok(), "seed {seed}");
    }
}
