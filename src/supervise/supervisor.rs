//! How a tree is declared: supervisors, pools, and what can be a child of one.

use std::sync::Arc;
use std::time::Duration;

use super::child::{Child, ChildOptions, Decider};
use super::options::{AutoShutdown, Intensity, OnExit, Reason, Restart, StopRule, Strategy};
use super::policy::Flags;
use super::tree::ChildKind;
use crate::guard::Quiet;
use crate::queue::backoff::Backoff;

/// A supervisor: starts its children in order, restarts them when they fail, stops them in reverse
/// order. Its children are processors, plain actors, pools, or supervisors of their own: a tree of
/// any depth, with the semantics of Erlang/OTP's `supervisor(3)`.
///
/// A child's events wait while it is down. A failing event is charged to the event; its processor is
/// charged as a child only if nothing succeeded since it was built
/// ([`Count`](crate::Count)), so that a poison event among good ones neither slows nor stops
/// anybody.
///
/// | setting | default |
/// |---|---|
/// | [`strategy`](Supervisor::strategy) | one for one |
/// | [`intensity`](Supervisor::intensity) | unlimited: it never gives up |
/// | [`backoff`](Supervisor::backoff) | the first restart at once, then 100 ms doubling to 30 s |
/// | [`auto_shutdown`](Supervisor::auto_shutdown) | never |
/// | [`restart`](IntoChild::restart) | permanent |
/// | [`stop_within`](IntoChild::stop_within) | 5 s; for supervisors and pools, however long it takes |
///
/// With `Backoff::none()`, `Count::Every` and an intensity it is OTP's to the letter.
///
/// ```
/// # use cueline::prelude::*;
/// # struct Board;
/// # impl Processor for Board {}
/// let operations = Supervisor::new("operations")
///     .strategy(Strategy::RestForOne)
///     .intensity(Intensity::within(5, secs(10)))
///     .backoff(Backoff::new(millis(10), secs(5)))
///     .child(processor("board", || Board).stop_within(secs(1)))
///     .child(Supervisor::new("reports").restart(Restart::Transient));
/// ```
pub struct Supervisor {
    pub(crate) name: String,
    pub(crate) flags: Flags,
    pub(crate) decider: Option<Arc<Decider>>,
    pub(crate) options: ChildOptions,
    pub(crate) children: Vec<DeclaredChild>,
}

/// A supervisor of many children of one kind, which come and go while it runs: OTP's
/// `simple_one_for_one`. It begins empty; [`PoolHandle::start`](crate::PoolHandle::start) starts a
/// child from the template, with an argument for its factory. Children are restarted one by one and
/// stopped all at the same time.
///
/// Children that are processors share one subscription: they compete for its events, and a key is
/// never with two of them at a time. While the pool is empty nobody waits for room in it.
///
/// ```
/// # use cueline::prelude::*;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Task { number: u32 }
/// # cueline::event!(Task, "task");
/// struct Worker {
///     server: String,
/// }
/// impl Processor for Worker {}
/// impl Handle<Task> for Worker {
///     async fn handle(&mut self, task: &Task, _: &mut Context) -> Outcome {
///         println!("task {} at {}", task.number, self.server);
///         Ok(())
///     }
/// }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let worker = processor_with("worker", |server: &String| Worker { server: server.clone() });
/// let runtime = Runtime::builder("example")
///     .supervise(Supervisor::new("work").child(Pool::new("workers", worker.on::<Task>())))
///     .start()?;
/// let workers = runtime.pool("work/workers")?;
/// let one = workers.start("one.example.org".to_owned()).wait()?;
/// workers.start("two.example.org".to_owned()).wait()?;
/// runtime.publish_all((1..=10).map(|number| Task { number })).wait()?;
/// runtime.idle().wait();
/// workers.stop(&one).wait()?;
/// assert_eq!(workers.count()?.running, 1);
/// # Ok(())
/// # }
/// ```
pub struct Pool {
    /// All that it is beside its template.
    pub(crate) supervisor: Supervisor,
    pub(crate) template: Box<DeclaredChild>,
}

/// A child as it was declared.
pub(crate) enum DeclaredChild {
    Leaf(ChildKind, Arc<dyn Child>, ChildOptions),
    Supervisor(Supervisor),
    Pool(Pool),
}

/// What can be a child of a supervisor: a processor ([`processor`](crate::processor())), a plain
/// actor ([`actor`](crate::actor())), a [`Supervisor`], a [`Pool`].
pub trait IntoChild: into_child::Sealed + Sized {
    /// Whether it starts again after it has ended. Default: always.
    #[must_use]
    fn restart(mut self, restart: Restart) -> Self {
        self.options().restart = restart;
        self
    }

    /// How long it may take to stop in order, before it is killed: its futures are dropped, and a
    /// thread that it blocks is given up. Default: 5 s; a supervisor takes as long as it takes.
    #[must_use]
    fn stop_within(mut self, limit: Duration) -> Self {
        self.options().stop = Some(StopRule::Within(limit));
        self
    }

    /// It is not killed, however long it takes to stop.
    #[must_use]
    fn stop_patiently(mut self) -> Self {
        self.options().stop = Some(StopRule::Patient);
        self
    }

    /// It is killed at once when it is to stop.
    #[must_use]
    fn kill_to_stop(mut self) -> Self {
        self.options().stop = Some(StopRule::Kill);
        self
    }

    /// Its end of its own accord may end its supervisor
    /// ([`auto_shutdown`](Supervisor::auto_shutdown)). Not for a permanent child, which never ends
    /// for good.
    #[must_use]
    fn significant(mut self) -> Self {
        self.options().significant = true;
        self
    }
}

pub(crate) mod into_child {
    use super::{ChildOptions, DeclaredChild};

    pub trait Sealed {
        #[doc(hidden)]
        #[allow(private_interfaces)]
        fn options(&mut self) -> &mut ChildOptions;

        #[doc(hidden)]
        #[allow(private_interfaces)]
        fn into_child(self) -> DeclaredChild;
    }
}

impl Supervisor {
    /// A supervisor without children. Its name follows the rules of message names.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            flags: Flags::default(),
            decider: None,
            options: ChildOptions::default(),
            children: Vec::new(),
        }
    }

    /// Whom it restarts when a child fails. Default: that child.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.flags.strategy = strategy;
        self
    }

    /// How many restarts it puts up with before it gives up. Default: any number.
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.flags.intensity = intensity;
        self
    }

    /// How long to wait between restarts of a child that keeps failing; forgotten after a quiet
    /// time: ten seconds, or twice the last wait. Default: the first restart at once, then 100 ms
    /// doubling to 30 s.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.flags.backoff = backoff;
        self
    }

    /// When it stops because significant children have ended. Default: never.
    #[must_use]
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.flags.auto_shutdown = auto_shutdown;
        self
    }

    /// Asks `decide` what to do whenever a child fails, by the child's name and what it said. It
    /// runs on a thread of the processors. If it panics, the supervisor gives up. It is not asked about
    /// a child that blocked its thread, which is restarted.
    ///
    /// ```
    /// # use cueline::prelude::*;
    /// let feeds = Supervisor::new("feeds").on_exit(|child, reason| {
    ///     if reason.to_string().contains("no licence") { OnExit::Stop } else { OnExit::Restart }
    /// });
    /// ```
    #[must_use]
    pub fn on_exit(
        mut self,
        decide: impl Fn(&str, &Reason) -> OnExit + Send + Sync + 'static,
    ) -> Self {
        self.decider = Some(Arc::new(Quiet::new(Box::new(decide))));
        self
    }

    /// Adds a child. Children start in this order, each when the one before it is up, and stop in
    /// the reverse one, each when the one after it has.
    #[must_use]
    pub fn child(mut self, child: impl IntoChild) -> Self {
        self.children.push(child.into_child());
        self
    }
}

impl Pool {
    /// A pool without children yet, and what each of them is. Its name follows the rules of message
    /// names.
    pub fn new(name: impl Into<String>, template: impl IntoChild) -> Self {
        let mut supervisor = Supervisor::new(name);
        supervisor.flags.pool = true;
        Self { supervisor, template: Box::new(template.into_child()) }
    }

    /// As [`Supervisor::intensity`].
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.supervisor = self.supervisor.intensity(intensity);
        self
    }

    /// As [`Supervisor::backoff`].
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.supervisor = self.supervisor.backoff(backoff);
        self
    }

    /// As [`Supervisor::on_exit`].
    #[must_use]
    pub fn on_exit(
        mut self,
        decide: impl Fn(&str, &Reason) -> OnExit + Send + Sync + 'static,
    ) -> Self {
        self.supervisor = self.supervisor.on_exit(decide);
        self
    }
}

impl IntoChild for Supervisor {}

#[allow(private_interfaces)]
impl into_child::Sealed for Supervisor {
    fn options(&mut self) -> &mut ChildOptions {
        &mut self.options
    }

    fn into_child(self) -> DeclaredChild {
        DeclaredChild::Supervisor(self)
    }
}

impl IntoChild for Pool {}

#[allow(private_interfaces)]
impl into_child::Sealed for Pool {
    fn options(&mut self) -> &mut ChildOptions {
        &mut self.supervisor.options
    }

    fn into_child(self) -> DeclaredChild {
        DeclaredChild::Pool(self)
    }
}
