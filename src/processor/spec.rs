//! How a processor is declared: what it handles, how many instances, its bounds and rules.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::Processor;
use super::context::Context;
use super::dispatch::HandlerList;
use super::start::{Factory, IntoStart};
use crate::guard::Quiet;
use crate::message::id::IdSource;
use crate::message::{Declared, Event, Key};
use crate::queue::backoff::Retry;
use crate::queue::batch::Load;
use crate::queue::state::OnPark;
use crate::queue::{Acknowledge, QueueSettings, StartFrom, WhenFull};
use crate::supervise::child::{Child, ChildOptions, Declaration, Seat};
use crate::supervise::{ChildKind, Count, DeclaredChild, IntoChild, into_child};

/// Which events are for a child, by its argument and the event's key.
type Own = Box<dyn Fn(&dyn Any, Option<&Key>) -> bool + Send + Sync>;

/// What runs on a thread of a processor beside its handlers, as long as its host does.
pub(super) type Beside =
    Box<dyn Fn(Rc<Seat>, Rc<RefCell<IdSource>>, (Duration, Retry)) -> Alone + Send + Sync>;
pub(super) type Alone = Pin<Box<dyn Future<Output = ()>>>;

/// Publishes a tick's event.
type Tick = Quiet<Box<dyn Fn(&mut Context) + Send + Sync>>;

/// A processor as it is declared; made by [`processor`].
///
/// ```
/// # use cueline::prelude::*;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Landed { late: u32 }
/// # cueline::event!(Landed, "landed");
/// # #[derive(Serialize, Deserialize)]
/// # struct Summed { minutes: u32 }
/// # cueline::event!(Summed, "summed");
/// struct Delays;
/// impl Processor for Delays {}
/// impl Handle<Landed> for Delays {
///     async fn handle(&mut self, event: &Landed, cx: &mut Context) -> Outcome {
///         cx.publish(Summed { minutes: event.late });
///         Ok(())
///     }
/// }
/// let spec = processor("delays", || Delays)
///     .on_if(|event: &Landed| event.late > 15)
///     .emits::<Summed>()
///     .instances(4)
///     .bound(10_000)
///     .when_full(WhenFull::DropOldest)
///     .retry(Retry::attempts(3).backoff(Backoff::new(millis(50), secs(2))))
///     .timeout(secs(5))
///     .on_park(OnPark::LetKeyGo);
/// ```
pub struct ProcessorSpec<P, L> {
    pub(super) name: Arc<str>,
    pub(super) factory: Quiet<Factory<P>>,
    /// The type of the factory's argument.
    pub(super) argument: TypeId,
    /// Which events are for a pool's child, by its argument and the event's key.
    pub(super) own: Option<Quiet<Own>>,
    pub(super) handlers: L,
    pub(super) retry: Retry,
    pub(super) timeout: Duration,
    pub(super) ticks: Vec<(Duration, Tick)>,
    pub(super) emits: Vec<Declared>,
    pub(super) settings: QueueSettings,
    pub(super) blocking: bool,
    pub(super) count: Count,
    /// What runs on each of its threads beside the handlers.
    pub(super) beside: Option<Beside>,
    pub(super) options: ChildOptions,
}

/// Declares a processor: its name, and the factory that makes each instance of it.
///
/// The factory runs on the thread where the instance will live, and again whenever an instance
/// must be rebuilt. The name follows the rules of message names and is unique in a runtime.
///
/// | setting | default |
/// |---|---|
/// | [`instances`](ProcessorSpec::instances) | 1 |
/// | [`bound`](ProcessorSpec::bound), [`bound_bytes`](ProcessorSpec::bound_bytes) | 65,536 events, 64 MiB |
/// | [`reserve`](ProcessorSpec::reserve) | as much as the bound |
/// | [`when_full`](ProcessorSpec::when_full) | publishers wait |
/// | [`retry`](ProcessorSpec::retry) | 5 deliveries, 100 ms doubling to 30 s |
/// | [`timeout`](ProcessorSpec::timeout) | 30 s |
/// | [`on_park`](ProcessorSpec::on_park) | later events of the key wait |
/// | [`held`](ProcessorSpec::held), [`states`](ProcessorSpec::states) | 65,536 events, 1,000,000 states |
pub fn processor<F, S>(name: impl AsRef<str>, factory: F) -> ProcessorSpec<S::Processor, ()>
where
    F: Fn() -> S + Send + Sync + 'static,
    S: IntoStart,
{
    declare(name.as_ref(), TypeId::of::<()>(), Box::new(move |_| factory().into_start()))
}

/// Declares what the children of a [`Pool`](crate::Pool) are: as [`processor`], with an argument for
/// the factory, which is another for each child. It is kept for restarts.
pub fn processor_with<A, F, S>(name: impl AsRef<str>, factory: F) -> ProcessorSpec<S::Processor, ()>
where
    A: Any + Send + Sync,
    F: Fn(&A) -> S + Send + Sync + 'static,
    S: IntoStart,
{
    let factory = move |argument: &dyn Any| match argument.downcast_ref::<Quiet<A>>() {
        Some(argument) => factory(argument).into_start(),
        None => unreachable!("arguments are checked before a child is started"),
    };
    declare(name.as_ref(), TypeId::of::<A>(), Box::new(factory))
}

fn declare<P: Processor>(
    name: &str,
    argument: TypeId,
    factory: Factory<P>,
) -> ProcessorSpec<P, ()> {
    let bound = Load::new(65_536, 64 << 20);
    ProcessorSpec {
        name: Arc::from(name),
        factory: Quiet::new(factory),
        argument,
        own: None,
        handlers: (),
        retry: Retry::default(),
        timeout: Duration::from_secs(30),
        ticks: Vec::new(),
        emits: Vec::new(),
        settings: QueueSettings {
            bound,
            reserve: bound,
            when_full: WhenFull::Block,
            on_park: OnPark::HoldKey,
            most_held: 65_536,
            most_states: 1_000_000,
            instances: 1,
            hosts: 1,
            shared: false,
            start_from: StartFrom::Now,
            acknowledge: Acknowledge::AfterSuccess,
            runs_ahead: false,
        },
        blocking: false,
        count: Count::default(),
        beside: None,
        options: ChildOptions::default(),
    }
}

impl<P: Processor, L: HandlerList<P>> ProcessorSpec<P, L> {
    /// As a [`Pool`](crate::Pool)'s template: each child has a subscription of its own, instead of
    /// competing with the others in one, and gets those events that `filter` says are for it, by the
    /// argument it was started with and the event's key. It receives what is published from its
    /// start on; a child that is gone leaves what it had not handled as orphaned.
    ///
    /// ```
    /// # use cueline::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Said { room: u64, text: String }
    /// # cueline::event!(Said, "said", key: |event| event.room);
    /// struct Room;
    /// impl Processor for Room {}
    /// impl Handle<Said> for Room {
    ///     async fn handle(&mut self, said: &Said, _: &mut Context) -> Outcome {
    ///         println!("in room {}: {}", said.room, said.text);
    ///         Ok(())
    ///     }
    /// }
    /// let room = processor_with("room", |_number: &u64| Room)
    ///     .on::<Said>()
    ///     .own_subscription(|number: &u64, key| key == Some(&Key::from(*number)));
    /// let rooms = Pool::new("rooms", room);
    /// ```
    #[must_use]
    pub fn own_subscription<A: Any>(
        mut self,
        filter: impl Fn(&A, Option<&Key>) -> bool + Send + Sync + 'static,
    ) -> Self {
        let own = move |argument: &dyn Any, key: Option<&Key>| {
            argument.downcast_ref::<Quiet<A>>().is_some_and(|argument| filter(argument, key))
        };
        self.own = Some(Quiet::new(Box::new(own)));
        self
    }

    /// Declares that the processor publishes this type: checked at start, shown in the topology.
    #[must_use]
    pub fn emits<E: Event>(mut self) -> Self {
        self.emits.push(Declared::of::<E>());
        self
    }

    /// How many instances compete for the events. One key is never with two at a time, and goes to
    /// the instance it went to before if that is free.
    #[must_use]
    pub fn instances(mut self, instances: usize) -> Self {
        self.settings.instances = instances;
        self
    }

    /// The handlers block (files, locks, long computations): each instance gets its own thread.
    #[must_use]
    pub fn blocking(mut self) -> Self {
        self.blocking = true;
        self
    }

    /// How many events may wait. Default: 65,536. Sets the reserve to the same.
    #[must_use]
    pub fn bound(mut self, events: usize) -> Self {
        self.settings.bound.events = events as u64;
        self.settings.reserve.events = events as u64;
        self
    }

    /// How many bytes may wait, by the weight of the messages
    /// ([`Message::weight`](crate::Message::weight)). Default: 64 MiB. Sets the reserve to the same.
    #[must_use]
    pub fn bound_bytes(mut self, bytes: usize) -> Self {
        self.settings.bound.weight = bytes as u64;
        self.settings.reserve.weight = bytes as u64;
        self
    }

    /// How many events may wait beyond the bound if handlers publish them. Handlers never wait for
    /// room; with the reserve used up their outcome is refused whole and retried. Default: as many
    /// as the bound.
    #[must_use]
    pub fn reserve(mut self, events: usize) -> Self {
        self.settings.reserve.events = events as u64;
        self
    }

    /// Where its subscription begins if the log on disk does not know it yet, for instance to work off
    /// what was published before the processor was written. Default: with what is published from now
    /// on, and always so in memory.
    #[must_use]
    pub fn start_from(mut self, start_from: StartFrom) -> Self {
        self.settings.start_from = start_from;
        self
    }

    /// When an event counts as handled. Default: when its handler has succeeded.
    #[must_use]
    pub fn acknowledge(mut self, acknowledge: Acknowledge) -> Self {
        self.settings.acknowledge = acknowledge;
        self
    }

    /// What happens when the bound is reached. Default: publishers wait.
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.settings.when_full = when_full;
        self
    }

    /// How often and how patiently a failed event is delivered again. Default: five deliveries in
    /// all, with 100 ms doubling to 30 s between them.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// How long a handler, a hook or the factory may take. One that awaits is dropped, and its
    /// instance rebuilt. One that blocks its thread has the thread taken away: all processors of
    /// that thread are rebuilt on another, the events they had in hand are delivered again, and
    /// what the old one does later has no effect. The event itself is delivered once more, then
    /// parked. Default: 30 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Which of its failures the processor itself is charged with, beside the event. Default: those
    /// with no success since it was last built.
    #[must_use]
    pub fn count(mut self, count: Count) -> Self {
        self.count = count;
        self
    }

    /// What happens to the later events of a key when one is parked. Default: they wait behind it.
    #[must_use]
    pub fn on_park(mut self, on_park: OnPark) -> Self {
        self.settings.on_park = on_park;
        self
    }

    /// How many events may be held: retried, parked, or waiting behind one. At the bound, and when
    /// they weigh as much as [`bound_bytes`](Self::bound_bytes), the subscription takes nothing new,
    /// and `/readyz` says why. As many may wait to be published later. Default: 65,536.
    #[must_use]
    pub fn held(mut self, events: usize) -> Self {
        self.settings.most_held = events;
        self
    }

    /// How many states the processor may keep; one more is a permanent failure of the event.
    /// Default: 1,000,000.
    #[must_use]
    pub fn states(mut self, states: usize) -> Self {
        self.settings.most_states = states;
        self
    }

    /// Publishes an event every `period`, made by `make` on the processor's thread.
    #[must_use]
    pub fn every<E: Event>(
        mut self,
        period: Duration,
        make: impl Fn() -> E + Send + Sync + 'static,
    ) -> Self {
        self.emits.push(Declared::of::<E>());
        self.ticks.push((period, Quiet::new(Box::new(move |cx: &mut Context| cx.publish(make())))));
        self
    }
}

impl<P: Processor, L: HandlerList<P>> IntoChild for ProcessorSpec<P, L> {}

#[allow(private_interfaces)]
impl<P: Processor, L: HandlerList<P>> into_child::Sealed for ProcessorSpec<P, L> {
    fn options(&mut self) -> &mut ChildOptions {
        &mut self.options
    }

    fn into_child(self) -> DeclaredChild {
        let options = self.options;
        DeclaredChild::Leaf(ChildKind::Processor, Arc::new(self), options)
    }
}

impl<P: Processor, L: HandlerList<P>> Child for ProcessorSpec<P, L> {
    fn declaration(&self) -> Declaration {
        let mut handles = Vec::new();
        self.handlers.declare(&mut handles);
        Declaration {
            name: self.name.clone(),
            handles,
            emits: self.emits.clone(),
            settings: self.settings,
            blocking: self.blocking,
            timeout: self.timeout,
            count: self.count,
            argument: self.argument,
            own: self.own.is_some(),
            is_mediator: false,
            ticks: self.ticks.iter().map(|(period, _)| *period).collect(),
        }
    }

    fn host(self: Arc<Self>, seat: Seat) {
        super::host::start(self, seat);
    }
}
