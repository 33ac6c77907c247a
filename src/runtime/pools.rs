//! What an application asks of a pool: to start a child, to stop one, to watch one.

use std::any::{Any, TypeId};
use std::marker::PhantomData;
use std::sync::Arc;

use super::asked::{Asked, Watching};
use super::core::Core;
use super::supervisors::SupervisorHandle;
use crate::error::{Error, ErrorKind};
use crate::guard::Quiet;
use crate::supervise::policy::{Done, NodeId};
use crate::supervise::tree::Which;
use crate::supervise::{ChildCounts, ChildReport};

/// A running pool; from [`Runtime::pool`](super::Runtime::pool). Its children have no names: what
/// [`PoolHandle::start`] answers is how one is meant.
pub struct PoolHandle<A> {
    supervisor: SupervisorHandle,
    argument: PhantomData<fn(A)>,
}

impl<A> Clone for PoolHandle<A> {
    fn clone(&self) -> Self {
        Self { supervisor: self.supervisor.clone(), argument: PhantomData }
    }
}

/// One child of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolChild {
    pool: Arc<str>,
    /// Of which runtime.
    of: u64,
    id: NodeId,
}

impl<A: Any + Send + Sync> PoolHandle<A> {
    pub(super) fn of(core: Arc<Core>, path: &str) -> Result<Self, Error> {
        let supervisor = SupervisorHandle { core, path: Arc::from(path) };
        let template = supervisor.ask(|actor, id| actor.tree.template(id))?;
        let wanted = supervisor.ask(move |actor, _| Ok(actor.leaves.argument_of(template)))?;
        if wanted.is_some_and(|wanted| wanted != TypeId::of::<A>()) {
            return Err(Error::config(format!(
                "children of `{path}` are started with another argument than `{}`: that of the \
                 factory given to `processor_with`, or `()` with `processor`",
                std::any::type_name::<A>()
            )));
        }
        Ok(Self { supervisor, argument: PhantomData })
    }

    /// Starts a child; resolves when it runs. None if it has nothing to do, or its start failed:
    /// then it is as if it had never been.
    ///
    /// # Errors
    ///
    /// `StartFailed` with what it said; `NotFound` if the pool is gone.
    pub fn start(&self, argument: A) -> Asked<PoolChild> {
        let argument: Arc<dyn Any + Send + Sync> = Arc::new(Quiet::new(argument));
        let asked = self.supervisor.asks("a child", move |actor, id, ticket| {
            let now = actor.now();
            let leaves = &mut actor.leaves;
            let mut argument = Some(argument);
            let grown = actor.tree.grow(id, ticket, now, |child| {
                argument.take().into_iter().for_each(|of| leaves.argue(child, of));
            });
            argument.into_iter().for_each(|of| leaves.unargue(of));
            grown
        });
        let (pool, of) = (self.supervisor.path.clone(), self.supervisor.core.number);
        Asked::new(async move {
            match asked.await? {
                (_, Done::Ignored) => Err(Error::new(
                    ErrorKind::Ignored,
                    format!("the child of `{pool}` has nothing to do, and was not started"),
                )),
                (id, Done::Runs | Done::Gone) => Ok(PoolChild { pool, of, id }),
            }
        })
    }

    /// Stops a child in order; fine if it has ended already.
    ///
    /// # Errors
    ///
    /// `NotFound` if it is another pool's.
    pub fn stop(&self, child: &PoolChild) -> Asked<()> {
        if !self.is_mine(child) {
            return Asked::refused(self.foreign(child));
        }
        let id = child.id;
        let asked = self.supervisor.asks("a child", move |actor, pool, ticket| {
            let now = actor.now();
            actor.tree.stop_child(pool, Which::Numbered(id), ticket, now)
        });
        Asked::new(async { asked.await.map(drop) })
    }

    /// As [`SupervisorHandle::watch`].
    ///
    /// # Errors
    ///
    /// `NotFound` if it is another pool's, or has ended.
    pub fn watch(&self, child: &PoolChild) -> Result<Watching, Error> {
        if !self.is_mine(child) {
            return Err(self.foreign(child));
        }
        let id = child.id;
        let asked = self.supervisor.ask(move |actor, pool| {
            Ok(actor.watched(|tree, ticket| tree.watch(pool, Which::Numbered(id), ticket)))
        })?;
        asked.map(Watching).map_err(|refusal| self.supervisor.explain(refusal, "a child"))
    }

    /// Its children.
    ///
    /// # Errors
    ///
    /// As [`SupervisorHandle::children`].
    pub fn children(&self) -> Result<Vec<ChildReport>, Error> {
        self.supervisor.children()
    }

    /// As [`SupervisorHandle::count`].
    ///
    /// # Errors
    ///
    /// As [`SupervisorHandle::children`].
    pub fn count(&self) -> Result<ChildCounts, Error> {
        self.supervisor.count()
    }

    fn is_mine(&self, child: &PoolChild) -> bool {
        child.pool == self.supervisor.path && child.of == self.supervisor.core.number
    }

    fn foreign(&self, child: &PoolChild) -> Error {
        let (path, other) = (&self.supervisor.path, &child.pool);
        Error::not_found(format!("that child is one of `{other}`, not of `{path}`"))
    }
}
