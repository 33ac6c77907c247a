//! count
use cueline::prelude::*;
use cueline::{Observer, Signal};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
#[path = "../benches/support/mod.rs"]
mod support;
static P: AtomicU64 = AtomicU64::new(0);
static PE: AtomicU64 = AtomicU64::new(0);
static H: AtomicU64 = AtomicU64::new(0);
static HE: AtomicU64 = AtomicU64::new(0);
struct O;
impl Observer for O { fn observe(&self, s: &Signal<'_>) { match s { Signal::Published{events,..} => { P.fetch_add(1,Relaxed); PE.fetch_add(*events,Relaxed);} Signal::Handled{events,..} => {H.fetch_add(1,Relaxed); HE.fetch_add(*events,Relaxed);} _=>{} } } }
fn main() {
    let _ = secs(1);
    let rt = support::ours::start_row(2, O);
    let n = 1_000_000;
    let t = std::time::Instant::now();
    support::ours::publish(&rt, n, 1);
    println!("{:.1}ns published batches {} avg {:.1}; commits {} avg {:.1}", t.elapsed().as_nanos() as f64 / n as f64, P.load(Relaxed), PE.load(Relaxed) as f64/P.load(Relaxed) as f64, H.load(Relaxed), HE.load(Relaxed) as f64/H.load(Relaxed) as f64);
    rt.shutdown(secs(5)).wait().unwrap();
}
