//! What whoever reads a log gets: while it is written, written anew, damaged, or looked into.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::crash::{CrashDisk, Fault};
use super::crashes::opened;
use super::disk::Disk;
use super::events::{Entry, Run};
use super::keeper::{Floor, Keeper, Pace};
use super::layout::FRAMES;
use super::log::{Commit, Log, Sizes};
use super::needed::Index;
use super::reader::{Place, Segments, read_frames};
use super::record::{Record, Records, put_events};
use super::recovery::{Found, open};
use super::segment::segment_name;
use super::spares::Spares;

pub(super) const SIZES: Sizes = Sizes { segment: 4096 + 1000, frame: 100 };
pub(super) const PACE: Pace = Pace(500);

pub(super) fn event(channel: u32, position: u64) -> Vec<u8> {
    let (mut entries, mut records) = (Vec::new(), Vec::new());
    Entry { key: None, payload: &[7; 100] }.put(&mut entries);
    put_events(&mut records, position, &[Run::plain(channel, 1)], &entries);
    records
}

/// The positions of a channel, and how many frames were looked at for that.
fn read(segments: &Segments, channel: Option<u32>) -> (Vec<u64>, usize) {
    let (mut found, mut frames) = (Vec::new(), 0);
    let mut place = segments.seek(0);
    let wants = |of: u32| channel.is_none_or(|channel| channel == of);
    while segments
        .read(&mut place, &wants, |_, body| {
            frames += 1;
            for record in Records::new(body).flatten() {
                let Record::Events(events) = record else { continue };
                found.extend(wants(events.runs[0].channel).then_some(events.first));
            }
        })
        .unwrap()
    {}
    (found, frames)
}

#[test]
fn segments_without_what_is_wanted_are_passed_over_and_nothing_else() {
    let Ok((mut log, ..)) = opened(&CrashDisk::default(), 1) else { panic!("it opens") };
    let segments = log.segments();
    let rare = [70, 71, 140, 399];
    for position in 0..400 {
        let records = event(u32::from(rare.contains(&position)), position);
        log.keep(Commit { records: &records, first: position, next: position + 1 }, 5).unwrap();
    }
    let all = read(&segments, None);
    assert_eq!(read(&segments, Some(1)), (rare.to_vec(), all.1), "nobody has looked yet");
    let sealed = segments.count() - 1;
    for segment in &segments.all()[..sealed] {
        let (mut at, mut index) = (FRAMES, Index::default());
        while read_frames(segment, &mut at, |head, body| index.note(body, head.time)).unwrap() > 0 {
        }
        segment.has(index);
    }
    let (found, frames) = read(&segments, Some(1));
    assert_eq!(found, rare);
    assert!(frames * 3 < all.1, "{frames} of {}", all.1);
    assert_eq!(read(&segments, None), all);
}

fn log_of(disk: &CrashDisk, sizes: Sizes) -> Log {
    let of: Arc<dyn Disk> = Arc::new(disk.clone());
    open(&of, sizes, fastrand::Rng::with_seed(1), |_| {}).ok().unwrap().0
}

/// One event of channel 0 each.
fn events(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|position| event(0, position)).collect()
}

fn commit(events: &[Vec<u8>], at: usize) -> Commit<'_> {
    Commit { records: &events[at], first: at as u64, next: at as u64 + 1 }
}

#[test]
fn what_is_on_disk_stays_readable_however_often_what_follows_is_begun() {
    let disk = CrashDisk::default();
    let mut log = log_of(&disk, Sizes { segment: 4096 + 4000, frame: 4096 });
    let events = events(3);
    let commit = |at: usize| commit(&events, at);
    log.keep(commit(0), 5).unwrap();
    log.keep(commit(1), 5).unwrap();
    let segments = log.segments();
    assert_eq!(read(&segments, None).0, [0, 1]);
    log.append(std::iter::once(commit(2)), 5).unwrap();
    disk.fails(disk.done(), Fault::Refused(libc::EIO));
    log.sync().unwrap_err();
    // create, reserve, head, frames
    disk.fails(disk.done() + 3, Fault::Refused(libc::EIO));
    log.redo(std::iter::once(commit(2)), 2, 5).unwrap_err();
    // remove, create
    disk.fails(disk.done() + 1, Fault::Refused(libc::EIO));
    log.redo(std::iter::once(commit(2)), 2, 5).unwrap_err();
    log.redo(std::iter::once(commit(2)), 2, 5).and_then(|()| log.sync()).unwrap();
    log.show();
    assert_eq!(read(&segments, None).0, [0, 1, 2]);
}

#[test]
fn a_place_in_a_segment_that_another_one_replaces_is_not_one_in_that() {
    let disk = CrashDisk::default();
    let mut log = log_of(&disk, Sizes { segment: 4096 + 1200, frame: 4096 });
    let events = events(40);
    let commit = |at: usize| commit(&events, at);
    let segments = log.segments();
    let mut at = 0;
    // synced, until a segment begins
    while segments.count() == 1 {
        log.append(std::iter::once(commit(at)), 5).unwrap();
        if segments.count() == 1 {
            log.sync().unwrap();
        }
        at += 1;
    }
    let after = log.commits() - 1; // the last one is not synced
    let begin = at - 1;
    for _ in 0..2 {
        log.append(std::iter::once(commit(at)), 5).unwrap();
        at += 1;
    }
    log.show(); // buffered: readers see it
    let mut place = segments.seek(0);
    let mut seen = Vec::new();
    let mut go = |place: &mut Place| {
        while segments
            .read(place, &|_| true, |_, body| {
                for record in Records::new(body).flatten() {
                    let Record::Events(events) = record else { continue };
                    if seen.last().is_none_or(|last| *last < events.first) {
                        seen.push(events.first);
                    }
                }
            })
            .unwrap()
        {}
    };
    go(&mut place);
    disk.fails(disk.done(), Fault::Refused(libc::EIO));
    log.sync().unwrap_err();
    log.redo((begin..at).map(commit), after, 5).and_then(|()| log.sync()).unwrap();
    log.show();
    for _ in 0..3 {
        log.keep(commit(at), 5).unwrap();
        log.show();
        go(&mut place);
        at += 1;
    }
    assert_eq!(seen, (0..at as u64).collect::<Vec<_>>());
}

#[test]
fn what_was_shown_stays_readable_while_it_is_written_anew() {
    let disk = CrashDisk::default();
    let mut log = log_of(&disk, Sizes { segment: 4096 + 4000, frame: 4096 });
    let events = events(3);
    let commit = |at: usize| commit(&events, at);
    log.keep(commit(0), 5).unwrap();
    let segments = log.segments();
    log.append(std::iter::once(commit(1)), 5).unwrap();
    log.show();
    assert_eq!(read(&segments, None).0, [0, 1]);
    disk.fails_for(disk.done()..u64::MAX, Fault::Refused(libc::EIO));
    log.sync().unwrap_err();
    log.redo(std::iter::once(commit(1)), 1, 5).unwrap_err();
    assert_eq!(read(&segments, None).0, [0, 1]);
}

pub(super) fn positions_in(body: &[u8]) -> Vec<u64> {
    let records = Records::new(body).flatten();
    let positions = records.filter_map(|record| match record {
        Record::Events(events) => Some(events.first),
        _ => None,
    });
    positions.collect()
}

/// A log whose keeper writes checkpoints soon, and gives nothing back.
fn kept(disk: &CrashDisk) -> (Log, Keeper, Found) {
    let of: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut log, mut found) = open(&of, SIZES, fastrand::Rng::with_seed(1), |_| {}).ok().unwrap();
    let floor = Floor::new(crossbeam_channel::bounded(1).0);
    floor.set(0); // somebody needs all of it
    let newest = std::mem::take(&mut found.checkpoints);
    let spares = Spares::new(of.clone(), SIZES.segment, None);
    let (random, segments) = (fastrand::Rng::with_seed(2), log.segments());
    let keeper = Keeper::new(of, segments, PACE, random, newest, floor, spares.clone());
    keeper.clear().unwrap();
    log.reuse(spares, crossbeam_channel::bounded(1).0);
    (log, keeper, found)
}

fn fill(log: &mut Log, positions: std::ops::Range<u64>) {
    for position in positions {
        let records = event(0, position);
        log.keep(Commit { records: &records, first: position, next: position + 1 }, 7).unwrap();
    }
}

/// Nobody looks into it when the log is opened; whoever reads it does.
#[test]
fn damage_in_what_a_checkpoint_covers_is_said_once() {
    let disk = CrashDisk::default();
    let (mut log, mut keeper, _) = kept(&disk);
    fill(&mut log, 0..90);
    keeper.look(7, &mut || Ok(())).unwrap();
    assert!(keeper.checkpoint().unwrap() > 1);
    drop((log, keeper));
    disk.damage(&segment_name(1), |bytes| bytes[FRAMES as usize + 60] ^= 1);
    let (log, _, found) = kept(&disk);
    assert_eq!(found.lost, []);
    for errors in [1, 0] {
        let (segments, mut positions, mut said) = (log.segments(), Vec::new(), 0);
        let mut place = segments.seek(0);
        loop {
            let more = segments.read(&mut place, &|_| true, |_, body| {
                positions.extend(positions_in(body));
            });
            match more {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    assert!(error.to_string().contains("1 commits are damaged"), "{error}");
                    said += 1;
                }
            }
        }
        assert_eq!((positions.len(), said), (89, errors));
    }
}

/// Whole frames may stand behind a cut; what a checkpoint covers is not scanned, and they are not read.
#[test]
fn what_was_cut_is_not_read_either_when_a_checkpoint_covers_it() {
    let disk = CrashDisk::default();
    let (mut log, keeper, _) = kept(&disk);
    fill(&mut log, 0..3);
    let torn = log.current().length;
    for position in 3..6 {
        let records = event(9, position);
        let commit = Commit { records: &records, first: position, next: position + 1 };
        log.append(std::iter::once(commit), 7).unwrap();
    }
    drop((log, keeper));
    // The first of three is torn, the others are whole.
    disk.damage(&segment_name(0), |bytes| bytes[torn as usize + 50] ^= 1);
    let (mut log, mut keeper, found) = kept(&disk);
    assert!(found.torn);
    fill(&mut log, 3..90);
    keeper.look(7, &mut || Ok(())).unwrap();
    assert!(keeper.checkpoint().unwrap() >= 1);
    drop((log, keeper));
    let (log, ..) = kept(&disk);
    let segments = log.segments();
    assert_eq!(
        read(&segments, Some(9)).0,
        Vec::<u64>::new(),
        "what was never acknowledged, in the place of others"
    );
    assert_eq!(read(&segments, Some(0)).0, (0..90).collect::<Vec<_>>());
}

#[test]
fn where_a_time_is_is_found_behind_damage() {
    let disk = CrashDisk::default();
    let (mut log, mut keeper, _) = kept(&disk);
    for position in 0..90 {
        let records = event(0, position);
        let commit = Commit { records: &records, first: position, next: position + 1 };
        log.keep(commit, 100 + position).unwrap();
    }
    keeper.look(7, &mut || Ok(())).unwrap();
    let firsts: Vec<u64> = log.segments().all().iter().map(|of| of.head.first).collect();
    drop((log, keeper));
    disk.damage(&segment_name(1), |bytes| bytes[FRAMES as usize + 60] ^= 1);
    let (log, ..) = kept(&disk);
    let last_of_it = firsts[2] - 1;
    assert_eq!(log.segments().position_at(100 + last_of_it).unwrap(), Some(last_of_it));
}

#[test]
fn what_is_written_anew_is_shown_when_it_is_on_disk() {
    let disk = CrashDisk::default();
    let mut log = log_of(&disk, Sizes { segment: 4096 + 4000, frame: 4096 });
    let events = events(2);
    let commit = |at: usize| std::iter::once(commit(&events, at));
    log.append(commit(0), 5).and_then(|()| log.sync()).unwrap();
    let segments = log.segments();
    log.append(commit(1), 5).unwrap();
    disk.fails_for(disk.done()..disk.done() + 2, Fault::Refused(libc::EIO));
    log.sync().unwrap_err();
    log.redo(commit(1), 1, 5).unwrap_err(); // nothing can be made
    log.redo(commit(1), 1, 5).unwrap();
    disk.fails(disk.done(), Fault::Refused(libc::EIO));
    log.sync().unwrap_err();
    assert_eq!((read(&segments, None).0, segments.next()), (vec![0], 1));
    log.redo(commit(1), 1, 5).and_then(|()| log.sync()).unwrap();
    assert_eq!((read(&segments, None).0, segments.next()), (vec![0, 1], 2));
    let numbers: Vec<u64> = segments.all().iter().map(|of| of.head.number).collect();
    assert_eq!(numbers, [0, 1], "each is there once");
}
