//! Generated workflows under generated interleavings and crashes: what they come to is the same as without
//! crashes, and a step says the same however often it is begun. [`program`] is what they do, [`world`] all
//! around them.

#![allow(clippy::unwrap_used)]

mod program;
mod world;

use proptest::prelude::*;

use crate::message::{Key, codec};
use program::{Said, program};
use world::live;

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn crashes_change_nothing(program in program(), seed: u64, one_in in 1u8..8) {
        let without = live(&program, seed, None);
        let with = live(&program, seed, Some(one_in));
        prop_assert_eq!(&without.fault, &None);
        prop_assert!(without.end.is_some(), "it comes to an end");
        prop_assert_eq!(&with.fault, &None);
        prop_assert_eq!(without.end, with.end);
        prop_assert_eq!(without.recorded, with.recorded);
        prop_assert_eq!(without.sent, with.sent);
        prop_assert_eq!(without.entries, with.entries);
        prop_assert_eq!(without.shown, with.shown);
        prop_assert_eq!(without.anew, with.anew);
    }

    /// The checker sees it: another program with the same history is found out, or does the same.
    #[test]
    fn other_code_is_found_out(program in program(), other in program(), seed: u64) {
        let mut world = live(&program, seed, None);
        if world.recorded.is_empty() {
            return Ok(());
        }
        world.input = codec::encode(&other).unwrap();
        let found = world.load().take();
        if found.fault.is_none() {
            // It differs where nothing stands in the history yet.
            let again = world.load().take();
            prop_assert_eq!(again.begun, found.begun);
        } else {
            let nothing = found.effects.is_empty() && found.begun.is_empty() && found.end.is_none();
            prop_assert!(nothing, "it does nothing more");
        }
    }
}

fn cases() -> u32 {
    std::env::var("CUELINE_WORKFLOWS").ok().and_then(|cases| cases.parse().ok()).unwrap_or(20_000)
}

/// Its key is of no use to it.
#[test]
fn a_key_is_what_it_says() {
    assert_eq!(Said(3).0.to_string(), Key::from(3u64).as_str());
}
