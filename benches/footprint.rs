//! What waiting and resting cost: publishing with a backlog, allocations, idle instances.
//! `cargo bench --bench footprint`.

#![allow(missing_docs, unsafe_code, clippy::unwrap_used)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use cueline::prelude::*;
use support::{Payload, median, ours, processor_time, runs, wanted};

struct Counting;
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicU64 = AtomicU64::new(0);

// SAFETY: passes everything on to the system's allocator and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        LIVE.fetch_add(layout.size() as u64, Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as u64, Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        LIVE.fetch_add(size as u64, Relaxed);
        LIVE.fetch_sub(layout.size() as u64, Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let each = |measure: fn() -> f64| median((0..runs()).map(|_| measure()).collect());
    if wanted("allocations") {
        let found = each(|| allocations(8, 1));
        println!("allocations an event, 8 subscribers, one by one    {found:>9.3}  (goal < 0.2)");
        let found = each(|| allocations(64, 1));
        println!("allocations an event, 64 subscribers, one by one   {found:>9.3}  (goal < 0.2)");
    }
    if wanted("backlog") {
        let [short, long] = [1_000, 1_000_000]
            .map(|waiting| median((0..runs()).map(|_| publish_with_backlog(waiting)).collect()));
        println!("publishing with 1 k waiting                        {short:>9.1} ns");
        println!(
            "publishing with 1 M waiting                        {long:>9.1} ns  ({:.2} x, goal <= 1.25)",
            long / short
        );
    }
    if wanted("idle") {
        let all: Vec<_> = (0..runs()).map(|_| million_instances()).collect();
        let bytes = median(all.iter().map(|(bytes, ..)| *bytes).collect());
        let started = median(all.iter().map(|(_, started, _)| *started).collect());
        let busy = median(all.iter().map(|(.., busy)| *busy).collect());
        println!("bytes an idle instance, of a million               {bytes:>9.1}  (goal < 2,000)");
        println!(
            "a million instances start in                       {started:>9.3} s (goal < 2.5)"
        );
        println!("processor time of a million idle instances         {busy:>9.4} s a second");
    }
    if wanted("storm") {
        let busy = each(back_off_storm);
        println!(
            "processor time while 1,000 failing events back off {busy:>9.4} s a second (goal < 0.05)"
        );
    }
}

fn allocations(subscribers: usize, batch: u64) -> f64 {
    let runtime = ours::start(ours::counters(subscribers), 2, true);
    ours::publish(&runtime, 50_000, batch);
    let (events, before) = (200_000, ALLOCATIONS.load(Relaxed));
    ours::publish(&runtime, events, batch);
    let found = (ALLOCATIONS.load(Relaxed) - before) as f64 / events as f64;
    runtime.shutdown(secs(5)).wait().unwrap();
    found
}

fn publish_with_backlog(waiting: u64) -> f64 {
    let bound = 2_000_000;
    let slow = processor("slow", ours::Count::new).on::<ours::Ping>();
    let slow = slow.bound(bound).bound_bytes(bound * 64);
    let runtime = ours::start(Supervisor::new("bench").child(slow), 1, true);
    runtime.pause("slow").unwrap();
    let publish = |events: u64| {
        for number in 0..events {
            runtime.publish(ours::Ping(Payload::new(number))).wait().unwrap();
        }
    };
    publish(waiting);
    let (events, began) = (200_000, Instant::now());
    publish(events);
    let took = began.elapsed().as_nanos() as f64 / events as f64;
    runtime.resume("slow").unwrap();
    runtime.shutdown(secs(30)).wait().unwrap();
    took
}

/// Bytes an instance, seconds until all have started, and processor seconds a second at rest.
fn million_instances() -> (f64, f64, f64) {
    const INSTANCES: usize = 1_000_000;
    let (before, began) = (LIVE.load(Relaxed), Instant::now());
    let spec = processor("idle", ours::Count::new).on::<ours::Ping>().instances(INSTANCES);
    let runtime = ours::start(Supervisor::new("bench").child(spec), 2, true);
    let started = began.elapsed().as_secs_f64();
    let own = size_of::<ours::Count>() as f64;
    let bytes = (LIVE.load(Relaxed) - before) as f64 / INSTANCES as f64 - own;
    let busy = processor_time();
    std::thread::sleep(Duration::from_secs(1));
    let busy = processor_time().saturating_sub(busy).as_secs_f64();
    runtime.shutdown(secs(5)).wait().unwrap();
    (bytes, started, busy)
}

struct Failing;
impl Processor for Failing {}
impl Handle<ours::Ping> for Failing {
    async fn handle(&mut self, _: &ours::Ping, _: &mut Context) -> Outcome {
        Err(Failure::transient("always"))
    }
}

/// Processor seconds a second while everything that was published fails, and fails again, with the
/// waits that a processor has by default.
fn back_off_storm() -> f64 {
    let spec = processor("failing", || Failing).on::<ours::Ping>();
    let runtime = ours::start(Supervisor::new("bench").child(spec), 2, true);
    for number in 0..1_000 {
        runtime.publish(ours::Ping(Payload::new(number))).wait().unwrap();
    }
    let (began, busy) = (Instant::now(), processor_time());
    runtime.idle().wait();
    let busy = processor_time().saturating_sub(busy).as_secs_f64();
    let busy = busy / began.elapsed().as_secs_f64();
    assert_eq!(runtime.parked().len(), 1_000);
    runtime.shutdown(secs(5)).wait().unwrap();
    busy
}
