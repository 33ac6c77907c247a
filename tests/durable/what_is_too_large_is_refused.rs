//! Row 50 of the faults: what is too large for a log is refused with an error that says so, and what is
//! just not too large is kept, also when it is larger than a segment.

use cueline::prelude::*;
use cueline::{ErrorKind, ParkedEvent};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::support::{Directory, idle, stop};

const MIB: usize = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Picture(String);
cueline::event!(Picture, "picture");

#[derive(Serialize, Deserialize)]
struct Wanted(usize);
cueline::event!(Wanted, "picture.wanted");

fn picture(bytes: usize) -> Picture {
    Picture("x".repeat(bytes))
}

/// Paints pictures as large as they are wanted.
struct Painter;
impl Processor for Painter {}
impl Handle<Wanted> for Painter {
    async fn handle(&mut self, event: &Wanted, cx: &mut Context) -> Outcome {
        for part in 0..event.0.div_ceil(8 * MIB) {
            cx.publish(picture((event.0 - part * 8 * MIB).min(8 * MIB)));
        }
        Ok(())
    }
}

/// Keeps one that is as large as it is wanted.
struct Keeper;
impl Processor for Keeper {}
impl Handle<Wanted> for Keeper {
    async fn handle(&mut self, event: &Wanted, cx: &mut Context) -> Outcome {
        *cx.state::<String>("picture")? = picture(event.0).0;
        Ok(())
    }
}

type Sizes = Arc<Mutex<Vec<usize>>>;

struct Gallery(Sizes);
impl Processor for Gallery {}
impl Handle<Picture> for Gallery {
    async fn handle(&mut self, event: &Picture, _: &mut Context) -> Outcome {
        self.0.lock().push(event.0.len());
        Ok(())
    }
}

fn start(store: impl Into<Store>, sizes: &Sizes) -> Runtime {
    let sizes = sizes.clone();
    let tree = Supervisor::new("museum")
        .child(processor("painter", || Painter).on::<Wanted>())
        .child(processor("keeper", || Keeper).on::<Wanted>())
        .child(processor("gallery", move || Gallery(sizes.clone())).on::<Picture>());
    Runtime::builder("museum").store(store).supervise(tree).start().unwrap()
}

#[test]
fn fault_50_what_is_too_large_is_refused_and_harms_nobody() {
    let (directory, sizes) = (Directory::new("too-large"), Sizes::default());
    let runtime = start(Store::directory(directory.path()), &sizes);
    match runtime.publish(picture(17 * MIB)).wait() {
        Err(Refused::Invalid(Picture(given_back), error)) => {
            assert_eq!((given_back.len(), error.kind()), (17 * MIB, ErrorKind::TooLarge));
            assert!(error.to_string().contains("`picture` of more than 16 MiB"), "{error}");
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
    let mut batch = runtime.batch();
    for _ in 0..5 {
        batch.add(picture(12 * MIB)).unwrap();
    }
    let refused = batch.add(picture(12 * MIB)).unwrap_err();
    assert!(refused.to_string().contains("a batch of more than 64 MiB"), "{refused}");
    assert_eq!(batch.len(), 5, "what was there is there");
    drop(batch);
    // A handler that publishes, or keeps, too much has failed for good.
    runtime.publish(Wanted(80 * MIB)).wait().unwrap();
    idle(&runtime);
    let mut parked: Vec<ParkedEvent> = runtime.parked();
    parked.sort_by(|one, other| one.processor.cmp(&other.processor));
    let said: Vec<_> = parked.iter().map(|of| (&*of.processor, of.chain.join(" "))).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].1.contains("a state `alloc::string::String` of more than 16 MiB"), "{said:?}");
    assert!(said[1].1.contains("what one event has published of more than 64 MiB"), "{said:?}");
    assert_eq!(*sizes.lock(), Vec::<usize>::new());
    runtime.publish(picture(3)).wait().unwrap();
    idle(&runtime);
    assert_eq!(*sizes.lock(), [3]);
    stop(runtime);
}

/// Segments are of 32 MiB, or of one where the log is limited.
#[test]
fn what_is_larger_than_a_segment_is_kept_in_one_piece() {
    for limit in [None, Some(512 * MIB as u64 / 32)] {
        let (directory, sizes) = (Directory::new("large"), Sizes::default());
        let store = || {
            let store = Store::directory(directory.path());
            limit.map_or(store.clone(), |limit| store.limit(limit))
        };
        let most = if limit.is_some() { 5 * MIB } else { 40 * MIB };
        let runtime = start(store(), &sizes);
        runtime.pause("gallery").unwrap();
        let mut batch = runtime.batch();
        batch.add(picture(1)).unwrap();
        for _ in 0..4 {
            batch.add(picture(most / 4)).unwrap();
        }
        batch.publish().wait().unwrap();
        runtime.publish(picture(2)).wait().unwrap();
        stop(runtime);
        let runtime = start(store(), &sizes);
        idle(&runtime);
        let expected = [1, most / 4, most / 4, most / 4, most / 4, 2];
        assert_eq!(*sizes.lock(), expected);
        runtime.publish(picture(4)).wait().unwrap();
        idle(&runtime);
        assert_eq!(sizes.lock().last(), Some(&4));
        stop(runtime);
    }
}
