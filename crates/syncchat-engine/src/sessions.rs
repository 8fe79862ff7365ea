//! The sessions that are open: bounded in number, found by their id.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::id::Sid;
use crate::limits::{PARTING_POST_WAIT, PARTING_SESSIONS_MAX};
use crate::metrics;
use crate::session::Session;

/// The table of one server.
#[derive(Debug)]
pub(crate) struct Sessions {
    by_id: DashMap<Sid, Arc<Session>>,
    taken: AtomicUsize,
    max: usize,
    /// Still found by their id, though their place is free: see [`PARTING_POST_WAIT`].
    parting: Mutex<VecDeque<(Instant, Sid)>>,
}

/// A place among the sessions; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    sessions: Arc<Sessions>,
    session: Option<Sid>,
}

impl Sessions {
    pub(crate) fn new(max: usize) -> Sessions {
        Sessions {
            by_id: DashMap::new(),
            taken: AtomicUsize::new(0),
            max,
            parting: Mutex::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(crate) fn get(&self, id: Sid) -> Option<Arc<Session>> {
        self.by_id.get(&id).map(|session| Arc::clone(&session))
    }

    /// Reserves a place, or `None` if all are taken.
    pub(crate) fn reserve(self: &Arc<Self>) -> Option<Seat> {
        let reserve = |taken| (taken < self.max).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve)
            .ok()?;
        metrics::connections(1.0);
        Some(Seat {
            sessions: Arc::clone(self),
            session: None,
        })
    }

    /// Forgets a session, now or in a moment.
    fn forget(&self, id: Sid) {
        if !self.get(id).is_some_and(|session| session.is_parting()) {
            self.by_id.remove(&id);
            return;
        }
        let now = Instant::now();
        let mut parting = self.parting.lock();
        parting.push_back((now, id));
        while let Some(&(since, id)) = parting.front()
            && (now - since > PARTING_POST_WAIT || parting.len() > PARTING_SESSIONS_MAX)
        {
            parting.pop_front();
            self.by_id.remove(&id);
        }
    }

    /// Up to so many sessions that are not over.
    pub(crate) fn some(&self, at_most: usize) -> Vec<Arc<Session>> {
        self.by_id
            .iter()
            .filter(|session| !session.is_ended())
            .take(at_most)
            .map(|session| Arc::clone(&session))
            .collect()
    }
}

impl Seat {
    /// Has the session found under its id.
    pub(crate) fn take(&mut self, session: &Arc<Session>) {
        self.session = Some(session.id);
        self.sessions.by_id.insert(session.id, Arc::clone(session));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(id) = self.session {
            self.sessions.forget(id);
        }
        self.sessions.taken.fetch_sub(1, Ordering::Relaxed);
        metrics::connections(-1.0);
    }
}
