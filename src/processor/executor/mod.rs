//! A driver: claims events, runs their handlers in place, settles what became of them, and
//! rebuilds the instance that broke.

mod acknowledged;
mod failure;
mod instance;
mod single;
mod timed;

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use crate::clock::Moment;
use crate::guard::contained;
use crate::message::Key;
use crate::processor::Processor;
use crate::processor::context::{Context, InHand};
use crate::processor::dispatch::{HandlerList, Ran, Stretch};
use crate::processor::host::{Crew, ids_of_thread};
use crate::processor::link::turns::yield_now;
use crate::processor::link::{BUDGET, Link, Mine};
use crate::processor::outcome::Ended;
use crate::processor::spec::ProcessorSpec;
use crate::queue::batch::Batch;
use crate::queue::kept::Kept;
use crate::queue::state::Offer;
use crate::queue::{Claim, Cursor, key_of};
use crate::supervise::child::Seat;

/// One driver of a host.
pub(super) struct Executor<P: Processor, L> {
    spec: Arc<ProcessorSpec<P, L>>,
    seat: Rc<Seat>,
    crew: Rc<Crew<P>>,
    link: Rc<Link>,
    cx: Context,
    /// It is the one that builds the instances.
    builds: bool,
    /// What the failure said that broke an instance last, and whether its event had broken one before.
    broken_by: (String, bool),
    ticks: Vec<Moment>,
    /// It published by the clock last: events have their turn.
    ticked: bool,
    /// How many events it may handle before others on the thread get their turn, but for the claim
    /// at hand.
    budget: u32,
    /// The tick in which its turn began.
    tick: u64,
}

#[allow(clippy::large_enum_variant)] // made once a claim, and moved once
enum Work {
    Claim(Claim),
    Tick(usize),
}

impl<P: Processor, L: HandlerList<P>> Executor<P, L> {
    pub(super) fn new(
        spec: Arc<ProcessorSpec<P, L>>,
        seat: Rc<Seat>,
        crew: Rc<Crew<P>>,
        number: usize,
    ) -> Self {
        let ids = ids_of_thread(&seat.broker.ids);
        let mine = spec.own.is_some().then(|| {
            let (spec, argument) = (spec.clone(), seat.argument.clone());
            let mine =
                move |key: Option<&Key>| spec.own.as_ref().is_none_or(|own| own(&*argument, key));
            Box::new(mine) as Mine
        });
        let link = Link::new(&seat, (spec.timeout, spec.retry), mine, ids, crew.waits.clone());
        let mut ticks = Vec::new();
        if seat.host == 0 && number == 0 {
            let now = seat.broker.clock.now();
            ticks = spec.ticks.iter().map(|(period, _)| now.after(*period)).collect();
        }
        let cx = Context::new(link.clone());
        let tick = seat.broker.clock.tick();
        Self {
            spec,
            seat,
            crew,
            link,
            cx,
            builds: number == 0,
            broken_by: (String::new(), false),
            ticks,
            ticked: false,
            budget: BUDGET,
            tick,
        }
    }

    /// Runs until the subscription has nothing more to give.
    pub(super) async fn run(mut self) {
        // One that has lost its instance leaves the others to the other drivers.
        let through = (!self.builds || self.build_all().await) && self.work().await;
        let in_order = through || self.seat.fence.is_stopping();
        if let Some(reason) = self.link.ends.take() {
            self.seat.reports.reason.replace(Some(reason));
        }
        self.seat.subscription.ends(self.link.driver, &self.seat.fence);
        // Events may have been moved aside without a commit.
        self.seat.broker.progressed(&self.seat.subscription);
        if in_order && !self.seat.fence.is_fenced() {
            self.stop().await;
        }
        self.seat.broker.left(&self.seat.subscription);
    }

    /// Works until there is nothing more to do. False if its instance is gone before.
    async fn work(&mut self) -> bool {
        loop {
            if self.budget == 0 || self.seat.broker.clock.tick() > self.tick + 1 {
                yield_now().await;
                self.begin_turn();
            }
            let goes_on = match self.next().await {
                Work::Tick(tick) => {
                    self.tick(tick);
                    true
                }
                Work::Claim(Claim::Range { batch, from, end, clear }) => {
                    self.range(batch, from, end, clear).await
                }
                Work::Claim(Claim::One { batch, at, which, home }) => {
                    self.one(batch, at, which, home).await
                }
                Work::Claim(Claim::Kept { seq, failures, kept }) => {
                    self.kept(seq, failures, kept).await
                }
                Work::Claim(Claim::Late { seq, failures, kept, why }) => {
                    let late = self.late(why);
                    self.fail(seq, failures, kept.unpinned(), late);
                    true
                }
                Work::Claim(Claim::LateFirst { batch, at, which }) => {
                    let blocked = Ended::Blocked(self.spec.timeout);
                    self.fail_first(&batch, at, which, blocked);
                    true
                }
                Work::Claim(Claim::Publish(number, events)) => {
                    self.publish_delayed(number, events);
                    true
                }
                Work::Claim(Claim::Nothing { .. } | Claim::Closed) => return true,
            };
            if !goes_on {
                return false;
            }
        }
    }

    pub(super) fn begin_turn(&mut self) {
        self.budget = BUDGET;
        self.tick = self.seat.broker.clock.tick();
    }

    async fn next(&mut self) -> Work {
        let mut slept = false;
        let mut may_tick = !std::mem::take(&mut self.ticked);
        // Nothing is in hand: the batch of the last event may go.
        self.cx.take(InHand::Nothing, 0, 0);
        self.crew.resting.set(self.crew.resting.get() + 1);
        let work = poll_fn(|task| {
            loop {
                let clock = &self.seat.broker.clock;
                let tick = self.ticks.iter().enumerate().min_by_key(|(_, due)| **due);
                if let Some((tick, due)) = tick
                    && may_tick
                    && *due <= clock.now()
                {
                    return Poll::Ready(Work::Tick(tick));
                }
                let subscription = &self.seat.subscription;
                let claim = subscription.claim(self.link.driver, &self.seat.fence, task.waker());
                self.seat.broker.read_for(subscription);
                let due = match claim {
                    Claim::Nothing { due } => due,
                    claim => return Poll::Ready(Work::Claim(claim)),
                };
                may_tick = true;
                self.link.give_back_leases();
                // Events may have been moved aside without a commit.
                self.seat.broker.has_news(&self.seat.subscription, false);
                self.seat.broker.progressed(&self.seat.subscription);
                let due = match (due, tick.map(|(_, due)| *due)) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
                slept = true;
                let Some(due) = due else { return Poll::Pending };
                self.link.arm(clock.instant(due));
                if self.link.poll_timer(task).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
        if slept {
            self.begin_turn();
        }
        self.crew.resting.set(self.crew.resting.get() - 1);
        self.seat.broker.clock.working();
        self.link.renew_leases();
        work
    }

    /// Handles the front batch between two places. False if its instance is gone.
    async fn range(&mut self, batch: Arc<Batch>, from: Cursor, end: Cursor, clear: bool) -> bool {
        let Some((slot, mut instance)) = self.crew.take(None) else { return true };
        let wanted = self.seat.subscription.clone();
        let clock = self.seat.broker.clock.clone();
        self.link.clear.set(clear);
        let now = clock.now();
        let timed = self.link.measured.is_due(clock.tick());
        let mut began = timed.then_some(now);
        self.link.measured.begin(now, timed);
        // A claim is never cut short because of those before it: commits are dear.
        let (tick, mut budget) = (self.tick, BUDGET);
        let mut at = from;
        let mut pressed = false;
        while let Some((here, which)) = at.seek(&batch, &wanted.wanted).filter(|(at, _)| *at < end)
        {
            if self.seat.fence.is_fenced() {
                return false; // others have it now
            }
            let run = &batch.events.runs()[here.run as usize];
            let mut to = if here.run == end.run { end.index.min(run.length) } else { run.length };
            let asked = !self.link.clear.get();
            if asked {
                if self.seat.fence.is_stopping() {
                    break;
                }
                match self.ask(&batch, here, which) {
                    Offer::Start => to = here.index + 1,
                    Offer::Behind => {
                        at = here.next();
                        self.link.clear.set(wanted.is_clear());
                        budget -= 1;
                        if budget == 0 {
                            break;
                        }
                        continue;
                    }
                    Offer::Full => break,
                }
            } else if began.is_some() {
                to = to.min(here.index + 1);
            }
            let stretch = Stretch {
                batch: &batch,
                run: here.run,
                from: here.index,
                to,
                asked,
                failures: 0,
                head: None,
                budget: &mut budget,
                tick,
            };
            let ran = self.stretch(which, &mut instance, stretch).await;
            self.sample(&mut began);
            if match &ran {
                Ran::Through => here.index < to,
                Ran::Ask(index) | Ran::Yield(index) | Ran::Ended(index, _) => here.index < *index,
            } {
                self.seat.fence.succeeds();
            }
            at = match ran {
                Ran::Through => Cursor { run: here.run, index: to },
                Ran::Ask(index) => Cursor { run: here.run, index },
                Ran::Yield(_) => break,
                Ran::Ended(index, ended) => {
                    let here = Cursor { run: here.run, index };
                    let breaks = ended.breaks_instance().map(|cause| (cause, self.telling()));
                    pressed = matches!(*ended, Ended::Overflowed(_));
                    let event = self.fail_first(&batch, here, which, *ended);
                    self.link.clear.set(wanted.is_clear());
                    if let Some((cause, telling)) = breaks {
                        match self.rebuild(instance, cause, event, telling).await {
                            Some(fresh) => instance = fresh,
                            None => return false,
                        }
                    }
                    budget -= 1;
                    // A failure may have taken its time as well.
                    let late = clock.tick() > self.tick + 1;
                    if pressed || late || budget == 0 {
                        break;
                    }
                    here.next()
                }
            };
        }
        self.link.commit(None);
        self.crew.put(slot, instance);
        let handled = if pressed { BUDGET } else { BUDGET - budget };
        self.budget = self.budget.saturating_sub(handled);
        if pressed {
            return true;
        }
        if let Some(until) = self.link.pause_for_readers() {
            self.seat.subscription.press(&self.seat.fence, until);
        }
        true
    }

    /// One event of a batch in every few is timed: the first.
    fn sample(&mut self, began: &mut Option<Moment>) {
        if let Some(began) = began.take() {
            let now = self.seat.broker.clock.now();
            self.cx.measure(now, now.since(began));
        }
    }

    /// With exceptions about, asks whether the event at `here` may start. `Behind` if it was moved
    /// behind its key's head, or parked.
    fn ask(&mut self, batch: &Arc<Batch>, here: Cursor, which: u16) -> Offer {
        let subscription = &self.seat.subscription;
        let key = match key_of(batch, here) {
            Ok(key) => key,
            Err(panic) => {
                self.link.commit(None);
                subscription.park_first(&self.seat.fence, batch, here, which, panic);
                return Offer::Behind;
            }
        };
        let fence = &self.seat.fence;
        let mut offer = subscription.may_start(fence, key.as_ref());
        if offer == Offer::Behind
            && let Some(key) = key
        {
            let kept = Kept::encoded(batch, here.run, here.index, which);
            let seq = batch.seq(&batch.events.runs()[here.run as usize], here.index);
            self.link.commit(None);
            offer = subscription.put_behind(fence, seq, key, kept, here);
        }
        offer
    }

    /// Runs handlers over a stretch of a run. A panic ends it; the context knows at which event.
    async fn stretch(&mut self, which: u16, instance: &mut P, stretch: Stretch<'_>) -> Ran {
        let Stretch { batch, run, from, failures, head, .. } = stretch;
        let head = head.unwrap_or(batch.events.runs()[run as usize].head);
        self.cx.take(InHand::Batch { batch: batch.clone(), run, head }, from, failures);
        let ran = {
            let handled = self.spec.handlers.stretch(which, instance, &mut self.cx, stretch);
            contained(pin!(handled)).await
        };
        ran.unwrap_or_else(|panic| Ran::Ended(self.cx.index, Box::new(Ended::Panicked(panic))))
    }
}
