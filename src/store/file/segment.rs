//! A segment: a file of the log, and what is known of it.

use std::sync::{Arc, OnceLock};

use super::disk::DiskFile;
use super::layout::SegmentHead;
use super::needed::Index;

/// A segment of the log.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) head: SegmentHead,
    pub(crate) file: Arc<dyn DiskFile>,
    /// How many of its bytes are in use.
    pub(crate) length: u64,
    /// Whatever stands there from that commit on was cut, and is in another segment, or nowhere.
    pub(super) ends: u64,
    /// What it holds, if somebody has looked; only when nothing more is written to it, and all of it could
    /// be read.
    pub(super) index: Arc<OnceLock<Index>>,
}

impl Segment {
    pub(crate) fn new(head: SegmentHead, file: Arc<dyn DiskFile>, length: u64) -> Self {
        Self { head, file, length, ends: u64::MAX, index: Arc::default() }
    }

    pub(super) fn index(&self) -> Option<&Index> {
        self.index.get()
    }

    pub(super) fn has(&self, index: Index) {
        self.index.set(index).ok(); // the same
    }
}

/// The name of a segment's file.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:016x}.log")
}

/// The number of the segment with that name, if it is one.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".log").filter(|number| number.len() == 16)?;
    let number = u64::from_str_radix(number, 16).ok()?;
    (segment_name(number) == name).then_some(number)
}
