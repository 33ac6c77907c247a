//! quick
use cueline::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Instant;

#[derive(Serialize, Deserialize, Clone, Copy)]
struct Ping([u64; 8]);
cueline::event!(Ping, "ping");

struct Count(Arc<AtomicU64>);
impl Processor for Count {}
impl Handle<Ping> for Count {
    async fn handle(&mut self, event: &Ping, _: &mut Context) -> Outcome {
        std::hint::black_box(event.0[0]);
        self.0.fetch_add(1, Relaxed);
        Ok(())
    }
}
struct AMsg(#[allow(dead_code)] Ping);
impl actix::Message for AMsg { type Result = (); }
struct ACount(u64, u64, std::sync::mpsc::Sender<()>);
impl actix::Actor for ACount { type Context = actix::Context<Self>; fn started(&mut self, c:&mut Self::Context){c.set_mailbox_capacity(65536)} }
impl actix::Handler<AMsg> for ACount { type Result = (); fn handle(&mut self, m: AMsg, _: &mut Self::Context) { std::hint::black_box(m.0.0[0]); self.0+=1; if self.0==self.1 { self.2.send(()).unwrap(); } } }

fn actix_fan(subs: usize, threads: usize, n: u64) -> f64 {
    let sys = actix::System::new();
    sys.block_on(async move {
        let arbs: Vec<_> = (0..threads).map(|_| actix::Arbiter::new()).collect();
        let (tx, rx) = std::sync::mpsc::channel();
        let mut addrs = vec![];
        for i in 0..subs { 
            let (atx, arx) = std::sync::mpsc::channel();
            let tx = tx.clone();
            arbs[i % threads].spawn_fn(move || { use actix::Actor; atx.send(ACount(0, n, tx).start()).unwrap(); });
            addrs.push(arx.recv().unwrap());
        }
        let t = Instant::now();
        for i in 0..n { for a in &addrs { let mut m = AMsg(Ping([i;8])); while let Err(e) = a.try_send(m) { match e { actix::prelude::SendError::Full(b) => { m = b; std::thread::yield_now(); }, _ => panic!() } } } }
        for _ in 0..subs { rx.recv().unwrap(); }
        let d = t.elapsed().as_nanos() as f64 / (n * subs as u64) as f64;
        for a in arbs { a.stop(); }
        d
    })
}

fn ours(subs: usize, threads: usize, n: u64, batch: usize) -> f64 {
    let c = Arc::new(AtomicU64::new(0));
    let mut sup = Supervisor::new("s");
    for i in 0..subs { let c = c.clone(); let c: Arc<AtomicU64> = if i==0 {c} else {Arc::new(AtomicU64::new(0))}; sup = sup.child(processor(format!("p{i}"), move || Count(c.clone())).on::<Ping>()); }
    let rt = Runtime::builder("b").threads(threads).supervise(sup).start().unwrap();
    pollster::block_on(rt.ready());
    let t = Instant::now();
    if batch <= 1 { for i in 0..n { rt.publish(Ping([i;8])).wait().unwrap(); } }
    else { let mut i = 0; while i < n { let v: Vec<_> = (i..i+batch as u64).map(|i| Ping([i;8])).collect(); rt.publish_all(v).wait().unwrap(); i += batch as u64; } }
    rt.idle().wait();
    let d = t.elapsed().as_nanos() as f64 / (n * subs as u64) as f64;
    assert!(c.load(Relaxed) >= n);
    rt.shutdown(secs(5)).wait().unwrap();
    d
}

fn main() {
    for _ in 0..3 {
    println!("1-1 actix {:.1}", actix_fan(1, 1, 1_000_000));
    println!("1-1 ours one {:.1}  64: {:.1}", ours(1, 1, 4_000_000, 1), ours(1,1,8_000_000,64));
    println!("1-8 actix {:.1} ours {:.1} 64: {:.1}", actix_fan(8, 2, 200_000), ours(8, 2, 1_000_000, 1), ours(8, 2, 2_000_000, 64));
    println!("1-64 actix {:.1} ours {:.1} 64: {:.1}", actix_fan(64, 2, 30_000), ours(64, 2, 300_000, 1), ours(64, 2, 500_000, 64));
    println!("1-512 ours {:.1} 64: {:.1}", ours(512, 2, 30_000, 1), ours(512, 2, 100_000, 64));
    }
}
