//! Mediators: each owns the workflows of one domain. Its queue is that of a processor ([`router`]); what it
//! remembers is one table ([`table`]), kept in the log as facts ([`record`], [`restore`]); on each of its
//! threads a [`pump`] runs the workflows that live there and carries out what follows ([`carry`], [`anew`],
//! [`changes`]). [`Mediator`] declares one.

pub(crate) mod absent;
mod again;
mod anew;
pub(crate) mod answers;
mod carry;
mod changes;
pub(crate) mod domain;
mod endings;
mod inbox;
mod index;
mod pump;
mod recent;
pub(crate) mod record;
pub(crate) mod report;
mod restore;
mod round;
mod router;
mod says;
mod starting;
pub(crate) mod table;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::Error;
use crate::message::{Declared, Event};
use crate::processor::link::Link;
use crate::processor::spec::{ProcessorSpec, processor};
use crate::request::awaits::Awaits;
use crate::supervise::child::{Child, ChildOptions, Declaration, Memory, Seat};
use crate::supervise::{ChildKind, DeclaredChild, IntoChild, into_child};
use crate::workflow::{Code, Given, Workflow};
use absent::Absent;
use domain::{Domain, Here, Limits, Routes};
use inbox::Inbox;
use pump::Pump;
use router::{Events, Router};

/// A mediator: it owns the workflows of one domain, has a queue of its own and its own limits, and stands in
/// the tree of supervisors. Several of them share nothing but the log, so that none is a single point of
/// failure. Made by [`Mediator::for_domain`].
///
/// | setting | default |
/// |---|---|
/// | [`shards`](Mediator::shards) | 1 |
/// | [`bound`](Mediator::bound) | 65,536 events |
/// | [`loaded`](Mediator::loaded) | 10,000 workflows on each thread |
/// | [`history_limit`](Mediator::history_limit) | 10,000 entries, 16 MiB |
/// | [`remember`](Mediator::remember) | the last 10,000 keys, for 7 days |
///
/// ```
/// use cueline::prelude::*;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Ordered { order: u32 }
/// # cueline::event!(Ordered, "ordered", key: |of| of.order);
/// # #[derive(Serialize, Deserialize)]
/// # struct Pay { order: u32 }
/// # cueline::command!(Pay, "pay" => Done);
/// # struct Till;
/// # impl Processor for Till {}
/// # impl Handle<Pay> for Till {
/// #     async fn handle(&mut self, _: &Pay, _: &mut Context) -> Outcome<Done> { Ok(Done) }
/// # }
/// struct Sale;
/// impl Workflow for Sale {
///     const NAME: &'static str = "sale";
///     type Input = Ordered;
///     type Output = ();
///     type Expects = ();
///     async fn run(&self, ordered: Ordered, steps: Steps) -> Outcome {
///         steps.call(Pay { order: ordered.order }).await?;
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let shop = Supervisor::new("shop")
///     .child(processor("till", || Till).serves::<Pay>())
///     .child(Mediator::for_domain("sales").workflow(Sale).starts_on::<Ordered>());
/// let runtime = Runtime::builder("example").supervise(shop).start()?;
/// runtime.publish(Ordered { order: 1 }).wait()?;
/// runtime.idle().wait();
/// # runtime.shutdown(secs(1)).wait()?;
/// # Ok(())
/// # }
/// ```
pub struct Mediator<Last = ()> {
    plan: Plan,
    last: PhantomData<fn(&Last)>,
}

/// What was declared of a mediator, but for which workflow was given last.
struct Plan {
    name: Arc<str>,
    codes: Vec<Arc<dyn Code>>,
    routes: Routes,
    starts: Vec<Declared>,
    limits: Limits,
    shards: usize,
    bound: Option<usize>,
    timeout: Option<Duration>,
    wrong: Option<String>,
    options: ChildOptions,
}

impl Mediator {
    /// Declares the mediator of a domain. The name follows the rules of message names, and is unique among
    /// all processors of a runtime.
    pub fn for_domain(name: impl AsRef<str>) -> Self {
        let limits = Limits {
            loaded: 10_000,
            history_bytes: 16 << 20,
            history_entries: 10_000,
            remember: (10_000, Duration::from_secs(7 * 24 * 3600)),
        };
        let plan = Plan {
            name: Arc::from(name.as_ref()),
            codes: Vec::new(),
            routes: Routes::default(),
            starts: Vec::new(),
            limits,
            shards: 1,
            bound: None,
            timeout: None,
            wrong: None,
            options: ChildOptions::default(),
        };
        Self { plan, last: PhantomData }
    }
}

impl<W: Workflow> Mediator<W> {
    /// Each event of the type that the workflow given last takes begins one.
    #[must_use]
    pub fn starts_on<E: Event>(mut self) -> Self
    where
        W: Workflow<Input = E>,
    {
        self.plan.routes.starts::<E>(W::NAME);
        let declared = Declared::of::<E>();
        if !self.plan.starts.iter().any(|known| known.of == declared.of) {
            self.plan.starts.push(declared);
        }
        self
    }
}

impl<Last> Mediator<Last> {
    /// It owns workflows of that name. Several versions of one name may be given: what began with one goes
    /// on with it, and what begins takes the highest.
    #[must_use]
    pub fn workflow<W: Workflow>(self, workflow: W) -> Mediator<W> {
        let mut plan = self.plan;
        let taken = |code: &Arc<dyn Code>| (code.name(), code.version()) == (W::NAME, W::VERSION);
        if plan.codes.iter().any(taken) {
            let (name, version, of) = (W::NAME, W::VERSION, &plan.name);
            let text = format!(
                "`{of}` has two workflows `{name}` of version {version}: give one of them another `VERSION` or \
                 `NAME`"
            );
            plan.wrong.get_or_insert(text);
        }
        plan.codes.push(Arc::new(Given::new(workflow)));
        Mediator { plan, last: PhantomData }
    }

    /// On how many threads its workflows live, at most; each belongs to one of them by its id. Default: 1.
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Self {
        self.plan.shards = shards;
        self
    }

    /// How many events may wait in its queue. Default: 65,536.
    #[must_use]
    pub fn bound(mut self, events: usize) -> Self {
        self.plan.bound = Some(events);
        self
    }

    /// How many workflows are loaded at a time on each thread; others are loaded when something comes to
    /// them. Default: 10,000. Those that sleep, or wait for an event or a person, are not kept loaded.
    #[must_use]
    pub fn loaded(mut self, workflows: usize) -> Self {
        self.plan.limits.loaded = workflows.max(1);
        self
    }

    /// How long a history may become, in things that came and in bytes: one that is longer stops as
    /// `TooLong`. Default: 10,000 and 16 MiB.
    #[must_use]
    pub fn history_limit(mut self, entries: usize, bytes: usize) -> Self {
        let limits = &mut self.plan.limits;
        (limits.history_entries, limits.history_bytes) = (entries, bytes);
        self
    }

    /// Of how many workflows that had a key ([`Workflow::key`]) it is known how they ended, and for how
    /// long: starting one once more is answered with that. On each of its threads. Default: 10,000, seven days.
    #[must_use]
    pub fn remember(mut self, workflows: usize, within: Duration) -> Self {
        self.plan.limits.remember = (workflows, within);
        self
    }

    /// How long the code of a workflow may hold its thread. Default: 30 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.plan.timeout = Some(timeout);
        self
    }
}

impl Plan {
    fn into_spec(self) -> (ProcessorSpec<Router, Events>, Arc<Domain>) {
        let Plan { name, codes, routes, starts, limits, shards, bound, timeout, .. } = self;
        let mut handled = starts;
        for expected in codes.iter().flat_map(|code| code.expects()) {
            if !handled.iter().any(|known| known.of == expected.of) {
                handled.push(*expected);
            }
        }
        let domain = Domain::new(name.clone(), codes, limits);
        let events = Events { domain: domain.clone(), handled, routes };
        let mut spec = processor(&*name, || Router).instances(shards).handled_by(events);
        if let Some(bound) = bound {
            spec = spec.bound(bound);
        }
        if let Some(timeout) = timeout {
            spec = spec.timeout(timeout);
        }
        let of = domain.clone();
        let spec = spec.beside(move |seat, ids, (timeout, retry)| {
            let waits = std::rc::Rc::default();
            let link = Link::new(&seat, (timeout, retry), None, ids, waits);
            Box::pin(Pump::new(of.clone(), seat, link).run())
        });
        (spec, domain)
    }
}

/// A mediator as a child.
struct Mediating {
    spec: Arc<ProcessorSpec<Router, Events>>,
    domain: Arc<Domain>,
    wrong: Option<String>,
}

impl Child for Mediating {
    fn declaration(&self) -> Declaration {
        let mut declaration = self.spec.declaration();
        declaration.settings.runs_ahead = true;
        declaration.is_mediator = true;
        declaration
    }

    fn remembers(&self, memory: Memory<'_>) -> Result<(), Error> {
        if let Some(wrong) = &self.wrong {
            return Err(Error::config(wrong.clone()));
        }
        if self.domain.codes.is_empty() {
            let name = &self.domain.name;
            let text =
                format!("the mediator `{name}` owns no workflow: give it one with `.workflow(..)`");
            return Err(Error::config(text));
        }
        let Memory { number, hosts, workflows, subscription, broker, requests } = memory;
        let now = broker.clock.now();
        let here = Here {
            subscription: subscription.clone(),
            shards: (0..hosts.max(1)).map(|_| Mutex::default()).collect(),
            inboxes: (0..hosts.max(1)).map(|_| Inbox::default()).collect(),
            kept: broker.journal.is_some(),
            signals: broker.signals.clone(),
        };
        if !self.domain.settles(number, here) {
            let text = format!("the mediator `{}` is there already", self.domain.name);
            return Err(Error::config(text));
        }
        // Nobody tells it anything before all is there.
        self.domain.restore(workflows, now);
        let mut names: Vec<&'static str> =
            self.domain.codes.iter().map(|code| code.name()).collect();
        names.dedup();
        let gives_way = |before: Arc<dyn Awaits>| {
            let absent = before.into_any().downcast::<Absent>();
            absent.into_iter().for_each(|absent| absent.gives_way(&self.domain));
        };
        let added = requests.mediators.add(number, self.domain.clone(), &names, gives_way);
        added.map_err(|workflow| {
            Error::config(format!(
                "two mediators own workflows `{workflow}`: give one of them another `NAME`, or put both into one \
                 mediator"
            ))
        })?;
        Ok(())
    }

    fn host(self: Arc<Self>, seat: Seat) {
        self.spec.clone().host(seat);
    }
}

impl<Last> IntoChild for Mediator<Last> {}

#[allow(private_interfaces)]
impl<Last> into_child::Sealed for Mediator<Last> {
    fn options(&mut self) -> &mut ChildOptions {
        &mut self.plan.options
    }

    fn into_child(self) -> DeclaredChild {
        let mut plan = self.plan;
        let (options, wrong) = (std::mem::take(&mut plan.options), plan.wrong.take());
        let (spec, domain) = plan.into_spec();
        let child = Arc::new(Mediating { spec: Arc::new(spec), domain, wrong });
        DeclaredChild::Leaf(ChildKind::Processor, child, options)
    }
}
