//! Admission: whether there is room for what somebody wants to publish. Everything is bounded and
//! nothing deadlocks because this question is asked before an event has its place in the order.
//!
//! What is published is counted per topic, what has left is counted per subscription; the room of
//! a topic is the least room among its blocking subscriptions. It is worked out once for many
//! events and remembered as the topic's credit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use super::durability::Durabilities;
use super::holders::Holders;
use crate::message::envelope::TopicId;
use crate::queue::batch::Load;
use crate::queue::form::Form;
use crate::queue::{Subscription, WhenFull};

/// How many events one look at the subscriptions may allow.
const CREDIT: u64 = 4096;
/// How many events from outside may lie before the broker, wanted by anybody or not.
const BEFORE_BROKER: u64 = 262_144;
/// And how many bytes of them may lie there that are not on disk yet.
const UNWRITTEN: u64 = 16 << 20;
#[derive(Default)]
pub(super) struct TopicDoor {
    /// All that was ever published.
    pub(super) published: Load,
    /// Allowed to outside publishers, not published yet.
    credit: Load,
    /// Allowed to handlers, not published yet.
    pub(super) leased: Load,
    gates: Vec<usize>,
    /// On which lanes the subscriptions are, a bit each.
    lanes: u64,
    queue: VecDeque<(u64, Waker)>,
}

/// One subscription's part in the decision.
pub(super) struct Gate {
    pub(super) subscription: Arc<Subscription>,
    lanes: u64,
    /// Its topics, with what had been published on each when it began, and when it ended.
    topics: Vec<(TopicId, Load, Option<Load>)>,
    ended: bool,
}

/// A lane's bit; with more than 64 lanes some share one, which costs a wake-up too many.
pub(crate) fn lane_bit(lane: usize) -> u64 {
    1 << (lane % 64)
}

/// Who may publish.
#[derive(Default)]
pub(crate) struct Door {
    topics: Vec<TopicDoor>,
    pub(super) gates: Vec<Option<Gate>>,
    next_ticket: u64,
    pub(crate) holders: Holders,
    /// Events that have no place in the order yet, and what they are as bytes, if they are stored.
    pub(crate) before_broker: Load,
    /// There is a log: whoever is slow reads from there, and keeps nobody waiting.
    pub(crate) keeps: bool,
    pub(crate) durability: Arc<Durabilities>,
    /// What has its place, and is not on disk yet.
    pub(crate) unwritten: Load,
}

impl Door {
    pub(super) fn topic(&mut self, topic: TopicId) -> &mut TopicDoor {
        let index = usize::from(topic.0);
        if self.topics.len() <= index {
            self.topics.resize_with(index + 1, TopicDoor::default);
        }
        &mut self.topics[index]
    }

    /// A subscription begins: it answers for what is published from now on.
    pub(crate) fn open(&mut self, subscription: Arc<Subscription>, lane: usize) {
        let lanes = lane_bit(lane);
        let free = self.gates.iter().position(Option::is_none);
        let number = free.unwrap_or(self.gates.len());
        let mut topics = Vec::new();
        for &topic in subscription.wanted.topics() {
            let door = self.topic(topic);
            door.credit = Load::default();
            door.gates.push(number);
            door.lanes |= lanes;
            topics.push((topic, door.published, None));
        }
        let gate = Some(Gate { subscription, lanes, topics, ended: false });
        match self.gates.get_mut(number) {
            Some(free) => *free = gate,
            None => self.gates.push(gate),
        }
    }

    /// A subscription ends: nobody waits for it any more. Returns whom to wake.
    pub(crate) fn close(&mut self, subscription: &Subscription) -> Vec<Waker> {
        let number = self.gates.iter().position(|gate| {
            gate.as_ref()
                .is_some_and(|gate| !gate.ended && gate.subscription.name == subscription.name)
        });
        let Some(number) = number else { return Vec::new() };
        for door in &mut self.topics {
            door.gates.retain(|&gate| gate != number);
            let gates = door.gates.iter().filter_map(|&gate| self.gates[gate].as_ref());
            door.lanes = gates.fold(0, |lanes, gate| lanes | gate.lanes);
        }
        if let Some(gate) = &mut self.gates[number] {
            gate.ended = true;
            for (topic, _, until) in &mut gate.topics {
                *until = Some(self.topics[usize::from(topic.0)].published);
            }
        }
        self.wake_all()
    }

    /// A subscription that has ended is forgotten once it is through with what it had. Gives it back,
    /// to be dropped outside of any lock.
    pub(crate) fn forget(&mut self, subscription: &Subscription) -> Option<Arc<Subscription>> {
        let number = self.gates.iter().position(|gate| {
            gate.as_ref().is_some_and(|gate| {
                gate.ended && gate.subscription.name == subscription.name && self.is_idle_at(gate)
            })
        })?;
        self.gates[number].take().map(|gate| gate.subscription)
    }

    /// Who handles the commands of a topic, if anybody does.
    pub(crate) fn servant(&self, topic: TopicId) -> Option<&Arc<Subscription>> {
        let mut there = self.gates_of(topic).map(|gate| &gate.subscription);
        there.find(|of| !of.is_detached())
    }

    /// Subscriptions whose instances live on several threads.
    pub(crate) fn crews(&self) -> impl Iterator<Item = &Subscription> {
        let gates = self.gates.iter().flatten().map(|gate| &*gate.subscription);
        gates.filter(|subscription| subscription.settings.hosts > 1 || subscription.settings.shared)
    }

    /// The lanes of a topic's subscriptions, a bit each.
    #[inline]
    pub(crate) fn lanes(&self, topic: TopicId) -> u64 {
        self.topics.get(usize::from(topic.0)).map_or(0, |door| door.lanes)
    }

    /// Lets an outside publisher in, if there is room and nobody else waits for it.
    pub(crate) fn admit(&mut self, topic: TopicId, load: Load, ticket: Option<u64>) -> bool {
        let door = self.topic(topic);
        let my_turn = match door.queue.front() {
            None => true,
            Some((first, _)) => Some(*first) == ticket,
        };
        my_turn && self.admit_out_of_turn(topic, load)
    }

    /// As [`Door::admit`], whoever else waits.
    pub(super) fn admit_out_of_turn(&mut self, topic: TopicId, load: Load) -> bool {
        let need = self.need(topic, load);
        if !(need.fits(self.topic(topic).credit) || self.refill(topic, need)) {
            return false;
        }
        let door = self.topic(topic);
        door.credit = door.credit.less(load);
        door.published.add(load);
        true
    }

    /// It was let in, and is not published after all.
    pub(super) fn take_back(&mut self, topic: TopicId, load: Load) {
        let door = self.topic(topic);
        door.published.take_away(load);
        door.credit.add(load);
    }

    /// What a log takes in is bounded by what is not written yet: something larger waits until that is
    /// all written.
    pub(super) fn need(&self, topic: TopicId, load: Load) -> Load {
        let most = if self.keeps_in_log(topic) { UNWRITTEN } else { u64::MAX };
        Load::new(load.events, load.weight.min(most))
    }

    /// Whether `load` is more than some subscription may ever hold.
    pub(crate) fn never_fits(&self, topic: TopicId, load: Load) -> bool {
        self.bounds(topic).any(|(bound, _)| !load.fits(bound))
    }

    /// Whether `load` is more than some subscription may ever hold, its reserve included.
    pub(crate) fn never_fits_reserve(&self, topic: TopicId, load: Load) -> bool {
        self.bounds(topic).any(|(bound, reserve)| !load.fits(bound.and(reserve)))
    }

    fn bounds(&self, topic: TopicId) -> impl Iterator<Item = (Load, Load)> {
        self.gates_of(topic).filter_map(move |gate| self.bound_of(gate, topic))
    }

    /// How much may wait for a subscription before publishers of a topic do, and beyond that for
    /// handlers; none if they never do.
    pub(super) fn bound_of(&self, gate: &Gate, topic: TopicId) -> Option<(Load, Load)> {
        if gate.subscription.is_detached() {
            return None;
        }
        let settings = &gate.subscription.settings;
        let waits = !self.keeps_in_log(topic) && settings.when_full == WhenFull::Block;
        let own = waits.then_some((settings.bound, settings.reserve));
        let limit = self.durability.limit(topic);
        match (own, limit) {
            (Some((bound, reserve)), Some(limit)) => Some((bound.min(limit), reserve.min(limit))),
            (None, Some(limit)) => Some((limit, limit)),
            (own, None) => own,
        }
    }

    /// Lets in as many of `most` events as there is room for; returns how many.
    pub(crate) fn admit_some(
        &mut self,
        topic: TopicId,
        form: Form<'_>,
        most: u64,
        ticket: Option<u64>,
    ) -> u64 {
        if !self.admit(topic, Load::new(1, form.first()), ticket) {
            return 0;
        }
        let credit = self.topic(topic).credit;
        let (_, rest) = form.split(1);
        let more = rest.fitting((most - 1).min(credit.events), credit.weight);
        let load = Load::new(more, rest.split(more as usize).0.all(more as usize));
        let door = self.topic(topic);
        door.credit = door.credit.less(load);
        door.published.add(load);
        1 + more
    }

    /// Joins the queue of those who wait for room, or stays where it is in it.
    pub(crate) fn wait(&mut self, topic: TopicId, ticket: Option<u64>, waker: &Waker) -> u64 {
        self.next_ticket += 1;
        let fresh = self.next_ticket;
        let queue = &mut self.topic(topic).queue;
        if let Some(place) = queue.iter_mut().find(|(of, _)| Some(*of) == ticket) {
            place.1.clone_from(waker);
            return place.0;
        }
        queue.push_back((fresh, waker.clone()));
        self.gates_of(topic).for_each(|gate| gate.subscription.forget_fullness());
        fresh
    }

    /// Leaves the queue; returns the next in it, for whom there may be room now.
    pub(crate) fn leave(&mut self, topic: TopicId, ticket: u64) -> Option<Waker> {
        let queue = &mut self.topic(topic).queue;
        queue.retain(|(of, _)| *of != ticket);
        queue.front().map(|(_, waker)| waker.clone())
    }

    /// Whoever is first in a queue and has room now. Woken only when there is room for more than a
    /// few, so that a wake-up pays for many events.
    pub(crate) fn with_room(&mut self) -> Vec<Waker> {
        let mut wake = Vec::new();
        for index in 0..self.topics.len() {
            let topic = TopicId(index as u16);
            let door = &self.topics[index];
            // Without anybody who wants it nobody waits for room, but for somebody to come.
            if door.queue.is_empty() || door.gates.is_empty() {
                continue;
            }
            // Others of the subscription may have been allowed more than they use.
            self.withdraw_credits(topic);
            let enough = self.least_bound(topic).min(BEFORE_BROKER) / 8;
            let door = &self.topics[index];
            let room = self.room(topic, false);
            if room.events.min(room.weight) > 0
                && room.events >= enough
                && let Some((_, waker)) = door.queue.front()
            {
                wake.push(waker.clone());
            }
        }
        wake
    }

    /// Everybody who waits.
    pub(crate) fn wake_all(&mut self) -> Vec<Waker> {
        let queues = self.topics.iter().flat_map(|door| &door.queue);
        queues.map(|(_, waker)| waker.clone()).collect()
    }

    /// Nothing more is handed out to anybody.
    pub(crate) fn halt_all(&self) {
        self.gates.iter().flatten().for_each(|gate| gate.subscription.halt());
    }

    /// All that was ever published on a topic.
    pub(crate) fn published(&self, topic: TopicId) -> u64 {
        self.topics.get(usize::from(topic.0)).map_or(0, |door| door.published.events)
    }

    pub(super) fn waiting(&self, gate: &Gate) -> Load {
        let mut published = Load::default();
        for (topic, since, until) in &gate.topics {
            let now = self.topics[usize::from(topic.0)].published;
            published.add(until.unwrap_or(now).less(*since));
        }
        published.less(gate.subscription.left.get())
    }

    /// What is published on the topic goes into a log: whoever is slow reads from there.
    pub(super) fn keeps_in_log(&self, topic: TopicId) -> bool {
        self.keeps && self.durability.keeps_topic(topic)
    }

    /// The least room among the blocking subscriptions of a topic, beyond what is already allowed.
    pub(super) fn room(&self, topic: TopicId, with_reserve: bool) -> Load {
        let before = self.before_broker.and(self.unwritten);
        let before = if with_reserve { Load::default() } else { before };
        let mut room = Load::new(BEFORE_BROKER, u64::MAX).less(Load::new(before.events, 0));
        let kept = self.keeps_in_log(topic);
        if kept {
            room.weight = UNWRITTEN.saturating_sub(before.weight);
        }
        for gate in self.gates_of(topic) {
            let Some((bound, reserve)) = self.bound_of(gate, topic) else { continue };
            if self.keeps && !kept && gate.subscription.is_lagging() {
                return Load::default(); // it would not see what is not in the log
            }
            let bound = if with_reserve { bound.and(reserve) } else { bound };
            let mut used = self.waiting(gate);
            for (topic, _, _) in &gate.topics {
                let door = &self.topics[usize::from(topic.0)];
                used.add(door.credit);
                used.add(door.leased);
            }
            if kept {
                used.add(gate.subscription.left_by_earlier());
            }
            room = room.min(bound.less(used));
        }
        room
    }

    pub(super) fn least_bound(&self, topic: TopicId) -> u64 {
        self.bounds(topic).map(|(bound, _)| bound.events).min().unwrap_or(0)
    }

    fn gates_of(&self, topic: TopicId) -> impl Iterator<Item = &Gate> {
        let numbers = self.topics.get(usize::from(topic.0)).map(|door| door.gates.as_slice());
        numbers.unwrap_or_default().iter().filter_map(|&gate| self.gates[gate].as_ref())
    }

    /// Works out the credit anew. False if there is still no room for `need`.
    fn refill(&mut self, topic: TopicId, need: Load) -> bool {
        self.topic(topic).credit = Load::default();
        let mut room = self.room(topic, false);
        if !need.fits(room) {
            self.withdraw_credits(topic);
            room = self.room(topic, false);
        }
        // Where others go into a log, they are let in whoever is full: it is looked again each time.
        let most = if self.keeps && !self.keeps_in_log(topic) { need.events } else { CREDIT };
        let credit = room.min(Load::new(most.max(need.events), u64::MAX / 4));
        self.topic(topic).credit = credit;
        need.fits(credit)
    }

    /// Takes back what other topics were allowed and have not used, where they share a
    /// subscription with this one.
    pub(super) fn withdraw_credits(&mut self, topic: TopicId) {
        let shared: Vec<TopicId> = self
            .gates_of(topic)
            .flat_map(|gate| gate.topics.iter().map(|(of, _, _)| *of))
            .collect();
        for other in shared {
            self.topic(other).credit = Load::default();
        }
    }
}
