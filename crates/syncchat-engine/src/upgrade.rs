//! The move of a session from long polling to a WebSocket.
//!
//! ```text
//! 101 ─→ `2probe` ─→ `3probe`, and polls end with `6` ─→ `5` ─→ the WebSocket is the transport
//! ```
//!
//! Until `5` the session stays on polling, and whatever happens to the candidate does not disturb
//! it. What is still queued at `5` goes out by WebSocket, after what polls have taken.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use syncchat_protocol::engineio::{PROBE, Packet};
use syncchat_protocol::{Frame, websocket};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::config::Config;
use crate::limits::CLOSE_ANSWER_WAIT;
use crate::metrics;
use crate::outbound::Outbound;
use crate::session::{Session, Shared, Transport};
use crate::socket::Class;
use crate::websocket::opening::Opening;
use crate::websocket::reader::Message;
use crate::websocket::{Read, ReadError, Stream};

/// How far a session is with its upgrade.
#[derive(Debug)]
pub(crate) enum Attempt {
    None,
    /// A WebSocket was opened; dropping the sender has it closed.
    Opened(oneshot::Sender<()>),
    /// It has probed.
    Probed(#[expect(dead_code, reason = "kept for its drop")] oneshot::Sender<()>),
}

impl Attempt {
    pub(crate) fn is_probed(&self) -> bool {
        matches!(self, Attempt::Probed(_))
    }
}

impl Shared {
    /// Begins an attempt; `None` if there is one, or the session is not on polling any more.
    fn begin_upgrade(&mut self) -> Option<oneshot::Receiver<()>> {
        if self.end.is_some() || self.transport == Transport::WebSocket {
            return None;
        }
        let polling = self.polling.as_mut()?;
        if !matches!(polling.attempt, Attempt::None) {
            return None;
        }
        let (cancel, cancelled) = oneshot::channel();
        polling.attempt = Attempt::Opened(cancel);
        Some(cancelled)
    }

    /// The WebSocket has probed: polls have to end.
    fn probed(&mut self) {
        let Some(polling) = &mut self.polling else {
            return;
        };
        if let Attempt::Opened(cancel) = std::mem::replace(&mut polling.attempt, Attempt::None) {
            polling.attempt = Attempt::Probed(cancel);
            polling.release_saying(Frame::noop());
        }
    }

    fn abandon_upgrade(&mut self) {
        if let Some(polling) = &mut self.polling {
            polling.attempt = Attempt::None;
        }
    }

    /// The WebSocket is the transport from here on. Gives it back if the session is over.
    fn complete_upgrade(&mut self, stream: Stream) -> Result<(), Stream> {
        if self.end.is_some() {
            return Err(stream);
        }
        let Some(polling) = &mut self.polling else {
            return Err(stream);
        };
        polling.attempt = Attempt::None;
        polling.release_saying(Frame::noop());
        polling.handover = Some(stream);
        self.transport = Transport::WebSocket;
        self.wake();
        Ok(())
    }
}

/// Follows a WebSocket that was opened with the id of a session.
pub(crate) async fn attempt(session: Arc<Session>, opening: Opening) {
    let config = Arc::clone(&session.config);
    let begun = session.lock().begin_upgrade();
    let Ok(Some(stream)) = timeout(config.upgrade_timeout, opening.open()).await else {
        if begun.is_some() {
            session.lock().abandon_upgrade();
        }
        return;
    };
    let mut candidate = Candidate::new(stream, &config);
    let Some(cancelled) = begun else {
        metrics::upgrade("second");
        return candidate.close(websocket::CLOSE).await;
    };
    let mut cancelled = pin!(cancelled);
    let probing = poll_fn(|cx| {
        if cancelled.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Probe::Failed(websocket::CLOSE));
        }
        candidate.poll_probe(cx, &session)
    });
    match timeout(config.upgrade_timeout, probing).await {
        Ok(Probe::Complete) => {
            let completed = session.lock().complete_upgrade(candidate.stream);
            let Err(stream) = completed else {
                return metrics::upgrade("ok");
            };
            candidate = Candidate::new(stream, &config);
            candidate.close(websocket::CLOSE).await;
        }
        failed => {
            session.lock().abandon_upgrade();
            metrics::upgrade(if failed.is_ok() { "failed" } else { "timeout" });
            if let Ok(Probe::Failed(close)) = failed {
                candidate.close(close).await;
            } else if failed.is_err() {
                candidate.close(websocket::CLOSE).await;
            }
        }
    }
}

/// A WebSocket that may become a session's.
struct Candidate {
    stream: Stream,
    out: Outbound,
    verdict: Option<Probe>,
}

enum Probe {
    /// `5` came.
    Complete,
    /// To be closed so.
    Failed(Bytes),
    /// It is gone.
    Gone,
}

impl Candidate {
    fn new(stream: Stream, config: &Config) -> Candidate {
        Candidate {
            stream,
            out: Outbound::new(config.outbound_limit),
            verdict: None,
        }
    }

    /// Done when `5` or something else came, and all that was to be said before is written.
    fn poll_probe(&mut self, cx: &mut Context<'_>, session: &Session) -> Poll<Probe> {
        let Candidate {
            stream,
            out,
            verdict,
        } = self;
        while verdict.is_none() {
            let mut sink = |message: Message<'_>| {
                *verdict = judge(message, session, out);
                match verdict {
                    None => ControlFlow::Continue(()),
                    Some(_) => ControlFlow::Break(()),
                }
            };
            match stream.poll_read(cx, session.config.max_payload, &mut sink) {
                Poll::Ready(Ok(Read::Some | Read::Stopped)) => {}
                Poll::Ready(Err(ReadError::Fault(fault))) => {
                    *verdict = Some(Probe::Failed(websocket::close(fault.close_code(), "")));
                }
                Poll::Ready(Ok(Read::End) | Err(ReadError::Io)) => *verdict = Some(Probe::Gone),
                Poll::Pending => break,
            }
        }
        let is_written = ready!(write(stream, out, cx));
        match verdict.take() {
            Some(verdict) => Poll::Ready(verdict),
            None if is_written => Poll::Pending,
            None => Poll::Ready(Probe::Gone),
        }
    }

    /// Closes it, and gives the client a moment to answer.
    async fn close(mut self, close: Bytes) {
        let _ = self.out.push_raw(close);
        let Candidate { stream, out, .. } = &mut self;
        let closing = poll_fn(|cx| match write(stream, out, cx) {
            Poll::Ready(true) => stream.poll_shut(cx),
            other => other.map(|_| ()),
        });
        let _ = timeout(CLOSE_ANSWER_WAIT, closing).await;
    }
}

/// What a message means to a candidate; `None`: go on.
fn judge(message: Message<'_>, session: &Session, out: &mut Outbound) -> Option<Probe> {
    match message {
        Message::Text(text) => match Packet::from_text(text) {
            Ok(Packet::Ping(PROBE)) => {
                session.lock().probed();
                let _ = out.push(&Frame::probe_answer(), Class::Essential);
                None
            }
            Ok(Packet::Upgrade) => Some(Probe::Complete),
            _ => Some(Probe::Failed(websocket::CLOSE)),
        },
        Message::Binary(_) => Some(Probe::Failed(websocket::CLOSE)),
        Message::Ping(payload) => {
            let _ = out.push_raw(websocket::pong(payload));
            None
        }
        Message::Pong => None,
        Message::Close(code) => Some(Probe::Failed(
            code.map_or(websocket::CLOSE, |code| websocket::close(code, "")),
        )),
    }
}

/// Writes what waits; false if the connection is broken.
fn write(stream: &mut Stream, out: &mut Outbound, cx: &mut Context<'_>) -> Poll<bool> {
    let Some(mut writer) = stream.writer() else {
        return Poll::Ready(false);
    };
    while let Some(mut batch) = out.begin() {
        let written = batch.poll_write(writer.as_mut(), cx);
        out.finish(batch);
        match written {
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(false),
            Poll::Pending => return Poll::Pending,
        }
    }
    Poll::Ready(true)
}
