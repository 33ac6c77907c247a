//! Looks into the log of a cueline runtime, copies and mends it. `cueline-log --help`

use std::io::{BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;
use cueline::tools::{Command, run};

/// Looks into the log of a cueline runtime, also while that runs; copies it; and mends one that no
/// runtime has open.
#[derive(Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let done = run(&options.command, &mut out).and_then(|intact| out.flush().map(|()| intact));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        // A reader that has seen enough, as `head` has, is no error.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cueline-log: {error}");
            ExitCode::from(2)
        }
    }
}
