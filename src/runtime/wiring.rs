//! From a builder to a running runtime: checks, numbers, threads.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use parking_lot::RwLock;
use tokio::sync::{Notify, mpsc};

use super::builder::RuntimeBuilder;
use super::control::Control;
use super::core::{Core, Running};
use super::handle::Runtime;
use crate::broker::handle::Broker;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::message::check_name;
use crate::queue::batch::same_name;
use crate::queue::{Subscription, Wanted};
use crate::signal::{During, ProcessorName, Signals};
use crate::supervise::child::{Child, Declaration};

/// Checks everything and starts it.
pub(super) fn start(builder: RuntimeBuilder) -> Result<Runtime, Error> {
    if cfg!(panic = "abort") {
        return Err(Error::config(
            "this program is built with `panic = \"abort\"`, so a panic in a handler would end the \
             process: remove it from the profile in Cargo.toml",
        ));
    }
    check_name("the runtime", &builder.name)?;
    if builder.threads == 0 {
        return Err(Error::config("`threads(0)`: processors need at least one thread"));
    }
    let serve = builder.serve.transpose()?;
    let mut observers = builder.observers;
    let recorder = Arc::new(match &serve {
        #[cfg(feature = "prometheus")]
        Some(_) => crate::metrics::Recorder::own(),
        _ => crate::metrics::Recorder::of_application(),
    });
    observers.push(Box::new(recorder.clone()));
    let signals = Signals::new(observers);
    let clock = Arc::new(Clock::new());
    let broker = Arc::new(Broker::new(builder.threads, clock, signals));
    let (commands, obey) = mpsc::unbounded_channel();
    let mut names = Vec::new();
    let mut backoffs = Vec::new();
    let core = Core {
        name: builder.name,
        broker,
        processors: RwLock::default(),
        leaving: RwLock::default(),
        supervisors: builder.supervisors.iter().map(|of| of.name.clone()).collect(),
        threads: builder.threads,
        hop_limit: builder.hop_limit,
        commands,
        address: OnceLock::new(),
        next_processor: AtomicUsize::new(0),
        unbuilt: AtomicUsize::new(0),
        built: Notify::new(),
        recorder,
    };
    for (number, supervisor) in builder.supervisors.into_iter().enumerate() {
        check_name("the supervisor", &supervisor.name)?;
        if names.contains(&supervisor.name) {
            return Err(Error::config(format!(
                "two supervisors are named `{}`: give one of them another name",
                supervisor.name
            )));
        }
        for child in supervisor.children {
            admit(&core, child, number)?;
        }
        names.push(supervisor.name);
        backoffs.push(supervisor.backoff);
    }
    let core = Arc::new(core);
    let (started, up) = crossbeam_channel::bounded(1);
    let thread = std::thread::Builder::new().name(format!("{}-control", core.name)).spawn({
        let core = core.clone();
        move || Control::run(core, backoffs, serve, obey, &started)
    });
    let no_thread = |why: String| {
        Error::new(ErrorKind::System, format!("cannot start the control thread: {why}"))
    };
    thread.map_err(|error| no_thread(error.to_string()))?;
    up.recv().map_err(|_| no_thread("it ended at once".to_owned()))??;
    Ok(Runtime::new(core))
}

/// Checks a child and gives it its number, its topics and its lane. It is not started yet.
pub(super) fn admit(
    core: &Core,
    child: Arc<dyn Child>,
    supervisor: usize,
) -> Result<Arc<Running>, Error> {
    let mut declaration = child.declaration();
    // Until it is in the list: nobody else may take its name meanwhile.
    let mut processors = core.processors.write();
    check(&processors, &declaration)?;
    let mut inner = core.broker.intake.lock();
    let mut topics = Vec::new();
    for handled in &declaration.handles {
        topics.push(inner.topics.register(handled.of, handled.name, handled.type_name)?);
    }
    for emitted in &declaration.emits {
        let topic = inner.topics.register(emitted.of, emitted.name, emitted.type_name)?;
        if let Some(report) = inner.topics.report_mut(topic) {
            report.declared_publishers.insert(declaration.name.to_string());
        }
    }
    let names = inner.topics.names();
    drop(inner);
    let settings = &mut declaration.settings;
    settings.hosts = match declaration.blocking {
        true => settings.instances,
        false => settings.instances.min(core.threads),
    };
    let index = core.next_processor.fetch_add(1, SeqCst);
    core.unbuilt.fetch_add(settings.hosts, SeqCst);
    let name = ProcessorName { index, name: declaration.name.clone() };
    let subscription = Arc::new(Subscription::new(
        name,
        declaration.settings,
        Wanted::new(topics),
        core.broker.clock.clone(),
        core.broker.signals.clone(),
    ));
    let lane = index % core.threads;
    let running = Arc::new(Running {
        declaration,
        subscription,
        child,
        supervisor,
        lane,
        subscribed: AtomicBool::new(false),
    });
    processors.push(running.clone());
    drop(processors);
    core.broker.signals.contain(During::Observer, None, || {
        for (index, name) in names.into_iter().enumerate() {
            core.recorder.add_topic(index, name);
        }
    });
    Ok(running)
}

fn check(processors: &[Arc<Running>], declaration: &Declaration) -> Result<(), Error> {
    let name = &declaration.name;
    check_name("the processor name", name)?;
    if processors.iter().any(|running| running.declaration.name == *name) {
        return Err(Error::config(format!(
            "two processors are named `{name}`: a processor's name is its place in the order, so \
             give one of them another name"
        )));
    }
    if declaration.handles.is_empty() && declaration.emits.is_empty() {
        return Err(Error::config(format!(
            "`{name}` subscribes to nothing and publishes nothing: call `.on::<E>()` for each event \
             type it handles"
        )));
    }
    let mut handled = HashMap::new();
    for message in &declaration.handles {
        if let Some(before) = handled.insert(message.name, message.type_name) {
            if before != message.type_name {
                return Err(same_name(message.name, before, message.type_name));
            }
            return Err(Error::config(format!(
                "`{name}` subscribes to `{}` twice (`{before}` and `{}`): call `on` once for each \
                 type",
                message.name, message.type_name
            )));
        }
    }
    let settings = &declaration.settings;
    let zero = [
        ("instances", settings.instances == 0, "a processor needs at least one"),
        ("bound", settings.bound.events == 0, "nothing could ever wait for it"),
        ("bound_bytes", settings.bound.weight == 0, "nothing could ever wait for it"),
        ("held", settings.most_held == 0, "it could take no event at all"),
    ];
    for (setting, is_zero, why) in zero {
        if is_zero {
            return Err(Error::config(format!("`{name}`: `{setting}(0)`: {why}")));
        }
    }
    if declaration.ticks.iter().any(std::time::Duration::is_zero) {
        return Err(Error::config(format!("`{name}`: `every` needs a period above zero")));
    }
    Ok(())
}
