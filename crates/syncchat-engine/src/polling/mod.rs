//! Long polling: GET takes what waits, POST brings packets.
//!
//! Two requests of one session come on two connections and run on two threads, so the waiting poll
//! and the queue are under the session's one lock, and packets of a POST are given to the session's
//! task. A poll whose future is dropped was aborted by its client, which ends the session.

mod poll;
mod post;

use syncchat_protocol::Frame;
use syncchat_protocol::engineio::ErrorCode;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::handler::DisconnectReason;
use crate::session::{Farewell, Shared, Transport};
use crate::upgrade::Attempt;
use crate::websocket::Stream;

pub(crate) use poll::get;
use poll::{Release, Waiting};
pub(crate) use post::{Done, Post, post, read_body};

/// The part of a session that only long polling needs.
pub(crate) struct Polling {
    /// When the session is dead unless its client is heard of.
    pub(crate) expires: Instant,
    waiting: Option<Waiting>,
    /// The poll that was told to take what waits, and has not yet.
    taking: Option<u32>,
    polls: u32,
    /// Answers with packets in them that are on their way to the connection.
    in_flight: u32,
    /// A POST is being read or worked off; dropping the sender cancels it.
    posting: Option<oneshot::Sender<()>>,
    /// A whole body, for the session's task.
    pub(crate) post: Option<Post>,
    /// A POST that ends the session waits for the poll that goes with it.
    poll_came: Option<oneshot::Sender<()>>,
    pub(crate) attempt: Attempt,
    /// The WebSocket that took over, for the session's task.
    pub(crate) handover: Option<Stream>,
}

impl Polling {
    pub(crate) fn new(expires: Instant) -> Polling {
        Polling {
            expires,
            waiting: None,
            taking: None,
            polls: 0,
            in_flight: 0,
            posting: None,
            post: None,
            poll_came: None,
            attempt: Attempt::None,
            handover: None,
        }
    }

    /// Lets a waiting poll take what was queued.
    pub(crate) fn release_to_take(&mut self) {
        self.release(Release::Take);
    }

    /// Ends a waiting poll with one frame.
    pub(crate) fn release_saying(&mut self, frame: Frame) {
        self.release(Release::Say(frame));
    }

    fn release(&mut self, release: Release) -> bool {
        let Some(Waiting {
            poll,
            release: waiting,
        }) = self.waiting.take()
        else {
            return false;
        };
        if matches!(release, Release::Take) {
            self.taking = Some(poll);
        }
        waiting.send(release).is_ok()
    }

    /// Whether a poll is about to take what waits: it shall find it, whatever happens meanwhile.
    pub(crate) fn is_taking(&self) -> bool {
        self.taking.is_some()
    }

    /// The session ends: whoever waits hears of it. Returns whether a poll was told.
    pub(crate) fn end(&mut self, farewell: &Farewell) -> bool {
        self.posting = None;
        self.attempt = Attempt::None;
        match farewell {
            Farewell::Flush(_) => {
                self.release(Release::Take);
                false
            }
            Farewell::Answer(_) => self.release(Release::Say(Frame::noop())),
            Farewell::Error(_) | Farewell::Abort => self.release(Release::Say(Frame::close())),
        }
    }

    /// Whether packets are on their way that a WebSocket must not overtake.
    pub(crate) fn holds_packets(&self) -> bool {
        self.in_flight > 0
    }

    /// Whether the session's task has something to take here.
    pub(crate) fn is_ready(&self) -> bool {
        self.post.is_some() || (self.handover.is_some() && !self.holds_packets())
    }

    /// Whether no request needs it any more.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_none()
            && self.in_flight == 0
            && self.posting.is_none()
            && self.post.is_none()
            && self.handover.is_none()
    }

    /// The WebSocket that took over, unless it has to wait for a poll's answer.
    pub(crate) fn take_handover(&mut self) -> Option<Stream> {
        if self.holds_packets() {
            None
        } else {
            self.handover.take()
        }
    }
}

impl Shared {
    /// Why no request of long polling may come now. Looks at the clock too: a session must be gone
    /// in time, whatever its task is doing.
    pub(crate) fn refusal(&mut self, now: Instant) -> Option<ErrorCode> {
        if self.is_gone() {
            return Some(ErrorCode::UnknownSid);
        }
        if self.transport == Transport::WebSocket {
            return Some(ErrorCode::BadRequest);
        }
        if self.end.is_none() && self.polling.as_ref().is_some_and(|p| p.expires <= now) {
            self.end(DisconnectReason::PingTimeout, Farewell::error());
            return Some(ErrorCode::UnknownSid);
        }
        None
    }

    /// Whether requests with its id are to be refused. A session that the server ended is there
    /// until a poll was told.
    fn is_gone(&self) -> bool {
        self.end.as_ref().is_some_and(|end| match end.farewell {
            Farewell::Flush(_) => end.said || self.transport == Transport::WebSocket,
            _ => true,
        })
    }

    /// The connection has taken an answer.
    pub(crate) fn poll_answered(&mut self) {
        if let Some(polling) = &mut self.polling {
            polling.in_flight = polling.in_flight.saturating_sub(1);
        }
        if self.transport == Transport::WebSocket {
            self.wake();
        }
    }
}
