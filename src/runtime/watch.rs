//! What a runtime shows of itself.

use std::sync::Arc;
use std::time::Duration;

use super::core::{Core, Running};
use crate::metrics::Gauges;
use crate::signal::During;

/// How one processor is doing; from
/// [`Runtime::processors`](super::Runtime::processors).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProcessorReport {
    /// Its name.
    pub name: Arc<str>,
    /// Its supervisor, by its names from the top-level one down.
    pub supervisor: String,
    /// Events that wait for their first delivery, or are in hand for it.
    pub waiting: u64,
    /// How long the oldest of them has been waiting.
    pub oldest: Option<Duration>,
    /// Events that failed and will be delivered again.
    pub retrying: usize,
    /// Events that are parked.
    pub parked: usize,
    /// Events that wait behind a parked one of their key.
    pub waiting_behind: usize,
    /// It takes nothing new because too many events are held.
    pub stopped: bool,
    /// It is paused.
    pub paused: bool,
}

/// A disk that takes so long for a write stands still.
const SLOW: Duration = Duration::from_secs(5);

impl Core {
    /// Sets what is not counted as it happens, but read.
    pub(crate) fn set_gauges(&self) {
        // A thread that is stuck in a handler does not look into its lane.
        let lanes = self.broker.sequencer.lanes();
        lanes.iter().for_each(|lane| lane.pass_round_for_it());
        let showing = self.showing.lock();
        self.show_gauges(&self.all());
        drop(showing);
        self.broker.signals.contain(During::Observer, None, || self.show_mediators());
        if let Some(log) = self.log_gauges() {
            let set = || self.recorder.set_log_gauges(&log);
            self.broker.signals.contain(During::Observer, None, set);
        }
    }

    /// The recorder may be the application's, and is contained.
    pub(super) fn show_gauges(&self, of: &[Arc<Running>]) {
        let set = || self.recorder.set_gauges(&gauges(of));
        self.broker.signals.contain(During::Observer, None, set);
    }

    pub(crate) fn report(running: &Running) -> ProcessorReport {
        let subscription = &running.subscription;
        let counts = subscription.counts();
        ProcessorReport {
            name: running.declaration.name.clone(),
            supervisor: running.supervisor.clone(),
            waiting: subscription.waiting().events,
            oldest: subscription.oldest(),
            retrying: counts.retrying + counts.ready + counts.in_hand,
            parked: counts.parked,
            waiting_behind: counts.behind_parked,
            stopped: subscription.is_stopped(),
            paused: subscription.is_paused(),
        }
    }

    /// Called every second.
    pub(crate) fn keep_metrics(&self) {
        #[cfg(feature = "prometheus")]
        if self.recorder.keep_up() {
            return;
        }
        self.set_gauges();
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
        why.extend(self.broker.unable().map(|error| error.to_string()));
        let writing =
            self.broker.journal.as_ref().map_or(Duration::ZERO, |journal| journal.writing());
        if writing >= SLOW {
            why.push(format!(
                "the disk is slow: it has been writing for {writing:.1?}, and nothing is acknowledged \
                 until it is through"
            ));
        }
        if !self.is_built() {
            why.push("starting: some instances have not started yet".to_owned());
        }
        if self.trial().is_some_and(|trial| !trial.is_over()) {
            why.push(
                "the last process died while handlers were at some events: these are delivered first"
                    .to_owned(),
            );
        }
        for running in self.processors.read().iter() {
            if running.subscription.is_missing() {
                let (name, bound) =
                    (&running.declaration.name, running.subscription.settings.bound);
                why.push(format!(
                    "`{name}` is down and its subscription full: what comes is missed; restart it, \
                     or raise its `bound` (at {} events, {} bytes)",
                    bound.events, bound.weight
                ));
            }
            if running.subscription.is_stopped() {
                let (name, settings) = (&running.declaration.name, running.subscription.settings);
                let (held, bound) = (running.subscription.held(), settings.bound.weight);
                let (events, bytes, most) = (held.events, held.weight, settings.most_held);
                why.push(format!(
                    "`{name}` takes nothing new: {events} events of {bytes} bytes are held \
                     (retrying, parked, or behind a parked one), of at most {most} events \
                     (`held`) and {bound} bytes (`bound_bytes`); resubmit or discard parked \
                     events, or raise the bound that is reached"
                ));
            }
        }
        why
    }
}

fn gauges(of: &[Arc<Running>]) -> Vec<Gauges> {
    let gauges = of.iter().map(|running| {
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
            down: subscription.has_nobody(),
            busy: subscription.busy(),
        }
    });
    let mut all: Vec<Gauges> = gauges.collect();
    all.sort_by_key(|gauges| gauges.name.index);
    all.dedup_by(|other, one| {
        let same = other.name.index == one.name.index;
        if same {
            one.add(other);
        }
        same
    });
    all
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
