//! A workflow that is loaded: its code, told one thing after the other, live and when its history is told
//! again alike. Pure but for the code itself, and that is contained.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use super::Code;
use super::core::{Begin, Core, Numbers, Waits};
use super::effect::{Effect, End, Fault};
use super::history::{Begun, Entry, Kind};
use super::id::WorkflowId;
use super::steps::Steps;
use crate::error::{Failure, Outcome};
use crate::guard::contain;
use crate::message::EventId;
use crate::queue::backoff::{Backoff, Retry};

/// The code of one workflow, on its way.
pub(crate) type Running = Pin<Box<dyn Future<Output = Outcome<Vec<u8>>>>>;

enum Phase {
    Running(Running),
    /// The code is through, and what it owes is made up for, last things first.
    Undoing(End),
    Over,
}

/// What followed from what a workflow was told.
#[derive(Default)]
pub(crate) struct Advance {
    /// The steps that it begun for the first time, in their order.
    pub(crate) begun: Vec<Begun>,
    pub(crate) effects: Vec<Effect>,
    /// How it ended, if it has, and which events came that it has not taken.
    pub(crate) end: Option<(End, Vec<EventId>)>,
    /// Its code returned, after so many things had come to it, and it has done nothing since.
    pub(crate) returned: Option<u32>,
    /// It cannot end: something came that it has not taken. All that is said here is void; it is to be told
    /// again, with that before what it was told then.
    pub(crate) held_back: Option<u32>,
    pub(crate) fault: Option<Fault>,
    /// It makes up for what it did.
    pub(crate) compensates: bool,
    /// So often it failed to.
    pub(crate) stuck: u32,
    /// What it shows, if that is new.
    pub(crate) shows: Option<Vec<u8>>,
    pub(crate) late: u32,
    /// The turn that comes next.
    pub(crate) turn: u32,
    /// The first number that no step has had.
    pub(crate) next: u32,
}

/// A loaded workflow.
pub(crate) struct Live {
    core: Rc<RefCell<Core>>,
    phase: Phase,
    end: Option<End>,
    /// How many things it was told.
    told: u32,
    returned: Option<u32>,
    /// It may not end as long as something has come that it has not taken.
    holds_back: bool,
    held_back: Option<u32>,
    /// The step that makes up for something now.
    undoes: Option<u32>,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// How often code may wake itself in one turn.
const SPINS: u32 = 10_000;

/// How patiently it is tried again to make up for something: for ever.
const UNDO: Retry = Retry {
    attempts: u32::MAX,
    backoff: Backoff::new(std::time::Duration::from_secs(1), std::time::Duration::from_secs(600)),
};

impl Live {
    /// Begins it with that input, its steps numbered like that; whatever stands in `recorded` has been begun
    /// before.
    pub(crate) fn begin(
        code: &Arc<dyn Code>,
        (id, numbers): (WorkflowId, Numbers),
        input: &[u8],
        recorded: VecDeque<Begun>,
        holds_back: bool,
    ) -> Self {
        let core = Rc::new(RefCell::new(Core::new(code.clone(), (id, numbers), recorded)));
        let steps = Steps::new(core.clone());
        let running = contain(|| code.begin(input, steps));
        let phase = match running {
            Ok(Ok(running)) => Phase::Running(running),
            Ok(Err(failure)) => {
                let said = failure.chain().join(": ");
                core.borrow_mut().fault = Some(Fault::BadInput(said));
                Phase::Over
            }
            Err(panic) => {
                core.borrow_mut().fault = Some(Fault::Panicked(panic));
                Phase::Over
            }
        };
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let mut live = Self {
            core,
            phase,
            end: None,
            told: 0,
            returned: None,
            holds_back,
            held_back: None,
            undoes: None,
            woken,
        };
        live.goes_on();
        live
    }

    /// It is told what came, and does all that follows from it.
    pub(crate) fn tell(&mut self, entry: Entry<'_>) {
        self.told += 1;
        let undoing = !matches!(self.phase, Phase::Running(_));
        let why = match entry {
            Entry::Compensate => Some(("somebody had it make up for what it did", "compensated")),
            Entry::Cancelled if self.core.borrow().fault.is_some() => {
                Some(("the workflow was cancelled", "cancelled"))
            }
            _ => None,
        };
        if let Some((text, reason)) = why {
            return self.compensate(Failure::permanent(text).reason(reason));
        }
        if undoing && matches!(entry, Entry::Cancelled) {
            return; // nobody stops it from making up for what it did
        }
        let goes_on = {
            let mut core = self.core.borrow_mut();
            core.fault.is_none() && core.takes(entry)
        };
        if goes_on {
            self.goes_on();
        }
        let returned = matches!(self.end, Some(End::Completed(_))) && self.returned.is_some();
        if returned {
            self.hold_back();
        }
    }

    /// It does not end if something came that it has not taken.
    fn hold_back(&mut self) -> bool {
        let holds = self.holds_back && self.core.borrow().untaken().next().is_some();
        if holds {
            (self.held_back, self.end) = (self.returned, None);
            self.leave();
        }
        holds
    }

    /// It makes up for what it did, and does nothing else: whatever its code has come to, or cannot do.
    fn compensate(&mut self, why: Failure) {
        if matches!(self.phase, Phase::Undoing(_)) || self.end.is_some() {
            return;
        }
        self.leave();
        let mut core = self.core.borrow_mut();
        core.fault = None;
        core.skips_to_undo();
        core.forgets_all();
        drop(core);
        self.phase = Phase::Undoing(match why.named_reason() {
            Some("cancelled") => End::Cancelled(why),
            _ => End::Failed(why),
        });
        self.goes_on();
    }

    /// One turn after the other, as long as there is something to do.
    fn goes_on(&mut self) {
        loop {
            if self.core.borrow().fault.is_none() {
                self.turn();
            }
            let mut core = self.core.borrow_mut();
            if self.held_back.is_none() {
                core.ends_turn();
            }
            let waits = matches!(self.phase, Phase::Running(_)) && core.fault.is_none();
            if !(waits && core.hands_out()) {
                break;
            }
        }
        let mut core = self.core.borrow_mut();
        let waits = matches!(self.phase, Phase::Running(_));
        if waits && core.outstanding == 0 && core.fault.is_none() {
            let text = format!(
                "workflow {} waits for something that is none of its steps, after {}: whatever it awaits must \
                 come from `steps`; let a processor do the rest, or `steps.run`",
                core.id,
                core.last_begun()
            );
            core.fault = Some(Fault::ForeignWait(text));
        }
        let over = matches!(self.phase, Phase::Over) && self.held_back.is_none();
        let ended_early = over && core.fault.is_none() && core.is_replayed();
        if ended_early && let Some(known) = core.recorded.front().cloned() {
            core.diverges(known, None);
        }
        if core.fault.is_some() {
            drop(core);
            self.end = None;
            self.leave();
        }
    }

    fn turn(&mut self) {
        let polled = match &mut self.phase {
            Phase::Running(running) => {
                let waker = Waker::from(self.woken.clone());
                let mut task = Context::from_waker(&waker);
                let mut spins = 0;
                loop {
                    self.woken.0.store(false, Relaxed);
                    let polled = contain(|| running.as_mut().poll(&mut task));
                    spins += 1;
                    match polled {
                        Ok(Poll::Pending) if self.woken.0.load(Relaxed) && spins < SPINS => {}
                        polled => break polled,
                    }
                }
            }
            Phase::Undoing(_) => return self.undo(),
            Phase::Over => return,
        };
        let mut core = self.core.borrow_mut();
        match polled {
            Ok(Poll::Pending) => return,
            Err(panic) => {
                core.fault.get_or_insert(Fault::Panicked(panic));
                return;
            }
            Ok(Poll::Ready(_)) if core.fault.is_some() => return,
            Ok(Poll::Ready(result)) => {
                let end = match (core.continues.take(), result) {
                    (Some(input), _) => End::Continued(input),
                    (None, Ok(output)) => End::Completed(output),
                    (None, Err(failure)) if core.cancelled => End::Cancelled(failure),
                    (None, Err(failure)) => End::Failed(failure),
                };
                if matches!(end, End::Completed(_) | End::Continued(_)) {
                    core.owed.retain(|owed| owed.abandoned);
                }
                drop(core);
                self.returned = Some(self.told);
                let completed = matches!(end, End::Completed(_));
                self.phase = Phase::Undoing(end);
                if completed && self.hold_back() {
                    return;
                }
            }
        }
        self.undo();
    }

    /// Makes up for the last thing that is owed, or ends.
    fn undo(&mut self) {
        let mut core = self.core.borrow_mut();
        let Some(owed) = core.owed.pop() else {
            if let Phase::Undoing(end) = std::mem::replace(&mut self.phase, Phase::Over) {
                self.end = Some(end);
            }
            self.undoes = None;
            return;
        };
        let id = core.id.step(owed.step);
        let of = owed.step;
        drop(core); // user code may ask for something of it
        let made = contain(|| owed.into_command(id))
            .map_err(|panic| format!("`undo_with` of step {of} panicked: {panic}"));
        let made = made.and_then(|made| {
            made.transpose().map_err(|failure: Failure| failure.chain().join(": "))
        });
        let core = &mut *self.core.borrow_mut();
        let command = match made {
            Ok(Some(command)) => command,
            Ok(None) => return,
            Err(why) => {
                core.fault.get_or_insert(Fault::Panicked(why));
                return;
            }
        };
        let step = core.number();
        let name = command.declared().name;
        let digest = crc32c::crc32c(command.payload());
        let begun = Begun {
            turn: core.turn,
            step,
            kind: Kind::Undo,
            name: name.into(),
            digest,
            key: None,
            due: None,
        };
        let again = command.another().ok().map(|another| (another, UNDO));
        self.undoes = Some(step);
        self.returned = None;
        let waits = Waits { again, is_owed: true, for_handler: true, ..Waits::default() };
        if let Begin::New = core.begin(begun, waits) {
            core.effects.push(Effect::Send { step, command, for_handler: true });
        }
    }

    /// Nothing is done any more; what is dropped says nothing.
    fn leave(&mut self) {
        self.core.borrow_mut().leaving = true;
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        contain(move || drop(phase)).ok();
    }

    /// The first step of its history that its code has not come to.
    pub(crate) fn left(&self) -> Option<String> {
        Some(self.core.borrow().recorded.front()?.said())
    }

    /// How many things it was told.
    pub(crate) fn told(&self) -> u32 {
        self.told
    }

    /// What followed since this was asked last.
    pub(crate) fn take(&mut self) -> Advance {
        let mut core = self.core.borrow_mut();
        core.works();
        let mut effects = std::mem::take(&mut core.effects);
        let mut begun = std::mem::take(&mut core.begun);
        if core.fault.is_some() || self.held_back.is_some() {
            // What this turn began is not done; it is found out what is wrong before.
            effects.clear();
            begun.clear();
        }
        effects.retain(|effect| match effect {
            Effect::SendAgain { step, failures, .. } => core.failures(*step) == Some(*failures),
            _ => true,
        });
        let compensates = matches!(self.phase, Phase::Undoing(_));
        let stuck = match self.undoes {
            Some(step) if compensates => core.failures(step).unwrap_or(0),
            _ => 0,
        };
        Advance {
            begun,
            effects,
            end: self.end.take().map(|end| (end, core.untaken().collect())),
            returned: self.returned,
            held_back: self.held_back,
            fault: core.fault.clone(),
            compensates,
            stuck,
            shows: core.shows.take(),
            late: std::mem::take(&mut core.late),
            turn: core.turn,
            next: core.unused(),
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.leave();
    }
}
