//! A mediator as its threads and all others share it: its workflows' code, its table, and how somebody
//! begins one, tells one something, and looks at it.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::answers::{Began, Event, Receives, Told};
use super::inbox::{Arrival, Came, Inbox};
use super::index::Index;
use super::record::{Head, Names};
use super::table::{Order, Ordered, Shard};
use crate::clock::{Moment, Timestamp};
use crate::error::{Failure, Outcome};
use crate::guard::contain;
use crate::message::{EventId, Key, Message};
use crate::queue::Subscription;
use crate::queue::answer::Answer;
use crate::request::awaits::{Awaits, Beginning, Start};
use crate::signal::{Signal, Signals};
use crate::workflow::core::Numbers;
use crate::workflow::history::Entry;
use crate::workflow::{Code, WorkflowId};

/// The bounds and rules of a mediator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// So many workflows are loaded at a time, on each thread.
    pub(crate) loaded: usize,
    /// So many bytes a history may have, and so many things that came.
    pub(crate) history_bytes: usize,
    pub(crate) history_entries: usize,
    /// For how long and of how many it is known how they ended.
    pub(crate) remember: (usize, Duration),
}

/// Where it runs.
pub(crate) struct Here {
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) shards: Box<[Mutex<Shard>]>,
    /// What came for each of them.
    pub(crate) inboxes: Box<[Inbox]>,
    /// What it does is kept.
    pub(crate) kept: bool,
    pub(crate) signals: Arc<Signals>,
}

/// So many workflows may have something to do on one thread, and so many commands may have been sent for them
/// lately, before no more events are taken: what was begun is finished first.
const ENOUGH: usize = 4096;

/// A mediator.
pub(crate) struct Domain {
    pub(crate) name: Arc<str>,
    pub(crate) codes: Vec<Arc<dyn Code>>,
    pub(crate) limits: Limits,
    /// Which workflows expect which events.
    expected: Vec<(&'static str, Vec<&'static str>)>,
    number: AtomicU32,
    closed: AtomicBool,
    place: OnceLock<Here>,
    pub(crate) index: Mutex<Index>,
}

impl Domain {
    pub(crate) fn new(name: Arc<str>, codes: Vec<Arc<dyn Code>>, limits: Limits) -> Arc<Self> {
        let names = |code: &Arc<dyn Code>| code.expects().iter().map(|of| of.name).collect();
        let expected: Vec<(_, Vec<_>)> =
            codes.iter().map(|code| (code.name(), names(code))).collect();
        let expecting = expected.iter().filter(|(_, events)| !events.is_empty());
        let index = Index::new(expecting.map(|(workflow, _)| *workflow));
        Arc::new(Self {
            name,
            codes,
            limits,
            expected,
            number: AtomicU32::new(0),
            closed: AtomicBool::new(false),
            place: OnceLock::new(),
            index: Mutex::new(index),
        })
    }

    /// It has its place in a runtime. False if it had one.
    pub(crate) fn settles(&self, number: u32, here: Here) -> bool {
        self.number.store(number, SeqCst);
        self.place.set(here).is_ok()
    }

    pub(crate) fn names(&self, id: WorkflowId) -> Names {
        Names { mediator: self.number(), id }
    }

    /// What it does is kept.
    pub(crate) fn is_kept(&self) -> bool {
        self.here().is_some_and(|here| here.kept)
    }

    pub(crate) fn here(&self) -> Option<&Here> {
        self.place.get()
    }

    /// On how many threads its workflows live.
    pub(crate) fn threads(&self) -> usize {
        self.here().map_or(0, |here| here.shards.len())
    }

    pub(crate) fn place_of(&self, id: WorkflowId) -> usize {
        (id.0 >> 90) as usize % self.threads().max(1)
    }

    /// The table of one thread, with all that came for it.
    pub(crate) fn table(&self, at: usize) -> Option<MutexGuard<'_, Shard>> {
        let here = self.here()?;
        let mut shard = here.shards.get(at)?.lock();
        shard.takes_in(&here.inboxes[at], here.kept);
        Some(shard)
    }

    /// All tables, one after the other.
    pub(crate) fn tables(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        (0..self.threads()).filter_map(|at| self.table(at))
    }

    /// The table where that workflow lives.
    pub(crate) fn shard(&self, id: WorkflowId) -> Option<MutexGuard<'_, Shard>> {
        self.table(self.place_of(id))
    }

    pub(crate) fn inbox(&self, at: usize) -> Option<&Inbox> {
        self.here()?.inboxes.get(at)
    }

    /// The code of that name and version; the newest if none is said.
    pub(crate) fn code(&self, name: &str, version: Option<u32>) -> Option<&Arc<dyn Code>> {
        let of_name = self.codes.iter().filter(|code| code.name() == name);
        match version {
            Some(version) => of_name.into_iter().find(|code| code.version() == version),
            None => of_name.max_by_key(|code| code.version()),
        }
    }

    /// So many workflows have something to do that no more should begin before.
    pub(crate) fn has_enough_to_do(&self, now: Moment) -> bool {
        self.tables().any(|mut shard| {
            let (ready, sent) = shard.busy_with(now);
            ready >= ENOUGH || sent >= ENOUGH
        })
    }

    /// A workflow begins.
    pub(crate) fn says_begun(&self, workflow: &str) {
        if let Some(Here { subscription, signals, .. }) = self.here() {
            let mediator = &subscription.name;
            signals.state(&Signal::WorkflowBegan { mediator, workflow });
        }
    }

    /// Puts something there for a thread that sees to it, and is counted as having work that is not done.
    /// Whom to wake.
    pub(crate) fn put(&self, at: usize, put: impl FnOnce(&mut Came)) -> Option<Waker> {
        let here = self.here()?;
        let (begins, waker) = here.inboxes.get(at)?.put(put);
        if begins {
            here.subscription.works_on_more();
        }
        waker
    }

    /// An event came: whoever expects it is told, once that is kept. How many that are.
    pub(crate) fn expected(
        self: &Arc<Self>,
        name: &'static str,
        key: Option<&Key>,
        event: EventId,
        payload: &[u8],
    ) -> Vec<Box<dyn Answer>> {
        let Some(key) = key else { return Vec::new() };
        let mut ids = self.index.lock().who(name, key);
        ids.retain(|id| self.expects(*id, name, event));
        let bytes = Entry::Came { name, key: Some(key.as_str()), event, payload }.bytes();
        let answers = ids.into_iter().map(|id| {
            Box::new(Event::new(Told::new(self.clone(), id, bytes.clone()))) as Box<dyn Answer>
        });
        answers.collect()
    }

    /// Whether a workflow is to be told of events of that name, and of that one.
    fn expects(&self, id: WorkflowId, name: &str, event: EventId) -> bool {
        let workflow = self.shard(id).and_then(|shard| shard.is_there_for(id, event));
        workflow.is_some_and(|workflow| {
            self.expected.iter().any(|(of, events)| *of == workflow && events.contains(&name))
        })
    }

    /// The runtime has ended, or it is not there any more: whoever waits for something hears that.
    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
        for at in 0..self.threads() {
            let waiting = self.table(at).map(|mut shard| std::mem::take(&mut shard.waiting));
            let came = self.inbox(at).map(Inbox::close);
            drop((waiting, came));
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// Somebody wants something of a workflow. False if it is not there.
    pub(crate) fn orders(
        &self,
        id: WorkflowId,
        order: Order,
        kept: Option<oneshot::Sender<()>>,
    ) -> bool {
        if !self.shard(id).is_some_and(|shard| shard.records.contains_key(&id)) {
            return false;
        }
        let ordered = Ordered { id, order, kept };
        let waker = self.put(self.place_of(id), |came| came.orders.push_back(ordered));
        waker.into_iter().for_each(Waker::wake);
        true
    }
}

impl Receives for Domain {
    fn arrives(&self, id: WorkflowId, arrival: Arrival) -> Option<Waker> {
        self.put(self.place_of(id), |came| came.arrivals.push(arrival))
    }
}

impl Awaits for Domain {
    fn number(&self) -> u32 {
        self.number.load(SeqCst)
    }

    fn awaits(&self, of: WorkflowId, step: u32) -> bool {
        let waits = |shard: &Shard| {
            let record = shard.records.get(&of)?;
            record.open.iter().find(|open| open.step == step).map(drop)
        };
        self.shard(of).is_some_and(|shard| waits(&shard).is_some())
    }

    fn tells(self: Arc<Self>, of: WorkflowId, entry: Vec<u8>) -> Box<dyn Answer> {
        Box::new(Told::new(self, of, entry))
    }

    fn begin(self: Arc<Self>, start: Start) -> Outcome<Beginning> {
        let Start { workflow, input, key, from, correlation, parent } = start;
        let code = self.code(workflow, None).ok_or_else(|| {
            Failure::permanent(format!("the mediator `{}` has no workflow `{workflow}`", self.name))
        })?;
        let own = contain(|| code.key(&input)).map_err(|panic| {
            Failure::permanent(format!("the key of `{workflow}` panicked: {panic}"))
                .reason("panicked")
        })??;
        // A parent's step has its own.
        let unique = own.as_ref().filter(|_| parent.is_none());
        let (only_one, version) = (unique.is_some(), code.version());
        let number = self.number();
        let id = match unique {
            Some(key) => WorkflowId::of_key(number, workflow, key),
            None => WorkflowId::of_event(number, workflow, from),
        };
        let key = own.or(key);
        let Some(mut shard) = self.shard(id) else {
            return Err(Failure::transient(format!(
                "the mediator `{}` is not there yet",
                self.name
            )));
        };
        let has_begun = shard.has_begun(id);
        let attempt = (!has_begun).then(|| shard.starting.begins(id, code.name(), from)).flatten();
        drop(shard);
        let Some(attempt) = attempt else {
            return Ok(Beginning { id, begins: None, facts: Vec::new() });
        };
        let head = Head {
            workflow,
            version,
            input: input.into(),
            key,
            correlation,
            started: Timestamp::now().as_millis(),
            parent,
            only_one,
            run: 0,
            numbers: Numbers::default(),
            held_back: false,
        };
        if let Some(key) = &head.key {
            self.index.lock().adds(workflow, key, id);
        }
        let mut facts = Vec::new();
        if self.is_kept() {
            self.names(id).put_head(&mut facts, &head);
        }
        Ok(Beginning { id, begins: Some(Box::new(Began::new(self, id, attempt, head))), facts })
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// What is known of the types of events that a mediator handles, by their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Routes {
    /// Which workflows begin with which events.
    pub(crate) starts: HashMap<&'static str, Vec<&'static str>>,
}

impl Routes {
    pub(crate) fn starts<E: Message>(&mut self, workflow: &'static str) {
        let workflows = self.starts.entry(E::NAME).or_default();
        if !workflows.contains(&workflow) {
            workflows.push(workflow);
        }
    }
}
