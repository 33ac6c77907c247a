//! Supervisors, pools and their children while they are added, removed and given up: nobody who is
//! not concerned notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use actix::{AsyncContext, WrapFuture};
use cueline::prelude::*;
use cueline::{ErrorKind, actor};

use crate::support::{Gate, Heard, Log, Number, idle, number, publish, supervisor, with, within};

/// Tells on which thread it is dropped, and panics.
struct Bomb(Log<String>);
impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.push(std::thread::current().name().unwrap_or_default().to_owned());
        panic!("an argument's drop");
    }
}

struct Member;
impl Processor for Member {}
impl Handle<Number> for Member {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        Ok(())
    }
}

#[test]
fn arguments_are_dropped_where_user_code_may_run_and_contained() {
    let dropped = Log::default();
    let member = || processor_with("member", |_: &Bomb| Member).on::<Number>();
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(Pool::new("pool", member())))
        .start()
        .unwrap();
    let pool = runtime.pool::<Bomb>("tests/pool").unwrap();
    let one = pool.start(Bomb(dropped.clone())).wait().unwrap();
    pool.start(Bomb(dropped.clone())).wait().unwrap();
    pool.stop(&one).wait().unwrap();
    runtime.supervisor("tests").unwrap().stop("pool").wait().unwrap();
    pool.start(Bomb(dropped.clone())).wait().unwrap_err();
    runtime.shutdown(secs(5)).wait().unwrap();
    pool.start(Bomb(dropped.clone())).wait().unwrap_err();
    let seen = dropped.clone();
    within("all are dropped", move || while seen.all().len() < 4 {});
    assert!(dropped.all().iter().all(|thread| !thread.contains("control")), "{:?}", dropped.all());
}

#[test]
fn a_removal_is_no_failure_and_concerns_no_sibling() {
    let started = Arc::new(AtomicUsize::new(0));
    struct Sibling(Arc<AtomicUsize>);
    impl Processor for Sibling {
        async fn started(&mut self, _: &mut Context) -> Outcome {
            self.0.fetch_add(1, SeqCst);
            Ok(())
        }
    }
    impl Handle<Number> for Sibling {
        async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
            Ok(())
        }
    }
    let counts = started.clone();
    let strict =
        supervisor().strategy(Strategy::OneForAll).intensity(Intensity::within(0, hours(1)));
    let sibling = processor("sibling", move || Sibling(counts.clone())).on::<Number>();
    let runtime = Runtime::builder("test").supervise(strict.child(sibling)).start().unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    for _ in 0..100 {
        runtime.add("tests", with("goes", |_, _| Ok(()))).wait().unwrap();
        publish(&runtime, [number(1)]);
        runtime.remove("goes").unwrap();
    }
    idle(&runtime);
    assert_eq!(started.load(SeqCst), 1);
    assert_eq!(runtime.supervisor("tests").unwrap().count().unwrap().running, 1);
}

struct Never;
impl Processor for Never {
    async fn started(&mut self, _: &mut Context) -> Outcome {
        Err(Failure::transient("never"))
    }
}
impl Handle<Number> for Never {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        Ok(())
    }
}

fn never(name: &str) -> impl IntoChild + use<> {
    processor(name, || Never).on::<Number>()
}

/// Strict, and with a nested supervisor that never has its turn.
fn never_gets_there(name: &str) -> Supervisor {
    let nested = Supervisor::new("nested").child(with("unborn", |_, _| Ok(())).bound(2));
    Supervisor::new(name)
        .strategy(Strategy::RestForOne)
        .intensity(Intensity::within(0, hours(1)))
        .restart(Restart::Transient)
        .child(never("never"))
        .child(nested)
}

#[test]
fn what_was_never_started_halts_nobody() {
    let heard = Heard::default();
    let runtime = Runtime::builder("test")
        .observe(heard.clone())
        .supervise(supervisor().child(never_gets_there("sup")))
        .start()
        .unwrap();
    heard.wait_for("GaveUp");
    let ready = runtime.clone();
    within("it is ready", move || pollster::block_on(ready.ready())).unwrap();
    let publisher = runtime.clone();
    within("nobody waits for room", move || publish(&publisher, (0..10).map(number)));
    idle(&runtime);
}

#[test]
fn a_supervisor_that_could_not_be_added_leaves_nothing_behind() {
    let runtime = Runtime::builder("test").supervise(supervisor()).start().unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    for _ in 0..3 {
        let error = runtime.add("tests", never_gets_there("sup")).wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StartFailed, "{error}");
        assert!(runtime.processors().is_empty());
    }
    runtime.add("tests", with("unborn", |_, _| Ok(()))).wait().unwrap();
    let ready = runtime.clone();
    within("it is ready", move || pollster::block_on(ready.ready())).unwrap();
}

#[test]
fn when_the_tree_has_given_up_nothing_is_waited_for() {
    let strict = supervisor().intensity(Intensity::within(2, hours(1)));
    let slow = strict.backoff(Backoff::new(millis(20), millis(40)));
    let runtime = Runtime::builder("test").supervise(slow.child(never("never"))).start().unwrap();
    publish(&runtime, (0..10).map(number));
    let run = runtime.clone();
    let error = within("it ends", move || pollster::block_on(run.run(hours(1)))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::GaveUp);
}

#[test]
fn a_shutdown_does_not_wait_for_a_back_off() {
    let patient = Supervisor::new("tests").backoff(Backoff::new(hours(1), hours(1)));
    let runtime =
        Runtime::builder("test").supervise(patient.child(never("never"))).start().unwrap();
    publish(&runtime, (0..3).map(number));
    let sup = runtime.supervisor("tests").unwrap();
    within("it waits", move || {
        while sup.children().unwrap()[0].next_restart.is_none_or(|wait| wait < secs(60)) {}
    });
    let undone = within("it ends", move || runtime.shutdown(hours(2)).wait()).unwrap();
    assert_eq!(undone.len(), 3);
}

/// Panics when it is told to.
struct Mortal;
impl actix::Actor for Mortal {
    type Context = actix::Context<Self>;
}
#[derive(actix::Message)]
#[rtype(result = "()")]
struct Die;
impl actix::Handler<Die> for Mortal {
    type Result = ();
    fn handle(&mut self, _: Die, _: &mut Self::Context) {
        panic!("it was told to");
    }
}

#[test]
fn a_decider_whose_thread_is_stuck_holds_up_nobody_for_ever() {
    let gate = Gate::default();
    let held = gate.clone();
    let blocks = with("blocks", move |event, cx| {
        if event.value == 1 && cx.attempt() == 1 {
            held.pass();
        }
        Ok(())
    });
    let decided = supervisor()
        .on_exit(|_, _| OnExit::Restart)
        .child(actor("mortal", || Mortal))
        .child(actor("mortal-too", || Mortal));
    let top = Supervisor::new("top").child(decided).child(blocks.timeout(millis(200)));
    let runtime = Runtime::builder("test").threads(1).supervise(top).start().unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    let mortal = runtime.actor::<Mortal>("top/tests/mortal").unwrap();
    publish(&runtime, [number(1)]);
    gate.is_reached();
    mortal.do_send(Die); // on the thread that is blocked
    let runs = runtime.clone();
    within("they run elsewhere", move || {
        let count = |runtime: &Runtime| runtime.supervisor("top/tests").unwrap().count().unwrap();
        while count(&runs).running != 2 || runs.actor::<Mortal>("top/tests/mortal").is_none() {}
    });
    runtime.actor::<Mortal>("top/tests/mortal").unwrap().do_send(Die);
    idle(&runtime);
    gate.open();
}

/// Waits in its context, so that nothing else of it is polled.
struct Waits(Arc<AtomicUsize>);
impl actix::Actor for Waits {
    type Context = actix::Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(millis(1), |waits, ctx| {
            ctx.wait(std::future::pending::<()>().into_actor(waits));
        });
    }
}
impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn an_actor_that_waits_in_its_context_is_killed_all_the_same() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let counts = dropped.clone();
    let waits = actor("waits", move || Waits(counts.clone())).stop_within(millis(50));
    let runtime = Runtime::builder("test").supervise(supervisor().child(waits)).start().unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    let sup = runtime.supervisor("tests").unwrap();
    within("it is stopped", move || sup.stop("waits").wait()).unwrap();
    within("it is dropped", move || while dropped.load(SeqCst) == 0 {});
}

#[test]
fn who_watches_a_child_that_is_removed_is_told() {
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(with("goes", |_, _| Ok(()))))
        .start()
        .unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    let watching = runtime.supervisor("tests").unwrap().watch("goes").unwrap();
    runtime.remove("goes").unwrap();
    assert_eq!(within("it is told", move || watching.wait()), Some(Reason::Shutdown));
}

#[test]
fn a_pool_of_supervisors_with_processors_is_refused() {
    let member = Supervisor::new("member").child(with("worker", |_, _| Ok(())));
    let pool = supervisor().child(Pool::new("pool", member));
    let error = Runtime::builder("test").supervise(pool).start().err().unwrap();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("`worker`"), "{error}");
}

#[test]
fn what_a_forgotten_child_was_made_of_is_dropped() {
    let runtime = Runtime::builder("test").supervise(supervisor()).start().unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    let held = Arc::new(());
    for child in 0..50 {
        let keeps = held.clone();
        let child = with(&format!("child-{child}"), move |_, cx| {
            assert!(Arc::strong_count(&keeps) > 1);
            cx.stop(Reason::Normal);
            Ok(())
        });
        runtime.add("tests", child.restart(Restart::Temporary)).wait().unwrap();
        publish(&runtime, [number(1)]);
        let goes = runtime.clone();
        within("it is gone", move || while !goes.processors().is_empty() {});
    }
    within("all is dropped", move || while Arc::strong_count(&held) > 1 {});
    assert!(runtime.processors().is_empty());
}

/// Blocks its thread when it is told to.
struct Blocks(Gate);
impl actix::Actor for Blocks {
    type Context = actix::Context<Self>;
}
impl actix::Handler<Die> for Blocks {
    type Result = ();
    fn handle(&mut self, _: Die, _: &mut Self::Context) {
        self.0.pass();
    }
}

#[test]
fn an_actor_that_blocks_its_thread_and_is_killed_leaves_the_thread_to_others() {
    let (gate, log) = (Gate::default(), Log::default());
    let (held, seen) = (gate.clone(), log.clone());
    let blocks = actor("blocks", move || Blocks(held.clone())).kill_to_stop();
    let other = with("other", move |event, _| {
        seen.push(event.value);
        Ok(())
    });
    let runtime = Runtime::builder("test")
        .threads(1)
        .supervise(supervisor().child(blocks).child(other))
        .start()
        .unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    runtime.actor::<Blocks>("tests/blocks").unwrap().do_send(Die);
    gate.is_reached();
    runtime.supervisor("tests").unwrap().stop("blocks").wait().unwrap();
    publish(&runtime, (0..10).map(number));
    idle(&runtime);
    assert_eq!(log.all(), (0..10).collect::<Vec<_>>());
    gate.open();
}
