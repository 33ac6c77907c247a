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
use crate::processor::link::{BUDGET, yield_now};
use crate::processor::outcome::Ended;
use crate::signal::{Hook, RestartCause, Signal};
use crate::supervise::ChildFailed;
use crate::supervise::child::Seat;

/// While it lives, the runtime does not rest: something was done and is to be told.
pub(super) struct Telling(Rc<Seat>);

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.subscription.told();
        self.0.broker.progressed(&self.0.subscription);
    }
}

impl<P: Processor, L: HandlerList<P>> Executor<P, L> {
    /// Builds every instance of this host. False if the runtime stops meanwhile.
    pub(super) async fn build_all(&mut self) -> bool {
        self.crew.building.set(true);
        for number in 0..self.seat.slots {
            let instance = match self.build().await {
                Ok(instance) => instance,
                Err((cause, error)) => match self.try_again(cause, error).await {
                    Some(instance) => instance,
                    None => return false,
                },
            };
            self.crew.add(instance);
            self.seat.subscription.instance_made();
            if self.seat.subscription.is_halted() {
                return false;
            }
            // Not after the last one: it is built when this driver can take it.
            if number as u32 % BUDGET == BUDGET - 1 && number + 1 < self.seat.slots {
                yield_now().await;
            }
        }
        self.crew.building.set(false);
        self.seat.built.tell();
        true
    }

    /// Makes an instance and starts it.
    async fn build(&mut self) -> Result<Instance<P>, (RestartCause, String)> {
        let made = contain(|| (self.spec.factory)());
        let made = made.map_err(|panic| (RestartCause::Factory, panic))?;
        let mut instance = Instance::new(made, self.crew.clone());
        let failed = self.hook(async |cx: &mut Context| instance.started(cx).await).await;
        match failed {
            None => Ok(instance),
            Some(failure) => Err((RestartCause::Started, failure.chain().join(": "))),
        }
    }

    /// Runs a hook as if it were a handler: what it publishes and keeps is committed if it
    /// succeeds.
    async fn hook(&mut self, hook: impl AsyncFnOnce(&mut Context) -> Outcome) -> Option<Failure> {
        self.cx.take(InHand::Nothing, 0, 0);
        let link = self.link.clone();
        link.measured.begin(self.seat.broker.clock.now(), false);
        let ended = {
            let hook = pin!(hook(&mut self.cx));
            contained(pin!(drive(hook, &link))).await
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
    /// runtime stops meanwhile, or the processor was removed.
    async fn try_again(
        &mut self,
        mut cause: RestartCause,
        mut error: String,
    ) -> Option<Instance<P>> {
        loop {
            let wait = self.charge().await?;
            let processor = &self.seat.subscription.name;
            let signals = &self.seat.broker.signals;
            signals.state(&Signal::StartFailed { processor, cause, wait, error: &error });
            if self.seat.subscription.is_closed() {
                if !self.seat.subscription.has_instances() {
                    self.seat.subscription.halt();
                    self.seat.broker.intake.wake_resters();
                }
                return None;
            }
            self.pause(wait).await?;
            match self.build().await {
                Ok(instance) => return Some(instance),
                Err(failed) => (cause, error) = failed,
            }
        }
    }

    /// Something is about to be done, and told later.
    pub(super) fn telling(&self) -> Telling {
        self.seat.subscription.about_to_tell();
        Telling(self.seat.clone())
    }

    /// Replaces an instance that broke, and tells. None if the runtime stops meanwhile.
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
        self.seat.subscription.instance_broke();
        drop(broken);
        if !std::mem::take(&mut self.succeeded) {
            let wait = self.charge().await?;
            if !wait.is_zero() {
                telling = None;
            }
            self.pause(wait).await?;
        }
        let instance = match self.build().await {
            Ok(instance) => instance,
            Err((cause, error)) => {
                telling = None;
                self.try_again(cause, error).await?
            }
        };
        let took = self.seat.broker.clock.now().since(began);
        let processor = &self.seat.subscription.name;
        self.seat.broker.signals.state(&Signal::Restarted { processor, cause, event, took });
        drop(telling);
        self.seat.subscription.instance_made();
        Some(instance)
    }

    /// Asks the supervisor how long to wait. None if the runtime stops.
    async fn charge(&self) -> Option<Duration> {
        let child = self.seat.subscription.name.index;
        self.crew.waits.set(true);
        self.seat.supervisor.send(ChildFailed { child }).await.ok()
    }

    async fn pause(&self, wait: Duration) -> Option<()> {
        if wait.is_zero() {
            return Some(());
        }
        // The other instances need a driver meanwhile.
        self.crew.waits.set(true);
        let subscription = &self.seat.subscription;
        tokio::time::timeout_at(deadline(wait), subscription.leaves()).await.ok();
        (!subscription.is_halted()).then_some(())
    }

    pub(super) fn say_hook_failed(&self, hook: Hook, failure: &Failure) {
        let (processor, error) = (&self.seat.subscription.name, failure.chain().join(": "));
        let signal = Signal::HookFailed { processor, hook, error: &error };
        self.seat.broker.signals.state(&signal);
    }

    /// Runs the `stopping` hook of every instance that is free.
    pub(super) async fn stop(&mut self) {
        while let Some((_, mut instance)) = self.crew.take(None) {
            let failed = self.hook(async |cx: &mut Context| instance.stopping(cx).await).await;
            if let Some(failure) = failed {
                self.say_hook_failed(Hook::Stopping, &failure);
            }
        }
    }
}
