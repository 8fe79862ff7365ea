//! The task of one session: everything about it that has an order happens here.
//!
//! A turn: look what others asked for, let the events under way go on, take what came (the packets
//! of a POST, or the messages of the WebSocket), look at the clock. What is to be written is left to
//! the session's lane; if the kernel took no more, wait until it does. One timer serves all deadlines
//! and is only set again when it went off or something is due earlier: a message costs no timer.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use syncchat_protocol::engineio::Packet;
use syncchat_protocol::{Frame, websocket};
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::debug;

use crate::handler::DisconnectReason;
use crate::heartbeat::{Beat, Heartbeat, earlier};
use crate::inbound::Inbound;
use crate::limits::{
    CLOSE_ANSWER_WAIT, CLOSE_WRITE_WAIT, GOODBYE_POLL_WAIT, READS_PER_TURN, SLOW_GOODBYE_WAIT,
};
use crate::metrics;
use crate::polling::{Done, Post};
use crate::protocol::{Connection, Protocol};
use crate::session::{End, Farewell, Session, Settled};
use crate::sessions::Seat;
use crate::socket::Class;
use crate::websocket::{Read, ReadError, Stream};

/// The future of a session's task.
pub(crate) struct Driver<P: Protocol> {
    inbound: Inbound<P::Connection>,
    stream: Option<Stream>,
    /// A POST that could not be taken at once.
    post: Option<Box<Post>>,
    timer: Pin<Box<Sleep>>,
    /// When the timer wakes the task; `None` until it was set, and from when it is due.
    wakes_at: Option<Instant>,
    /// When the last look was at the clock.
    looked_at: Instant,
    phase: Phase,
    /// Since when the kernel has taken nothing of what waits.
    blocked_since: Option<Instant>,
    /// Bytes of this session in the gauge.
    counted_bytes: usize,
    seat: Option<Seat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The rest is being written, and then the client's close frame awaited if there is none yet.
    Closing {
        until: Instant,
        awaits_answer: bool,
    },
    /// Our side of the connection is shut; the client is to end its own, so that our last frame is
    /// not lost to a reset.
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
        let deadline = heartbeat.deadline();
        let mut driver = Driver {
            inbound: Inbound {
                session,
                connection,
                heartbeat,
                framing: P::FRAMING,
            },
            stream,
            post: None,
            timer: Box::pin(sleep_until(deadline)),
            wakes_at: None,
            looked_at: Instant::now(),
            phase: Phase::Open,
            blocked_since: None,
            counted_bytes: 0,
            seat: Some(seat),
        };
        driver.give_writer();
        driver
    }

    /// Lets the session's lane write to the WebSocket.
    fn give_writer(&mut self) {
        if let Some(writer) = self.stream.as_mut().and_then(Stream::take_writer) {
            self.inbound.session.set_writer(writer);
        }
    }

    /// One turn of an open session.
    fn turn(&mut self, cx: &mut Context<'_>) {
        let turn = self.inbound.session.turn(cx);
        if let Some(sweep) = turn.sweep {
            self.inbound.connection.sweep(sweep);
        }
        if let Some(post) = turn.post {
            self.post = Some(Box::new(post));
        }
        if let Some(stream) = turn.handover {
            self.stream = Some(stream);
            self.give_writer();
        }
        self.inbound.drive(cx);
        self.take_post();
        let was_full = self.read(cx) || self.post.is_some();
        self.inbound.drive(cx);
        self.look_at_clock();
        if turn.blocked && !self.await_room(cx) {
            let session = &self.inbound.session;
            session.end(DisconnectReason::TransportClose, Farewell::Abort);
        }
        if was_full && !self.inbound.is_full() {
            // What was in the way has gone within this turn.
            cx.waker().wake_by_ref();
        }
        let settled = self.settle();
        if settled.drained {
            self.inbound.connection.drained();
        }
        if settled.again {
            cx.waker().wake_by_ref();
        }
        if let Some(end) = settled.end {
            self.close(end);
        }
    }

    fn settle(&mut self) -> Settled {
        let settled = self.inbound.session.settle();
        self.blocked_since = settled.blocked_since;
        self.count_bytes(match settled.blocked_since {
            Some(_) => settled.bytes,
            None => 0,
        });
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
        while !self.inbound.is_full() {
            let Some(packet) = post.next() else {
                self.inbound.publish_expiry();
                return post.finish(Done::All);
            };
            let is_close = matches!(packet, Ok(Packet::Close));
            match self.inbound.packet(packet) {
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
            inbound,
            stream: Some(stream),
            post: None,
            ..
        } = self
        else {
            return false;
        };
        let max = inbound.session.config.max_payload;
        for _ in 0..READS_PER_TURN {
            if inbound.is_full() {
                return true;
            }
            let read = stream.poll_read(cx, max, &mut |message| inbound.message(message));
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
            inbound.session.end(reason, farewell);
            return false;
        }
        cx.waker().wake_by_ref();
        false
    }

    fn look_at_clock(&mut self) {
        let now = Instant::now();
        self.looked_at = now;
        let beat = self
            .inbound
            .heartbeat
            .beat(now, &self.inbound.session.config);
        let session = &self.inbound.session;
        match beat {
            Beat::Wait => {}
            Beat::Ping => {
                // If it does not fit, the session is ending anyway.
                let _ = session.send(&Frame::ping(), Class::Essential);
                self.inbound.publish_expiry();
            }
            Beat::Dead => session.end(DisconnectReason::PingTimeout, Farewell::error()),
        }
        if self
            .inbound
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
            session.clear_queue();
            self.inbound.connection.takes_nothing();
            let farewell = Farewell::Flush(websocket::CLOSE);
            self.inbound
                .session
                .end(DisconnectReason::SlowConsumer, farewell);
        }
    }

    /// The kernel took no more: has the lane go on once it does. False if the connection is broken.
    fn await_room(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(stream) = &self.stream else {
            return true;
        };
        match stream.poll_writable(cx) {
            Poll::Ready(Ok(())) => self.inbound.session.unblock(),
            Poll::Ready(Err(_)) => return false,
            Poll::Pending => {}
        }
        true
    }

    /// The session is over: the application is told, then the client.
    fn close(&mut self, end: End) {
        metrics::closed(end.reason);
        self.post = None;
        self.inbound.connection.end(end.reason);
        let now = Instant::now();
        let until = match end.reason {
            DisconnectReason::SlowConsumer => now + SLOW_GOODBYE_WAIT,
            _ => now + CLOSE_WRITE_WAIT,
        };
        self.phase = match (end.farewell, self.stream.is_some()) {
            (Farewell::Abort, _) => Phase::Over,
            (Farewell::Answer(close), true) => self.closing(until, close, false),
            (Farewell::Error(close) | Farewell::Flush(close), true) => {
                self.closing(until, close, true)
            }
            (Farewell::Flush(_), false) if !end.said => Phase::Goodbye {
                until: now + GOODBYE_POLL_WAIT,
            },
            (_, false) => Phase::Over,
        };
    }

    fn closing(&mut self, until: Instant, close: Bytes, awaits_answer: bool) -> Phase {
        self.inbound.session.push_farewell(close);
        Phase::Closing {
            until,
            awaits_answer,
        }
    }

    /// One turn of a session that is over.
    fn finish(&mut self, cx: &mut Context<'_>) {
        let turn = self.inbound.session.turn(cx);
        let now = Instant::now();
        self.looked_at = now;
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.phase = Phase::Over;
        }
        if let Phase::Closing { awaits_answer, .. } = self.phase {
            let is_broken = turn.broken || (turn.blocked && !self.await_room(cx));
            let settled = self.settle();
            if is_broken || (settled.bytes == 0 && !awaits_answer) {
                self.phase = Phase::Over;
            } else if settled.bytes == 0 {
                self.inbound.session.shut();
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
        let _ = self.inbound.connection.poll(cx);
        if self.phase == Phase::Over {
            self.leave();
        }
    }

    /// Gives back what the client held.
    fn leave(&mut self) {
        self.stream = None;
        self.seat = None;
        self.inbound.session.forget_queue();
        self.count_bytes(0);
    }

    fn deadline(&self) -> Option<Instant> {
        let Inbound {
            session,
            connection,
            heartbeat,
            ..
        } = &self.inbound;
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
        // It is not even polled while it is set: it has this task's waker, which stays the same.
        if self
            .wakes_at
            .is_some_and(|at| at > self.looked_at && at <= deadline)
        {
            return;
        }
        self.timer.as_mut().reset(deadline);
        self.wakes_at = Some(deadline);
        if self.timer.as_mut().poll(cx).is_ready() {
            self.wakes_at = None;
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
        if this.phase == Phase::Over && !this.inbound.connection.is_busy() {
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
            self.inbound
                .session
                .end(DisconnectReason::TransportError, Farewell::Abort);
            self.inbound
                .connection
                .end(DisconnectReason::TransportError);
            metrics::closed(DisconnectReason::TransportError);
        }
        self.leave();
    }
}
