//! A file system for tests: it forgets, at any moment, what was not synced, as a power failure does;
//! or refuses.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile};

/// What one operation does instead of what it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The power fails before it: nothing is done from here on.
    Crash,
    /// It is refused with that error of the operating system.
    Refused(i32),
    /// A write that writes only half.
    Short,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    /// As whoever reads it sees it.
    live: Vec<u8>,
    /// As it is on disk for sure.
    durable: Vec<u8>,
    /// What was written since, in order.
    writes: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug, Clone)]
enum NameOp {
    Put(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    pending: Vec<NameOp>,
    done: u64,
    fault: Option<(Range<u64>, Fault)>,
    /// The process is killed before that operation.
    stops: Option<u64>,
    crashed: bool,
}

fn apply(names: &mut BTreeMap<String, usize>, op: &NameOp) {
    match op {
        NameOp::Put(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        NameOp::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        NameOp::Remove(name) => {
            names.remove(name);
        }
    }
}

fn put(into: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if into.len() < at + bytes.len() {
        into.resize(at + bytes.len(), 0);
    }
    into[at..at + bytes.len()].copy_from_slice(bytes);
}

impl State {
    /// One more operation that changes something. What it is to do instead, if anything.
    fn steps(&mut self) -> io::Result<Option<Fault>> {
        if self.crashed {
            return Err(io::Error::other("the power has failed"));
        }
        let here = self.done;
        self.done += 1;
        if self.stops.is_some_and(|stops| here >= stops) {
            return Err(io::Error::other("the process is killed"));
        }
        match self.fault.clone().filter(|(at, _)| at.contains(&here)) {
            None => Ok(None),
            Some((_, Fault::Crash)) => {
                self.crashed = true;
                Err(io::Error::other("the power fails"))
            }
            Some((_, Fault::Refused(code))) => Err(io::Error::from_raw_os_error(code)),
            Some((_, fault)) => Ok(Some(fault)),
        }
    }

    fn inode(&self, name: &str) -> io::Result<usize> {
        self.live.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Such a file system.
#[derive(Clone, Default)]
pub(crate) struct CrashDisk(Arc<Mutex<State>>);

impl CrashDisk {
    /// The operation of that number, counted from 0, is to go wrong.
    pub(crate) fn fails(&self, number: u64, fault: Fault) {
        self.fails_for(number..number + 1, fault);
    }

    /// As [`CrashDisk::fails`], several of them.
    pub(crate) fn fails_for(&self, numbers: Range<u64>, fault: Fault) {
        self.0.lock().fault = Some((numbers, fault));
    }

    /// From the operation of that number on nothing is done: the process is killed there.
    pub(crate) fn stops_at(&self, number: u64) {
        self.0.lock().stops = Some(number);
    }

    /// How many operations have changed something, or tried to.
    pub(crate) fn done(&self) -> u64 {
        self.0.lock().done
    }

    /// What the power failure left: what was synced, and of what was not an arbitrary part, each
    /// write torn at an arbitrary byte.
    pub(crate) fn after_crash(&self, random: &mut fastrand::Rng) -> Self {
        let state = self.0.lock();
        let mut names = state.durable.clone();
        let kept = random.usize(0..=state.pending.len());
        state.pending[..kept].iter().for_each(|op| apply(&mut names, op));
        // All of it, nothing, or any part.
        let whole = random.u8(0..4);
        let inodes = state.inodes.iter().map(|inode| {
            let mut durable = inode.durable.clone();
            for (at, bytes) in &inode.writes {
                let length = match whole {
                    0 => bytes.len(),
                    1 => 0,
                    _ if random.bool() => bytes.len(),
                    _ => random.usize(0..=bytes.len()),
                };
                put(&mut durable, *at, &bytes[..length]);
            }
            Inode { live: durable.clone(), durable, writes: Vec::new() }
        });
        let inodes = inodes.collect();
        let state = State { inodes, live: names.clone(), durable: names, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// What is left when the process is killed, and the machine runs on: all that was written.
    pub(crate) fn after_kill(&self) -> Self {
        let state = self.0.lock();
        let State { inodes, live, durable, pending, .. } = &*state;
        let state = State {
            inodes: inodes.clone(),
            live: live.clone(),
            durable: durable.clone(),
            pending: pending.clone(),
            ..State::default()
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Changes the bytes of a file behind everybody's back.
    pub(crate) fn damage(&self, name: &str, damage: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.lock();
        let Ok(inode) = state.inode(name) else { panic!("there is no {name}") };
        let inode = &mut state.inodes[inode];
        damage(&mut inode.live);
        inode.durable.clone_from(&inode.live);
        inode.writes.clear();
    }
}

struct CrashFile {
    disk: CrashDisk,
    inode: usize,
}

impl Disk for CrashDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.0.lock().inode(name)?;
        Ok(Arc::new(CrashFile { disk: self.clone(), inode }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock();
        state.steps()?;
        if state.live.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.live.insert(name.to_owned(), inode);
        state.pending.push(NameOp::Put(name.to_owned(), inode));
        Ok(Arc::new(CrashFile { disk: self.clone(), inode }))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().live.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.steps()?;
        state.inode(from)?;
        let op = NameOp::Rename(from.to_owned(), to.to_owned());
        apply(&mut state.live, &op);
        state.pending.push(op);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.steps()?;
        state.inode(name)?;
        let op = NameOp::Remove(name.to_owned());
        apply(&mut state.live, &op);
        state.pending.push(op);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.steps()?;
        state.durable = state.live.clone();
        state.pending.clear();
        Ok(())
    }
}

impl DiskFile for CrashFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().inodes[self.inode].live.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let state = self.disk.0.lock();
        let bytes = state.inodes[self.inode].live.get(at as usize..).unwrap_or_default();
        let length = bytes.len().min(into.len());
        into[..length].copy_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        let mut state = self.disk.0.lock();
        let written = match state.steps()? {
            Some(Fault::Short) => bytes.len().div_ceil(2),
            _ => bytes.len(),
        };
        let inode = &mut state.inodes[self.inode];
        put(&mut inode.live, at as usize, &bytes[..written]);
        inode.writes.push((at as usize, bytes[..written].to_vec()));
        Ok(written)
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.steps()?;
        let inode = &mut state.inodes[self.inode];
        let zeros = vec![0; (length as usize).saturating_sub(inode.live.len())];
        let at = inode.live.len();
        put(&mut inode.live, at, &zeros);
        inode.writes.push((at, zeros));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let refused = state.steps().err();
        if state.crashed {
            return Err(io::Error::other("the power has failed"));
        }
        let inode = &mut state.inodes[self.inode];
        let writes = std::mem::take(&mut inode.writes);
        match refused {
            None => writes.iter().for_each(|(at, bytes)| put(&mut inode.durable, *at, bytes)),
            // As Linux does it: what could not be written is taken for written from now on.
            Some(error) => return Err(error),
        }
        Ok(())
    }
}
