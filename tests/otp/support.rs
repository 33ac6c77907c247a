//! What the cases share: children that do as they are told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cueline::prelude::*;
use cueline::{ChildReport, ProcessorSpec, SupervisorHandle};
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};

/// What a child is told to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum What {
    /// Panic, the first time this is delivered.
    Panic,
    /// End in order, as if of its own accord.
    Normal,
    Shutdown,
    ShutdownFor(String),
    /// Wait for ever.
    Hang,
    /// Block the thread until its gate is opened.
    Block,
    /// Say that there is nothing to do.
    Ignore,
    /// Count it.
    Nothing,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Do {
    pub to: String,
    pub what: What,
}
cueline::event!(Do, "do", key: |event| &event.to);

/// How a child starts.
#[derive(Debug, Clone, Copy)]
pub enum Plan {
    Run,
    Ignore,
    Fail,
    Panic,
    /// Never comes to an end.
    Hang,
    /// Blocks the thread until the gate is opened, then fails.
    Block,
}

struct Inner {
    name: String,
    next: Mutex<VecDeque<Plan>>,
    always: Mutex<Plan>,
    tried: AtomicUsize,
    started: AtomicUsize,
    begun: AtomicUsize,
    done: AtomicUsize,
    /// How long it takes to stop; none if it never does.
    stops_in: Mutex<Option<Duration>>,
    gate: (Mutex<bool>, Condvar),
    order: Order,
}

/// What happened, in its order, at all children of a case.
#[derive(Clone, Default)]
pub struct Order(Arc<Mutex<Vec<String>>>);

impl Order {
    fn push(&self, what: String) {
        self.0.lock().push(what);
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

/// A child, as the case that made it knows it.
#[derive(Clone)]
pub struct Child(Arc<Inner>);

impl Child {
    pub fn new(name: &str) -> Self {
        Self::in_order(name, &Order::default())
    }

    pub fn in_order(name: &str, order: &Order) -> Self {
        Self(Arc::new(Inner {
            name: name.to_owned(),
            next: Mutex::default(),
            always: Mutex::new(Plan::Run),
            tried: AtomicUsize::new(0),
            started: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            stops_in: Mutex::new(Some(Duration::ZERO)),
            gate: (Mutex::new(false), Condvar::new()),
            order: order.clone(),
        }))
    }

    /// Declares it: permanent, and stopped within a second.
    pub fn spec(&self) -> Spec {
        let (child, me) = (self.clone(), self.0.name.clone());
        processor(&self.0.name, move || child.make())
            .on_if(move |event: &Do| event.to == me)
            .count(Count::Every)
            .retry(Retry::attempts(2).backoff(Backoff::none()))
            .stop_within(secs(1))
    }

    pub fn make(&self) -> Worker {
        Worker(self.clone())
    }

    /// How it starts the next time.
    pub fn next(&self, plan: Plan) -> &Self {
        self.0.next.lock().push_back(plan);
        self
    }

    /// How it starts from now on.
    pub fn always(&self, plan: Plan) -> &Self {
        *self.0.always.lock() = plan;
        self
    }

    pub fn stops_in(&self, time: Option<Duration>) -> &Self {
        *self.0.stops_in.lock() = time;
        self
    }

    /// How often it was started with success. As long as this stays, it is the same instance.
    pub fn started(&self) -> usize {
        self.0.started.load(SeqCst)
    }

    /// How often its start was tried.
    pub fn tried(&self) -> usize {
        self.0.tried.load(SeqCst)
    }

    /// How many events it has begun with.
    pub fn begun(&self) -> usize {
        self.0.begun.load(SeqCst)
    }

    pub fn done(&self) -> usize {
        self.0.done.load(SeqCst)
    }

    /// Whatever blocks its thread goes on.
    pub fn open(&self) {
        *self.0.gate.0.lock() = true;
        self.0.gate.1.notify_all();
    }

    fn block(&self) {
        let mut open = self.0.gate.0.lock();
        while !*open {
            self.0.gate.1.wait(&mut open);
        }
    }
}

pub struct Worker(Child);

pub type Spec = ProcessorSpec<Worker, (cueline::On<Do>, ())>;

impl Processor for Worker {
    async fn started(&mut self, cx: &mut Context) -> Outcome {
        let inner = &self.0.0;
        let plan = inner.next.lock().pop_front().unwrap_or(*inner.always.lock());
        inner.tried.fetch_add(1, SeqCst);
        match plan {
            Plan::Run => {
                inner.started.fetch_add(1, SeqCst);
                inner.order.push(format!("start {}", inner.name));
                Ok(())
            }
            Plan::Ignore => {
                cx.ignore();
                Ok(())
            }
            Plan::Fail => Err(Failure::transient("it will not start")),
            Plan::Panic => panic!("it panics when it starts"),
            Plan::Hang => std::future::pending().await,
            Plan::Block => {
                self.0.block();
                Err(Failure::transient("it was blocked"))
            }
        }
    }

    async fn stopping(&mut self, _: &mut Context) -> Outcome {
        let inner = &self.0.0;
        let time = *inner.stops_in.lock();
        match time {
            None => std::future::pending().await,
            Some(time) if time.is_zero() => {}
            Some(time) => tokio::time::sleep(time).await,
        }
        inner.order.push(format!("stop {}", inner.name));
        Ok(())
    }
}

impl Handle<Do> for Worker {
    async fn handle(&mut self, event: &Do, cx: &mut Context) -> Outcome {
        self.0.0.begun.fetch_add(1, SeqCst);
        match &event.what {
            What::Panic => assert!(cx.attempt() > 1, "it was told to"),
            What::Normal => cx.stop(Reason::Normal),
            What::Shutdown => cx.stop(Reason::Shutdown),
            What::ShutdownFor(why) => cx.stop(Reason::ShutdownFor(why.clone())),
            What::Hang => std::future::pending().await,
            What::Block => self.0.block(),
            What::Ignore => cx.ignore(),
            What::Nothing => {}
        }
        self.0.0.done.fetch_add(1, SeqCst);
        Ok(())
    }
}

/// A supervisor as OTP's cases have it: two restarts within an hour, and no back-off.
pub fn otp(strategy: Strategy) -> Supervisor {
    Supervisor::new("sup")
        .strategy(strategy)
        .intensity(Intensity::within(2, hours(1)))
        .backoff(Backoff::none())
}

/// A running case: the supervisor is a transient child of another, which stays when it ends.
pub struct Case {
    pub runtime: Runtime,
    pub sup: SupervisorHandle,
    pub top: SupervisorHandle,
}

impl Case {
    pub fn new(sup: impl IntoChild) -> Self {
        let top = Supervisor::new("top").child(sup.restart(Restart::Transient));
        let runtime = Runtime::builder("otp").threads(2).supervise(top).start().unwrap();
        let case = Self {
            sup: runtime.supervisor("top/sup").unwrap(),
            top: runtime.supervisor("top").unwrap(),
            runtime,
        };
        let begun = case.runtime.clone();
        until("the supervisors have started", move || begun.tree().children[0].state.is_up());
        case
    }

    /// Told from outside, as a message is sent to a process.
    pub fn tell(&self, to: &str, what: What) {
        self.runtime.publish(Do { to: to.to_owned(), what }).wait().unwrap();
    }

    /// A child panics, and runs again.
    pub fn crash(&self, child: &Child) {
        let (before, name) = (child.started(), child.0.name.clone());
        self.tell(&name, What::Panic);
        let child = child.clone();
        until("it runs again", move || child.started() > before);
    }

    pub fn counts(&self) -> [usize; 4] {
        counts(&self.sup)
    }

    /// Waits until the children are counted like that.
    pub fn counts_are(&self, expected: [usize; 4]) {
        let sup = self.sup.clone();
        until(&format!("{expected:?}"), move || counts(&sup) == expected);
    }

    pub fn names(&self) -> Vec<String> {
        self.sup.children().unwrap().into_iter().map(|child| child.name).collect()
    }

    pub fn child(&self, name: &str) -> ChildReport {
        self.sup.children().unwrap().into_iter().find(|child| child.name == name).unwrap()
    }

    /// The supervisor ends; how.
    pub fn ended(&self, watching: cueline::Watching) -> Reason {
        let reason = within("the supervisor ends", move || watching.wait()).unwrap();
        let top = self.top.clone();
        until("it is down", move || top.children().unwrap()[0].state == cueline::ChildState::Down);
        reason
    }

    pub fn watch(&self) -> cueline::Watching {
        self.top.watch("sup").unwrap()
    }
}

pub fn counts(of: &SupervisorHandle) -> [usize; 4] {
    let counts = of.count().unwrap();
    [counts.specs, counts.running, counts.supervisors, counts.workers]
}

pub trait IsUp {
    fn is_up(&self) -> bool;
}

impl IsUp for cueline::ChildState {
    fn is_up(&self) -> bool {
        *self == cueline::ChildState::Running
    }
}

/// Waits for a fact, so that a test that would hang fails instead.
pub fn until(what: &str, fact: impl Fn() -> bool) {
    let began = Instant::now();
    while !fact() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}: not in 30 s");
        std::thread::yield_now();
    }
}

/// As [`until`], for what blocks.
pub fn within<T: Send + 'static>(what: &str, wait: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(wait()));
    told.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| panic!("{what}: not in 30 s"))
}
