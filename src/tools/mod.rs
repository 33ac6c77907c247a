//! What `cueline-log` does: it looks into the log of a runtime, also while that runs, copies it, and
//! mends one that no runtime has open.

mod backup;
mod look;
mod mend;

use std::io::{self, Write};
use std::path::PathBuf;

use look::{Looked, Problem};

/// What somebody asks of a log.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// What is in the directory: checkpoints, segments, channels, subscriptions.
    Inspect {
        /// The directory of a runtime's log.
        directory: PathBuf,
    },
    /// Reads everything and says what is damaged, by segment and place. Exit code 1 if anything is.
    Verify {
        /// The directory of a runtime's log.
        directory: PathBuf,
    },
    /// Events by channel, and how far each subscription is behind.
    Stats {
        /// The directory of a runtime's log.
        directory: PathBuf,
    },
    /// The events, one line each: position, time, channel, id, key, and what they say.
    Tail {
        /// The directory of a runtime's log.
        directory: PathBuf,
        /// Only those of that channel.
        #[arg(long)]
        channel: Option<String>,
        /// Only the last so many; all with 0.
        #[arg(long, default_value_t = 20)]
        last: usize,
    },
    /// The events, one a line.
    Export {
        /// The directory of a runtime's log.
        directory: PathBuf,
        /// As JSON objects; there is no other form yet, so it may be left out.
        #[arg(long)]
        json: bool,
        /// Only those of that channel.
        #[arg(long)]
        channel: Option<String>,
    },
    /// Copies the log to another directory, also while a runtime runs; a runtime may be started with the
    /// copy. Full segments are linked where the file system can.
    Backup {
        /// The directory of a runtime's log.
        directory: PathBuf,
        /// Where the copy goes: an empty directory, or one that is not there.
        to: PathBuf,
    },
    /// Gives back what nobody needs any more, at once. Not while a runtime runs.
    Compact {
        /// The directory of a runtime's log.
        directory: PathBuf,
    },
    /// Decides to go on without what is damaged: the runtime, which refuses to start, starts again. Not
    /// while a runtime runs.
    AcceptLoss {
        /// The directory of a runtime's log.
        directory: PathBuf,
    },
}

/// Does it. True if nothing is damaged.
///
/// # Errors
///
/// A directory that cannot be read, an output that cannot be written.
pub fn run(command: &Command, out: &mut impl Write) -> io::Result<bool> {
    match command {
        Command::Inspect { directory } => {
            let looked = Looked::at(directory, |_, _| Ok(()))?;
            inspect(&looked, out)?;
            say(&looked, out)
        }
        Command::Verify { directory } => {
            let looked = Looked::at(directory, |_, _| Ok(()))?;
            let intact = say(&looked, out)?;
            if intact {
                writeln!(
                    out,
                    "{} frames in {} segments, all right",
                    looked.frames,
                    looked.segments.len()
                )?;
            }
            Ok(intact)
        }
        Command::Backup { directory, to } => backup::backup(directory, to, out),
        Command::Compact { directory } => mend::compact(directory, out),
        Command::AcceptLoss { directory } => mend::accept_loss(directory, out),
        Command::Stats { directory } => {
            let looked = Looked::at(directory, |_, _| Ok(()))?;
            stats(&looked, out)?;
            Ok(looked.problems.is_empty())
        }
        Command::Tail { directory, channel, last } => {
            let mut lines = std::collections::VecDeque::new();
            let looked = Looked::at(directory, |event, _| {
                if channel.as_ref().is_none_or(|wanted| *wanted == event.channel) {
                    lines.push_back(event.line());
                    if *last > 0 && lines.len() > *last {
                        lines.pop_front();
                    }
                }
                Ok(())
            })?;
            lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
            Ok(looked.problems.is_empty())
        }
        Command::Export { directory, json: _, channel } => {
            let looked = Looked::at(directory, |event, _| {
                match channel.as_ref().is_none_or(|wanted| *wanted == event.channel) {
                    true => writeln!(out, "{}", event.json()),
                    false => Ok(()),
                }
            })?;
            Ok(looked.problems.is_empty())
        }
    }
}

fn inspect(looked: &Looked, out: &mut impl Write) -> io::Result<()> {
    for (name, bytes) in &looked.checkpoints {
        writeln!(out, "checkpoint  {name}  {bytes} bytes")?;
    }
    for segment in &looked.segments {
        writeln!(
            out,
            "segment     {:016x}  from position {}  {} frames  {} bytes in use",
            segment.number, segment.first, segment.frames, segment.bytes
        )?;
    }
    stats(looked, out)
}

fn stats(looked: &Looked, out: &mut impl Write) -> io::Result<()> {
    for (channel, (events, bytes)) in &looked.channels {
        writeln!(out, "channel     {channel}  {events} events  {bytes} bytes")?;
    }
    writeln!(out, "next        position {}", looked.next)?;
    for (name, of) in &looked.subscriptions {
        writeln!(
            out,
            "processor   {name}  at position {}  {} behind  {} held  {} parked  {} states",
            of.to,
            looked.next.saturating_sub(of.to),
            of.held,
            of.parked,
            of.states
        )?;
    }
    Ok(())
}

/// What is wrong. True if nothing is.
fn say(looked: &Looked, out: &mut impl Write) -> io::Result<bool> {
    for problem in &looked.problems {
        match problem {
            Problem::Checkpoint(name) => writeln!(
                out,
                "DAMAGED     checkpoint {name}: the one before it and the segments since are used"
            )?,
            Problem::Head(number) => {
                writeln!(out, "DAMAGED     segment {number:016x}: its head cannot be read")?;
            }
            Problem::Gap { segment, from, to, frames } => writeln!(
                out,
                "DAMAGED     segment {segment:016x}: bytes {from} to {to}, {frames} frames lost"
            )?,
            Problem::Missing { before, frames } => {
                writeln!(
                    out,
                    "MISSING     before segment {before:016x}: {frames} frames, at most"
                )?;
            }
            Problem::NoFacts(number) => writeln!(
                out,
                "DAMAGED     segment {number:016x}: written anew, and no checkpoint here has its facts"
            )?,
            Problem::Newer(number, version) => writeln!(
                out,
                "NEWER       segment {number:016x} has format {version}: use a later cueline-log"
            )?,
        }
    }
    Ok(looked.problems.is_empty())
}
