//! What supervision costs at scale: children that start and stop, a storm of failures, a thread that
//! blocks. `cargo bench --bench supervision`.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use cueline::prelude::*;
use cueline::{PoolHandle, actor_with};
use support::{Payload, median, ours, runs, wanted};

struct Member;
impl Processor for Member {}
impl Handle<ours::Ping> for Member {
    async fn handle(&mut self, _: &ours::Ping, cx: &mut Context) -> Outcome {
        assert!(cx.attempt() > 1, "all together");
        Ok(())
    }
}

struct Plain;
impl actix::Actor for Plain {
    type Context = actix::Context<Self>;
}

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    let each = |measure: &dyn Fn() -> f64| median((0..runs()).map(|_| measure()).collect());
    if wanted("scale") {
        for (what, start) in [("processors", processors as fn(usize) -> f64), ("actors", actors)] {
            let [few, many] = [1_000, 100_000].map(|children| each(&|| start(children)));
            println!(
                "100,000 {what} of a pool start and stop in    {many:>9.3} s  (goal < 2; {:.2} x of 100 times 1,000)",
                many / few / 100.0
            );
        }
        let many = each(&|| in_order(10_000));
        println!("10,000 children start one after the other, and stop {many:>9.3} s");
    }
    if wanted("storm") {
        let took = each(&storm) * 1_000.0;
        println!("1,000 children die together and run again after    {took:>9.1} ms (goal < 100)");
    }
    if wanted("blocked") {
        let all: Vec<_> = (0..runs() * 4).map(|_| blocked()).collect();
        let own = median(all.iter().map(|(own, _)| *own).collect());
        let other = median(all.iter().map(|(_, other)| *other).collect());
        println!("timeout of a blocked thread to its event again     {own:>9.2} ms (goal < 10)");
        println!("  to the next event of another of its processors   {other:>9.2} ms (goal < 10)");
    }
}

/// Seconds to start so many children of a pool, and to stop them all.
fn start_and_stop(pool: Pool, children: usize) -> f64 {
    let runtime = ours::start(Supervisor::new("bench").child(pool), 2, true);
    let pool: PoolHandle<usize> = runtime.pool("bench/pool").unwrap();
    let began = Instant::now();
    let asked: Vec<_> = (0..children).map(|number| pool.start(number)).collect();
    asked.into_iter().for_each(|asked| drop(asked.wait().unwrap()));
    assert_eq!(pool.count().unwrap().running, children);
    runtime.supervisor("bench").unwrap().stop("pool").wait().unwrap();
    let took = began.elapsed().as_secs_f64();
    runtime.shutdown(secs(30)).wait().unwrap();
    took
}

fn processors(children: usize) -> f64 {
    let member = processor_with("member", |_: &usize| Member).on::<ours::Ping>();
    start_and_stop(Pool::new("pool", member), children)
}

fn actors(children: usize) -> f64 {
    start_and_stop(Pool::new("pool", actor_with("member", |_: &usize| Plain)), children)
}

/// Seconds to start children that wait for each other, and to stop them in reverse.
fn in_order(children: usize) -> f64 {
    let began = Instant::now();
    let strict = Supervisor::new("bench").strategy(Strategy::RestForOne);
    let all = (0..children)
        .fold(strict, |all, number| all.child(cueline::actor(format!("child-{number}"), || Plain)));
    let runtime = ours::start(all, 2, true);
    runtime.shutdown(secs(60)).wait().unwrap();
    began.elapsed().as_secs_f64()
}

/// Seconds from an event that kills a thousand children to all of them having handled it.
fn storm() -> f64 {
    let member = processor_with("member", |_: &usize| Member)
        .on::<ours::Ping>()
        .own_subscription(|_: &usize, _| true)
        .count(Count::Every);
    let pool = Pool::new("pool", member).backoff(Backoff::none());
    let runtime = ours::start(Supervisor::new("bench").child(pool), 2, true);
    let pool: PoolHandle<usize> = runtime.pool("bench/pool").unwrap();
    let asked: Vec<_> = (0..1_000).map(|number| pool.start(number)).collect();
    asked.into_iter().for_each(|asked| drop(asked.wait().unwrap()));
    let began = Instant::now();
    runtime.publish(ours::Ping(Payload::new(0))).wait().unwrap();
    runtime.idle().wait();
    let took = began.elapsed().as_secs_f64();
    assert!(runtime.parked().is_empty());
    assert_eq!(pool.count().unwrap().running, 1_000);
    runtime.shutdown(secs(30)).wait().unwrap();
    took
}

/// Blocks its thread at its first event, the first time; tells when it handles.
struct Blocks(Sender<Instant>, bool);
impl Processor for Blocks {}
impl Handle<ours::Ping> for Blocks {
    async fn handle(&mut self, _: &ours::Ping, cx: &mut Context) -> Outcome {
        self.0.send(Instant::now()).unwrap();
        if self.1 && cx.attempt() == 1 {
            std::thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    }
}

/// Milliseconds from the timeout to the blocked event's next delivery, and to that of a neighbour.
fn blocked() -> (f64, f64) {
    const TIMEOUT: Duration = Duration::from_millis(50);
    let ((own, told_own), (other, told_other)) = (channel(), channel());
    let blocks = processor("blocks", move || Blocks(own.clone(), true));
    let neighbour = processor("neighbour", move || Blocks(other.clone(), false));
    let all = Supervisor::new("bench")
        .child(blocks.on::<ours::Ping>().timeout(TIMEOUT))
        .child(neighbour.on::<ours::Ping>());
    let runtime = ours::start(all, 1, true);
    runtime.publish(ours::Ping(Payload::new(0))).wait().unwrap();
    let due = told_own.recv().unwrap() + TIMEOUT;
    let again = told_own.recv().unwrap();
    let neighbour = told_other.recv().unwrap();
    runtime.shutdown(secs(5)).wait().unwrap();
    let late = |at: Instant| at.saturating_duration_since(due).as_secs_f64() * 1_000.0;
    (late(again), late(neighbour))
}
