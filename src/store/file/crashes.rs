//! The log under power failures, kills and refusing disks: every crash point of all small workloads,
//! and of the recovery that follows.

use std::sync::Arc;

use super::crash::{CrashDisk, Fault};
use super::disk::Disk;
use super::layout::{FRAME_HEAD, FRAMES};
use super::log::{Commit, Log, Sizes};
use super::record::{FactKind, Record, Records, put_fact};
use super::recovery::{Found, NotOpened, open};
use super::segment::segment_name;

const SIZES: Sizes = Sizes { segment: 4096 + 400, frame: 120 };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// One commit, of so many bytes.
    Append(usize),
    /// Several at once.
    Group(usize),
    Sync,
}

const OPS: [Op; 5] = [Op::Append(1), Op::Append(250), Op::Group(2), Op::Group(7), Op::Sync];

/// A commit that says which one it is.
fn commit(number: u32, size: usize) -> Vec<u8> {
    let mut records = Vec::new();
    put_fact(&mut records, &[FactKind::Progress as u8], &vec![number as u8; size.max(1)]);
    put_fact(&mut records, &[FactKind::Channel as u8], &number.to_le_bytes());
    records
}

fn numbers_in(body: &[u8]) -> Vec<u32> {
    let numbers = Records::new(body).map(|record| match record {
        Ok(Record::Put { name, value }) if name == [FactKind::Channel as u8] => {
            value.try_into().ok().map(u32::from_le_bytes)
        }
        Ok(_) => None,
        Err(malformed) => panic!("{malformed:?}"),
    });
    numbers.flatten().collect()
}

pub(super) fn opened(disk: &CrashDisk, seed: u64) -> Result<(Log, Found, Vec<u32>), NotOpened> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut all = Vec::new();
    let random = fastrand::Rng::with_seed(seed);
    let (log, found) = open(&disk, SIZES, random, |body| all.extend(numbers_in(body)))?;
    Ok((log, found, all))
}

/// What a workload was told.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Ledger {
    /// So many commits were handed over.
    pub(super) attempted: u32,
    /// Of so many it was said that they are on disk.
    pub(super) acknowledged: u32,
}

/// Runs a workload until it is through, or something fails: then it tries again, so often.
pub(super) fn run_again(log: &mut Log, ledger: &mut Ledger, ops: &[Op], tries: usize) {
    // What was written since the last sync.
    let (mut unsynced, mut after) = (Vec::new(), log.commits());
    for op in ops {
        let (count, size) = match op {
            Op::Sync => (0, 0),
            Op::Append(size) => (1, *size),
            Op::Group(count) => (*count as u32, 30),
        };
        let before = unsynced.len();
        unsynced.extend((0..count).map(|more| commit(ledger.attempted + more, size)));
        ledger.attempted += count;
        let commits = || {
            let all = unsynced.iter();
            all.map(|records: &Vec<u8>| Commit { records, first: 0, next: 0 })
        };
        let mut done = match op {
            Op::Sync => log.sync(),
            _ => log.append(commits().skip(before), 5),
        };
        let failed = done.is_err();
        for _ in 0..tries {
            done = done.or_else(|_| log.redo(commits(), after, 5).and_then(|()| log.sync()));
        }
        if done.is_err() {
            return;
        }
        if *op == Op::Sync || failed {
            ledger.acknowledged = ledger.attempted;
            (unsynced, after) = (Vec::new(), log.commits());
        }
    }
}

/// As [`run_again`], without that.
pub(super) fn run(log: &mut Log, ledger: &mut Ledger, ops: &[Op]) {
    run_again(log, ledger, ops, 0);
}

/// What is there is the beginning of what was handed over, and all of what was acknowledged.
fn check(all: &[u32], ledger: Ledger, what: &dyn Fn() -> String) {
    let expected: Vec<u32> = (0..all.len() as u32).collect();
    assert_eq!(all, expected, "out of order or from nowhere: {}", what());
    assert!(all.len() as u32 <= ledger.attempted, "from nowhere: {}", what());
    assert!(
        all.len() as u32 >= ledger.acknowledged,
        "{} of {ledger:?} left: {}",
        all.len(),
        what()
    );
}

/// After a crash: opens, with another crash at each point of that, goes on, and opens again.
fn recovers(disk: &CrashDisk, ledger: Ledger, seed: u64, what: &dyn Fn() -> String) {
    let first = disk.after_kill();
    let Ok((_, found, all)) = opened(&first, seed) else { panic!("not opened: {}", what()) };
    assert_eq!(found.lost, [], "nothing was damaged: {}", what());
    check(&all, ledger, what);
    let ops = first.done();
    for crash in 0..ops {
        let again = disk.after_kill();
        again.fails(crash, Fault::Crash);
        assert!(opened(&again, seed).is_err(), "{}", what());
        let again = again.after_crash(&mut fastrand::Rng::with_seed(seed + crash));
        let Ok((mut log, found, all)) = opened(&again, seed + 1) else {
            panic!("not opened after crash {crash} of the recovery: {}", what())
        };
        assert_eq!(found.lost, [], "nothing was damaged: {}", what());
        check(&all, ledger, what);
        // It goes on where it is.
        let mut more = Ledger { attempted: all.len() as u32, acknowledged: all.len() as u32 };
        run(&mut log, &mut more, &[Op::Group(3), Op::Append(200), Op::Sync]);
        assert_eq!(more.acknowledged, all.len() as u32 + 4, "{}", what());
        let after = again.after_crash(&mut fastrand::Rng::with_seed(seed));
        let Ok((_, found, all)) = opened(&after, seed + 2) else { panic!("{}", what()) };
        assert_eq!((found.lost.len(), found.torn), (0, false), "{}", what());
        check(&all, more, what);
    }
}

fn crashes_everywhere(ops: &[Op], seeds: u64) {
    let whole = CrashDisk::default();
    let Ok((mut log, ..)) = opened(&whole, 1) else { panic!("it opens") };
    run(&mut log, &mut Ledger::default(), ops);
    for crash in 0..=whole.done() {
        for seed in 0..seeds {
            let disk = CrashDisk::default();
            disk.fails(crash, Fault::Crash);
            let mut ledger = Ledger::default();
            if let Ok((mut log, ..)) = opened(&disk, 1) {
                run(&mut log, &mut ledger, ops);
            }
            let what = || format!("{ops:?}, crash {crash}, seed {seed}");
            let left = disk.after_crash(&mut fastrand::Rng::with_seed(seed * 31 + crash));
            recovers(&left, ledger, seed, &what);
            if seed == 0 {
                recovers(&disk.after_kill(), ledger, seed, &what);
            }
        }
    }
}

fn workloads(length: usize) -> Vec<Vec<Op>> {
    if length == 0 {
        return vec![Vec::new()];
    }
    let shorter = workloads(length - 1);
    shorter.iter().flat_map(|ops| OPS.map(|op| [&ops[..], &[op]].concat())).collect()
}

/// Rows 1, 3 to 7 and 11 of the fault matrix, for the log itself.
#[test]
fn every_crash_point_of_all_small_workloads() {
    for length in 1..=3 {
        workloads(length).iter().for_each(|ops| crashes_everywhere(ops, 4));
    }
}

/// `CUELINE_SEEDS` says of how many.
#[test]
fn crash_points_of_long_workloads() {
    for seed in 0..super::damages::times("CUELINE_SEEDS", 20) {
        let mut random = fastrand::Rng::with_seed(seed);
        let ops: Vec<Op> = (0..12).map(|_| OPS[random.usize(..OPS.len())]).collect();
        crashes_everywhere(&ops, 1);
    }
}

/// Rows 18 to 20: whatever fails, once, several times or from then on, and however late the power fails
/// too: nothing is said to be on disk that is not, and as soon as the disk works again all goes on.
#[test]
fn fault_18_eio_on_fsync() {
    for ops in workloads(3).iter().filter(|ops| ops.contains(&Op::Sync)) {
        let whole = CrashDisk::default();
        let Ok((mut log, ..)) = opened(&whole, 1) else { panic!("it opens") };
        let begun = whole.done();
        run(&mut log, &mut Ledger::default(), ops);
        for refused in 0..whole.done() {
            for (code, times) in
                [(libc::EIO, 1), (libc::ENOSPC, 1), (libc::EIO, 4), (libc::EIO, 99)]
            {
                let disk = CrashDisk::default();
                disk.fails_for(refused..refused + times, Fault::Refused(code));
                let what = || format!("{ops:?}, {code} at {refused}, {times} times");
                let mut ledger = Ledger::default();
                if let Ok((mut log, ..)) = opened(&disk, 1) {
                    run_again(&mut log, &mut ledger, ops, 4);
                    let synced = ops.iter().rposition(|op| *op == Op::Sync);
                    let all = ops[..=synced.unwrap_or(0)].iter().map(|op| match op {
                        Op::Sync => 0,
                        Op::Append(_) => 1,
                        Op::Group(count) => *count as u32,
                    });
                    let through = times > 4 || refused < begun || ledger.acknowledged >= all.sum();
                    assert!(through, "{ledger:?}: {}", what());
                }
                // It loses its power at once; or
                let left = disk.after_crash(&mut fastrand::Rng::with_seed(refused));
                recovers(&left, ledger, 3, &what);
                // it is killed, and opened anew in the same machine, which still shows what is not on
                // disk, and loses its power then.
                let killed = disk.after_kill();
                let Ok((_, found, all)) = opened(&killed, 2) else { panic!("{}", what()) };
                assert_eq!(found.lost, [], "{}", what());
                check(&all, ledger, &what);
                let ledger = Ledger { acknowledged: all.len() as u32, ..ledger };
                let left = killed.after_crash(&mut fastrand::Rng::with_seed(refused));
                recovers(&left, ledger, 3, &what);
            }
        }
    }
}

/// Rows 19 and 20: what is refused is done anew elsewhere, and nobody notices.
#[test]
fn fault_19_a_refused_write_is_done_anew() {
    let groups = [Op::Group(7), Op::Append(250), Op::Group(2), Op::Append(1)];
    let ops: Vec<Op> = groups.into_iter().flat_map(|group| [group, Op::Sync]).collect();
    let whole = CrashDisk::default();
    let Ok((mut log, ..)) = opened(&whole, 1) else { panic!("it opens") };
    let begun = whole.done();
    run(&mut log, &mut Ledger::default(), &ops);
    for refused in begun..whole.done() {
        for code in [libc::EIO, libc::ENOSPC] {
            let disk = CrashDisk::default();
            disk.fails(refused, Fault::Refused(code));
            let Ok((mut log, ..)) = opened(&disk, 1) else { panic!("it opens") };
            let mut ledger = Ledger::default();
            run_again(&mut log, &mut ledger, &ops, 1);
            let what = || format!("{code} at {refused}");
            assert_eq!(ledger.acknowledged, 11, "{}", what());
            for seed in 0..4 {
                let left = disk.after_crash(&mut fastrand::Rng::with_seed(seed));
                recovers(&left, ledger, seed, &what);
            }
        }
    }
}

/// What was written, and not synced, outlives the process also while it is being written elsewhere.
#[test]
fn what_is_written_outlives_the_process_while_it_is_done_anew() {
    let ops = [Op::Append(9), Op::Sync, Op::Group(4), Op::Append(60), Op::Sync];
    let whole = CrashDisk::default();
    let Ok((mut log, ..)) = opened(&whole, 1) else { panic!("it opens") };
    let begun = whole.done();
    run(&mut log, &mut Ledger::default(), &ops);
    let sync = whole.done() - 1; // of what was written in two goes
    for times in 1..12 {
        for killed in 0..40 {
            let disk = CrashDisk::default();
            disk.fails_for(sync..sync + times, Fault::Refused(libc::EIO));
            let Ok((mut log, ..)) = opened(&disk, 1) else { panic!("it opens") };
            let mut ledger = Ledger::default();
            disk.stops_at(sync + 1 + killed);
            run_again(&mut log, &mut ledger, &ops, 20);
            let what = || format!("{times} times from {sync} of {begun}, killed {killed} later");
            assert_eq!(ledger.attempted, 6);
            let Ok((_, found, all)) = opened(&disk.after_kill(), 2) else { panic!("{}", what()) };
            assert_eq!((all.len(), found.lost.len()), (6, 0), "{}", what());
        }
    }
}

/// Whole frames behind the cut fit behind nothing any more, however alike what is written then.
#[test]
fn nothing_is_written_behind_what_was_cut() {
    let disk = CrashDisk::default();
    let Ok((mut log, ..)) = opened(&disk, 1) else { panic!("it opens") };
    run(&mut log, &mut Ledger::default(), &[Op::Append(20), Op::Sync, Op::Group(4), Op::Sync]);
    let name = segment_name(0);
    let second = FRAMES as usize + FRAME_HEAD + commit(0, 20).len();
    disk.damage(&name, |bytes| bytes[second + FRAME_HEAD] ^= 1);
    let Ok((mut log, found, all)) = opened(&disk, 2) else { panic!("it opens") };
    assert_eq!((all, found.torn), (vec![0], true));
    let mut ledger = Ledger { attempted: 1, acknowledged: 1 };
    run(&mut log, &mut ledger, &[Op::Group(2), Op::Sync]);
    let Ok((_, found, all)) = opened(&disk, 3) else { panic!("it opens") };
    assert_eq!((all, found.torn, found.lost.len()), (vec![0, 1, 2], false, 0));
}

/// Row 12: a write that writes less than it was asked to is gone on with.
#[test]
fn fault_12_short_writes() {
    let whole = CrashDisk::default();
    let ops = [Op::Group(7), Op::Append(250), Op::Sync];
    let Ok((mut log, ..)) = opened(&whole, 1) else { panic!("it opens") };
    run(&mut log, &mut Ledger::default(), &ops);
    for short in 0..whole.done() {
        let disk = CrashDisk::default();
        disk.fails(short, Fault::Short);
        let Ok((mut log, ..)) = opened(&disk, 1) else { panic!("it opens") };
        let mut ledger = Ledger::default();
        run(&mut log, &mut ledger, &ops);
        assert_eq!(ledger.acknowledged, 8);
        let Ok((_, _, all)) = opened(&disk, 1) else { panic!("it opens") };
        check(&all, ledger, &|| format!("short write {short}"));
    }
}

/// The checks see what they are for: a log that acknowledges before it syncs is caught.
#[test]
fn a_lost_acknowledgement_is_seen() {
    let disk = CrashDisk::default();
    let Ok((mut log, ..)) = opened(&disk, 1) else { panic!("it opens") };
    let mut ledger = Ledger::default();
    run(&mut log, &mut ledger, &[Op::Append(1)]);
    ledger.acknowledged = 1; // it was not synced
    let lost = (0..20).any(|seed| {
        let left = disk.after_crash(&mut fastrand::Rng::with_seed(seed));
        let Ok((_, _, all)) = opened(&left, 1) else { panic!("it opens") };
        std::panic::catch_unwind(|| check(&all, ledger, &|| String::new())).is_err()
    });
    assert!(lost);
}
