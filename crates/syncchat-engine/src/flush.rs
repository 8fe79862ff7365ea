//! Who writes to WebSockets: a few tasks, each for many sessions.
//!
//! A message to a thousand sockets wakes one task for each thread, not a thousand. Before a lane
//! writes, it lets everybody run who is ready: what they say goes out in the same writes. So under
//! load frames share writes by themselves, and a lone message waits for nothing.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, yield_now};
use tokio_util::sync::CancellationToken;

use crate::handler::DisconnectReason;
use crate::limits::{FLUSHES_PER_TURN, GATHERED_BYTES_MAX, LANES_MAX};
use crate::session::{Farewell, Session};

/// The lanes of one server. Its sessions keep it.
pub(crate) struct Flusher {
    lanes: Vec<Arc<Waiting>>,
    tasks: Vec<AbortHandle>,
    /// Cancelled when the task of a lane has ended.
    failed: CancellationToken,
    next: AtomicUsize,
}

/// The place of one session in it.
pub(crate) struct Lane {
    flusher: Arc<Flusher>,
    index: usize,
}

/// Sessions that have something to write, each once.
#[derive(Default)]
struct Waiting {
    sessions: Mutex<Vec<Arc<Session>>>,
    filled: Notify,
}

impl Flusher {
    /// One lane for each processor. To be called inside a tokio runtime.
    pub(crate) fn start() -> Arc<Flusher> {
        let count = available_parallelism().map_or(1, |n| n.get().min(LANES_MAX));
        let lanes: Vec<Arc<Waiting>> = (0..count).map(|_| Arc::default()).collect();
        let failed = CancellationToken::new();
        let tasks = lanes.iter().map(|lane| {
            let (lane, ended) = (Arc::clone(lane), failed.clone().drop_guard());
            let task = async move {
                let _ended = ended;
                lane.write().await;
            };
            tokio::spawn(task).abort_handle()
        });
        Arc::new(Flusher {
            tasks: tasks.collect(),
            lanes,
            failed,
            next: AtomicUsize::new(0),
        })
    }

    /// Waits until a lane writes no more. Its sessions hear nothing from then on.
    pub(crate) async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// A place for a session. They are spread evenly, so that those of one room are written to by
    /// all threads.
    pub(crate) fn lane(self: &Arc<Flusher>) -> Lane {
        Lane {
            flusher: Arc::clone(self),
            index: self.next.fetch_add(1, Ordering::Relaxed) % self.lanes.len(),
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Lane {
    /// Has this session written to soon.
    pub(crate) fn enlist(&self, session: Arc<Session>) {
        let waiting = &self.flusher.lanes[self.index];
        let mut sessions = waiting.sessions.lock();
        sessions.push(session);
        let is_first = sessions.len() == 1;
        drop(sessions);
        if is_first {
            waiting.filled.notify_one();
        }
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lane").field(&self.index).finish()
    }
}

impl Waiting {
    async fn write(&self) {
        let mut taken = Vec::new();
        let mut scratch = vec![0; GATHERED_BYTES_MAX];
        loop {
            self.filled.notified().await;
            yield_now().await;
            std::mem::swap(&mut *self.sessions.lock(), &mut taken);
            for (count, session) in (1..).zip(taken.drain(..)) {
                flush_alone(&session, |session| session.flush(&mut scratch));
                if count % FLUSHES_PER_TURN == 0 {
                    yield_now().await;
                }
            }
        }
    }
}

/// A defect met in one session ends that one, as it would in a task of its own, and not all that share
/// its lane. The panic itself is reported by the process's hook.
fn flush_alone(session: &Arc<Session>, flush: impl FnOnce(&Arc<Session>)) {
    if catch_unwind(AssertUnwindSafe(|| flush(session))).is_err() {
        session.end(DisconnectReason::TransportError, Farewell::Abort);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::config::Config;
    use crate::id::{NodeTag, Sid};
    use crate::session::Transport;

    #[tokio::test]
    async fn a_lane_that_has_ended_is_noticed() {
        let flusher = Flusher::start();
        tokio::task::yield_now().await;
        assert!(!flusher.failed.is_cancelled());
        flusher.tasks[0].abort();
        flusher.failed().await;
    }

    #[tokio::test]
    async fn a_defect_in_one_session_ends_that_one() {
        let flusher = Flusher::start();
        let session = || {
            let config = Arc::new(Config::default());
            let sid = Sid::random(NodeTag::ALONE).unwrap();
            let transport = Transport::WebSocket;
            Arc::new(Session::new(
                sid,
                config,
                transport,
                false,
                Instant::now(),
                &flusher,
            ))
        };
        let (broken, sound) = (session(), session());
        flush_alone(&broken, |_| panic!("a defect"));
        flush_alone(&sound, |session| session.flush(&mut [0; 16]));
        assert!(broken.is_ended());
        assert!(!sound.is_ended());
    }
}
