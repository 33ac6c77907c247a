//! What a workflow did is made up for if it fails: in reverse, once each, and until that succeeds.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use cueline::prelude::*;

use crate::world::{Directory, Does, World, does, undo, work};

fn fails() -> Does {
    does(|_, steps| async move {
        steps.call(work("a")).undo_with(undo("a")).await?;
        steps.call(work("b")).undo_with(undo("b")).await?;
        steps.call(work("refused")).undo_with(undo("refused")).await
    })
}

fn refuses(what: &str, _: u32) -> Outcome<String> {
    match what {
        "refused" => Err(Failure::permanent("no").reason("house_rules")),
        _ => Ok(what.to_uppercase()),
    }
}

#[test]
fn in_reverse_with_what_is_known() {
    for store in [Store::memory(), Directory::new().store()] {
        let world = World::new(store, fails(), refuses);
        let error = world.begin(1).ended::<String>().wait_at_most(secs(60)).unwrap_err();
        assert_eq!(error.kind(), cueline::ErrorKind::Failed);
        let failure = error.failure().unwrap();
        assert_eq!(
            (failure.chain(), failure.named_reason()),
            (&["no".to_owned()][..], Some("house_rules"))
        );
        assert_eq!(world.log.all(), ["a", "b", "undo b Some(\"B\")", "undo a Some(\"A\")"]);
        world.stop();
    }
}

#[test]
fn again_and_again_until_it_succeeds() {
    let times = AtomicU32::new(0);
    let world = World::new(Store::memory(), fails(), move |what, attempt| {
        // Its processor gives up after three.
        if what.starts_with("undo b") && times.fetch_add(1, SeqCst) < 4 {
            return Err(Failure::transient(format!("not now, {attempt}")));
        }
        refuses(what, 1)
    });
    world.begin(1).ended::<String>().wait_at_most(secs(60)).unwrap_err();
    assert_eq!(world.log.all(), ["a", "b", "undo b Some(\"B\")", "undo a Some(\"A\")"]);
    world.stop();
}

/// Somebody resumes it although it has not stopped: it goes on trying.
#[test]
fn resumed_while_it_waits_to_try_again_it_tries_again() {
    for store in [Store::memory(), Directory::new().store()] {
        let times = AtomicU32::new(0);
        let world = World::new(store, fails(), move |what, _| {
            if what.starts_with("undo b") && times.fetch_add(1, SeqCst) < 3 {
                return Err(Failure::transient("not now"));
            }
            refuses(what, 1)
        });
        let handle = world.begin(1);
        let failed = |line: &String| line.contains("not now");
        while !handle.report().unwrap().history.iter().any(failed) {
            std::thread::yield_now();
        }
        let ended = handle.ended::<String>();
        handle.resume().wait().unwrap();
        ended.wait_at_most(secs(60)).unwrap_err();
        assert_eq!(world.log.all(), ["a", "b", "undo b Some(\"B\")", "undo a Some(\"A\")"]);
        world.stop();
    }
}
