//! When an event counts as handled: after its success, before, or when somebody says so.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;

use super::stage::{Echo, Notes, Stage, Step, fails, fine, player, publish, steps, until};
use crate::prelude::*;
use crate::{Acknowledge, Acknowledgement, ErrorKind, ParkedEvent};

pub(super) fn before(stage: &mut Stage) {
    let notes = Notes::default();
    let once = |number: &Step, cx: &mut Context| {
        *cx.state::<u64>("count")? += 1;
        match number.number % 3 {
            0 => Ok(()),
            1 => Err(Failure::transient("it would be tried again")),
            _ => panic!("it would be tried again"),
        }
    };
    let spec = player("player", &notes, once).acknowledge(Acknowledge::BeforeHandling);
    let runtime = stage.start(|of| of.child(spec));
    publish(&runtime, 0..30, 2);
    assert_eq!(notes.numbers(), (0..30).collect::<Vec<_>>());
    assert!(notes.all().iter().all(|seen| seen.attempt == 1));
    assert!(runtime.parked().is_empty());
    assert_eq!(runtime.state::<u64>("player", "count"), Some(10), "those that succeeded");
}

/// Never comes to an end.
pub(super) struct Stuck(pub(super) Notes);
impl Processor for Stuck {}
impl Handle<Step> for Stuck {
    async fn handle(&mut self, event: &Step, cx: &mut Context) -> Outcome {
        self.0.note(event.number, cx);
        std::future::pending().await
    }
}

pub(super) fn before_lasts(stage: &mut Stage) {
    for (acknowledge, times) in [(Acknowledge::AfterSuccess, 2), (Acknowledge::BeforeHandling, 1)] {
        let notes = Notes::default();
        let stuck = {
            let notes = notes.clone();
            processor("player", move || Stuck(notes.clone())).on::<Step>()
        };
        let runtime = stage.start(|of| of.child(stuck.acknowledge(acknowledge)));
        runtime.publish(Step { key: 0, number: 7 }).wait().unwrap();
        until("it is at it", || !notes.all().is_empty());
        stage.stop_at_once();
        let spec = player("player", &notes, fine).acknowledge(acknowledge);
        let runtime = stage.start(|of| of.child(spec));
        publish(&runtime, 8..9, 1);
        assert_eq!(notes.numbers().iter().filter(|number| **number == 7).count(), times);
        assert_eq!(notes.numbers().last(), Some(&8));
    }
}

type Taken = (u64, u32, Acknowledgement);

/// Takes the acknowledgement of every step along.
fn takes(to: &Sender<Taken>) -> impl Fn(&Step, &mut Context) -> Outcome + Send + Sync + use<> {
    let to = Mutex::new(to.clone());
    move |event, cx| {
        let taken = (event.number, cx.attempt(), cx.acknowledgement()?);
        to.lock().send(taken).permanent()
    }
}

fn next(taken: &Receiver<Taken>) -> Taken {
    taken.recv_timeout(secs(60)).unwrap()
}

const LONG: Acknowledge = Acknowledge::ByHand { lease: Duration::from_secs(3_600) };

pub(super) fn by_hand(stage: &mut Stage) {
    let (notes, (send, taken)) = (Notes::default(), channel());
    let spec = player("player", &notes, takes(&send)).acknowledge(LONG);
    let runtime = stage.start(|of| of.child(spec));
    // Two of each key.
    runtime.publish_all(steps(0..6, 3)).wait().unwrap();
    let mut first: Vec<Taken> = (0..3).map(|_| next(&taken)).collect();
    assert_eq!(first.iter().map(|taken| taken.0).collect::<Vec<_>>(), [0, 1, 2]);
    let (_, _, failing) = first.remove(1);
    let token = failing.token();
    failing.failed(Failure::transient("the device is out of paper")).unwrap();
    let (number, attempt, again) = next(&taken);
    assert_eq!((number, attempt), (1, 2), "no other one of a key that is taken");
    assert!(again.token() > token);
    again.done().unwrap();
    let (number, _, behind) = next(&taken);
    assert_eq!(number, 4);
    behind.failed(Failure::permanent("no such page").reason("page")).unwrap();
    for (_, _, acknowledgement) in first {
        acknowledgement.done().unwrap();
    }
    for number in [3, 5] {
        let (of, _, acknowledgement) = next(&taken);
        assert_eq!(of, number);
        acknowledgement.done().unwrap();
    }
    runtime.idle().wait();
    let parked = runtime.parked();
    assert_eq!((parked.len(), parked[0].reason), (1, "page"));
    assert_eq!(parked[0].chain, ["no such page"]);
    assert_eq!(notes.numbers(), [0, 1, 2, 1, 4, 3, 5]);
    // A processor that acknowledges otherwise has nothing to give away.
    let runtime = stage.start(|of| of.child(player("other", &notes, takes(&send))));
    publish(&runtime, 0..1, 1);
    let said = runtime.parked().into_iter().find(|parked| &*parked.processor == "other");
    assert!(said.unwrap().chain[0].contains("Acknowledge::ByHand"));
}

pub(super) fn leases(stage: &mut Stage) {
    let (notes, (send, taken)) = (Notes::default(), channel());
    let short = Acknowledge::ByHand { lease: millis(1) };
    let retry = Retry::attempts(2).backoff(Backoff::none());
    let spec = player("player", &notes, takes(&send)).acknowledge(short).retry(retry);
    let runtime = stage.start(|of| of.child(spec));
    runtime.publish(Step { key: 0, number: 1 }).wait().unwrap();
    let (_, _, too_late) = next(&taken);
    let (_, attempt, again) = next(&taken);
    assert_eq!(attempt, 2, "nobody has said anything within a millisecond");
    assert_eq!(too_late.done().unwrap_err().kind(), ErrorKind::Conflict);
    runtime.idle().wait();
    assert_eq!(runtime.parked().len(), 1, "twice is enough");
    assert_eq!(runtime.parked()[0].cause, crate::Cause::LeaseOver);
    assert_eq!(again.done().unwrap_err().kind(), ErrorKind::Conflict);
    // Dropped, it comes again at once; extended, it does not.
    let spec = player("player", &notes, takes(&send)).acknowledge(LONG).retry(retry);
    let runtime = stage.start(|of| of.child(spec));
    runtime.publish(Step { key: 1, number: 2 }).wait().unwrap();
    drop(next(&taken));
    let (_, attempt, mut again) = next(&taken);
    assert_eq!(attempt, 2);
    again.extend(millis(1)).unwrap();
    let second = |parked: &ParkedEvent| parked.decode::<Step>().unwrap().number == 2;
    until("it is parked", || runtime.parked().iter().any(second));
    assert!(again.extend(hours(1)).is_err());
    // What publishes by its context would do that again each time.
    let (notes, to) = (Notes::default(), Arc::new(Mutex::new(Vec::new())));
    let publishes = move |event: &Step, cx: &mut Context| {
        to.lock().push(cx.acknowledgement()?);
        cx.publish(Echo { number: event.number });
        Ok(())
    };
    let spec = player("both", &notes, publishes).acknowledge(LONG);
    let runtime = stage.start(|of| of.child(spec));
    publish(&runtime, 3..4, 1);
    let said = runtime.parked().into_iter().find(|parked| &*parked.processor == "both");
    assert!(said.unwrap().chain[0].contains("took its acknowledgement along"));
}

/// Before its handler returns, somebody else may have said that it is done with.
pub(super) fn early(stage: &mut Stage) {
    let notes = Notes::default();
    let at_once = |event: &Step, cx: &mut Context| {
        let acknowledgement = cx.acknowledgement()?;
        match event.number % 4 {
            1 => {
                acknowledgement.done()?;
                return Err(Failure::transient("too late: it is done with"));
            }
            2 if cx.attempt() == 1 => acknowledgement.failed(Failure::transient("not yet"))?,
            3 if cx.attempt() == 1 => drop(acknowledgement),
            _ => acknowledgement.done()?,
        }
        Ok(())
    };
    for instances in [1, 3] {
        let spec = player("player", &notes, at_once).acknowledge(LONG).instances(instances);
        let runtime = stage.start(|of| of.child(spec));
        publish(&runtime, 0..300, 30);
        assert!(runtime.parked().is_empty(), "{:?}", runtime.parked());
    }
    assert_eq!(notes.all().len(), 2 * (300 + 75 + 75));
}

pub(super) fn by_hand_lasts(stage: &mut Stage) {
    let (notes, (send, taken)) = (Notes::default(), channel());
    let lease = Acknowledge::ByHand { lease: millis(50) };
    let spec = player("player", &notes, takes(&send)).acknowledge(LONG);
    let runtime = stage.start(|of| of.child(spec));
    runtime.publish_all(steps(0..2, 2)).wait().unwrap();
    let (_, _, done) = next(&taken);
    done.done().unwrap();
    let (_, _, mut forgotten) = next(&taken);
    forgotten.extend(millis(50)).unwrap();
    stage.stop_at_once();
    let spec = player("player", &notes, fails(0)).acknowledge(lease);
    let runtime = stage.start(|of| of.child(spec));
    runtime.idle().wait();
    assert_eq!(notes.numbers(), [0, 1, 1]);
    assert_eq!(forgotten.done().unwrap_err().kind(), ErrorKind::Conflict);
}
