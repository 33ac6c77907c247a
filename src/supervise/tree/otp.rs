//! Cases of OTP that take long, or many children: on a clock that is told, and by counting steps.

use std::time::Duration;

use super::histories::leaf;
use super::world::World;
use super::{Body, BranchPlan, ChildKind, Effect, Plan, Tree};
use crate::clock::Moment;
use crate::queue::backoff::Backoff;
use crate::supervise::options::{Intensity, OnExit, Reason, Restart, StopRule};
use crate::supervise::policy::round::LOOKED;
use crate::supervise::policy::{Flags, NodeId, Now, Rule, Verdict};

pub(super) fn supervisor(flags: Flags, children: Vec<Plan>, template: Option<Plan>) -> Plan {
    let stop = StopRule::Patient;
    let rule = Rule { restart: Restart::Permanent, stop, significant: false };
    let template = template.map(Box::new);
    let body = Body::Branch(BranchPlan { flags, decider: None, children, template });
    Plan { name: "sup".into(), rule, kind: ChildKind::Supervisor, body }
}

fn now(milliseconds: u64) -> Now {
    Now { at: Moment::default().after(Duration::from_millis(milliseconds)), jitter: 0.5 }
}

/// With one restart a second allowed, a crash every 2.1 s is put up with for ever.
#[test]
fn otp_multiple_restarts() {
    let intensity = Intensity::within(1, Duration::from_secs(1));
    let flags = Flags { intensity, backoff: Backoff::none(), ..Flags::default() };
    let child = leaf("c1", Restart::Permanent, 1_000);
    let mut world = World::new(vec![supervisor(flags, vec![child], None)]);
    world.settles();
    let id = *world.alive.keys().next().expect("it runs");
    for crash in 0..1_000 {
        world.now = crash * 2_100;
        let at = world.at();
        let verdict = world.tree.broke(id, "it broke".into(), true, OnExit::Restart, at);
        assert_eq!(verdict, Verdict::Rebuild(Duration::ZERO));
        world.tree.started(id, at);
        world.carry();
    }
    assert!(world.ended.is_empty());
    // Twice in a second is once too often.
    world.now += 900;
    let at = world.at();
    assert_eq!(world.tree.broke(id, "it broke".into(), true, OnExit::Restart, at), Verdict::End);
    world.carry();
    assert_eq!(world.ended[0].as_ref().map(|why| why.child.as_str()), Some("sup/c1"));
}

/// Starts and stops so many children; how many had to be looked at for it.
fn looked_at(children: usize, pool: bool) -> u64 {
    let flags = Flags { pool, ..Flags::default() };
    let child = |number: usize| leaf(&format!("c{number}"), Restart::Temporary, 1_000);
    let plan = match pool {
        true => supervisor(flags, Vec::new(), Some(child(0))),
        false => supervisor(flags, (0..children).map(child).collect(), None),
    };
    LOOKED.set(0);
    let mut tree = Tree::new(vec![plan]);
    tree.start(now(0));
    if pool {
        let id = tree.supervisor("sup").expect("it is there");
        for number in 0..children {
            let ticket = crate::supervise::policy::Ticket(number as u64);
            tree.grow(id, ticket, now(0), |_| {}).expect("it grows");
        }
    }
    let mut alive = Vec::new();
    let obey = |tree: &mut Tree, alive: &mut Vec<NodeId>| loop {
        let effects = tree.effects();
        if effects.is_empty() {
            return;
        }
        for effect in effects {
            match effect {
                Effect::Start(id) => {
                    alive.push(id);
                    tree.started(id, now(0));
                }
                Effect::Stop(id) | Effect::Kill(id) => tree.ended(id, Reason::Shutdown, now(0)),
                _ => {}
            }
        }
    };
    obey(&mut tree, &mut alive);
    assert_eq!(alive.len(), children);
    tree.stop(now(0));
    obey(&mut tree, &mut alive);
    LOOKED.get()
}

#[test]
fn otp_scale_start_stop_many_children() {
    let (few, many) = (looked_at(1_000, false), looked_at(100_000, false));
    assert!(many <= few * 150, "{few} for a thousand, {many} for a hundred thousand");
}

#[test]
fn otp_simple_one_for_one_scale_many_temporary() {
    let (few, many) = (looked_at(1_000, true), looked_at(100_000, true));
    assert!(many <= few * 150, "{few} for a thousand, {many} for a hundred thousand");
}

fn two_in(strategy: crate::supervise::options::Strategy, restarts: u32) -> (World, Vec<NodeId>) {
    let intensity = Intensity::within(restarts, Duration::from_secs(3_600));
    let flags = Flags { strategy, intensity, backoff: Backoff::none(), ..Flags::default() };
    let children = ["c1", "c2"].map(|name| leaf(name, Restart::Permanent, 1_000)).to_vec();
    let mut world = World::new(vec![supervisor(flags, children, None)]);
    world.settles();
    let alive = world.alive.keys().copied().collect();
    (world, alive)
}

/// Siblings that die of the same cause while all are being restarted are not counted once more.
#[test]
fn otp_one_for_all_dying_together_counts_once() {
    use crate::supervise::options::Strategy;
    let (mut world, alive) = two_in(Strategy::OneForAll, 1);
    let at = world.at();
    for id in alive {
        world.tree.broke(id, "it broke".into(), true, OnExit::Restart, at);
    }
    world.carry();
    world.settles();
    assert!(world.ended.is_empty());
    assert_eq!(world.alive.len(), 2);
}

/// A failure while its supervisor stops is no reason to give up.
#[test]
fn a_failure_during_the_end_is_not_its_cause() {
    use crate::supervise::options::Strategy;
    let (mut world, alive) = two_in(Strategy::OneForOne, 0);
    let at = world.at();
    world.tree.stop(at);
    world.carry(); // the second one is stopping
    world.tree.broke(alive[0], "it broke".into(), true, OnExit::Restart, at);
    world.carry();
    world.settles();
    assert_eq!(world.ended, [None]);
}
