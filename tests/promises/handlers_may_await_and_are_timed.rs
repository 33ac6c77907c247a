use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use cueline::Cause;
use cueline::prelude::*;

use crate::support::{Heard, Log, Number, idle, keyed, number, one, publish, supervisor, within};

/// Borrows itself over an await; not `Send`.
struct Slow {
    sum: std::rc::Rc<std::cell::Cell<u64>>,
    log: Log<u64>,
}
impl Processor for Slow {}
impl Handle<Number> for Slow {
    async fn handle(&mut self, event: &Number, _: &mut Context) -> Outcome {
        let sum = &mut self.sum;
        tokio::task::yield_now().await;
        sum.set(sum.get() + event.value);
        tokio::task::yield_now().await;
        self.log.push(self.sum.get());
        Ok(())
    }
}

#[test]
fn an_instance_handles_one_event_at_a_time_also_while_it_awaits() {
    let log = Log::default();
    let seen = log.clone();
    let make = move || Slow { sum: std::rc::Rc::default(), log: seen.clone() };
    let runtime = one(processor("slow", make).on::<Number>());
    publish(&runtime, (1..=100).map(number));
    idle(&runtime);
    let sums: Vec<u64> = (1..=100).map(|n| n * (n + 1) / 2).collect();
    assert_eq!(log.all(), sums);
}

struct Together {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    all: Arc<tokio::sync::Barrier>,
}
impl Processor for Together {}
impl Handle<Number> for Together {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        let now = self.now.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(now, SeqCst);
        self.all.wait().await;
        self.now.fetch_sub(1, SeqCst);
        Ok(())
    }
}

fn together(instances: usize) -> (impl Fn() -> Together + Send + Sync, Arc<AtomicUsize>) {
    let (now, most): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
    let all = Arc::new(tokio::sync::Barrier::new(instances));
    let seen = most.clone();
    (move || Together { now: now.clone(), most: seen.clone(), all: all.clone() }, most)
}

#[test]
fn instances_wait_together_each_for_its_own_event() {
    let (make, most) = together(10);
    let runtime = one(processor("crew", make).on::<Number>().instances(10));
    publish(&runtime, (0..30).map(number));
    idle(&runtime);
    assert_eq!(most.load(SeqCst), 10, "all ten were needed to pass the barrier");
}

struct Blocked(Arc<std::sync::Barrier>);
impl Processor for Blocked {}
impl Handle<Number> for Blocked {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        self.0.wait();
        Ok(())
    }
}

#[test]
fn blocking_instances_have_threads_of_their_own_and_hold_up_nobody() {
    let all = Arc::new(std::sync::Barrier::new(3));
    let blocked = processor("blocked", move || Blocked(all.clone())).on::<Number>();
    let log = Log::default();
    let seen = log.clone();
    let free = crate::support::with("free", move |event, _| {
        seen.push(event.value);
        Ok(())
    });
    let runtime = Runtime::builder("test")
        .threads(1)
        .supervise(supervisor().child(blocked.instances(3).blocking()).child(free))
        .start()
        .unwrap();
    // Two block until a third comes; the others flow meanwhile.
    publish(&runtime, [keyed(1, 1), keyed(2, 2)]);
    let heard = log.clone();
    within("the free one", move || while heard.all().len() < 2 {});
    publish(&runtime, [keyed(3, 3)]);
    idle(&runtime);
}

struct Hangs(Log<u32>);
impl Processor for Hangs {}
impl Handle<Number> for Hangs {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        if event.value == 1 {
            self.0.push(cx.attempt());
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

#[test]
fn a_handler_that_never_ends_is_timed_out_delivered_once_more_then_parked() {
    let (log, heard) = (Log::default(), Heard::default());
    let seen = log.clone();
    let hangs = processor("hangs", move || Hangs(seen.clone())).on::<Number>();
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(hangs.timeout(millis(20))))
        .observe(heard.clone())
        .start()
        .unwrap();
    publish(&runtime, (0..5).map(number));
    idle(&runtime);
    assert_eq!(log.all(), [1, 2]);
    let parked = runtime.parked();
    assert_eq!((parked.len(), parked[0].cause, parked[0].attempts), (1, Cause::TimedOut, 2));
    assert_eq!(heard.count("Restarted"), 2);
}
