//! The nodes of the tree: built, found, named, taken out. Pure.

use std::collections::{BTreeSet, HashMap};

use super::{Body, Branch, Effect, Node, NodeBody, Plan, Tree};
use crate::supervise::policy::{NodeId, Policy};

impl Tree {
    /// Makes a supervisor's policy anew, with the children it was declared with.
    pub(super) fn build(&mut self, id: NodeId) {
        let Some(branch) = self.branch(id) else { return };
        let (plan, mut statics) = (branch.plan.clone(), branch.statics.clone());
        let mut policy = Policy::new(plan.flags);
        statics.resize(plan.children.len(), None);
        for (child, node) in plan.children.into_iter().zip(&mut statics) {
            let known = node.filter(|node| self.nodes.contains_key(node));
            let rule = child.rule;
            let known = known.unwrap_or_else(|| self.put(Some(id), true, child));
            *node = Some(known);
            policy.insert(known, rule);
        }
        if let Some(branch) = self.branch_mut(id) {
            (branch.policy, branch.statics) = (policy, statics);
        }
    }

    pub(super) fn put(&mut self, parent: Option<NodeId>, declared: bool, plan: Plan) -> NodeId {
        let id = NodeId(self.next);
        self.next += 1;
        let body = match plan.body {
            Body::Leaf(leaf) => NodeBody::Leaf(leaf),
            Body::Branch(plan) => {
                let policy = Policy::new(plan.flags);
                let (statics, names) = (Vec::new(), HashMap::new());
                let branch = Branch { plan, statics, names, policy, due: None };
                NodeBody::Branch(Box::new(branch))
            }
        };
        let (name, kind) = (plan.name, plan.kind);
        if let Some(parent) = parent.and_then(|parent| self.branch_mut(parent)) {
            parent.names.insert(name.clone(), id);
        }
        let (watchers, undecided) = (Vec::new(), None);
        let node = Node { name, parent, declared, kind, body, watchers, undecided };
        self.nodes.insert(id, node);
        self.build(id); // those below it are known, and have their place, before they are started
        id
    }

    /// Takes a node out, with all below it; `undone` if it was never there.
    pub(super) fn remove(&mut self, id: NodeId, undone: bool) {
        // What a pool's children are made from stays, for others to come.
        let node = self.nodes.get(&id);
        let for_good = node.is_some_and(|node| !node.declared && !self.is_of_a_pool(node));
        self.take_out(id, undone, for_good);
    }

    fn take_out(&mut self, id: NodeId, undone: bool, for_good: bool) {
        let Some(node) = self.nodes.get(&id) else { return };
        match &node.body {
            NodeBody::Leaf(number) => {
                let number = *number;
                self.effects.push(Effect::Forget { leaf: id, number, undone, for_good });
            }
            NodeBody::Branch(branch) => {
                let below: BTreeSet<NodeId> = branch
                    .policy
                    .children()
                    .map(|(child, _)| child)
                    .chain(branch.statics.iter().flatten().copied())
                    .collect();
                let mut templates = Vec::new();
                if let Some(template) = &branch.plan.template {
                    template.each_leaf(&mut |number| templates.push(number));
                }
                below.into_iter().for_each(|child| self.take_out(child, undone, for_good));
                let gone = |number| Effect::ForgetTemplate { number, undone, for_good };
                self.effects.extend(templates.into_iter().map(gone));
                self.set_due(id, None);
            }
        }
        let Some(Node { name, parent, .. }) = self.nodes.remove(&id) else { return };
        if let Some(parent) = parent.and_then(|parent| self.branch_mut(parent)) {
            parent.names.remove(&name);
        }
    }

    pub(super) fn is_of_a_pool(&self, node: &Node) -> bool {
        let parent = node.parent.and_then(|parent| self.branch(parent));
        parent.is_some_and(|branch| branch.plan.flags.pool)
    }

    pub(super) fn each_leaf(&mut self, id: NodeId, effect: fn(NodeId) -> Effect) {
        let Some(node) = self.nodes.get(&id) else { return };
        match &node.body {
            NodeBody::Leaf(_) => self.effects.push(effect(id)),
            NodeBody::Branch(branch) => {
                let below: Vec<NodeId> = branch.policy.children().map(|(child, _)| child).collect();
                below.into_iter().for_each(|child| self.each_leaf(child, effect));
            }
        }
    }

    pub(super) fn branch(&self, id: NodeId) -> Option<&Branch> {
        match &self.nodes.get(&id)?.body {
            NodeBody::Branch(branch) => Some(branch),
            NodeBody::Leaf(_) => None,
        }
    }

    pub(super) fn branch_mut(&mut self, id: NodeId) -> Option<&mut Branch> {
        match &mut self.nodes.get_mut(&id)?.body {
            NodeBody::Branch(branch) => Some(branch),
            NodeBody::Leaf(_) => None,
        }
    }

    /// The names of a child's supervisor, from the top-level one down, and the child's own.
    pub(crate) fn names(&self, child: NodeId) -> (String, String) {
        let node = self.nodes.get(&child);
        let supervisor = node.and_then(|node| node.parent).map(|id| self.path(id));
        (supervisor.unwrap_or_default(), self.name(child))
    }

    pub(crate) fn name(&self, id: NodeId) -> String {
        self.nodes.get(&id).map_or_else(String::new, |node| node.name.to_string())
    }

    /// What the supervisor of a child asks about its failures.
    pub(crate) fn decider_of(&self, child: NodeId) -> Option<usize> {
        self.branch(self.nodes.get(&child)?.parent?)?.plan.decider
    }

    pub(crate) fn node_of_leaf(&self, number: usize) -> Option<NodeId> {
        let is_it = |node: &Node| matches!(node.body, NodeBody::Leaf(leaf) if leaf == number);
        self.nodes.iter().find(|(_, node)| is_it(node)).map(|(id, _)| *id)
    }

    /// By what number the carrier knows a leaf.
    pub(crate) fn leaf(&self, id: NodeId) -> Option<usize> {
        match self.nodes.get(&id)?.body {
            NodeBody::Leaf(leaf) => Some(leaf),
            NodeBody::Branch(_) => None,
        }
    }

    /// The names from the top-level supervisor down.
    pub(crate) fn path(&self, id: NodeId) -> String {
        let mut names = Vec::new();
        let mut at = Some(id);
        while let Some(node) = at.and_then(|id| self.nodes.get(&id)) {
            names.push(&*node.name);
            at = node.parent;
        }
        names.pop(); // the root has none
        names.reverse();
        names.join("/")
    }
}
