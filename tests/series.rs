//! A program of fifty processors is cheap to scrape: what it serves stays below two thousand series.

#![allow(missing_docs, clippy::unwrap_used)]

use cueline::Message;
use cueline::prelude::*;
use serde::{Deserialize, Serialize};

const NAMES: [&str; 20] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s",
    "t",
];

/// Twenty events, and ten commands.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Of<const N: usize>;
impl<const N: usize> Message for Of<N> {
    const NAME: &'static str = NAMES[N];
    type Reply = ();
}

const COMMANDS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Do<const N: usize>;
impl<const N: usize> Message for Do<N> {
    const NAME: &'static str = COMMANDS[N];
    type Reply = u64;
}

struct Handles;
impl Processor for Handles {}
impl<const N: usize> Handle<Of<N>> for Handles {
    async fn handle(&mut self, _: &Of<N>, _: &mut Context) -> Outcome {
        Ok(())
    }
}
impl<const N: usize> Handle<Do<N>> for Handles {
    async fn handle(&mut self, _: &Do<N>, _: &mut Context) -> Outcome<u64> {
        Ok(N as u64)
    }
}

struct Asks;
impl Workflow for Asks {
    const NAME: &'static str = "asks";
    type Input = Of<0>;
    type Output = u64;
    type Expects = ();
    async fn run(&self, _: Of<0>, steps: Steps) -> Outcome<u64> {
        steps.call(Do::<0>).await
    }
}

/// Ten processors that take two events each.
macro_rules! of_events {
    ($supervisor:expr, $from:expr, $($n:literal),*) => {
        $supervisor$(.child(
            processor(format!("p{}", $from + $n), || Handles).on::<Of<$n>>().on::<Of<{ $n + 10 }>>(),
        ))*
    };
}

#[test]
fn fifty_processors_are_below_two_thousand() {
    let path = std::env::temp_dir().join(format!("cueline-series-{}", std::process::id()));
    let mut builder = Runtime::builder("fifty").store(Store::directory(&path)).serve("127.0.0.1:0");
    for tens in [0, 10, 20, 30] {
        let ten = Supervisor::new(format!("s{tens}"));
        builder = builder.supervise(of_events!(ten, tens, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
    }
    macro_rules! of_commands {
        ($($n:literal),*) => {
            Supervisor::new("commands")
                $(.child(processor(concat!("c", $n), || Handles).serves::<Do<$n>>()))*
        };
    }
    let mediator = Mediator::for_domain("domain").workflow(Asks).starts_on::<Of<0>>();
    let commands = of_commands!(0, 1, 2, 3, 4, 5, 6, 7, 8, 9).child(mediator);
    let runtime = builder.supervise(commands).start().unwrap();
    macro_rules! publish {
        ($($n:literal),*) => { $(runtime.publish(Of::<$n>).wait().unwrap();)* };
    }
    publish!(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19);
    runtime.idle().wait();
    let metrics = runtime.metrics().unwrap();
    let series = metrics.lines().filter(|line| !(line.is_empty() || line.starts_with('#')));
    let processors: std::collections::HashSet<_> =
        metrics.lines().filter(|line| line.starts_with("cueline_events_handled_total{")).collect();
    assert_eq!(processors.len(), 51, "and the mediator");
    let series = series.count();
    assert!(series < 2_000, "{series}");
    assert!(series > 1_000, "{series}: is all of it there?");
    runtime.shutdown(secs(10)).wait().unwrap();
    std::fs::remove_dir_all(path).unwrap();
}
