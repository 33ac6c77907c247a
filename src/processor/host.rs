//! The host actor: the one place where user code runs. It owns the instances of one processor on
//! one thread, and as many drivers as handlers have ever waited at the same time.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as Task, Poll, Waker};

use actix::fut::ActorFutureExt;
use actix::{Actor, ActorContext, AsyncContext, WrapFuture};
use futures_core::Stream;
use futures_util::stream::FuturesUnordered;

use super::Processor;
use super::dispatch::HandlerList;
use super::executor::Executor;
use super::spec::{Alone, ProcessorSpec};
use crate::broker::publish::inside_handler;
use crate::guard::{Contained, contain};
use crate::message::id::{IdSource, IdSpace};
use crate::signal::{During, Signals};
use crate::supervise::child::Seat;

thread_local! {
    static IDS: RefCell<Option<(Arc<IdSpace>, Rc<RefCell<IdSource>>)>> = const { RefCell::new(None) };
}

/// The thread's source of ids: one for all its hosts, so that ids of one thread grow.
pub(super) fn ids_of_thread(space: &Arc<IdSpace>) -> Rc<RefCell<IdSource>> {
    IDS.with_borrow_mut(|ids| match ids {
        Some((of, source)) if Arc::ptr_eq(of, space) => source.clone(),
        other => {
            let source = Rc::new(RefCell::new(IdSource::new(space.clone())));
            *other = Some((space.clone(), source.clone()));
            source
        }
    })
}

/// The instances of one host. A slot is empty while its instance is with a driver.
pub(super) struct Crew<P> {
    slots: RefCell<Vec<Option<P>>>,
    free: RefCell<Vec<usize>>,
    /// Drivers that wait for an event.
    pub(super) resting: Cell<usize>,
    pub(super) drivers: Cell<usize>,
    /// A driver's handler waits.
    pub(super) waits: Rc<Cell<bool>>,
    /// One driver is still building, and has no instance of its own.
    pub(super) building: Cell<bool>,
    signals: Arc<Signals>,
}

impl<P> Crew<P> {
    fn new(slots: usize, signals: Arc<Signals>) -> Rc<Self> {
        Rc::new(Self {
            slots: RefCell::new(Vec::with_capacity(slots)),
            free: RefCell::new(Vec::with_capacity(slots)),
            resting: Cell::new(0),
            drivers: Cell::new(0),
            waits: Rc::new(Cell::new(false)),
            building: Cell::new(false),
            signals,
        })
    }

    /// A new instance gets the next slot.
    pub(super) fn add(&self, mut instance: Instance<P>) {
        let mut slots = self.slots.borrow_mut();
        self.free.borrow_mut().push(slots.len());
        slots.push(instance.value.take());
    }

    /// Takes a free instance, by preference the one at home.
    pub(super) fn take(self: &Rc<Self>, home: Option<u64>) -> Option<(usize, Instance<P>)> {
        let (slot, instance) = self.find(home)?;
        Some((slot, Instance::new(instance, self.clone())))
    }

    fn find(&self, home: Option<u64>) -> Option<(usize, P)> {
        let mut slots = self.slots.borrow_mut();
        if let Some(home) = home {
            let slot = (home % slots.len() as u64) as usize;
            if let Some(instance) = slots[slot].take() {
                return Some((slot, instance));
            }
        }
        // Slots taken by preference may still be listed as free: passed over here.
        let mut free = self.free.borrow_mut();
        while let Some(slot) = free.pop() {
            if let Some(instance) = slots[slot].take() {
                return Some((slot, instance));
            }
        }
        // Every slot that is not listed was taken by preference and put back.
        let slot = slots.iter().position(Option::is_some)?;
        slots[slot].take().map(|instance| (slot, instance))
    }

    pub(super) fn put(&self, slot: usize, mut instance: Instance<P>) {
        self.slots.borrow_mut()[slot] = instance.value.take();
        let mut free = self.free.borrow_mut();
        if free.len() < self.slots.borrow().len() {
            free.push(slot);
        }
    }

    fn needs_driver(&self) -> bool {
        let drivers = self.drivers.get() - usize::from(self.building.get());
        self.waits.take() && self.resting.get() == 0 && drivers < self.slots.borrow().len()
    }
}

impl<P> Drop for Crew<P> {
    fn drop(&mut self) {
        for instance in self.slots.take() {
            drop_instance(instance, &self.signals);
        }
    }
}

fn say_ended(what: &str, processor: &str, ended: Result<(), String>) {
    if let Err(panic) = ended {
        contain(|| tracing::error!(processor, panic, "{what} ended by a fault of the runtime"))
            .ok();
    }
}

/// An instance that is not in its slot. Its `Drop` is contained wherever it ends, also in the
/// middle of the unwinding of its handler.
pub(super) struct Instance<P> {
    value: Option<P>,
    crew: Rc<Crew<P>>,
}

impl<P> Instance<P> {
    pub(super) fn new(instance: P, crew: Rc<Crew<P>>) -> Self {
        Self { value: Some(instance), crew }
    }
}

impl<P> Deref for Instance<P> {
    type Target = P;

    fn deref(&self) -> &P {
        self.value.as_ref().unwrap_or_else(|| unreachable!("taken out when it is put away"))
    }
}

impl<P> DerefMut for Instance<P> {
    fn deref_mut(&mut self) -> &mut P {
        self.value.as_mut().unwrap_or_else(|| unreachable!("taken out when it is put away"))
    }
}

impl<P> Drop for Instance<P> {
    fn drop(&mut self) {
        if self.value.is_some() {
            drop_instance(self.value.take(), &self.crew.signals);
        }
    }
}

/// Drops an instance: user code, contained.
fn drop_instance<P>(instance: Option<P>, signals: &Signals) {
    signals.contain(During::ProcessorDrop, None, move || drop(instance));
}

/// Starts the host of a processor on this thread.
pub(super) fn start<P: Processor, L: HandlerList<P>>(spec: Arc<ProcessorSpec<P, L>>, seat: Seat) {
    let slots = seat.slots;
    let crew = Crew::new(slots, seat.broker.signals.clone());
    let seat = Rc::new(seat);
    let (limits, ids) = ((spec.timeout, spec.retry), ids_of_thread(&seat.broker.ids));
    let beside = spec.beside.as_ref().map(|run| {
        let future = Contained::new(run(seat.clone(), ids, limits));
        Watched { seat: seat.clone(), future }
    });
    let drivers = Drivers {
        running: FuturesUnordered::new(),
        first: None,
        beside,
        known: None,
        seat: seat.clone(),
        spawn: {
            let (crew, seat) = (crew.clone(), seat.clone());
            Box::new(move || {
                let number = crew.drivers.replace(crew.drivers.get() + 1);
                let executor = Executor::new(spec.clone(), seat.clone(), crew.clone(), number);
                Watched { seat: seat.clone(), future: Contained::new(executor.run()) }
            })
        },
        crew,
    };
    Host { drivers: Some(Contained::new(drivers)), seat }.start();
}

/// The drivers of one host, polled together.
struct Drivers<P, F, S> {
    /// What runs beside them; if it ends, it has failed, and so has the host.
    beside: Option<Watched<Contained<Alone>>>,
    /// The first driver, which is the only one unless handlers wait.
    first: Option<F>,
    running: FuturesUnordered<F>,
    /// Who is woken when the host is fenced.
    known: Option<Waker>,
    seat: Rc<Seat>,
    spawn: S,
    crew: Rc<Crew<P>>,
}

impl<P, F: Future<Output = Result<(), String>> + Unpin, S: Fn() -> F> Future for Drivers<P, F, S>
where
    Self: Unpin,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<()> {
        let this = self.get_mut();
        let fence = &this.seat.fence;
        if fence.is_fenced() {
            return Poll::Ready(());
        }
        if !this.known.as_ref().is_some_and(|known| known.will_wake(task.waker())) {
            fence.is_polled_by(task.waker());
            this.known = Some(task.waker().clone());
        }
        inside_handler(|| {
            let processor = this.seat.subscription.name.as_str();
            if this.crew.drivers.get() == 0 {
                this.first = Some((this.spawn)());
            }
            if let Some(beside) = &mut this.beside
                && let Poll::Ready(ended) = Pin::new(beside).poll(task)
            {
                say_ended("what runs beside its drivers", processor, ended);
                return Poll::Ready(());
            }
            loop {
                if let Some(first) = &mut this.first
                    && let Poll::Ready(ended) = Pin::new(first).poll(task)
                {
                    say_ended("a driver", processor, ended);
                    this.first = None;
                }
                while let Poll::Ready(Some(ended)) = Pin::new(&mut this.running).poll_next(task) {
                    say_ended("a driver", processor, ended);
                }
                if this.seat.fence.is_fenced() {
                    return Poll::Ready(());
                }
                if !this.crew.needs_driver() {
                    break;
                }
                this.running.push((this.spawn)());
            }
            if this.first.is_none() && this.running.is_empty() {
                return Poll::Ready(());
            }
            Poll::Pending
        })
    }
}

/// A driver whose thread says when it is in it.
struct Watched<F> {
    seat: Rc<Seat>,
    future: F,
}

impl<F: Future + Unpin> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<F::Output> {
        // What a fenced host would do is done by another; it is dropped in a moment.
        if self.seat.fence.is_fenced() {
            return Poll::Pending;
        }
        self.seat.enter();
        let polled = Pin::new(&mut self.future).poll(task);
        self.seat.pulse.leave();
        polled
    }
}

/// All that a host does; its end is inside the pulse as well, because the `Drop` of instances and of
/// handlers' futures is user code.
struct Whole<F> {
    future: Option<Contained<F>>,
    seat: Rc<Seat>,
}

impl<F: Future> Future for Whole<F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        self.future.as_mut().map_or(Poll::Pending, |future| Pin::new(future).poll(task))
    }
}

impl<F> Drop for Whole<F> {
    fn drop(&mut self) {
        self.seat.enter();
        drop(self.future.take());
        self.seat.pulse.leave();
    }
}

/// The actor around the drivers of one processor on one thread.
struct Host<D> {
    drivers: Option<Contained<D>>,
    seat: Rc<Seat>,
}

impl<D: Future<Output = ()> + 'static> Actor for Host<D> {
    type Context = actix::Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(drivers) = self.drivers.take() {
            let ended = Whole { future: Some(drivers), seat: self.seat.clone() }.into_actor(self);
            ctx.spawn(ended.map(|ended, host, ctx| {
                say_ended("a host", host.seat.subscription.name.as_str(), ended);
                ctx.stop();
            }));
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if self.seat.own_thread
            && let Some(thread) = actix::Arbiter::try_current()
        {
            thread.stop();
        }
    }
}
