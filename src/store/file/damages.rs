//! Damage to the log: every bit, and whole files. What is left is right, and what is lost is said.

use super::crash::CrashDisk;
use super::crashes::{Ledger, Op, opened, run};
use super::disk::Disk;
use super::layout::FRAMES;
use super::recovery::{Found, NotOpened};
use super::segment::segment_name;

/// A log of several segments, each group of it synced. How many commits are in it.
fn log() -> (CrashDisk, u32) {
    let disk = CrashDisk::default();
    let Ok((mut log, ..)) = opened(&disk, 1) else { panic!("it opens") };
    let mut ledger = Ledger::default();
    for _ in 0..8 {
        let ops = [Op::Group(3), Op::Sync, Op::Append(60), Op::Append(1), Op::Sync];
        run(&mut log, &mut ledger, &ops);
    }
    assert!(log.current().head.number >= 3, "several segments");
    (disk, ledger.acknowledged)
}

/// What is there is right and in order, and if anything is missing that is said.
fn is_right_or_said(disk: &CrashDisk, all: u32, what: &dyn Fn() -> String) -> (Found, Vec<u32>) {
    let Ok((mut log, found, left)) = opened(disk, 2) else { panic!("not opened: {}", what()) };
    assert!(left.is_sorted_by(|one, other| one < other), "{left:?}: {}", what());
    assert!(left.iter().all(|number| *number < all), "from nowhere: {}", what());
    let whole = left.len() == all as usize;
    let said = !found.lost.is_empty() || found.torn;
    let (count, fine) = (left.len(), whole || said);
    assert!(fine, "{count} of {all} are left and nothing is said: {}", what());
    // It goes on, and says the same again.
    let mut ledger = Ledger { attempted: all, acknowledged: all };
    run(&mut log, &mut ledger, &[Op::Group(2), Op::Sync]);
    let Ok((_, again, more)) = opened(disk, 3) else { panic!("not opened again: {}", what()) };
    assert_eq!((&again.lost, again.torn), (&found.lost, false), "{}", what());
    assert_eq!(more, [&left[..], &[all, all + 1]].concat(), "{}", what());
    (found, left)
}

/// Rows 14 and 15.
#[test]
fn fault_14_and_15_every_flipped_bit() {
    let (_, all) = log();
    let mut said = 0;
    for number in 0.. {
        let (disk, _) = log();
        let name = segment_name(number);
        let Ok(file) = disk.open(&name) else { break };
        let Ok(length) = file.length() else { panic!("it has a length") };
        for byte in 0..length as usize {
            // Of the head's page only what is used.
            if (200..2048).contains(&byte) || (2248..FRAMES as usize).contains(&byte) {
                continue;
            }
            let (disk, _) = log();
            disk.damage(&name, |bytes| bytes[byte] ^= 1 << (byte % 8));
            let what = || format!("byte {byte} of segment {number}");
            if byte < FRAMES as usize && (8..12).contains(&(byte % 2048)) {
                // The version: another one is not touched.
                let refused = matches!(opened(&disk, 2), Err(NotOpened::Newer(_)));
                if refused {
                    continue;
                }
            }
            let (found, left) = is_right_or_said(&disk, all, &what);
            said += usize::from(!found.lost.is_empty());
            if left.len() < all as usize {
                let missing: u64 =
                    found.lost.iter().map(|lost| lost.gap.frames.1 - lost.gap.frames.0).sum();
                assert!(found.torn || missing == 1, "{}: {:?}", what(), found.lost);
            }
        }
    }
    assert!(said > 500, "{said}");
}

/// Row 16: a segment is cut, zeroed, missing, another one's copy.
#[test]
fn fault_16_whole_segments() {
    let damages: [(&str, fn(&CrashDisk, u64)); 6] = [
        ("cut", |disk, number| disk.damage(&segment_name(number), |of| of.truncate(4200))),
        ("emptied", |disk, number| disk.damage(&segment_name(number), Vec::clear)),
        ("zeroed", |disk, number| disk.damage(&segment_name(number), |of| of.fill(0))),
        ("head zeroed", |disk, number| {
            disk.damage(&segment_name(number), |of| of[..FRAMES as usize].fill(0));
        }),
        ("missing", |disk, number| drop(disk.remove(&segment_name(number)))),
        ("copied over", |disk, number| {
            let Ok(other) = disk.open(&segment_name(number - 1)) else { panic!("it is there") };
            let mut copy = vec![0; 4496];
            assert!(other.read_at(&mut copy, 0).is_ok());
            disk.damage(&segment_name(number), |of| *of = copy);
        }),
    ];
    for (name, damage) in damages {
        let from = u64::from(matches!(name, "missing" | "copied over"));
        for number in from..3 {
            let (disk, all) = log();
            damage(&disk, number);
            let what = || format!("segment {number} {name}");
            let (found, left) = is_right_or_said(&disk, all, &what);
            assert!(!found.lost.is_empty(), "{}", what());
            assert!(found.lost.iter().all(|lost| lost.segment == number), "{:?}", found.lost);
            assert!(left.len() < all as usize && left.contains(&(all - 1)), "{left:?}");
            assert_eq!(left.contains(&0), number > 0);
        }
    }
}

/// Row 17: what is not ours stays as it is.
#[test]
fn fault_17_stray_files() {
    let (disk, all) = log();
    let stray =
        [".DS_Store", "notes.txt", "0000000000000001.LOG", "1.log", "0000000000000001.log.bak"];
    for name in stray {
        assert!(disk.create(name).is_ok());
    }
    let (_, left) = is_right_or_said(&disk, all, &|| "stray files".to_owned());
    assert_eq!(left.len(), all as usize);
    let Ok(names) = disk.names() else { panic!("it has names") };
    assert!(stray.iter().all(|name| names.iter().any(|of| of == name)));
}

/// Row 29: what a later version wrote is refused, and not changed.
#[test]
fn fault_29_a_newer_format() {
    let (disk, _) = log();
    disk.damage(&segment_name(2), |bytes| bytes[8] = 9);
    let before = disk.done();
    assert!(matches!(opened(&disk, 2), Err(NotOpened::Newer(9))));
    assert_eq!(disk.done(), before);
}

pub(super) fn times(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |value| value.parse().unwrap_or(usual))
}

/// Row 51: whatever the bytes are, nothing that was never written is read, nothing is allocated for what
/// they claim, and nothing panics. `CUELINE_FUZZ` says how often.
#[test]
fn fault_51_any_bytes() {
    let (_, all) = log();
    let mangled = |seed: u64| {
        let mut random = fastrand::Rng::with_seed(seed);
        let (disk, _) = log();
        let names: Vec<String> = disk.names().unwrap_or_default();
        for _ in 0..random.u32(1..4) {
            let Some(name) = random.choice(&names) else { continue };
            disk.damage(name, |bytes| mangle(bytes, &mut random));
        }
        disk
    };
    for seed in 0..times("CUELINE_FUZZ", 1_500) {
        match opened(&mangled(seed), 2) {
            // The version was hit: it is refused, and not touched.
            Err(NotOpened::Newer(_)) => {}
            Err(NotOpened::Refused(error)) => panic!("seed {seed}: {error}"),
            // What seems never to have been written at the end is not missed by anybody: a stated limit.
            Ok((_, found, left)) if left.iter().copied().eq(0..left.len() as u32) => {
                assert!(found.lost.is_empty() || left.len() < all as usize, "seed {seed}");
            }
            Ok(_) => drop(is_right_or_said(&mangled(seed), all, &|| format!("seed {seed}"))),
        }
    }
}

/// Overwrites a stretch with noise, with another stretch, or with a length that is far too much.
fn mangle(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    if bytes.is_empty() {
        return;
    }
    let at = random.usize(0..bytes.len());
    let length = random.usize(1..=64).min(bytes.len() - at);
    match random.u32(0..4) {
        0 => bytes[at..at + length].fill_with(|| random.u8(..)),
        1 => {
            let from = random.usize(0..=bytes.len() - length);
            bytes.copy_within(from..from + length, at);
        }
        2 => bytes[at..at + length].fill(0xff),
        _ => bytes.truncate(at),
    }
}
