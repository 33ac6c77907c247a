//! From what the application declared to the plan of a tree: names and rules are checked, leaves and
//! deciders get the numbers by which the tree knows them.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::error::Error;
use crate::message::check_name;
use crate::supervise::child::{Child, ChildOptions, Decider};
use crate::supervise::options::StopRule;
use crate::supervise::policy::Rule;
use crate::supervise::tree::{Body, BranchPlan, Plan};
use crate::supervise::{AutoShutdown, ChildKind, DeclaredChild, Pool, Restart, Supervisor};

/// How long a child may take to stop unless the application says otherwise.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

/// A leaf as it was declared.
pub(crate) struct LeafSpec {
    pub(super) child: Arc<dyn Child>,
    pub(super) kind: ChildKind,
    /// It is a pool's template.
    pub(super) template: bool,
    /// It gets its place only when it is started: there may be many of it.
    pub(super) later: bool,
    /// The names of its supervisor, or pool.
    pub(super) supervisor: String,
    /// The number by which all that is made from it is counted.
    pub(super) family: OnceLock<usize>,
}

/// All that was declared, by the numbers of which the plans speak.
#[derive(Default)]
pub(crate) struct Specs {
    pub(super) leaves: BTreeMap<usize, LeafSpec>,
    next: usize,
    pub(super) deciders: Vec<Arc<Decider>>,
}

impl Specs {
    /// Takes in others. From which numbers on they are known here.
    pub(super) fn append(&mut self, others: Self) -> (usize, usize) {
        let first = (self.next, self.deciders.len());
        self.next += others.next;
        let leaves = others.leaves.into_iter();
        self.leaves.extend(leaves.map(|(number, spec)| (first.0 + number, spec)));
        self.deciders.extend(others.deciders);
        first
    }
}

/// Plans a child of the supervisor with that path.
pub(super) fn plan(specs: &mut Specs, declared: DeclaredChild, path: &str) -> Result<Plan, Error> {
    match declared {
        DeclaredChild::Leaf(kind, child, options) => one(specs, child, &options, kind, false, path),
        DeclaredChild::Supervisor(supervisor) => supervised(specs, supervisor, path),
        DeclaredChild::Pool(pool) => pooled(specs, pool, path),
    }
}

/// Plans a leaf.
fn one(
    specs: &mut Specs,
    child: Arc<dyn Child>,
    options: &ChildOptions,
    kind: ChildKind,
    template: bool,
    path: &str,
) -> Result<Plan, Error> {
    let name = child.declaration().name;
    check_name(
        if kind == ChildKind::Actor { "the actor name" } else { "the processor name" },
        &name,
    )?;
    let rule = rule(options, false);
    check_significant(&name, &rule)?;
    let later = template && child.declaration().own;
    let (supervisor, family) = (path.to_owned(), OnceLock::new());
    let spec = LeafSpec { child, kind, template, later, supervisor, family };
    let body = Body::Leaf(specs.next);
    specs.leaves.insert(specs.next, spec);
    specs.next += 1;
    Ok(Plan { name, rule, kind, body })
}

/// Plans a supervisor that is a child of the one with that path, or of nobody.
pub(super) fn supervised(
    specs: &mut Specs,
    supervisor: Supervisor,
    path: &str,
) -> Result<Plan, Error> {
    let Supervisor { name, flags, decider, options, children } = supervisor;
    check_name("the supervisor", &name)?;
    let path = join(path, &name);
    let decider = decider.map(|decider| add_decider(specs, decider));
    let mut plans: Vec<Plan> = Vec::new();
    for child in children {
        let child = plan(specs, child, &path)?;
        if plans.iter().any(|other| other.name == child.name) {
            return Err(Error::config(format!(
                "two children of `{path}` are named `{}`: give one of them another name",
                child.name
            )));
        }
        if child.rule.significant && flags.auto_shutdown == AutoShutdown::Never {
            return Err(Error::config(format!(
                "`{}` is significant, but `{path}` never shuts down by itself: say \
                 `auto_shutdown(..)`, or leave `significant()` out",
                child.name
            )));
        }
        plans.push(child);
    }
    let rule = rule(&options, true);
    check_significant(&name, &rule)?;
    let branch = BranchPlan { flags, decider, children: plans, template: None };
    let body = Body::Branch(branch);
    Ok(Plan { name: Arc::from(name), rule, kind: ChildKind::Supervisor, body })
}

fn pooled(specs: &mut Specs, pool: Pool, path: &str) -> Result<Plan, Error> {
    let Pool { supervisor, template } = pool;
    let Supervisor { name, flags, decider, options, children: _ } = supervisor;
    check_name("the pool", &name)?;
    let path = join(path, &name);
    let template = match *template {
        DeclaredChild::Leaf(kind, child, options) => {
            one(specs, child, &options, kind, true, &path)?
        }
        other => {
            let plan = plan(specs, other, &path)?;
            refuse_processors(specs, &plan, &path)?;
            plan
        }
    };
    if template.rule.significant {
        return Err(Error::config(format!(
            "children of the pool `{path}` cannot be significant: a pool never shuts down by itself"
        )));
    }
    let decider = decider.map(|decider| add_decider(specs, decider));
    let template = Some(Box::new(template));
    let branch = BranchPlan { flags, decider, children: Vec::new(), template };
    let (rule, body) = (rule(&options, true), Body::Branch(branch));
    check_significant(&name, &rule)?;
    Ok(Plan { name: Arc::from(name), rule, kind: ChildKind::Pool, body })
}

/// Members of a pool are alike, and two processors of one name cannot be.
fn refuse_processors(specs: &mut Specs, plan: &Plan, path: &str) -> Result<(), Error> {
    match &plan.body {
        Body::Leaf(number) => match specs.leaves.get_mut(number) {
            Some(spec) if spec.kind == ChildKind::Processor => Err(Error::config(format!(
                "each member of the pool `{path}` would have a processor `{}`, and a processor's name \
                 is its alone: make the processor itself the template, or leave it out",
                plan.name
            ))),
            Some(spec) => {
                spec.later = true;
                Ok(())
            }
            None => Ok(()),
        },
        Body::Branch(branch) => {
            let below = branch.children.iter().chain(branch.template.as_deref());
            below.into_iter().try_for_each(|plan| refuse_processors(specs, plan, path))
        }
    }
}

fn add_decider(specs: &mut Specs, decider: Arc<Decider>) -> usize {
    specs.deciders.push(decider);
    specs.deciders.len() - 1
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

fn rule(options: &ChildOptions, supervisor: bool) -> Rule {
    let usual = if supervisor { StopRule::Patient } else { StopRule::Within(STOPS_WITHIN) };
    Rule {
        restart: options.restart,
        stop: options.stop.unwrap_or(usual),
        significant: options.significant,
    }
}

fn check_significant(name: &str, rule: &Rule) -> Result<(), Error> {
    if rule.significant && rule.restart == Restart::Permanent {
        return Err(Error::config(format!(
            "`{name}` is significant and permanent: it never ends for good; make it transient or \
             temporary, or leave `significant()` out"
        )));
    }
    Ok(())
}
