//! Rows 34 to 37, and 39 to 44 of the fault matrix; 30 to 32 and the rest of 34 are in
//! `panics_are_contained`, 43 in `a_host_given_up_has_no_effect`, without its database.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use actix::{Actor, AsyncContext, Context as ActorContext, StreamHandler};
use cueline::prelude::*;
use cueline::{Cause, ErrorKind, actor};

use crate::support::{
    Gate, Heard, Log, Number, Word, idle, in_a_process_of_its_own, number, one, publish,
    supervisor, with, within,
};

/// A plain actor whose stream panics at one item.
struct Streams(Log<u64>);
impl Actor for Streams {
    type Context = ActorContext<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        let first = self.0.push(0);
        let items = if first == 1 { vec![1, 2] } else { vec![3] };
        ctx.add_stream(futures_util::stream::iter(items));
    }
}
impl StreamHandler<u64> for Streams {
    fn handle(&mut self, item: u64, _: &mut Self::Context) {
        assert!(item != 2, "in a stream");
        self.0.push(item);
    }
    fn finished(&mut self, _: &mut Self::Context) {}
}

#[test]
fn fault_34_panic_in_a_timer_and_in_a_stream() {
    let (stream, ticks, heard) = (Log::default(), AtomicUsize::new(0), Heard::default());
    let streamed = stream.clone();
    let timer = with("timer", |_, _| Ok(())).every(millis(1), move || {
        assert!(ticks.fetch_add(1, SeqCst) != 1, "in a timer");
        Word("tick".into())
    });
    let _runtime = Runtime::builder("test")
        .threads(1)
        .observe(heard.clone())
        .supervise(
            supervisor().child(actor("streams", move || Streams(streamed.clone()))).child(timer),
        )
        .start()
        .unwrap();
    let seen = stream.clone();
    within("the actor is started anew", move || while seen.all().last() != Some(&3) {});
    assert_eq!(stream.all(), [0, 1, 0, 3]);
    heard.wait_for("HookFailed");
}

struct NeverStarts;
impl Processor for NeverStarts {
    async fn started(&mut self, _: &mut Context) -> Outcome {
        panic!("when it starts")
    }
}
impl Handle<Number> for NeverStarts {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        Ok(())
    }
}

/// Counts as restarts, with back-off, up to the limit; then it is a matter for the one above. Other
/// branches do not notice.
#[test]
fn fault_35_panic_in_every_start() {
    let (heard, log) = (Heard::default(), Log::default());
    let seen = log.clone();
    let other = with("other", move |event, _| {
        seen.push(event.value);
        Ok(())
    });
    let bad = Supervisor::new("bad")
        .intensity(Intensity::within(3, hours(1)))
        .backoff(Backoff::new(millis(1), millis(2)))
        .restart(Restart::Transient)
        .child(processor("never", || NeverStarts).on::<Number>());
    let good = Supervisor::new("good").child(other);
    let runtime = Runtime::builder("test")
        .observe(heard.clone())
        .supervise(Supervisor::new("top").child(bad).child(good))
        .start()
        .unwrap();
    heard.wait_for("GaveUp");
    assert_eq!(heard.count("Restarts"), 3);
    publish(&runtime, (0..100).map(number));
    idle(&runtime);
    assert_eq!(log.all().len(), 100);
    let gave_up = heard.0.all().into_iter().find(|heard| heard.starts_with("GaveUp")).unwrap();
    assert!(gave_up.contains("top/bad/never") && gave_up.contains("when it starts"), "{gave_up}");
}

/// A decider that panics is as if it had said: escalate. What was asked meanwhile is answered.
#[test]
fn fault_36_panic_in_the_decider() {
    let heard = Heard::default();
    let inner = Supervisor::new("inner")
        .on_exit(|_, _| panic!("in the decider"))
        .restart(Restart::Permanent)
        .child(with("panics", |event, cx| {
            assert!(event.value != 1 || cx.attempt() > 1, "on demand");
            Ok(())
        }));
    let top = supervisor().child(inner);
    let runtime = Runtime::builder("test").observe(heard.clone()).supervise(top).start().unwrap();
    publish(&runtime, (1..4).map(number));
    idle(&runtime); // the one above restarted it, with all that waited
    assert_eq!(heard.count("GaveUp"), 1);
    assert_eq!(runtime.supervisor("tests").unwrap().children().unwrap()[0].restarts, 1);
    let panicked = |heard: &String| heard.contains("PanicContained") && heard.contains("Decider");
    assert!(heard.0.all().iter().any(panicked));
    assert!(runtime.parked().is_empty());
}

#[test]
fn a_decider_says_who_is_restarted_and_who_is_not() {
    let decides = |child: &str, reason: &Reason| match child {
        "stops" => OnExit::Stop,
        "escalates" if reason.to_string().contains("on demand") => OnExit::Escalate,
        _ => OnExit::Restart,
    };
    let panics = |name: &'static str| {
        let panics = with(name, move |event, cx| {
            let mine = (event.value == 1 && name == "stops")
                || (event.value == 2 && name == "restarts")
                || (event.value == 3 && name == "escalates");
            assert!(!mine || cx.attempt() > 1, "on demand");
            Ok(())
        });
        panics.count(Count::Every)
    };
    let runtime = Runtime::builder("test")
        .supervise(
            supervisor()
                .on_exit(decides)
                .child(panics("stops"))
                .child(panics("restarts"))
                .child(panics("escalates")),
        )
        .start()
        .unwrap();
    let down = |name: &str| {
        let children = runtime.supervisor("tests").unwrap().children().unwrap();
        children.into_iter().find(|child| child.name == name).unwrap()
    };
    publish(&runtime, [number(1)]);
    within_down(&runtime, "stops");
    publish(&runtime, [number(2)]);
    idle(&runtime);
    assert_eq!((down("restarts").restarts, down("stops").restarts), (1, 0));
    let run = runtime.clone();
    publish(&runtime, [number(3)]);
    let error = within("it gives up", move || pollster::block_on(run.run(secs(9)))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::GaveUp);
    assert!(error.to_string().contains("tests/escalates"), "{error}");
}

fn within_down(runtime: &Runtime, name: &str) {
    let (sup, name) = (runtime.supervisor("tests").unwrap(), name.to_owned());
    within("it is down", move || {
        let is_down = |child: &cueline::ChildReport| {
            child.name == name && child.state == cueline::ChildState::Down
        };
        while !sup.children().unwrap().iter().any(is_down) {}
    });
}

struct Mortal;
impl Processor for Mortal {}
impl Handle<Number> for Mortal {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        assert!(event.value != 0 || cx.attempt() > 1, "all together");
        Ok(())
    }
}

/// A thousand children that die together are there again, each by itself. (That back-off is spread
/// is a matter of the back-off, and tested with it.)
#[test]
fn fault_37_restart_storm() {
    const CHILDREN: usize = 1_000;
    let heard = Heard::default();
    let mortal = processor_with("mortal", |_: &usize| Mortal)
        .on::<Number>()
        .own_subscription(|_: &usize, _| true)
        .count(Count::Every);
    let pool = Pool::new("storm", mortal).backoff(Backoff::none());
    let runtime = Runtime::builder("test")
        .threads(2)
        .observe(heard.clone())
        .supervise(supervisor().child(pool))
        .start()
        .unwrap();
    let pool = runtime.pool::<usize>("tests/storm").unwrap();
    let asked: Vec<_> = (0..CHILDREN).map(|number| pool.start(number)).collect();
    asked.into_iter().for_each(|asked| drop(asked.wait().unwrap()));
    publish(&runtime, [number(0)]);
    idle(&runtime);
    assert_eq!(heard.count("Restarted"), CHILDREN);
    assert_eq!(pool.count().unwrap().running, CHILDREN);
    assert!(runtime.parked().is_empty());
    assert!(pool.children().unwrap().iter().all(|child| child.restarts == 1));
}

/// The hook belongs to the host: ours is installed only when asked for, and shows no payload.
#[test]
fn fault_39_the_panic_hook_is_the_hosts() {
    let Some(output) =
        in_a_process_of_its_own("faults_of_supervision::fault_39_the_panic_hook_is_the_hosts")
    else {
        let seen = Log::default();
        let log: Log<String> = seen.clone();
        std::panic::set_hook(Box::new(move |info| {
            log.push(info.to_string());
        }));
        let panics = || {
            let runtime = one(with("panics", |event, cx| {
                assert!(cx.attempt() > 1, "the secret is {}", event.value);
                Ok(())
            }));
            publish(&runtime, [number(4711)]);
            idle(&runtime);
        };
        panics();
        assert!(seen.all().iter().any(|seen| seen.contains("4711")), "the host's hook is there");
        cueline::redact_panics();
        panics();
        assert_eq!(seen.all().iter().filter(|seen| seen.contains("4711")).count(), 1);
        eprintln!("through");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("through"), "{output:?}");
    assert!(said.contains("a panic at") && !said.contains("4711"), "{said}");
}

#[test]
fn fault_40_stopped_in_a_back_off() {
    let patient = Supervisor::new("tests").backoff(Backoff::new(hours(1), hours(1)));
    let runtime = Runtime::builder("test")
        .supervise(patient.child(processor("never", || NeverStarts).on::<Number>()))
        .start()
        .unwrap();
    let sup = runtime.supervisor("tests").unwrap();
    let waits = sup.clone();
    within("it waits", move || {
        while waits.children().unwrap()[0].next_restart.is_none_or(|wait| wait < secs(60)) {}
    });
    let stops = sup.clone();
    within("it is stopped", move || stops.stop("never").wait()).unwrap();
    assert_eq!(sup.count().unwrap().running, 0);
    within("and so is all", move || runtime.shutdown(hours(1)).wait()).unwrap();
}

/// A handler that never gives its thread back: the watchdog sees it, the others move, the event is
/// delivered once more elsewhere, and what it does later is refused.
#[test]
fn fault_41_a_handler_blocks_its_thread() {
    let (gate, heard, log) = (Gate::default(), Heard::default(), Log::default());
    let (held, seen) = (gate.clone(), log.clone());
    let blocks = with("blocks", move |event, cx| {
        if event.value == 1 && cx.attempt() == 1 {
            held.pass();
        }
        Ok(())
    });
    let other = with("other", move |event, _| {
        seen.push(event.value);
        Ok(())
    });
    let runtime = Runtime::builder("test")
        .threads(1)
        .observe(heard.clone())
        .supervise(supervisor().child(blocks.timeout(millis(200))).child(other))
        .start()
        .unwrap();
    publish(&runtime, (0..10).map(number));
    idle(&runtime);
    let lost = heard.0.all().into_iter().find(|heard| heard.starts_with("ThreadLost")).unwrap();
    assert!(lost.contains("blocks"), "{lost}");
    let mut seen = log.all();
    seen.dedup();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
    assert!(runtime.parked().is_empty());
    gate.open();
    publish(&runtime, [number(10)]);
    idle(&runtime);
    assert_eq!(heard.count("ThreadLost"), 1);
}

/// Tells when it is dropped.
struct Guard(Arc<AtomicUsize>);
impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}
struct Never(Arc<AtomicUsize>);
impl Processor for Never {}
impl Handle<Number> for Never {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        let _guard = Guard(self.0.clone());
        std::future::pending().await
    }
}

#[test]
fn fault_42_a_handlers_future_never_completes() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let counts = dropped.clone();
    let never = processor("never", move || Never(counts.clone())).on::<Number>();
    let runtime = one(never.timeout(millis(20)));
    publish(&runtime, [number(1)]);
    idle(&runtime);
    let parked = runtime.parked();
    assert_eq!((parked[0].cause, parked[0].attempts), (Cause::TimedOut, 2));
    assert_eq!(dropped.load(SeqCst), 2, "cancelled means dropped");
}

/// Notes how far another one has come.
struct Notes(Arc<AtomicUsize>, Log<usize>);
impl Processor for Notes {}
impl Handle<Word> for Notes {
    async fn handle(&mut self, _: &Word, _: &mut Context) -> Outcome {
        self.1.push(self.0.load(SeqCst));
        Ok(())
    }
}

/// One hot processor, flooded, and a quiet one on the same thread.
#[test]
fn fault_44_a_flood_starves_nobody() {
    let (flooded, at) = (Arc::new(AtomicUsize::new(0)), Log::<usize>::default());
    let (counts, when) = (flooded.clone(), at.clone());
    let hot = with("hot", move |_, _| {
        (0..300).for_each(|_| std::hint::spin_loop());
        counts.fetch_add(1, SeqCst);
        Ok(())
    });
    let quiet = processor("quiet", move || Notes(flooded.clone(), when.clone()));
    let runtime = Runtime::builder("test")
        .threads(1)
        .supervise(supervisor().child(hot).child(quiet.on::<Word>()))
        .start()
        .unwrap();
    runtime.pause("hot").unwrap();
    runtime.pause("quiet").unwrap();
    runtime.publish_all((0..60_000).map(number)).wait().unwrap();
    publish(&runtime, (0..5).map(|_| Word::default()));
    runtime.resume("hot").unwrap();
    runtime.resume("quiet").unwrap();
    idle(&runtime);
    let at = at.all();
    assert_eq!(at.len(), 5);
    assert!(at[4] < 30_000, "the quiet one has its turn while the flood goes on: {at:?}");
}
