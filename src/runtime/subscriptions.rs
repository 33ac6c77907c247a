//! The subscriptions that a log on disk knows: those of processors that are there, and those of processors
//! that are not there any more.

use std::sync::Arc;

use super::core::Core;
use super::handle::Runtime;
use crate::error::{Error, ErrorKind};
use crate::message::Seq;
use crate::metrics::LogGauges;

/// A subscription that the log knows; from [`Runtime::subscriptions`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionReport {
    /// Its name: the processor's.
    pub name: Arc<str>,
    /// There is such a processor. If not, the log keeps everything for it until it comes back, or is
    /// [forgotten](Runtime::forget_subscription).
    pub declared: bool,
    /// The first event that it still needs; that which comes next if it is through with all that it wants.
    pub needs: Seq,
    /// How many events of all channels there are from that one on.
    pub behind: u64,
    /// How many bytes of the log are kept for it, and perhaps for others.
    pub holds: u64,
}

impl Core {
    pub(super) fn subscription_reports(&self) -> Vec<SubscriptionReport> {
        let writing = self.writing.lock();
        let Some(writing) = &*writing else { return Vec::new() };
        let processors = self.processors.read();
        let reports = writing.needs.all().into_iter().map(|(name, mut needs, mut behind)| {
            let running = processors.find(&name);
            let declared = running.is_some();
            // What has come since its last one was not for it.
            if running.is_some_and(|of| of.subscription.needs_nothing()) {
                (needs, behind) = (Seq(needs.0 + behind), 0);
            }
            let holds = if behind == 0 { 0 } else { writing.segments.bytes_from(needs.0) };
            SubscriptionReport { name: Arc::from(name), declared, needs, behind, holds }
        });
        reports.collect()
    }

    /// What is shown of the log, if there is one.
    pub(super) fn log_gauges(&self) -> Option<LogGauges> {
        let subscriptions = self.subscription_reports().into_iter();
        let subscriptions =
            subscriptions.map(|of| (of.name.to_string(), of.behind, of.holds)).collect();
        let writing = self.writing.lock();
        let writing = writing.as_ref()?;
        Some(LogGauges {
            disk: writing.used(),
            segments: writing.segments.count(),
            short: self.broker.is_short(),
            recovery: writing.recovery,
            writing: self.broker.journal.as_ref()?.writing(),
            subscriptions,
        })
    }
}

impl Runtime {
    /// The subscriptions that the log on disk knows, also those of processors that are not declared any
    /// more; none without a log.
    pub fn subscriptions(&self) -> Vec<SubscriptionReport> {
        self.core.subscription_reports()
    }

    /// Forgets the subscription of a processor that is not there any more, with all that is kept for it:
    /// what it has not handled, what it had parked, what it keeps. To remove one that is there, use
    /// [`Runtime::remove`].
    ///
    /// # Errors
    ///
    /// `NotFound` if the log does not know it, `Conflict` if its processor is there.
    pub fn forget_subscription(&self, name: &str) -> Result<(), Error> {
        let there = self.core.all().iter().any(|of| *of.declaration.name == *name);
        if there {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("there is a processor `{name}`: remove that with `remove`"),
            ));
        }
        let known = self.core.subscriptions.lock().as_mut().and_then(|of| of.forget(name));
        let Some(number) = known else {
            let text =
                format!("the log knows no subscription `{name}` of a processor that is gone");
            return Err(Error::not_found(text));
        };
        self.core.requests.mediators.remove(number);
        if let Some(journal) = &self.core.broker.journal {
            journal.forget(number);
        }
        Ok(())
    }
}
