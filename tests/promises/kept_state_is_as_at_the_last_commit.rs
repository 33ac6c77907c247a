use cueline::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::{Log, idle, keyed, number, one, publish, with};

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Sum(u64);

#[test]
fn an_error_or_a_panic_leaves_it_as_it_was() {
    let runtime = one(with("sums", |event, cx| {
        cx.state::<Sum>("all")?.0 += event.value;
        if cx.attempt() == 1 {
            match event.value % 3 {
                0 => return Err(Failure::transient("after the change")),
                1 => panic!("after the change"),
                _ => {}
            }
        }
        cx.state::<Sum>("all")?.0 += 1_000;
        Ok(())
    }));
    publish(&runtime, (1..=300).map(number));
    idle(&runtime);
    let sum = runtime.state::<Sum>("sums", "all").unwrap();
    assert_eq!(sum, Sum(300 * 301 / 2 + 300 * 1_000));
}

#[test]
fn it_is_kept_per_key_and_readable_from_outside() {
    let runtime = one(with("sums", |event, cx| {
        let key = cx.envelope().and_then(|envelope| envelope.key).unwrap();
        cx.state::<Sum>(key)?.0 += event.value;
        Ok(())
    })
    .instances(4));
    publish(&runtime, (0..100).map(|n| keyed((n % 5) as u32, n)));
    idle(&runtime);
    let sums = runtime.states::<Sum>("sums");
    assert_eq!(sums.len(), 5);
    assert_eq!(sums[&Key::from(2)], Sum((0..20).map(|n| 5 * n + 2).sum()));
    assert_eq!(runtime.state::<Sum>("sums", 7), None);
}

#[test]
fn several_instances_may_not_share_one_state() {
    let runtime = one(with("sums", |event, cx| {
        cx.state::<Sum>("all")?.0 += event.value;
        Ok(())
    })
    .instances(2));
    publish(&runtime, [keyed(1, 1)]);
    idle(&runtime);
    let parked = runtime.parked();
    assert!(parked[0].chain[0].contains("instances(1)"), "{:?}", parked[0].chain);
}

#[test]
fn there_is_a_bound_on_how_many_states_one_processor_keeps() {
    let runtime = one(with("sums", |event, cx| {
        cx.state::<Sum>(event.value)?.0 += 1;
        Ok(())
    })
    .states(10));
    publish(&runtime, (0..12).map(number));
    idle(&runtime);
    assert_eq!(runtime.states::<Sum>("sums").len(), 10);
    assert!(runtime.parked()[0].chain[0].contains("`states`"));
}

#[test]
fn one_event_sees_what_the_one_before_it_kept() {
    let log = Log::default();
    let seen = log.clone();
    let runtime = one(with("sums", move |event, cx| {
        let sum = cx.state::<Sum>("all")?;
        sum.0 += event.value;
        seen.push(sum.0);
        Ok(())
    }));
    runtime.publish_all((1..=50).map(number)).wait().unwrap();
    idle(&runtime);
    assert_eq!(log.all(), (1..=50).map(|n| n * (n + 1) / 2).collect::<Vec<u64>>());
}
