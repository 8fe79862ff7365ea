//! The answers to requests.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Frame, SizeHint};
use syncchat_protocol::engineio::ErrorCode;

use crate::handler::DisconnectReason;
use crate::session::{Farewell, Session};

/// The body of an answer.
pub type Body = BoxBody<Bytes, BodyError>;

/// Why the rest of a body does not come: it was another node's, and that broke off.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html");
const PAYLOAD: HeaderValue = HeaderValue::from_static("text/plain; charset=UTF-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Empty::new().map_err(never).boxed());
    *response.status_mut() = status;
    response
}

/// A body of our own does not fail.
pub(crate) fn never(never: std::convert::Infallible) -> BodyError {
    match never {}
}

fn with(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).map_err(never).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A refused request of long polling.
pub(crate) fn refusal(code: ErrorCode) -> Response<Body> {
    with(status(code), JSON, code.json())
}

/// The application's no to a handshake by polling.
pub(crate) fn forbidden(message: &str) -> Response<Body> {
    let code = ErrorCode::Forbidden;
    with(status(code), JSON, code.json_with(message))
}

fn status(code: ErrorCode) -> StatusCode {
    StatusCode::from_u16(code.polling_status()).unwrap_or(StatusCode::BAD_REQUEST)
}

/// A refused upgrade: the bare message.
pub(crate) fn refused_upgrade(status: StatusCode, message: &str) -> Response<Body> {
    closing(with(status, HTML, message.to_owned()))
}

/// 503 or 429. The official client only backs off; others may read when to come back.
pub(crate) fn later(status: StatusCode, after: Duration) -> Response<Body> {
    let mut response = empty(status);
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, seconds.into());
    response
}

/// What a POST gets.
pub(crate) fn ok() -> Response<Body> {
    let mut response = with(StatusCode::OK, HTML, &b"ok"[..]);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, NO_STORE);
    response
}

/// What a poll gets.
pub(crate) fn payload(body: PollBody) -> Response<Body> {
    let mut response = Response::new(body.boxed());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, PAYLOAD);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    response
}

/// Has the connection closed behind an answer.
pub(crate) fn closing(mut response: Response<Body>) -> Response<Body> {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

/// A payload that knows whether the connection took it. Packets that it did not take are lost, and
/// with them the session.
pub(crate) struct PollBody {
    data: Option<Bytes>,
    session: Option<Arc<Session>>,
}

impl PollBody {
    /// `session` if packets of its queue are in it.
    pub(crate) fn new(data: Bytes, session: Option<Arc<Session>>) -> PollBody {
        PollBody {
            data: Some(data),
            session,
        }
    }
}

impl hyper::body::Body for PollBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(session) = self.session.take() {
            session.lock().poll_answered();
        }
        Poll::Ready(self.data.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}

impl Drop for PollBody {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let mut shared = session.lock();
            shared.poll_answered();
            shared.end(DisconnectReason::TransportClose, Farewell::Abort);
        }
    }
}
