//! One HTTP request in, one answer or an upgrade out.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;

use crate::config::Config;
use crate::handler::{DisconnectReason, Handler};

/// The body of an answer.
pub type Body = BoxBody<Bytes, Infallible>;

/// Socket.IO over HTTP. A clone is a reference to the same engine.
pub struct Engine<H: Handler> {
    config: Arc<Config>,
    handler: Arc<H>,
}

impl<H: Handler> Engine<H> {
    /// To be made inside a tokio runtime.
    pub fn new(config: Config, handler: Arc<H>) -> Engine<H> {
        Engine {
            config: Arc::new(config),
            handler,
        }
    }

    /// Answers a request for `/socket.io/`. The caller decides by path, and serves the connection
    /// with upgrades enabled and without half-close: an aborted poll is known by its dropped future.
    /// Upgrades need the connection to be a `TokioIo<TcpStream>`. `remote` is the client's address,
    /// after trusted proxies.
    pub async fn handle(&self, request: Request<Incoming>, remote: IpAddr) -> Response<Body> {
        let _ = (request, remote, &self.config);
        Response::new(Body::default())
    }

    /// The application.
    pub fn handler(&self) -> &Arc<H> {
        &self.handler
    }

    /// Sessions that are open.
    pub fn sessions(&self) -> usize {
        0
    }

    /// Ends up to so many sessions as [`crate::Socket::close`] does, and returns how many: what a
    /// drain spreads over time.
    pub fn close_some(&self, at_most: usize, reason: DisconnectReason) -> usize {
        let _ = (at_most, reason);
        0
    }

    /// Waits until no session is left and all event futures have ended.
    pub async fn closed(&self) {}
}

impl<H: Handler> Clone for Engine<H> {
    fn clone(&self) -> Self {
        Engine {
            config: Arc::clone(&self.config),
            handler: Arc::clone(&self.handler),
        }
    }
}
