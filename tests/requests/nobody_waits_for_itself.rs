//! Row 45 of the fault matrix: whoever would wait for itself is told so at once, and by way of whom.

use cueline::Context;
use cueline::ErrorKind;
use cueline::prelude::*;

use crate::support::supervisor;
use crate::world::{Thrice, Twice, run, server, stop, thrice_server, twice};

#[test]
fn fault_45_a_processor_that_asks_itself() {
    let runtime = run(server(|command, cx| {
        Box::pin(async move {
            if command.value == 0 {
                return Ok(0);
            }
            let refused = cx.request(twice(command.value - 1)).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::WaitsForItself);
            assert!(refused.to_string().contains("(server -> server)"), "{refused}");
            Ok(100)
        })
    }));
    assert_eq!(runtime.request(twice(1)).wait().unwrap(), 100);
    stop(&runtime);
}

#[test]
fn fault_45_two_that_ask_each_other() {
    let asks = server(|command, cx| {
        Box::pin(async move { Ok(cx.request(Thrice(command.value)).await? + 1) })
    });
    let asks_back = thrice_server(|command, cx| {
        Box::pin(async move {
            let refused = cx.request(twice(command.0)).await.unwrap_err();
            assert!(refused.to_string().contains("(thrice -> server -> thrice)"), "{refused}");
            Ok(10)
        })
    });
    let runtime = Runtime::builder("test").supervise(supervisor().child(asks).child(asks_back));
    let runtime = runtime.start().unwrap();
    assert_eq!(runtime.request(twice(1)).wait().unwrap(), 11);
    stop(&runtime);
}

/// The children of a pool answer each other.
#[test]
fn another_member_of_a_pool_may_answer() {
    struct Member;
    impl Processor for Member {}
    impl Handle<Twice> for Member {
        async fn handle(&mut self, command: &Twice, cx: &mut Context) -> Outcome<u64> {
            match command.value {
                0 => Ok(7),
                value => Ok(cx.request(twice(value - 1)).await? + 1),
            }
        }
    }
    let member = processor_with("member", |_: &u32| Member).serves::<Twice>();
    let runtime = run(Pool::new("pool", member));
    let pool: cueline::PoolHandle<u32> = runtime.pool("tests/pool").unwrap();
    (0..3).for_each(|child| drop(pool.start(child).wait().unwrap()));
    assert_eq!(runtime.request(twice(2)).wait().unwrap(), 9);
    stop(&runtime);
}

/// With an instance free for it, it works, as long as it is not the same key.
#[test]
fn another_instance_may_answer() {
    let runtime = run(server(|command, cx| {
        Box::pin(async move {
            match command.value {
                0 => Ok(1),
                value => {
                    let next = Twice { value: value - 1, key: command.key.map(|key| key / 10) };
                    Ok(cx.request(next).await? + 1)
                }
            }
        })
    })
    .instances(3));
    assert_eq!(runtime.request(twice(2)).wait().unwrap(), 3);
    assert_eq!(runtime.request(Twice { value: 2, key: Some(100) }).wait().unwrap(), 3);
    let same_key = runtime.request(Twice { value: 1, key: Some(0) }).wait().unwrap_err();
    assert!(same_key.to_string().contains("would wait for itself"), "{same_key}");
    // And it goes on.
    assert_eq!(runtime.request(twice(2)).wait().unwrap(), 3);
    stop(&runtime);
}
