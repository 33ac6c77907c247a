//! Whenever the process is killed, workflows go on where they were, and no recorded step runs twice.

use std::process::Command;

use cueline::prelude::*;

use crate::world::{Begin, Directory, Does, World, does, undo, work};

fn saga() -> Does {
    does(|begin, steps| async move {
        let order = begin.order;
        steps.call(work("a")).undo_with(undo("a")).await?;
        let (b, c) = tokio::join!(steps.call(work("b")), steps.call(work("c")));
        b?;
        c?;
        steps.sleep(millis(1)).await?;
        if order % 5 == 0 {
            steps.call(work("refused")).await?;
        }
        steps.call(work("d")).await
    })
}

fn refuses(what: &str, _: u32) -> Outcome<String> {
    if what == "refused" { Err(Failure::permanent("no")) } else { Ok(what.to_owned()) }
}

const WORKFLOWS: u32 = 200;

#[test]
fn kill() {
    if let Some(path) = std::env::var_os("CUELINE_WORKFLOWS_CHILD") {
        let world =
            World::new(Store::directory(std::path::Path::new(&path)).into(), saga(), refuses);
        if std::env::var_os("CUELINE_BEGINS").is_some() {
            world.runtime.publish_all((0..WORKFLOWS).map(|order| Begin { order })).wait().unwrap();
        }
        let failed = world.failed.clone();
        let dies_at: u32 = std::env::var("CUELINE_DIES_AT").unwrap().parse().unwrap();
        while world.works() < dies_at {
            std::thread::yield_now();
        }
        let unlucky = failed.all().into_iter().filter(|cause| *cause != "permanent");
        println!("{:?}", unlucky.collect::<Vec<_>>());
        std::process::abort();
    }
    let directory = Directory::new();
    let total = WORKFLOWS * 4 - WORKFLOWS / 5;
    for (life, dies_at) in [1, 3, 50, 120, 121, 300, 500, total - 1].into_iter().enumerate() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        if life == 0 {
            child.env("CUELINE_BEGINS", "");
        }
        let child = child
            .args(["--exact", "a_crash_changes_nothing::kill", "--nocapture"])
            .env("CUELINE_WORKFLOWS_CHILD", directory.path())
            .env("CUELINE_DIES_AT", dies_at.to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(!said.contains("panicked"), "{said}");
        eprintln!("{dies_at}: {said}");
    }
    let world = World::new(directory.store(), saga(), refuses);
    world.idle();
    // Whoever sleeps is not waited for by that.
    while !world.runtime.workflows(|_| true).is_empty() {
        std::thread::yield_now();
    }
    world.idle();
    let last = world.failed.all();
    assert_eq!(world.works(), total, "{last:?}");
    world.stop();
}
