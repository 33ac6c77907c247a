//! Instances: built, started, rebuilt when they broke, stopped. All of it is user code, contained.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use super::Executor;
use crate::clock::deadline;
use crate::error::{Failure, Outcome};
use crate::guard::{contain, contained};
use crate::message::EventId;
use crate::processor::Processor;
use crate::processor::context::{Context, InHand};
use crate::processor::dispatch::{HandlerList, drive};
use crate::processor::host::Instance;
use crate::processor::link::BUDGET;
use crate::processor::link::turns::yield_now;
use crate::processor::outcome::Ended;
use crate::processor::start::Start;
use crate::signal::{Hook, RestartCause, Signal};
use crate::supervise::child::{Broke, Says, Seat, decide};
use crate::supervise::policy::Verdict;
use crate::supervise::{Count, OnExit, Reason};

/// While it lives, the runtime does not rest: something was done and is to be told.
pub(super) struct Telling(Rc<Seat>);

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.subscription.told(&self.0.fence);
        self.0.broker.progressed(&self.0.subscription);
    }
}

/// Why there is no instance.
enum Unbuilt {
    Failed(RestartCause, String),
    /// It has nothing to do.
    Ignored,
    /// The host is to stop.
    Stopped,
}

/// How a hook ended.
enum Hooked {
    Done,
    Failed(Failure),
    Stopped,
}

impl<P: Processor, L: HandlerList<P>> Executor<P, L> {
    /// Builds every instance of this host. False if it is to end instead.
    pub(super) async fn build_all(&mut self) -> bool {
        self.crew.building.set(true);
        for number in 0..self.seat.slots {
            let Some(instance) = self.build_until_it_works().await else { return false };
            self.crew.add(instance);
            self.instance_made();
            if self.seat.fence.is_stopping() {
                return false;
            }
            // Not after the last one: it is built when this driver can take it.
            let late = self.seat.broker.clock.tick() > self.tick + 1;
            let enough = late || number as u32 % BUDGET == BUDGET - 1;
            if enough && number + 1 < self.seat.slots {
                yield_now().await;
                self.begin_turn();
            }
        }
        self.crew.building.set(false);
        self.seat.reports.say(Says::Built);
        true
    }

    fn instance_made(&self) {
        self.seat.fence.instance_made();
        self.seat.subscription.stalls(&self.seat.fence, false);
    }

    /// Makes an instance and starts it.
    async fn build(&mut self) -> Result<Instance<P>, Unbuilt> {
        if self.seat.fence.is_fenced() {
            return Err(Unbuilt::Stopped);
        }
        self.link.pulse.release();
        let made = contain(|| (self.spec.factory)(&*self.seat.argument));
        let made = match made {
            Ok(Start::Run(made)) => made,
            Ok(Start::Ignore) => return Err(Unbuilt::Ignored),
            Err(panic) => return Err(Unbuilt::Failed(RestartCause::Factory, panic)),
        };
        let mut instance = Instance::new(made, self.crew.clone());
        let started = self.hook(true, async |cx: &mut Context| instance.started(cx).await).await;
        match started {
            Hooked::Done if std::mem::take(&mut self.cx.ignores) => Err(Unbuilt::Ignored),
            Hooked::Done => Ok(instance),
            Hooked::Failed(failure) => {
                Err(Unbuilt::Failed(RestartCause::Started, failure.chain().join(": ")))
            }
            Hooked::Stopped => Err(Unbuilt::Stopped),
        }
    }

    /// Runs a hook as if it were a handler: what it publishes and keeps is committed if it
    /// succeeds. One that starts an instance is dropped when the host is to stop.
    async fn hook(
        &mut self,
        starts: bool,
        hook: impl AsyncFnOnce(&mut Context) -> Outcome,
    ) -> Hooked {
        if self.seat.fence.is_fenced() {
            return Hooked::Stopped; // others run their own
        }
        self.cx.take(InHand::Nothing, 0, 0);
        self.cx.ignores = false; // said where it means nothing
        self.link.pulse.release();
        let link = self.link.clone();
        link.measured.begin(self.seat.broker.clock.now(), false);
        let ended = {
            let hook = pin!(hook(&mut self.cx));
            let run = pin!(drive(hook, &link, None));
            let stops = async {
                match starts {
                    true => link.fence.stops().await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                ended = contained(run) => Some(ended),
                () = stops => None,
            }
        };
        let ended = match ended {
            Some(Ok(ended)) => Some(ended.or_else(|| self.cx.refuses())),
            Some(Err(panic)) => Some(Some(Box::new(Ended::Panicked(panic)))),
            None => None,
        };
        self.cx.forget();
        self.link.commit_if_staged();
        match ended {
            None => Hooked::Stopped,
            Some(None) => Hooked::Done,
            Some(Some(ended)) => Hooked::Failed(ended.into_failure().1),
        }
    }

    /// Builds an instance, as often and as patiently as the supervisor says. None if the host is to
    /// end.
    async fn build_until_it_works(&mut self) -> Option<Instance<P>> {
        loop {
            let (cause, error) = match self.build().await {
                Ok(instance) => return Some(instance),
                Err(Unbuilt::Failed(cause, error)) => (cause, error),
                Err(Unbuilt::Ignored) => {
                    self.seat.reports.say(Says::Ignored);
                    return None;
                }
                Err(Unbuilt::Stopped) => return None,
            };
            self.failed_to_start(cause, &error).await?;
        }
    }

    /// Waits until it may try again. None if the host is to end, or has nobody left to do anything.
    async fn failed_to_start(&mut self, cause: RestartCause, error: &str) -> Option<()> {
        if self.seat.fence.is_fenced() {
            return None; // others decide
        }
        let subscription = self.seat.subscription.clone();
        let removed = subscription.is_closed();
        let wait = if removed { None } else { self.broke(cause, error).await };
        let processor = &subscription.name;
        self.seat.broker.signals.state(&Signal::StartFailed { processor, cause, wait, error });
        if removed && !self.seat.fence.has_instances() {
            subscription.halt();
            self.seat.broker.intake.wake_resters();
        }
        self.pause(wait?).await
    }

    /// Something is about to be done, and told later.
    pub(super) fn telling(&self) -> Telling {
        self.seat.subscription.about_to_tell(&self.seat.fence);
        Telling(self.seat.clone())
    }

    /// Replaces an instance that broke, and tells. None if the host is to end.
    pub(super) async fn rebuild(
        &mut self,
        broken: Instance<P>,
        cause: RestartCause,
        event: EventId,
        telling: Telling,
    ) -> Option<Instance<P>> {
        // If it has to wait, nobody else has to wait for it.
        let mut telling = Some(telling);
        let began = self.seat.broker.clock.now();
        self.seat.fence.instance_broke();
        self.link.pulse.release();
        drop(broken);
        if self.seat.fence.is_fenced() {
            return None;
        }
        let succeeded = self.seat.fence.take_success();
        let (error, again) = std::mem::take(&mut self.broken_by);
        // An event that breaks one instance after the other is charged itself.
        let mut charged = !(succeeded || again) || self.seat.reports.count == Count::Every;
        if charged {
            let wait = self.broke(cause, &error).await?;
            if !wait.is_zero() {
                telling = None;
            }
            self.pause(wait).await?;
        }
        let instance = match self.build().await {
            Ok(instance) => instance,
            Err(Unbuilt::Failed(cause, error)) => {
                (telling, charged) = (None, true);
                self.failed_to_start(cause, &error).await?;
                self.build_until_it_works().await?
            }
            Err(Unbuilt::Ignored) => {
                self.seat.reports.say(Says::Ignored);
                return None;
            }
            Err(Unbuilt::Stopped) => return None,
        };
        let took = self.seat.broker.clock.now().since(began);
        let processor = &self.seat.subscription.name;
        let event = Some(event);
        self.seat.broker.signals.state(&Signal::Restarted { processor, cause, event, took });
        drop(telling);
        self.instance_made();
        if charged {
            self.seat.reports.say(Says::Built);
        }
        Some(instance)
    }

    /// Tells the supervisor of a failure that the child is charged with, and asks what to do: how
    /// long to wait before it is built again, or none if the host is to end.
    async fn broke(&self, cause: RestartCause, error: &str) -> Option<Duration> {
        let reports = &self.seat.reports;
        let error = match cause {
            RestartCause::Factory => format!("its factory panicked: {error}"),
            RestartCause::Started => format!("it could not start: {error}"),
            _ => error.to_owned(),
        };
        let advice = reports.decider.as_ref().map_or(OnExit::Restart, |decider| {
            let (name, reason) = (self.seat.subscription.name.as_str(), error.clone());
            let signals = &self.seat.broker.signals;
            let panicked = |during| signals.contained(during);
            decide(decider, name, &Reason::Failed(reason), panicked)
        });
        let whole = !self.seat.fence.has_instances();
        self.crew.waits.set(true);
        let broke = Broke { from: reports.id, error, whole, advice };
        match reports.ask.send(broke).await {
            Ok(Verdict::Rebuild(wait)) => Some(wait),
            Ok(Verdict::End) | Err(_) => {
                self.seat.subscription.stop(&self.seat.fence);
                None
            }
        }
    }

    /// None if the host is to end meanwhile. If its processor is removed, it waits no longer.
    async fn pause(&self, wait: Duration) -> Option<()> {
        let (fence, subscription) = (&self.seat.fence, &self.seat.subscription);
        if !wait.is_zero() {
            // The other instances need a driver meanwhile.
            self.crew.waits.set(true);
            subscription.stalls(fence, true);
            self.seat.broker.intake.wake_resters();
            tokio::select! {
                () = fence.stops() => {}
                _ = tokio::time::timeout_at(deadline(wait), subscription.leaves()) => {}
            }
            subscription.stalls(fence, false);
        }
        (!fence.is_stopping() && !subscription.is_halted()).then_some(())
    }

    pub(super) fn say_hook_failed(&self, hook: Hook, failure: &Failure) {
        let (processor, error) = (&self.seat.subscription.name, failure.chain().join(": "));
        let signal = Signal::HookFailed { processor, hook, error: &error };
        self.seat.broker.signals.state(&signal);
    }

    /// Runs the `stopping` hook of every instance that is free.
    pub(super) async fn stop(&mut self) {
        while let Some((_, mut instance)) = self.crew.take(None) {
            let stopping = async |cx: &mut Context| instance.stopping(cx).await;
            if let Hooked::Failed(failure) = self.hook(false, stopping).await {
                self.say_hook_failed(Hook::Stopping, &failure);
            }
        }
    }
}
