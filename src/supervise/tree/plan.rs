//! What a tree is made from: the declarations of the application, with numbers in place of its code.
//! Pure.

use std::sync::Arc;

use super::ChildKind;
use crate::supervise::policy::{Flags, Rule};

/// What a child is declared as: a leaf by the number its carrier knows it by, or a supervisor.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) name: Arc<str>,
    pub(crate) rule: Rule,
    pub(crate) kind: ChildKind,
    pub(crate) body: Body,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Leaf(usize),
    Branch(BranchPlan),
}

impl Plan {
    pub(crate) fn leaf(&self) -> Option<usize> {
        match self.body {
            Body::Leaf(leaf) => Some(leaf),
            Body::Branch(_) => None,
        }
    }

    /// The numbers of all leaves in it.
    pub(crate) fn each_leaf(&self, each: &mut impl FnMut(usize)) {
        match &self.body {
            Body::Leaf(leaf) => each(*leaf),
            Body::Branch(plan) => {
                let below = plan.children.iter().chain(plan.template.as_deref());
                below.for_each(|plan| plan.each_leaf(each));
            }
        }
    }

    /// Its leaves and deciders have numbers from these on.
    pub(crate) fn renumber(&mut self, leaves: usize, deciders: usize) {
        match &mut self.body {
            Body::Leaf(leaf) => *leaf += leaves,
            Body::Branch(plan) => plan.renumber(leaves, deciders),
        }
    }
}

impl BranchPlan {
    pub(crate) fn renumber(&mut self, leaves: usize, deciders: usize) {
        if let Some(decider) = &mut self.decider {
            *decider += deciders;
        }
        let template = self.template.as_deref_mut();
        let plans = self.children.iter_mut().chain(template);
        plans.for_each(|plan| plan.renumber(leaves, deciders));
    }
}

/// What a supervisor is declared as.
#[derive(Debug, Clone, Default)]
pub(crate) struct BranchPlan {
    pub(crate) flags: Flags,
    /// By what number its carrier knows the application's code that is asked about failures.
    pub(crate) decider: Option<usize>,
    pub(crate) children: Vec<Plan>,
    /// What each child of a pool is.
    pub(crate) template: Option<Box<Plan>>,
}
