//! The broker as everybody else knows it: what handlers publish, who subscribes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Waker;

use parking_lot::MutexGuard;

use super::dedup::Dedup;
use super::durability::Durabilities;
use super::holders::Holder;
use super::intake::{Entry, Inner, Intake, Watch};
use super::journal::{Due, Journal};
use super::sequencer::Sequencer;
use crate::clock::Clock;
use crate::error::Error;
use crate::message::envelope::TopicId;
use crate::message::id::IdSpace;
use crate::message::{Message, Seq};
use crate::queue::Subscription;
use crate::queue::batch::{Events, Load};
use crate::signal::Signals;
use crate::store::channel::Channel;

/// How many events may gather while all who want them are busy, before the broker actor is asked.
const GATHER: u64 = 2048;

/// The broker, as everybody else knows it.
pub(crate) struct Broker {
    pub(crate) intake: Arc<Intake>,
    pub(crate) sequencer: Arc<Sequencer>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) signals: Arc<Signals>,
    pub(crate) ids: Arc<IdSpace>,
    /// How many have subscribed so far.
    epoch: AtomicU64,
    /// If what is published is kept in a log.
    pub(crate) journal: Option<Arc<Journal>>,
    pub(crate) durability: Arc<Durabilities>,
}

/// Why a delayed publication does not leave.
pub(crate) enum NoRoom {
    Yet(Events),
    /// It is more than some subscription may hold at all.
    Ever(Events),
}

/// What a handler is allowed to publish on one topic, and what it has published of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lease {
    pub(crate) allowed: Load,
    pub(crate) used: Load,
}

impl Lease {
    #[inline]
    pub(crate) fn spend(&mut self, load: Load) {
        self.allowed = self.allowed.less(load);
        self.used.add(load);
    }
}

impl Broker {
    /// With a log, the next event has the position `next`.
    pub(crate) fn new(
        lanes: usize,
        clock: Arc<Clock>,
        signals: Arc<Signals>,
        log: Option<(Arc<Journal>, Seq)>,
        channels: &HashMap<&'static str, Channel>,
    ) -> Self {
        let ids = IdSpace::new();
        let intake = Arc::new(Intake::new(ids.clone(), signals.clone()));
        let durability = {
            let inner = &mut *intake.lock();
            inner.door.keeps = log.is_some();
            let durability = Arc::new(Durabilities::new(channels, &mut inner.topics));
            inner.dedup = Dedup::new(channels, &mut inner.topics);
            inner.door.durability = durability.clone();
            durability
        };
        let (journal, next) = log.map_or((None, Seq(0)), |(journal, next)| (Some(journal), next));
        let bell = journal.as_ref().map(|journal| journal.bell.clone());
        let sequencer =
            Sequencer::new(intake.clone(), lanes, clock.clone(), signals.clone(), (bell, next));
        Self {
            intake,
            sequencer: Arc::new(sequencer),
            clock,
            signals,
            ids,
            epoch: AtomicU64::new(0),
            journal,
            durability,
        }
    }

    /// Why nothing new is taken in by the log, if so.
    #[inline]
    pub(crate) fn unable(&self) -> Option<Error> {
        self.journal.as_ref()?.unable()
    }

    /// There is no room on disk for anything new.
    pub(crate) fn is_short(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.is_short())
    }

    /// The number of `E`'s topic.
    pub(crate) fn topic<E: Message>(&self, publisher: &str) -> Result<TopicId, Error> {
        let mut inner = self.intake.lock();
        let topic = inner.topics.topic::<E>()?;
        inner.topics.saw(publisher, topic);
        Ok(topic)
    }

    pub(crate) fn name_of(&self, topic: TopicId) -> &'static str {
        self.intake.lock().topics.name(topic)
    }

    /// A driver begins that publishes.
    pub(crate) fn join(&self) -> Holder {
        self.intake.lock().door.holders.join()
    }

    /// It is gone, and the room that was allowed to it comes back.
    pub(crate) fn leave(&self, holder: Holder) {
        let mut inner = self.intake.lock();
        for (topic, unused) in inner.door.holders.leave(holder) {
            inner.door.settle_lease(topic, Load::default(), unused);
        }
        self.wake_with_room(inner);
    }

    /// Allows a driver to publish `need` on a topic, from the reserve if it must.
    pub(crate) fn lease(&self, holder: Holder, topic: TopicId, need: Load) -> Option<Load> {
        if self.unable().is_some() {
            return None;
        }
        let mut inner = self.intake.lock();
        let lease = inner.door.lease(topic, need)?;
        if !inner.door.holders.more(holder, topic, lease) {
            inner.door.settle_lease(topic, Load::default(), lease);
            return None;
        }
        Some(lease)
    }

    /// What a handler published leaves, and what it did not use of its leases comes back. Whether one
    /// of the topics that matter `to` it lives off the reserve of its subscriptions by now.
    pub(crate) fn flush(
        &self,
        holder: Holder,
        outbox: Events,
        leases: &[(TopicId, Lease)],
        to: impl Fn(TopicId) -> bool,
        claim: u64,
    ) -> bool {
        let mut inner = self.intake.lock();
        for (topic, lease) in leases {
            // If it was given up in this moment, its lease has come back already.
            let whole = inner.door.holders.less(holder, *topic, lease.used.and(lease.allowed));
            match whole {
                true => inner.door.settle_lease(*topic, lease.used, lease.allowed),
                false => inner.door.publish_unleased(*topic, lease.used),
            }
        }
        let mut topics = leases.iter().map(|(topic, _)| *topic).filter(|topic| to(*topic));
        let pressed = topics.any(|topic| inner.door.lives_off_reserve(topic, claim));
        let lanes = outbox.topics().fold(0, |lanes, topic| lanes | inner.door.lanes(topic));
        inner.push_outbox(outbox);
        self.gathered(inner, lanes);
        pressed
    }

    /// Whether so much is more than some subscription of the topic may ever hold.
    pub(crate) fn never_fits(&self, topic: TopicId, load: Load) -> bool {
        self.intake.lock().door.never_fits_reserve(topic, load)
    }

    /// Publications that leave later than their commit: they need their room now. Gives them back
    /// if there is none.
    pub(crate) fn flush_later(
        &self,
        subscription: &Arc<Subscription>,
        number: u64,
        events: Events,
    ) -> Result<(), NoRoom> {
        if self.unable().is_some() {
            return Err(NoRoom::Yet(events));
        }
        let mut inner = self.intake.lock();
        let loads: Vec<_> = events.loads().collect();
        for (topic, load) in loads {
            if !inner.door.admit_from_reserve(topic, load) {
                return Err(match inner.door.never_fits_reserve(topic, load) {
                    true => NoRoom::Ever(events),
                    false => NoRoom::Yet(events),
                });
            }
        }
        if self.journal.is_some() {
            drop(inner);
            // That it does not wait any more, and that it is published, is one commit.
            subscription.has_left(number, Some(events));
            self.has_news(subscription, true);
            return Ok(());
        }
        inner.push_outbox(events);
        drop(inner);
        self.sequencer.take_turn();
        Ok(())
    }

    /// Grows with every subscription.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }

    pub(crate) fn subscribe(&self, subscription: &Arc<Subscription>, lane: usize) {
        let mut inner = self.intake.lock();
        self.epoch.fetch_add(1, Relaxed);
        inner.door.open(subscription.clone(), lane);
        let topics = subscription.wanted.topics().iter();
        let limit = topics.filter_map(|topic| self.durability.limit(*topic)).reduce(Load::min);
        limit.into_iter().for_each(|limit| subscription.limit_to(limit));
        for topic in subscription.wanted.topics() {
            if let Some(report) = inner.topics.report_mut(*topic) {
                report.consumers.insert(subscription.name.as_str().to_owned());
            }
        }
        inner.push_entry(Entry::Subscribe(subscription.clone(), lane));
        // Somebody may have waited for whoever would handle it.
        let waiting = match self.intake.is_watched(Watch::Room) {
            true => inner.door.wake_all(),
            false => Vec::new(),
        };
        drop(inner);
        self.sequencer.take_turn();
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn unsubscribe(&self, subscription: &Arc<Subscription>, lane: usize) {
        let mut inner = self.intake.lock();
        let freed = inner.door.close(subscription);
        for topic in subscription.wanted.topics() {
            if let Some(report) = inner.topics.report_mut(*topic) {
                report.consumers.remove(subscription.name.as_str());
            }
        }
        inner.push_entry(Entry::Unsubscribe(subscription.clone(), lane));
        drop(inner);
        self.sequencer.take_turn();
        freed.into_iter().for_each(Waker::wake);
    }

    /// Room comes back that was allowed to a driver and not used.
    pub(crate) fn give_back(&self, holder: Holder, leases: &[(TopicId, Lease)]) {
        let mut inner = self.intake.lock();
        for (topic, lease) in leases {
            if inner.door.holders.less(holder, *topic, lease.used.and(lease.allowed)) {
                inner.door.settle_lease(*topic, lease.used, lease.allowed);
            }
        }
        self.wake_with_room(inner);
    }

    /// A subscription does not count any more: there may be room for whoever waits.
    pub(crate) fn make_room(&self) {
        self.wake_with_room(self.intake.lock());
    }

    fn wake_with_room(&self, mut inner: MutexGuard<'_, Inner>) {
        let wake = match self.intake.is_watched(Watch::Room) {
            true => inner.door.with_room(),
            false => Vec::new(),
        };
        drop(inner);
        wake.into_iter().for_each(Waker::wake);
    }

    /// Somebody of it has ended. A subscription that was removed is forgotten when it is through.
    pub(crate) fn left(&self, subscription: &Subscription) {
        let gone = self.intake.lock().door.forget(subscription);
        drop(gone);
    }

    /// A subscription may have something to tell to the log: at once, if somebody waits for it, else
    /// with what is written next.
    pub(crate) fn has_news(&self, subscription: &Arc<Subscription>, urgent: bool) {
        if self.journal.is_none() {
            return;
        }
        if subscription.has_news() {
            self.intake.lock().push_news(subscription.clone());
            self.clock.working();
        }
        if urgent {
            self.sequencer.take_turn();
        }
    }

    /// Resolves when all that is known by now is in the log, if there is one; however long that takes.
    ///
    /// # Errors
    ///
    /// It never will be.
    pub(crate) async fn is_kept(&self) -> Result<(), Error> {
        let Some((journal, due)) = self.all_known() else { return Ok(()) };
        std::future::poll_fn(|task| journal.poll_kept_at_last(due, task.waker())).await
    }

    /// As [`Broker::is_kept`], if the log can be written.
    ///
    /// # Errors
    ///
    /// It cannot.
    pub(crate) async fn is_kept_now(&self) -> Result<(), Error> {
        let Some((journal, due)) = self.all_known() else { return Ok(()) };
        std::future::poll_fn(|task| journal.poll_kept(due, task.waker())).await
    }

    fn all_known(&self) -> Option<(&Journal, Due)> {
        let journal = self.journal.as_deref()?;
        let group = {
            let inner = self.intake.lock();
            if inner.has_none() { inner.taken.checked_sub(1) } else { Some(inner.taken) }
        };
        self.sequencer.take_turn();
        Some((journal, Due { group: group?, written: false }))
    }

    /// Has the log read for a subscription that is behind, if it wants that.
    pub(crate) fn read_for(&self, subscription: &Arc<Subscription>) {
        if subscription.is_hungry()
            && let Some(journal) = &self.journal
        {
            journal.read_for(subscription);
        }
    }

    /// Somebody settled something: whoever waits for room or rest is told.
    pub(crate) fn progressed(&self, subscription: &Subscription) {
        if self.intake.is_watched(Watch::Room) && subscription.has_made_room() {
            let wake = self.intake.lock().door.with_room();
            wake.into_iter().for_each(Waker::wake);
        }
        if self.intake.is_watched(Watch::Rest)
            && (subscription.waiting().events == 0 || subscription.is_stuck())
        {
            self.intake.wake_resters();
        }
    }

    /// A tick has passed: what has gathered is put in order, and what a stuck thread would have seen
    /// to finds another one. No user code runs here.
    pub(crate) fn sweep(&self) {
        let stuck = self.sequencer.tick();
        let mut inner = self.intake.lock();
        let lies = !inner.is_empty();
        let asks = stuck || (lies && self.journal.is_none());
        let broker = if asks { inner.ask_broker() } else { None };
        let idle: Vec<Waker> = inner.door.crews().filter_map(Subscription::tick).collect();
        drop(inner);
        broker.into_iter().chain(idle).for_each(Waker::wake);
        if lies && self.journal.is_some() {
            self.sequencer.take_turn();
        }
    }

    /// No more from outside; who waits at the door is told.
    pub(crate) fn close(&self) {
        let mut inner = self.intake.lock();
        inner.closed = true;
        let waiting = inner.door.wake_all();
        drop(inner);
        waiting.into_iter().for_each(Waker::wake);
        self.intake.wake_resters();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.intake.lock().closed
    }

    #[inline]
    pub(super) fn gathered(&self, inner: MutexGuard<'_, Inner>, lanes: u64) {
        let much = inner.door.before_broker.events >= GATHER;
        let wanted = self.journal.is_some() || self.sequencer.is_resting(lanes);
        drop(inner);
        self.clock.working();
        if wanted || much {
            self.sequencer.take_turn();
        }
    }
}
