//! The actor that carries the tree: on the control thread, where no user code runs. What it is told
//! it puts to the [`Tree`], and does what that wants.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, MessageResult, SpawnHandle};
use tokio::sync::oneshot;

use super::child::{Broke, HostId, Report};
use super::options::{OnExit, Reason};
use super::policy::{Done, NodeId, Now, Ticket, Verdict};
use super::tree::{ChildReport, Effect, GaveUp, Refusal, Tree};
use crate::clock::{Clock, Moment};
use crate::pulse::Stuck;

/// Whoever runs the leaves of a tree. It answers at once, and tells the actor by messages what
/// became of what it was asked.
pub(crate) trait Leaves: Unpin + 'static {
    /// Starts a leaf; the error is the leaf's end.
    fn start(&mut self, leaf: NodeId, tree: &Tree, to: &Addresses) -> Result<(), String>;
    /// Asks a leaf to end in order. How it has ended, if nothing of it runs anyway.
    fn stop(&mut self, leaf: NodeId) -> Option<Reason>;
    /// Ends a leaf: when this returns nothing it does has any effect.
    fn kill(&mut self, leaf: NodeId);
    /// It is down until somebody asks for it; `number` is what it was declared by.
    fn rest(&mut self, leaf: NodeId, number: Option<usize>);
    /// It is gone; `undone` if it was never there, `for_good` if what declared it is not needed either.
    fn forget(&mut self, leaf: NodeId, number: usize, undone: bool, for_good: bool);
    /// A pool is gone, whose children were that leaf.
    fn forget_template(&mut self, number: usize, undone: bool, for_good: bool);
    /// A second has passed.
    fn keep(&mut self);
    /// All that was asked has been done: what is left over may be dropped, elsewhere.
    fn tidy(&mut self);
    /// A host says something; what it means for the leaf, if anything.
    fn hears(&mut self, report: Report) -> Option<Heard>;
    /// A host failed. Whether the tree is to decide, or the verdict of who is not in it any more.
    fn broke(&mut self, broke: &Broke, now: Moment) -> Option<Verdict>;
    /// Asks code of the application what to do about a child that ended.
    fn decide(
        &mut self,
        decider: usize,
        child: NodeId,
        name: String,
        reason: Reason,
        to: &Addresses,
    );
    /// It has answered.
    fn has_decided(&mut self, child: NodeId);
    /// A fact is to be told.
    fn tell(&mut self, fact: &Effect, tree: &Tree);
    /// The tree has ended.
    fn ended(&mut self, gave_up: Option<GaveUp>);
    /// A thread is stuck in user code, and given up. Who is charged with it, if anybody.
    fn lose(&mut self, thread: ThreadId, stuck: Stuck, to: &Addresses) -> Option<Lost>;
    /// A host that was lost goes on elsewhere.
    fn go_on(&mut self, from: HostId, to: &Addresses);
}

/// A thread on which hosts live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ThreadId {
    /// One that many share.
    Worker(usize),
    /// The own one of that host, by its life.
    Own(u64),
}

/// A thread is stuck.
pub(crate) struct ThreadStuck(pub(crate) ThreadId, pub(crate) Stuck);

impl actix::Message for ThreadStuck {
    type Result = ();
}

/// What a host's word means for its leaf.
#[derive(Debug)]
pub(crate) enum Heard {
    Started(NodeId),
    Ignored(NodeId),
    Ended(NodeId, Reason),
}

/// A host that blocked its thread for too long, with nothing to show for it.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) from: HostId,
    pub(crate) cause: String,
    pub(crate) whole: bool,
}

/// Where messages to the actor go.
#[derive(Clone)]
pub(crate) struct Addresses {
    pub(crate) tell: actix::Recipient<Report>,
    pub(crate) ask: actix::Recipient<Broke>,
    pub(crate) decided: actix::Recipient<Decided>,
}

/// The application's code has decided about a child.
pub(crate) struct Decided {
    pub(crate) child: NodeId,
    pub(crate) advice: OnExit,
}

impl actix::Message for Decided {
    type Result = ();
}

/// Something asked of the tree by somebody who waits for the answer.
pub(crate) struct Ask<L: Leaves>(pub(crate) Box<dyn FnOnce(&mut TreeActor<L>) + Send>);

impl<L: Leaves> actix::Message for Ask<L> {
    type Result = ();
}

/// The actor that carries the tree.
pub(crate) struct TreeActor<L> {
    pub(crate) tree: Tree,
    pub(crate) leaves: L,
    clock: Arc<Clock>,
    tickets: u64,
    answers: HashMap<Ticket, oneshot::Sender<Result<Done, String>>>,
    watchers: HashMap<Ticket, oneshot::Sender<Reason>>,
    to: Option<Addresses>,
    armed: Option<(Moment, SpawnHandle)>,
}

impl<L: Leaves> TreeActor<L> {
    pub(crate) fn new(tree: Tree, leaves: L, clock: Arc<Clock>) -> Self {
        Self {
            tree,
            leaves,
            clock,
            tickets: 0,
            answers: HashMap::new(),
            watchers: HashMap::new(),
            to: None,
            armed: None,
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now { at: self.clock.now(), jitter: fastrand::f64() }
    }

    /// Somebody waits for an answer.
    pub(crate) fn ticket(&mut self) -> (Ticket, oneshot::Receiver<Result<Done, String>>) {
        self.tickets += 1;
        let (answer, answered) = oneshot::channel();
        self.answers.insert(Ticket(self.tickets), answer);
        (Ticket(self.tickets), answered)
    }

    /// Watches a child, as `watch` says, with the ticket it is given.
    pub(crate) fn watched(
        &mut self,
        watch: impl FnOnce(&mut Tree, Ticket) -> Result<(), Refusal>,
    ) -> Result<oneshot::Receiver<Reason>, Refusal> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        watch(&mut self.tree, ticket)?;
        let (tell, told) = oneshot::channel();
        if self.watchers.len().is_power_of_two() {
            self.watchers.retain(|_, watcher| !watcher.is_closed());
        }
        self.watchers.insert(ticket, tell);
        Ok(told)
    }

    pub(crate) fn report(&self, supervisor: NodeId) -> Vec<ChildReport> {
        self.tree.children(supervisor, self.clock.now())
    }

    /// Whoever waits for an answer waits no longer.
    pub(crate) fn refuse_all(&mut self) {
        self.answers.clear();
    }

    /// A ticket will not be answered after all.
    pub(crate) fn give_back(&mut self, ticket: Ticket) {
        self.answers.remove(&ticket);
    }

    fn carry(&mut self, ctx: &mut Context<Self>) {
        let Some(to) = self.to.clone() else { return };
        loop {
            let effects = self.tree.effects();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                self.carry_out(effect, &to);
            }
        }
        self.leaves.tidy();
        let due = self.tree.next_due();
        if due == self.armed.as_ref().map(|(due, _)| *due) {
            return;
        }
        if let Some((_, timer)) = self.armed.take() {
            ctx.cancel_future(timer);
        }
        if let Some(due) = due {
            let wait = due.since(self.clock.now());
            // Timers of tokio are a millisecond coarse, and never early.
            let timer = ctx.run_later(wait, |actor, ctx| {
                actor.armed = None;
                let now = actor.now();
                actor.tree.tick(now);
                actor.carry(ctx);
            });
            self.armed = Some((due, timer));
        }
    }

    fn carry_out(&mut self, effect: Effect, to: &Addresses) {
        match effect {
            Effect::Start(leaf) => {
                if let Err(error) = self.leaves.start(leaf, &self.tree, to) {
                    let now = self.now();
                    self.tree.ended(leaf, Reason::Failed(error), now);
                }
            }
            Effect::Stop(leaf) => {
                if let Some(reason) = self.leaves.stop(leaf) {
                    let now = self.now();
                    self.tree.ended(leaf, reason, now);
                }
            }
            Effect::Kill(leaf) => {
                self.leaves.kill(leaf);
                let now = self.now();
                self.tree.ended(leaf, Reason::Killed, now);
            }
            Effect::Rest(leaf) => self.leaves.rest(leaf, self.tree.leaf(leaf)),
            Effect::Forget { leaf, number, undone, for_good } => {
                self.leaves.forget(leaf, number, undone, for_good);
            }
            Effect::ForgetTemplate { number, undone, for_good } => {
                self.leaves.forget_template(number, undone, for_good);
            }
            Effect::Decide { decider, child, reason } => {
                let name = self.tree.name(child);
                self.leaves.decide(decider, child, name, reason, to);
            }
            Effect::Told(ticket, reason) => {
                if let Some(tell) = self.watchers.remove(&ticket) {
                    tell.send(reason).ok();
                }
            }
            Effect::Answer(ticket, answer) => {
                if let Some(tell) = self.answers.remove(&ticket) {
                    tell.send(answer).ok();
                }
            }
            Effect::Restart { .. } | Effect::Recovered { .. } | Effect::GaveUp { .. } => {
                self.leaves.tell(&effect, &self.tree);
            }
            Effect::End(gave_up) => {
                self.answers.clear();
                self.watchers.clear();
                self.leaves.ended(gave_up);
            }
        }
    }
}

impl<L: Leaves> Actor for TreeActor<L> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let me = ctx.address();
        self.to = Some(Addresses {
            tell: me.clone().recipient(),
            ask: me.clone().recipient(),
            decided: me.recipient(),
        });
        ctx.run_interval(Duration::from_secs(1), |actor, _| actor.leaves.keep());
        let now = self.now();
        self.tree.start(now);
        self.carry(ctx);
    }
}

impl<L: Leaves> Handler<Report> for TreeActor<L> {
    type Result = ();

    fn handle(&mut self, report: Report, ctx: &mut Self::Context) {
        let now = self.now();
        match self.leaves.hears(report) {
            None => return self.leaves.tidy(),
            Some(Heard::Started(leaf)) => self.tree.started(leaf, now),
            Some(Heard::Ignored(leaf)) => self.tree.ignored(leaf, now),
            Some(Heard::Ended(leaf, reason)) => self.tree.ended(leaf, reason, now),
        }
        self.carry(ctx);
    }
}

impl<L: Leaves> Handler<Broke> for TreeActor<L> {
    type Result = MessageResult<Broke>;

    fn handle(&mut self, broke: Broke, ctx: &mut Self::Context) -> Self::Result {
        let now = self.now();
        let verdict = self.leaves.broke(&broke, now.at).unwrap_or_else(|| {
            let Broke { from, error, whole, advice, .. } = broke;
            self.tree.broke(from.node, error, whole, advice, now)
        });
        self.carry(ctx);
        MessageResult(verdict)
    }
}

impl<L: Leaves> Handler<Decided> for TreeActor<L> {
    type Result = ();

    fn handle(&mut self, Decided { child, advice }: Decided, ctx: &mut Self::Context) {
        let now = self.now();
        self.leaves.has_decided(child);
        self.tree.decided(child, advice, now);
        self.carry(ctx);
    }
}

impl<L: Leaves> Handler<Ask<L>> for TreeActor<L> {
    type Result = ();

    fn handle(&mut self, ask: Ask<L>, ctx: &mut Self::Context) {
        (ask.0)(self);
        self.carry(ctx);
    }
}

impl<L: Leaves> Handler<ThreadStuck> for TreeActor<L> {
    type Result = ();

    fn handle(&mut self, ThreadStuck(thread, stuck): ThreadStuck, ctx: &mut Self::Context) {
        let Some(to) = self.to.clone() else { return };
        let now = self.now();
        if let Some(Lost { from, cause, whole }) = self.leaves.lose(thread, stuck, &to) {
            let verdict = self.tree.broke(from.node, cause, whole, OnExit::Restart, now);
            match verdict {
                Verdict::Rebuild(wait) if wait.is_zero() => self.leaves.go_on(from, &to),
                Verdict::Rebuild(wait) => {
                    ctx.run_later(wait, move |actor, _| actor.leaves.go_on(from, &to));
                }
                Verdict::End => {}
            }
        }
        self.carry(ctx);
    }
}
