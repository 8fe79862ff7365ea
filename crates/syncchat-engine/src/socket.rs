//! One client in one namespace, as the application holds it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use syncchat_protocol::Frame;
use syncchat_protocol::socketio::{EventHead, Namespace};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::handler::{AckArgs, DisconnectReason, Handler, Handshake};
use crate::id::Id;
use crate::session::{Session, Sweep};

/// What becomes of a frame when its client reads too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// May be lost (typing, presence): refused from half of the limit on, and dropped first.
    Droppable,
    /// Will come, or the application hears that it will not: past the limit the socket is behind.
    Reliable,
    /// Queued past the limit too, as acks are. A client that lets a whole limit of these pile up is
    /// closed. For the few words that nobody can repeat.
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
    /// There was no room: this frame is refused, and so is what follows until
    /// [`Handler::drained`]. What waits already stays.
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

/// A client in a namespace. A clone is a reference to the same one; it may be kept after the socket
/// has left, and then does nothing.
pub struct Socket<H: Handler> {
    inner: Arc<Inner<H>>,
}

struct Inner<H: Handler> {
    id: Id,
    namespace: Namespace,
    session: Arc<Session>,
    handshake: Arc<Handshake>,
    state: AtomicU8,
    acks: Mutex<Acks>,
    data: H::Data,
}

/// In the namespace.
const JOINED: u8 = 0;
/// Disconnected by the application, which was not told yet.
const LEAVING: u8 = 1;
/// The application was told.
const LEFT: u8 = 2;

/// Acks that the server waits for.
#[derive(Default)]
struct Acks {
    next_id: u64,
    waiting: HashMap<u64, oneshot::Sender<AckArgs>>,
}

impl<H: Handler> Socket<H> {
    pub(crate) fn new(
        id: Id,
        namespace: Namespace,
        session: Arc<Session>,
        handshake: Arc<Handshake>,
        data: H::Data,
    ) -> Socket<H> {
        Socket {
            inner: Arc::new(Inner {
                id,
                namespace,
                session,
                handshake,
                state: AtomicU8::new(JOINED),
                acks: Mutex::default(),
                data,
            }),
        }
    }

    /// Its public id, 20 characters of URL-safe base64, new with every join.
    pub fn id(&self) -> &str {
        self.inner.id.as_str()
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
        match self.is_joined() {
            true => self.inner.session.send(frame, class),
            false => Pushed::Closed,
        }
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
        let (pending, ack) = self.await_ack()?;
        let frame = head
            .namespace(&self.inner.namespace)
            .ack_id(pending.id)
            .args(args, attachments)
            .map_err(|_| AckError::Encode)?;
        match self.emit(&frame, class) {
            Pushed::Queued => {}
            Pushed::Dropped | Pushed::Behind => return Err(AckError::NotQueued),
            Pushed::Closed => return Err(AckError::Closed),
        }
        match timeout(wait, ack).await {
            Ok(Ok(args)) => Ok(args),
            Ok(Err(_)) => Err(AckError::Closed),
            Err(_) => Err(AckError::Timeout),
        }
    }

    fn await_ack(&self) -> Result<(PendingAck<'_>, oneshot::Receiver<AckArgs>), AckError> {
        let mut acks = self.inner.acks.lock();
        if !self.is_joined() {
            return Err(AckError::Closed);
        }
        if acks.waiting.len() >= self.inner.session.config.pending_acks {
            return Err(AckError::TooMany);
        }
        let (sender, receiver) = oneshot::channel();
        let id = acks.next_id;
        acks.next_id += 1;
        acks.waiting.insert(id, sender);
        Ok((
            PendingAck {
                acks: &self.inner.acks,
                id,
            },
            receiver,
        ))
    }

    /// Drops what waits and was not begun, but for acks and [`Class::Essential`] frames, without
    /// becoming behind. All namespaces of the session share one queue. Returns the bytes dropped.
    pub fn clear_queue(&self) -> usize {
        self.inner.session.clear_queue()
    }

    /// Bytes that wait for the client, of all its namespaces.
    pub fn queued_bytes(&self) -> usize {
        self.inner.session.queued_bytes()
    }

    /// Sends DISCONNECT and leaves the namespace; the client will not come back by itself. The
    /// session stays.
    pub fn disconnect(&self) {
        let state = &self.inner.state;
        if state
            .compare_exchange(JOINED, LEAVING, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            return;
        }
        // The name was read from the client's CONNECT, so it can be written again.
        if let Ok(frame) = Frame::disconnect(&self.inner.namespace) {
            let _ = self.inner.session.send(&frame, Class::Essential);
        }
        self.inner.session.request_sweep(Sweep::Leaving);
    }

    /// Ends the connection, all namespaces of it, once what waits is written: official clients
    /// come back. `reason` is what [`Handler::disconnected`] is told.
    pub fn close(&self, reason: DisconnectReason) {
        self.inner.session.close(reason);
    }

    /// Sends DISCONNECT, to the session's other sockets too, then ends the connection: official
    /// clients stay away.
    pub fn kick(&self) {
        self.disconnect();
        self.inner.session.request_sweep(Sweep::Everyone);
    }

    /// Whether it has neither left nor is about to.
    pub fn is_connected(&self) -> bool {
        self.is_joined() && !self.inner.session.is_ended()
    }

    pub(crate) fn is_joined(&self) -> bool {
        self.inner.state.load(Ordering::Acquire) == JOINED
    }

    /// Why it leaves, if the application said so.
    pub(crate) fn is_leaving(&self) -> bool {
        self.inner.state.load(Ordering::Acquire) == LEAVING
    }

    /// It is out: nobody waits for its acks any more.
    pub(crate) fn leave(&self) {
        self.inner.state.store(LEFT, Ordering::Release);
        self.inner.acks.lock().waiting = HashMap::new();
    }

    /// An ack came; one that nobody waits for is ignored.
    pub(crate) fn acknowledge(&self, id: u64, args: AckArgs) {
        let waiting = self.inner.acks.lock().waiting.remove(&id);
        if let Some(waiting) = waiting {
            let _ = waiting.send(args);
        }
    }
}

/// Forgets an ack that is not awaited any more.
struct PendingAck<'a> {
    acks: &'a Mutex<Acks>,
    id: u64,
}

impl Drop for PendingAck<'_> {
    fn drop(&mut self) {
        let mut acks = self.acks.lock();
        acks.waiting.remove(&self.id);
        if acks.waiting.is_empty() {
            acks.waiting = HashMap::new();
        }
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
            .field("id", &self.id())
            .field("namespace", &self.inner.namespace)
            .finish_non_exhaustive()
    }
}
