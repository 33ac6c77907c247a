//! Scatter-gather: several are asked, and by the deadline each has answered, or is named as one that has not.

use cueline::ErrorKind;
use cueline::prelude::*;

use crate::world::{run, server, stop, twice};

#[test]
fn those_that_answer_in_time_do_not_wait_for_those_that_do_not() {
    let runtime = run(server(|command, _| {
        Box::pin(async move {
            if command.value % 2 == 1 {
                std::future::pending::<()>().await;
            }
            Ok(command.value * 2)
        })
    })
    .instances(6));
    let gathered = runtime.request_all((0..6).map(twice)).timeout(secs(2)).wait();
    let kinds: Vec<_> = gathered.iter().map(|one| one.as_ref().map_err(Error::kind)).collect();
    let late = Err(ErrorKind::TimedOut);
    assert_eq!(kinds, [Ok(&0), late, Ok(&4), late, Ok(&8), late]);
    runtime.shutdown(millis(1)).wait().ok();
}

#[test]
fn nothing_is_sent_before_it_is_awaited() {
    let runtime = run(server(crate::world::doubles));
    let _forgotten = runtime.request_all((0..6).map(twice));
    assert_eq!(runtime.requests().outstanding, 0);
    assert!(runtime.request_all(Vec::<crate::world::Twice>::new()).wait().is_empty());
    stop(&runtime);
}
