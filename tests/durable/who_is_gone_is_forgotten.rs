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

/// A processor that is not declared any more is waited for, and named, until it is forgotten.
#[test]
fn whoever_is_not_declared_any_more_holds_on_to_the_log_until_it_is_forgotten() {
    let (directory, log) = (Directory::new("undeclared"), Log::default());
    let with = |names: &[&str]| {
        let (names, log) = (names.to_vec(), log.clone());
        start(&directory, move |of| {
            names.iter().fold(of, |of, name| of.child(adder(name, &log, fine)))
        })
    };
    let runtime = with(&["old", "new"]);
    publish(&runtime, 0..10);
    idle(&runtime);
    stop(runtime);
    let runtime = with(&["new"]);
    publish(&runtime, 10..30);
    idle(&runtime);
    let known = |runtime: &Runtime| -> Vec<(String, bool)> {
        let all = runtime.subscriptions().into_iter();
        all.map(|of| (of.name.to_string(), of.declared)).collect()
    };
    assert_eq!(known(&runtime), [("old".to_owned(), false), ("new".to_owned(), true)]);
    let old = &runtime.subscriptions()[0];
    // 10 numbers, 20 doubles, 20 numbers: all but the first 10, and what their doubles came between.
    assert!(old.needs.get() >= 10 && old.behind >= 40 && old.holds > 0, "{old:?}");
    let kind = |result: Result<(), Error>| result.unwrap_err().kind();
    assert_eq!(kind(runtime.forget_subscription("new")), cueline::ErrorKind::Conflict);
    assert_eq!(kind(runtime.forget_subscription("other")), cueline::ErrorKind::NotFound);
    runtime.forget_subscription("old").unwrap();
    assert_eq!(kind(runtime.forget_subscription("old")), cueline::ErrorKind::NotFound);
    publish(&runtime, 30..31);
    idle(&runtime);
    stop(runtime);
    let runtime = with(&["new"]);
    assert_eq!(known(&runtime), [("new".to_owned(), true)]);
    stop(runtime);
    log.take();
    let runtime = with(&["old", "new"]);
    publish(&runtime, 31..32);
    idle(&runtime);
    assert_eq!(log.take(), [31, 31], "it begins anew");
    stop(runtime);
}
