//! One client in one namespace, as the application holds it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use syncchat_protocol::Frame;
use syncchat_protocol::socketio::EventHead;

use crate::handler::{AckArgs, DisconnectReason, Handler, Handshake};

/// What becomes of a frame when its client reads too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// May be lost (typing, presence): refused from half of the limit on, and dropped first.
    Droppable,
    /// Will come or the application hears of it: past the limit the socket is behind.
    Reliable,
    /// Kept even when the queue is dropped, as acks are. What goes beyond twice the limit closes
    /// the connection. For the few words that nobody can repeat.
    Essential,
}

/// What became of a frame.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It waits in order; it goes out as soon as the client takes it.
    Queued,
    /// It was droppable and there was no room.
    Dropped,
    /// There was no room: all that waited, this frame too, is dropped, and so is what follows
    /// until [`Handler::drained`].
    Behind,
    /// The socket has left or its connection is ending.
    Closed,
}

/// Why no ack came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    /// Not within the given time.
    #[error("no ack in time")]
    Timeout,
    /// The socket left first.
    #[error("socket has left")]
    Closed,
    /// The event was not sent: no room.
    #[error("event was not queued")]
    NotQueued,
    /// [`crate::Config::pending_acks`] are awaited already.
    #[error("too many acks are awaited")]
    TooMany,
    /// The event cannot be written: a reserved name, say.
    #[error("event cannot be encoded")]
    Encode,
}

/// A client in a namespace. A clone is a reference to the same one.
pub struct Socket<H: Handler> {
    inner: Arc<Inner<H>>,
}

struct Inner<H: Handler> {
    id: String,
    namespace: String,
    handshake: Arc<Handshake>,
    data: H::Data,
}

impl<H: Handler> Socket<H> {
    /// Its public id, 20 characters of URL-safe base64, new with every join.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// The namespace it joined.
    pub fn namespace(&self) -> &str {
        &self.inner.namespace
    }

    /// The request that opened its session; of the headers only [`crate::Config::kept_headers`].
    pub fn handshake(&self) -> &Arc<Handshake> {
        &self.inner.handshake
    }

    /// What [`Handler::connect`] gave for it.
    pub fn data(&self) -> &H::Data {
        &self.inner.data
    }

    /// Queues a frame for it; never waits. The frame's bytes are shared.
    pub fn emit(&self, frame: &Frame, class: Class) -> Pushed {
        let _ = (frame, class);
        Pushed::Closed
    }

    /// Emits an event, and waits for the client's ack at most so long. `head` needs no namespace.
    pub async fn emit_with_ack(
        &self,
        head: EventHead<'_>,
        args: &[Box<RawValue>],
        attachments: &[Bytes],
        class: Class,
        wait: Duration,
    ) -> Result<AckArgs, AckError> {
        let _ = (head, args, attachments, class, wait);
        Err(AckError::Closed)
    }

    /// Drops what waits and was not begun, but for acks and [`Class::Essential`] frames, without
    /// becoming behind. Returns the bytes dropped.
    pub fn clear_queue(&self) -> usize {
        0
    }

    /// Bytes that wait for the client, of all its namespaces.
    pub fn queued_bytes(&self) -> usize {
        0
    }

    /// Sends DISCONNECT and leaves the namespace; the client will not come back by itself. The
    /// session stays.
    pub fn disconnect(&self) {}

    /// Ends the connection, all namespaces of it, once what waits is written: official clients
    /// come back. `reason` is what [`Handler::disconnected`] is told.
    pub fn close(&self, reason: DisconnectReason) {
        let _ = reason;
    }

    /// Sends DISCONNECT, then ends the connection: official clients stay away.
    pub fn kick(&self) {
        self.disconnect();
        self.close(DisconnectReason::ServerDisconnect);
    }

    /// Whether it has neither left nor is about to.
    pub fn is_connected(&self) -> bool {
        false
    }
}

impl<H: Handler> Clone for Socket<H> {
    fn clone(&self) -> Self {
        Socket {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<H: Handler> fmt::Debug for Socket<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.inner.id)
            .field("namespace", &self.inner.namespace)
            .finish_non_exhaustive()
    }
}
