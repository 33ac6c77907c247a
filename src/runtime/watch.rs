//! What a runtime shows of itself.

use std::time::Duration;

use super::core::Core;
use crate::metrics::Gauges;

impl Core {
    /// Sets what is not counted as it happens, but read.
    pub(crate) fn set_gauges(&self) {
        self.recorder.set_gauges(&self.gauges());
    }

    fn gauges(&self) -> Vec<Gauges> {
        let processors = self.processors.read().clone();
        let gauges = processors.iter().map(|running| {
            let subscription = &running.subscription;
            let (waiting, counts) = (subscription.waiting(), subscription.counts());
            Gauges {
                name: subscription.name.clone(),
                events: waiting.events,
                bytes: waiting.weight,
                oldest: subscription.oldest().unwrap_or(Duration::ZERO),
                retrying: counts.retrying + counts.ready + counts.in_hand,
                parked: counts.parked,
                behind: counts.behind_parked,
                stopped: subscription.is_stopped(),
            }
        });
        gauges.collect()
    }

    /// All metrics in Prometheus' text format, if this runtime has its own recorder.
    pub(crate) fn render(&self) -> Option<String> {
        self.set_gauges();
        #[cfg(feature = "prometheus")]
        return self.recorder.render();
        #[cfg(not(feature = "prometheus"))]
        None
    }

    /// What keeps the runtime from being ready, one line each.
    pub(crate) fn why_not_ready(&self) -> Vec<String> {
        let mut why = Vec::new();
        if self.broker.is_closed() {
            why.push("stopping: takes no events from outside".to_owned());
        }
        if !self.is_built() {
            why.push("starting: some instances have not started yet".to_owned());
        }
        for running in self.processors.read().iter() {
            let (name, held) = (&running.declaration.name, running.declaration.settings.most_held);
            if running.subscription.is_stopped() {
                why.push(format!(
                    "`{name}` takes nothing new: {held} events are held (retrying, parked, or \
                     behind a parked one); resubmit or discard parked events, or raise `held`"
                ));
            }
        }
        why
    }
}

#[cfg(feature = "console")]
impl crate::console::Watched for Core {
    fn metrics(&self) -> Option<String> {
        self.render()
    }

    fn not_ready(&self) -> Vec<String> {
        self.why_not_ready()
    }
}
