//! A processor that wants what hardly ever comes does not keep the log from being given back.

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::{Directory, idle, stop};

#[derive(Serialize, Deserialize)]
struct Often(Vec<u8>);
cueline::event!(Often, "often");

#[derive(Serialize, Deserialize)]
struct Rare;
cueline::event!(Rare, "rare");

struct Clerk;
impl Processor for Clerk {}
impl Handle<Often> for Clerk {
    async fn handle(&mut self, _: &Often, cx: &mut Context) -> Outcome {
        *cx.state::<u64>("often")? += 1;
        Ok(())
    }
}
impl Handle<Rare> for Clerk {
    async fn handle(&mut self, _: &Rare, cx: &mut Context) -> Outcome {
        *cx.state::<u64>("rare")? += 1;
        Ok(())
    }
}

/// Four times as much as fits: who never gave back a segment would stand still.
#[test]
fn the_log_goes_round_below_its_limit() {
    const EVENTS: u64 = 4_000;
    let directory = Directory::new("rare");
    let children = Supervisor::new("tests")
        .child(processor("often", || Clerk).on::<Often>())
        .child(processor("rare", || Clerk).on::<Rare>());
    let runtime = Runtime::builder("test")
        .store(Store::directory(directory.path()).limit(16 << 20))
        .supervise(children)
        .start()
        .unwrap();
    for _ in 0..EVENTS {
        let mut event = Often(vec![7; 16 << 10]);
        let began = std::time::Instant::now();
        // It may take a moment until what nobody needs is given back.
        while let Err(refused) = runtime.publish(event).wait() {
            let said = refused.to_string();
            assert!(began.elapsed() < secs(20), "{said}");
            event = refused.into_event().unwrap();
            std::thread::yield_now();
        }
    }
    idle(&runtime);
    assert_eq!(runtime.state("often", "often"), Some(EVENTS));
    // Nothing waits for anybody, and nothing is kept for anybody.
    let all = runtime.subscriptions();
    assert!(all.iter().all(|of| of.behind == 0 && of.holds == 0), "{all:?}");
    runtime.publish(Rare).wait().unwrap();
    idle(&runtime);
    assert_eq!(runtime.state("rare", "rare"), Some(1u64));
    stop(runtime);
}
