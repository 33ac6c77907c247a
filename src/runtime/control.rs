//! The control thread: the tree of supervisors, the tick, signals, HTTP. No user code runs here, so
//! it always answers.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use actix::{Actor, Addr, Arbiter};
use crossbeam_channel::Sender;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::core::{Core, Running};
use super::leaves::{Processors, no_thread};
use super::plan::Specs;
use super::threads::Threads;
use crate::broker::actor::BrokerActor;
use crate::error::{Error, ErrorKind};
use crate::slice::ask_for_short_slices;
use crate::supervise::actor::{Ask, ThreadStuck, TreeActor};
use crate::supervise::tree::{Plan, Tree};

/// The actor that carries the tree of a runtime.
pub(super) type Supervision = TreeActor<Processors>;

thread_local! {
    static IS_CONTROL: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is the thread that answers, so that nobody may wait for it here.
pub(super) fn is_control_thread() -> bool {
    IS_CONTROL.get()
}

/// What a handle asks of the control thread.
pub(crate) enum Command {
    /// Something about the tree.
    Tree(Ask<Processors>),
    /// Stop in order until the deadline.
    Shutdown(Instant, oneshot::Sender<()>),
    /// Tell when the process is asked to end.
    StopSignal(oneshot::Sender<&'static str>),
    /// The last handle is gone: stop without waiting.
    Abandon,
}

/// What the control thread holds.
pub(crate) struct Control {
    core: Arc<Core>,
    threads: Rc<RefCell<Threads>>,
    broker: Option<Arbiter>,
    tree: Addr<Supervision>,
}

impl Control {
    /// Runs the control thread to its end. Answers `started` once everything is in place.
    pub(crate) fn run(
        core: Arc<Core>,
        plans: Vec<Plan>,
        specs: Specs,
        ready: HashMap<usize, Arc<Running>>,
        serve: Option<std::net::SocketAddr>,
        mut commands: mpsc::UnboundedReceiver<Command>,
        started: &Sender<Result<(), Error>>,
    ) {
        IS_CONTROL.set(true);
        let system = actix_rt::System::new();
        let held = core.clone();
        let last = system.block_on(async move {
            let mut threads = Threads::new(core.broker.clone(), core.threads);
            let served = serve.map_or(Ok(()), |address| listen(&core, address));
            if let Err(error) = served.and_then(|()| reserve(&core, &mut threads)) {
                started.send(Err(error)).ok();
                return refused(&mut threads, (specs, ready, core));
            }
            actix_rt::spawn(keep_metrics(core.clone()));
            actix_rt::spawn(core.requests.clone().watch());
            // In their order, before anybody publishes.
            for running in core.processors.read().iter() {
                core.subscribe(running);
            }
            // What killed the last process is known before anybody is at it again.
            if let Err(error) = core.broker.is_kept_now().await {
                let error = core.broker.unable().unwrap_or(error);
                drop(core.writing.lock().take()); // others may open it when this is told
                started.send(Err(error)).ok();
                return refused(&mut threads, (specs, ready, core));
            }
            core.forget_who_died();
            core.begin_trial();
            let mut control = Self::new(core, threads, plans, specs, ready);
            started.send(Ok(())).ok();
            control.obey(&mut commands).await;
            control.stop_threads(commands).await
        });
        drop(system);
        // If nobody else has it any more, what it holds is dropped, which is code of the
        // application: not on this thread.
        if let Some(worker) = last {
            worker.spawn_fn(move || drop(held));
            worker.stop();
        }
    }

    fn new(
        core: Arc<Core>,
        threads: Threads,
        plans: Vec<Plan>,
        specs: Specs,
        ready: HashMap<usize, Arc<Running>>,
    ) -> Self {
        let threads = Rc::new(RefCell::new(threads));
        let broker = Arbiter::new();
        let sequencer = core.broker.sequencer.clone();
        broker.spawn_fn(move || {
            ask_for_short_slices();
            drop(BrokerActor(Arc::downgrade(&sequencer)).start());
        });
        let leaves = Processors::new(core.clone(), threads.clone(), specs, ready);
        let clock = core.broker.clock.clone();
        let tree = TreeActor::new(Tree::new(plans), leaves, clock).start();
        actix_rt::spawn(tick(core.clone(), threads.clone(), tree.clone()));
        Self { core, threads, broker: Some(broker), tree }
    }

    async fn obey(&mut self, commands: &mut mpsc::UnboundedReceiver<Command>) {
        while let Some(command) = commands.recv().await {
            match command {
                Command::Tree(ask) => self.tree.do_send(ask),
                Command::StopSignal(tell) => tell_stop_signal(tell),
                Command::Abandon => {
                    self.core.broker.close();
                    self.ask(|actor| actor.leaves.abandon());
                    return;
                }
                Command::Shutdown(deadline, done) => {
                    refuse_until(pin!(self.end(deadline)), commands).await;
                    self.kill_all().await;
                    done.send(()).ok();
                    return;
                }
            }
        }
    }

    fn ask(&self, ask: impl FnOnce(&mut Supervision) + Send + 'static) {
        self.tree.do_send(Ask(Box::new(ask)));
    }

    async fn end(&self, deadline: Instant) {
        self.core.broker.close();
        self.ask(TreeActor::refuse_all);
        let broker = self.core.broker.clone();
        let drained = broker.rest(crate::broker::door::Door::is_drained);
        tokio::time::timeout_at(deadline, drained).await.ok();
        self.ask(|actor| {
            let now = actor.now();
            actor.tree.stop(now);
        });
        tokio::time::timeout_at(deadline, self.core.ends()).await.ok();
    }

    /// Whoever is still there has no say any more.
    async fn kill_all(&self) {
        let kill = |actor: &mut Supervision| {
            let now = actor.now();
            actor.tree.kill(now);
            actor.leaves.kill_all();
        };
        self.tree.send(Ask(Box::new(kill))).await.ok();
        self.core.broker.intake.wake_resters();
    }

    /// Asks all threads to end but one, which is given back; waits for none, for one may be stuck in
    /// user code.
    async fn stop_threads(
        &mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) -> Option<Arbiter> {
        commands.close();
        self.core.broker.intake.end();
        self.core.requests.close();
        // What the tree holds is code of the application: it is dropped on a thread for that.
        let (give, given) = oneshot::channel();
        self.ask(move |actor| drop(give.send(actor.leaves.take_specs())));
        let specs = given.await.ok();
        let last = self.threads.borrow_mut().end();
        if let Some(worker) = &last {
            worker.spawn_fn(move || drop(specs));
        }
        drop_apart(commands);
        if let Some(broker) = self.broker.take() {
            broker.stop();
        }
        last
    }
}

/// A thread for each instance that blocks.
fn reserve(core: &Core, threads: &mut Threads) -> Result<(), Error> {
    let processors = core.processors.read();
    for running in processors.iter().filter(|running| running.declaration.blocking) {
        let hosts = if running.subscription.settings.shared {
            0
        } else {
            running.subscription.settings.hosts
        };
        for host in 0..hosts {
            let name = &running.declaration.name;
            threads.reserve().map_err(|why| no_thread(name, host, &why))?;
        }
    }
    Ok(())
}

fn listen(core: &Arc<Core>, address: std::net::SocketAddr) -> Result<(), Error> {
    #[cfg(feature = "console")]
    {
        let watched: Arc<dyn crate::console::Watched> = core.clone();
        let bound = crate::console::serve(address, watched).map_err(|error| {
            Error::new(
                ErrorKind::System,
                format!("cannot serve on {address}: {error}; is the port taken?"),
            )
        })?;
        core.address.set(bound).ok();
        Ok(())
    }
    #[cfg(not(feature = "console"))]
    {
        let _ = (core, address);
        Err(Error::new(
            ErrorKind::Config,
            "`serve` needs the feature `console`: add it, or leave `serve` out",
        ))
    }
}

/// It does not start. What was declared is code of the application: it is dropped elsewhere.
fn refused(threads: &mut Threads, declared: impl Send + 'static) -> Option<Arbiter> {
    let last = threads.end();
    if let Some(worker) = &last {
        worker.spawn_fn(move || drop(declared));
    }
    last
}

/// Moves the tick while there is work, helps who was forgotten, and sees which thread is stuck.
async fn tick(core: Arc<Core>, threads: Rc<RefCell<Threads>>, tree: Addr<Supervision>) {
    let (broker, clock) = (core.broker.clone(), core.broker.clock.clone());
    drop(core);
    let each = || {
        broker.sweep();
        for (thread, stuck) in threads.borrow_mut().look(broker.clock.now()) {
            tree.do_send(ThreadStuck(thread, stuck));
        }
    };
    clock.run(each).await;
}

/// What is refused holds code of the application, and whoever waits for an answer waits until it is
/// dropped: not here, and not where a handler may be in the way.
fn drop_apart(refused: impl Send + 'static) {
    std::thread::Builder::new().spawn(move || drop(refused)).ok();
}

/// Nobody waits for an answer until `end`, which comes at once if all handles go: what is dropped
/// unanswered is refused as closed.
async fn refuse_until(
    mut end: Pin<&mut impl Future<Output = ()>>,
    commands: &mut mpsc::UnboundedReceiver<Command>,
) {
    loop {
        tokio::select! {
            biased;
            () = &mut end => return,
            command = commands.recv() => match command {
                Some(Command::StopSignal(tell)) => tell_stop_signal(tell),
                // What it holds is code of the application.
                Some(Command::Tree(refused)) => drop_apart(refused),
                Some(Command::Shutdown(..)) => {}
                Some(Command::Abandon) | None => return,
            },
        }
    }
}

/// The application's own recorder is read without our knowing: its gauges are set every second. In
/// one of ours histograms would grow until somebody reads them.
async fn keep_metrics(core: Arc<Core>) {
    let mut every = tokio::time::interval(std::time::Duration::from_secs(1));
    loop {
        every.tick().await;
        core.keep_metrics();
    }
}

fn tell_stop_signal(tell: oneshot::Sender<&'static str>) {
    let heard = stop_signal();
    actix_rt::spawn(async move { tell.send(heard.await).ok() });
}

/// From the second signal on, the process ends as it would without us.
fn end_at_the_second_signal() {
    static HEARD: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    let heard = HEARD.get_or_init(|| {
        let heard = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // In this order, so that the first one finds it unset.
            let end = signal_hook::flag::register_conditional_default(signal, heard.clone());
            if let Err(error) = end.and(signal_hook::flag::register(signal, heard.clone())) {
                tracing::warn!(%error, "a second ctrl-c will not end the process at once");
            }
        }
        heard
    });
    heard.store(false, SeqCst); // whoever asks anew hears the next one first
}

/// Resolves with its name when the process is asked to end.
async fn stop_signal() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = listen else {
        tracing::error!("cannot listen for ctrl-c and SIGTERM; they end the process at once");
        return std::future::pending().await;
    };
    // The first one has somebody to hear it now.
    end_at_the_second_signal();
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}
