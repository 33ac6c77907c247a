//! From a builder to a running runtime: checks, numbers, threads.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::sync::mpsc;

use super::builder::RuntimeBuilder;
use super::control::Control;
use super::core::{Core, Running};
use super::handle::Runtime;
use super::plan::{LeafSpec, Specs, supervised};
use super::storage::Storage;
use super::table::Table;
use crate::broker::handle::Broker;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::message::check_name;
use crate::queue::batch::same_name;
use crate::queue::{Acknowledge, Subscription, Wanted, WhenFull};
use crate::signal::{During, ProcessorName, Signals};
use crate::store::Store;
use crate::store::channel::Channel;
use crate::store::file::workflows::Workflows;
use crate::supervise::ChildKind;
use crate::supervise::child::{Child, Declaration, Memory};
use crate::supervise::tree::{Body, Plan};

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
    builder.channels.iter().try_for_each(|(name, channel)| check_channel(name, channel))?;
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
    let storage = match &builder.store {
        Store::Memory => None,
        Store::Directory(directory) => Some(Storage::open(directory, &builder.channels)?),
    };
    let log = storage.as_ref().map(|storage| (storage.journal.clone(), storage.next()));
    let broker = Arc::new(Broker::new(builder.threads, clock, signals, log, &builder.channels));
    let (commands, obey) = mpsc::unbounded_channel();
    let core =
        Core::new(builder.name, broker, builder.threads, builder.hop_limit, commands, recorder);
    let mut specs = Specs::default();
    let mut plans: Vec<Plan> = Vec::new();
    for supervisor in builder.supervisors {
        let plan = supervised(&mut specs, supervisor, "")?;
        if plans.iter().any(|other| other.name == plan.name) {
            return Err(Error::config(format!(
                "two supervisors are named `{}`: give one of them another name",
                plan.name
            )));
        }
        plans.push(plan);
    }
    if let Some(storage) = storage {
        core.broker.signals.contain(During::Observer, None, || core.recorder.add_log());
        let (writing, subscriptions) = storage.start(&core.broker)?;
        *core.writing.lock() = Some(writing);
        core.expects_mediators(subscriptions.mediators());
        *core.subscriptions.lock() = Some(subscriptions);
    }
    plans.iter().for_each(|plan| add_metrics(&core, plan, &plan.name));
    let mut ready = HashMap::new();
    for (number, spec) in &specs.leaves {
        if spec.later {
            check_later(&core, spec)?;
        } else {
            ready.insert(*number, admit(&core, spec, None)?);
        }
    }
    let core = Arc::new(core);
    let (started, up) = crossbeam_channel::bounded(1);
    let thread = std::thread::Builder::new().name(format!("{}-control", core.name)).spawn({
        let core = core.clone();
        move || Control::run(core, plans, specs, ready, serve, obey, &started)
    });
    let no_thread = |why: String| {
        Error::new(ErrorKind::System, format!("cannot start the control thread: {why}"))
    };
    thread.map_err(|error| no_thread(error.to_string()))?;
    up.recv().map_err(|_| no_thread("it ended at once".to_owned()))??;
    Ok(Runtime::new(core))
}

/// The metrics of a supervisor and those below it are there from the start.
pub(super) fn add_metrics(core: &Core, plan: &Plan, path: &str) {
    if let Body::Branch(branch) = &plan.body {
        // The recorder may be the application's.
        core.broker.signals.contain(During::Observer, None, || core.recorder.add_supervisor(path));
        for child in branch.children.iter().chain(branch.template.as_deref()) {
            add_metrics(core, child, &format!("{path}/{}", child.name));
        }
    }
}

/// Checks a processor and gives it its number, its topics and its lane. It is not started yet.
pub(super) fn admit(
    core: &Core,
    spec: &LeafSpec,
    member: Option<&str>,
) -> Result<Arc<Running>, Error> {
    let LeafSpec { child, kind, template, later: _, supervisor, family } = spec;
    let mut declaration = child.declaration();
    let shared = *template && !declaration.own;
    declaration.settings.shared = shared;
    if let Some(name) = member {
        declaration.name = Arc::from(name);
    }
    if *kind == ChildKind::Actor {
        return Ok(actor(core, child.clone(), declaration, supervisor.clone()));
    }
    // Until it is in the list: nobody else may take its name meanwhile.
    let mut processors = core.processors.write();
    if member.is_none() {
        check_name("the processor name", &declaration.name)?;
    }
    check(&processors, &declaration, *template)?;
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
    let number = core.next_processor.fetch_add(1, SeqCst);
    let index = if member.is_some() { *family.get_or_init(|| number) } else { number };
    // A pool is complete with however many children.
    core.unbuilt.fetch_add(usize::from(!shared), SeqCst);
    let name = ProcessorName { index, name: declaration.name.clone() };
    let subscription = Arc::new(Subscription::new(
        name,
        declaration.settings,
        Wanted::new(topics),
        core.broker.clock.clone(),
        core.broker.signals.clone(),
    ));
    let hosts = declaration.settings.hosts;
    let (broker, requests) = (&core.broker, &core.requests);
    let tell = |number: u32, workflows: Workflows| {
        let subscription = &subscription;
        child.remembers(Memory { number, hosts, workflows, subscription, broker, requests })
    };
    match &mut *core.subscriptions.lock() {
        Some(kept) => kept.keep(&subscription, member.is_some(), tell)?,
        None => tell(number as u32, Workflows::default())?,
    }
    subscription.detach(shared);
    let lane = number % core.threads;
    let running = Arc::new(Running {
        number,
        declaration,
        subscription,
        child: child.clone(),
        supervisor: supervisor.clone(),
        lane,
        subscribed: AtomicBool::new(false),
        unbuilt: AtomicBool::new(!shared),
        users: AtomicUsize::new(0),
    });
    processors.add(running.clone());
    drop(processors);
    core.broker.signals.contain(During::Observer, None, || {
        for (index, name) in names.into_iter().enumerate() {
            core.recorder.add_topic(index, name);
        }
        let handled = running.declaration.handles.iter();
        handled.filter(|of| of.served).for_each(|of| core.recorder.add_command(of.name));
        core.add_mediator_metrics(&running.subscription.name);
    });
    Ok(running)
}

/// Checks what is admitted only when it is started.
pub(super) fn check_later(core: &Core, spec: &LeafSpec) -> Result<(), Error> {
    match spec.kind {
        ChildKind::Actor => Ok(()),
        _ => check(&core.processors.read(), &spec.child.declaration(), spec.template),
    }
}

/// An actor is no processor: it has a place in the tree, and none in the order.
fn actor(
    core: &Core,
    child: Arc<dyn Child>,
    declaration: Declaration,
    supervisor: String,
) -> Arc<Running> {
    let index = core.next_processor.fetch_add(1, SeqCst);
    let name = ProcessorName { index, name: declaration.name.clone() };
    let subscription = Arc::new(Subscription::new(
        name,
        declaration.settings,
        Wanted::default(),
        core.broker.clock.clone(),
        core.broker.signals.clone(),
    ));
    let shared = declaration.settings.shared;
    core.unbuilt.fetch_add(usize::from(!shared), SeqCst);
    Arc::new(Running {
        number: index,
        declaration,
        subscription,
        child,
        supervisor,
        lane: index % core.threads,
        subscribed: AtomicBool::new(false),
        unbuilt: AtomicBool::new(!shared),
        users: AtomicUsize::new(0),
    })
}

fn check(processors: &Table, declaration: &Declaration, template: bool) -> Result<(), Error> {
    let name = &declaration.name;
    if processors.find(name).is_some() {
        return Err(Error::config(format!(
            "two processors are named `{name}`: a processor's name is its place in the order, so \
             give one of them another name"
        )));
    }
    let does_nothing = declaration.handles.is_empty() && declaration.emits.is_empty();
    if does_nothing && !declaration.is_mediator {
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
    check_commands(processors, declaration, template)?;
    let settings = &declaration.settings;
    let alone = declaration.argument == TypeId::of::<()>();
    if !(alone || template) {
        return Err(Error::config(format!(
            "`{name}` needs an argument for its factory: put it into a `Pool`, or declare it with \
             `processor`"
        )));
    }
    if template && settings.instances > 1 {
        return Err(Error::config(format!(
            "`{name}` is a pool's template: each of its children is one instance, so start more \
             children instead of `instances({})`",
            settings.instances
        )));
    }
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
    if settings.acknowledge == (Acknowledge::ByHand { lease: Duration::ZERO }) {
        return Err(Error::config(format!(
            "`{name}`: a lease of zero is over before anybody could acknowledge"
        )));
    }
    if declaration.timeout.is_zero() {
        return Err(Error::config(format!(
            "`{name}`: `timeout` of zero: no handler could ever be in time"
        )));
    }
    if declaration.ticks.iter().any(std::time::Duration::is_zero) {
        return Err(Error::config(format!("`{name}`: `every` needs a period above zero")));
    }
    Ok(())
}

/// A command goes to one processor, and is answered.
fn check_commands(
    processors: &Table,
    declaration: &Declaration,
    template: bool,
) -> Result<(), Error> {
    let name = &declaration.name;
    for served in declaration.handles.iter().filter(|of| of.served) {
        let command = served.name;
        if !served.is_command {
            return Err(Error::config(format!(
                "`{name}` serves `{command}`, which is an event (its `Reply` is `()`): call `.on::<{}>()`, \
                 or let it reply with `Done`",
                served.type_name
            )));
        }
        let serves =
            |other: &&Arc<Running>| other.declaration.handles.iter().any(|of| of.name == command);
        if let Some(other) = processors.iter().find(serves) {
            return Err(Error::config(format!(
                "`{name}` and `{}` both serve the command `{command}`: a command has one processor; give \
                 that one more `instances`, or make it an event that both subscribe to",
                other.declaration.name
            )));
        }
        let settings = &declaration.settings;
        let wrong = [
            (
                template && declaration.own,
                "`own_subscription`: several of its children would answer",
            ),
            (
                settings.when_full != WhenFull::Block,
                "`when_full`: what is dropped is never answered",
            ),
            (
                matches!(settings.acknowledge, Acknowledge::ByHand { .. }),
                "`Acknowledge::ByHand`: a command is answered when its handler returns",
            ),
        ];
        if let Some((_, why)) = wrong.iter().find(|(is_wrong, _)| *is_wrong) {
            return Err(Error::config(format!("`{name}` serves `{command}`, and has {why}")));
        }
    }
    Ok(())
}

fn check_channel(name: &str, channel: &Channel) -> Result<(), Error> {
    let zero = [
        ("limit(0)", channel.limit == Some(0), "nothing could ever be published"),
        ("limit_bytes(0)", channel.limit_bytes == Some(0), "nothing could ever be published"),
        ("dedup(.., 0)", channel.dedup.most == 0, "no key would be known"),
        ("dedup(0, ..)", channel.dedup.within.is_zero(), "no key would be known"),
    ];
    let wrong = zero.iter().find(|(_, is_zero, _)| *is_zero);
    wrong.map_or(Ok(()), |(setting, _, why)| {
        Err(Error::config(format!("the channel `{name}`: `{setting}`: {why}")))
    })
}
