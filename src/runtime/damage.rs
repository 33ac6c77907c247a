//! Damage that is found when a log is opened: what is lost by it, nobody knows, so an operator decides
//! whether to go on without it.

use std::path::Path;

use crate::error::{Error, ErrorKind};
use crate::store::file::facts::Facts;
use crate::store::file::recovery::Found;

/// Says what is damaged.
///
/// # Errors
///
/// [`ErrorKind::Damaged`] if something is that nobody has accepted to lose: what a processor keeps, or how
/// far it came, may have been in it.
pub(super) fn say_damage(path: &Path, found: &Found, facts: &Facts) -> Result<(), Error> {
    let path = path.display();
    if found.torn {
        tracing::warn!(%path, "the end of the log was torn by a crash, and has been cut: what was \
             lost by it had never been acknowledged");
    }
    let mut lost = 0;
    let mut segments = Vec::new();
    for damage in &found.lost {
        let (segment, from, to) = (damage.segment, damage.gap.from, damage.gap.to);
        let frames = damage.gap.frames.1 - damage.gap.frames.0;
        let accepted = damage.is_accepted(facts);
        tracing::error!(%path, segment, from, to, frames, accepted, "a stretch of the log is damaged: \
             what was in it is lost");
        if !accepted {
            lost += frames;
            segments.push(format!("{segment:016x}.log from {from} to {to}"));
        }
    }
    if lost == 0 {
        return Ok(());
    }
    let segments = segments.join(", ");
    Err(Error::new(
        ErrorKind::Damaged,
        format!(
            "the log in `{path}` is damaged: {lost} commits are lost ({segments}), with events, \
             acknowledgements or kept state in them; restore a backup, or go on without them by \
             `cueline-log accept-loss {path}`"
        ),
    ))
}
