//! A processor that is removed is gone from the log as well, and one of its name that comes later begins
//! anew; so do the children of a pool.

use cueline::prelude::*;
use cueline::processor_with;

use crate::support::{Directory, Log, Number, Sum, adder, fine, idle, publish, start, stop, total};

fn sum(range: std::ops::Range<u64>) -> Sum {
    Sum { events: range.end - range.start, sum: range.sum() }
}

#[test]
fn whoever_takes_the_name_of_a_removed_processor_begins_anew() {
    let (directory, log) = (Directory::new("removed"), Log::default());
    let begin = || start(&directory, |of| of.child(adder("adder", &log, fine)).child(total()));
    let runtime = begin();
    publish(&runtime, 0..10);
    idle(&runtime);
    stop(runtime);
    let runtime = begin();
    assert_eq!(runtime.state("adder", "all"), Some(sum(0..10)));
    runtime.remove("adder").unwrap();
    runtime.add("tests", adder("adder", &log, fine)).wait().unwrap();
    assert_eq!(runtime.state::<Sum>("adder", "all"), None);
    log.take();
    publish(&runtime, 10..20);
    idle(&runtime);
    assert_eq!(log.take(), (10..20).collect::<Vec<_>>());
    stop(runtime);
    for _ in 0..2 {
        let runtime = begin();
        idle(&runtime);
        assert_eq!(runtime.state("adder", "all"), Some(sum(10..20)));
        assert_eq!(log.take(), Vec::<u64>::new());
        stop(runtime);
    }
}

/// Writes down what it is handed.
struct Member(Log);
impl Processor for Member {}
impl Handle<Number> for Member {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        self.0.note(event.value, cx.attempt());
        Ok(())
    }
}

#[test]
fn children_of_a_pool_begin_anew() {
    let (directory, log) = (Directory::new("members"), Log::default());
    let begin = || {
        let log = log.clone();
        let member = processor_with("member", move |_: &u32| Member(log.clone()));
        let member = member.on::<Number>().own_subscription(|_: &u32, _| true);
        start(&directory, |of| of.child(Pool::new("pool", member)))
    };
    for round in 0..3 {
        let runtime = begin();
        let pool = runtime.pool::<u32>("tests/pool").unwrap();
        pool.start(1).wait().unwrap();
        publish(&runtime, round * 10..round * 10 + 5);
        idle(&runtime);
        let member = pool.children().unwrap()[0].name.clone();
        runtime.pause(&member).unwrap();
        publish(&runtime, round * 10 + 5..round * 10 + 10); // nobody ever handles these
        stop(runtime);
        assert_eq!(log.take(), (round * 10..round * 10 + 5).collect::<Vec<_>>());
    }
}
