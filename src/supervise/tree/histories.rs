//! The tree against generated histories: leaves that start, fail, hang and end as they like, while
//! people ask for this and that. Whatever happens, what is promised holds at every step, and in the
//! end all comes to rest.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;

use super::world::{Asked, Step, World};
use super::{Body, BranchPlan, ChildKind, Plan, Tree};
use crate::queue::backoff::Backoff;
use crate::supervise::options::{AutoShutdown, Intensity, Restart, StopRule, Strategy};
use crate::supervise::policy::{Flags, Phase, Rule};

pub(super) fn leaf(name: &str, restart: Restart, stop_within: u64) -> Plan {
    let stop = StopRule::Within(Duration::from_millis(stop_within));
    let rule = Rule { restart, stop, significant: false };
    Plan { name: Arc::from(name), rule, kind: ChildKind::Processor, body: Body::Leaf(0) }
}

fn rule_of_supervisor(restart: Restart) -> Rule {
    Rule { restart, stop: StopRule::Patient, significant: false }
}

fn restarts() -> impl Generator<Value = Restart> {
    prop_oneof![Just(Restart::Permanent), Just(Restart::Transient), Just(Restart::Temporary)]
}

fn flags() -> impl Generator<Value = Flags> {
    let strategy = prop_oneof![
        Just(Strategy::OneForOne),
        Just(Strategy::OneForAll),
        Just(Strategy::RestForOne)
    ];
    let intensity = prop_oneof![
        Just(Intensity::Unlimited),
        (0u32..5).prop_map(|most| Intensity::within(most, Duration::from_secs(5)))
    ];
    let auto = prop_oneof![
        3 => Just(AutoShutdown::Never),
        1 => Just(AutoShutdown::AnySignificant),
        1 => Just(AutoShutdown::AllSignificant)
    ];
    let backoff = prop_oneof![Just(Backoff::none()), Just(Backoff::default())];
    (strategy, intensity, auto, backoff, prop::bool::weighted(0.2)).prop_map(
        |(strategy, intensity, auto_shutdown, backoff, pool)| Flags {
            strategy: if pool { Strategy::OneForOne } else { strategy },
            intensity,
            backoff,
            auto_shutdown,
            pool,
        },
    )
}

fn plan(depth: u32) -> BoxedStrategy<Plan> {
    let leaf =
        (restarts(), any::<bool>(), 0u64..3_000).prop_map(|(restart, significant, within)| {
            let mut plan = leaf("", restart, within);
            plan.rule.significant = significant && restart != Restart::Permanent;
            if within % 7 == 0 {
                plan.rule.stop = StopRule::Kill;
            }
            plan
        });
    if depth == 0 {
        return leaf.boxed();
    }
    prop_oneof![3 => leaf, 1 => branch(depth - 1)].boxed()
}

fn branch(depth: u32) -> BoxedStrategy<Plan> {
    let children = prop::collection::vec(plan(depth), 0..5);
    (flags(), restarts(), children, prop::option::of(0usize..3))
        .prop_map(|(flags, restart, mut children, decider)| {
            for (number, child) in children.iter_mut().enumerate() {
                child.name = Arc::from(format!("child-{number}"));
            }
            let template = flags.pool.then(|| Box::new(self::leaf("member", restart, 1_000)));
            let children = if flags.pool { Vec::new() } else { children };
            let body = Body::Branch(BranchPlan { flags, decider, children, template });
            let rule = rule_of_supervisor(restart);
            Plan { name: Arc::from("branch"), rule, kind: ChildKind::Supervisor, body }
        })
        .boxed()
}

fn steps() -> impl Generator<Value = Vec<Step>> {
    let asked = prop_oneof![
        Just(Asked::Stop),
        Just(Asked::Restart),
        Just(Asked::Delete),
        Just(Asked::Watch),
        Just(Asked::Add),
        Just(Asked::Grow),
        Just(Asked::LetGo),
        Just(Asked::Reconfigure)
    ];
    let step = prop_oneof![
        6 => any::<usize>().prop_map(Step::Starts),
        1 => any::<usize>().prop_map(Step::Ignores),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(id, whole)| Step::Breaks(id, whole)),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(id, normal)| Step::Ends(id, normal)),
        3 => (0u64..2_000).prop_map(Step::Passes),
        3 => (any::<usize>(), asked).prop_map(|(id, asked)| Step::Asks(id, asked)),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1_000), ..Default::default() })]

    #[test]
    fn every_history_keeps_the_promises(top in prop::collection::vec(branch(2), 1..3), steps in steps()) {
        let mut top = top;
        for (number, plan) in top.iter_mut().enumerate() {
            plan.name = Arc::from(format!("top-{number}"));
        }
        let mut world = World::new(top);
        for step in &steps {
            world.does(step);
        }
        // Left alone, whatever is to run runs.
        world.settles();
        if world.ended.is_empty() {
            for id in world.branches().into_iter().chain([Tree::ROOT]) {
                let branch = world.tree.branch(id).unwrap();
                for (child, of) in branch.policy.children() {
                    prop_assert!(matches!(of.phase, Phase::Up | Phase::Down), "{child:?}: {of:?}");
                }
            }
        }
        // Asked to stop, everything ends, and whoever asked for something has been told.
        let at = world.at();
        world.tree.stop(at);
        world.carry();
        world.settles();
        prop_assert!(!world.ended.is_empty(), "it never ends: {:?}", world.alive);
        prop_assert!(world.tree.next_due().is_none());
        let untold = world.answered.iter().filter(|(_, times)| **times != 1).count();
        prop_assert_eq!(untold, 0, "{:?}", world.answered);
    }
}
