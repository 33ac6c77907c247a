//! A mediator's commands are handed out before they are on disk. Whatever becomes of them until then, they
//! are there: also those that wait behind another one of their key.

use std::process::Command;

use cueline::prelude::*;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use crate::support::{idle, quick, supervisor};
use crate::world::{Begin, Directory};

#[derive(Serialize, Deserialize)]
struct Keyed {
    number: u32,
}
cueline::command!(Keyed, "keyed" => u32, key: |_command| "the only one");

/// The first of them fails once, and the others wait behind it.
struct Handler;
impl Processor for Handler {}
impl Handle<Keyed> for Handler {
    async fn handle(&mut self, keyed: &Keyed, cx: &mut Context) -> Outcome<u32> {
        if keyed.number == 0 && cx.attempt() == 1 {
            return Err(Failure::transient("not yet"));
        }
        cx.state::<Vec<u32>>("handled")?.push(keyed.number);
        Ok(keyed.number)
    }
}

struct Eight;
impl Workflow for Eight {
    const NAME: &'static str = "eight";
    type Input = Begin;
    type Output = u32;
    type Expects = ();
    async fn run(&self, _: Begin, steps: Steps) -> Outcome<u32> {
        let all = (0..8).map(|number| steps.call(Keyed { number }));
        Ok(try_join_all(all).await?.into_iter().sum())
    }
}

/// Each sync takes so long that all is through with the first try before it.
#[test]
fn whoever_waits_behind_a_command_that_is_not_on_disk_yet() {
    if let Some(path) = std::env::var_os("CUELINE_EARLY_CHILD") {
        let handler = processor("handler", || Handler).serves::<Keyed>().retry(quick(3));
        let mediator = Mediator::for_domain("domain").workflow(Eight);
        let runtime = Runtime::builder("test").store(Store::directory(path));
        let tree = supervisor().child(handler).child(mediator);
        let runtime = runtime.supervise(tree).start().unwrap();
        for order in 0..5 {
            let eight = runtime.start::<Eight>(Begin { order }).wait().unwrap();
            assert_eq!(eight.ended::<u32>().wait().unwrap(), 28);
        }
        idle(&runtime);
        let handled = runtime.state::<Vec<u32>>("handler", "handled").unwrap();
        let each: Vec<u32> = (0..5).flat_map(|_| 0..8).collect();
        assert_eq!(handled, each);
        assert_eq!(runtime.shutdown(secs(20)).wait().unwrap().len(), 0);
        return;
    }
    let directory = Directory::new();
    let test = "what_is_handed_out_early_is_not_lost::whoever_waits_behind_a_command_that_is_not_on_disk_yet";
    let ran = Command::new("timeout")
        .args(["30", "strace", "-f", "-qq", "-o", "/dev/null"])
        .args(["-e", "inject=fdatasync:delay_enter=40000"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("CUELINE_EARLY_CHILD", directory.path())
        .output()
        .expect("`./test` installs strace");
    let [out, error] = [&ran.stdout, &ran.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(ran.status.success(), "{out}{error}");
}
