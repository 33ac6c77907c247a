//! What the log is held against: a plain group-commit segment writer with a thread of its own. It takes
//! all that waits, writes it once, syncs once if it is to, and answers all.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use crossbeam_channel::Sender;
use tokio::sync::oneshot;

const SEGMENT: u64 = 32 << 20;

/// `B` is what is written together: some events.
pub struct PlainWriter<B> {
    path: PathBuf,
    send: Sender<(B, oneshot::Sender<()>)>,
    thread: JoinHandle<()>,
}

impl<B: IntoIterator<Item = Vec<u8>> + Send + 'static> PlainWriter<B> {
    pub fn begin(path: PathBuf, syncs: bool) -> Self {
        let (send, take) = crossbeam_channel::unbounded::<(B, oneshot::Sender<()>)>();
        let at = path.clone();
        let thread = std::thread::spawn(move || {
            let mut number = 0;
            let (mut file, mut end) = (segment(&at, &mut number), 0);
            let (mut buffer, mut waiting) = (Vec::new(), Vec::new());
            while let Ok(first) = take.recv() {
                for (batch, done) in std::iter::once(first).chain(take.try_iter()) {
                    for bytes in batch {
                        buffer.extend((bytes.len() as u32).to_le_bytes());
                        buffer.extend(crc32c::crc32c(&bytes).to_le_bytes());
                        buffer.extend(bytes);
                    }
                    waiting.push(done);
                }
                if end + buffer.len() as u64 > SEGMENT {
                    (file, end) = (segment(&at, &mut number), 0);
                }
                file.write_all_at(&buffer, end).unwrap();
                if syncs {
                    file.sync_data().unwrap();
                }
                end += buffer.len() as u64;
                buffer.clear();
                waiting.drain(..).for_each(|done| done.send(()).unwrap());
            }
        });
        Self { path, send, thread }
    }

    /// Resolves when it is written.
    pub fn write(&self, batch: B) -> oneshot::Receiver<()> {
        let (done, kept) = oneshot::channel();
        self.send.send((batch, done)).unwrap();
        kept
    }

    pub fn end(self) {
        drop(self.send);
        self.thread.join().unwrap();
        std::fs::remove_dir_all(self.path).unwrap();
    }
}

/// A file with its room on disk.
pub fn segment(path: &Path, number: &mut u32) -> File {
    *number += 1;
    let file = File::create_new(path.join(number.to_string())).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, SEGMENT).unwrap();
    file.sync_all().unwrap();
    file
}
