//! Who gets what, in which order, and how often.

use std::collections::HashMap;

use super::stage::{Notes, Remark, Stage, fine, player, publish, steps};

pub(super) fn over_all_types(stage: &mut Stage) {
    let notes = Notes::default();
    let runtime = stage.start(|of| of.child(player("player", &notes, fine)));
    for round in 0..50 {
        runtime.publish_all(steps(round * 20..round * 20 + 10, 3)).wait().unwrap();
        let remarks = (round * 20 + 10..round * 20 + 20).map(|number| Remark { number });
        runtime.publish_all(remarks).wait().unwrap();
    }
    runtime.idle().wait();
    assert_eq!(notes.numbers(), (0..1_000).collect::<Vec<_>>());
    assert!(notes.all().is_sorted_by(|one, next| one.seq < next.seq), "positions grow");
}

pub(super) fn of_a_key(stage: &mut Stage) {
    let notes = Notes::default();
    let runtime = stage.start(|of| of.child(player("player", &notes, fine).instances(4)));
    publish(&runtime, 0..2_000, 7);
    let mut by_key: HashMap<u64, Vec<u64>> = HashMap::new();
    for number in notes.numbers() {
        by_key.entry(number % 7).or_default().push(number);
    }
    assert_eq!(by_key.values().map(Vec::len).sum::<usize>(), 2_000);
    for (key, numbers) in by_key {
        assert!(numbers.is_sorted_by(|one, next| one < next), "key {key}: {numbers:?}");
    }
}

pub(super) fn goes_on(stage: &mut Stage) {
    let notes = Notes::default();
    for round in 0..3 {
        let runtime = stage.start(|of| of.child(player("player", &notes, fine)));
        publish(&runtime, round * 100..round * 100 + 100, 3);
        assert_eq!(notes.numbers(), (0..round * 100 + 100).collect::<Vec<_>>());
    }
}

pub(super) fn catches_up(stage: &mut Stage) {
    let notes = Notes::default();
    let runtime = stage.start(|of| of.child(player("player", &notes, fine)));
    runtime.pause("player").unwrap();
    runtime.publish_all(steps(0..3_000, 3)).wait().unwrap();
    stage.stop();
    assert_eq!(notes.numbers(), Vec::<u64>::new());
    let runtime = stage.start(|of| of.child(player("player", &notes, fine)));
    publish(&runtime, 3_000..3_100, 3);
    assert_eq!(notes.numbers(), (0..3_100).collect::<Vec<_>>());
}
