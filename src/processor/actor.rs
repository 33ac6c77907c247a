//! A plain actix actor as a child of a supervisor: started by its factory, stopped in order, and
//! started anew when it panics, which actix itself does not do.

use std::any::{Any, TypeId};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFuture, AsyncContext, Context};

use crate::guard::{Contained, Quiet, contain};
use crate::queue::batch::Load;
use crate::queue::state::OnPark;
use crate::queue::{Acknowledge, QueueSettings, StartFrom, WhenFull};
use crate::supervise::child::{Child, ChildOptions, Declaration, Says, Seat};
use crate::supervise::{ChildKind, Count, DeclaredChild, IntoChild, Reason, into_child};

/// A plain actor as it is declared; made by [`actor`].
pub struct ActorSpec<A> {
    name: Arc<str>,
    factory: Quiet<Box<dyn Fn(&dyn Any) -> A + Send + Sync>>,
    argument: TypeId,
    options: ChildOptions,
}

/// Declares a plain actix actor as a child. Its factory runs on the thread where the actor will
/// live, and again whenever it is started anew; [`Runtime::actor`](crate::Runtime::actor) tells its
/// address, which changes with that.
///
/// It is restarted when it panics or stops by itself, as its supervisor says. What waits in its
/// mailbox is lost with it, as in actix: events that must not be lost belong to a
/// [`processor`](crate::processor()).
///
/// ```
/// use actix::prelude::*;
/// use cueline::{Runtime, Supervisor, actor, secs};
///
/// struct Bell;
/// impl Actor for Bell {
///     type Context = actix::Context<Self>;
/// }
/// # #[derive(actix::Message)]
/// # #[rtype(result = "u32")]
/// # struct Ring;
/// # impl actix::Handler<Ring> for Bell {
/// #     type Result = u32;
/// #     fn handle(&mut self, _: Ring, _: &mut Self::Context) -> u32 { 1 }
/// # }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let house = Supervisor::new("house").child(actor("bell", || Bell));
/// let runtime = Runtime::builder("example").supervise(house).start()?;
/// # pollster::block_on(runtime.ready())?;
/// if let Some(bell) = runtime.actor::<Bell>("house/bell") {
///     bell.do_send(Ring);
/// }
/// # runtime.shutdown(secs(1)).wait()?;
/// # Ok(())
/// # }
/// ```
pub fn actor<A, F>(name: impl AsRef<str>, factory: F) -> ActorSpec<A>
where
    A: Actor<Context = Context<A>>,
    F: Fn() -> A + Send + Sync + 'static,
{
    actor_of(name.as_ref(), TypeId::of::<()>(), Box::new(move |_| factory()))
}

/// Declares what the children of a [`Pool`](crate::Pool) are: as [`actor`], with an argument for the
/// factory.
pub fn actor_with<T, A, F>(name: impl AsRef<str>, factory: F) -> ActorSpec<A>
where
    T: Any + Send + Sync,
    A: Actor<Context = Context<A>>,
    F: Fn(&T) -> A + Send + Sync + 'static,
{
    let factory = move |argument: &dyn Any| match argument.downcast_ref::<Quiet<T>>() {
        Some(argument) => factory(argument),
        None => unreachable!("arguments are checked before a child is started"),
    };
    actor_of(name.as_ref(), TypeId::of::<T>(), Box::new(factory))
}

fn actor_of<A>(
    name: &str,
    argument: TypeId,
    factory: Box<dyn Fn(&dyn Any) -> A + Send + Sync>,
) -> ActorSpec<A> {
    let (name, factory) = (Arc::from(name), Quiet::new(factory));
    ActorSpec { name, factory, argument, options: ChildOptions::default() }
}

impl<A: Actor<Context = Context<A>>> IntoChild for ActorSpec<A> {}

#[allow(private_interfaces)]
impl<A: Actor<Context = Context<A>>> into_child::Sealed for ActorSpec<A> {
    fn options(&mut self) -> &mut ChildOptions {
        &mut self.options
    }

    fn into_child(self) -> DeclaredChild {
        let options = self.options;
        DeclaredChild::Leaf(ChildKind::Actor, Arc::new(self), options)
    }
}

impl<A: Actor<Context = Context<A>>> Child for ActorSpec<A> {
    fn declaration(&self) -> Declaration {
        let one = Load::new(1, 1);
        Declaration {
            name: self.name.clone(),
            handles: Vec::new(),
            emits: Vec::new(),
            settings: QueueSettings {
                bound: one,
                reserve: one,
                when_full: WhenFull::Block,
                on_park: OnPark::HoldKey,
                most_held: 1,
                most_states: 1,
                instances: 1,
                hosts: 1,
                shared: false,
                start_from: StartFrom::Now,
                acknowledge: Acknowledge::AfterSuccess,
                runs_ahead: false,
            },
            blocking: false,
            timeout: Duration::from_secs(30),
            count: Count::Every,
            ticks: Vec::new(),
            argument: self.argument,
            own: false,
            is_mediator: false,
        }
    }

    fn host(self: Arc<Self>, seat: Seat) {
        seat.enter();
        let pulse = seat.pulse.clone();
        let seat = Rc::new(seat);
        let made = contain(|| (self.factory)(&*seat.argument));
        match made {
            Err(panic) => {
                let why = format!("its factory panicked: {panic}");
                seat.reports.reason.replace(Some(Reason::Failed(why)));
            }
            Ok(made) => {
                let mut ctx = Context::new();
                ctx.spawn(Sentinel { seat: seat.clone(), began: false, stops: None });
                let (future, known) = (Contained::new(ctx.into_future(made)), None);
                actix_rt::spawn(Life { future: Some(future), known, seat });
            }
        }
        pulse.leave();
    }
}

/// The whole life of an actor: its context, polled and dropped inside the pulse, and dropped when it is
/// killed, whatever it awaits.
struct Life<F> {
    future: Option<Contained<F>>,
    /// Who is woken when it is killed.
    known: Option<Waker>,
    seat: Rc<Seat>,
}

impl<F: Future> Future for Life<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<()> {
        let seat = self.seat.clone();
        if !self.known.as_ref().is_some_and(|known| known.will_wake(task.waker())) {
            seat.fence.is_polled_by(task.waker());
            self.known = Some(task.waker().clone());
        }
        if seat.fence.is_fenced() {
            return Poll::Ready(());
        }
        seat.enter();
        let polled = self.future.as_mut().map(|future| Pin::new(future).poll(task));
        seat.pulse.leave();
        let reason = match polled {
            Some(Poll::Pending) | None if !seat.fence.is_fenced() => return Poll::Pending,
            Some(Poll::Ready(Err(panic))) => Reason::Failed(format!("it panicked: {panic}")),
            _ => Reason::Normal,
        };
        if !seat.fence.is_stopping() {
            seat.reports.reason.replace(Some(reason));
        }
        Poll::Ready(())
    }
}

impl<F> Drop for Life<F> {
    fn drop(&mut self) {
        let seat = &self.seat;
        seat.registry.remove(&seat.path, seat.reports.id.life);
        seat.enter();
        drop(self.future.take());
        seat.pulse.leave();
    }
}

/// Lives inside an actor's context: tells that the actor has started, and stops it when it is to stop.
struct Sentinel {
    seat: Rc<Seat>,
    began: bool,
    stops: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for Sentinel {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        _: &mut A,
        ctx: &mut A::Context,
        task: &mut Task<'_>,
    ) -> Poll<()> {
        // Its `started` has run, or this would not be polled.
        if !std::mem::replace(&mut self.began, true) {
            let seat = &self.seat;
            seat.registry.put(&seat.path, seat.reports.id.life, ctx.address());
            seat.reports.say(Says::Built);
            let fence = seat.fence.clone();
            self.stops = Some(Box::pin(async move { fence.stops().await }));
        }
        let Some(stops) = &mut self.stops else { return Poll::Pending };
        if stops.as_mut().poll(task).is_ready() {
            self.stops = None;
            ctx.stop();
        }
        Poll::Pending
    }
}
