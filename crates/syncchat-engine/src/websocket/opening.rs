//! The opening handshake (RFC 6455, 4.2), on hyper's upgrade.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http::{header, request};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::warn;

use bytes::Bytes;

use super::Stream;
use crate::answer::{self, Body};

/// The only version there is.
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// Bytes of a decoded `Sec-WebSocket-Key`.
const KEY_BYTES: usize = 16;

/// Whether a request asks for a WebSocket.
pub(crate) fn is_asked(headers: &HeaderMap) -> bool {
    has_token(headers, &header::UPGRADE, "websocket")
}

/// The promise of a connection, once the 101 is out.
pub(crate) struct Opening(OnUpgrade);

/// Takes the connection from a request, before its parts are used up.
pub(crate) fn prepare<B>(request: &mut Request<B>) -> Opening {
    Opening(hyper::upgrade::on(request))
}

/// The 101, or why not.
pub(crate) fn accept(parts: &request::Parts) -> Result<Response<Body>, Box<Response<Body>>> {
    let bad = || {
        let refused = answer::refused_upgrade(StatusCode::BAD_REQUEST, "Bad request");
        Box::new(refused)
    };
    let headers = &parts.headers;
    if parts.method != Method::GET
        || parts.version < Version::HTTP_11
        || !has_token(headers, &header::CONNECTION, "upgrade")
    {
        return Err(bad());
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        let mut response = answer::refused_upgrade(StatusCode::UPGRADE_REQUIRED, "Bad request");
        response
            .headers_mut()
            .insert(header::SEC_WEBSOCKET_VERSION, VERSION);
        return Err(Box::new(response));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or_else(bad)?;
    if STANDARD.decode(key.as_bytes()).map_or(0, |key| key.len()) != KEY_BYTES {
        return Err(bad());
    }
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| bad())?;
    let mut response = answer::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

impl Opening {
    /// Of an upgrade that hyper was asked for already.
    pub(crate) fn new(upgrade: OnUpgrade) -> Opening {
        Opening(upgrade)
    }

    /// Waits until the 101 is written; takes the TCP stream out of hyper, which then forgets the
    /// connection and its buffers.
    pub(crate) async fn open(self) -> Option<Stream> {
        let (stream, rest) = self.tcp().await?;
        Some(Stream::new(stream, &rest))
    }

    /// The same, without making it a WebSocket: the stream, and what was read behind the handshake.
    pub(crate) async fn tcp(self) -> Option<(TcpStream, Bytes)> {
        let upgraded = self.0.await.ok()?;
        let stream = into_tcp(upgraded);
        if stream.is_none() {
            warn!("upgraded connection is no plain tcp stream");
        }
        stream
    }
}

fn into_tcp(upgraded: Upgraded) -> Option<(TcpStream, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf))
}

/// Whether a comma-separated header holds a word.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        let value = value.to_str().unwrap_or_default();
        value
            .split(',')
            .any(|word| word.trim().eq_ignore_ascii_case(token))
    })
}
