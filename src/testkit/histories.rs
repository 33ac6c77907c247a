//! What was, and what is to come: subscriptions that begin in the past, publications that leave later.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::stage::{Echo, Notes, Stage, Step, fine, listener, player, publish, until};
use crate::prelude::*;
use crate::{Channel, Retention, StartFrom};

pub(super) fn replay(stage: &mut Stage) {
    let (notes, late) = (Notes::default(), Notes::default());
    let channel = Channel::default().retain(Retention::Age(hours(1)));
    let runtime = stage.start_with(channel, |of| of.child(player("player", &notes, fine)));
    publish(&runtime, 0..500, 3);
    let begins = |from| player("late", &late, fine).start_from(from);
    let runtime = stage.start_with(channel, |of| {
        of.child(player("player", &notes, fine)).child(begins(StartFrom::Earliest))
    });
    publish(&runtime, 500..600, 3);
    assert_eq!(late.numbers(), (0..600).collect::<Vec<_>>());
    assert_eq!(notes.numbers(), (0..600).collect::<Vec<_>>());
    // It is known now, and goes on where it was.
    let runtime = stage.start_with(channel, |of| of.child(begins(StartFrom::Earliest)));
    publish(&runtime, 600..610, 3);
    assert_eq!(late.numbers(), (0..610).collect::<Vec<_>>());
}

pub(super) fn begins_now(stage: &mut Stage) {
    let (notes, late) = (Notes::default(), Notes::default());
    let runtime = stage.start(|of| of.child(player("player", &notes, fine)));
    publish(&runtime, 0..100, 3);
    let runtime = stage
        .start(|of| of.child(player("player", &notes, fine)).child(player("late", &late, fine)));
    publish(&runtime, 100..200, 3);
    assert_eq!(late.numbers(), (100..200).collect::<Vec<_>>());
    assert_eq!(notes.numbers(), (0..200).collect::<Vec<_>>());
}

pub(super) fn guests(stage: &mut Stage) {
    let steady = Notes::default();
    let runtime = stage.start(|of| of.child(player("player", &steady, fine)));
    let over = AtomicBool::new(false);
    let mut stretches = Vec::new();
    std::thread::scope(|scope| {
        for publisher in 0..2u64 {
            let (runtime, over) = (&runtime, &over);
            scope.spawn(move || {
                for number in (0..).take_while(|_| !over.load(SeqCst)) {
                    let step = Step { key: number % 5, number: publisher << 32 | number };
                    runtime.publish(step).wait().unwrap();
                }
            });
        }
        for round in 0..20 {
            let (name, seen) = (format!("guest-{round}"), Notes::default());
            runtime.add("stage", player(&name, &seen, fine)).wait().unwrap();
            until("some steps", || seen.all().len() >= 10);
            runtime.remove(&name).unwrap();
            stretches.push(seen);
        }
        over.store(true, SeqCst);
    });
    runtime.idle().wait();
    let all = steady.numbers();
    for stretch in stretches.iter().map(Notes::numbers) {
        let Some(from) = all.iter().position(|number| *number == stretch[0]) else {
            panic!("{} comes from nowhere", stretch[0]);
        };
        assert_eq!(all.get(from..from + stretch.len()), Some(&stretch[..]));
    }
}

fn says_later(wait: std::time::Duration) -> impl Fn(&Step, &mut Context) -> Outcome + Send + Sync {
    move |event, cx| {
        cx.publish_after(wait, Echo { number: event.number });
        Ok(())
    }
}

pub(super) fn delayed(stage: &mut Stage) {
    let (notes, heard) = (Notes::default(), Notes::default());
    let runtime = stage.start(|of| {
        of.child(player("player", &notes, says_later(millis(5)))).child(listener(&heard))
    });
    publish(&runtime, 0..10, 1);
    until("all is said", || heard.all().len() == 10);
    assert_eq!(heard.numbers(), (0..10).collect::<Vec<_>>());
}

pub(super) fn delayed_lasts(stage: &mut Stage) {
    let (notes, heard) = (Notes::default(), Notes::default());
    let children = |of: Supervisor| {
        of.child(player("player", &notes, says_later(millis(300)))).child(listener(&heard))
    };
    let runtime = stage.start(children);
    runtime.publish(Step { key: 0, number: 4 }).wait().unwrap();
    until("it is handled", || !notes.all().is_empty());
    runtime.idle().wait();
    let runtime = stage.start(children);
    until("it is said", || !heard.all().is_empty());
    runtime.idle().wait();
    assert_eq!(heard.numbers(), [4]);
    assert_eq!(notes.numbers(), [4]);
}
