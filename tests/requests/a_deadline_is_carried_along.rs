//! Whoever asks on behalf of somebody who waits, waits no longer than that one.

use std::time::Instant;

use cueline::ErrorKind;
use cueline::prelude::*;

use crate::support::{Log, supervisor, within};
use crate::world::{Thrice, server, thrice_server, twice};

#[test]
fn the_inner_request_ends_with_the_outer_one() {
    let ended: Log<(ErrorKind, bool)> = Log::default();
    let log = ended.clone();
    let asks = server(move |command, cx| {
        let log = log.clone();
        Box::pin(async move {
            let began = Instant::now();
            let inner = cx.request(Thrice(command.value)).timeout(hours(1)).await.unwrap_err();
            log.push((inner.kind(), began.elapsed() < secs(60)));
            Ok(0)
        })
    });
    let never = thrice_server(|_, _| Box::pin(std::future::pending()));
    let tests = supervisor().child(asks).child(never);
    let runtime = Runtime::builder("test").supervise(tests).start().unwrap();
    let late = runtime.request(twice(1)).timeout(millis(500)).wait().unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    let told = ended.clone();
    within("the inner one is told", move || {
        while told.all().is_empty() {
            std::thread::yield_now();
        }
    });
    assert_eq!(ended.all(), [(ErrorKind::TimedOut, true)]);
    runtime.shutdown(millis(1)).wait().ok();
}
