//! The control thread: supervisors, the tick, signals, HTTP. No user code runs here, so it always
//! answers.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use actix::{Actor, Addr, Arbiter};
use crossbeam_channel::Sender;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::core::{Core, Running};
use crate::broker::actor::BrokerActor;
use crate::broker::lane::Carrier;
use crate::broker::sequencer::Sequencer;
use crate::error::{Error, ErrorKind};
use crate::guard::contain;
use crate::queue::backoff::Backoff;
use crate::supervise::SupervisorActor;
use crate::supervise::child::{Seat, TellOnce};

/// What a handle asks of the control thread.
pub(crate) enum Command {
    /// Start the hosts of a processor that has just been subscribed.
    Start(Arc<Running>, Sender<Result<(), Error>>),
    /// Stop in order until the deadline.
    Shutdown(Instant, oneshot::Sender<()>),
    /// Tell when the process is asked to end.
    StopSignal(oneshot::Sender<&'static str>),
    /// The last handle is gone: stop without waiting.
    Abandon,
}

/// The threads of a runtime, as the control thread holds them.
pub(crate) struct Control {
    core: Arc<Core>,
    workers: Vec<Arbiter>,
    pools: Vec<Arbiter>,
    broker: Option<Arbiter>,
    supervisors: Vec<Addr<SupervisorActor>>,
    /// Held by every host; the receiver ends when the last host has.
    host_alive: mpsc::Sender<()>,
    hosts: mpsc::Receiver<()>,
}

impl Control {
    /// Runs the control thread to its end. Answers `started` once everything is in place.
    pub(crate) fn run(
        core: Arc<Core>,
        backoffs: Vec<Backoff>,
        serve: Option<std::net::SocketAddr>,
        commands: mpsc::UnboundedReceiver<Command>,
        started: &Sender<Result<(), Error>>,
    ) {
        let system = actix_rt::System::new();
        let held = core.clone();
        let last = system.block_on(async move {
            let mut control = Self::new(core, backoffs);
            let up = match serve {
                Some(address) => control.serve(address),
                None => Ok(()),
            };
            actix_rt::spawn(keep_metrics(control.core.clone()));
            let up = up.and_then(|()| control.start_all());
            let failed = up.is_err();
            started.send(up).ok();
            if !failed {
                control.obey(commands).await;
            }
            control.stop_threads()
        });
        drop(system);
        // If nobody else has it any more, what it holds is dropped, which is code of the
        // application: not on this thread.
        if let Some(worker) = last {
            worker.spawn_fn(move || drop(held));
            worker.stop();
        }
    }

    fn new(core: Arc<Core>, backoffs: Vec<Backoff>) -> Self {
        let clock = core.broker.clock.clone();
        actix_rt::spawn({
            let broker = core.broker.clone();
            async move { broker.clock.run(|| broker.sweep()).await }
        });
        let sequencer = core.broker.sequencer.clone();
        let workers: Vec<Arbiter> =
            (0..core.threads).map(|lane| worker(lane, sequencer.clone())).collect();
        for (worker, lane) in workers.iter().zip(sequencer.lanes()) {
            let lane = lane.clone();
            worker.spawn_fn(move || drop(Carrier(lane).start()));
        }
        let broker = Arbiter::new();
        broker.spawn_fn(move || drop(BrokerActor(Arc::downgrade(&sequencer)).start()));
        let supervisors = backoffs
            .into_iter()
            .map(|backoff| SupervisorActor::new(backoff, clock.clone()).start())
            .collect();
        let (host_alive, hosts) = mpsc::channel(1);
        let (broker, pools) = (Some(broker), Vec::new());
        Self { core, workers, pools, broker, supervisors, host_alive, hosts }
    }

    fn serve(&self, address: std::net::SocketAddr) -> Result<(), Error> {
        #[cfg(feature = "console")]
        {
            let watched: Arc<dyn crate::console::Watched> = self.core.clone();
            let bound = crate::console::serve(address, watched).map_err(|error| {
                Error::new(
                    ErrorKind::System,
                    format!("cannot serve on {address}: {error}; is the port taken?"),
                )
            })?;
            self.core.address.set(bound).ok();
            Ok(())
        }
        #[cfg(not(feature = "console"))]
        {
            let _ = address;
            Err(Error::new(
                ErrorKind::Config,
                "`serve` needs the feature `console`: add it, or leave `serve` out",
            ))
        }
    }

    fn start_all(&mut self) -> Result<(), Error> {
        let processors = self.core.processors.read().clone();
        for running in &processors {
            self.core.subscribe(running);
        }
        processors.iter().try_for_each(|running| self.start(running))
    }

    /// Starts the hosts of one processor, its instances spread over them.
    fn start(&mut self, running: &Arc<Running>) -> Result<(), Error> {
        // Threads of processors that were removed have ended and take no more.
        self.pools.retain(|thread| thread.spawn_fn(|| {}));
        let settings = running.subscription.settings;
        let (hosts, instances) = (settings.hosts, settings.instances);
        for host in 0..hosts {
            let slots = instances / hosts + usize::from(host < instances % hosts);
            let core = self.core.clone();
            let built = TellOnce::new(move || core.host_built());
            let core = self.core.clone();
            let ended = TellOnce::new(move || core.forget_those_gone());
            let seat = Seat {
                broker: self.core.broker.clone(),
                subscription: running.subscription.clone(),
                supervisor: self.supervisors[running.supervisor].clone().recipient(),
                host,
                slots,
                hop_limit: self.core.hop_limit,
                own_thread: running.declaration.blocking,
                built,
                ended,
                _alive: self.host_alive.clone(),
            };
            let child = running.child.clone();
            if running.declaration.blocking {
                let thread = match contain(Arbiter::new) {
                    Ok(thread) => thread,
                    Err(why) => {
                        seat.ended.forget(); // it may drop code of the application: not here
                        (host + 1..hosts).for_each(|_| self.core.host_built());
                        return Err(no_thread(&running.declaration.name, host, &why));
                    }
                };
                thread.spawn_fn(move || child.host(seat));
                self.pools.push(thread);
            } else {
                let worker = (running.lane + host) % self.workers.len();
                self.workers[worker].spawn_fn(move || child.host(seat));
            }
        }
        Ok(())
    }

    async fn obey(&mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        while let Some(command) = commands.recv().await {
            match command {
                Command::Start(running, answer) => {
                    answer.send(self.start(&running)).ok();
                }
                Command::StopSignal(tell) => tell_stop_signal(tell),
                Command::Abandon => {
                    self.core.broker.close();
                    self.halt_all();
                    return;
                }
                Command::Shutdown(deadline, done) => {
                    refuse_until(pin!(self.end(deadline)), &mut commands).await;
                    self.halt_all();
                    done.send(()).ok();
                    return;
                }
            }
        }
    }

    async fn end(&mut self, deadline: Instant) {
        self.core.broker.close();
        let broker = self.core.broker.clone();
        let drained = broker.rest(crate::broker::door::Door::is_drained);
        tokio::time::timeout_at(deadline, drained).await.ok();
        self.halt_all();
        let (alive, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.host_alive, alive));
        tokio::time::timeout_at(deadline, self.hosts.recv()).await.ok();
    }

    fn halt_all(&self) {
        for running in self.core.all().iter().rev() {
            running.subscription.halt();
        }
        self.core.broker.intake.wake_resters();
    }

    /// Asks all threads to end but one, which is given back; waits for none, for one may be stuck in
    /// user code.
    fn stop_threads(mut self) -> Option<Arbiter> {
        self.core.broker.intake.end();
        let last = self.workers.pop();
        for thread in self.workers.drain(..).chain(self.pools.drain(..)).chain(self.broker.take()) {
            thread.stop();
        }
        last
    }
}

fn no_thread(processor: &str, instance: usize, why: &str) -> Error {
    let text = format!(
        "`{processor}` is `blocking()`, and instance {instance} got no thread of its own: {why}; \
         give it fewer `instances`, or raise the limit of threads"
    );
    Error::new(ErrorKind::System, text)
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
                Some(Command::Start(..) | Command::Shutdown(..)) => {}
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

/// A thread for processors. When it runs out of work it looks for more before it sleeps.
fn worker(lane: usize, sequencer: Arc<Sequencer>) -> Arbiter {
    Arbiter::with_tokio_rt(move || {
        // Weak, because a runtime of tokio lives as long as anybody may wake a task of it.
        let (rests, works) = (Arc::downgrade(&sequencer), Arc::downgrade(&sequencer));
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all();
        builder.on_thread_park(move || {
            if let Some(sequencer) = rests.upgrade() {
                sequencer.rests(lane);
            }
        });
        builder.on_thread_unpark(move || {
            if let Some(sequencer) = works.upgrade() {
                sequencer.works(lane);
            }
        });
        builder.build().unwrap_or_else(|error| panic!("no runtime for a thread: {error}"))
    })
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
