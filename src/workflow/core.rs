//! The steps of one workflow: which were begun, what each waits for, what came. Decides what follows from a
//! result, and whether code does again what it did. Pure.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::Code;
use super::anew::Restart;
use super::came::Came;
use super::effect::{Effect, Fault, Work};
use super::history::{Begun, Kind};
use super::id::{MOST_STEPS, WorkflowId};
use super::owed::Owed;
use crate::error::{Failure, Outcome};
use crate::message::Key;
use crate::queue::backoff::Retry;
use crate::queue::loose::Loose;

/// How a step ended.
#[derive(Debug, Clone)]
pub(crate) enum Ended {
    Done(Vec<u8>),
    Failed(Failure),
    /// Its time is over.
    Over,
    Cancelled,
}

/// What a step waits for.
#[derive(Default)]
pub(crate) struct Waits {
    pub(super) waker: Option<Waker>,
    pub(super) failures: u32,
    /// If it fails, that is sent again.
    pub(super) again: Option<(Box<dyn Loose>, Retry)>,
    /// And however it fails.
    pub(super) is_owed: bool,
    /// It waits if nobody handles it.
    pub(super) for_handler: bool,
    /// The event that it waits for.
    pub(super) event: Option<(&'static str, Key)>,
    /// What it runs, until somebody does.
    pub(super) work: Option<Work>,
}

pub(super) enum Slot {
    /// Nothing has been done for it.
    Made,
    Waits(Waits),
    Ended(Ended),
    /// It is over, or nobody waits for it any more.
    Gone,
}

/// What follows when code begins a step.
pub(crate) enum Begin {
    /// It is done for the first time.
    New,
    /// It was begun before, like that.
    Known,
    /// Nothing is begun any more.
    Never,
}

/// How the steps of a workflow are numbered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// The number of the first one.
    pub(crate) first: u32,
    pub(crate) restarts: Box<[Restart]>,
}

pub(crate) struct Core {
    pub(crate) id: WorkflowId,
    code: Arc<dyn Code>,
    /// The number of the first step, and from where on it was restarted.
    pub(super) first: u32,
    restarts: Box<[Restart]>,
    pub(super) slots: Vec<Slot>,
    /// How many wait.
    pub(super) outstanding: u32,
    pub(super) turn: u32,
    /// What was begun in this turn and those after it, when it was done before.
    pub(super) recorded: VecDeque<Begun>,
    /// The last turn in which something was begun before, and that as a whole.
    known: Option<u32>,
    /// The last step that was.
    last: Option<u32>,
    pub(super) begun: Vec<Begun>,
    pub(super) effects: Vec<Effect>,
    pub(super) inbox: VecDeque<Came>,
    pub(super) owed: Vec<Owed>,
    pub(super) fault: Option<Fault>,
    pub(super) cancelled: bool,
    /// Whatever is dropped from now on says nothing.
    pub(super) leaving: bool,
    pub(super) continues: Option<Vec<u8>>,
    pub(super) shows: Option<Vec<u8>>,
    /// Results that came when nobody waited for them any more.
    pub(super) late: u32,
}

impl Core {
    pub(super) fn new(
        code: Arc<dyn Code>,
        (id, numbers): (WorkflowId, Numbers),
        recorded: VecDeque<Begun>,
    ) -> Self {
        let Numbers { first, restarts } = numbers;
        Self {
            id,
            code,
            first,
            restarts,
            slots: Vec::new(),
            outstanding: 0,
            turn: 0,
            known: recorded.back().map(|known| known.turn),
            last: recorded.iter().map(|known| known.step).max(),
            recorded,
            begun: Vec::new(),
            effects: Vec::new(),
            inbox: VecDeque::new(),
            owed: Vec::new(),
            fault: None,
            cancelled: false,
            leaving: false,
            continues: None,
            shows: None,
            late: 0,
        }
    }

    /// Fails if its workflow does not declare that it expects such events: none would ever come.
    pub(super) fn expects(&self, event: &'static str) -> Outcome {
        if self.code.expects().iter().any(|declared| declared.name == event) {
            return Ok(());
        }
        let workflow = self.code.name();
        let text = format!(
            "the workflow `{workflow}` does not declare the event `{event}`: add its type to `type Expects`"
        );
        Err(Failure::permanent(text).reason("not_expected"))
    }

    /// The number of the next step.
    pub(super) fn number(&mut self) -> u32 {
        let goes_on = |core: &Self| {
            let restart = core.restarts.iter().find(|restart| restart.at == core.next())?;
            Some((restart.to - core.first) as usize)
        };
        // One may have been restarted where it went on before.
        while let Some(place) = goes_on(self) {
            self.slots.resize_with(place, || Slot::Gone);
        }
        let number = self.next();
        self.slots.push(Slot::Made);
        number
    }

    fn next(&self) -> u32 {
        self.first + self.slots.len() as u32
    }

    /// The first number that no step has had.
    pub(super) fn unused(&self) -> u32 {
        self.restarts.iter().map(|restart| restart.to).fold(self.next(), u32::max)
    }

    pub(super) fn place(&self, step: u32) -> usize {
        step.wrapping_sub(self.first) as usize
    }

    /// Its history says that it has begun that step: one of this run, that was not done anew.
    pub(super) fn has_begun(&self, step: u32) -> bool {
        let is_anew = |restart: &Restart| (restart.at..restart.to).contains(&step);
        self.last.is_some_and(|last| (self.first..=last).contains(&step))
            && !self.restarts.iter().any(is_anew)
    }

    /// What it does has all been done before, up to now.
    pub(super) fn is_replayed(&self) -> bool {
        !self.recorded.is_empty()
    }

    /// What it does in this turn has all been done before.
    pub(super) fn is_known_turn(&self) -> bool {
        let restarted = self.restarts.last().and_then(|restart| restart.turn);
        restarted != Some(self.turn) && self.known.is_some_and(|known| self.turn <= known)
    }

    /// Code comes to a step.
    pub(super) fn begin(&mut self, begun: Begun, waits: Waits) -> Begin {
        if self.fault.is_some() {
            return Begin::Never;
        }
        if begun.step >= MOST_STEPS {
            let text = format!(
                "it has begun {} steps: let it `continue_with` a new history",
                self.slots.len()
            );
            self.fault = Some(Fault::TooLong(text));
            return Begin::Never;
        }
        let known = match self.recorded.front() {
            None if self.is_known_turn() => {
                let text = format!("{}, where its history has nothing more", begun.said());
                self.adds(text);
                return Begin::Never;
            }
            None => None,
            Some(known) if known.is_like(&begun) => self.recorded.pop_front(),
            Some(known) => {
                self.diverges(known.clone(), Some(&begun));
                return Begin::Never;
            }
        };
        let place = self.place(begun.step);
        if begun.kind.waits() {
            self.slots[place] = Slot::Waits(waits);
            self.outstanding += 1;
        } else {
            self.slots[place] = Slot::Gone;
        }
        match known {
            Some(_) => Begin::Known,
            None => {
                self.begun.push(begun);
                Begin::New
            }
        }
    }

    /// A turn is over: all must have been begun that was begun in it before.
    pub(super) fn ends_turn(&mut self) {
        if let Some(known) = self.recorded.front()
            && known.turn <= self.turn
        {
            self.diverges(known.clone(), None);
        }
        self.turn += 1;
    }

    pub(super) fn diverges(&mut self, known: Begun, found: Option<&Begun>) {
        let found = match found {
            Some(found)
                if found.name == known.name
                    && found.kind == known.kind
                    && found.step == known.step =>
            {
                format!("{}, which says something else", found.said())
            }
            Some(found) => found.said(),
            None => "nothing".to_owned(),
        };
        self.adds(format!(
            "{found}, where its history has {} in turn {}",
            known.said(),
            known.turn
        ));
    }

    pub(super) fn adds(&mut self, found: String) {
        let text = format!(
            "its code came to {found} in turn {}: it has changed (give it another `VERSION`, or ask \
             `steps.version`), or does not always do the same (`select!`, the order of a hash map, a clock, \
             chance: use `steps.race`, `steps.run`)",
            self.turn
        );
        self.fault.get_or_insert(Fault::Diverged(text));
    }

    /// How a step ended, once.
    pub(super) fn poll(&mut self, step: u32, waker: &Waker) -> Poll<Ended> {
        let place = self.place(step);
        match &mut self.slots[place] {
            Slot::Waits(waits) => {
                if !waits.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                    waits.waker = Some(waker.clone());
                }
                Poll::Pending
            }
            slot @ Slot::Ended(_) => match std::mem::replace(slot, Slot::Gone) {
                Slot::Ended(ended) => Poll::Ready(ended),
                _ => Poll::Pending,
            },
            Slot::Made | Slot::Gone => Poll::Pending,
        }
    }

    pub(super) fn ends(&mut self, step: u32, ended: Ended) {
        let place = self.place(step);
        if let Some(Slot::Waits(waits)) = self.slots.get_mut(place) {
            let waker = waits.waker.take();
            self.slots[place] = Slot::Ended(ended);
            self.outstanding -= 1;
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// Whoever waited for it does not any more: its future was dropped.
    pub(super) fn abandon(&mut self, step: u32) {
        if self.leaving || self.fault.is_some() {
            return;
        }
        let place = self.place(step);
        let before = std::mem::replace(&mut self.slots[place], Slot::Gone);
        if let Slot::Waits(_) = before {
            self.outstanding -= 1;
            self.effects.push(Effect::Forget { step, said: false });
            self.owed
                .iter_mut()
                .filter(|owed| owed.step == step)
                .for_each(|owed| owed.abandoned = true);
        }
    }

    /// What is to be run beside it, and is not yet.
    pub(super) fn works(&mut self) {
        for (place, slot) in self.slots.iter_mut().enumerate() {
            if let Slot::Waits(waits) = slot
                && let Some(work) = waits.work.take()
            {
                self.effects.push(Effect::Run { step: self.first + place as u32, work });
            }
        }
    }

    /// Whatever it did that its code does not come to any more is left as it is.
    pub(super) fn skips_to_undo(&mut self) {
        while self.recorded.front().is_some_and(|known| known.kind != Kind::Undo) {
            self.recorded.pop_front();
        }
        self.known = self.recorded.back().map(|known| known.turn);
    }

    /// The steps that it waits for.
    pub(super) fn last_begun(&self) -> String {
        self.begun.last().map_or_else(|| "no step at all".to_owned(), Begun::said)
    }
}
