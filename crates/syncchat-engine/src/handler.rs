//! What an application implements to live on the engine, and what it gets in return.
//!
//! The engine knows sessions, packets and acks; it knows no chat, no token and no store.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
pub use syncchat_protocol::socketio::EventName;

use crate::socket::Socket;

/// Who knocks, before there is a session.
#[derive(Debug, Clone)]
pub struct Handshake {
    /// The client's address, after trusted proxies.
    pub remote: IpAddr,
    /// The request's headers.
    pub headers: http::HeaderMap,
    /// The query, decoded, in order; of a repeated name the last one counts.
    pub query: Vec<(String, String)>,
    /// The id under which logs speak of this connection.
    pub connection_id: Arc<str>,
}

/// Why nobody is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 503: full, or draining.
    Busy {
        /// For `Retry-After`.
        retry_after: Duration,
    },
    /// 429: this address asks too often.
    RateLimited {
        /// For `Retry-After`.
        retry_after: Duration,
    },
    /// 403: the application says no.
    Forbidden(&'static str),
}

/// Why a namespace was not joined: becomes CONNECT_ERROR `{"message", "data"?}`.
#[derive(Debug, Clone)]
pub struct ConnectError {
    /// For people.
    pub message: String,
    /// JSON for programs.
    pub data: Option<Box<RawValue>>,
}

/// An event from a client.
#[derive(Debug)]
pub struct Event {
    /// Its name; never a reserved one.
    pub name: EventName,
    /// The arguments as they were written, without the name.
    pub args: Vec<Box<RawValue>>,
    /// Binary arguments; `{"_placeholder":true,"num":N}` in `args` stands for the N-th.
    pub attachments: Vec<Bytes>,
    /// Whether the client waits for an ack.
    pub wants_ack: bool,
}

/// Arguments of an ack, as JSON, with placeholders for the attachments.
#[derive(Debug, Clone, Default)]
pub struct AckArgs {
    /// One JSON text each.
    pub args: Vec<Box<RawValue>>,
    /// What the placeholders stand for.
    pub attachments: Vec<Bytes>,
}

/// Why a socket has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The client sent DISCONNECT.
    ClientDisconnect,
    /// The application disconnected it.
    ServerDisconnect,
    /// The application closed the connection; the client will come back.
    ServerClose,
    /// The connection ended.
    TransportClose,
    /// The connection broke, or spoke against the protocol.
    TransportError,
    /// No pong in time.
    PingTimeout,
    /// It took nothing for the slow timeout.
    SlowConsumer,
}

impl DisconnectReason {
    /// The name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            DisconnectReason::ClientDisconnect => "client_disconnect",
            DisconnectReason::ServerDisconnect => "server_disconnect",
            DisconnectReason::ServerClose => "server_close",
            DisconnectReason::TransportClose => "transport_close",
            DisconnectReason::TransportError => "transport_error",
            DisconnectReason::PingTimeout => "ping_timeout",
            DisconnectReason::SlowConsumer => "slow_consumer",
        }
    }
}

/// An application on the engine. The engine calls it from the connection's own task: what is sync
/// here must not block.
pub trait Handler: Send + Sync + Sized + 'static {
    /// What the application keeps with each socket (one namespace of one session). Made by
    /// [`Handler::connect`], reachable by [`Socket::data`].
    type Data: Send + Sync + 'static;

    /// Whether a new session may begin.
    fn admit(&self, handshake: &Handshake) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Whether this namespace exists. Anything else gets `{"message":"Invalid namespace"}`.
    fn has_namespace(&self, namespace: &str) -> bool;

    /// A client wants to join a namespace, with CONNECT's object if it sent one. After `Ok` the
    /// engine sends CONNECT `{"sid"}`, or `{"sid", "pid"}`, and then calls [`Handler::connected`].
    fn connect(
        &self,
        handshake: &Arc<Handshake>,
        namespace: &str,
        auth: Option<&RawValue>,
    ) -> impl Future<Output = Result<Self::Data, ConnectError>> + Send;

    /// The `pid` of connection state recovery for CONNECT's answer. The one that the client came
    /// with says that it was recovered, another one that it was not, and none that there is no such
    /// thing.
    fn pid<'a>(&self, _data: &'a Self::Data) -> Option<&'a str> {
        None
    }

    /// The socket has joined; what is emitted now comes right after CONNECT.
    fn connected(&self, socket: &Socket<Self>);

    /// An event came. Futures of one socket are first polled in the order in which the events
    /// came; a bounded number of them runs at once, beyond it the connection is not read. The
    /// result is the ack; ignored if none is wanted. `None` while one is wanted: no ack is sent.
    fn event(
        &self,
        socket: &Socket<Self>,
        event: Event,
    ) -> impl Future<Output = Option<AckArgs>> + Send;

    /// The outbound queue, once refused with [`crate::socket::Pushed::Behind`], has drained below
    /// half its limit: the application may refill.
    fn drained(&self, socket: &Socket<Self>);

    /// The client has taken nothing for the slow timeout, and its connection is about to be closed. What
    /// it was not sent yet is dropped, but what is essential; what is emitted now follows that, and is
    /// written if the client takes it within a second ([`crate::limits::SLOW_GOODBYE_WAIT`]).
    fn takes_nothing(&self, socket: &Socket<Self>) {
        let _ = socket;
    }

    /// The socket has left; called exactly once after [`Handler::connected`].
    fn disconnected(&self, socket: &Socket<Self>, reason: DisconnectReason);
}
