//! Each in a process of its own: an abort would end them all.

use cueline::prelude::*;

use crate::support::{
    Heard, Log, Number, in_a_process_of_its_own, number, one, publish, supervisor, within,
};

struct Bomb;
impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("what the application gave");
    }
}

struct Takes;
impl Processor for Takes {}
impl Handle<Number> for Takes {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        Ok(())
    }
}

/// A processor whose factory, filter and tick panic when they are dropped.
fn explosive(name: &str) -> impl cueline::IntoChild + use<> {
    let bombs = (Bomb, Bomb, Bomb);
    let (factory, filter, tick) = bombs;
    processor(name, move || {
        let _ = &factory;
        Takes
    })
    .on_if(move |_: &Number| {
        let _ = &filter;
        true
    })
    .every(secs(3_600), move || {
        let _ = &tick;
        number(0)
    })
}

struct Watches(Bomb);
impl cueline::Observer for Watches {
    fn observe(&self, _: &cueline::Signal<'_>) {
        let _ = &self.0;
    }
}

fn is_survived(test: &str) -> bool {
    let child = in_a_process_of_its_own(&format!("drops_never_abort::{test}"));
    let Some(child) = child else { return false };
    assert!(child.status.success(), "{child:?}");
    true
}

#[test]
fn factories_filters_ticks_and_observers_panic_all_at_the_end() {
    if is_survived("factories_filters_ticks_and_observers_panic_all_at_the_end") {
        return;
    }
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(explosive("one")).child(explosive("two")))
        .observe(Watches(Bomb))
        .observe(Watches(Bomb))
        .start()
        .unwrap();
    publish(&runtime, [number(1)]);
    runtime.add("tests", explosive("three")).wait().unwrap();
    runtime.remove("three").unwrap();
    runtime.shutdown(secs(30)).wait().unwrap();
    drop(runtime);
    no_thread_of_it_is_left();
}

/// The last thread drops what is left.
fn no_thread_of_it_is_left() {
    within("its threads end", || {
        let arbiters = || {
            let tasks = std::fs::read_dir("/proc/self/task").unwrap();
            let names = tasks
                .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
            names.filter(|name| name.contains("arbiter") || name.contains("-control")).count()
        };
        while arbiters() > 0 {}
    });
}

struct Hangs(Log<()>);
impl Drop for Hangs {
    fn drop(&mut self) {
        panic!("the processor");
    }
}
impl Processor for Hangs {}
impl Handle<Number> for Hangs {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        let _local = Bomb;
        self.0.push(());
        std::future::pending().await
    }
}

#[test]
fn a_handler_that_hangs_and_its_processor_panic_together() {
    if is_survived("a_handler_that_hangs_and_its_processor_panic_together") {
        return;
    }
    let (log, heard) = (Log::default(), Heard::default());
    let seen = log.clone();
    let hangs = processor("hangs", move || Hangs(seen.clone())).on::<Number>();
    let runtime = Runtime::builder("test")
        .supervise(supervisor().child(hangs))
        .observe(heard.clone())
        .start()
        .unwrap();
    publish(&runtime, [number(1)]);
    within("it is in hand", move || while log.all().is_empty() {});
    assert_eq!(runtime.shutdown(millis(1)).wait().unwrap().len(), 1);
    drop(runtime);
    no_thread_of_it_is_left();
    heard.wait_for("PanicContained { during: ProcessorDrop");
}

struct Panics(std::sync::Arc<std::sync::atomic::AtomicBool>);
impl tracing::Subscriber for Panics {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        assert!(!self.0.load(std::sync::atomic::Ordering::SeqCst), "the subscriber");
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn whoever_reads_the_log_panics_and_nothing_stops() {
    if is_survived("whoever_reads_the_log_panics_and_nothing_stops") {
        return;
    }
    let panics = std::sync::Arc::default();
    tracing::subscriber::set_global_default(Panics(std::sync::Arc::clone(&panics))).unwrap();
    let log = Log::default();
    let seen = log.clone();
    let runtime = one(crate::support::with("picky", move |event, _| {
        if event.value == 1 {
            return Err(Failure::permanent("no"));
        }
        seen.push(event.value);
        Ok(())
    }));
    panics.store(true, std::sync::atomic::Ordering::SeqCst);
    publish(&runtime, [number(1), number(2)]);
    crate::support::idle(&runtime);
    assert_eq!((runtime.parked().len(), log.all()), (1, vec![2]));
    panics.store(false, std::sync::atomic::Ordering::SeqCst);
}
