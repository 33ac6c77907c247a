//! A subscription that the log does not know yet begins with what is published from now on, or with what
//! the log still has; one that it knows goes on where it was.

use cueline::prelude::*;
use cueline::{Seq, StartFrom, Timestamp};

use crate::support::{Directory, Log, Spec, adder, fine, idle, publish, start, stop, within};

fn handles(log: &Log, expected: impl IntoIterator<Item = u64>) {
    let expected: Vec<u64> = expected.into_iter().collect();
    let (seen, many) = (log.clone(), expected.len());
    within("all of it is handled", move || while seen.attempts().len() < many {});
    let mut handled = log.take();
    handled.sort_unstable();
    assert_eq!(handled, expected);
}

#[test]
fn of_what_was_published_before() {
    let (directory, log, nobody) = (Directory::new("begins"), Log::default(), Log::default());
    // One that holds on to everything.
    let holder = || adder("holder", &nobody, fine);
    let runtime = start(&directory, |of| of.child(holder()));
    runtime.pause("holder").unwrap();
    publish(&runtime, 0..100);
    let before = Timestamp::now();
    while Timestamp::now() == before {}
    let then = Timestamp::now();
    publish(&runtime, 100..200);
    let cases = [
        ("now", StartFrom::Now, 200),
        ("earliest", StartFrom::Earliest, 0),
        ("position", StartFrom::Position(Seq::from(50)), 50),
        ("time", StartFrom::Time(then), 100),
        ("future", StartFrom::Position(Seq::from(1_000_000)), 200),
        ("future-time", StartFrom::Time(Timestamp::from_millis(u64::MAX)), 200),
    ];
    let child = |name: &str, from: StartFrom| -> Spec { adder(name, &log, fine).start_from(from) };
    for (name, from, first) in cases {
        runtime.add("tests", child(name, from)).wait().unwrap();
        handles(&log, first..200);
    }
    let all = |range: std::ops::Range<u64>| range.flat_map(|value| [value; 6]);
    publish(&runtime, 200..210);
    handles(&log, all(200..210));
    stop(runtime);

    let children = |of: Supervisor| {
        cases.iter().fold(of.child(holder()), |of, (name, from, _)| of.child(child(name, *from)))
    };
    let runtime = start(&directory, children);
    publish(&runtime, 210..220);
    idle(&runtime);
    handles(&log, all(210..220));
    assert_eq!(nobody.take().len(), 220);
    stop(runtime);
}

/// While somebody publishes: nothing is missed, nothing comes twice, all in order.
#[test]
fn in_the_midst_of_what_is_published() {
    let (directory, log, nobody) = (Directory::new("midst"), Log::default(), Log::default());
    let runtime = start(&directory, |of| of.child(adder("holder", &nobody, fine)));
    runtime.pause("holder").unwrap();
    publish(&runtime, 0..5_000);
    std::thread::scope(|scope| {
        scope.spawn(|| (5..60).for_each(|k| publish(&runtime, k * 1_000..(k + 1) * 1_000)));
        let child = adder("reader", &log, fine).start_from(StartFrom::Earliest);
        runtime.add("tests", child).wait().unwrap();
    });
    let (seen, many) = (log.clone(), 60_000);
    within("all of it is handled", move || while seen.attempts().len() < many {});
    assert_eq!(log.take(), (0..60_000).collect::<Vec<_>>());
    stop(runtime);
}
