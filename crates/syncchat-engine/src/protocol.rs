//! What speaks on an Engine.IO session. Socket.IO does, in [`crate::socketio`]; the conformance
//! example has a bare echo.

use std::future::Future;
use std::sync::Arc;
use std::task::Context;

use bytes::Bytes;
use syncchat_protocol::DecodeError;
use tokio::time::Instant;

use crate::handler::{DisconnectReason, Handshake, Refusal};
use crate::session::{Session, Sweep};

/// One for a whole server.
pub trait Protocol: Send + Sync + Sized + 'static {
    /// Its part in each session.
    type Connection: Connection;

    /// What is around its messages.
    const FRAMING: Framing = Framing::EngineIo;

    /// Whether a session may begin.
    fn admit(&self, handshake: &Handshake) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// A session has begun.
    fn open(self: &Arc<Self>, session: Arc<Session>, handshake: Arc<Handshake>)
    -> Self::Connection;
}

/// What carries the messages of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Engine.IO packets, over polling and WebSocket.
    EngineIo,
    /// A WebSocket alone: each of its messages is one, and there is no heartbeat. For conformance
    /// suites of WebSocket itself.
    WebSocket,
}

/// One for each session; called from the session's own task only. Must not block.
pub trait Connection: Send + Unpin + 'static {
    /// A text message. An error closes the session.
    fn text(&mut self, text: &str) -> Result<(), Invalid>;

    /// A binary message. An error closes the session.
    fn binary(&mut self, data: Bytes) -> Result<(), Invalid>;

    /// Drives whatever futures there are; called in every turn of the session's task, also after
    /// [`Connection::end`] while [`Connection::is_busy`].
    fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), Invalid> {
        let _ = cx;
        Ok(())
    }

    /// Whether the session shall not be read for now; [`Connection::poll`] is to end that.
    fn is_full(&self) -> bool {
        false
    }

    /// Whether futures are still under way that must not be dropped.
    fn is_busy(&self) -> bool {
        false
    }

    /// Someone called [`Session::request_sweep`].
    fn sweep(&mut self, sweep: Sweep) {
        let _ = sweep;
    }

    /// A queue that was behind is empty.
    fn drained(&mut self) {}

    /// The client takes nothing, and the session is about to end for it: the last moment to say so.
    fn takes_nothing(&mut self) {}

    /// When the session is to be closed if nothing changes.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The session is over; called once.
    fn end(&mut self, reason: DisconnectReason) {
        let _ = reason;
    }
}

/// A message that closes its session without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid(
    /// What was wrong, for metrics: one of few.
    pub &'static str,
);

impl From<DecodeError> for Invalid {
    fn from(error: DecodeError) -> Invalid {
        Invalid(error.kind.as_str())
    }
}
