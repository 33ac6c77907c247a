//! All that is known of a mediator's workflows, wherever its threads are: what is kept of each, what each
//! waits for, who has something to do. What is loaded can be derived from it again.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::endings::Endings;
use super::inbox::{Arrival, Early};
use super::recent::Recent;
use super::record::{Ended, Head};
use super::starting::Startings;
use crate::clock::Moment;
use crate::error::Outcome;
use crate::message::{EventId, Key};
use crate::request::awaits::Start;
use crate::store::file::bytes::{Bytes, Read, put_bytes, put_number};
use crate::store::file::workflows::Place;
use crate::workflow::WorkflowId;
use crate::workflow::effect::Fault;
use crate::workflow::history::{Begun, Entry, Kind};

/// A step that waits for something.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    pub(crate) step: u32,
    pub(crate) kind: Kind,
    pub(crate) name: Cow<'static, str>,
    pub(crate) key: Option<Key>,
    /// When its time is over.
    pub(crate) due: Option<Moment>,
    /// Since when it waits, in milliseconds since 1970.
    pub(crate) since: u64,
    /// The same by this process's clock, if it is a command that was sent in this process.
    pub(crate) sent: Option<Moment>,
}

impl Open {
    /// The event that it waits for, if it does: its name, and what it is about.
    pub(super) fn event(&self) -> Option<(&str, &Key)> {
        let key = self.key.as_ref().filter(|_| self.kind == Kind::WaitFor)?;
        Some((&self.name, key))
    }
}

/// How a workflow is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Status {
    #[default]
    Running,
    /// It makes up for what it did.
    Compensating,
    /// It has failed to, so often.
    Stuck(u32),
    /// It does nothing until somebody sees to it.
    Faulted(Fault),
    /// There is no code of its version.
    NoCode,
}

impl Status {
    /// It goes on when something comes.
    pub(crate) fn goes_on(&self) -> bool {
        !matches!(self, Self::Faulted(_) | Self::NoCode)
    }
}

/// One workflow.
pub(crate) struct Record {
    pub(crate) head: Arc<Head>,
    /// The steps that it began, as they are kept, and the first one of each fact.
    pub(crate) steps: Vec<u8>,
    pub(crate) facts: Vec<u32>,
    /// What came to it, each with its place; and how many entries that are.
    entries: Vec<u8>,
    pub(crate) came: u32,
    /// How much of it its code was told, when it began steps last.
    pub(crate) told: Option<u32>,
    pub(crate) open: Vec<Open>,
    pub(crate) status: Status,
    pub(crate) shows: Option<Box<[u8]>>,
    /// It is among those that have something to do.
    pub(super) queued: bool,
    /// There is no room for what it sends.
    pub(crate) lacks_room: bool,
    /// Something is on its way to it that it has to take before it may end.
    pub(crate) arriving: u32,
}

impl Record {
    pub(crate) fn new(head: Head) -> Box<Self> {
        Box::new(Self {
            head: Arc::new(head),
            steps: Vec::new(),
            facts: Vec::new(),
            entries: Vec::new(),
            came: 0,
            told: None,
            open: Vec::new(),
            status: Status::Running,
            shows: None,
            queued: false,
            lacks_room: false,
            arriving: 0,
        })
    }

    /// A step waits.
    pub(crate) fn opens(&mut self, open: Option<Open>) {
        // Most have one, and there may be very many of them.
        if self.open.is_empty() {
            self.open.reserve_exact(1);
        }
        self.open.extend(open);
    }

    /// Something came.
    pub(crate) fn push(&mut self, place: Place, entry: &[u8]) {
        put_number(&mut self.entries, place);
        put_bytes(&mut self.entries, entry);
        self.came += 1;
    }

    /// What came, from that byte on.
    pub(crate) fn entries_from(&self, from: usize) -> &[u8] {
        self.entries.get(from..).unwrap_or_default()
    }

    pub(crate) fn entries(&self) -> Entries<'_> {
        Entries(Bytes(&self.entries))
    }

    /// It was seen to that what failed there is tried again.
    pub(crate) fn tried_again(&mut self, step: u32) {
        let mut found = None;
        let mut all = Entries(Bytes(&self.entries));
        while let Some(Ok((_, entry))) = all.next() {
            if let Ok(Entry::Failed { step: of, again: false, .. }) = Entry::read(&mut Bytes(entry))
                && of == step
            {
                found = Some((self.entries.len() - all.0.0.len() - entry.len(), entry.len()));
            }
        }
        if let Some((at, length)) = found {
            Entry::was_tried_again(&mut self.entries[at..at + length]);
        }
    }

    /// The entry of that step's last failure, if nobody has seen to it; as it is when somebody has.
    pub(crate) fn failed(&self, step: u32) -> Option<(Place, Vec<u8>)> {
        let failed = self.entries().flatten().filter(|(_, entry)| {
            matches!(
                Entry::read(&mut Bytes(entry)),
                Ok(Entry::Failed { step: of, again: false, .. }) if of == step
            )
        });
        let (place, entry) = failed.last()?;
        let mut entry = entry.to_vec();
        Entry::was_tried_again(&mut entry);
        Some((place, entry))
    }

    /// Whether its code may have more to do than what waits to come.
    pub(crate) fn has_to_be_loaded(&self) -> bool {
        // It is tried again, or run: nobody but its code knows what that is.
        let by_code = |open: &Open| open.kind == Kind::Run || self.failed(open.step).is_some();
        self.status.goes_on()
            && (self.told != Some(self.came)
                || self.open.is_empty()
                || self.open.iter().any(by_code))
    }

    /// What is put anew in another order.
    pub(crate) fn set_entries(&mut self, entries: &[(Place, Vec<u8>)]) {
        self.entries.clear();
        self.came = 0;
        entries.iter().for_each(|(place, entry)| self.push(*place, entry));
    }

    /// How many bytes its history takes.
    pub(crate) fn size(&self) -> usize {
        self.head.input.len() + self.steps.len() + self.entries.len()
    }
}

/// What came to a workflow, in order.
pub(crate) struct Entries<'a>(pub(crate) Bytes<'a>);

impl<'a> Entries<'a> {
    fn read(&mut self) -> Read<(Place, &'a [u8])> {
        Ok((self.0.number()?, self.0.bytes()?))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Read<(Place, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| self.read())
    }
}

/// What somebody wants of a workflow, and hears of when it is kept.
pub(crate) struct Ordered {
    pub(crate) id: WorkflowId,
    pub(crate) order: Order,
    pub(crate) kept: Option<oneshot::Sender<()>>,
}

/// Somebody begins a workflow, and hears of it when that is kept.
pub(crate) struct Starts {
    pub(crate) start: Start,
    pub(crate) kept: oneshot::Sender<Outcome<WorkflowId>>,
}

#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// An entry is to be kept, and then told.
    Tell(Vec<u8>),
    /// It is loaded anew.
    Resume,
    /// What came to it since that step was begun, and all steps since, are forgotten.
    RestartFrom(u32),
}

/// When the time of which step is over.
pub(crate) type Timer = (Moment, WorkflowId, u32);

type Random = foldhash::fast::RandomState;

/// The workflows of one of a mediator's threads.
#[derive(Default)]
pub(crate) struct Shard {
    pub(crate) records: HashMap<WorkflowId, Box<Record>, Random>,
    ready: VecDeque<WorkflowId>,
    /// How many more find no room for what they send.
    pub(crate) held: usize,
    pub(crate) timers: BTreeSet<Timer>,
    recent: Recent,
    /// About to begin.
    pub(crate) starting: Startings,
    /// How those ended that may be asked for.
    pub(crate) ended: Endings,
    /// Somebody has seen to it before.
    pub(crate) ran: bool,
    /// Answers that came too late, and lie in the log.
    pub(crate) late: Vec<(WorkflowId, Place)>,
    /// Who waits for the end of which.
    pub(crate) waiting: HashMap<WorkflowId, Vec<oneshot::Sender<Ended>>, Random>,
    /// When one of the commands was sent whose results have come since somebody looked.
    pub(crate) answered: Option<Moment>,
    /// What came before the workflow that it is told to.
    pub(super) early: Vec<Early>,
    /// Room for what comes.
    pub(super) room: Vec<Arrival>,
}

impl Shard {
    /// It is there, or about to be.
    pub(crate) fn knows(&self, id: WorkflowId) -> bool {
        self.records.contains_key(&id) || self.starting.contains(id)
    }

    /// All timers, as the steps that wait have them: whoever took some out may have been stopped before it did
    /// anything about them.
    pub(crate) fn sets_timers(&mut self) {
        let all = self.records.iter().flat_map(|(id, record)| {
            let open = record.open.iter();
            open.filter_map(|open| Some((open.due?, *id, open.step)))
        });
        self.timers = all.collect();
    }

    /// It was there.
    pub(crate) fn has_begun(&self, id: WorkflowId) -> bool {
        self.records.contains_key(&id) || self.ended.of(id).is_some()
    }

    /// What a workflow is that may be told of that event: not one that it begins.
    pub(crate) fn is_there_for(&self, id: WorkflowId, event: EventId) -> Option<&'static str> {
        let record = self.records.get(&id).map(|record| record.head.workflow);
        record.or_else(|| self.starting.begins_before(id, event))
    }

    /// How many have something to do; and how many commands have been sent for them that should be answered
    /// soon.
    pub(crate) fn busy_with(&mut self, now: Moment) -> (usize, usize) {
        (self.ready.len() + self.held, self.recent.count(now))
    }

    /// It has something to do.
    pub(crate) fn queue(&mut self, id: WorkflowId) {
        if let Some(record) = self.records.get_mut(&id)
            && record.status.goes_on()
            && !std::mem::replace(&mut record.queued, true)
        {
            self.ready.push_back(id);
        }
    }

    /// There is no room for what a workflow sends.
    pub(crate) fn lacks_room(&mut self, id: WorkflowId) {
        if let Some(record) = self.records.get_mut(&id) {
            record.lacks_room = true;
        }
    }

    pub(crate) fn next_ready(&mut self) -> Option<WorkflowId> {
        let id = self.ready.pop_front()?;
        if let Some(record) = self.records.get_mut(&id) {
            record.queued = false;
        }
        Some(id)
    }

    /// Something came to a workflow. False if it is not there any more.
    pub(super) fn arrives(&mut self, id: WorkflowId, place: Place, entry: &[u8]) -> bool {
        let Some(record) = self.records.get_mut(&id) else { return false };
        record.push(place, entry);
        match Entry::read(&mut Bytes(entry)) {
            Ok(Entry::Done { step, .. }) => {
                let sent = self.closes(id, step).and_then(|open| open.sent);
                self.answered = self.answered.or(sent);
            }
            // Also one that has stopped does that.
            Ok(Entry::Cancelled | Entry::Compensate) => record.status = Status::Running,
            _ => {}
        }
        self.queue(id);
        true
    }

    /// A step waits from now on.
    pub(crate) fn opens(&mut self, id: WorkflowId, open: Open) {
        let Some(record) = self.records.get_mut(&id) else { return };
        if let Some(due) = open.due {
            self.timers.insert((due, id, open.step));
        }
        open.sent.into_iter().for_each(|sent| self.recent.sent(sent));
        record.opens(Some(open));
    }

    /// A step waits no more. What it was.
    pub(crate) fn closes(&mut self, id: WorkflowId, step: u32) -> Option<Open> {
        let record = self.records.get_mut(&id)?;
        let at = record.open.iter().position(|open| open.step == step)?;
        let open = record.open.swap_remove(at);
        if let Some(due) = open.due {
            self.timers.remove(&(due, id, step));
        }
        open.sent.into_iter().for_each(|sent| self.recent.answered(sent));
        Some(open)
    }

    /// It is not there any more.
    pub(crate) fn removes(&mut self, id: WorkflowId) -> Option<Box<Record>> {
        let record = self.records.remove(&id)?;
        for open in &record.open {
            if let Some(due) = open.due {
                self.timers.remove(&(due, id, open.step));
            }
            open.sent.into_iter().for_each(|sent| self.recent.answered(sent));
        }
        Some(record)
    }

    /// It has ended: those who wait for that are told.
    pub(crate) fn tell_who_waits(&mut self, id: WorkflowId, ended: &Ended) {
        for waiting in self.waiting.remove(&id).unwrap_or_default() {
            waiting.send(ended.clone()).ok();
        }
    }
}

/// What a step that was begun waits for.
pub(crate) fn open_of(begun: &Begun, due: Option<Moment>, since: u64) -> Option<Open> {
    begun.kind.waits().then(|| Open {
        step: begun.step,
        kind: begun.kind,
        name: begun.name.clone(),
        key: begun.key.clone(),
        due,
        since,
        sent: None,
    })
}
