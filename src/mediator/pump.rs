//! What runs the workflows of one of a mediator's threads: takes what has come, tells it to each, and carries
//! out what follows, many at a time in one commit.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;

use super::again::Again;
use super::answers::Kept;
use super::changes::Change;
use super::domain::Domain;
use super::round::{Job, Round};
use super::table::{Entries, Order, Ordered, Starts, Status};
use crate::clock::Moment;
use crate::error::{Failure, Outcome};
use crate::guard::Contained;
use crate::processor::link::Link;
use crate::processor::link::turns::yield_now;
use crate::queue::answer::Answer;
use crate::request::awaits::{Awaits, Start};
use crate::store::file::bytes::Bytes;
use crate::supervise::child::Seat;
use crate::workflow::WorkflowId;
use crate::workflow::effect::{Fault, Work};
use crate::workflow::history::{Did, Entry};
use crate::workflow::replay::{Advance, Live};

/// So many workflows go on in one commit.
pub(super) const TOGETHER: usize = 64;
/// And so many bytes are committed without waiting for more.
const HEAVY: usize = 256 << 10;
/// How long something waits for room.
const FOR_ROOM: Duration = Duration::from_millis(5);

/// A workflow that is loaded.
pub(super) struct Loaded {
    pub(super) live: Live,
    /// So many bytes of what came to it it has been told.
    pub(super) told: usize,
    used: u64,
}

type Running =
    Pin<Box<dyn Future<Output = (WorkflowId, u32, Result<Result<Vec<u8>, Failure>, String>)>>>;

/// Runs the workflows of one thread.
pub(super) struct Pump {
    pub(super) domain: Arc<Domain>,
    pub(super) seat: Rc<Seat>,
    pub(super) shard: usize,
    pub(super) link: Rc<Link>,
    pub(super) loaded: HashMap<WorkflowId, Loaded, foldhash::fast::RandomState>,
    works: FuturesUnordered<Running>,
    /// Which steps they are.
    running: HashSet<(WorkflowId, u32)>,
    /// What found no room, until when.
    pub(super) held: BTreeMap<WorkflowId, (Moment, Advance)>,
    /// Commands that are to be sent again.
    pub(super) again: Again,
    /// What the table is to have with the next commit, and who is told by it.
    pub(super) changes: Vec<Change>,
    pub(super) answers: Vec<Box<dyn Answer>>,
    /// The steps that were begun since the last commit.
    pub(super) steps: Vec<u8>,
    uses: u64,
}

impl Pump {
    pub(super) fn new(domain: Arc<Domain>, seat: Rc<Seat>, link: Rc<Link>) -> Self {
        Self {
            shard: seat.host,
            domain,
            seat,
            link,
            loaded: HashMap::default(),
            works: FuturesUnordered::new(),
            running: HashSet::new(),
            held: BTreeMap::new(),
            again: Again::default(),
            changes: Vec::new(),
            answers: Vec::new(),
            steps: Vec::new(),
            uses: 0,
        }
    }

    /// Runs as long as its host does.
    pub(super) async fn run(mut self) {
        // Whoever ran it before may have left something behind.
        if let Some(mut shard) = self.domain.table(self.shard) {
            if std::mem::replace(&mut shard.ran, true) {
                shard.sets_timers();
            }
            let unsettled: Vec<WorkflowId> = shard
                .records
                .iter()
                .filter(|(_, record)| record.has_to_be_loaded())
                .map(|(id, _)| *id)
                .collect();
            unsettled.into_iter().for_each(|id| shard.queue(id));
        }
        self.domain.put(self.shard, |_| {});
        loop {
            let round = self.next().await;
            self.carry_out(round);
            yield_now().await;
        }
    }

    /// Waits until there is something to do.
    async fn next(&mut self) -> Round {
        poll_fn(|task| {
            let mut round = Round::default();
            while let Poll::Ready(Some((id, step, ran))) = Pin::new(&mut self.works).poll_next(task)
            {
                self.running.remove(&(id, step));
                let ran = ran.unwrap_or_else(|panic| {
                    Err(Failure::transient(format!("it panicked: {panic}")))
                });
                round.ran.push((id, step, ran));
            }
            let now = self.seat.broker.clock.now();
            let mut resumes = false;
            let due: Vec<WorkflowId> =
                self.held.iter().filter(|(_, (due, _))| *due <= now).map(|(id, _)| *id).collect();
            for id in due {
                if let Some((_, advance)) = self.held.remove(&id) {
                    self.follow(id, advance);
                    self.domain.shard(id).into_iter().for_each(|mut shard| shard.queue(id));
                    resumes = true;
                }
            }
            while let Some((id, step, command)) = self.again.due(now) {
                self.send_again(id, step, command);
                resumes = true;
            }
            if resumes {
                self.commit(); // what follows is decided by what is there then
            }
            let domain = self.domain.clone();
            let Some(inbox) = domain.inbox(self.shard) else { return Poll::Pending };
            let Some(mut shard) = domain.table(self.shard) else { return Poll::Pending };
            shard.held = self.held.len();
            self.take(&mut shard, now, &mut round);
            let mut came = inbox.lock();
            round.orders = std::mem::take(&mut came.orders);
            round.starts = std::mem::take(&mut came.starts);
            if resumes || !(round.is_empty() && came.is_empty()) {
                return Poll::Ready(round);
            }
            let timer = shard.timers.first().map(|(due, ..)| *due);
            let held = self.held.values().map(|(due, _)| *due).min();
            let next = [timer, held, self.again.next()].into_iter().flatten().min();
            came.waker = Some(task.waker().clone());
            // What waits for room goes on without anybody's help.
            let rests = self.held.is_empty() && std::mem::take(&mut came.busy);
            drop(came);
            drop(shard);
            if rests {
                self.seat.subscription.has_done_all();
                self.seat.broker.intake.wake_resters();
            }
            self.link.give_back_leases();
            if let Some(next) = next {
                self.link.arm(self.seat.broker.clock.instant(next));
                if self.link.poll_timer(task).is_ready() {
                    task.waker().wake_by_ref();
                }
            }
            Poll::Pending
        })
        .await
    }

    fn carry_out(&mut self, round: Round) {
        round.took.into_iter().for_each(|took| self.says_step(took));
        for (id, step) in round.over {
            let over = self.domain.clone().tells(id, Entry::Over { step }.bytes());
            self.answers.push(over);
        }
        for (id, step, ran) in round.ran {
            self.answers.push(self.domain.clone().answer(id, step, ran));
        }
        for (id, place) in round.late {
            let names = self.domain.names(id);
            self.link.stage_facts(|facts| names.delete_entry(facts, place));
        }
        for id in round.forgotten {
            let names = self.domain.names(id);
            self.link.stage_facts(|facts| names.delete_ended(facts));
        }
        let mut obeyed = Vec::new();
        for Ordered { id, order, kept } in round.orders {
            if !matches!(order, Order::Tell(_)) {
                if obeyed.contains(&id) {
                    self.commit(); // what follows is decided by what is there then
                }
                obeyed.push(id);
            }
            self.obey(id, order);
            self.answers.extend(kept.map(|kept| Box::new(Kept::new(kept, ())) as Box<dyn Answer>));
        }
        for Starts { start, kept } in round.starts {
            self.starts(start, kept);
        }
        // Those are told what they are to be told when that is done.
        for job in round.jobs.into_iter().filter(|job| !obeyed.contains(&job.id)) {
            let id = job.id;
            if let Some(advance) = self.tell(job, &round.bytes) {
                self.follow(id, advance);
            }
            if self.link.staged_bytes() > HEAVY {
                self.commit();
            }
        }
        self.commit();
        self.unload();
    }

    /// Somebody begins a workflow.
    fn starts(&mut self, start: Start, kept: oneshot::Sender<Outcome<WorkflowId>>) {
        let begun = self.domain.clone().begin(start).map(|beginning| {
            self.link.stage_facts(|facts| facts.extend_from_slice(&beginning.facts));
            self.answers.extend(beginning.begins);
            beginning.id
        });
        self.answers.push(Box::new(Kept::new(kept, begun)));
    }

    fn obey(&mut self, id: WorkflowId, order: Order) {
        match order {
            Order::Tell(entry) => {
                let told = self.domain.clone().tells(id, entry);
                self.answers.push(told);
            }
            Order::Resume => {
                self.forget(id);
                self.changes.push(Change::Status { id, status: Status::Running });
            }
            Order::RestartFrom(step) => {
                self.forget(id);
                self.restart_from(id, step);
            }
        }
    }

    /// It is loaded anew when something comes.
    pub(super) fn forget(&mut self, id: WorkflowId) {
        self.loaded.remove(&id);
        self.held.remove(&id);
        self.again.forget(id);
    }

    /// Tells a workflow what came to it. What followed.
    fn tell(&mut self, job: Job, bytes: &[u8]) -> Option<Advance> {
        let Job { id, head, entries, steps } = job;
        self.uses += 1;
        if let Some(steps) = steps {
            let Some(code) = self.domain.code(head.workflow, Some(head.version)) else {
                self.changes.push(Change::Status { id, status: Status::NoCode });
                return None;
            };
            let Ok(did) = Did::read(&steps) else { return Some(Advance::damaged()) };
            let (of, holds_back) = ((id, head.numbers.clone()), !head.held_back);
            let live = Live::begin(code, of, &head.input, did.begun.into(), holds_back);
            self.loaded.insert(id, Loaded { live, told: 0, used: self.uses });
        }
        let loaded = self.loaded.get_mut(&id)?;
        loaded.used = self.uses;
        let entries = &bytes[entries];
        for entry in Entries(Bytes(entries)) {
            let Ok(entry) = entry.and_then(|(_, entry)| Entry::read(&mut Bytes(entry))) else {
                return Some(Advance::damaged());
            };
            loaded.live.tell(entry);
        }
        loaded.told += entries.len();
        Some(loaded.live.take())
    }

    /// What followed is carried out, or waits for room.
    fn follow(&mut self, id: WorkflowId, advance: Advance) {
        if let Some(advance) = self.carries(id, advance) {
            let due = self.seat.broker.clock.now().after(FOR_ROOM);
            self.held.insert(id, (due, advance));
            let shard = self.domain.shard(id).into_iter();
            shard.for_each(|mut shard| shard.lacks_room(id));
        }
    }

    /// Runs that beside all workflows.
    pub(super) fn spawn(&mut self, id: WorkflowId, step: u32, work: Work) {
        if !self.running.insert((id, step)) {
            return; // it was loaded again meanwhile
        }
        let work = Contained::new(work);
        self.works.push(Box::pin(async move { (id, step, work.await) }));
    }

    /// All that was decided is kept, or nothing of it.
    fn commit(&mut self) {
        let (changes, domain) = (std::mem::take(&mut self.changes), self.domain.clone());
        let answers = std::mem::take(&mut self.answers);
        if changes.is_empty() && answers.is_empty() && self.link.staged_bytes() == 0 {
            return;
        }
        answers.into_iter().for_each(|answer| self.link.stage_answer(answer));
        let now = self.seat.broker.clock.now();
        let steps = std::mem::take(&mut self.steps);
        self.link.commit_with(Box::new(move || domain.apply(changes, &steps, now)));
    }

    /// Those that wait for long need not be there, and there are not to be too many.
    fn unload(&mut self) {
        let most = self.domain.limits.loaded;
        if self.loaded.len() <= most {
            return;
        }
        let mut uses: Vec<u64> = self.loaded.values().map(|loaded| loaded.used).collect();
        let keep = most - most / 8;
        let at = uses.len() - keep;
        let (_, oldest, _) = uses.select_nth_unstable(at);
        let oldest = *oldest;
        let held = &self.held;
        self.loaded.retain(|id, loaded| loaded.used >= oldest || held.contains_key(id));
    }

    /// How much of what came a workflow has been told.
    pub(super) fn told(&self, id: WorkflowId) -> u32 {
        self.loaded.get(&id).map_or(0, |loaded| loaded.live.told())
    }
}

impl Advance {
    /// What was kept cannot be read.
    fn damaged() -> Self {
        let text = "what the log has of it cannot be read: restore it from a backup, or cancel it";
        Self { fault: Some(Fault::BadInput(text.to_owned())), ..Self::default() }
    }
}
