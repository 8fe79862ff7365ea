//! Who writes to WebSockets: a few tasks, each for many sessions.
//!
//! A message to a thousand sockets wakes one task for each thread, not a thousand. Before a lane
//! writes, it lets everybody run who is ready: what they say goes out in the same writes. So under
//! load frames share writes by themselves, and a lone message waits for nothing.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, yield_now};

use crate::limits::{FLUSHES_PER_TURN, GATHERED_BYTES_MAX, LANES_MAX};
use crate::session::Session;

/// The lanes of one server. Its sessions keep it.
pub(crate) struct Flusher {
    lanes: Vec<Arc<Waiting>>,
    tasks: Vec<AbortHandle>,
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
        let tasks = lanes.iter().map(|lane| {
            let lane = Arc::clone(lane);
            tokio::spawn(async move { lane.write().await }).abort_handle()
        });
        Arc::new(Flusher {
            tasks: tasks.collect(),
            lanes,
            next: AtomicUsize::new(0),
        })
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
                session.flush(&mut scratch);
                if count % FLUSHES_PER_TURN == 0 {
                    yield_now().await;
                }
            }
        }
    }
}
