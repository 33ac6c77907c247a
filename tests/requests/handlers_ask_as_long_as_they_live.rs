//! Handlers ask also while the runtime drains; one whose thread is lost keeps nobody waiting behind it.

use cueline::ErrorKind;
use cueline::prelude::*;

use crate::support::{Gate, Log, Number, idle, number, quick, supervisor, with, within};
use crate::world::{doubles, server, stop, twice};

/// Asks for what it handles.
struct Asks(Gate, Log<Result<u64, ErrorKind>>);
impl Processor for Asks {}
impl Handle<Number> for Asks {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        self.0.pass();
        let reply = cx.request(twice(event.value)).timeout(secs(20)).await;
        self.1.push(reply.as_ref().map_err(Error::kind).copied());
        reply?;
        Ok(())
    }
}

#[test]
fn what_waits_when_it_stops_is_worked_off() {
    let (gate, log) = (Gate::default(), Log::default());
    let (held, replies) = (gate.clone(), log.clone());
    let asks = processor("asks", move || Asks(held.clone(), replies.clone())).on::<Number>();
    let tests = supervisor().child(server(doubles)).child(asks.retry(quick(1)));
    let runtime = Runtime::builder("test").threads(2).supervise(tests).start().unwrap();
    runtime.publish_all((1..4).map(number)).wait().unwrap();
    gate.is_reached();
    let stopping = runtime.clone();
    let stopped = std::thread::spawn(move || stopping.shutdown(secs(20)).wait().unwrap());
    within("it takes in nothing more", {
        let runtime = runtime.clone();
        move || while runtime.try_publish(number(9)).is_ok() {}
    });
    gate.open();
    let undone = stopped.join().unwrap();
    assert_eq!(log.all()[..3], [Ok(2), Ok(4), Ok(6)]);
    assert!(undone.is_empty(), "{undone:?}");
}

#[test]
fn a_handler_that_would_block_its_thread_is_refused() {
    let log: Log<ErrorKind> = Log::default();
    let kinds = log.clone();
    let asks = with("asks", move |event, cx| {
        kinds.push(cx.request(twice(event.value)).wait().unwrap_err().kind());
        Ok(())
    });
    let tests = supervisor().child(server(doubles)).child(asks);
    let runtime = Runtime::builder("test").supervise(tests).start().unwrap();
    runtime.publish(number(1)).wait().unwrap();
    idle(&runtime);
    assert_eq!(log.all(), [ErrorKind::InsideHandler]);
    stop(&runtime);
}

/// On a thread of its own it may.
#[test]
fn a_blocking_processor_may_wait_for_its_reply() {
    let log: Log<u64> = Log::default();
    let replies = log.clone();
    let asks = with("asks", move |event, cx| {
        replies.push(cx.request(twice(event.value)).wait()?);
        Ok(())
    });
    let tests = supervisor().child(server(doubles)).child(asks.blocking());
    let runtime = Runtime::builder("test").supervise(tests).start().unwrap();
    runtime.publish(number(4)).wait().unwrap();
    idle(&runtime);
    assert_eq!(log.all(), [8]);
    stop(&runtime);
}

/// The thread of a handler that waits at the door is given up: its future is never dropped, and its place
/// is not kept.
#[test]
fn who_waited_on_a_lost_thread_is_not_waited_for() {
    let (ask, block) = (Gate::default(), Gate::default());
    ask.open();
    let (open, log) = (ask.clone(), Log::default());
    let replies = log.clone();
    let asks = processor("asks", move || Asks(open.clone(), replies.clone())).on::<Number>();
    let held = block.clone();
    let blocks = processor("blocks", move || Blocks(held.clone())).on::<crate::support::Word>();
    let blocks = blocks.timeout(millis(50));
    let tests = supervisor().child(server(doubles).bound(1)).child(asks).child(blocks);
    let runtime = Runtime::builder("test").threads(1).supervise(tests).start().unwrap();
    runtime.pause("server").unwrap();
    // It is full with this one.
    let mut first = Box::pin(runtime.request(twice(50)));
    let mut task = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(first.as_mut().poll(&mut task).is_pending());
    runtime.publish(number(1)).wait().unwrap();
    within("the handler waits at the door", {
        let runtime = runtime.clone();
        move || {
            while runtime.requests().outstanding < 2 {
                std::thread::yield_now();
            }
        }
    });
    runtime.publish(crate::support::Word("stop".to_owned())).wait().unwrap();
    block.is_reached();
    let asked = runtime.clone();
    let outside = std::thread::spawn(move || asked.request(twice(60)).timeout(secs(20)).wait());
    within("the event is delivered again, and asks again", {
        let runtime = runtime.clone();
        move || {
            while runtime.requests().outstanding < 3 {
                std::thread::yield_now();
            }
        }
    });
    runtime.resume("server").unwrap();
    assert_eq!(pollster::block_on(first).unwrap(), 100);
    assert_eq!(within("it is answered", move || outside.join().unwrap()).unwrap(), 120);
    within("the handler is answered", {
        let log = log.clone();
        move || {
            while log.all().is_empty() {
                std::thread::yield_now();
            }
        }
    });
    assert_eq!(log.all(), [Ok(2)]);
    block.open();
    one_is_sent_no_more(&runtime);
    runtime.shutdown(secs(5)).wait().ok();
}

fn one_is_sent_no_more(runtime: &Runtime) {
    let runtime = runtime.clone();
    within("nobody waits any more", move || {
        while runtime.requests().outstanding > 0 {
            std::thread::yield_now();
        }
    });
}

struct Blocks(Gate);
impl Processor for Blocks {}
impl Handle<crate::support::Word> for Blocks {
    async fn handle(&mut self, _: &crate::support::Word, cx: &mut Context) -> Outcome {
        if cx.attempt() == 1 {
            self.0.pass();
        }
        Ok(())
    }
}
