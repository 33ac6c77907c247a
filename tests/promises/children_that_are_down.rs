//! A child that is stopped, ended, forgotten or deleted: what becomes of its events, and that
//! nobody else waits for it.

use cueline::prelude::*;
use cueline::{Cause, ChildState, DropReason, ErrorKind, Observer, Signal};

use crate::support::{
    Gate, Heard, Log, Number, idle, number, one, publish, supervisor, with, within,
};

fn small(name: &str, log: &Log<u64>) -> impl IntoChild + use<> {
    let log = log.clone();
    with(name, move |event, _| {
        log.push(event.value);
        Ok(())
    })
    .bound(4)
}

fn sup(runtime: &Runtime) -> cueline::SupervisorHandle {
    runtime.supervisor("tests").unwrap()
}

struct CountsMissed(Log<u64>);
impl Observer for CountsMissed {
    fn observe(&self, signal: &Signal<'_>) {
        if let Signal::Dropped { events, reason: DropReason::Missed, .. } = signal {
            self.0.push(*events);
        }
    }
}

#[test]
fn stopped_it_collects_within_its_bound_and_no_publisher_waits_for_it() {
    let (log, other, missed) = (Log::default(), Log::default(), Log::default());
    let runtime = Runtime::builder("test")
        .observe(CountsMissed(missed.clone()))
        .supervise(supervisor().child(small("stopped", &log)).child(small("other", &other)))
        .start()
        .unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    sup(&runtime).stop("stopped").wait().unwrap();
    let publisher = runtime.clone();
    within("nobody waits", move || publish(&publisher, (0..10).map(number)));
    idle(&runtime); // what waits there is nobody's concern
    assert_eq!(other.all(), (0..10).collect::<Vec<_>>());
    assert!(log.all().is_empty());
    within("what was missed is told", move || while missed.all().iter().sum::<u64>() < 6 {});
    let why = runtime.why_not_ready();
    assert!(
        why.iter().any(|line| line.contains("`stopped`") && line.contains("missed")),
        "{why:?}"
    );
    sup(&runtime).restart("stopped").wait().unwrap();
    idle(&runtime);
    assert_eq!(log.all(), [0, 1, 2, 3], "what it collected, in order");
    assert!(runtime.why_not_ready().is_empty());
}

#[test]
fn whoever_waited_for_room_in_it_goes_on_when_it_is_stopped() {
    let (log, gate) = (Log::default(), Gate::default());
    let held = gate.clone();
    let stuck = with("stuck", move |_, _| {
        held.pass();
        Ok(())
    });
    let runtime = Runtime::builder("test")
        .threads(2)
        .supervise(supervisor().child(stuck.bound(2).stop_within(millis(20))).child(with(
            "other",
            {
                let log: Log<u64> = log.clone();
                move |event, _| {
                    log.push(event.value);
                    Ok(())
                }
            },
        )))
        .start()
        .unwrap();
    let publisher = runtime.clone();
    let publishing = std::thread::spawn(move || publish(&publisher, (0..20).map(number)));
    gate.is_reached();
    let stops = sup(&runtime);
    within("it is stopped", move || stops.stop("stuck").wait()).unwrap();
    within("the publisher goes on", move || publishing.join()).unwrap();
    let seen = log.clone();
    within("all", move || while seen.all().len() < 20 {});
    gate.open();
}

#[test]
fn a_transient_one_that_has_ended_keeps_its_place() {
    let log = Log::default();
    let seen = log.clone();
    let ends = with("ends", move |event, cx| {
        log_and_end(&seen, event, cx);
        Ok(())
    });
    let runtime = one(ends.restart(Restart::Transient));
    publish(&runtime, (0..5).map(number));
    let waits = sup(&runtime);
    within("it ends", move || while waits.children().unwrap()[0].state != ChildState::Down {});
    assert_eq!(log.all(), [0, 1], "nothing after the one with which it ended");
    idle(&runtime);
    sup(&runtime).restart("ends").wait().unwrap();
    idle(&runtime);
    assert_eq!(log.all(), [0, 1, 2, 3, 4]);
}

fn log_and_end(log: &Log<u64>, event: &Number, cx: &mut Context) {
    log.push(event.value);
    if event.value == 1 {
        cx.stop(Reason::Normal);
    }
}

#[test]
fn of_a_failed_handler_nothing_ends() {
    let tries = Log::default();
    let seen = tries.clone();
    let runtime = one(with("tries", move |_, cx| {
        seen.push(cx.attempt());
        cx.stop(Reason::Normal);
        if cx.attempt() == 1 { Err(Failure::transient("not yet")) } else { Ok(()) }
    })
    .restart(Restart::Transient));
    publish(&runtime, [number(1)]);
    let waits = sup(&runtime);
    within("it ends", move || while waits.children().unwrap()[0].state != ChildState::Down {});
    assert_eq!(tries.all(), [1, 2], "the first attempt ended nothing");
}

#[test]
fn deleted_it_leaves_its_events_orphaned_and_a_successor_may_have_them() {
    let (log, heard) = (Log::default(), Heard::default());
    let runtime =
        Runtime::builder("test").observe(heard.clone()).supervise(supervisor()).start().unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    let picky = |log: &Log<u64>| {
        let log = log.clone();
        with("picky", move |event, _| {
            if event.value == 0 {
                return Err(Failure::permanent("not this one"));
            }
            log.push(event.value);
            Ok(())
        })
    };
    sup(&runtime).add(picky(&log)).wait().unwrap();
    publish(&runtime, [number(0)]);
    idle(&runtime);
    sup(&runtime).stop("picky").wait().unwrap();
    publish(&runtime, (1..4).map(number));
    assert_eq!(sup(&runtime).restart("unknown").wait().unwrap_err().kind(), ErrorKind::NotFound);
    sup(&runtime).delete("picky").wait().unwrap();
    let left = runtime.clone();
    within("what was on its way too", move || while left.parked().len() < 4 {});
    let parked = runtime.parked();
    let causes: Vec<Cause> = parked.iter().map(|event| event.cause).collect();
    assert_eq!(causes, [Cause::Permanent, Cause::Orphaned, Cause::Orphaned, Cause::Orphaned]);
    assert_eq!(parked[1].decode::<Number>().unwrap(), number(1));
    assert!(heard.count("Orphaned") > 0);
    publish(&runtime, [number(9)]); // nobody's any more
    assert_eq!(runtime.parked().len(), 4);
    let alone = runtime.resubmit("picky", parked[1].id).unwrap_err();
    assert_eq!(alone.kind(), ErrorKind::Conflict, "{alone}");
    runtime.discard("picky", parked[3].id).unwrap();

    sup(&runtime).add(picky(&log)).wait().unwrap();
    for event in &parked[1..3] {
        runtime.resubmit("picky", event.id).unwrap();
    }
    idle(&runtime);
    assert_eq!(log.all(), [1, 2]);
    let again = runtime.resubmit("picky", parked[1].id).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    assert_eq!(runtime.parked().len(), 1);
    let undone = runtime.shutdown(secs(5)).wait().unwrap();
    assert_eq!(undone.len(), 1, "what is still parked comes back");
}

#[test]
fn a_temporary_one_that_ends_leaves_what_it_had_not_handled_orphaned() {
    let log = Log::default();
    let seen = log.clone();
    let ends = with("ends", move |event, cx| {
        log_and_end(&seen, event, cx);
        Ok(())
    });
    let runtime = one(ends.restart(Restart::Temporary));
    runtime.publish_all((0..4).map(number)).wait().unwrap(); // at once: afterwards it is gone
    let waits = runtime.clone();
    within("it is forgotten", move || while waits.parked().len() < 2 {});
    assert_eq!(log.all(), [0, 1]);
    assert_eq!(runtime.parked_by_reason()["orphaned"], 2);
    assert!(runtime.processors().is_empty());
}

/// Several supervisors are restarted above it: whatever waits, waits.
#[test]
fn escalations_lose_nothing_and_deliver_nothing_again_that_was_acknowledged() {
    let (log, calm) = (Log::default(), Log::default());
    let (seen, kept) = (log.clone(), calm.clone());
    let fragile = with("fragile", move |event, cx| {
        assert!(event.value % 50 != 49 || cx.attempt() > 1, "on demand");
        seen.push(event.value);
        Ok(())
    });
    let sibling = with("calm", move |event, _| {
        kept.push(event.value);
        Ok(())
    });
    let strict = || Intensity::within(0, hours(1));
    let inner = Supervisor::new("inner").intensity(strict()).child(fragile.count(Count::Every));
    let middle = Supervisor::new("middle").intensity(strict()).child(inner).child(sibling);
    let top = Supervisor::new("top").strategy(Strategy::OneForAll).backoff(Backoff::none());
    let heard = Heard::default();
    let runtime = Runtime::builder("test")
        .threads(2)
        .observe(heard.clone())
        .supervise(top.child(middle))
        .start()
        .unwrap();
    publish(&runtime, (0..500).map(number));
    idle(&runtime);
    assert_eq!(heard.count("GaveUp"), 20, "two supervisors, ten times");
    for log in [log, calm] {
        let mut all = log.all();
        all.sort_unstable();
        assert_eq!(all, (0..500).collect::<Vec<_>>(), "each once");
    }
    assert!(runtime.parked().is_empty());
}

#[test]
fn three_poison_events_in_a_second_stop_nobody() {
    let log = Log::default();
    let seen = log.clone();
    let poisoned = with("poisoned", move |event, _| {
        assert!(event.value % 10 != 0, "poison");
        seen.push(event.value);
        Ok(())
    });
    let strict = Supervisor::new("strict").intensity(Intensity::within(1, secs(5)));
    let runtime = Runtime::builder("test").supervise(strict.child(poisoned)).start().unwrap();
    publish(&runtime, (1..=30).map(number));
    idle(&runtime);
    assert_eq!((log.all().len(), runtime.parked().len()), (27, 3));
    assert_eq!(runtime.tree().children[0].children[0].state, ChildState::Running);
}
