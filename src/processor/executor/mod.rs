//! A driver: claims events, runs their handlers in place, settles what became of them, and
//! rebuilds the instance that broke.

mod failure;
mod instance;
mod timed;

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use crate::clock::Moment;
use crate::guard::contained;
use crate::message::Seq;
use crate::processor::Processor;
use crate::processor::context::{Context, InHand};
use crate::processor::dispatch::{HandlerList, Ran, Stretch};
use crate::processor::host::{Crew, ids_of_thread};
use crate::processor::link::{BUDGET, Link, yield_now};
use crate::processor::outcome::Ended;
use crate::processor::spec::ProcessorSpec;
use crate::queue::batch::Batch;
use crate::queue::kept::{Body, Kept};
use crate::queue::settlement::Settle;
use crate::queue::state::Offer;
use crate::queue::{Claim, Cursor, Driver, key_of};
use crate::signal::Sample;
use crate::supervise::child::Seat;

/// One driver of a host.
pub(super) struct Executor<P: Processor, L> {
    spec: Arc<ProcessorSpec<P, L>>,
    seat: Rc<Seat>,
    crew: Rc<Crew<P>>,
    link: Rc<Link>,
    cx: Context,
    me: Driver,
    /// Some event succeeded since this driver last rebuilt an instance.
    succeeded: bool,
    ticks: Vec<Moment>,
}

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
        let link = Link::new(
            seat.broker.clone(),
            seat.subscription.clone(),
            seat.hop_limit,
            spec.timeout,
            ids,
            crew.waits.clone(),
        );
        let mut ticks = Vec::new();
        if seat.host == 0 && number == 0 {
            let now = seat.broker.clock.now();
            ticks = spec.ticks.iter().map(|(period, _)| now.after(*period)).collect();
        }
        let me = Driver { host: seat.host, number };
        let cx = Context::new(link.clone());
        Self { spec, seat, crew, link, cx, me, succeeded: false, ticks }
    }

    /// Runs until the subscription has nothing more to give.
    pub(super) async fn run(mut self) {
        if self.me.number == 0 && !self.build_all().await {
            return;
        }
        loop {
            match self.next().await {
                Work::Tick(tick) => self.tick(tick),
                Work::Claim(Claim::Range { batch, from, end, clear }) => {
                    if !self.range(batch, from, end, clear).await {
                        break;
                    }
                }
                Work::Claim(Claim::One { batch, at, which, home, .. }) => {
                    if !self.one(batch, at, which, home).await {
                        break;
                    }
                }
                Work::Claim(Claim::Kept { seq, failures, kept }) => {
                    if !self.kept(seq, failures, kept).await {
                        break;
                    }
                }
                Work::Claim(Claim::Publish(events)) => self.publish_delayed(events),
                Work::Claim(Claim::Nothing { .. }) => {}
                Work::Claim(Claim::Closed) => break,
            }
        }
        self.stop().await;
    }

    async fn next(&mut self) -> Work {
        // Nothing is in hand: the batch of the last event may go.
        self.cx.take(InHand::Nothing, 0, 0);
        self.crew.resting.set(self.crew.resting.get() + 1);
        let work = poll_fn(|task| {
            loop {
                let clock = &self.seat.broker.clock;
                let tick = self.ticks.iter().enumerate().min_by_key(|(_, due)| **due);
                if let Some((tick, due)) = tick
                    && *due <= clock.now()
                {
                    return Poll::Ready(Work::Tick(tick));
                }
                let due = match self.seat.subscription.claim(self.me, task.waker()) {
                    Claim::Nothing { due } => due,
                    claim => return Poll::Ready(Work::Claim(claim)),
                };
                self.link.give_back_leases();
                // Events may have been moved aside without a commit.
                self.seat.broker.progressed(&self.seat.subscription);
                let due = match (due, tick.map(|(_, due)| *due)) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
                let Some(due) = due else { return Poll::Pending };
                self.link.arm(clock.instant(due));
                if self.link.poll_timer(task).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
        self.crew.resting.set(self.crew.resting.get() - 1);
        self.seat.broker.clock.working();
        work
    }

    /// Handles the front batch between two places. False if the runtime stops.
    async fn range(&mut self, batch: Arc<Batch>, from: Cursor, end: Cursor, clear: bool) -> bool {
        let Some((slot, mut instance)) = self.crew.take(None) else { return true };
        let wanted = self.seat.subscription.clone();
        let clock = self.seat.broker.clock.clone();
        self.link.clear.set(clear);
        let mut began = Some(clock.now());
        let tick = clock.tick();
        let mut budget = BUDGET;
        let mut at = from;
        let mut pressed = false;
        while let Some((here, which)) = at.seek(&batch, &wanted.wanted).filter(|(at, _)| *at < end)
        {
            let run = &batch.events.runs()[here.run as usize];
            let mut to = if here.run == end.run { end.index.min(run.length) } else { run.length };
            let asked = !self.link.clear.get();
            if asked {
                match self.ask(&batch, here, which) {
                    Asked::Start => to = here.index + 1,
                    Asked::Aside => {
                        at = here.next();
                        self.link.clear.set(wanted.is_clear());
                        continue;
                    }
                    Asked::Full => break,
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
                budget: &mut budget,
                tick,
            };
            let ran = self.stretch(which, &mut instance, stretch).await;
            self.sample(&batch, &mut began);
            at = match ran {
                Ran::Through => Cursor { run: here.run, index: to },
                Ran::Ask(index) => Cursor { run: here.run, index },
                Ran::Yield(index) => {
                    self.succeeded = true;
                    self.link.commit(None);
                    self.crew.put(slot, instance);
                    if let Some(until) = self.link.pause_for_readers() {
                        self.seat.subscription.press(until);
                    }
                    let more = Cursor { run: here.run, index };
                    if more < end {
                        yield_now().await;
                    }
                    return true;
                }
                Ran::Ended(index, ended) => {
                    self.succeeded |= index > here.index || here > from;
                    let here = Cursor { run: here.run, index };
                    let breaks = ended.breaks_instance();
                    pressed = matches!(*ended, Ended::Overflowed(_));
                    let event = self.fail_first(&batch, here, which, *ended);
                    self.link.clear.set(wanted.is_clear());
                    if let Some(cause) = breaks {
                        match self.rebuild(instance, cause, event).await {
                            Some(fresh) => instance = fresh,
                            None => return false,
                        }
                    }
                    if pressed {
                        break;
                    }
                    here.next()
                }
            };
        }
        self.succeeded |= at > from;
        self.link.commit(None);
        self.crew.put(slot, instance);
        if pressed {
            yield_now().await;
        } else if let Some(until) = self.link.pause_for_readers() {
            self.seat.subscription.press(until);
        }
        true
    }

    /// One event of a batch in every few is timed: the first.
    fn sample(&mut self, batch: &Batch, began: &mut Option<Moment>) {
        if let Some(began) = began.take() {
            let now = self.seat.broker.clock.now();
            self.link.sampled(Sample { waited: began.since(batch.at), handled: now.since(began) });
        }
    }

    /// With exceptions about, asks whether the event at `here` may start.
    fn ask(&mut self, batch: &Arc<Batch>, here: Cursor, which: u16) -> Asked {
        let subscription = &self.seat.subscription;
        let key = match key_of(batch, here) {
            Ok(key) => key,
            Err(panic) => {
                self.link.commit(None);
                subscription.park_keyless(batch, here, which, panic);
                return Asked::Aside;
            }
        };
        match (subscription.may_start(key.as_ref()), key) {
            (Offer::Full, _) => Asked::Full,
            (Offer::Behind, Some(key)) => {
                let kept = Kept::encoded(batch, here.run, here.index, which);
                let seq = batch.seq(&batch.events.runs()[here.run as usize], here.index);
                self.link.commit(None);
                if subscription.put_behind(seq, key, kept, here) {
                    Asked::Aside
                } else {
                    Asked::Start
                }
            }
            _ => Asked::Start,
        }
    }

    /// Handles one event that was handed out by itself. False if the runtime stops.
    async fn one(&mut self, batch: Arc<Batch>, at: Cursor, which: u16, home: Option<u64>) -> bool {
        let Some((slot, mut instance)) = self.crew.take(home) else { return true };
        let run = &batch.events.runs()[at.run as usize];
        let seq = batch.seq(run, at.index);
        let mut began = Some(self.seat.broker.clock.now());
        let mut budget = BUDGET;
        let stretch = Stretch {
            batch: &batch,
            run: at.run,
            from: at.index,
            to: at.index + 1,
            asked: true,
            failures: 0,
            budget: &mut budget,
            tick: self.seat.broker.clock.tick(),
        };
        let ran = self.stretch(which, &mut instance, stretch).await;
        // What is handed out by itself is settled by name, not by how far the batch was handled.
        self.link.forget_reached();
        self.sample(&batch, &mut began);
        if let Ran::Ended(_, ended) = ran {
            let breaks = ended.breaks_instance();
            let kept = Kept::encoded(&batch, at.run, at.index, which);
            let event = self.fail(seq, 0, kept, *ended);
            if let Some(cause) = breaks {
                match self.rebuild(instance, cause, event).await {
                    Some(fresh) => instance = fresh,
                    None => return false,
                }
            }
        } else {
            self.succeeded = true;
            self.link.count_handled();
            self.link.commit(Some(Settle::Done { seq, key: None }));
        }
        self.crew.put(slot, instance);
        true
    }

    /// Delivers a held event. False if the runtime stops.
    async fn kept(&mut self, seq: Seq, failures: u32, kept: Kept) -> bool {
        let Some((slot, mut instance)) = self.crew.take(None) else { return true };
        let ended = match &kept.body {
            Body::Bytes(bytes) => {
                self.cx.take(InHand::Kept { kept: kept.clone(), seq }, 0, failures);
                let handled =
                    self.spec.handlers.kept(kept.which, &mut instance, &mut self.cx, bytes);
                match contained(pin!(handled)).await {
                    Ok(ended) => ended,
                    Err(panic) => Some(Box::new(Ended::Panicked(panic))),
                }
            }
            Body::Pinned { batch, run, index } => {
                let mut budget = BUDGET;
                let stretch = Stretch {
                    batch,
                    run: *run,
                    from: *index,
                    to: *index + 1,
                    asked: true,
                    failures,
                    budget: &mut budget,
                    tick: self.seat.broker.clock.tick(),
                };
                let ran = self.stretch(kept.which, &mut instance, stretch).await;
                self.link.forget_reached();
                match ran {
                    Ran::Ended(_, ended) => Some(ended),
                    _ => None,
                }
            }
        };
        match ended {
            None => {
                self.succeeded = true;
                self.link.count_handled();
                self.link.commit(Some(Settle::Done { seq, key: kept.key }));
            }
            Some(ended) => {
                let breaks = ended.breaks_instance();
                let event = self.fail(seq, failures, kept, *ended);
                if let Some(cause) = breaks {
                    match self.rebuild(instance, cause, event).await {
                        Some(fresh) => instance = fresh,
                        None => return false,
                    }
                }
            }
        }
        self.crew.put(slot, instance);
        true
    }

    /// Runs handlers over a stretch of a run. A panic ends it; the context knows at which event.
    async fn stretch(&mut self, which: u16, instance: &mut P, stretch: Stretch<'_>) -> Ran {
        let Stretch { batch, run, from, failures, .. } = stretch;
        let head = batch.events.runs()[run as usize].head;
        self.cx.take(InHand::Batch { batch: batch.clone(), run, head }, from, failures);
        let ran = {
            let handled = self.spec.handlers.stretch(which, instance, &mut self.cx, stretch);
            contained(pin!(handled)).await
        };
        ran.unwrap_or_else(|panic| Ran::Ended(self.cx.index, Box::new(Ended::Panicked(panic))))
    }
}

/// What [`Executor::ask`] found.
enum Asked {
    Start,
    /// It was moved behind its key's head, or parked.
    Aside,
    Full,
}
