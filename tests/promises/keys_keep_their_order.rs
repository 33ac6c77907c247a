use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::channel;

use cueline::prelude::*;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::support::{
    Log, Number, idle, keyed, number, one, publish, quick, supervisor, with, within,
};

/// Fails each event as often as `failures` says, and notes who succeeded.
fn flaky(
    log: Log<u64>,
    failures: impl Fn(u64) -> u32 + Clone + Send + Sync + 'static,
) -> impl Fn(&crate::support::Number, &mut Context) -> Outcome + Clone + Send + Sync {
    move |event, cx| {
        if cx.attempt() <= failures(event.value) {
            return Err(Failure::transient("not yet"));
        }
        log.push(event.value);
        Ok(())
    }
}

#[test]
fn a_retried_event_holds_up_its_key_and_nobody_else() {
    let log = Log::default();
    let fails = |value| if value % 10 == 0 { 2 } else { 0 };
    let runtime = one(with("flaky", flaky(log.clone(), fails)));
    publish(&runtime, (0..400).map(|n| keyed((n % 5) as u32, n)));
    publish(&runtime, [number(1_000_001)]);
    idle(&runtime);
    let done = log.all();
    assert_eq!(done.len(), 401);
    for key in 0..5 {
        let own: Vec<u64> =
            done.iter().copied().filter(|n| *n < 1_000_000 && n % 5 == key).collect();
        assert!(own.is_sorted(), "key {key}: {own:?}");
    }
    let last_of_0 = done.iter().position(|n| *n == 395).unwrap();
    let last_of_3 = done.iter().position(|n| *n == 398).unwrap();
    assert!(last_of_3 < last_of_0, "key 3 never failed and did not wait for key 0");
}

#[test]
fn behind_a_parked_event_its_key_waits_until_it_is_resubmitted() {
    let log = Log::default();
    let mended = Arc::new(Mutex::new(false));
    let (seen, is_mended) = (log.clone(), mended.clone());
    let runtime = one(with("strict", move |event, _| {
        if event.value == 3 && !*is_mended.lock() {
            return Err(Failure::permanent("broken").reason("broken_part"));
        }
        seen.push(event.value);
        Ok(())
    }));
    publish(&runtime, (0..10).map(|n| keyed((n % 2) as u32, n)));
    idle(&runtime);
    assert_eq!(log.all(), [0, 1, 2, 4, 6, 8], "5, 7 and 9 wait behind 3");
    let parked = runtime.parked();
    assert_eq!(parked.len(), 1);
    assert_eq!((parked[0].reason, parked[0].attempts), ("broken_part", 1));
    assert_eq!(runtime.processors()[0].waiting_behind, 3);
    *mended.lock() = true;
    runtime.resubmit("strict", parked[0].id).unwrap();
    idle(&runtime);
    assert_eq!(log.all(), [0, 1, 2, 4, 6, 8, 3, 5, 7, 9]);
    assert!(runtime.resubmit("strict", parked[0].id).is_err(), "only one may be faster");
}

#[test]
fn discarding_lets_those_behind_follow() {
    let log = Log::default();
    let runtime = one(with("strict", flaky(log.clone(), |n| if n == 0 { 9 } else { 0 })));
    publish(&runtime, (0..5).map(|n| keyed(1, n)));
    idle(&runtime);
    assert!(log.all().is_empty());
    runtime.discard("strict", runtime.parked()[0].id).unwrap();
    idle(&runtime);
    assert_eq!(log.all(), [1, 2, 3, 4]);
}

#[test]
fn with_let_key_go_the_others_go_on() {
    let log = Log::default();
    let spec = with("lax", flaky(log.clone(), |n| if n == 0 { 9 } else { 0 }));
    let runtime = one(spec.on_park(OnPark::LetKeyGo).retry(quick(2)));
    publish(&runtime, (0..5).map(|n| keyed(1, n)));
    idle(&runtime);
    assert_eq!(log.all(), [1, 2, 3, 4]);
    assert_eq!(runtime.parked().len(), 1);
}

#[test]
fn order_holds_per_key_over_many_instances_with_failures_and_panics() {
    let log = Log::default();
    let busy: Arc<Mutex<HashMap<u32, u64>>> = Arc::default();
    let seen = log.clone();
    let spec = with("crew", move |event, cx| {
        let key = event.key.unwrap();
        assert!(busy.lock().insert(key, event.value).is_none(), "two of key {key} at a time");
        let removed = busy.lock().remove(&key);
        assert_eq!(removed, Some(event.value));
        match event.value % 50 {
            0 if cx.attempt() == 1 => Err(Failure::transient("once")),
            25 => {
                assert!(cx.attempt() > 1, "on demand");
                seen.push((key, event.value));
                Ok(())
            }
            _ => {
                seen.push((key, event.value));
                Ok(())
            }
        }
    });
    let runtime = one(spec.instances(8));
    publish(&runtime, (0..5_000).map(|n| keyed((n % 17) as u32, n)));
    idle(&runtime);
    let done = log.all();
    assert_eq!(done.len(), 5_000, "{:?} {:?}", runtime.processors(), runtime.parked().first());
    for key in 0..17 {
        let own: Vec<u64> = done.iter().filter(|(of, _)| *of == key).map(|(_, n)| *n).collect();
        assert!(own.is_sorted(), "key {key}");
    }
    assert!(runtime.parked().is_empty());
}

#[test]
fn with_several_instances_too_those_behind_a_parked_event_leave_the_runtime_idle() {
    let runtime = one(with("crew", |event, _| match event.value {
        0 => Err(Failure::permanent("broken")),
        _ => Ok(()),
    })
    .instances(4)
    .bound(4));
    publish(&runtime, [keyed(1, 0)]);
    idle(&runtime);
    for value in 1..40 {
        publish(&runtime, [keyed(1, value)]);
        idle(&runtime);
    }
    assert_eq!(runtime.processors()[0].waiting_behind, 39);
    let publisher = runtime.clone();
    crate::support::within("room is made", move || {
        publish(&publisher, (40..200).map(|n| keyed(1, n)));
    });
    idle(&runtime);
    assert_eq!(runtime.processors()[0].waiting_behind, 199);
}

/// One that was handed back has the key's turn, and one that was in hand meanwhile and failed waits
/// behind it, before those that come later.
#[test]
fn with_let_key_go_a_resubmitted_event_does_not_let_others_overtake() {
    let ((tell, told), (go, wait)) = (channel(), channel());
    let (tell, wait) = (Arc::new(Mutex::new(tell)), Arc::new(Mutex::new(wait)));
    let (log, mended) = (Log::default(), Arc::new(AtomicBool::new(false)));
    let (seen, is_mended) = (log.clone(), mended.clone());
    let runtime = one(with("goes-on", move |event, cx| {
        match (event.value, cx.attempt()) {
            (0, _) if !is_mended.load(SeqCst) => return Err(Failure::permanent("not yet")),
            (1, 1) => {
                tell.lock().send(()).ok();
                wait.lock().recv().ok();
                return Err(Failure::transient("once"));
            }
            _ => {}
        }
        seen.push(event.value);
        Ok(())
    })
    .on_park(OnPark::LetKeyGo));
    publish(&runtime, [keyed(1, 0)]);
    idle(&runtime);
    let id = runtime.parked()[0].id;
    publish(&runtime, [keyed(1, 1), keyed(1, 2)]);
    told.recv().unwrap();
    mended.store(true, SeqCst);
    runtime.resubmit("goes-on", id).unwrap();
    drop::<std::sync::mpsc::Sender<()>>(go);
    idle(&runtime);
    assert_eq!(log.all(), [0, 1, 2]);
}

#[derive(Serialize, Deserialize)]
struct Tracked {
    key: u64,
    #[serde(skip)]
    alive: Arc<()>,
}
cueline::event!(Tracked, "tracked", key: |event| event.key);

struct Holds;
impl Processor for Holds {}
impl Handle<Tracked> for Holds {
    async fn handle(&mut self, event: &Tracked, _: &mut Context) -> Outcome {
        let _held = event.alive.clone();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        if event.key == 0 {
            return Err(Failure::permanent("never"));
        }
        Ok(())
    }
}

/// Behind an event that was in hand when they came, and is parked now.
#[test]
fn events_behind_a_parked_one_do_not_keep_their_whole_batch() {
    let alive = Arc::new(());
    let runtime = one(processor("holds", || Holds).on::<Tracked>().instances(4));
    let events = (0..200u64).map(|number| Tracked { key: number / 2, alive: alive.clone() });
    runtime.publish_all(events).wait().unwrap();
    idle(&runtime);
    assert_eq!(runtime.processors()[0].waiting_behind, 1);
    within("the others go", move || while Arc::strong_count(&alive) > 1 {});
}

/// Which instance handled which key.
struct Numbered(u32, Log<(String, u32)>);
impl Processor for Numbered {}
impl Handle<Number> for Numbered {
    async fn handle(&mut self, _: &Number, cx: &mut Context) -> Outcome {
        let key = cx.envelope().and_then(|envelope| envelope.key);
        self.1.push((key.map(|key| key.to_string()).unwrap_or_default(), self.0));
        Ok(())
    }
}

#[test]
fn a_key_goes_to_the_same_instance_while_that_is_free() {
    let (log, made) = (Log::default(), Arc::new(AtomicU32::new(0)));
    let seen = log.clone();
    let crew = processor("crew", move || Numbered(made.fetch_add(1, SeqCst), seen.clone()));
    let runtime = Runtime::builder("test")
        .threads(2)
        .supervise(supervisor().child(crew.on::<Number>().instances(4)))
        .start()
        .unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    for round in 0..10 {
        for key in 0..16 {
            publish(&runtime, [keyed(key, round)]);
            idle(&runtime);
        }
    }
    // Rest comes a moment before the instance is free again, so a few may find it busy.
    let mut homes: HashMap<String, HashMap<u32, usize>> = HashMap::new();
    for (key, instance) in log.all() {
        *homes.entry(key).or_default().entry(instance).or_default() += 1;
    }
    let at_home: usize = homes.values().filter_map(|of| of.values().max()).sum();
    assert!(at_home > 110, "{at_home} of 160 went home: {homes:?}");
    let used: HashSet<u32> = homes.values().flat_map(HashMap::keys).copied().collect();
    assert!(used.len() > 1, "and not all to one");
}
