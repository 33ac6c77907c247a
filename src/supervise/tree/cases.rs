//! Single cases that a review of the tree found, on a clock that is told.

use std::time::Duration;

use super::histories::leaf;
use super::otp::supervisor;
use super::world::{Lives, World};
use super::{Effect, NodeId, Plan, Which};
use crate::queue::backoff::Backoff;
use crate::supervise::options::{Intensity, OnExit, Reason, Restart, Strategy};
use crate::supervise::policy::Flags;

fn of(flags: Flags, children: &[(&str, Restart)]) -> (World, Vec<NodeId>) {
    let children: Vec<Plan> =
        children.iter().map(|(name, restart)| leaf(name, *restart, 1_000)).collect();
    let mut world = World::new(vec![supervisor(flags, children, None)]);
    world.settles();
    let mut alive: Vec<NodeId> = world.alive.keys().copied().collect();
    alive.sort();
    (world, alive)
}

fn breaks(world: &mut World, id: NodeId, advice: OnExit) {
    let at = world.at();
    world.tree.broke(id, "it broke".into(), true, advice, at);
    world.carry();
}

#[test]
fn who_gave_up_names_a_temporary_child_too() {
    let (mut world, alive) = of(Flags::default(), &[("c1", Restart::Temporary)]);
    breaks(&mut world, alive[0], OnExit::Escalate);
    world.settles();
    let why: Vec<_> = world.ended.iter().flatten().map(|why| why.child.as_str()).collect();
    assert_eq!(why, ["sup/c1"]);
}

#[test]
fn who_gave_up_is_known_even_if_the_end_is_cut_short() {
    let flags =
        Flags { intensity: Intensity::within(0, Duration::from_secs(1)), ..Flags::default() };
    let (mut world, alive) = of(flags, &[("c1", Restart::Permanent), ("c2", Restart::Permanent)]);
    breaks(&mut world, alive[0], OnExit::Restart);
    assert_eq!(world.alive.get(&alive[1]), Some(&Lives::Stopping));
    let at = world.at();
    world.tree.kill(at);
    world.tree.ended(alive[1], Reason::Killed, at);
    let said = world.tree.effects().into_iter().find_map(|effect| match effect {
        Effect::GaveUp { child, .. } => Some(child),
        _ => None,
    });
    assert_eq!(said.as_deref(), Some("sup/c1"));
}

#[test]
fn whoever_has_nothing_to_do_while_it_is_stopped_has_ended() {
    let (mut world, alive) = of(Flags::default(), &[("c1", Restart::Permanent)]);
    breaks(&mut world, alive[0], OnExit::Restart);
    let at = world.at();
    world.tree.stop(at);
    let stops = world.tree.effects();
    assert!(stops.contains(&Effect::Stop(alive[0])), "{stops:?}");
    world.alive.remove(&alive[0]);
    world.tree.ignored(alive[0], at);
    world.carry();
    assert_eq!(world.ended, [None], "and is not waited for");
}

/// Those before the ones that are restarted together have nothing to do with it.
#[test]
fn whoever_is_restarted_by_hand_draws_nobody_into_a_round() {
    let backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(10));
    let flags = Flags { strategy: Strategy::RestForOne, backoff, ..Flags::default() };
    let permanent = |name| (name, Restart::Permanent);
    let (mut world, alive) = of(flags, &["c1", "c2", "c3"].map(permanent));
    let (ticket, other, at) = (world.ticket(), world.ticket(), world.at());
    let Ok(sup) = world.tree.supervisor("sup") else { panic!("it is there") };
    assert_eq!(world.tree.stop_child(sup, Which::Named("c1"), ticket, at), Ok(()));
    world.carry();
    world.settles();
    breaks(&mut world, alive[2], OnExit::Restart);
    world.settles();
    breaks(&mut world, alive[2], OnExit::Restart); // the second time it waits
    let at = world.at();
    assert_eq!(world.tree.restart_child(sup, "c1", other, at), Ok(()));
    world.carry();
    assert_eq!(world.alive.get(&alive[0]), Some(&Lives::Starting), "at once");
    assert_eq!(world.alive.get(&alive[1]), Some(&Lives::Up), "as it was");
    assert_eq!(world.alive.get(&alive[2]), None, "when its time has come");
}
