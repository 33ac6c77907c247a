//! A world of leaves for tests: time passes as it is told, and whatever the tree wants is checked
//! against what may be wanted.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::{Effect, GaveUp, NodeBody, Plan, Tree, Which};
use crate::clock::Moment;
use crate::supervise::options::{OnExit, Reason, Restart, Strategy};
use crate::supervise::policy::{Flags, NodeId, Now, Ticket, Verdict};

/// Where a leaf stands in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lives {
    Starting,
    Up,
    /// It was asked to stop, and takes its time.
    Stopping,
}

/// A world of leaves in which time passes as it is told.
pub(super) struct World {
    pub(super) tree: Tree,
    pub(super) now: u64,
    pub(super) alive: BTreeMap<NodeId, Lives>,
    gone: BTreeSet<NodeId>,
    /// How it ended: empty if it did not give up.
    pub(super) ended: Vec<Option<GaveUp>>,
    tickets: u64,
    pub(super) answered: HashMap<Ticket, u32>,
    /// Somebody asks for something, out of any order.
    by_hand: bool,
    started_by_hand: BTreeSet<NodeId>,
}

impl World {
    pub(super) fn new(supervisors: Vec<Plan>) -> Self {
        let mut world = Self {
            tree: Tree::new(supervisors),
            now: 0,
            alive: BTreeMap::new(),
            gone: BTreeSet::new(),
            ended: Vec::new(),
            tickets: 0,
            answered: HashMap::new(),
            by_hand: false,
            started_by_hand: BTreeSet::new(),
        };
        world.tree.start(world.at());
        world.carry();
        world
    }

    pub(super) fn at(&self) -> Now {
        Now { at: Moment::default().after(Duration::from_millis(self.now)), jitter: 1.0 }
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Does what the tree wants, and checks that it may be wanted.
    pub(super) fn carry(&mut self) {
        loop {
            let effects = self.tree.effects();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Start(id) => {
                        assert!(!self.gone.contains(&id), "{id:?} is gone");
                        let before = self.alive.insert(id, Lives::Starting);
                        assert_eq!(before, None, "{id:?} runs already");
                        self.started_by_hand.remove(&id);
                        if self.by_hand {
                            self.started_by_hand.insert(id);
                        }
                        self.in_order(id);
                    }
                    Effect::Stop(id) => {
                        let lives = self.alive.get_mut(&id).expect("it can be stopped");
                        *lives = Lives::Stopping;
                        self.in_reverse(id);
                    }
                    Effect::Kill(id) => {
                        if self.alive.remove(&id).is_some() {
                            let at = self.at();
                            self.tree.ended(id, Reason::Killed, at);
                        }
                    }
                    Effect::Rest(id) => assert!(!self.alive.contains_key(&id), "{id:?} runs"),
                    Effect::Forget { leaf: id, .. } => {
                        assert!(!self.alive.contains_key(&id), "{id:?} runs");
                        assert!(self.gone.insert(id), "{id:?} is forgotten twice");
                    }
                    Effect::Decide { child, .. } => {
                        let at = self.at();
                        self.tree.decided(child, OnExit::Restart, at);
                    }
                    Effect::Answer(ticket, _) | Effect::Told(ticket, _) => {
                        *self.answered.entry(ticket).or_default() += 1;
                    }
                    Effect::Restart { .. }
                    | Effect::Recovered { .. }
                    | Effect::ForgetTemplate { .. }
                    | Effect::GaveUp { .. } => {}
                    Effect::End(why) => {
                        assert!(self.alive.is_empty(), "{:?} run on", self.alive);
                        assert!(self.ended.is_empty(), "it ends twice");
                        self.ended.push(why);
                    }
                }
            }
        }
    }

    fn siblings(&self, id: NodeId) -> (Flags, Vec<NodeId>) {
        let parent = self.tree.nodes[&id].parent.unwrap();
        let NodeBody::Branch(branch) = &self.tree.nodes[&parent].body else { unreachable!() };
        (branch.plan.flags, branch.policy.children().map(|(id, _)| id).collect())
    }

    /// With strategies that bind them, a child starts when those before it are through with theirs.
    fn in_order(&self, id: NodeId) {
        let (flags, all) = self.siblings(id);
        if flags.strategy != Strategy::OneForAll || self.by_hand {
            return;
        }
        let before = all.iter().take_while(|of| **of != id);
        for of in before {
            let starting = self.alive.get(of) == Some(&Lives::Starting);
            let asked = self.started_by_hand.contains(of);
            assert!(!starting || asked, "{id:?} starts before {of:?} has");
        }
    }

    /// A child is asked to stop when those after it have, if its supervisor ends.
    fn in_reverse(&self, id: NodeId) {
        let (flags, all) = self.siblings(id);
        let parent = self.tree.nodes[&id].parent.unwrap();
        if flags.pool || self.by_hand || self.tree.branch(parent).unwrap().policy.is_on() {
            return;
        }
        let after = all.iter().skip_while(|of| **of != id).skip(1);
        for of in after.filter(|of| self.tree.leaf(**of).is_some()) {
            assert!(!self.alive.contains_key(of), "{id:?} is stopped while {of:?} runs");
        }
    }

    fn pick(&self, number: usize) -> Option<NodeId> {
        let all: Vec<NodeId> = self.alive.keys().copied().collect();
        (!all.is_empty()).then(|| all[number % all.len()])
    }

    fn leaves(&self) -> Vec<NodeId> {
        let mut all: Vec<NodeId> = self.tree.nodes.keys().copied().collect();
        all.retain(|id| self.tree.leaf(*id).is_some());
        all.sort();
        all
    }

    pub(super) fn branches(&self) -> Vec<NodeId> {
        let mut all: Vec<NodeId> = self.tree.nodes.keys().copied().collect();
        all.retain(|id| self.tree.leaf(*id).is_none() && *id != Tree::ROOT);
        all.sort();
        all
    }

    pub(super) fn does(&mut self, step: &Step) {
        let at = self.at();
        match step {
            Step::Starts(number) => {
                if let Some(id) = self.pick(*number)
                    && let Some(lives @ Lives::Starting) = self.alive.get_mut(&id)
                {
                    *lives = Lives::Up;
                    self.tree.started(id, at);
                }
            }
            Step::Ignores(number) => {
                if let Some(id) = self.pick(*number).filter(|id| self.alive[id] != Lives::Up) {
                    self.alive.remove(&id);
                    self.tree.ignored(id, at);
                }
            }
            Step::Breaks(number, whole) => {
                if let Some(id) = self.pick(*number) {
                    let cause = "it broke".to_owned();
                    let verdict = self.tree.broke(id, cause, *whole, OnExit::Restart, at);
                    if matches!(verdict, Verdict::Rebuild(_))
                        && let Some(lives) = self.alive.get_mut(&id)
                    {
                        assert_ne!(*lives, Lives::Stopping, "{id:?} was asked to stop");
                        *lives = Lives::Starting;
                    }
                }
            }
            Step::Ends(number, normal) => {
                if let Some(id) = self.pick(*number) {
                    self.alive.remove(&id);
                    let failed = || Reason::Failed("it ended".to_owned());
                    let reason = if *normal { Reason::Normal } else { failed() };
                    self.tree.ended(id, reason, at);
                }
            }
            Step::Passes(milliseconds) => {
                self.now += milliseconds;
                let at = self.at();
                self.tree.tick(at);
            }
            Step::Asks(number, what) => self.asks(*number, *what),
        }
        self.by_hand = matches!(step, Step::Asks(..));
        self.carry();
        self.by_hand = false;
        self.is_sound();
    }

    fn asks(&mut self, number: usize, what: Asked) {
        let at = self.at();
        let leaves = self.leaves();
        let Some(id) = leaves.get(number % leaves.len().max(1)).copied() else { return };
        let parent = self.tree.nodes[&id].parent.unwrap();
        let name = self.tree.nodes[&id].name.clone();
        let pool = self.siblings(id).0.pool;
        let ticket = self.ticket();
        let asked = match what {
            Asked::Stop if pool => self.tree.stop_child(parent, Which::Numbered(id), ticket, at),
            Asked::Stop => self.tree.stop_child(parent, Which::Named(&name), ticket, at),
            Asked::Restart => self.tree.restart_child(parent, &name, ticket, at),
            Asked::Delete => self.tree.delete_child(parent, &name, ticket, at),
            Asked::Watch => self.tree.watch(parent, Which::Numbered(id), ticket),
            Asked::Add => {
                let branches = self.branches();
                let parent = branches[number % branches.len()];
                let plan =
                    super::histories::leaf(&format!("more-{number}"), Restart::Permanent, 1_000);
                self.tree.add(parent, plan, Some(ticket), at).map(drop)
            }
            Asked::Grow => {
                let branches = self.branches();
                let pool = branches[number % branches.len()];
                self.tree.grow(pool, ticket, at, |_| {}).map(drop)
            }
            Asked::LetGo => {
                // It goes on by itself, and is nobody's concern here.
                self.tree.let_go(id, at);
                self.alive.remove(&id);
                self.gone.insert(id);
                self.answered.insert(ticket, 1);
                Ok(())
            }
            Asked::Reconfigure => {
                let branches = self.branches();
                let branch = branches[number % branches.len()];
                let mut plan = self.tree.branch(branch).unwrap().plan.clone();
                let by = number % plan.children.len().max(1);
                plan.children.rotate_left(by);
                plan.children.truncate(3);
                self.answered.insert(ticket, 1);
                self.tree.reconfigure(branch, plan, at)
            }
        };
        // Whoever is not refused is to be told, once.
        self.answered.entry(ticket).or_insert(u32::from(asked.is_err()));
    }

    /// What holds after every step.
    fn is_sound(&self) {
        for id in self.branches().into_iter().chain([Tree::ROOT]) {
            let branch = self.tree.branch(id).unwrap();
            for (child, of) in branch.policy.children() {
                assert!(self.tree.nodes.contains_key(&child));
                if self.tree.leaf(child).is_some() {
                    let lives = self.alive.contains_key(&child);
                    assert_eq!(of.lives(), lives, "{child:?} is {:?}", of.phase);
                }
            }
        }
        assert!(self.answered.values().all(|times| *times <= 1));
    }

    /// From now on everybody behaves: those who start are up, those who stop are gone.
    pub(super) fn settles(&mut self) {
        for _ in 0..10_000 {
            let at = self.at();
            let next = self.alive.iter().find(|(_, lives)| **lives != Lives::Up);
            match next.map(|(id, lives)| (*id, *lives)) {
                Some((id, Lives::Starting)) => {
                    self.alive.insert(id, Lives::Up);
                    self.tree.started(id, at);
                }
                Some((id, _)) => {
                    self.alive.remove(&id);
                    self.tree.ended(id, Reason::Shutdown, at);
                }
                None => match self.tree.next_due() {
                    Some(due) => {
                        self.now = self.now.max(due.0.div_ceil(1_000_000));
                        let at = self.at();
                        self.tree.tick(at);
                    }
                    None => return,
                },
            }
            self.carry();
            self.is_sound();
        }
        panic!("it does not come to rest");
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Asked {
    Stop,
    Restart,
    Delete,
    Watch,
    Add,
    Grow,
    LetGo,
    Reconfigure,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Starts(usize),
    Ignores(usize),
    Breaks(usize, bool),
    Ends(usize, bool),
    Passes(u64),
    Asks(usize, Asked),
}
