//! The broker actor: takes what has come, gives it its place, hands it to every thread that wants
//! it. It runs no user code and knows no event's type.

use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, StreamHandler};

use super::intake::{Entry, Intake, Published, Watch};
use super::lane::{Lane, Parcel};
use super::routes::LaneRoutes;
use crate::clock::Clock;
use crate::message::Seq;
use crate::queue::batch::{Batch, Events};
use crate::signal::{Signal, Signals};

/// Puts everything in one order.
pub(crate) struct BrokerActor {
    intake: Arc<Intake>,
    lanes: Vec<Arc<Lane>>,
    routes: LaneRoutes,
    next: Seq,
    clock: Arc<Clock>,
    signals: Arc<Signals>,
    wanted_by: Vec<usize>,
    names: Vec<&'static str>,
}

impl BrokerActor {
    pub(crate) fn new(
        intake: Arc<Intake>,
        lanes: Vec<Arc<Lane>>,
        clock: Arc<Clock>,
        signals: Arc<Signals>,
    ) -> Self {
        Self {
            intake,
            lanes,
            routes: LaneRoutes::default(),
            next: Seq::default(),
            clock,
            signals,
            wanted_by: Vec::new(),
            names: Vec::new(),
        }
    }

    fn broadcast(&mut self, events: Events) {
        let first = self.next;
        self.next = Seq(first.0 + u64::from(events.len()));
        self.state_published(&events);
        self.routes.lanes(events.topics(), &mut self.wanted_by);
        let batch = Arc::new(Batch { first, at: self.clock.now(), events });
        // The last one is given away, so that the events are never dropped here: `Drop` is user
        // code. What nobody wants is dropped by the first lane's thread.
        let (last, others) = self.wanted_by.split_last().unwrap_or((&0, &[]));
        for lane in others {
            self.lanes[*lane].push(Parcel::Batch(batch.clone()));
        }
        self.lanes[*last].push(Parcel::Batch(batch));
    }

    fn state_published(&mut self, events: &Events) {
        for (topic, events) in events.counts() {
            let index = usize::from(topic.0);
            if self.names.len() <= index {
                self.names = self.intake.lock().topics.names();
            }
            let unrouted = !self.routes.is_wanted(topic);
            if unrouted && let Some(report) = self.intake.lock().topics.report_mut(topic) {
                report.unrouted += events;
            }
            let topic = self.names[index];
            self.signals.state(&Signal::Published { index, topic, events, unrouted });
        }
    }
}

impl Actor for BrokerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.add_stream(Published(self.intake.clone()));
    }
}

impl StreamHandler<Vec<Entry>> for BrokerActor {
    fn handle(&mut self, entries: Vec<Entry>, _: &mut Self::Context) {
        for entry in entries {
            match entry {
                Entry::Events(events) => self.broadcast(events),
                Entry::Subscribe(subscription, lane) => {
                    self.routes.add(subscription.wanted.topics(), lane);
                    self.lanes[lane].push(Parcel::Subscribe(subscription));
                }
                Entry::Unsubscribe(subscription, lane) => {
                    self.routes.remove(subscription.wanted.topics(), lane);
                    self.lanes[lane].push(Parcel::Unsubscribe(subscription));
                }
            }
        }
        if self.intake.is_watched(Watch::Room) {
            let wake = self.intake.lock().door.with_room();
            wake.into_iter().for_each(std::task::Waker::wake);
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        use actix::ActorContext;
        for lane in &self.lanes {
            lane.close();
        }
        ctx.stop();
    }
}
