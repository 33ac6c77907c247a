//! What the tree wants of leaves, carried out; and what the words of a host mean for the whole.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::{Host, Leaf, Processors, drop_elsewhere};
use crate::clock::Moment;
use crate::pulse::Stuck;
use crate::queue::backoff::Backoff;
use crate::signal::{RestartCause, Signal};
use crate::supervise::actor::{Addresses, Decided, Heard, Leaves, Lost, ThreadId};
use crate::supervise::child::{Broke, HostId, Report, Says, decide};
use crate::supervise::policy::{NodeId, Verdict};
use crate::supervise::tree::{Effect, GaveUp, Tree};
use crate::supervise::{Count, OnExit, Reason};

/// An answer that is given in any case: if the code that was asked never runs, the failure is a matter
/// for the supervisor above.
struct Answer(Option<(actix::Recipient<Decided>, NodeId)>);

impl Answer {
    fn give(mut self, advice: OnExit) {
        self.send(advice);
    }

    fn send(&mut self, advice: OnExit) {
        if let Some((to, child)) = self.0.take() {
            to.do_send(Decided { child, advice });
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.send(OnExit::Escalate);
    }
}

impl Leaves for Processors {
    fn start(&mut self, id: NodeId, tree: &Tree, to: &Addresses) -> Result<(), String> {
        let running = self.running(id, tree).map_err(|error| error.to_string())?;
        running.subscription.stall(false);
        if self.users.insert(id) {
            running.users.fetch_add(1, SeqCst);
        }
        self.detach(&running, false);
        let settings = running.subscription.settings;
        let (hosts, instances) = (settings.hosts, settings.instances);
        let slots = |host| instances / hosts + usize::from(host < instances % hosts);
        let fresh =
            |host| Host { life: 0, slots: slots(host), runs: None, built: false, lost: None };
        let argument = self.arguments.get(&id).cloned().unwrap_or_else(|| Arc::new(()));
        let leaf = Leaf {
            running,
            path: tree.path(id),
            argument,
            decider: tree.decider_of(id),
            hosts: (0..hosts).map(fresh).collect(),
            living: Arc::default(),
            stopping: false,
            reason: None,
            let_go: None,
        };
        self.leaves.insert(id, leaf);
        for host in 0..hosts {
            if let Err(error) = self.launch(id, host, to) {
                self.kill(id);
                return Err(error.to_string());
            }
        }
        Ok(())
    }

    fn stop(&mut self, id: NodeId) -> Option<Reason> {
        let leaf = self.leaves.get_mut(&id)?;
        leaf.stopping = true;
        let mut runs = false;
        for host in &mut leaf.hosts {
            host.lost = None;
            if let Some(of) = &host.runs {
                leaf.running.subscription.stop(&of.fence);
                runs = true;
            }
        }
        if runs {
            return None;
        }
        self.ends(id);
        Some(Reason::Shutdown)
    }

    fn kill(&mut self, id: NodeId) {
        let Some(mut leaf) = self.leaves.remove(&id) else { return };
        for host in &mut leaf.hosts {
            self.fence(&leaf.running.clone(), host, None);
        }
        self.leaves.insert(id, leaf);
        self.ends(id);
    }

    fn rest(&mut self, id: NodeId, number: Option<usize>) {
        let known = self.down.get(&id).or_else(|| self.ready.get(&number?)).cloned();
        if let Some(running) = known {
            self.count_built(&running);
            self.leaves_alone(id, &running);
        }
    }

    fn forget(&mut self, id: NodeId, number: usize, undone: bool, for_good: bool) {
        if let Some(argument) = self.arguments.remove(&id) {
            self.trash.push(Box::new(argument));
        }
        let template = self.specs.leaves.get(&number).is_some_and(|spec| spec.template);
        let mut running = self.down.remove(&id);
        if running.is_none() && !template {
            running = self.ready.remove(&number); // it never ran
        }
        if for_good
            && !template
            && let Some(spec) = self.specs.leaves.remove(&number)
        {
            self.trash.push(Box::new(spec));
        }
        let Some(running) = running else { return };
        self.count_built(&running);
        self.leaves_alone(id, &running);
        if !running.subscription.settings.shared {
            self.core.orphan(&running, undone);
        }
        self.trash.push(Box::new(running));
    }

    fn forget_template(&mut self, number: usize, undone: bool, for_good: bool) {
        if let Some(running) = self.ready.remove(&number) {
            self.core.orphan(&running, undone);
            self.trash.push(Box::new(running));
        }
        if for_good && let Some(spec) = self.specs.leaves.remove(&number) {
            self.trash.push(Box::new(spec));
        }
    }

    fn keep(&mut self) {
        let gone = self.core.forget_those_gone();
        if !gone.is_empty() {
            self.trash.push(Box::new(gone));
        }
        self.tidy();
    }

    fn tidy(&mut self) {
        if !self.trash.is_empty() {
            drop_elsewhere(&self.threads.borrow(), std::mem::take(&mut self.trash));
        }
    }

    fn hears(&mut self, Report { from, says }: Report) -> Option<Heard> {
        let HostId { node, life, host: number } = from;
        if matches!(says, Says::Ended(_)) {
            self.threads.borrow_mut().forget(life);
        }
        let leaf = self.leaves.get_mut(&node)?;
        let host = leaf.hosts.get_mut(number).filter(|host| host.life == life)?;
        match says {
            Says::Built => {
                host.built = true;
                let running = leaf.running.clone();
                if let Some((since, cause)) = host.lost.take() {
                    let took = self.core.broker.clock.now().since(since);
                    let (processor, event) = (&running.subscription.name, None);
                    let restarted = Signal::Restarted { processor, cause, event, took };
                    self.core.broker.signals.state(&restarted);
                }
                let all = leaf.hosts.iter().all(|host| host.built);
                if all {
                    self.count_built(&running);
                }
                all.then_some(Heard::Started(node))
            }
            Says::Ignored => {
                self.kill(node);
                Some(Heard::Ignored(node))
            }
            Says::Ended(reason) => {
                host.runs = None;
                if let Some(reason) = reason.filter(|_| !leaf.stopping) {
                    leaf.reason = Some(reason);
                    leaf.stopping = true;
                    let runs = leaf.hosts.iter().filter_map(|host| host.runs.as_ref());
                    runs.for_each(|of| leaf.running.subscription.stop(&of.fence));
                }
                let goes_on = |host: &Host| host.runs.is_some() || host.lost.is_some();
                if leaf.hosts.iter().any(goes_on) {
                    return None;
                }
                let reason = leaf.reason.take().unwrap_or(Reason::Shutdown);
                let let_go = leaf.let_go.is_some();
                self.ends(node);
                (!let_go).then_some(Heard::Ended(node, reason))
            }
        }
    }

    fn broke(&mut self, broke: &Broke, now: Moment) -> Option<Verdict> {
        let HostId { node, life, host } = broke.from;
        let Some(leaf) = self.leaves.get_mut(&node) else { return Some(Verdict::End) };
        if leaf.stopping || leaf.hosts.get(host).is_none_or(|host| host.life != life) {
            return Some(Verdict::End);
        }
        let failures = leaf.let_go.as_mut()?;
        let wait = failures.one_more(Backoff::default(), now, fastrand::f64());
        Some(Verdict::Rebuild(wait))
    }

    fn decide(
        &mut self,
        decider: usize,
        child: NodeId,
        name: String,
        reason: Reason,
        to: &Addresses,
    ) {
        let Some(decider) = self.specs.deciders.get(decider).cloned() else { return };
        let signals = self.core.broker.signals.clone();
        self.next_worker += 1;
        let threads = self.threads.borrow();
        let worker = ThreadId::Worker(self.next_worker % threads.workers());
        self.deciding.insert(child, worker);
        let (pulse, answer) = (threads.pulse(worker), Answer(Some((to.decided.clone(), child))));
        threads.run(worker, move || {
            pulse.enter(0, 0);
            let advice = decide(&decider, &name, &reason, |during| signals.contained(during));
            pulse.leave();
            answer.give(advice);
        });
    }

    fn has_decided(&mut self, child: NodeId) {
        self.deciding.remove(&child);
    }

    fn tell(&mut self, fact: &Effect, tree: &Tree) {
        let signals = &self.core.broker.signals;
        match fact {
            Effect::Restart { child, wait } => {
                let (supervisor, child) = tree.names(*child);
                let (supervisor, child) = (supervisor.as_str(), child.as_str());
                signals.state(&Signal::Restarts { supervisor, child, wait: *wait });
            }
            Effect::Recovered { child, took } => {
                let (supervisor, child) = tree.names(*child);
                let (supervisor, child) = (supervisor.as_str(), child.as_str());
                signals.state(&Signal::Recovered { supervisor, child, took: *took });
            }
            Effect::GaveUp { supervisor, child, cause } => {
                let supervisor = &tree.path(*supervisor);
                signals.state(&Signal::GaveUp { supervisor, child, cause });
            }
            _ => {}
        }
    }

    fn ended(&mut self, gave_up: Option<GaveUp>) {
        // Nobody handles anything any more, and nobody is to wait for it.
        self.core.all().iter().for_each(|running| running.subscription.halt());
        self.core.end(gave_up);
        self.core.broker.intake.wake_resters();
    }

    fn lose(&mut self, thread: ThreadId, stuck: Stuck, to: &Addresses) -> Option<Lost> {
        let now = self.core.broker.clock.now();
        if !self.threads.borrow_mut().is_stuck(thread, stuck, now) {
            return None;
        }
        let on_it = |host: &Host| host.runs.as_ref().is_some_and(|runs| runs.thread == thread);
        let mut lost: Vec<HostId> = Vec::new();
        for (node, leaf) in &self.leaves {
            for (number, host) in leaf.hosts.iter().enumerate().filter(|(_, host)| on_it(host)) {
                lost.push(HostId { node: *node, life: host.life, host: number });
            }
        }
        let culprit = lost.iter().copied().find(|host| host.life == stuck.host);
        let processor = culprit.and_then(|host| self.leaves.get(&host.node));
        let processor = processor.map(|leaf| leaf.running.subscription.name.clone());
        let signals = self.core.broker.signals.clone();
        let (processor, since) = (processor.as_ref(), stuck.since);
        signals.state(&Signal::ThreadLost { processor, stuck: since });
        let mut charged = None;
        let mut at_once = VecDeque::new();
        for from in lost {
            let Some(mut leaf) = self.leaves.remove(&from.node) else { continue };
            let (running, is_culprit) = (leaf.running.clone(), Some(from) == culprit);
            let host = &mut leaf.hosts[from.host];
            let fence = host.runs.as_ref().map(|runs| runs.fence.clone());
            let again = stuck.event.is_some_and(|seq| running.subscription.has_broken(seq));
            let spared = again || fence.is_some_and(|fence| fence.take_success());
            self.fence(&running, host, stuck.event.filter(|_| is_culprit));
            let from = HostId { life: host.life, ..from };
            let cause = if is_culprit { RestartCause::Blocked } else { RestartCause::Displaced };
            // One that is let go, and cannot even start, is given up.
            let hopeless = is_culprit && leaf.let_go.is_some() && stuck.event.is_none();
            host.lost = (!leaf.stopping && !hopeless).then_some((now, cause));
            let every = running.declaration.count == Count::Every;
            if is_culprit && !leaf.stopping && leaf.let_go.is_none() && (!spared || every) {
                let cause = format!("it held its thread for more than {since:?}");
                let whole = leaf.living.load(SeqCst) == 0;
                charged = Some(Lost { from, cause, whole });
            } else if is_culprit {
                at_once.push_back(from); // after the others have had a turn
            } else {
                at_once.push_front(from);
            }
            self.leaves.insert(from.node, leaf);
        }
        self.threads.borrow_mut().lose(thread);
        // Who was asked there will not answer.
        for (child, _) in self.deciding.extract_if(|_, of| *of == thread) {
            to.decided.do_send(Decided { child, advice: OnExit::Escalate });
        }
        for from in at_once {
            self.go_on(from, to);
        }
        charged
    }

    fn go_on(&mut self, from: HostId, to: &Addresses) {
        let Some(leaf) = self.leaves.get_mut(&from.node) else { return };
        let Some(host) = leaf.hosts.get(from.host).filter(|host| host.life == from.life) else {
            return;
        };
        if host.lost.is_some() && host.runs.is_none() {
            if let Err(error) = self.launch(from.node, from.host, to) {
                if let Some(leaf) = self.leaves.get_mut(&from.node) {
                    leaf.hosts[from.host].lost = None;
                }
                let said =
                    Report { from, says: Says::Ended(Some(Reason::Failed(error.to_string()))) };
                to.tell.do_send(said);
            }
            return;
        }
        let rests = leaf.hosts.iter().all(|host| host.runs.is_none() && host.lost.is_none());
        if rests {
            let says = Says::Ended(None);
            to.tell.do_send(Report { from, says });
        }
    }
}
