//! One Engine.IO session as everybody sees it who is not its task: whoever emits, its requests, and
//! the server's table.
//!
//! The state that several of them touch is under one lock, which is never held across an await or a
//! system call. What has to be done in order is left to the session's task, the driver, which
//! is woken once however much is asked of it. What is queued for a WebSocket is left to the
//! session's lane (`flush`), which writes for many sessions in one go; the driver hears of it only
//! if the kernel takes no more, and waits until it does.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use syncchat_protocol::Frame;
use syncchat_protocol::websocket::{self, Opcode};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::{
    self as tungstenite,
    coding::{Data, OpCode},
};

use crate::config::Config;
use crate::flush::{Flusher, Lane};
use crate::handler::DisconnectReason;
use crate::id::Sid;
use crate::limits::WRITES_PER_TURN;
use crate::outbound::{Batch, Outbound, Push};
use crate::polling::{Polling, Post};
#[cfg(doc)]
use crate::protocol::Framing;
use crate::socket::{Class, Pushed};
use crate::websocket::Stream;

/// An Engine.IO session.
pub struct Session {
    pub(crate) id: Sid,
    pub(crate) config: Arc<Config>,
    pub(crate) origin: Transport,
    base64: bool,
    lane: Lane,
    shared: Mutex<Shared>,
}

/// How bytes get to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Polling,
    WebSocket,
}

impl Transport {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Transport::Polling => "polling",
            Transport::WebSocket => "websocket",
        }
    }
}

pub(crate) struct Shared {
    pub(crate) out: Outbound,
    pub(crate) transport: Transport,
    /// There while requests of long polling may be under way.
    pub(crate) polling: Option<Box<Polling>>,
    pub(crate) end: Option<End>,
    /// The session's task.
    driver: Option<Waker>,
    /// The task knows already that there is something to do.
    woken: bool,
    /// Something changed within the task's turn: it is to look once more.
    again: bool,
    sweep: Option<Sweep>,
    /// Once the session has a WebSocket, until that is closed.
    writer: Option<Arc<OwnedWriteHalf>>,
    /// The lane knows already that something waits.
    listed: bool,
    /// The kernel takes no more: the task says when it does.
    blocked: bool,
    /// Since when it has taken nothing of what waits.
    blocked_since: Option<Instant>,
    /// The connection cannot be written to any more.
    broken: bool,
}

/// What a connection is asked to look after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sweep {
    /// Sockets that the application has disconnected.
    Leaving,
    /// All sockets: they are to be disconnected, and then the session closed.
    Everyone,
}

/// How a session ends.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) reason: DisconnectReason,
    pub(crate) farewell: Farewell,
    /// A poll was told.
    pub(crate) said: bool,
}

/// The last words to the client; the bytes are the close frame for a WebSocket.
#[derive(Debug, Clone)]
pub(crate) enum Farewell {
    /// The client ends it: a waiting poll gets `6`, and the close frame is the answer to its own.
    Answer(Bytes),
    /// Something is wrong: a waiting poll gets `1`.
    Error(Bytes),
    /// The server ends it: what waits is written first; the poll after that gets `1`.
    Flush(Bytes),
    /// The connection is broken or hopeless: nothing more is written to it.
    Abort,
}

impl Farewell {
    /// An error without explanation.
    pub(crate) fn error() -> Farewell {
        Farewell::Error(websocket::CLOSE)
    }
}

/// What a session's task has to look at in its turn.
#[derive(Default)]
pub(crate) struct Turn {
    pub(crate) sweep: Option<Sweep>,
    pub(crate) post: Option<Post>,
    pub(crate) handover: Option<Stream>,
    /// The kernel took no more of what waits.
    pub(crate) blocked: bool,
    /// Nothing can be written any more.
    pub(crate) broken: bool,
}

/// What the end of a turn found.
pub(crate) struct Settled {
    /// There is more to do at once.
    pub(crate) again: bool,
    /// Bytes that wait.
    pub(crate) bytes: usize,
    /// Since when the kernel has taken none of them.
    pub(crate) blocked_since: Option<Instant>,
    /// The outbound queue was behind and has room again.
    pub(crate) drained: bool,
    pub(crate) end: Option<End>,
}

impl Session {
    pub(crate) fn new(
        id: Sid,
        config: Arc<Config>,
        transport: Transport,
        base64: bool,
        expires: Instant,
        flusher: &Arc<Flusher>,
    ) -> Session {
        let mut out = Outbound::new(config.outbound_limit);
        if base64 && transport == Transport::WebSocket {
            out.use_base64();
        }
        let polling = match transport {
            Transport::Polling => Some(Box::new(Polling::new(expires))),
            Transport::WebSocket => None,
        };
        Session {
            id,
            config,
            origin: transport,
            base64,
            lane: Flusher::lane(flusher),
            shared: Mutex::new(Shared {
                out,
                transport,
                polling,
                end: None,
                driver: None,
                woken: false,
                again: false,
                sweep: None,
                writer: None,
                listed: false,
                blocked: false,
                blocked_since: None,
                broken: false,
            }),
        }
    }

    /// Queues a frame; never waits.
    pub fn send(self: &Arc<Self>, frame: &Frame, class: Class) -> Pushed {
        let mut shared = self.shared.lock();
        if shared.end.is_some() {
            return Pushed::Closed;
        }
        let push = shared.out.push(frame, class);
        let mut is_new = false;
        match push {
            Push::Queued => is_new = shared.announce(),
            // The task has to find out when the client has caught up.
            Push::Behind => shared.wake(),
            Push::Dropped => {}
            Push::Overflow => shared.end(DisconnectReason::SlowConsumer, Farewell::Abort),
        }
        drop(shared);
        if is_new {
            self.enlist();
        }
        push.into()
    }

    /// Ends the session once what waits is written: the client is told nothing but that the
    /// connection closes. The first reason counts.
    pub fn close(&self, reason: DisconnectReason) {
        self.end(reason, Farewell::Flush(websocket::CLOSE));
    }

    /// Whether it is over, or about to be.
    pub fn is_ended(&self) -> bool {
        self.shared.lock().end.is_some()
    }

    /// Whether the server ended it on polling, so that its client may not know yet.
    pub(crate) fn is_parting(&self) -> bool {
        let shared = self.shared.lock();
        let farewell = shared.end.as_ref().map(|end| &end.farewell);
        shared.transport == Transport::Polling && matches!(farewell, Some(Farewell::Flush(_)))
    }

    /// Bytes that wait for the client.
    pub fn queued_bytes(&self) -> usize {
        self.shared.lock().out.bytes()
    }

    /// Drops what waits and was not begun, except essential frames. Returns the bytes.
    pub fn clear_queue(&self) -> usize {
        self.shared.lock().out.drop_waiting()
    }

    /// Has [`Connection::sweep`](crate::protocol::Connection::sweep) called.
    pub fn request_sweep(&self, sweep: Sweep) {
        let mut shared = self.shared.lock();
        shared.sweep = shared.sweep.max(Some(sweep));
        shared.wake();
    }

    /// Whether no more of the client's messages are to be taken for now: the session is over, or
    /// its client does not take the answers to what it asked before.
    pub(crate) fn is_stopped(&self) -> bool {
        let shared = self.shared.lock();
        shared.end.is_some() || shared.out.is_choked()
    }

    pub(crate) fn lock(&self) -> parking_lot::MutexGuard<'_, Shared> {
        self.shared.lock()
    }

    pub(crate) fn end(&self, reason: DisconnectReason, farewell: Farewell) {
        self.shared.lock().end(reason, farewell);
    }

    /// Queues a message of a WebSocket without Engine.IO ([`Framing::WebSocket`]).
    pub fn send_message(self: &Arc<Self>, opcode: Opcode, data: &[u8]) {
        let opcode = match opcode {
            Opcode::Text => Data::Text,
            Opcode::Binary => Data::Binary,
        };
        let mut bytes = Vec::new();
        let frame = tungstenite::Frame::message(data.to_vec(), OpCode::Data(opcode), true);
        // Writing to memory cannot fail.
        if frame.format(&mut bytes).is_ok() {
            self.send_raw(bytes.into());
        }
    }

    /// Answers a control frame of WebSocket by another.
    pub(crate) fn send_raw(self: &Arc<Self>, bytes: Bytes) {
        let mut shared = self.shared.lock();
        if shared.end.is_some() {
            return;
        }
        if shared.out.push_raw(bytes) == Push::Overflow {
            return shared.end(DisconnectReason::SlowConsumer, Farewell::Abort);
        }
        let is_new = shared.announce();
        drop(shared);
        if is_new {
            self.enlist();
        }
    }

    /// Has the lane write what waits.
    pub(crate) fn enlist(self: &Arc<Self>) {
        self.lane.enlist(Arc::clone(self));
    }

    /// Writes what waits, or as much as the kernel takes. For the session's lane only.
    pub(crate) fn flush(self: &Arc<Self>, scratch: &mut [u8]) {
        for count in 0..WRITES_PER_TURN {
            let Some((mut batch, writer)) = self.begin_write(count == 0) else {
                return;
            };
            let written = batch.write(&writer, scratch);
            if !self.finish_write(batch, written.map(|_| ())) {
                return;
            }
        }
        // Others get their turn.
        if self.shared.lock().wants_flush() {
            self.enlist();
        }
    }

    /// What is to be written to the WebSocket. At first in a turn: what is queued from now on is news to
    /// the lane.
    fn begin_write(&self, is_first: bool) -> Option<(Batch, Arc<OwnedWriteHalf>)> {
        let mut shared = self.shared.lock();
        shared.listed &= !is_first;
        if !shared.is_writable() {
            return None;
        }
        let writer = Arc::clone(shared.writer.as_ref()?);
        Some((shared.out.begin()?, writer))
    }

    /// Whether there is more to write at once.
    fn finish_write(&self, batch: Batch, written: io::Result<()>) -> bool {
        let mut shared = self.shared.lock();
        let was_choked = shared.out.is_choked();
        shared.out.finish(batch);
        match written {
            Ok(()) => shared.blocked_since = None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                shared.blocked = true;
                shared.blocked_since.get_or_insert_with(Instant::now);
            }
            Err(_) => {
                shared.broken = true;
                shared.end(DisconnectReason::TransportClose, Farewell::Abort);
            }
        }
        if shared.writer.is_none() {
            // It was closed meanwhile: nobody takes what is left.
            shared.out.forget();
        }
        let has_room = was_choked && !shared.out.is_choked();
        if has_room || shared.blocked || shared.end.is_some() || shared.out.is_drained() {
            shared.wake();
        }
        shared.is_writable() && !shared.out.is_empty()
    }

    // What follows is for the session's task.

    /// Begins a turn: until [`Session::settle`] nobody needs to wake the task.
    pub(crate) fn turn(&self, cx: &Context<'_>) -> Turn {
        let mut shared = self.shared.lock();
        shared.woken = true;
        if !shared
            .driver
            .as_ref()
            .is_some_and(|driver| driver.will_wake(cx.waker()))
        {
            shared.driver = Some(cx.waker().clone());
        }
        let mut turn = Turn {
            sweep: shared.sweep.take(),
            blocked: shared.blocked,
            broken: shared.broken,
            ..Turn::default()
        };
        let base64 = self.base64;
        if let Some(polling) = &mut shared.polling {
            turn.post = polling.post.take();
            turn.handover = polling.take_handover();
        }
        if turn.handover.is_some() && base64 {
            shared.out.use_base64();
        }
        turn
    }

    /// Ends a turn.
    pub(crate) fn settle(self: &Arc<Self>) -> Settled {
        let mut shared = self.shared.lock();
        let again = std::mem::take(&mut shared.again)
            || shared.sweep.is_some()
            || shared
                .polling
                .as_ref()
                .is_some_and(|polling| polling.is_ready());
        shared.woken = again;
        shared.forget_polling();
        let settled = Settled {
            again,
            bytes: shared.out.bytes(),
            blocked_since: shared.blocked_since,
            drained: shared.end.is_none() && shared.out.take_drained(),
            end: shared.end.clone(),
        };
        // What could not be written before: there was no WebSocket yet, or it was full.
        let is_new = shared.wants_flush();
        drop(shared);
        if is_new {
            self.enlist();
        }
        settled
    }

    /// From now on the lane writes here.
    pub(crate) fn set_writer(&self, writer: OwnedWriteHalf) {
        self.shared.lock().writer = Some(Arc::new(writer));
    }

    /// Shuts our side of the connection, once nothing waits.
    pub(crate) fn shut(&self) {
        self.shared.lock().writer = None;
    }

    /// The kernel takes more.
    pub(crate) fn unblock(&self) {
        self.shared.lock().blocked = false;
    }

    /// Appends the close frame, whatever waits.
    pub(crate) fn push_farewell(&self, close: Bytes) {
        // The queue's bound cannot refuse it for long: the writing is bounded in time.
        let _ = self.shared.lock().out.push_raw(close);
    }

    /// Publishes until when polls may come.
    pub(crate) fn set_expiry(&self, expires: Instant) {
        if let Some(polling) = &mut self.shared.lock().polling {
            polling.expires = expires;
        }
    }

    /// Gives back what waits: nobody will take it.
    pub(crate) fn forget_queue(&self) {
        let mut shared = self.shared.lock();
        if !shared
            .polling
            .as_ref()
            .is_some_and(|polling| polling.is_taking())
        {
            shared.out.forget();
        }
        shared.driver = None;
        shared.writer = None;
    }
}

impl Shared {
    /// Something was queued. True if the lane is to be told.
    fn announce(&mut self) -> bool {
        if self.transport == Transport::Polling {
            if let Some(polling) = &mut self.polling {
                polling.release_to_take();
            }
            return false;
        }
        self.wants_flush()
    }

    /// Whether the lane has something to do that it does not know of; from now on it does.
    fn wants_flush(&mut self) -> bool {
        let wants = !self.listed && self.is_writable() && !self.out.is_empty();
        self.listed |= wants;
        wants
    }

    /// Whether there is a WebSocket that takes what waits. What a poll has taken goes before.
    fn is_writable(&self) -> bool {
        let is_held = self.polling.as_ref().is_some_and(|p| p.holds_packets());
        self.writer.is_some() && !self.blocked && !self.broken && !is_held
    }

    /// Has the task take its turn, or another one if it is just having one.
    pub(crate) fn wake(&mut self) {
        if self.woken {
            self.again = true;
            return;
        }
        self.woken = true;
        if let Some(driver) = &self.driver {
            driver.wake_by_ref();
        }
    }

    pub(crate) fn end(&mut self, reason: DisconnectReason, farewell: Farewell) {
        if self.end.is_some() {
            return;
        }
        let said = match &mut self.polling {
            Some(polling) => polling.end(&farewell),
            None => false,
        };
        self.end = Some(End {
            reason,
            farewell,
            said,
        });
        self.wake();
    }

    /// After an upgrade nothing of long polling is needed once its last request is answered.
    fn forget_polling(&mut self) {
        if self.transport == Transport::WebSocket
            && self
                .polling
                .as_ref()
                .is_some_and(|polling| polling.is_idle())
        {
            self.polling = None;
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
