//! POST: brings packets, which are given to the session's task.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use syncchat_protocol::DecodeError;
use syncchat_protocol::engineio::{ErrorCode, Packet, Payload, SEPARATOR};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::answer::{self, Body};
use crate::config::Config;
use crate::handler::DisconnectReason;
use crate::limits::CLOSING_POLL_WAIT;
use crate::session::{Farewell, Session, Shared, Transport};

/// The packets of one POST.
#[derive(Debug)]
pub(crate) struct Post {
    body: Bytes,
    /// Where the next packet begins; behind the body after the last.
    next: usize,
    done: oneshot::Sender<Done>,
}

/// What became of a POST's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    All,
    /// One of them was invalid.
    Invalid,
}

impl Post {
    /// The next packet; nothing comes after an error.
    pub(crate) fn next(&mut self) -> Option<Result<Packet<'_>, DecodeError>> {
        let rest = self.body.get(self.next..)?;
        let end = rest.iter().position(|&byte| byte == SEPARATOR);
        self.next += end.unwrap_or(rest.len()) + 1;
        let packet = Payload::new(&rest[..end.unwrap_or(rest.len())]).next();
        if matches!(packet, Some(Err(_))) {
            self.next = self.body.len() + 1;
        }
        packet
    }

    /// Lets the request be answered.
    pub(crate) fn finish(self, done: Done) {
        let _ = self.done.send(done);
    }
}

/// Answers a POST of a session.
pub(crate) async fn post(
    session: &Arc<Session>,
    headers: &HeaderMap,
    body: Incoming,
) -> Response<Body> {
    if session.is_parting() {
        return part(session, body).await;
    }
    let begun = session.lock().begin_post(Instant::now());
    let cancelled = match begun {
        Ok(cancelled) => cancelled,
        Err(Some(refusal)) => return answer::refusal(refusal),
        Err(None) => return answer::empty(StatusCode::BAD_REQUEST),
    };
    let mut guard = PostGuard {
        session,
        is_read: false,
    };
    if is_binary(headers) {
        session.end(DisconnectReason::TransportError, Farewell::error());
        return answer::closing(answer::empty(StatusCode::BAD_REQUEST));
    }
    let body = match read(session, body, cancelled).await {
        Ok(body) => body,
        Err(status) => {
            guard.is_read = status == StatusCode::PAYLOAD_TOO_LARGE;
            return answer::closing(answer::empty(status));
        }
    };
    guard.is_read = true;
    if ends_session(&body) {
        let poll = session.lock().await_poll();
        if let Some(poll) = poll {
            let _ = timeout(CLOSING_POLL_WAIT, poll).await;
        }
    }
    let done = session.lock().deliver_post(body);
    match done.await {
        Ok(Done::All) => answer::ok(),
        Err(_) if session.is_parting() => answer::ok(),
        Ok(Done::Invalid) | Err(_) => answer::empty(StatusCode::BAD_REQUEST),
    }
}

/// The session was ended by the server, and its client did not know when it sent this.
async fn part(session: &Session, body: Incoming) -> Response<Body> {
    match read_body(&session.config, body).await {
        Ok(_) => answer::ok(),
        Err(status) => answer::closing(answer::empty(status)),
    }
}

/// Ends a session whose POST broke off: nobody knows what was in it.
struct PostGuard<'a> {
    session: &'a Session,
    is_read: bool,
}

impl Drop for PostGuard<'_> {
    fn drop(&mut self) {
        let mut shared = self.session.lock();
        if let Some(polling) = &mut shared.polling {
            polling.posting = None;
        }
        if !self.is_read {
            shared.end(DisconnectReason::TransportClose, Farewell::error());
        }
        // After an upgrade this may have been the last request.
        if shared.transport == Transport::WebSocket {
            shared.wake();
        }
    }
}

fn is_binary(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes()
            .eq_ignore_ascii_case(b"application/octet-stream")
    })
}

async fn read(
    session: &Session,
    body: Incoming,
    cancelled: oneshot::Receiver<()>,
) -> Result<Bytes, StatusCode> {
    tokio::select! {
        read = read_body(&session.config, body) => read,
        _ = cancelled => Err(StatusCode::BAD_REQUEST),
    }
}

/// A whole body, if it is neither too long nor too slow.
pub(crate) async fn read_body(config: &Config, body: Incoming) -> Result<Bytes, StatusCode> {
    let max = config.max_payload;
    if body.size_hint().lower() > max as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    match timeout(config.body_timeout, Limited::new(body, max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// Whether the last packet is a close.
fn ends_session(body: &[u8]) -> bool {
    matches!(body, [b'1'] | [.., SEPARATOR, b'1'])
}

impl Shared {
    fn begin_post(&mut self, now: Instant) -> Result<oneshot::Receiver<()>, Option<ErrorCode>> {
        if let Some(refusal) = self.refusal(now) {
            return Err(Some(refusal));
        }
        let Some(polling) = &mut self.polling else {
            return Err(Some(ErrorCode::BadRequest));
        };
        if polling.posting.is_some() {
            self.end(DisconnectReason::TransportError, Farewell::error());
            return Err(None);
        }
        let (cancel, cancelled) = oneshot::channel();
        polling.posting = Some(cancel);
        Ok(cancelled)
    }

    fn deliver_post(&mut self, body: Bytes) -> oneshot::Receiver<Done> {
        let (done, receiver) = oneshot::channel();
        if self.end.is_none()
            && let Some(polling) = &mut self.polling
        {
            polling.post = Some(Post {
                body,
                next: 0,
                done,
            });
            self.wake();
        }
        receiver
    }

    fn await_poll(&mut self) -> Option<oneshot::Receiver<()>> {
        let polling = self
            .polling
            .as_mut()
            .filter(|polling| polling.waiting.is_none())?;
        let (came, receiver) = oneshot::channel();
        polling.poll_came = Some(came);
        Some(receiver)
    }
}
