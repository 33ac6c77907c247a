//! What was done and has not been told, and what is to be done beside what waits: until then the runtime does
//! not rest.

use std::sync::atomic::Ordering::SeqCst;

use super::Subscription;
use crate::queue::fence::Fence;

impl Subscription {
    /// Something is done and about to be told by that host; the runtime does not rest before
    /// [`Subscription::told`].
    pub(crate) fn about_to_tell(&self, by: &Fence) {
        if by.about_to_tell() {
            self.untold.fetch_add(1, SeqCst);
        }
    }

    pub(crate) fn told(&self, by: &Fence) {
        if by.told() {
            self.untold.fetch_sub(1, SeqCst);
        }
    }

    /// There is more to do for it than what waits: until [`Subscription::has_done_all`], the runtime does not
    /// rest.
    pub(crate) fn works_on_more(&self) {
        self.untold.fetch_add(1, SeqCst);
    }

    pub(crate) fn has_done_all(&self) {
        self.untold.fetch_sub(1, SeqCst);
    }

    /// Whether something was done that has not been told yet.
    pub(crate) fn has_untold(&self) -> bool {
        self.untold.load(SeqCst) > 0
    }
}
