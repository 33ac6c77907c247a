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
    // Whoever is in hand at two deaths in a row has caused them, as far as anybody knows, and is parked: each life
    // gets further than the one command that it begins with.
    for (life, dies_at) in [1, 3, 50, 120, 130, 300, 500, total - 1].into_iter().enumerate() {
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

struct Adds;
impl Workflow for Adds {
    const NAME: &'static str = "adds";
    type Input = (String, u32);
    type Output = String;
    type Expects = ();
    fn key((id, _): &Self::Input) -> Option<Key> {
        Some(id.as_str().into())
    }
    async fn run(&self, (_, by): Self::Input, steps: Steps) -> Outcome<String> {
        for _ in 0..by {
            steps.call(work("+1")).await?;
        }
        Ok(format!("+{by}"))
    }
}

/// R-kill: whoever does not know whether it was begun begins it once more, under the same key.
#[test]
fn a_client_tries_again() {
    let adds = || Mediator::for_domain("domain").workflow(Adds);
    let add = |world: &World, id: &str, by| {
        let started = world.runtime.start::<Adds>((id.to_owned(), by));
        started.wait().unwrap().ended::<String>().wait_at_most(secs(60)).unwrap()
    };
    if let Some(path) = std::env::var_os("CUELINE_WORKFLOWS_CHILD") {
        let store = Store::directory(std::path::Path::new(&path)).into();
        let world = World::with(store, adds(), refuses);
        assert_eq!(add(&world, "first", 1), "+1");
        let second = world.runtime.start::<Adds>(("second".into(), 2));
        if std::env::var_os("CUELINE_BEGINS").is_some() {
            second.wait().unwrap();
        }
        std::process::abort();
    }
    for begins in [true, false] {
        let directory = Directory::new();
        let mut child = Command::new(std::env::current_exe().unwrap());
        if begins {
            child.env("CUELINE_BEGINS", "");
        }
        let child = child
            .args(["--exact", "a_crash_changes_nothing::a_client_tries_again", "--nocapture"])
            .env("CUELINE_WORKFLOWS_CHILD", directory.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(!said.contains("panicked"), "{said}");
        let world = World::with(directory.store(), adds(), refuses);
        for _ in 0..2 {
            assert_eq!(add(&world, "first", 1), "+1");
            assert_eq!(add(&world, "second", 2), "+2");
        }
        assert_eq!(world.works(), 3, "each was done once");
        world.stop();
    }
}
