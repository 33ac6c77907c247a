//! The directory is another process's, a link, anybody's, or cannot be written to: rows 26 to 28.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cueline::ErrorKind;
use cueline::prelude::*;

use crate::support::{Directory, Log, Sum, adder, fine, idle, publish, start, stop};

fn try_start(path: &Path) -> Result<Runtime, Error> {
    let adder = adder("adder", &Log::default(), fine);
    let tests = Supervisor::new("tests").child(adder);
    Runtime::builder("test").store(Store::directory(path)).supervise(tests).start()
}

fn refused(path: &Path) -> Error {
    try_start(path).err().expect("it is refused")
}

/// A process that has the log open until it is killed.
fn holder(directory: &Directory) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "faults_of_the_place::fault_26_two_processes", "--nocapture"])
        .env("CUELINE_HOLDING_CHILD", directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.map_while(Result::ok).any(|line| line.contains("it is open")));
    child
}

#[test]
fn fault_26_two_processes() {
    if let Some(path) = std::env::var_os("CUELINE_HOLDING_CHILD") {
        let _runtime = try_start(Path::new(&path)).unwrap();
        println!("it is open");
        loop {
            std::thread::park();
        }
    }
    let directory = Directory::new("two");
    let mut child = holder(&directory);
    let error = refused(directory.path());
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("in use by another process"), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    // The kernel has given it back.
    let runtime = try_start(directory.path()).unwrap();
    assert_eq!(refused(directory.path()).kind(), ErrorKind::Conflict, "nor twice in one process");
    stop(runtime);
}

#[test]
fn fault_27_links_and_what_anybody_may_write() {
    // A link to the directory is followed once.
    let (directory, link) = (Directory::new("linked"), Directory::new("link"));
    std::fs::create_dir(directory.path()).unwrap();
    symlink(directory.path(), link.path()).unwrap();
    let runtime = start(&link, |of| of.child(adder("adder", &Log::default(), fine)));
    std::fs::remove_file(link.path()).unwrap();
    let elsewhere = Directory::new("elsewhere");
    std::fs::create_dir(elsewhere.path()).unwrap();
    symlink(elsewhere.path(), link.path()).unwrap();
    publish(&runtime, 0..100);
    idle(&runtime);
    stop(runtime);
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0, "nobody is led there");
    std::fs::remove_file(link.path()).unwrap();

    // Files are not.
    let target = elsewhere.path().join("target");
    for name in ["0000000000000000.log", "cueline.lock", "cueline.inflight"] {
        let planted = Directory::new("planted");
        std::fs::create_dir(planted.path()).unwrap();
        std::fs::write(&target, "mine").unwrap();
        symlink(&target, planted.path().join(name)).unwrap();
        let error = refused(planted.path());
        assert_eq!(error.kind(), ErrorKind::Storage, "{name}: {error}");
        assert_eq!(std::fs::read(&target).unwrap(), b"mine", "{name}");
    }

    let anybodys = Directory::new("anybodys");
    std::fs::create_dir(anybodys.path()).unwrap();
    std::fs::set_permissions(anybodys.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let error = refused(anybodys.path());
    assert!(error.to_string().contains("chmod o-w"), "{error}");

    // What it makes itself is nobody else's.
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let own = Directory::new("own");
    stop(try_start(own.path()).unwrap());
    assert_eq!(mode(own.path()), 0o700);
    assert_eq!(mode(&own.path().join("0000000000000000.log")), 0o600);
}

fn mount(arguments: &[&str], at: &Path) {
    assert!(Command::new("mount").args(arguments).arg(at).status().unwrap().success());
}

struct Mounted(Directory);

impl Drop for Mounted {
    fn drop(&mut self) {
        Command::new("umount").arg(self.0.path()).status().ok();
    }
}

#[test]
fn fault_28_a_read_only_file_system() {
    let mounted = Mounted(Directory::new("read-only"));
    let path = mounted.0.path();
    std::fs::create_dir(path).unwrap();
    mount(&["-t", "tmpfs", "-o", "size=256m,mode=700", "tmpfs"], path);
    let log = path.join("log");
    let runtime = try_start(&log).unwrap();
    publish(&runtime, 0..100);
    idle(&runtime);
    stop(runtime);
    mount(&["-o", "remount,ro"], path);
    let error = refused(&log);
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("Read-only file system"), "{error}");
    assert!(error.to_string().contains(log.to_str().unwrap()), "{error}");
    mount(&["-o", "remount,rw"], path);
    let runtime = try_start(&log).unwrap();
    idle(&runtime);
    assert_eq!(runtime.state::<Sum>("adder", "all").unwrap().events, 100);
    stop(runtime);
}
