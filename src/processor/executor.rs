//! A driver: claims events, runs their handlers in place, settles what became of them, and
//! rebuilds the instance that broke.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::Processor;
use super::context::{Context, InHand};
use super::dispatch::{HandlerList, Ran, Stretch};
use super::host::{Crew, drop_instance, ids_of_thread};
use super::link::{BUDGET, Link, yield_now};
use super::outcome::{Decision, Ended, decide};
use super::spec::ProcessorSpec;
use crate::clock::{Moment, Timestamp};
use crate::error::{Failure, Outcome};
use crate::guard::{contain, contained};
use crate::message::{EventId, Seq};
use crate::queue::batch::{Batch, Events};
use crate::queue::kept::{Body, Kept};
use crate::queue::report::Report;
use crate::queue::settlement::{Commit, Settle};
use crate::queue::state::{Offer, Verdict};
use crate::queue::{Claim, Cursor, Driver, key_of};
use crate::signal::{Cause, RestartCause, Sample, Signal};
use crate::supervise::ChildFailed;
use crate::supervise::child::Seat;

/// How long a delayed publication waits for room before it asks again.
const ASK_AGAIN: Duration = Duration::from_millis(10);

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

    /// Settles the first failure of an event of the front batch.
    fn fail_first(
        &mut self,
        batch: &Arc<Batch>,
        here: Cursor,
        which: u16,
        ended: Ended,
    ) -> EventId {
        let mut kept = Kept::encoded(batch, here.run, here.index, which);
        kept.key = key_of(batch, here).unwrap_or_default();
        let seq = batch.seq(&batch.events.runs()[here.run as usize], here.index);
        self.link.reached(here.next());
        self.fail(seq, 0, kept, ended)
    }

    /// Settles a failure: the event is delivered again later, or parked.
    fn fail(&mut self, seq: Seq, failures: u32, mut kept: Kept, ended: Ended) -> EventId {
        self.cx.forget();
        let (cause, failure) = ended.into_failure();
        let failures = failures.saturating_add(1);
        let event = kept.id();
        let path = if cause == Cause::HopLimit || cause == Cause::Overflow {
            let inner = self.seat.broker.intake.lock();
            let topics = kept.head.path.then(kept.head.topic);
            topics.topics().map(|topic| inner.topics.name(topic)).collect()
        } else {
            Vec::new()
        };
        let report = Report::next(kept.report.as_deref(), cause, failure, path, Timestamp::now());
        let deliveries = report.deliveries;
        kept.report = Some(Arc::new(report));
        let decision = decide(&self.spec.retry, cause, failures, fastrand::f64());
        let verdict = match decision {
            Decision::RetryAfter(wait) => Verdict::Retry(self.seat.broker.clock.now().after(wait)),
            Decision::Park => Verdict::Park,
        };
        let pressed_until = match verdict {
            Verdict::Retry(due) if cause == Cause::Overflow => self.link.under_pressure(due),
            _ => None,
        };
        let settle = Settle::Failed { seq, failures, verdict, kept };
        self.link.commit_under_pressure(Some(settle), pressed_until);
        let processor = &self.seat.subscription.name;
        self.seat.broker.signals.state(&match decision {
            Decision::RetryAfter(wait) => {
                Signal::Retried { processor, event, attempt: deliveries, cause, wait }
            }
            Decision::Park => Signal::Parked { processor, event, attempts: deliveries, cause },
        });
        event
    }

    fn publish_delayed(&mut self, events: Events) {
        if let Err(events) = self.seat.broker.flush_later(events) {
            let again = self.seat.broker.clock.now().after(ASK_AGAIN);
            let delayed = vec![(again, events)];
            self.seat.subscription.commit(Commit { delayed, ..Commit::default() });
        }
    }

    /// Publishes what is due by the clock.
    fn tick(&mut self, tick: usize) {
        let (period, make) = &self.spec.ticks[tick];
        let now = self.seat.broker.clock.now();
        self.ticks[tick] = self.ticks[tick].after(*period).max(now);
        self.cx.take(InHand::Nothing, 0, 0);
        let cx = &mut self.cx;
        let ended = match contain(|| make(cx)) {
            Ok(()) => self.cx.refuses(),
            Err(panic) => Some(Box::new(Ended::Panicked(panic))),
        };
        self.cx.forget();
        self.link.commit(None);
        if let Some((cause, failure)) = ended.map(|ended| ended.into_failure()) {
            let processor = self.cx.processor();
            let error = failure.chain().join(": ");
            tracing::error!(processor, cause = cause.as_str(), error, "a tick was not published");
        }
    }

    /// Builds every instance of this host. False if the runtime stops meanwhile.
    async fn build_all(&mut self) -> bool {
        for number in 0..self.seat.slots {
            let instance = match self.build().await {
                Ok(instance) => instance,
                Err((cause, error)) => match self.try_again(cause, error).await {
                    Some(instance) => instance,
                    None => return false,
                },
            };
            self.crew.add(instance);
            if number as u32 % BUDGET == BUDGET - 1 {
                yield_now().await;
            }
        }
        self.crew.built.set(true);
        (self.seat.built)();
        true
    }

    /// Makes an instance and starts it.
    async fn build(&mut self) -> Result<P, (RestartCause, String)> {
        let made = contain(|| (self.spec.factory)());
        let mut instance = made.map_err(|panic| (RestartCause::Factory, panic))?;
        let failed = self.hook(async |cx: &mut Context| instance.started(cx).await).await;
        match failed {
            None => Ok(instance),
            Some(failure) => {
                drop_instance(instance, &self.seat.broker.signals);
                Err((RestartCause::Started, failure.chain().join(": ")))
            }
        }
    }

    /// Runs a hook as if it were a handler: what it publishes and keeps is committed if it
    /// succeeds.
    async fn hook(&mut self, hook: impl AsyncFnOnce(&mut Context) -> Outcome) -> Option<Failure> {
        self.cx.take(InHand::Nothing, 0, 0);
        let link = self.link.clone();
        let ended = {
            let mut pending = false;
            let mut hook = pin!(hook(&mut self.cx));
            contained(pin!(poll_fn(|task| match hook.as_mut().poll(task) {
                Poll::Ready(outcome) => {
                    Poll::Ready(outcome.err().map(|failure| Box::new(Ended::Failed(failure))))
                }
                Poll::Pending => {
                    link.wait(&mut pending, task).map(|ended| Some(Box::new(ended)))
                }
            })))
            .await
        };
        let ended = match ended {
            Ok(ended) => ended.or_else(|| self.cx.refuses()),
            Err(panic) => Some(Box::new(Ended::Panicked(panic))),
        };
        self.cx.forget();
        self.link.commit_if_staged();
        ended.map(|ended| ended.into_failure()).map(|(_, failure)| failure)
    }

    /// Tries to build an instance until it works, as patiently as the supervisor says. None if the
    /// runtime stops meanwhile.
    async fn try_again(&mut self, mut cause: RestartCause, mut error: String) -> Option<P> {
        loop {
            let wait = self.charge().await?;
            let processor = &self.seat.subscription.name;
            let signals = &self.seat.broker.signals;
            signals.state(&Signal::StartFailed { processor, cause, wait, error: &error });
            self.pause(wait).await?;
            match self.build().await {
                Ok(instance) => return Some(instance),
                Err(failed) => (cause, error) = failed,
            }
        }
    }

    /// Replaces an instance that broke. None if the runtime stops meanwhile.
    async fn rebuild(&mut self, broken: P, cause: RestartCause, event: EventId) -> Option<P> {
        let began = self.seat.broker.clock.now();
        drop_instance(broken, &self.seat.broker.signals);
        if !std::mem::take(&mut self.succeeded) {
            let wait = self.charge().await?;
            self.pause(wait).await?;
        }
        let instance = match self.build().await {
            Ok(instance) => instance,
            Err((cause, error)) => self.try_again(cause, error).await?,
        };
        let took = self.seat.broker.clock.now().since(began);
        let processor = &self.seat.subscription.name;
        self.seat.broker.signals.state(&Signal::Restarted { processor, cause, event, took });
        Some(instance)
    }

    /// Asks the supervisor how long to wait. None if the runtime stops.
    async fn charge(&self) -> Option<Duration> {
        let child = self.seat.subscription.name.index;
        self.seat.supervisor.send(ChildFailed { child }).await.ok()
    }

    async fn pause(&self, wait: Duration) -> Option<()> {
        if wait.is_zero() {
            return Some(());
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => Some(()),
            () = self.seat.subscription.halted() => None,
        }
    }

    /// Runs the `stopping` hook of every instance that is free.
    async fn stop(&mut self) {
        while let Some((_, mut instance)) = self.crew.take(None) {
            let failed = self.hook(async |cx: &mut Context| instance.stopping(cx).await).await;
            if let Some(failure) = failed {
                let (processor, error) = (self.cx.processor(), failure.chain().join(": "));
                tracing::error!(processor, error, "`stopping` failed");
            }
            drop_instance(instance, &self.seat.broker.signals);
        }
    }
}

/// What [`Executor::ask`] found.
enum Asked {
    Start,
    /// It was moved behind its key's head, or parked.
    Aside,
    Full,
}
