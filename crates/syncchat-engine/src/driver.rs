//! The task of one session: everything about it that has an order happens here.
//!
//! A turn: look what others asked for, let the events under way go on, take what came (the packets
//! of a POST, or the messages of the WebSocket), look at the clock, write all that waits. One timer
//! serves all deadlines and is only set again when it went off or something is due earlier: a
//! message costs no timer.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use syncchat_protocol::engineio::Packet;
use syncchat_protocol::{DecodeError, Frame, websocket};
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::debug;

use crate::handler::DisconnectReason;
use crate::heartbeat::{Beat, Heartbeat, earlier};
use crate::limits::{
    CLOSE_ANSWER_WAIT, CLOSE_WRITE_WAIT, GOODBYE_POLL_WAIT, READS_PER_TURN, WRITES_PER_TURN,
};
use crate::metrics;
use crate::polling::{Done, Post};
use crate::protocol::{Connection, Framing, Invalid, Protocol};
use crate::session::{End, Farewell, Session, Settled};
use crate::sessions::Seat;
use crate::socket::Class;
use crate::websocket::reader::Message;
use crate::websocket::{Read, ReadError, Stream};

/// The future of a session's task.
pub(crate) struct Driver<P: Protocol> {
    core: Core<P::Connection>,
    stream: Option<Stream>,
    /// A POST that could not be taken at once.
    post: Option<Box<Post>>,
    timer: Pin<Box<Sleep>>,
    timer_at: Instant,
    phase: Phase,
    /// Since when the kernel has taken nothing of what waits.
    blocked_since: Option<Instant>,
    /// Bytes of this session in the gauge.
    counted_bytes: usize,
    seat: Option<Seat>,
}

/// What it takes to understand a packet.
struct Core<C> {
    session: Arc<Session>,
    connection: C,
    heartbeat: Heartbeat,
    framing: Framing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The rest is being written, and then the client's close frame awaited if there is none yet.
    Closing {
        until: Instant,
        awaits_answer: bool,
    },
    /// The client's close frame is awaited.
    Discarding {
        until: Instant,
    },
    /// A poll is awaited that shall hear of the end.
    Goodbye {
        until: Instant,
    },
    /// Only events are under way, which must not be dropped.
    Over,
}

impl<P: Protocol> Driver<P> {
    pub(crate) fn new(
        session: Arc<Session>,
        connection: P::Connection,
        heartbeat: Heartbeat,
        stream: Option<Stream>,
        seat: Seat,
    ) -> Driver<P> {
        let timer_at = heartbeat.deadline();
        Driver {
            core: Core {
                session,
                connection,
                heartbeat,
                framing: P::FRAMING,
            },
            stream,
            post: None,
            timer: Box::pin(sleep_until(timer_at)),
            timer_at,
            phase: Phase::Open,
            blocked_since: None,
            counted_bytes: 0,
            seat: Some(seat),
        }
    }

    /// One turn of an open session.
    fn turn(&mut self, cx: &mut Context<'_>) {
        let turn = self.core.session.turn(cx);
        if let Some(sweep) = turn.sweep {
            self.core.connection.sweep(sweep);
        }
        if let Some(post) = turn.post {
            self.post = Some(Box::new(post));
        }
        if let Some(stream) = turn.handover {
            self.stream = Some(stream);
        }
        self.core.drive(cx);
        self.take_post();
        let was_full = self.read(cx) || self.post.is_some();
        self.core.drive(cx);
        self.look_at_clock();
        if !self.write(cx) {
            let session = &self.core.session;
            session.end(DisconnectReason::TransportClose, Farewell::Abort);
        }
        if was_full && !self.core.is_full() {
            // What was in the way has gone within this turn.
            cx.waker().wake_by_ref();
        }
        let settled = self.settle();
        if settled.drained {
            self.core.connection.drained();
        }
        if settled.again {
            cx.waker().wake_by_ref();
        }
        if let Some(end) = settled.end {
            self.close(end);
        }
    }

    fn settle(&mut self) -> Settled {
        let settled = self.core.session.settle(self.blocked_since.is_some());
        self.count_bytes(settled.bytes);
        settled
    }

    fn count_bytes(&mut self, bytes: usize) {
        if bytes != self.counted_bytes {
            metrics::outbound_queue_bytes(bytes as f64 - self.counted_bytes as f64);
            self.counted_bytes = bytes;
        }
    }

    /// Takes the packets of a POST, as far as the application follows.
    fn take_post(&mut self) {
        let Some(mut post) = self.post.take() else {
            return;
        };
        while !self.core.is_full() {
            let Some(packet) = post.next() else {
                self.core.publish_expiry();
                return post.finish(Done::All);
            };
            let is_close = matches!(packet, Ok(Packet::Close));
            match self.core.packet(packet) {
                // What follows a close does not count, and neither does what follows a mistake.
                ControlFlow::Break(()) if is_close => return post.finish(Done::All),
                ControlFlow::Break(()) => return post.finish(Done::Invalid),
                ControlFlow::Continue(()) => {}
            }
        }
        self.post = Some(post);
    }

    /// Takes what came on the WebSocket. True if the application could not follow.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        let Driver {
            core,
            stream: Some(stream),
            post: None,
            ..
        } = self
        else {
            return false;
        };
        let max = core.session.config.max_payload;
        for _ in 0..READS_PER_TURN {
            if core.is_full() {
                return true;
            }
            let read = stream.poll_read(cx, max, &mut |message| core.message(message));
            let (reason, farewell) = match read {
                Poll::Pending => return false,
                Poll::Ready(Ok(Read::Some)) => continue,
                Poll::Ready(Ok(Read::Stopped)) => return true,
                Poll::Ready(Ok(Read::End)) => (DisconnectReason::TransportClose, Farewell::Abort),
                Poll::Ready(Err(ReadError::Io)) => {
                    (DisconnectReason::TransportError, Farewell::Abort)
                }
                Poll::Ready(Err(ReadError::Fault(fault))) => {
                    debug!(%fault, "websocket fails");
                    metrics::invalid_packet("websocket");
                    let close = websocket::close(fault.close_code(), "");
                    (DisconnectReason::TransportError, Farewell::Error(close))
                }
            };
            core.session.end(reason, farewell);
            return false;
        }
        cx.waker().wake_by_ref();
        false
    }

    fn look_at_clock(&mut self) {
        let now = Instant::now();
        let beat = self.core.heartbeat.beat(now, &self.core.session.config);
        let session = &self.core.session;
        match beat {
            Beat::Wait => {}
            Beat::Ping => {
                // If it does not fit, the session is ending anyway.
                let _ = session.send(&Frame::ping(), Class::Essential);
                self.core.publish_expiry();
            }
            Beat::Dead => session.end(DisconnectReason::PingTimeout, Farewell::error()),
        }
        if self
            .core
            .connection
            .deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            session.end(DisconnectReason::TransportError, Farewell::error());
        }
        let slow_timeout = session.config.slow_timeout;
        if self
            .blocked_since
            .is_some_and(|since| now >= since + slow_timeout)
        {
            session.end(DisconnectReason::SlowConsumer, Farewell::Abort);
        }
    }

    /// Writes all that waits, or as much as the kernel takes. False if the connection is broken.
    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(stream) = &mut self.stream else {
            return true;
        };
        for _ in 0..WRITES_PER_TURN {
            let Some(mut batch) = self.core.session.begin_write() else {
                self.blocked_since = None;
                return true;
            };
            let written = batch.poll_write(stream.writer(), cx);
            self.core.session.finish_write(batch);
            match written {
                Poll::Ready(Ok(_)) => self.blocked_since = None,
                Poll::Pending => {
                    self.blocked_since.get_or_insert_with(Instant::now);
                    return true;
                }
                Poll::Ready(Err(_)) => return false,
            }
        }
        true
    }

    /// The session is over: the application is told, then the client.
    fn close(&mut self, end: End) {
        metrics::closed(end.reason);
        self.post = None;
        self.core.connection.end(end.reason);
        let now = Instant::now();
        self.phase = match (end.farewell, self.stream.is_some()) {
            (Farewell::Abort, _) => Phase::Over,
            (Farewell::Answer(close), true) => self.closing(now, close, false),
            (Farewell::Error(close) | Farewell::Flush(close), true) => {
                self.closing(now, close, true)
            }
            (Farewell::Flush(_), false) if !end.said => Phase::Goodbye {
                until: now + GOODBYE_POLL_WAIT,
            },
            (_, false) => Phase::Over,
        };
    }

    fn closing(&mut self, now: Instant, close: Bytes, awaits_answer: bool) -> Phase {
        self.core.session.push_farewell(close);
        Phase::Closing {
            until: now + CLOSE_WRITE_WAIT,
            awaits_answer,
        }
    }

    /// One turn of a session that is over.
    fn finish(&mut self, cx: &mut Context<'_>) {
        let _ = self.core.session.turn(cx);
        let now = Instant::now();
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.phase = Phase::Over;
        }
        if let Phase::Closing { awaits_answer, .. } = self.phase {
            let is_broken = !self.write(cx);
            let settled = self.settle();
            if is_broken || (settled.bytes == 0 && !awaits_answer) {
                self.phase = Phase::Over;
            } else if settled.bytes == 0 {
                self.phase = Phase::Discarding {
                    until: now + CLOSE_ANSWER_WAIT,
                };
            } else if settled.again {
                cx.waker().wake_by_ref();
            }
        }
        if let (Phase::Discarding { .. }, Some(stream)) = (self.phase, &mut self.stream)
            && stream.poll_shut(cx).is_ready()
        {
            self.phase = Phase::Over;
        }
        if let Phase::Goodbye { .. } = self.phase
            && self.settle().end.is_some_and(|end| end.said)
        {
            self.phase = Phase::Over;
        }
        // The application's futures go on; nobody hears what they say.
        let _ = self.core.connection.poll(cx);
        if self.phase == Phase::Over {
            self.leave();
        }
    }

    /// Gives back what the client held.
    fn leave(&mut self) {
        self.stream = None;
        self.seat = None;
        self.core.session.forget_queue();
        self.count_bytes(0);
    }

    fn deadline(&self) -> Option<Instant> {
        let Core {
            session,
            connection,
            heartbeat,
            ..
        } = &self.core;
        match self.phase {
            Phase::Open => {
                let slow = self
                    .blocked_since
                    .map(|since| since + session.config.slow_timeout);
                let deadline = earlier(heartbeat.deadline(), connection.deadline());
                Some(earlier(deadline, slow))
            }
            Phase::Closing { until, .. }
            | Phase::Discarding { until }
            | Phase::Goodbye { until } => Some(until),
            Phase::Over => None,
        }
    }

    /// Sees to it that the next turn comes in time.
    fn set_timer(&mut self, cx: &mut Context<'_>) {
        let Some(deadline) = self.deadline() else {
            return;
        };
        if deadline < self.timer_at || self.timer.is_elapsed() {
            self.timer.as_mut().reset(deadline);
            self.timer_at = deadline;
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

impl<P: Protocol> Future for Driver<P> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.phase == Phase::Open {
            this.turn(cx);
        }
        if this.phase != Phase::Open {
            this.finish(cx);
        }
        if this.phase == Phase::Over && !this.core.connection.is_busy() {
            return Poll::Ready(());
        }
        this.set_timer(cx);
        Poll::Pending
    }
}

impl<P: Protocol> Drop for Driver<P> {
    /// Only matters if the task was cancelled, or the application panicked in it.
    fn drop(&mut self) {
        if self.phase == Phase::Open {
            self.core
                .session
                .end(DisconnectReason::TransportError, Farewell::Abort);
            self.core.connection.end(DisconnectReason::TransportError);
            metrics::closed(DisconnectReason::TransportError);
        }
        self.leave();
    }
}

impl<C: Connection> Core<C> {
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Err(invalid) = self.connection.poll(cx) {
            let _ = self.refuse(invalid);
        }
    }

    /// Whether nothing more is to be taken for now.
    fn is_full(&self) -> bool {
        self.connection.is_full() || self.session.is_stopped()
    }

    /// Polls are refused in time, whatever this task is doing then.
    fn publish_expiry(&self) {
        self.session
            .set_expiry(self.heartbeat.expires(&self.session.config));
    }

    /// Takes a message of the WebSocket.
    fn message(&mut self, message: Message<'_>) -> ControlFlow<()> {
        match (message, self.framing) {
            (Message::Text("1"), Framing::EngineIo) => {
                // Unlike a close frame this one is to be answered by a whole closing handshake.
                self.session.close(DisconnectReason::TransportClose);
                return ControlFlow::Break(());
            }
            (Message::Text(text), Framing::EngineIo) => self.packet(Packet::from_text(text))?,
            (Message::Binary(data), Framing::EngineIo) => {
                self.packet(Ok(Packet::from_binary(data)))?;
            }
            (Message::Text(text), Framing::WebSocket) => {
                let taken = self.connection.text(text);
                self.taken(taken)?;
            }
            (Message::Binary(data), Framing::WebSocket) => {
                let taken = self.connection.binary(data);
                self.taken(taken)?;
            }
            (Message::Ping(payload), _) => self.session.send_raw(websocket::pong(payload)),
            (Message::Pong, _) => {}
            (Message::Close(code), _) => {
                let close = code.map_or(websocket::CLOSE, |code| websocket::close(code, ""));
                self.session
                    .end(DisconnectReason::TransportClose, Farewell::Answer(close));
                return ControlFlow::Break(());
            }
        }
        match self.is_full() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Takes a packet; breaks when the session is over.
    fn packet(&mut self, packet: Result<Packet<'_>, DecodeError>) -> ControlFlow<()> {
        let packet = match packet {
            Ok(packet) => packet,
            Err(error) => return self.refuse(error.into()),
        };
        let now = Instant::now();
        if matches!(packet, Packet::Pong) {
            self.heartbeat.pong(now, &self.session.config);
        } else {
            self.heartbeat.packet(now, &self.session.config);
        }
        match packet {
            Packet::Open | Packet::Pong | Packet::Upgrade | Packet::Noop => {
                ControlFlow::Continue(())
            }
            Packet::Close => {
                let farewell = Farewell::Answer(websocket::CLOSE);
                self.session.end(DisconnectReason::TransportClose, farewell);
                ControlFlow::Break(())
            }
            Packet::Ping(_) => self.refuse(Invalid("ping")),
            Packet::Message(text) => {
                let taken = self.connection.text(text);
                self.taken(taken)
            }
            Packet::Binary(data) => {
                let taken = self.connection.binary(data);
                self.taken(taken)
            }
        }
    }

    fn taken(&self, taken: Result<(), Invalid>) -> ControlFlow<()> {
        match taken {
            Ok(()) => ControlFlow::Continue(()),
            Err(invalid) => self.refuse(invalid),
        }
    }

    /// Closes without a word: no packet says what was wrong.
    fn refuse(&self, invalid: Invalid) -> ControlFlow<()> {
        metrics::invalid_packet(invalid.0);
        self.session
            .end(DisconnectReason::TransportError, Farewell::error());
        ControlFlow::Break(())
    }
}
