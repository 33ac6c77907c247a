//! Publications that leave later are kept until they have left, and leave once.

use cueline::prelude::*;

use crate::support::{Directory, Doubled, Number, Sum, idle, publish, start, stop, total};

struct Later;
impl Processor for Later {}
impl Handle<Number> for Later {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        let wait = if event.value < 10 { hours(1) } else { millis(1) };
        cx.publish_after(wait, Doubled(event.value));
        Ok(())
    }
}

/// As [`Later`], of a program that waits less.
struct Sooner;
impl Processor for Sooner {}
impl Handle<Number> for Sooner {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        cx.publish_after(millis(1), Doubled(event.value));
        Ok(())
    }
}

fn later() -> impl cueline::IntoChild {
    processor("later", || Later).on::<Number>()
}

#[test]
fn they_leave_once_also_if_they_are_due_after_a_restart() {
    let directory = Directory::new("delayed");
    let runtime = start(&directory, |of| of.child(later()).child(total()));
    publish(&runtime, 0..20);
    // Those that are due soon have left when nothing is retried or waits.
    let seen = runtime.clone();
    crate::support::within("ten have come", move || {
        let events = || seen.state::<Sum>("total", "all").map_or(0, |sum| sum.events);
        while events() < 10 {}
    });
    stop(runtime);
    for _ in 0..2 {
        let runtime = start(&directory, |of| of.child(later()).child(total()));
        idle(&runtime);
        assert_eq!(runtime.state::<Sum>("total", "all").unwrap().events, 10, "an hour is not over");
        stop(runtime);
    }
}

/// Stopped before anything has left, each leaves in the next one.
#[test]
fn those_that_are_due_meanwhile_leave_at_once() {
    let directory = Directory::new("overdue");
    let sooner = || processor("later", || Sooner).on::<Number>();
    let mut events = 0;
    for round in 0..20 {
        let runtime = start(&directory, |of| of.child(sooner()).child(total()));
        publish(&runtime, round * 10..(round + 1) * 10);
        stop(runtime);
        events += 10;
    }
    let runtime = start(&directory, |of| of.child(sooner()).child(total()));
    let seen = runtime.clone();
    crate::support::within("all have come", move || {
        let come = || seen.state::<Sum>("total", "all").map_or(0, |sum| sum.events);
        while come() < events {}
    });
    idle(&runtime);
    let all = runtime.state::<Sum>("total", "all").unwrap();
    assert_eq!((all.events, all.sum), (200, (0..200).sum()));
    stop(runtime);
}
