//! The events that wait for a person: listed, handed back, given up.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::core::Running;
use super::handle::Runtime;
use crate::error::{Error, ErrorKind};
use crate::message::EventId;
use crate::queue::kept::Kept;
use crate::queue::report::ParkedEvent;

impl Runtime {
    /// All parked events, in their order.
    pub fn parked(&self) -> Vec<ParkedEvent> {
        let intake = &self.core.broker.intake;
        let name_of = |kept: &Kept| intake.lock().topics.name(kept.head.topic);
        let mut all: Vec<ParkedEvent> = Vec::new();
        for running in self.core.processors.read().iter() {
            all.extend(running.subscription.parked(name_of));
        }
        for running in self.core.orphans.read().iter() {
            all.extend(running.subscription.parked(name_of));
        }
        all.sort_by_key(|event| event.seq);
        all
    }

    /// How many events are parked, by reason: [`Failure::reason`](crate::Failure::reason), else the
    /// cause.
    pub fn parked_by_reason(&self) -> BTreeMap<&'static str, u64> {
        let mut all = BTreeMap::new();
        let processors = self.core.processors.read();
        for running in processors.iter().chain(self.core.orphans.read().iter()) {
            for (reason, count) in running.subscription.parked_by_reason() {
                *all.entry(reason).or_default() += count;
            }
        }
        all
    }

    /// Hands a parked event back to its processor, at its old place in the order of its key, with
    /// its attempts and hops counted anew.
    ///
    /// # Errors
    ///
    /// `NotFound` without such a processor; `Conflict` if the event is not parked (any more), or
    /// orphaned without a processor of that name in its place.
    pub fn resubmit(&self, processor: &str, event: EventId) -> Result<(), Error> {
        let orphans = self.core.orphans.read().clone();
        let mut orphans = orphans.iter().filter(|of| &*of.declaration.name == processor);
        match self.core.find(processor) {
            Some(running) if running.subscription.resubmit(event) => {
                self.core.broker.has_news(&running.subscription, false);
                Ok(())
            }
            // What a processor of that name left behind is for the one that took its place.
            Some(running) => {
                let left = orphans.find_map(|of| {
                    running.subscription.adopt(&of.subscription, event)?;
                    self.core.broker.has_news(&of.subscription, false);
                    self.core.broker.has_news(&running.subscription, false);
                    Some(())
                });
                left.ok_or_else(|| not_parked(processor, event))
            }
            None if orphans.any(|of| of.subscription.is_parked(event)) => Err(Error::new(
                ErrorKind::Conflict,
                format!("`{processor}` is gone: add a processor of that name, and resubmit then"),
            )),
            None => self.running(processor).map(drop),
        }
    }

    /// Gives a parked event up; those waiting behind it follow.
    ///
    /// # Errors
    ///
    /// As [`Runtime::resubmit`].
    pub fn discard(&self, processor: &str, event: EventId) -> Result<(), Error> {
        let orphans = self.core.orphans.read().clone();
        let named = |of: &&Arc<Running>| &*of.declaration.name == processor;
        let mut all = self.core.find(processor).into_iter().chain(orphans);
        let discarded = all.find(|of| named(&of) && of.subscription.discard(event));
        if let Some(of) = discarded {
            self.core.broker.has_news(&of.subscription, false);
            return Ok(());
        }
        let orphaned = self.core.orphans.read().iter().any(|of| named(&of));
        if orphaned {
            Err(not_parked(processor, event))
        } else {
            self.running(processor).and(Err(not_parked(processor, event)))
        }
    }
}

fn not_parked(processor: &str, event: EventId) -> Error {
    Error::new(
        crate::error::ErrorKind::Conflict,
        format!(
            "{event} is not parked at `{processor}` (any more): somebody was faster, or it is \
             another processor's"
        ),
    )
}
