//! A copy of a log, made while a runtime writes it: what is full is linked, the end copied. A runtime
//! writes to no file that has a second name.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use super::look::Looked;
use crate::store::file::segment::segment_number;

/// Segments and checkpoints may come and go meanwhile: how often it is begun anew then.
const ATTEMPTS: u32 = 10;

/// Makes a copy. True if it is whole.
pub(super) fn backup(from: &Path, to: &Path, out: &mut impl Write) -> io::Result<bool> {
    if !from.is_dir() {
        let text = format!("{} is no directory", from.display());
        return Err(io::Error::new(ErrorKind::NotFound, text));
    }
    fs::create_dir_all(to)?;
    if fs::read_dir(to)?.next().is_some() {
        let text =
            format!("{} is not empty: name a directory that is, or is not there", to.display());
        return Err(io::Error::new(ErrorKind::AlreadyExists, text));
    }
    for attempt in 1.. {
        let bytes = copy(from, to)?;
        let copied = Looked::at(to, |_, _| Ok(()));
        let whole = copied.as_ref().is_ok_and(|copied| copied.problems.is_empty());
        if !whole && attempt < ATTEMPTS {
            clear(to)?;
            continue;
        }
        let copied = copied?;
        writeln!(
            out,
            "{} segments, {bytes} bytes, up to position {}",
            copied.segments.len(),
            copied.next
        )?;
        if !whole {
            writeln!(
                out,
                "it is damaged, as the log itself may be: see `cueline-log verify` of both"
            )?;
        }
        return Ok(whole);
    }
    Ok(false)
}

/// Takes away what an attempt has made.
fn clear(to: &Path) -> io::Result<()> {
    fs::read_dir(to)?.try_for_each(|entry| fs::remove_file(entry?.path()))
}

/// One attempt; how many bytes it is.
fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    let mut names = Vec::new();
    for entry in fs::read_dir(from)? {
        names.extend(entry?.file_name().into_string());
    }
    names.retain(|name| segment_number(name).is_some() || name.ends_with(".checkpoint"));
    // Checkpoints first: what they say nothing of is there still when the segments are taken.
    names.sort_unstable_by_key(|name| segment_number(name));
    // The last one is written to; the one before it may have been when they were listed.
    let growing = names.len().saturating_sub(2);
    let mut bytes = 0;
    for (number, name) in names.iter().enumerate() {
        let (source, target) = (from.join(name), to.join(name));
        let grows = number >= growing && segment_number(name).is_some();
        let linked = if grows {
            Err(ErrorKind::Unsupported.into())
        } else {
            fs::hard_link(&source, &target)
        };
        let copied = match linked {
            Ok(()) => Ok(fs::metadata(&target)?.len()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(error),
            // Another file system, or one without links.
            Err(_) => fs::copy(&source, &target).and_then(|bytes| {
                File::open(&target)?.sync_all()?;
                Ok(bytes)
            }),
        };
        match copied {
            Ok(more) => bytes += more,
            // It was given back meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    File::open(to)?.sync_all()?;
    Ok(bytes)
}
