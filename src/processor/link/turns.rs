//! How those who share a thread take turns.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

/// The rounds of one thread: in each, all that is ready has its turn.
#[derive(Default)]
struct Rounds {
    number: AtomicU64,
    /// Who had a turn and wants another.
    waiting: Mutex<Vec<Waker>>,
}

thread_local! {
    static ROUNDS: Arc<Rounds> = Arc::default();
}

impl Wake for Rounds {
    /// All had their turn.
    fn wake(self: Arc<Self>) {
        self.number.fetch_add(1, Relaxed);
        let waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Goes on in the next round, when all that is ready on this thread had its turn, also what other threads have
/// woken. Whoever only wakes itself keeps those waiting: tokio's `LocalSet` looks for them every 31 polls as long as
/// any of its own tasks is ready, and two that wake each other are for ever.
pub(crate) async fn yield_now() {
    let Ok(rounds) = ROUNDS.try_with(Arc::clone) else { return };
    let round = rounds.number.load(Relaxed);
    std::future::poll_fn(|task| {
        if rounds.number.load(Relaxed) != round {
            return Poll::Ready(());
        }
        let mut waiting = rounds.waiting.lock();
        if !waiting.iter().any(|waker| waker.will_wake(task.waker())) {
            waiting.push(task.waker().clone());
        }
        drop(waiting);
        // Tokio wakes it when nothing is ready any more, once however often it is asked.
        let waker = Waker::from(rounds.clone());
        let mut when_all_had = pin!(tokio::task::yield_now());
        let _ = when_all_had.as_mut().poll(&mut Context::from_waker(&waker));
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::sync::Notify;
    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    /// Two that wake each other all the time do not keep out whom another thread has woken.
    #[test]
    fn whoever_was_woken_from_outside_has_its_turn_in_this_round() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let Ok(runtime) = runtime else { panic!("no runtime") };
        let (woken, log) = (Arc::new(Notify::new()), Rc::new(RefCell::new(Vec::new())));
        let (ping, pong) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
        let all = LocalSet::new();
        all.block_on(&runtime, async {
            let (from_outside, seen) = (woken.clone(), log.clone());
            let outside = spawn_local(async move {
                from_outside.notified().await;
                seen.borrow_mut().push("outside");
            });
            let (mine, its, seen) = (ping.clone(), pong.clone(), log.clone());
            let one = spawn_local(async move {
                let other = std::thread::spawn(move || woken.notify_one());
                other.join().ok();
                for _ in 0..3 {
                    seen.borrow_mut().push("one");
                    its.notify_one();
                    mine.notified().await;
                    yield_now().await;
                }
            });
            let two = spawn_local(async move {
                for _ in 0..3 {
                    pong.notified().await;
                    ping.notify_one();
                }
            });
            for task in [outside, one, two] {
                task.await.ok();
            }
        });
        assert_eq!(*log.borrow(), ["one", "outside", "one", "one"]);
    }
}
