//! What is asked of the whole tree: how it looks, and to let a processor go.

use std::sync::Arc;

use super::control::{Command, Supervision, is_control_thread};
use super::core::{Core, Running};
use crate::supervise::ChildReport;
use crate::supervise::actor::Ask;
use crate::supervise::tree::Tree;

/// Takes a processor out of its supervisor's care. Whether it is gone by that, because it was down;
/// else it finishes what it has.
pub(super) fn let_go(core: &Core, running: &Arc<Running>) -> bool {
    let (running, (give, given)) = (running.clone(), crossbeam_channel::bounded(1));
    let asked = Ask::<super::leaves::Processors>(Box::new(move |actor: &mut Supervision| {
        let now = actor.now();
        if let Some(id) = actor.leaves.node_of(&running, &actor.tree) {
            let number = actor.tree.let_go(id, now);
            give.send(actor.leaves.let_go(id, &running)).ok();
            actor.leaves.take_out(number.as_slice());
        }
        actor.leaves.drop_elsewhere(running);
    }));
    core.commands.send(Command::Tree(asked)).ok();
    if is_control_thread() {
        return false; // an observer: it is done in a moment
    }
    given.recv().unwrap_or(false)
}

/// The whole hierarchy, as it is now.
pub(super) fn tree(core: &Arc<Core>) -> ChildReport {
    let (give, given) = crossbeam_channel::bounded(1);
    let asked = Ask::<super::leaves::Processors>(Box::new(move |actor: &mut Supervision| {
        give.send(actor.report(Tree::ROOT)).ok();
    }));
    let children = match is_control_thread() {
        true => Vec::new(), // an observer, which cannot wait for this thread
        false => {
            core.commands.send(Command::Tree(asked)).ok();
            given.recv().unwrap_or_default()
        }
    };
    ChildReport::runtime(&core.name, core.has_ended().is_none(), children)
}
