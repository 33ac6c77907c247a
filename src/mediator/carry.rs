//! What follows from what a workflow was told: staged for one commit, as far as there is room for it.

use std::sync::Arc;
use std::time::Duration;

use super::absent::Absent;
use super::changes::Change;
use super::pump::Pump;
use super::record::Head;
use super::table::{Open, Record, Status, open_of};
use crate::clock::{Moment, Timestamp};
use crate::error::Failure;
use crate::message::envelope::Origin;
use crate::processor::link::loose::Unsent;
use crate::queue::loose::Loose;
use crate::request::awaits::{Awaits, Start};
use crate::signal::Missed;
use crate::store::file::bytes::put_number;
use crate::workflow::WorkflowId;
use crate::workflow::came::UNHANDLED;
use crate::workflow::effect::{Effect, End};
use crate::workflow::history::{Entry, Kind, put_gone};
use crate::workflow::replay::Advance;

/// The number of a fact that begins no step.
const GONE: u32 = 1 << 31;

/// So often it has to fail to make up for something until somebody is to know.
const STUCK: u32 = 5;

/// What is known of a workflow from the table.
struct Known {
    head: Arc<Head>,
    came: u32,
    arriving: u32,
    quiet: bool,
    size: usize,
    status: Status,
}

impl Known {
    fn of(record: &Record, now: Moment) -> Self {
        Self {
            head: record.head.clone(),
            came: record.came,
            arriving: record.arriving,
            quiet: record.open.iter().all(|open| is_quiet(open, now)),
            size: record.size(),
            status: record.status.clone(),
        }
    }
}

/// Nothing comes to it before long.
fn is_quiet(open: &Open, now: Moment) -> bool {
    matches!(open.kind, Kind::Sleep | Kind::WaitFor | Kind::Ask)
        && open.due.is_none_or(|due| due.since(now) > LONG)
}

/// Who waits for longer than that is not kept loaded.
const LONG: Duration = Duration::from_secs(1);

impl Pump {
    pub(super) fn with_record<T>(
        &self,
        id: WorkflowId,
        look: impl FnOnce(&Record) -> T,
    ) -> Option<T> {
        let shard = self.domain.shard(id)?;
        shard.records.get(&id).map(|record| look(record))
    }

    fn origin(id: WorkflowId, head: &Head) -> Origin {
        Origin { parent: Some((id.event(), head.correlation)), ..Origin::OUTSIDE }
    }

    /// Stages what follows; gives it back if there is no room for it now.
    pub(super) fn carries(&mut self, id: WorkflowId, mut advance: Advance) -> Option<Advance> {
        let now = self.seat.broker.clock.now();
        let Some(known) = self.with_record(id, |record| Known::of(record, now)) else {
            self.forget(id);
            return None;
        };
        if let Some(fault) = advance.fault {
            self.forget(id);
            self.stops(id, &known.head, fault);
            return None;
        }
        if let Some(at) = advance.held_back {
            self.forget(id);
            self.holds_back(id, at);
            return None;
        }
        if advance.returned.is_some() && matches!(advance.end, Some((End::Completed(_), _))) {
            let comes = !known.head.held_back && self.comes_more(id, self.told(id));
            if comes || (!known.head.held_back && known.arriving > 0) {
                // It takes that first: what is there, or as soon as it is.
                self.forget(id);
                let shard = self.domain.shard(id).into_iter();
                shard.filter(|_| comes).for_each(|mut shard| shard.queue(id));
                return None;
            }
        }
        let mut failed = Vec::new();
        for effect in &advance.effects {
            let (step, message, is_command, waits) = match effect {
                Effect::Send { step, command, for_handler } => (*step, command, true, *for_handler),
                Effect::Publish { step, event } => (*step, event, false, false),
                _ => continue,
            };
            match self.link.can_send(&**message, is_command) {
                Ok(()) => {}
                Err(Unsent::NoHandler) => failed.push((step, no_handler(&**message, waits))),
                Err(Unsent::Yet) => return Some(advance),
                Err(Unsent::Never(failure)) => failed.push((step, failure)),
            }
        }
        let is_failed = |step: u32| failed.iter().any(|(of, _)| *of == step);
        let messages = advance.effects.iter().filter_map(|effect| match effect {
            Effect::Send { step, command: message, .. }
            | Effect::Publish { step, event: message } => (!is_failed(*step)).then_some(&**message),
            _ => None,
        });
        if self.link.take_room(messages).is_err() {
            return Some(advance);
        }
        let wall = Timestamp::now().as_millis();
        let mut dues: Vec<(u32, Moment)> = Vec::new();
        let mut quiet = known.quiet && advance.end.is_none();
        let origin = Self::origin(id, &known.head);
        // Begun, and over already.
        let mut over: Vec<u32> = Vec::new();
        for effect in std::mem::take(&mut advance.effects) {
            match effect {
                Effect::Send { step, command: message, .. }
                | Effect::Publish { step, event: message } => {
                    if !is_failed(step)
                        && let Err(failure) = self.link.send(message, id.step(step), &origin)
                    {
                        tracing::error!(workflow = %id, step, "it was not sent: {}", failure.chain().join(": "));
                    }
                }
                Effect::Within { step, wait } => {
                    dues.push((step, now.after(wait)));
                    let due = wall.saturating_add(millis(wait));
                    let begun = advance.begun.iter_mut().find(|begun| begun.step == step);
                    begun.into_iter().for_each(|begun| begun.due = Some(due));
                }
                Effect::SendAgain { step, command, failures, at, backoff } => {
                    let wait = millis(backoff.wait(failures, fastrand::f64()));
                    let wait = at.saturating_add(wait).saturating_sub(wall);
                    self.again.insert(now.after(Duration::from_millis(wait)), (id, step), command);
                    quiet = false;
                }
                Effect::Run { step, work } => self.spawn(id, step, work),
                Effect::Child { step, workflow, input } => {
                    self.begins_child(id, &known.head, step, workflow, input);
                }
                Effect::Forget { step, said } => {
                    if let Some(begun) = advance.begun.iter().find(|begun| begun.step == step) {
                        self.abandons(id, step, begun.kind, &begun.name);
                        over.push(step);
                        continue;
                    }
                    let open = |record: &Record| {
                        let open = record.open.iter().find(|open| open.step == step)?;
                        Some((open.kind, open.name.clone()))
                    };
                    if let Some((kind, name)) = self.with_record(id, open).flatten() {
                        self.abandons(id, step, kind, &name);
                        over.extend((!said).then_some(step));
                    }
                    self.changes.push(Change::Closes { id, step });
                    self.again.remove(id, step);
                }
            }
        }
        let told = self.told(id);
        let from = self.steps.len();
        for begun in &advance.begun {
            begun.put(&mut self.steps);
            if over.contains(&begun.step) {
                continue;
            }
            let due = dues.iter().find(|(step, _)| *step == begun.step).map(|(_, due)| *due);
            if let Some(mut open) = open_of(begun, due, wall) {
                open.sent = matches!(open.kind, Kind::Call | Kind::Undo).then_some(now);
                quiet = quiet && is_quiet(&open, now);
                self.changes.push(Change::Opens { id, open });
            }
        }
        // Its code alone knows that, else.
        if advance.end.is_some() {
            over.clear();
        }
        over.iter().for_each(|step| put_gone(advance.turn, *step, &mut self.steps));
        let begun = advance.begun.first().map(|begun| begun.step);
        let first = begun.or_else(|| over.first().map(|step| GONE | step));
        if let Some(first) = first {
            let names = self.domain.names(id);
            self.link.stage_facts(|facts| {
                let steps = &self.steps[from..];
                let mut value = Vec::with_capacity(steps.len() + 4);
                put_number(&mut value, u64::from(told));
                value.extend_from_slice(steps);
                names.put_steps(facts, first, &value);
            });
        }
        let steps = from..self.steps.len();
        let size = known.size + steps.len();
        self.changes.push(Change::Began { id, steps, first, told });
        for (step, failure) in failed {
            self.answers.push(self.domain.clone().answer(id, step, Err(failure)));
        }
        self.says_missed(Missed::Result, u64::from(advance.late));
        if let Some(shows) = advance.shows {
            self.changes.push(Change::Shows { id, shows });
        }
        let status = match (advance.compensates, advance.stuck) {
            (false, _) => Status::Running,
            (true, stuck) if stuck >= STUCK => Status::Stuck(stuck),
            (true, _) => Status::Compensating,
        };
        if status != known.status {
            self.says_status(id, &known.head, &status);
            self.changes.push(Change::Status { id, status });
        }
        if let Some((end, untaken)) = advance.end {
            self.ends(id, &known.head, end, &untaken, (told, advance.next));
        } else if !advance.compensates
            && (size > self.domain.limits.history_bytes
                || known.came as usize > self.domain.limits.history_entries)
        {
            self.forget(id);
            self.is_too_long(id, &known.head, size, known.came);
        } else if quiet {
            self.forget(id);
        }
        None
    }

    /// Whether an event has come that it has not been told.
    fn comes_more(&self, id: WorkflowId, told: u32) -> bool {
        let more = |record: &Record| {
            record.entries().flatten().skip(told as usize).any(|(_, entry)| Entry::is_event(entry))
        };
        self.with_record(id, more).unwrap_or(false)
    }

    fn begins_child(
        &mut self,
        id: WorkflowId,
        head: &Head,
        step: u32,
        workflow: &'static str,
        input: Vec<u8>,
    ) {
        let from = id.step(step);
        let mediator = self.seat.requests.mediators.of_workflow(workflow);
        let start = Start {
            workflow,
            input,
            key: head.key.clone(),
            from,
            correlation: head.correlation,
            parent: Some((id, step)),
        };
        let begun = match mediator {
            Some(mediator) => mediator.begin(start),
            None => Err(Failure::permanent(format!(
                "no mediator of this runtime has the workflow `{workflow}`: give it to one with `.workflow(..)`"
            ))
            .reason("no_handler")),
        };
        match begun {
            Ok(beginning) => {
                self.link.stage_facts(|facts| facts.extend_from_slice(&beginning.facts));
                self.answers.extend(beginning.begins);
            }
            Err(failure) => self.answers.push(self.domain.clone().answer(id, step, Err(failure))),
        }
    }

    /// Nobody waits for that step any more.
    pub(super) fn abandons(&mut self, id: WorkflowId, step: u32, kind: Kind, name: &str) {
        if kind != Kind::Child {
            return;
        }
        let mediators = &self.seat.requests.mediators;
        let perhaps = match mediators.of_workflow(name) {
            Some(mediator) => vec![mediator],
            // One of those that are not there, if any: who knows nothing of it makes nothing of it.
            None => mediators.all().into_iter().filter(is_absent).collect(),
        };
        let from = id.step(step);
        self.answers.extend(perhaps.into_iter().map(|of| of.cancels_child(name, from)));
    }

    /// A command is sent again that failed.
    pub(super) fn send_again(&mut self, id: WorkflowId, step: u32, command: Box<dyn Loose>) {
        let failed = |record: &Record| {
            record.open.iter().find(|open| open.step == step)?; // else nobody waits for it any more
            Some((record.head.clone(), record.failed(step)?))
        };
        let Some(Some((head, (place, entry)))) = self.with_record(id, failed) else {
            return;
        };
        let messages = std::iter::once(&*command);
        let sent = self.link.can_send(&*command, true);
        if let Err(Unsent::Never(failure)) = sent {
            self.answers.push(self.domain.clone().answer(id, step, Err(failure)));
            return;
        }
        if sent.is_err() || self.link.take_room(messages).is_err() {
            let due = self.seat.broker.clock.now().after(Duration::from_millis(50));
            self.again.insert(due, (id, step), command);
            return;
        }
        if self.link.send(command, id.step(step), &Self::origin(id, &head)).is_ok() {
            let names = self.domain.names(id);
            self.link.stage_facts(|facts| names.put_entry(facts, place, &entry));
            self.changes.push(Change::TriedAgain { id, step });
        }
    }
}

fn is_absent(mediator: &Arc<dyn Awaits>) -> bool {
    mediator.clone().into_any().is::<Absent>()
}

fn no_handler(message: &dyn Loose, waits: bool) -> Failure {
    let declared = message.declared();
    let or_wait = if waits { "" } else { ", or wait for one with `.wait_for_handler()`" };
    let text = format!(
        "nobody handles the command `{}`: let a processor of this runtime say `.serves::<{}>()`{or_wait}",
        declared.name, declared.type_name
    );
    Failure::permanent(text).reason(if waits { UNHANDLED } else { "no_handler" })
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}
