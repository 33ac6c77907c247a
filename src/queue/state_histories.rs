//! Generated histories of [`State`](super::state::State) against a small model: nothing lost,
//! nothing doubled, order per key, bounds kept, counts true.

use proptest::prelude::*;

use super::state::{Counts, Offer, OnPark, State, Status, Verdict};
use crate::clock::Moment;
use crate::message::{Key, Seq};

#[derive(Debug, Clone)]
enum Step {
    /// An instance asks for work.
    Claim,
    /// The in-hand event of that number (modulo) succeeds.
    Finish(usize),
    /// It fails and is retried after that long.
    Retry(usize, u64),
    /// It fails and is parked.
    Park(usize),
    /// Whoever had it in hand is gone.
    GiveBack(usize),
    Wait(u64),
    Resubmit(usize),
    Discard(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Claim),
        4 => any::<usize>().prop_map(Step::Finish),
        2 => (any::<usize>(), 0u64..50).prop_map(|(which, wait)| Step::Retry(which, wait)),
        2 => any::<usize>().prop_map(Step::Park),
        1 => any::<usize>().prop_map(Step::GiveBack),
        2 => (0u64..60).prop_map(Step::Wait),
        2 => any::<usize>().prop_map(Step::Resubmit),
        1 => any::<usize>().prop_map(Step::Discard),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Fresh,
    InHand,
    Held,
    Done,
}

/// What the model knows: the place of every event, and nothing of how the machine keeps it.
struct Model {
    state: State,
    on_park: OnPark,
    instances: usize,
    most_held: usize,
    keys: Vec<Option<Key>>,
    places: Vec<Place>,
    /// Per event: how often it failed since its record is clean.
    failures: Vec<u32>,
    now: u64,
    /// Per event that was parked and is handed back: who had the key's turn then, and may go first.
    ahead: Vec<Vec<usize>>,
    finished: Vec<u32>,
}

impl Model {
    fn new(keys: Vec<Option<Key>>, on_park: OnPark, instances: usize, most_held: usize) -> Self {
        let count = keys.len();
        Self {
            state: State::new(on_park, instances > 1, most_held),
            on_park,
            instances,
            most_held,
            keys,
            places: vec![Place::Fresh; count],
            failures: vec![0; count],
            now: 0,
            ahead: vec![Vec::new(); count],
            finished: vec![0; count],
        }
    }

    /// Where an event stands that is held; those behind another are known by its key only.
    fn status(&self, event: usize) -> Option<Status> {
        let seq = Seq(event as u64);
        let mut behind = self.keys[event].iter().flat_map(|key| self.state.behind(key));
        let behind = behind.any(|other| other == seq).then_some(Status::Behind);
        self.state.status(seq).or(behind)
    }

    fn in_hand(&self) -> Vec<usize> {
        let hand = |place: &Place| matches!(place, Place::InHand);
        (0..self.places.len()).filter(|&event| hand(&self.places[event])).collect()
    }

    fn parked(&self) -> Vec<usize> {
        let parked = |event: &usize| self.status(*event) == Some(Status::Parked);
        (0..self.places.len()).filter(parked).collect()
    }

    fn start(&mut self, event: usize, first: bool, failures: u32) {
        assert!(
            matches!(self.places[event], Place::Fresh | Place::Held),
            "{event} was handed out from {:?}",
            self.places[event]
        );
        assert_eq!(failures, self.failures[event], "the record of {event}");
        if let Some(key) = &self.keys[event] {
            for other in self.in_hand() {
                assert_ne!(self.keys[other].as_ref(), Some(key), "two of a key in hand");
            }
            // Every earlier event of the key is done with, or was let go and has not its turn yet.
            for earlier in 0..event {
                if self.keys[earlier].as_ref() == Some(key) && self.places[earlier] != Place::Done {
                    let parked = self.status(earlier) == Some(Status::Parked);
                    let let_go = self.on_park == OnPark::LetKeyGo
                        && (parked || self.ahead[earlier].contains(&event));
                    assert!(let_go, "{event} overtook {earlier} of its key");
                }
            }
        }
        if first {
            // First deliveries start in order, but for those that wait behind their key.
            for earlier in 0..event {
                assert_ne!(self.places[earlier], Place::Fresh, "{event} before {earlier}");
            }
        }
        self.places[event] = Place::InHand;
    }

    fn claim(&mut self) {
        if self.in_hand().len() >= self.instances {
            return;
        }
        if let Some((seq, failures)) = self.state.next(Moment(self.now)) {
            self.start(seq.0 as usize, false, failures);
            return;
        }
        while let Some(event) = self.places.iter().position(|place| *place == Place::Fresh) {
            let key = self.keys[event].clone();
            if self.state.is_clear() {
                // A whole range may start unasked; here, one at a time.
                return self.start(event, true, 0);
            }
            match self.state.offer(Seq(event as u64), key.as_ref()) {
                Offer::Start => return self.start(event, true, 0),
                Offer::Behind => self.places[event] = Place::Held,
                Offer::Full => {
                    assert!(self.held() >= self.most_held);
                    return;
                }
            }
        }
    }

    fn held(&self) -> usize {
        let held = |event: &usize| self.status(*event).is_some();
        (0..self.places.len()).filter(held).count()
    }

    fn pick(events: &[usize], which: usize) -> Option<usize> {
        (!events.is_empty()).then(|| events[which % events.len()])
    }

    fn fail(&mut self, which: usize, verdict: Verdict) {
        let Some(event) = Self::pick(&self.in_hand(), which) else { return };
        self.failures[event] += 1;
        let key = self.keys[event].clone();
        self.state.failed(Seq(event as u64), key, self.failures[event], verdict);
        if verdict == Verdict::Park {
            self.ahead.iter_mut().for_each(|ahead| ahead.retain(|&other| other != event));
        }
        self.places[event] = Place::Held;
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Claim => self.claim(),
            Step::Finish(which) => {
                let Some(event) = Self::pick(&self.in_hand(), which) else { return };
                let key = self.keys[event].clone();
                self.state.finished(Seq(event as u64), key.as_ref());
                self.places[event] = Place::Done;
                self.finished[event] += 1;
            }
            Step::Retry(which, wait) => {
                self.fail(which, Verdict::Retry(Moment(self.now + wait)));
            }
            Step::Park(which) => self.fail(which, Verdict::Park),
            Step::GiveBack(which) => {
                let Some(event) = Self::pick(&self.in_hand(), which) else { return };
                self.state.give_back(Seq(event as u64), self.keys[event].clone());
                self.places[event] = Place::Held;
            }
            Step::Wait(time) => self.now += time,
            Step::Resubmit(which) => {
                let Some(event) = Self::pick(&self.parked(), which) else { return };
                self.ahead[event] = self.active_of(event);
                assert!(self.state.resubmit(Seq(event as u64)));
                assert!(!self.state.resubmit(Seq(event as u64)), "only one may be faster");
                self.failures[event] = 0;
            }
            Step::Discard(which) => {
                let Some(event) = Self::pick(&self.parked(), which) else { return };
                assert!(self.state.discard(Seq(event as u64)));
                assert!(!self.state.discard(Seq(event as u64)));
                self.places[event] = Place::Done;
            }
        }
        self.check();
    }

    /// The counts as they are defined, event by event.
    fn counted(&self) -> Counts {
        let mut counts = Counts::default();
        for event in 0..self.places.len() {
            match self.status(event) {
                Some(Status::Retrying(_)) => counts.retrying += 1,
                Some(Status::Ready) => counts.ready += 1,
                Some(Status::InHand) => counts.in_hand += 1,
                Some(Status::Parked) => counts.parked += 1,
                Some(Status::Behind) if self.active_of(event).is_empty() => {
                    counts.behind_parked += 1;
                }
                Some(Status::Behind) => counts.behind_active += 1,
                None => {}
            }
        }
        counts
    }

    /// The events of that event's key that move by themselves.
    fn active_of(&self, event: usize) -> Vec<usize> {
        let active = |&other: &usize| {
            let status = self.status(other);
            self.keys[other] == self.keys[event]
                && (self.places[other] == Place::InHand
                    || matches!(status, Some(Status::Retrying(_) | Status::Ready)))
        };
        (0..self.places.len()).filter(active).collect()
    }

    fn check(&self) {
        for (event, place) in self.places.iter().enumerate() {
            let status = self.status(event);
            match place {
                Place::Fresh | Place::Done => assert_eq!(status, None, "{event} is {place:?}"),
                Place::Held => assert!(
                    !matches!(status, None | Some(Status::InHand)),
                    "{event} is lost: {status:?}"
                ),
                Place::InHand => {
                    assert!(matches!(status, None | Some(Status::InHand)), "{event}: {status:?}");
                }
            }
        }
        let counts = self.state.counts();
        assert_eq!(counts, self.counted());
        if self.on_park == OnPark::LetKeyGo {
            assert_eq!(counts.behind_parked, 0, "held by a parked event that lets its key go");
        }
        assert!(self.held() <= self.most_held + self.instances, "bound on what is held");
        assert_eq!(self.state.held(), self.held());
        let first = (0..self.places.len()).find(|event| self.status(*event).is_some());
        assert_eq!(self.state.first_held(), first.map(|event| Seq(event as u64)));
    }

    /// Lets everything come to its end: resubmits what is parked until all is done.
    fn drain(&mut self) {
        for _ in 0..self.places.len() * 20 + 100 {
            self.apply(Step::Claim);
            self.apply(Step::Finish(0));
            self.apply(Step::Wait(100));
            if self.in_hand().is_empty() {
                self.apply(Step::Resubmit(0));
            }
        }
        for (event, place) in self.places.iter().enumerate() {
            assert_eq!(*place, Place::Done, "{event} never came to an end");
            assert!(self.finished[event] <= 1, "{event} finished twice");
        }
        assert_eq!(self.state.counts(), Counts::default());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_history_keeps_the_promises(
        keys in prop::collection::vec(prop::option::weighted(0.8, 0u8..4), 1..40),
        steps in prop::collection::vec(step(), 0..160),
        let_go in any::<bool>(),
        instances in 1usize..5,
        most_held in prop_oneof![1usize..6, Just(1_000)],
    ) {
        let keys = keys.into_iter().map(|key| key.map(Key::from)).collect();
        let on_park = if let_go { OnPark::LetKeyGo } else { OnPark::HoldKey };
        let mut model = Model::new(keys, on_park, instances, most_held);
        for step in steps {
            model.apply(step);
        }
        model.drain();
    }
}
