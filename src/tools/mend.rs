//! What changes a log: a decision about what is damaged, and room that is given back at once. For a log
//! that no runtime has open.

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::queue::Restored;
use crate::store::file::disk::{Disk, Folder};
use crate::store::file::facts::{Facts, number_in};
use crate::store::file::keeper::{Floor, Keeper, Pace};
use crate::store::file::lock::{Lock, lock};
use crate::store::file::log::{Commit, Log, Sizes};
use crate::store::file::record::{FactKind, put_fact};
use crate::store::file::recovery::{Found, Lost, open_with_facts};
use crate::store::file::retained::retained;
use crate::store::file::segment::{segment_name, segment_number};
use crate::store::file::spares::Spares;

/// A log that nobody else has open.
struct Opened {
    disk: Arc<dyn Disk>,
    log: Log,
    found: Found,
    facts: Facts,
    sizes: Sizes,
    _lock: Lock,
}

impl Opened {
    fn at(directory: &Path) -> io::Result<Self> {
        let nothing = |what: &str| {
            let text = format!("{what} {}", directory.display());
            io::Error::new(ErrorKind::NotFound, text)
        };
        if !directory.is_dir() {
            return Err(nothing("there is no directory"));
        }
        let folder = Folder::open(directory)?;
        let newest = folder.names()?.iter().filter_map(|name| segment_number(name)).max();
        let newest = newest.ok_or_else(|| nothing("there is no log in"))?;
        let lock = lock(&folder).map_err(io::Error::other)?;
        let disk: Arc<dyn Disk> = Arc::new(folder);
        // As large as the runtime makes them.
        let segment = disk.open(&segment_name(newest))?.length()?;
        let sizes = Sizes { segment, ..Sizes::default() };
        let opened = open_with_facts(&disk, sizes);
        let (log, found, facts) =
            opened.map_err(|why| io::Error::other(format!("cannot read the log: {why}")))?;
        Ok(Self { disk, log, found, facts, sizes, _lock: lock })
    }

    fn unaccepted(&self) -> Vec<Lost> {
        let mut lost = self.found.lost.clone();
        lost.retain(|lost| !lost.is_accepted(&self.facts));
        lost
    }
}

/// Somebody decides to go on without what is lost.
pub(super) fn accept_loss(directory: &Path, out: &mut impl Write) -> io::Result<bool> {
    let mut opened = Opened::at(directory)?;
    let lost = opened.unaccepted();
    if lost.is_empty() {
        writeln!(out, "nothing is lost that had not been accepted before")?;
        return Ok(true);
    }
    let (mut records, now) = (Vec::new(), Timestamp::now().as_millis());
    for lost in &lost {
        let (from, to) = lost.gap.frames;
        writeln!(
            out,
            "accepted    {:016x}.log from {} to {}: {} commits",
            lost.segment,
            lost.gap.from,
            lost.gap.to,
            to - from
        )?;
        put_fact(&mut records, &lost.name(), &now.to_le_bytes());
    }
    let next = opened.log.next();
    let commit = Commit { records: &records, first: next, next };
    opened.log.keep(commit, now)?;
    writeln!(out, "the runtime starts again, without what was in them")?;
    Ok(true)
}

/// Gives back what nobody needs, without waiting until it is worth it.
pub(super) fn compact(directory: &Path, out: &mut impl Write) -> io::Result<bool> {
    let opened = Opened::at(directory)?;
    if !opened.unaccepted().is_empty() {
        return Err(io::Error::other(
            "the log is damaged: restore a backup, or go on without what is lost by `cueline-log \
             accept-loss`, before anything of it is given back",
        ));
    }
    let Opened { disk, log, found, facts, sizes, _lock } = opened;
    let (tell, _told) = crossbeam_channel::bounded(1);
    let floor = Floor::new(tell);
    let numbers = facts.of(FactKind::Subscription);
    let numbers = numbers.filter_map(|(mut name, _)| number_in(&mut name).ok());
    let needs = numbers.filter_map(|number| Some(Restored::read(&facts, number)?.needs().0));
    floor.set(needs.min().unwrap_or(log.next()));
    let spares = Spares::new(disk.clone(), sizes.segment, None);
    let (random, newest) = (fastrand::Rng::new(), found.checkpoints);
    let keeper = Keeper::new(disk, log.segments(), Pace::default(), random, newest, floor, spares);
    let mut keeper = keeper.retain(retained(&facts)).thrifty();
    let before = (keeper.used(), log.segments().count());
    keeper.clear()?;
    loop {
        let known = (keeper.checkpoint(), keeper.copied(), log.segments().count());
        keeper.look(log.time().max(Timestamp::now().as_millis()), &mut || Ok(()))?;
        if (keeper.checkpoint(), keeper.copied(), log.segments().count()) == known {
            break;
        }
    }
    writeln!(
        out,
        "{} segments of {} bytes before, {} segments of {} bytes now, {} bytes written anew",
        before.1,
        before.0,
        log.segments().count(),
        keeper.used(),
        keeper.copied()
    )?;
    Ok(true)
}
