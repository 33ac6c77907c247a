//! How events come in: bounds, keys of publishers, batches.

use super::acknowledging::Stuck;
use super::stage::{Notes, Remark, Stage, Step, fine, player, publish, steps};
use crate::prelude::*;
use crate::{AtLimit, Channel, ErrorKind};

/// Where a slow subscription makes publishers wait, `try_publish` says so; else it takes all. In both
/// cases what was taken is handled, and nothing else.
pub(super) fn bounds(stage: &mut Stage) {
    let notes = Notes::default();
    let runtime = stage.start(|of| of.child(player("player", &notes, fine).bound(100)));
    runtime.pause("player").unwrap();
    let mut taken = Vec::new();
    for step in steps(0..1_000, 3) {
        let number = step.number;
        match runtime.try_publish(step) {
            Ok(_) => taken.push(number),
            Err(Refused::Full(step)) => assert_eq!(step.number, number, "it is given back"),
            Err(other) => panic!("{other}"),
        }
    }
    assert!(taken.len() >= 100, "{}", taken.len());
    runtime.resume("player").unwrap();
    runtime.idle().wait();
    assert_eq!(notes.numbers(), taken);
}

fn take_all(runtime: &Runtime) -> u64 {
    let taken = (0..1_000).take_while(|number| {
        let step = Step { key: 0, number: *number };
        runtime.try_publish(step).is_ok()
    });
    taken.count() as u64
}

pub(super) fn limits(stage: &mut Stage) {
    let notes = Notes::default();
    let waits = Channel::default().limit(100);
    let runtime = stage.start_with(waits, |of| of.child(player("player", &notes, fine)));
    runtime.pause("player").unwrap();
    assert_eq!(take_all(&runtime), 100);
    runtime.publish(Remark { number: 7 }).wait().unwrap(); // another channel has no such limit
    std::thread::scope(|scope| {
        // Who waits goes on when there is room, and not before.
        let waits = scope.spawn(|| runtime.publish_all(steps(1_000..1_500, 3)).wait().unwrap());
        assert!(matches!(runtime.try_publish(Step { key: 0, number: 0 }), Err(Refused::Full(_))));
        assert!(!waits.is_finished());
        runtime.resume("player").unwrap();
    });
    runtime.idle().wait();
    assert_eq!(notes.all().len(), 601);
    // Or is refused at once, and keeps what it has.
    let refuses = waits.at_limit(AtLimit::Refuse);
    let runtime = stage.start_with(refuses, |of| of.child(player("player", &notes, fine)));
    runtime.pause("player").unwrap();
    assert_eq!(take_all(&runtime), 100);
    let single = runtime.publish(Step { key: 0, number: 5 }).wait().unwrap_err();
    assert_eq!(single.into_event(), Some(Step { key: 0, number: 5 }));
    let many = runtime.publish_all(steps(0..3, 1)).wait().unwrap_err();
    assert_eq!(many.into_event().map(|rest| rest.len()), Some(3));
    let mut batch = runtime.batch();
    batch.add(Step { key: 0, number: 5 }).unwrap();
    assert!(matches!(batch.publish().wait(), Err(Refused::Full(_))));
    let mut batch = runtime.batch();
    for number in 0..101 {
        batch.add(Step { key: 0, number }).unwrap();
    }
    let never = batch.publish().wait().unwrap_err();
    assert!(matches!(never, Refused::Invalid(..) | Refused::Full(_)), "{never}");
    runtime.resume("player").unwrap();
    runtime.idle().wait();
    assert_eq!(notes.all().len(), 701);
}

/// Whether what waits is in memory or has to be read: it weighs as much when it leaves as when it came.
pub(super) fn limits_bytes(stage: &mut Stage) {
    let notes = Notes::default();
    let light = |notes: &Notes| player("player", notes, fine).bound_bytes(3_000);
    let limit = Channel::default().limit_bytes(10_000);
    let runtime = stage.start_with(limit, |of| of.child(light(&notes)));
    for number in 0..600 {
        // Alone, each: what it weighs is given back.
        runtime.publish_all([Step { key: 0, number }]).wait().unwrap();
        if number % 100 == 0 {
            runtime.idle().wait();
        }
    }
    runtime.idle().wait();
    let mut taken = Vec::new();
    for _ in 0..6 {
        runtime.pause("player").unwrap();
        // Where there is a log, it falls behind by these, and reads from there what comes next.
        let remarks: Vec<_> = (0..300).map(|number| Remark { number }).collect();
        runtime.publish_all(remarks).wait().unwrap();
        taken.push(take_all(&runtime));
        runtime.resume("player").unwrap();
        runtime.idle().wait();
    }
    // Some of the first were let in before the remarks came.
    let then = &taken[1..];
    assert!(then[0] > 2 && then[0] < 1_000, "{taken:?}");
    assert!(then.iter().all(|of| *of == then[0]), "room is lost, or comes from nowhere: {taken:?}");
    let limit = Channel::default().limit_bytes(160);
    let runtime = stage.start_with(limit, |of| of.child(light(&notes)));
    runtime.pause("player").unwrap();
    let few = take_all(&runtime);
    assert!(few > 2 && few < 20, "{few}");
    let limit = limit.limit(1);
    runtime.resume("player").unwrap();
    runtime.idle().wait();
    let runtime = stage.start_with(limit, |of| of.child(light(&notes)));
    runtime.pause("player").unwrap();
    assert_eq!(take_all(&runtime), 1, "the limit that is reached first counts");
}

pub(super) fn limits_last(stage: &mut Stage) {
    let notes = Notes::default();
    let limit = Channel::default().limit(100);
    let runtime = stage.start_with(limit, |of| of.child(player("player", &notes, fine)));
    runtime.pause("player").unwrap();
    assert_eq!(take_all(&runtime), 100);
    let stuck = {
        let notes = notes.clone();
        processor("player", move || Stuck(notes.clone())).on::<Step>()
    };
    let runtime = stage.start_with(limit, |of| of.child(stuck));
    assert!(take_all(&runtime) <= 1, "all of what was left waits still, but for the one in hand");
    stage.stop_at_once();
    let runtime = stage.start_with(limit, |of| of.child(player("player", &notes, fine)));
    publish(&runtime, 0..500, 3);
    assert!(notes.all().len() >= 600);
}

fn pay(runtime: &Runtime, number: u64, key: &str) -> Result<EventId, Refused<Step>> {
    runtime.publish(Step { key: 0, number }).dedup_key(key).wait()
}

pub(super) fn dedup(stage: &mut Stage) {
    let notes = Notes::default();
    let runtime = stage.start(|of| of.child(player("player", &notes, fine)));
    let first = pay(&runtime, 1, "one").unwrap();
    assert_eq!(pay(&runtime, 1, "one").unwrap(), first, "the same again has the id of the first");
    assert_ne!(pay(&runtime, 1, "another").unwrap(), first);
    match pay(&runtime, 2, "one") {
        Err(Refused::Invalid(Step { number: 2, .. }, error)) => {
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(error.to_string().contains(&first.to_string()), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let remark = runtime.publish(Remark { number: 9 }).dedup_key("one").wait();
    assert_ne!(remark.unwrap(), first, "each channel has its own keys");
    runtime.idle().wait();
    assert_eq!(notes.numbers(), [1, 1, 9]);
    // Many at once: one of them is it.
    let ids: Vec<_> = std::thread::scope(|scope| {
        let publishes = || pay(&runtime, 5, "five").unwrap();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(publishes)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    runtime.idle().wait();
    assert_eq!(notes.numbers(), [1, 1, 9, 5]);
}

pub(super) fn dedup_lasts(stage: &mut Stage) {
    let notes = Notes::default();
    let runtime = stage.start(|of| of.child(player("player", &notes, fine)));
    let first = pay(&runtime, 1, "one").unwrap();
    runtime.idle().wait();
    for _ in 0..2 {
        let runtime = stage.start(|of| of.child(player("player", &notes, fine)));
        assert_eq!(pay(&runtime, 1, "one").unwrap(), first);
        assert!(pay(&runtime, 2, "one").is_err());
        runtime.idle().wait();
    }
    assert_eq!(notes.numbers(), [1]);
    // A batch as well, whatever was published just before.
    let many = |runtime: &Runtime| {
        let mut batch = runtime.batch();
        (100..150).for_each(|number| batch.add(Step { key: 0, number }).unwrap());
        batch.dedup_key("many").publish().wait().unwrap()
    };
    (0..50).for_each(|number| runtime_of(stage).tell(Remark { number }).unwrap());
    let first = many(&runtime_of(stage));
    runtime_of(stage).idle().wait();
    let runtime = stage.start(|of| of.child(player("player", &notes, fine)));
    assert_eq!(many(&runtime), first);
    runtime.idle().wait();
    assert_eq!(notes.all().len(), 1 + 50 + 50);
}

fn runtime_of(stage: &Stage) -> Runtime {
    stage.runtime().unwrap()
}

pub(super) fn dedup_window(stage: &mut Stage) {
    let notes = Notes::default();
    let window = Channel::default().dedup(hours(1), 10);
    let runtime = stage.start_with(window, |of| of.child(player("player", &notes, fine)));
    for number in 0..11 {
        pay(&runtime, number, &number.to_string()).unwrap();
    }
    pay(&runtime, 10, "10").unwrap();
    pay(&runtime, 1, "1").unwrap();
    runtime.idle().wait();
    assert_eq!(notes.numbers(), (0..11).collect::<Vec<_>>(), "the last ten are known");
    pay(&runtime, 0, "0").unwrap();
    runtime.idle().wait();
    assert_eq!(notes.numbers().last(), Some(&0), "the first one no longer is");
}

pub(super) fn batches(stage: &mut Stage) {
    let notes = Notes::default();
    let runtime = stage.start(|of| of.child(player("player", &notes, fine).bound(1_000)));
    let others = {
        let runtime = runtime.clone();
        move || {
            for _ in 0..300 {
                runtime.publish(Remark { number: 1 }).wait().unwrap();
            }
        }
    };
    let whole = |from: u64| {
        let mut batch = runtime.batch();
        for number in from..from + 5 {
            batch.add(Step { key: number, number }).unwrap();
            batch.add(Remark { number: number + 1_000 }).unwrap();
        }
        assert_eq!(batch.len(), 10);
        batch
    };
    let others = std::thread::spawn(others);
    let ids: Vec<_> = (1..30).map(|round| whole(round * 100).publish().wait().unwrap()).collect();
    others.join().unwrap();
    runtime.idle().wait();
    let seen: Vec<_> = notes.all().into_iter().filter(|seen| seen.number != 1).collect();
    assert_eq!(seen.len(), 290);
    for (batch, id) in seen.chunks(10).zip(ids) {
        let from = batch[0].number;
        let numbers: Vec<_> = (from..from + 5).flat_map(|of| [of, of + 1_000]).collect();
        assert_eq!(batch.iter().map(|seen| seen.number).collect::<Vec<_>>(), numbers);
        assert!(batch.windows(2).all(|of| of[0].seq + 1 == of[1].seq), "{batch:?}");
        assert_eq!(batch[0].id, id);
    }
    // Under a key it comes once, and another one is refused whole.
    let id = whole(5_000).dedup_key("batch").publish().wait().unwrap();
    assert_eq!(whole(5_000).dedup_key("batch").publish().wait().unwrap(), id);
    let refused = whole(6_000).dedup_key("batch").publish().wait().unwrap_err();
    assert_eq!(refused.into_event().map(|batch| batch.len()), Some(10));
    let empty = runtime.batch().publish().wait();
    assert!(matches!(empty, Err(Refused::Invalid(..))));
    runtime.idle().wait();
    assert_eq!(notes.all().len(), 300 + 290 + 10);
}

pub(super) fn batches_cross(stage: &mut Stage) {
    let notes = Notes::default();
    let narrow = player("player", &notes, fine).bound(40);
    let runtime = stage.start(|of| of.child(narrow));
    std::thread::scope(|scope| {
        for steps_first in [true, false, true, false] {
            let runtime = &runtime;
            scope.spawn(move || {
                for number in 0..50 {
                    let mut batch = runtime.batch();
                    for _ in 0..10 {
                        if steps_first {
                            batch.add(Step { key: number, number }).unwrap();
                        }
                        batch.add(Remark { number }).unwrap();
                        if !steps_first {
                            batch.add(Step { key: number, number }).unwrap();
                        }
                    }
                    batch.publish().wait().unwrap();
                }
            });
        }
        let single = || publish(&runtime, 0..500, 3);
        scope.spawn(single);
    });
    runtime.idle().wait();
    assert_eq!(notes.all().len(), 4 * 50 * 20 + 500);
}
