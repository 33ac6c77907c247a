//! Failures: again, parked, resubmitted; and what is kept with a success.

use super::stage::{Echo, Notes, Stage, Step, fails, fine, listener, player, publish, until};
use crate::prelude::*;

pub(super) fn again(stage: &mut Stage) {
    let notes = Notes::default();
    let runtime = stage.start(|of| of.child(player("player", &notes, fails(2))));
    publish(&runtime, 0..1, 1);
    let seen = notes.all();
    assert_eq!(seen.iter().map(|seen| seen.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(seen.iter().all(|one| (one.id, one.seq) == (seen[0].id, seen[0].seq)), "{seen:?}");
    assert!(runtime.parked().is_empty());
}

pub(super) fn attempts_last(stage: &mut Stage) {
    let notes = Notes::default();
    let late = Retry::attempts(3).backoff(Backoff::new(hours(1), hours(1)));
    let spec = player("player", &notes, fails(9)).retry(late);
    let runtime = stage.start(|of| of.child(spec));
    publish_one(&runtime, &notes, 1);
    // It is due in an hour; a person will not wait so long.
    let runtime = stage.start(|of| of.child(player("player", &notes, fails(9))));
    assert_eq!(runtime.processors().iter().map(|of| of.retrying).sum::<usize>(), 1);
    assert_eq!(notes.all().len(), 1);
}

/// Publishes one event, and waits until it was handled so often and is to be handled again.
fn publish_one(runtime: &Runtime, notes: &Notes, times: usize) {
    runtime.publish(Step { key: 0, number: 0 }).wait().unwrap();
    until("it is to be handled again", || {
        let retrying = runtime.processors().iter().any(|of| of.retrying > 0);
        retrying && notes.all().len() >= times
    });
}

fn adds(event: &Step, cx: &mut Context) -> Outcome {
    *cx.state::<u64>(event.key)? += event.number;
    if event.number % 10 == 3 && cx.attempt() == 1 {
        return Err(Failure::transient("after it was added"));
    }
    Ok(())
}

pub(super) fn state_is_committed(stage: &mut Stage) {
    let notes = Notes::default();
    let runtime = stage.start(|of| of.child(player("player", &notes, adds)));
    publish(&runtime, 0..100, 2);
    let even = (0..100).filter(|number| number % 2 == 0).sum::<u64>();
    let odd = (0..100).filter(|number| number % 2 == 1).sum::<u64>();
    assert_eq!(runtime.state::<u64>("player", 0u64), Some(even));
    assert_eq!(runtime.state::<u64>("player", 1u64), Some(odd), "a failure adds nothing");
}

pub(super) fn state_lasts(stage: &mut Stage) {
    let notes = Notes::default();
    for round in 1..4 {
        let runtime = stage.start(|of| of.child(player("player", &notes, adds)));
        publish(&runtime, 0..100, 1);
        assert_eq!(runtime.state::<u64>("player", 0u64), Some(round * 4_950));
    }
}

pub(super) fn publications_commit(stage: &mut Stage) {
    let (notes, heard) = (Notes::default(), Notes::default());
    let echoes = |event: &Step, cx: &mut Context| {
        cx.publish(Echo { number: event.number });
        match cx.attempt() {
            1 if event.number.is_multiple_of(5) => Err(Failure::transient("after it was said")),
            _ => Ok(()),
        }
    };
    let children =
        |of: Supervisor| of.child(player("player", &notes, echoes)).child(listener(&heard));
    let runtime = stage.start(children);
    publish(&runtime, 0..100, 100);
    let mut numbers = heard.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>(), "each is said once");
}

fn parks_seven(event: &Step, _: &mut Context) -> Outcome {
    match event.number {
        7 => Err(Failure::permanent("it is seven").reason("seven")),
        _ => Ok(()),
    }
}

pub(super) fn parks_its_key(stage: &mut Stage) {
    let notes = Notes::default();
    let runtime = stage.start(|of| of.child(player("player", &notes, parks_seven)));
    publish(&runtime, 0..35, 7);
    let others = (0..35).filter(|number| number % 7 != 0 || *number <= 7);
    assert_eq!(notes.numbers(), others.collect::<Vec<_>>());
    let parked = runtime.parked();
    let said = (parked.len(), parked[0].reason, parked[0].chain.as_slice());
    assert_eq!(said, (1, "seven", ["it is seven".to_owned()].as_slice()));
    assert_eq!(parked[0].decode::<Step>().unwrap(), Step { key: 0, number: 7 });
}

pub(super) fn parking_lasts(stage: &mut Stage) {
    let notes = Notes::default();
    let runtime = stage.start(|of| of.child(player("player", &notes, parks_seven)));
    publish(&runtime, 0..35, 7);
    let before = notes.numbers().len();
    let runtime = stage.start(|of| of.child(player("player", &notes, fine)));
    publish(&runtime, 35..42, 7);
    let parked = runtime.parked();
    assert_eq!(parked.len(), 1);
    runtime.resubmit("player", parked[0].id).unwrap();
    runtime.idle().wait();
    let of_key: Vec<u64> =
        notes.numbers()[before..].iter().copied().filter(|number| number % 7 == 0).collect();
    assert_eq!(of_key, [7, 14, 21, 28, 35]);
    assert!(runtime.parked().is_empty());
}

pub(super) fn discards(stage: &mut Stage) {
    let notes = Notes::default();
    let runtime = stage.start(|of| of.child(player("player", &notes, parks_seven)));
    publish(&runtime, 0..20, 7);
    let parked = runtime.parked();
    runtime.discard("player", parked[0].id).unwrap();
    runtime.idle().wait();
    assert!(runtime.parked().is_empty());
    assert_eq!(notes.numbers().last(), Some(&14), "who waited behind it goes on");
    assert!(runtime.discard("player", parked[0].id).is_err(), "it is gone");
}

/// Ids are drawn before events have their place: the one that comes last here has the least.
pub(super) fn shows_all(stage: &mut Stage) {
    let notes = Notes::default();
    let parks = |_: &Step, _: &mut Context| Err(Failure::permanent("all of them"));
    let runtime = stage.start(|of| of.child(player("player", &notes, parks)));
    let mut early = runtime.batch();
    early.add(Step { key: 100, number: 100 }).unwrap();
    publish(&runtime, 0..10, 10);
    early.publish().wait().unwrap();
    runtime.idle().wait();
    let parked = runtime.parked();
    let numbers: Vec<u64> =
        parked.iter().map(|parked| parked.decode::<Step>().unwrap().number).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 100]);
    assert!(parked[10].id < parked[0].id);
    for parked in &parked {
        runtime.discard("player", parked.id).unwrap();
    }
    assert!(runtime.parked().is_empty());
}
