//! The few things that the log asks of a file system: the seam where tests put one that crashes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

/// A folder with files in it, and nothing below.
pub(crate) trait Disk: Send + Sync {
    /// Opens a file that is there.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a file that is not there.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Gives a file another name, in place of the one that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Returns when all changes of names are on disk.
    fn sync_names(&self) -> io::Result<()>;
    /// Whether the process may open some more files than it has to, so that those it has to can be.
    fn may_open_more(&self) -> bool {
        true
    }
}

/// A file, read and written at places, by several threads at a time.
pub(crate) trait DiskFile: Send + Sync {
    fn length(&self) -> io::Result<u64>;
    /// Under how many names it is there: a backup may have another one.
    fn links(&self) -> io::Result<u64> {
        Ok(1)
    }
    /// Reads from a place; less than asked for is no error.
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes at a place; less than asked for is no error.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize>;
    /// Makes the file so long, with its room on disk.
    fn reserve(&self, length: u64) -> io::Result<()>;
    /// Returns when all that was written is on disk.
    fn sync(&self) -> io::Result<()>;
}

/// Writes all of it.
pub(crate) fn write_all(file: &dyn DiskFile, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, at) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written.min(bytes.len())..];
                at += written as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads as much as there is, up to so many bytes.
pub(crate) fn read_up_to(file: &dyn DiskFile, at: u64, most: usize) -> io::Result<Vec<u8>> {
    let there = usize::try_from(file.length()?.saturating_sub(at)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; most.min(there)];
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], at + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}

/// The process, or the system, has too many files open.
pub(super) fn is_too_many(error: &io::Error) -> bool {
    [libc::EMFILE, libc::ENFILE].map(Some).contains(&error.raw_os_error())
}

/// A folder of the real file system.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// The folder itself, to sync its names.
    folder: File,
    /// Files that are open for nothing: where the process may open no more, they make room for what is
    /// needed to work off what is there.
    reserve: Mutex<Vec<File>>,
}

/// So many.
const RESERVED: usize = 8;

impl Folder {
    /// The folder is made if it is not there; its path must not change afterwards.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if !path.exists() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            // It is there after a crash only if its parent says so.
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
        }
        let path = path.canonicalize()?;
        let folder = File::open(&path)?;
        if folder.metadata()?.mode() & 0o002 != 0 {
            let text = "anybody may write to it: take that away with `chmod o-w`";
            return Err(io::Error::new(ErrorKind::PermissionDenied, text));
        }
        Ok(Self { path, folder, reserve: Mutex::default() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A file beside the log, which is made if it is not there.
    pub(crate) fn file(&self, name: &str) -> io::Result<File> {
        Self::options().create(true).truncate(false).open(self.path.join(name))
    }

    /// Opens something, at the expense of the reserve if it must.
    fn opens<T>(&self, mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match open() {
                Err(error) if is_too_many(&error) => {
                    if self.reserve.lock().pop().is_none() {
                        return Err(error);
                    }
                }
                opened => return opened,
            }
        }
    }

    fn options() -> OpenOptions {
        let mut options = OpenOptions::new();
        // Nobody is led elsewhere by a link in the folder.
        options.read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).mode(0o600);
        options
    }
}

impl Disk for Folder {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.opens(|| Self::options().open(self.path.join(name)))?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = Self::options();
        options.create_new(true);
        Ok(Arc::new(self.opens(|| options.open(self.path.join(name)))?))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let entries = self.opens(|| fs::read_dir(&self.path))?;
        // A name that is no text is none of ours.
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.folder.sync_all()
    }

    fn may_open_more(&self) -> bool {
        let mut reserve = self.reserve.lock();
        while reserve.len() < RESERVED {
            let Ok(file) = self.folder.try_clone() else { return false };
            reserve.push(file);
        }
        true
    }
}

impl DiskFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn links(&self) -> io::Result<u64> {
        Ok(self.metadata()?.nlink())
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, into, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, at)
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(self, rustix::fs::FallocateFlags::empty(), 0, length) {
            Ok(()) => Ok(()),
            // Not every file system can.
            Err(rustix::io::Errno::OPNOTSUPP) => self.set_len(length),
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
