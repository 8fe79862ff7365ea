//! An answer on its way through, and the place it takes meanwhile.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until};

use super::headers;
use crate::answer::{Body, BodyError};
use crate::metrics;

/// One of the places for what is passed on.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    kind: &'static str,
}

impl Place {
    /// One of those that are free.
    pub(super) fn take(places: &Arc<Semaphore>) -> Option<Place> {
        let permit = Arc::clone(places).try_acquire_owned().ok()?;
        Some(Place::counted(permit, "request"))
    }

    /// The request has become a WebSocket.
    pub(super) fn for_websocket(mut self) -> Place {
        metrics::forwards(self.kind, -1.0);
        self.kind = "websocket";
        metrics::forwards(self.kind, 1.0);
        self
    }

    fn counted(permit: OwnedSemaphorePermit, kind: &'static str) -> Place {
        metrics::forwards(kind, 1.0);
        Place {
            _permit: permit,
            kind,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::forwards(self.kind, -1.0);
    }
}

/// The body of another node's answer. One that does not come in time breaks off, and the client with
/// it: it must not take a part for the whole.
pub(super) struct Passed {
    body: Incoming,
    late: Pin<Box<Sleep>>,
    _place: Place,
}

impl Passed {
    /// The whole answer.
    pub(super) fn answer(
        mut response: Response<Incoming>,
        place: Place,
        deadline: Instant,
    ) -> Response<Body> {
        *response.headers_mut() = headers::end_to_end(response.headers());
        response.map(|body| {
            let passed = Passed {
                body,
                late: Box::pin(sleep_until(deadline)),
                _place: place,
            };
            passed.boxed()
        })
    }
}

impl hyper::body::Body for Passed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        match self.late.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err("the answer did not end in time".into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
