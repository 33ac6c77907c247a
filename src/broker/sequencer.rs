//! The turn: takes what lies in the intake, gives it its place, hands it to every thread that
//! wants it. Whoever has just published from inside the runtime takes the turn if it is free;
//! else the broker actor does. It knows no event's type; the only code of the application that it
//! calls are observers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use parking_lot::{Mutex, MutexGuard};

use super::door::lane_bit;
use super::intake::{Entry, Intake, Watch};
use super::lane::{Lane, Parcel, Passed};
use super::routes::LaneRoutes;
use crate::clock::{Clock, Moment};
use crate::message::Seq;
use crate::queue::batch::{Batch, Events};
use crate::queue::{Subscription, Told};
use crate::signal::{Signal, Signals};
use crate::store::file::writer::Bell;

pub(super) struct Order {
    routes: LaneRoutes,
    pub(super) next: Seq,
    /// Room for the lanes of one batch.
    lanes: Vec<usize>,
    /// To be dropped when the turn is over.
    pub(super) passed: Passed,
    names: Vec<&'static str>,
    /// Something has its place, and is handed out when it is written.
    pub(super) unhanded: bool,
    /// What was handed out before it is written.
    pub(super) ahead: Vec<Placed>,
    /// When the first of it was.
    pub(super) ahead_since: Moment,
}

/// What has its place in the order, and is yet to be handed out.
pub(crate) enum Placed {
    Batch(Arc<Batch>),
    /// What a subscription tells to the log, and what was published with it.
    News(Told, Option<Arc<Batch>>),
    /// The same, and handed out already.
    Ahead(Told, Arc<Batch>),
    Subscribe(Arc<Subscription>, usize),
    Unsubscribe(Arc<Subscription>, usize),
}

/// Puts everything in one order.
pub(crate) struct Sequencer {
    pub(crate) intake: Arc<Intake>,
    pub(super) lanes: Vec<Arc<Lane>>,
    pub(super) order: Mutex<Order>,
    /// Lanes whose threads have nothing to do, a bit each.
    resting: AtomicU64,
    /// Where whoever writes the log is rung for: it takes all turns then.
    bell: Option<Bell>,
    pub(super) clock: Arc<Clock>,
    pub(super) signals: Arc<Signals>,
}

impl Sequencer {
    pub(crate) fn new(
        intake: Arc<Intake>,
        lanes: usize,
        clock: Arc<Clock>,
        signals: Arc<Signals>,
        (bell, next): (Option<Bell>, Seq),
    ) -> Self {
        let order = Order {
            routes: LaneRoutes::default(),
            next,
            lanes: Vec::new(),
            passed: Vec::new(),
            names: Vec::new(),
            unhanded: false,
            ahead: Vec::new(),
            ahead_since: Moment::default(),
        };
        let lanes = (0..lanes).map(|_| Arc::default()).collect();
        let (order, resting) = (Mutex::new(order), AtomicU64::new(0));
        Self { intake, lanes, order, resting, bell, clock, signals }
    }

    pub(crate) fn lanes(&self) -> &[Arc<Lane>] {
        &self.lanes
    }

    /// Whether a thread with one of these lanes has nothing to do. Asked under the intake's lock,
    /// which [`Sequencer::rests`] takes after it has said so: no publication is missed.
    #[inline]
    pub(crate) fn is_resting(&self, lanes: u64) -> bool {
        self.resting.load(SeqCst) & lanes != 0
    }

    /// The thread of a lane has nothing to do: it takes the turn itself if there is one to take.
    pub(crate) fn rests(&self, lane: usize) {
        self.resting.fetch_or(lane_bit(lane), SeqCst);
        if !self.intake.lock().has_no_events() {
            self.take_turn();
        }
    }

    pub(crate) fn works(&self, lane: usize) {
        self.resting.fetch_and(!lane_bit(lane), SeqCst);
    }

    /// Sees to it that what was published is put in order: by itself if the turn is free, else by
    /// the broker actor.
    pub(crate) fn take_turn(&self) {
        if let Some(bell) = &self.bell {
            bell.ring();
            return;
        }
        if self.try_turn() {
            return;
        }
        let broker = self.intake.lock().ask_broker();
        if let Some(broker) = broker {
            broker.wake();
        }
    }

    /// A tick has passed. Whether some lane's thread seems to be stuck.
    pub(crate) fn tick(&self) -> bool {
        self.lanes.iter().filter(|lane| lane.tick()).count() > 0
    }

    /// Takes the turn, waiting for it if somebody else has it.
    pub(crate) fn turn(&self) {
        match &self.bell {
            Some(bell) => bell.ring(),
            None => drop(self.put_in_order(self.order.lock())),
        }
    }

    pub(super) fn give_place(&self, order: &mut Order, events: Events) -> Arc<Batch> {
        let first = order.next;
        order.next = Seq(first.0 + u64::from(events.len()));
        Arc::new(Batch { first, at: self.clock.now(), events })
    }

    /// Passes round what lies in the lanes of threads that are stuck in a handler.
    pub(crate) fn help_stuck_lanes(&self) {
        self.lanes.iter().filter(|lane| lane.is_stuck()).for_each(|lane| lane.pass_round_for_it());
    }

    /// Takes the turn if it is free; false if somebody else has it, who may not have seen what was
    /// published last.
    fn try_turn(&self) -> bool {
        let Some(order) = self.order.try_lock() else { return false };
        drop(self.put_in_order(order));
        true
    }

    /// What it gives back may be dropped: so much lay in the lane of a thread that is stuck that
    /// it had to go, although `Drop` is user code.
    fn put_in_order(&self, mut order: MutexGuard<'_, Order>) -> Passed {
        let order = &mut *order;
        let entries = self.intake.lock().take();
        for entry in entries {
            let placed = self.place(order, entry);
            self.hand_on(order, placed);
        }
        self.say_progress();
        std::mem::take(&mut order.passed)
    }

    pub(super) fn say_progress(&self) {
        if self.intake.is_watched(Watch::Room) {
            let wake = self.intake.lock().door.with_room();
            wake.into_iter().for_each(std::task::Waker::wake);
        }
        if self.intake.is_watched(Watch::Rest) {
            self.intake.wake_resters();
        }
    }

    pub(super) fn place(&self, order: &mut Order, entry: Entry) -> Placed {
        match entry {
            Entry::Events(events) => Placed::Batch(self.give_place(order, events)),
            Entry::Subscribe(subscription, lane) => Placed::Subscribe(subscription, lane),
            Entry::Unsubscribe(subscription, lane) => Placed::Unsubscribe(subscription, lane),
        }
    }

    pub(super) fn hand_on(&self, order: &mut Order, placed: Placed) {
        match placed {
            Placed::Batch(batch) | Placed::News(_, Some(batch)) => self.broadcast(order, batch),
            Placed::News(_, None) | Placed::Ahead(..) => {}
            Placed::Subscribe(subscription, lane) => {
                order.routes.add(subscription.wanted.topics(), lane);
                self.lanes[lane].push(Parcel::Subscribe(subscription));
            }
            Placed::Unsubscribe(subscription, lane) => {
                order.routes.remove(subscription.wanted.topics(), lane);
                self.lanes[lane].push(Parcel::Unsubscribe(subscription));
            }
        }
    }

    pub(super) fn broadcast(&self, order: &mut Order, batch: Arc<Batch>) {
        self.state_published(order, &batch.events);
        order.routes.lanes(batch.events.topics(), &mut order.lanes);
        // The last one is given away, so that the events are never dropped here: `Drop` is user
        // code. What nobody wants is dropped by the first lane's thread, when it is awake.
        let Some((last, others)) = order.lanes.split_last() else {
            self.lanes[0].push_unwanted(batch);
            return;
        };
        // They are going to be woken: what is published meanwhile may gather for them. Before the
        // push, so that a thread that is through with it and rests again is not taken for awake.
        let woken = others.iter().fold(lane_bit(*last), |bits, lane| bits | lane_bit(*lane));
        if self.is_resting(woken) {
            self.resting.fetch_and(!woken, SeqCst);
        }
        for lane in others {
            order.passed.extend(self.hand_to(*lane, batch.clone()));
        }
        order.passed.extend(self.hand_to(*last, batch));
    }

    fn hand_to(&self, lane: usize, batch: Arc<Batch>) -> Passed {
        let lane = &self.lanes[lane];
        if lane.push(Parcel::Batch(batch)) { lane.try_pass_round() } else { Vec::new() }
    }

    fn state_published(&self, order: &mut Order, events: &Events) {
        for (topic, events) in events.counts() {
            let index = usize::from(topic.0);
            if order.names.len() <= index {
                order.names = self.intake.lock().topics.names();
            }
            let unrouted = !order.routes.is_wanted(topic);
            if unrouted && let Some(report) = self.intake.lock().topics.report_mut(topic) {
                report.unrouted += events;
            }
            let topic = order.names[index];
            self.signals.state(&Signal::Published { index, topic, events, unrouted });
        }
    }

    /// The lanes end when they are empty.
    pub(crate) fn end(&self) {
        for lane in &self.lanes {
            lane.close();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use futures_util::{FutureExt, StreamExt};

    use super::*;
    use crate::broker::handle::Broker;
    use crate::broker::intake::Arrived;
    use crate::queue::form::Form;

    struct Ping(u64);
    crate::event!(Ping, "ping");
    impl serde::Serialize for Ping {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            self.0.serialize(to)
        }
    }
    impl<'de> serde::Deserialize<'de> for Ping {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            u64::deserialize(from).map(Self)
        }
    }

    /// For a while that is never the same, so that the threads meet at every point of their ways.
    fn dawdle() {
        (0..fastrand::u32(0..5_000)).for_each(|_| std::hint::spin_loop());
    }

    /// Tells each publisher of its event, and rests whenever it has nothing to do.
    fn lane_thread(sequencer: Arc<Sequencer>, publishers: Vec<Sender<()>>) {
        let (rests, works) = (sequencer.clone(), sequencer.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .on_thread_park(move || rests.rests(0))
            .on_thread_unpark(move || works.works(0))
            .build()
            .unwrap();
        runtime.block_on(async {
            // A task of its own: what the runtime blocks on is polled also when nobody woke it.
            let lane = sequencer.lanes()[0].clone();
            let mut arrivals = lane.arrivals();
            let told = async move {
                while let Some(()) = arrivals.next().await {
                    for batch in lane.pass_round() {
                        for run in batch.events.runs() {
                            for Ping(publisher) in batch.events.typed::<Ping>(run).unwrap() {
                                publishers[*publisher as usize].send(()).unwrap();
                                dawdle();
                            }
                        }
                    }
                }
            };
            tokio::spawn(told).await.unwrap();
        });
    }

    /// Publishes one by one, and goes on when each has come through. The only thread that would
    /// help out later is not there: nothing ticks.
    fn publish(broker: &Broker, publisher: u64, came: Receiver<()>) -> Result<(), String> {
        let topic = broker.topic::<Ping>("test").map_err(|error| error.to_string())?;
        broker.sequencer.order.lock().routes.add(&[topic], 0);
        for round in 0..10_000 {
            dawdle();
            let mut inner = broker.intake.lock();
            inner.push(
                topic,
                std::iter::once(Ping(publisher)),
                Form::Values { each: 8 },
                &crate::message::envelope::Origin::OUTSIDE,
            );
            broker.gathered(inner, lane_bit(0));
            came.recv_timeout(Duration::from_secs(20))
                .map_err(|_| format!("publication {round} was slept over"))?;
        }
        Ok(())
    }

    #[test]
    fn who_finds_the_turn_taken_asks_the_broker() {
        let broker =
            Broker::new(1, Arc::new(Clock::new()), Signals::new(Vec::new()), None, &HashMap::new());
        let mut arrived = Arrived(Arc::downgrade(&broker.intake));
        let taken = broker.sequencer.order.lock();
        assert!(arrived.next().now_or_never().is_none(), "it sleeps");
        broker.sequencer.take_turn();
        assert_eq!(arrived.next().now_or_never(), Some(Some(())));
        drop(taken);
    }

    #[test]
    fn a_thread_that_goes_to_rest_sleeps_over_no_publication() {
        let (clock, signals) = (Arc::new(Clock::new()), Signals::new(Vec::new()));
        let broker = Arc::new(Broker::new(1, clock, signals, None, &HashMap::new()));
        let (tell, come): (Vec<_>, Vec<_>) = (0..2).map(|_| channel()).unzip();
        let lane = std::thread::spawn({
            let sequencer = broker.sequencer.clone();
            move || lane_thread(sequencer, tell)
        });
        let broker_thread = std::thread::spawn({
            let broker = broker.clone();
            move || {
                let mut arrived = Arrived(Arc::downgrade(&broker.intake));
                while pollster::block_on(arrived.next()).is_some() {
                    broker.sequencer.turn();
                }
                broker.sequencer.end();
            }
        });
        let publishers: Vec<_> = (0..)
            .zip(come)
            .map(|(number, came)| {
                let broker = broker.clone();
                std::thread::spawn(move || publish(&broker, number, came))
            })
            .collect();
        let results: Vec<_> = publishers.into_iter().map(|of| of.join().unwrap()).collect();
        broker.intake.end();
        broker_thread.join().unwrap();
        lane.join().unwrap();
        assert_eq!(results, [Ok(()), Ok(())]);
    }
}
