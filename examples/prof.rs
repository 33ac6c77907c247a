//! prof
use cueline::prelude::*;
use serde::{Deserialize, Serialize};
#[derive(Serialize, Deserialize, Clone, Copy)]
struct Ping([u64; 8]);
cueline::event!(Ping, "ping");
struct Count(u64);
impl Processor for Count {}
impl Handle<Ping> for Count {
    async fn handle(&mut self, event: &Ping, _: &mut Context) -> Outcome {
        self.0 = self.0.wrapping_add(std::hint::black_box(event.0[0]));
        Ok(())
    }
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let subs: usize = a[1].parse().unwrap(); let threads = a[2].parse().unwrap(); let n: u64 = a[3].parse().unwrap(); let batch: u64 = a[4].parse().unwrap();
    let mut sup = Supervisor::new("s");
    for i in 0..subs { sup = sup.child(processor(format!("p{i}"), move || Count(0)).on::<Ping>()); }
    let mut b = Runtime::builder("b").threads(threads).supervise(sup); if a.len() > 5 { b = b.serve("127.0.0.1:0"); } let rt = b.start().unwrap();
    pollster::block_on(rt.ready());
    let t = std::time::Instant::now();
    if batch <= 1 { for i in 0..n { rt.publish(Ping([i;8])).wait().unwrap(); } }
    else { let mut i = 0; while i < n { let v: Vec<_> = (i..i+batch as u64).map(|i| Ping([i;8])).collect(); rt.publish_all(v).wait().unwrap(); i += batch as u64; } }
    rt.idle().wait();
    println!("{:.1} ns", t.elapsed().as_nanos() as f64 / (n * subs as u64) as f64);
    rt.shutdown(secs(5)).wait().unwrap();
}
