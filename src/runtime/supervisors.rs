//! What an application asks of a supervisor of a running runtime.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::asked::{Asked, Watching};
use super::control::{Command, Supervision, is_control_thread};
use super::core::{Core, Running};
use super::plan::{Specs, plan, supervised};
use super::wiring::{add_metrics, admit, check_later};
use crate::error::{Error, ErrorKind};
use crate::supervise::actor::Ask;
use crate::supervise::policy::{Done, NodeId, Not, Ticket};
use crate::supervise::tree::{Body, Plan, Refusal, Which};
use crate::supervise::{ChildCounts, ChildReport, IntoChild, Supervisor};

/// A running supervisor; from [`Runtime::supervisor`](super::Runtime::supervisor).
///
/// ```
/// # use cueline::prelude::*;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Ping;
/// # cueline::event!(Ping, "ping");
/// # struct Echo;
/// # impl Processor for Echo {}
/// # impl Handle<Ping> for Echo {
/// #     async fn handle(&mut self, _: &Ping, _: &mut Context) -> Outcome { Ok(()) }
/// # }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let runtime =
/// #     Runtime::builder("example").supervise(Supervisor::new("operations")).start()?;
/// let operations = runtime.supervisor("operations")?;
/// operations.add(processor("echo", || Echo).on::<Ping>()).wait()?;
/// let watching = operations.watch("echo")?;
/// operations.stop("echo").wait()?;
/// assert_eq!(watching.wait(), Some(Reason::Shutdown));
/// operations.restart("echo").wait()?;
/// assert_eq!(operations.count()?.running, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SupervisorHandle {
    pub(super) core: Arc<Core>,
    pub(super) path: Arc<str>,
}

type Answered = oneshot::Receiver<Result<Done, String>>;

impl SupervisorHandle {
    /// Asks on the control thread, which answers at once.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Supervision, NodeId) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Error> {
        let (give, given) = crossbeam_channel::bounded(1);
        if is_control_thread() {
            return Err(Error::new(
                ErrorKind::InsideHandler,
                "an observer asked for something it would have to wait for on the thread that \
                 answers: note the signal, and ask from another thread",
            ));
        }
        self.send(move |answer| drop(give.send(answer)), ask)?;
        let answer = given.recv().map_err(|_| Error::closed())?;
        answer.map_err(|refusal| self.explain(refusal, ""))
    }

    fn send<T>(
        &self,
        give: impl FnOnce(Result<T, Refusal>) + Send + 'static,
        ask: impl FnOnce(&mut Supervision, NodeId) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<(), Error> {
        let path = self.path.clone();
        let asked = Ask::<super::leaves::Processors>(Box::new(move |actor: &mut Supervision| {
            give(actor.tree.supervisor(&path).and_then(|id| ask(actor, id)));
        }));
        self.core.commands.send(Command::Tree(asked)).map_err(|_| Error::closed())
    }

    /// Asks for something that takes its time. It is asked now, whether anybody waits or not.
    pub(super) fn asks<T: Send + 'static>(
        &self,
        child: &str,
        ask: impl FnOnce(&mut Supervision, NodeId, Ticket) -> Result<T, Refusal> + Send + 'static,
    ) -> Asked<(T, Done)> {
        let (give, given) = oneshot::channel();
        let sent = self.send(
            |answer| drop(give.send(answer)),
            move |actor, id| {
                let (ticket, answered) = actor.ticket();
                match ask(actor, id, ticket) {
                    Ok(known) => Ok((known, answered)),
                    Err(refusal) => {
                        actor.give_back(ticket);
                        Err(refusal)
                    }
                }
            },
        );
        if let Err(error) = sent {
            return Asked::refused(error);
        }
        let (child, me) = (child.to_owned(), self.clone());
        Asked::new(async move {
            let answer = given.await.map_err(|_| Error::closed())?;
            let (known, answered) = answer.map_err(|refusal| me.explain(refusal, &child))?;
            Ok((known, me.answer(&child, answered).await?))
        })
    }

    pub(super) fn answer(&self, child: &str, answered: Answered) -> Asked<Done> {
        let (child, path) = (child.to_owned(), self.path.clone());
        Asked::new(async move {
            let answer = answered.await.map_err(|_| Error::closed())?;
            answer.map_err(|why| {
                Error::new(
                    ErrorKind::StartFailed,
                    format!("`{child}` of `{path}` did not start: {why}"),
                )
            })
        })
    }

    pub(super) fn explain(&self, refusal: Refusal, child: &str) -> Error {
        let path = &self.path;
        let list = |known: Vec<String>| match known.is_empty() {
            true => "none".to_owned(),
            false => format!("`{}`", known.join("`, `")),
        };
        match refusal {
            Refusal::NoSupervisor(known) => Error::not_found(format!(
                "there is no supervisor `{path}`; there are {}",
                list(known)
            )),
            Refusal::NoChild(known) => Error::not_found(format!(
                "`{path}` has no child `{child}`; there are {}",
                list(known)
            )),
            Refusal::Child(Not::Supervised) => Error::new(
                ErrorKind::Conflict,
                format!("`{path}` does not run: restart it first, or wait until it has started"),
            ),
            Refusal::Child(not) => {
                Error::new(ErrorKind::Conflict, format!("`{child}` of `{path}` {not}"))
            }
            Refusal::Pool => Error::new(
                ErrorKind::Conflict,
                format!("`{path}` is a pool, whose children have no names: use `runtime.pool(..)`"),
            ),
            Refusal::Significant => Error::config(format!(
                "`{child}` is significant, but `{path}` never shuts down by itself: reconfigure it \
                 with `auto_shutdown(..)`, or leave `significant()` out"
            )),
            Refusal::NoPool => Error::new(
                ErrorKind::Conflict,
                format!("`{path}` is no pool: use `runtime.supervisor(..)`"),
            ),
        }
    }

    /// The names from the top-level supervisor down.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its children, and all below them.
    ///
    /// # Errors
    ///
    /// `NotFound` if the supervisor is gone, `Closed` when the runtime has stopped.
    pub fn children(&self) -> Result<Vec<ChildReport>, Error> {
        self.ask(|actor, id| Ok(actor.report(id)))
    }

    /// Its children, counted as OTP counts them.
    ///
    /// # Errors
    ///
    /// As [`SupervisorHandle::children`].
    pub fn count(&self) -> Result<ChildCounts, Error> {
        self.ask(|actor, id| Ok(actor.tree.count(id)))
    }

    /// Adds a child and starts it; resolves when it runs, with false if it has nothing to do
    /// ([`Start::Ignore`](crate::Start::Ignore)). A processor receives exactly what is published
    /// from now on. If its first start fails, it is as if it had never been added.
    ///
    /// # Errors
    ///
    /// `StartFailed` with what it said; `Conflict` if there is a child of that name; `Config` as
    /// [`RuntimeBuilder::start`](crate::RuntimeBuilder::start).
    pub fn add(&self, child: impl IntoChild) -> Asked<bool> {
        match self.try_add(child) {
            Ok(done) => Asked::new(async { Ok(done.await? != Done::Ignored) }),
            Err(error) => Asked::refused(error),
        }
    }

    fn try_add(&self, child: impl IntoChild) -> Result<Asked<Done>, Error> {
        if self.core.broker.is_closed() {
            return Err(Error::closed());
        }
        let mut specs = Specs::default();
        let plan = plan(&mut specs, child.into_child(), &self.path)?;
        let name = plan.name.to_string();
        let (wanted, significant) = (name.clone(), plan.rule.significant);
        let may = self.ask(move |actor, id| Ok(actor.tree.may_add(id, &wanted, significant)))?;
        may.map_err(|refusal| self.explain(refusal, &name))?;
        let ready = self.admit_all(&specs)?;
        let admitted: Vec<Arc<Running>> = ready.values().cloned().collect();
        add_metrics(&self.core, &plan, &format!("{}/{name}", self.path));
        let asked = self.ask(move |actor, id| {
            let (ticket, answered) = actor.ticket();
            let now = actor.now();
            let (plan, taken) = actor.leaves.take_in(specs, ready, plan);
            match actor.tree.add(id, plan, Some(ticket), now) {
                Ok(_) => Ok(Ok(answered)),
                Err(refusal) => {
                    actor.give_back(ticket);
                    actor.leaves.take_out(&taken);
                    Ok(Err(refusal))
                }
            }
        });
        match asked {
            Ok(Ok(answered)) => Ok(self.answer(&name, answered)),
            Ok(Err(refusal)) => {
                self.undo(&admitted);
                Err(self.explain(refusal, &name))
            }
            Err(error) => {
                self.undo(&admitted);
                Err(error)
            }
        }
    }

    /// Processors get their names and their places in the order.
    fn admit_all(&self, specs: &Specs) -> Result<HashMap<usize, Arc<Running>>, Error> {
        let mut admitted: Vec<Arc<Running>> = Vec::new();
        let mut ready = HashMap::new();
        for (number, spec) in &specs.leaves {
            let admitting = match spec.later {
                true => check_later(&self.core, spec).map(|()| None),
                false => admit(&self.core, spec, None).map(Some),
            };
            match admitting {
                Ok(running) => {
                    admitted.extend(running.clone());
                    ready.extend(running.map(|running| (*number, running)));
                }
                Err(error) => {
                    self.undo(&admitted);
                    return Err(error);
                }
            }
        }
        admitted.iter().for_each(|running| self.core.subscribe(running));
        Ok(ready)
    }

    fn undo(&self, admitted: &[Arc<Running>]) {
        for running in admitted {
            if running.unbuilt.swap(false, std::sync::atomic::Ordering::SeqCst) {
                self.core.host_built();
            }
            self.core.orphan(running, true);
        }
    }

    /// Stops a child in order, and it stays down; a processor's events wait within its bound, and
    /// publishers do not wait for room in it. Resolves when it has stopped.
    ///
    /// # Errors
    ///
    /// `NotFound` without such a child; the text names those there are.
    pub fn stop(&self, child: &str) -> Asked<()> {
        let name = child.to_owned();
        let asked = self.asks(child, move |actor, id, ticket| {
            let now = actor.now();
            actor.tree.stop_child(id, Which::Named(&name), ticket, now)
        });
        Asked::new(async { asked.await.map(drop) })
    }

    /// Starts a child that is down; resolves when it runs, with false if it has nothing to do.
    ///
    /// # Errors
    ///
    /// `NotFound` without such a child, `Conflict` if it is not down, `StartFailed` with what it
    /// said: it stays down.
    pub fn restart(&self, child: &str) -> Asked<bool> {
        let name = child.to_owned();
        let asked = self.asks(child, move |actor, id, ticket| {
            let now = actor.now();
            actor.tree.restart_child(id, &name, ticket, now)
        });
        Asked::new(async { Ok(asked.await?.1 != Done::Ignored) })
    }

    /// Forgets a child that is down. What waits for it is parked as orphaned.
    ///
    /// # Errors
    ///
    /// `NotFound` without such a child, `Conflict` if it is not down.
    pub fn delete(&self, child: &str) -> Asked<()> {
        let name = child.to_owned();
        let asked = self.asks(child, move |actor, id, ticket| {
            let now = actor.now();
            actor.tree.delete_child(id, &name, ticket, now)
        });
        Asked::new(async { asked.await.map(drop) })
    }

    /// Waits for the end of a child, as it runs now: also if it failed and starts again.
    ///
    /// # Errors
    ///
    /// `NotFound` without such a child, `Conflict` if it does not run.
    pub fn watch(&self, child: &str) -> Result<Watching, Error> {
        let name = child.to_owned();
        let asked = self.ask(move |actor, id| {
            Ok(actor.watched(|tree, ticket| tree.watch(id, Which::Named(&name), ticket)))
        })?;
        asked.map(Watching).map_err(|refusal| self.explain(refusal, child))
    }

    /// Goes on by other rules: strategy, intensity, back-off, auto-shutdown and decider as `to` has
    /// them, and its children in that order. Of children that are there already only the rules change
    /// (`restart`, `stop_within`, `significant`): to give one other code, stop, delete and add it.
    /// A processor that runs asks the decider that it was started with until it is started anew.
    /// Children that are new are there and not started. Those that `to` does not declare run on, and
    /// do not come back with the supervisor.
    ///
    /// # Errors
    ///
    /// `Config` as [`RuntimeBuilder::start`](crate::RuntimeBuilder::start), and if `to` has another
    /// name; `Conflict` if the supervisor does not run, or is a pool. It goes on as it was.
    pub fn reconfigure(&self, to: Supervisor) -> Result<(), Error> {
        let (above, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        if to.name != name {
            return Err(Error::config(format!(
                "`{}` cannot become `{}`: a supervisor keeps its name",
                self.path, to.name
            )));
        }
        let mut specs = Specs::default();
        let plan = supervised(&mut specs, to, above)?;
        let Plan { body: Body::Branch(plan), .. } = plan else { return Ok(()) };
        let known = self.ask(move |actor, id| actor.tree.names_in(id))?;
        // What is known stays what it is, and what declared it anew is not needed.
        for child in plan.children.iter().filter(|child| known.contains(&child.name)) {
            child.each_leaf(&mut |number| drop(specs.leaves.remove(&number)));
        }
        let ready = self.admit_all(&specs)?;
        for child in plan.children.iter().filter(|child| !known.contains(&child.name)) {
            add_metrics(&self.core, child, &format!("{}/{}", self.path, child.name));
        }
        let admitted: Vec<Arc<Running>> = ready.values().cloned().collect();
        for running in &admitted {
            running.subscription.detach(true); // nobody starts it yet
            if running.unbuilt.swap(false, std::sync::atomic::Ordering::SeqCst) {
                self.core.host_built();
            }
        }
        let done = self.ask(move |actor, id| {
            let now = actor.now();
            let (plan, taken) = actor.leaves.take_in_branch(specs, ready, plan);
            let done = actor.tree.reconfigure(id, plan, now);
            if done.is_err() {
                actor.leaves.take_out(&taken);
            }
            done
        });
        if done.is_err() {
            self.undo(&admitted);
        }
        done
    }
}
