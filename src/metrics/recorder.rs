//! Counts what the signals say, in a recorder of our own or in the application's.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, SharedString};
use parking_lot::RwLock;

use super::catalog::{self, CATALOG, Kind, Metric};
use super::causes::Causes;
use super::command::Commands;
use super::log::{LogGauges, LogHandles};
use super::processor::{Gauges, ProcessorHandles};
use super::workflow::Workflows;
use crate::signal::{Cause, DropReason, Observer, ProcessorName, Signal};

const METADATA: Metadata<'static> = Metadata::new("cueline", Level::INFO, None);

/// Where the numbers go.
enum Target {
    /// The recorder that the application installed before the runtime started, if any.
    Application,
    #[cfg(feature = "prometheus")]
    Own(Box<metrics_exporter_prometheus::PrometheusRecorder>),
}

struct TopicHandles {
    published: Counter,
    unrouted: Counter,
    refused: Counter,
}

/// Observes a runtime and counts.
pub(crate) struct Recorder {
    target: Target,
    topics: RwLock<Vec<Option<Arc<TopicHandles>>>>,
    processors: RwLock<Vec<Option<Arc<ProcessorHandles>>>>,
    supervisors: RwLock<HashMap<String, Arc<SupervisorHandles>>>,
    commands: Commands,
    pub(super) workflows: Workflows,
    causes: Causes,
    threads_lost: Counter,
    end_to_end: Histogram,
    restarting: Histogram,
    recovery: Histogram,
    filtered: Counter,
    duplicates: Counter,
    resubmitted: Counter,
    log: OnceLock<LogHandles>,
}

struct SupervisorHandles {
    restarts: Counter,
    gave_up: Counter,
}

impl Recorder {
    /// Counts in the recorder that the application has installed. One that is installed later sees
    /// nothing of this runtime.
    pub(crate) fn of_application() -> Self {
        Self::with(Target::Application)
    }

    /// Counts in a recorder of its own, to be rendered as text.
    #[cfg(feature = "prometheus")]
    pub(crate) fn own() -> Self {
        use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
        // Fails only without any bucket, and there are some.
        let mut builder = PrometheusBuilder::new();
        for metric in CATALOG.iter().filter(|metric| metric.kind == Kind::Histogram) {
            let it = Matcher::Full(metric.name.to_owned());
            builder = builder
                .set_buckets_for_metric(it, metric.buckets())
                .unwrap_or_else(|_| PrometheusBuilder::new());
        }
        Self::with(Target::Own(Box::new(builder.build_recorder())))
    }

    fn with(target: Target) -> Self {
        let mut recorder = Self {
            target,
            topics: RwLock::default(),
            processors: RwLock::default(),
            supervisors: RwLock::default(),
            commands: Commands::default(),
            workflows: Workflows::default(),
            causes: Causes::default(),
            threads_lost: Counter::noop(),
            end_to_end: Histogram::noop(),
            restarting: Histogram::noop(),
            recovery: Histogram::noop(),
            filtered: Counter::noop(),
            duplicates: Counter::noop(),
            resubmitted: Counter::noop(),
            log: OnceLock::new(),
        };
        recorder.describe();
        recorder.causes = Causes::new(&recorder);
        recorder.threads_lost = recorder.counter(&catalog::THREADS_LOST, &[]);
        recorder.end_to_end = recorder.histogram(&catalog::END_TO_END, &[]);
        recorder.restarting = recorder.histogram(&catalog::RESTARTING, &[]);
        recorder.recovery = recorder.histogram(&catalog::RECOVERY, &[]);
        recorder.filtered = recorder.counter(&catalog::FILTERED, &[]);
        recorder.duplicates = recorder.counter(&catalog::DUPLICATES, &[]);
        recorder.resubmitted = recorder.counter(&catalog::RESUBMITTED, &[]);
        recorder
    }

    fn on<T>(&self, run: impl FnOnce(&dyn metrics::Recorder) -> T) -> T {
        match &self.target {
            Target::Application => metrics::with_recorder(run),
            #[cfg(feature = "prometheus")]
            Target::Own(own) => run(&**own),
        }
    }

    fn describe(&self) {
        self.on(|recorder| {
            for metric in CATALOG {
                let name = metrics::KeyName::from_const_str(metric.name);
                let (unit, help) = (Some(metric.unit), SharedString::const_str(metric.help));
                match metric.kind {
                    Kind::Counter => recorder.describe_counter(name, unit, help),
                    Kind::Gauge => recorder.describe_gauge(name, unit, help),
                    Kind::Histogram => recorder.describe_histogram(name, unit, help),
                }
            }
        });
    }

    fn key(metric: &Metric, values: &[&str]) -> Key {
        let labels = metric.labels.iter().zip(values);
        let labels: Vec<Label> =
            labels.map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
        Key::from_parts(metric.name, labels)
    }

    /// A counter that is there from the start, at zero.
    pub(super) fn counter(&self, metric: &Metric, values: &[&str]) -> Counter {
        let key = Self::key(metric, values);
        let counter = self.on(|recorder| recorder.register_counter(&key, &METADATA));
        counter.increment(0);
        counter
    }

    pub(super) fn gauge(&self, metric: &Metric, values: &[&str]) -> Gauge {
        let key = Self::key(metric, values);
        self.on(|recorder| recorder.register_gauge(&key, &METADATA))
    }

    pub(super) fn histogram(&self, metric: &Metric, values: &[&str]) -> Histogram {
        let key = Self::key(metric, values);
        self.on(|recorder| recorder.register_histogram(&key, &METADATA))
    }

    /// Its counters are there from the start.
    pub(crate) fn add_topic(&self, index: usize, name: &str) {
        self.topic(index, name);
    }

    fn topic(&self, index: usize, name: &str) -> Arc<TopicHandles> {
        known_or(&self.topics, index, || TopicHandles {
            published: self.counter(&catalog::PUBLISHED, &[name]),
            unrouted: self.counter(&catalog::UNROUTED, &[name]),
            refused: self.counter(&catalog::REFUSED, &[name]),
        })
    }

    /// A command's metrics are there from now on.
    pub(crate) fn add_command(&self, name: &'static str) {
        self.commands.of(name, self);
    }

    fn processor(&self, processor: &ProcessorName) -> Arc<ProcessorHandles> {
        // Members of a pool count as one.
        let name = processor.as_str().split('#').next().unwrap_or_default();
        known_or(&self.processors, processor.index, || ProcessorHandles::new(self, name))
    }

    /// A supervisor's metrics are there from now on.
    pub(crate) fn add_supervisor(&self, path: &str) {
        self.supervisor(path);
    }

    /// Children of a pool count as one, whatever their
    /// number.
    fn supervisor(&self, path: &str) -> Arc<SupervisorHandles> {
        let names = path.split('/').map(|name| name.split('#').next().unwrap_or(name));
        let path = names.collect::<Vec<_>>().join("/");
        if let Some(known) = self.supervisors.read().get(&path) {
            return known.clone();
        }
        let made = Arc::new(SupervisorHandles {
            restarts: self.counter(&catalog::SUPERVISOR_RESTARTS, &[&path]),
            gave_up: self.counter(&catalog::GAVE_UP, &[&path]),
        });
        self.supervisors.write().entry(path).or_insert(made).clone()
    }

    /// There is a log: its metrics are there from now on.
    pub(crate) fn add_log(&self) {
        self.log();
    }

    fn log(&self) -> &LogHandles {
        self.log.get_or_init(|| LogHandles::new(self))
    }

    /// As [`Recorder::set_gauges`], of the log.
    pub(crate) fn set_log_gauges(&self, now: &LogGauges) {
        self.log().set(now, self);
    }

    /// Sets what is read only when somebody looks.
    pub(crate) fn set_gauges(&self, gauges: &[Gauges]) {
        for now in gauges {
            self.processor(&now.name).set(now);
        }
    }

    /// Folds away what has been recorded, so that it does not pile up until somebody reads it. False
    /// if that is the application's business.
    #[cfg(feature = "prometheus")]
    pub(crate) fn keep_up(&self) -> bool {
        match &self.target {
            Target::Application => false,
            Target::Own(own) => {
                own.handle().run_upkeep();
                true
            }
        }
    }

    /// All metrics as Prometheus' text format; none if they are the application's.
    #[cfg(feature = "prometheus")]
    pub(crate) fn render(&self) -> Option<String> {
        match &self.target {
            Target::Application => None,
            Target::Own(own) => {
                let handle = own.handle();
                handle.run_upkeep();
                Some(handle.render())
            }
        }
    }
}

fn known_or<T>(
    all: &RwLock<Vec<Option<Arc<T>>>>,
    index: usize,
    make: impl FnOnce() -> T,
) -> Arc<T> {
    if let Some(Some(known)) = all.read().get(index) {
        return known.clone();
    }
    let made = Arc::new(make());
    let mut all = all.write();
    if all.len() <= index {
        all.resize_with(index + 1, || None);
    }
    all[index].get_or_insert(made).clone()
}

/// The place of a label's value among all its values, as the counters were made.
pub(super) fn place<T: PartialEq>(all: &[T], of: &T) -> usize {
    all.iter().position(|one| one == of).unwrap_or(0)
}

impl Observer for Arc<Recorder> {
    fn observe(&self, signal: &Signal<'_>) {
        match signal {
            Signal::Published { index, topic, events, unrouted } => {
                let handles = self.topic(*index, topic);
                handles.published.increment(*events);
                if *unrouted {
                    handles.unrouted.increment(*events);
                }
            }
            Signal::Requested { command, outcome, requests, took } => {
                self.commands.of(command, self).ended(*outcome, *requests, took);
            }
            Signal::CommandFailed { command, cause, .. } => {
                self.commands.of(command, self).failed.increment(1);
                self.causes.failed(*cause, 1);
            }
            Signal::ReplyDropped { command, .. } => {
                self.commands.of(command, self).dropped.increment(1);
            }
            Signal::Duplicate { .. } => self.duplicates.increment(1),
            Signal::Refused { index, topic, dropped } => {
                self.topic(*index, topic).refused.increment(1);
                self.causes.refused(*dropped);
            }
            Signal::Handled { processor, events, filtered, samples } => {
                let handles = self.processor(processor);
                handles.handled.increment(events.saturating_sub(*filtered));
                if *filtered > 0 {
                    self.filtered.increment(*filtered);
                }
                for sample in *samples {
                    if let Some(waited) = sample.waited {
                        handles.waiting.record(waited.as_secs_f64());
                    }
                    handles.handling.record(sample.handled.as_secs_f64());
                    self.end_to_end.record(sample.end_to_end.as_secs_f64());
                }
            }
            Signal::Retried { processor, cause, .. } => {
                self.processor(processor).retried.increment(1);
                self.causes.failed(*cause, 1);
            }
            Signal::Forgone { processor, cause, .. } => {
                self.processor(processor).dropped.increment(1);
                self.causes.failed(*cause, 1);
                self.causes.dropped(DropReason::AtMostOnce, 1);
            }
            Signal::Parked { processor, cause, .. } => {
                self.processor(processor).parked.increment(1);
                self.causes.failed(*cause, 1);
            }
            Signal::Resubmitted { .. } => self.resubmitted.increment(1),
            Signal::Dropped { processor, events, reason } => {
                self.processor(processor).dropped.increment(*events);
                self.causes.dropped(*reason, *events);
            }
            Signal::Restarted { processor, cause, took, .. } => {
                self.processor(processor).restarts.increment(1);
                self.causes.restarted(*cause);
                self.restarting.record(took.as_secs_f64());
            }
            Signal::StartFailed { processor, .. } => {
                self.processor(processor).start_failures.increment(1);
            }
            Signal::HookFailed { hook, .. } => self.causes.hook_failed(*hook),
            Signal::PanicContained { during, .. } => self.causes.panicked(*during),
            Signal::Orphaned { processor, events } => {
                self.processor(processor).parked.increment(*events);
                self.causes.failed(Cause::Orphaned, *events);
            }
            Signal::Restarts { supervisor, .. } => {
                self.supervisor(supervisor).restarts.increment(1);
            }
            Signal::GaveUp { supervisor, .. } => {
                self.supervisor(supervisor).gave_up.increment(1);
            }
            Signal::Recovered { took, .. } => self.recovery.record(took.as_secs_f64()),
            Signal::ThreadLost { .. } => self.threads_lost.increment(1),
            Signal::Written { commits, bytes, synced } => {
                let log = self.log();
                log.writes.increment(1);
                log.commits.increment(*commits);
                log.bytes.increment(*bytes);
                if let Some(took) = synced {
                    log.syncing.record(took.as_secs_f64());
                }
            }
            Signal::Checkpointed { took, compacted } => {
                self.log().checkpointing.record(took.as_secs_f64());
                self.log().compacted.increment(*compacted);
            }
            Signal::LogFailed { .. } => self.log().failures.increment(1),
            Signal::Damaged { frames } => self.log().damaged.increment(*frames),
            Signal::WorkflowBegan { .. }
            | Signal::WorkflowEnded { .. }
            | Signal::WorkflowIs { .. }
            | Signal::WorkflowStep { .. }
            | Signal::WorkflowMissed { .. } => self.workflows.observe(signal, self),
            Signal::Held { .. } | Signal::Space { .. } => {}
        }
    }
}
