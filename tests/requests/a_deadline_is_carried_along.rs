//! Whoever asks on behalf of somebody who waits, waits no longer than that one.

use std::time::Instant;

use cueline::ErrorKind;
use cueline::prelude::*;

use crate::support::{Log, idle, supervisor};
use crate::world::{Thrice, server, stop, thrice_server, twice};

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
    let never = thrice_server(|_, _| Box::pin(std::future::pending())).timeout(secs(1));
    let tests = supervisor().child(asks).child(never);
    let runtime = Runtime::builder("test").supervise(tests).start().unwrap();
    let late = runtime.request(twice(1)).timeout(millis(50)).wait().unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    idle(&runtime);
    assert_eq!(ended.all(), [(ErrorKind::TimedOut, true)]);
    stop(&runtime);
}
