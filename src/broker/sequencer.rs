//! The turn: takes what lies in the intake, gives it its place, hands it to every thread that
//! wants it. Whoever has just published from inside the runtime takes the turn if it is free;
//! else the broker actor does. It runs no user code and knows no event's type.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use parking_lot::Mutex;

use super::door::lane_bit;
use super::intake::{Entry, Intake, Watch};
use super::lane::{Lane, Parcel};
use super::routes::LaneRoutes;
use crate::clock::Clock;
use crate::message::Seq;
use crate::queue::batch::{Batch, Events};
use crate::signal::{Signal, Signals};

struct Order {
    routes: LaneRoutes,
    next: Seq,
    /// Room for the lanes of one batch.
    lanes: Vec<usize>,
    names: Vec<&'static str>,
}

/// Puts everything in one order.
pub(crate) struct Sequencer {
    pub(crate) intake: Arc<Intake>,
    lanes: Vec<Arc<Lane>>,
    order: Mutex<Order>,
    /// Lanes whose threads have nothing to do, a bit each.
    resting: AtomicU64,
    clock: Arc<Clock>,
    signals: Arc<Signals>,
}

impl Sequencer {
    pub(crate) fn new(
        intake: Arc<Intake>,
        lanes: usize,
        clock: Arc<Clock>,
        signals: Arc<Signals>,
    ) -> Self {
        let order = Order {
            routes: LaneRoutes::default(),
            next: Seq::default(),
            lanes: Vec::new(),
            names: Vec::new(),
        };
        let lanes = (0..lanes).map(|_| Arc::default()).collect();
        Self { intake, lanes, order: Mutex::new(order), resting: AtomicU64::new(0), clock, signals }
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
        if !self.intake.lock().is_empty() {
            self.take_turn();
        }
    }

    pub(crate) fn works(&self, lane: usize) {
        self.resting.fetch_and(!lane_bit(lane), SeqCst);
    }

    /// Sees to it that what was published is put in order: by itself if the turn is free, else by
    /// the broker actor.
    pub(crate) fn take_turn(&self) {
        if self.try_turn() {
            return;
        }
        let broker = self.intake.lock().ask_broker();
        if let Some(broker) = broker {
            broker.wake();
        }
    }

    /// Takes the turn, waiting for it if somebody else has it.
    pub(crate) fn turn(&self) {
        self.put_in_order(&mut self.order.lock());
    }

    /// Takes the turn if it is free; false if somebody else has it, who may not have seen what was
    /// published last.
    fn try_turn(&self) -> bool {
        let Some(mut order) = self.order.try_lock() else { return false };
        self.put_in_order(&mut order);
        true
    }

    fn put_in_order(&self, order: &mut Order) {
        let entries = self.intake.lock().take();
        for entry in entries {
            match entry {
                Entry::Events(events) => self.broadcast(order, events),
                Entry::Subscribe(subscription, lane) => {
                    order.routes.add(subscription.wanted.topics(), lane);
                    self.lanes[lane].push(Parcel::Subscribe(subscription));
                }
                Entry::Unsubscribe(subscription, lane) => {
                    order.routes.remove(subscription.wanted.topics(), lane);
                    self.lanes[lane].push(Parcel::Unsubscribe(subscription));
                }
            }
        }
        if self.intake.is_watched(Watch::Room) {
            let wake = self.intake.lock().door.with_room();
            wake.into_iter().for_each(std::task::Waker::wake);
        }
        if self.intake.is_watched(Watch::Rest) {
            self.intake.wake_resters();
        }
    }

    fn broadcast(&self, order: &mut Order, events: Events) {
        let first = order.next;
        order.next = Seq(first.0 + u64::from(events.len()));
        self.state_published(order, &events);
        order.routes.lanes(events.topics(), &mut order.lanes);
        let batch = Arc::new(Batch { first, at: self.clock.now(), events });
        // The last one is given away, so that the events are never dropped here: `Drop` is user
        // code. What nobody wants is dropped by the first lane's thread.
        let (last, others) = order.lanes.split_last().unwrap_or((&0, &[]));
        // They are going to be woken: what is published meanwhile may gather for them. Before the
        // push, so that a thread that is through with it and rests again is not taken for awake.
        let woken = others.iter().fold(lane_bit(*last), |bits, lane| bits | lane_bit(*lane));
        if self.is_resting(woken) {
            self.resting.fetch_and(!woken, SeqCst);
        }
        for lane in others {
            self.lanes[*lane].push(Parcel::Batch(batch.clone()));
        }
        self.lanes[*last].push(Parcel::Batch(batch));
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
