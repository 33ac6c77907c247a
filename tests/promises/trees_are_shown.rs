use cueline::prelude::*;
use cueline::{ChildState, actor};

use crate::support::{idle, number, publish, with, within};

struct Idle;
impl actix::Actor for Idle {
    type Context = actix::Context<Self>;
}

struct Never;
impl Processor for Never {
    async fn started(&mut self, _: &mut Context) -> Outcome {
        Err(Failure::transient("no licence"))
    }
}
impl Handle<crate::support::Number> for Never {
    async fn handle(&mut self, _: &crate::support::Number, _: &mut Context) -> Outcome {
        Ok(())
    }
}

#[test]
fn the_printed_tree_names_state_restarts_last_failure_and_next_restart() {
    let panics = with("board", |event, cx| {
        assert!(event.value != 1 || cx.attempt() > 1, "no such gate");
        Ok(())
    });
    let reports = Supervisor::new("reports")
        .strategy(Strategy::RestForOne)
        .restart(Restart::Transient)
        .child(actor("mail", || Idle).restart(Restart::Temporary));
    let operations = Supervisor::new("operations")
        .strategy(Strategy::OneForOne)
        .backoff(Backoff::new(hours(1), hours(1)))
        .child(panics.count(Count::Every))
        .child(processor("never", || Never).on::<crate::support::Number>())
        .child(with("stopped", |_, _| Ok(())))
        .child(reports)
        .child(Pool::new("pool", actor("member", || Idle)));
    let runtime = Runtime::builder("airline").supervise(operations).start().unwrap();
    let sup = runtime.supervisor("operations").unwrap();
    let waits = sup.clone();
    within("it waits", move || {
        while waits.children().unwrap()[1].next_restart.is_none_or(|wait| wait < secs(60)) {}
    });
    sup.stop("stopped").wait().unwrap();
    let running = runtime.clone();
    within(
        "all is there",
        move || {
            while running.tree().children[0].state != ChildState::Running {}
        },
    );
    publish(&runtime, [number(1)]);
    let pool = runtime.pool::<()>("operations/pool").unwrap();
    pool.start(()).wait().unwrap();
    let shown = runtime.clone();
    within("the board runs again", move || {
        let board = |runtime: &Runtime| runtime.tree().children[0].children[0].clone();
        while board(&shown).restarts == 0 || board(&shown).state != ChildState::Running {}
    });
    let tree = runtime.tree().to_string();
    let lines: Vec<&str> = tree.lines().map(str::trim_end).collect();
    assert_eq!(lines[0], "airline  runtime, running");
    assert_eq!(lines[1], "└─ operations  supervisor, transient, running");
    assert!(lines[2].starts_with("   ├─ board  processor, running, restarts: 1, last: "), "{tree}");
    assert!(lines[2].contains("no such gate"));
    assert!(lines[3].starts_with("   ├─ never  processor, restarting in "), "{tree}");
    assert!(lines[3].ends_with("last: it could not start: no licence"), "{tree}");
    assert_eq!(lines[4], "   ├─ stopped  processor, down");
    assert_eq!(lines[5], "   ├─ reports  supervisor, rest for one, transient, running");
    assert_eq!(lines[6], "   │  └─ mail  actor, temporary, running");
    assert_eq!(lines[7], "   └─ pool  pool, running");
    assert!(lines[8].starts_with("      └─ member#") && lines[8].ends_with("  actor, running"));
    idle_but_for_never(&runtime);
}

fn idle_but_for_never(runtime: &Runtime) {
    runtime.supervisor("operations").unwrap().stop("never").wait().unwrap();
    idle(runtime);
    runtime.shutdown(secs(5)).wait().unwrap();
    let after = runtime.tree();
    assert_eq!((after.state, after.children.len()), (ChildState::Down, 0));
}
