//! One HTTP request in, one answer or an upgrade out.
//!
//! The checks and their order are the protocol's; each has one place.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, request};
use hyper::body::Incoming;
use syncchat_protocol::Frame;
use syncchat_protocol::engineio::{ErrorCode, Open};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use tracing::{debug, error};

use crate::answer::{self, Body, PollBody};
use crate::config::Config;
use crate::driver::Driver;
use crate::flush::Flusher;
use crate::forward::{Fleet, Forwarder, Stray, TICKET};
use crate::handler::{DisconnectReason, Handler, Handshake, Refusal};
use crate::heartbeat::Heartbeat;
use crate::id::{Id, NodeTag, Sid};
use crate::limits::{ADMIT_WAIT, RETRY_AFTER};
use crate::metrics;
use crate::origin::{self, Cors};
use crate::protocol::{Framing, Protocol};
use crate::request::{self as query, Query};
use crate::session::{Session, Transport};
use crate::sessions::{Seat, Sessions};
use crate::socket::Class;
use crate::socketio::SocketIo;
use crate::websocket::Stream;
use crate::websocket::opening::{self, Opening};
use crate::{polling, upgrade};

/// Socket.IO over HTTP, with an application on it.
pub type Engine<H> = Server<SocketIo<H>>;

/// Engine.IO over HTTP, with any protocol on it. A clone is a reference to the same server.
pub struct Server<P: Protocol> {
    inner: Arc<Inner<P>>,
}

struct Inner<P> {
    config: Arc<Config>,
    protocol: Arc<P>,
    sessions: Arc<Sessions>,
    flusher: Arc<Flusher>,
    tasks: TaskTracker,
    /// For what belongs to other nodes, if there are any.
    forwarder: Option<Forwarder>,
}

/// Whose request it is.
enum Route {
    /// This node's.
    Here(Caller),
    /// This other node's.
    Elsewhere(NodeTag),
    /// Nobody's: it claims falsely to come from another node.
    Refused,
}

/// From whom a request comes.
#[derive(Debug, Clone, Copy)]
struct Caller {
    remote: IpAddr,
    /// If it came by another node: how long its poll may be held.
    hold: Option<Duration>,
}

impl<H: Handler> Server<SocketIo<H>> {
    /// A server on its own. To be made inside a tokio runtime.
    pub fn new(config: Config, handler: Arc<H>) -> Engine<H> {
        Server::socket_io(config, handler, None)
    }

    /// One of many servers, each of which takes requests for the sessions of all.
    pub fn in_fleet(config: Config, handler: Arc<H>, fleet: Fleet) -> Engine<H> {
        Server::socket_io(config, handler, Some(fleet))
    }

    fn socket_io(config: Config, handler: Arc<H>, fleet: Option<Fleet>) -> Engine<H> {
        let config = Arc::new(config);
        let protocol = Arc::new(SocketIo::new(handler, Arc::clone(&config)));
        Server::build(config, protocol, fleet)
    }

    /// The application.
    pub fn handler(&self) -> &Arc<H> {
        self.inner.protocol.handler()
    }
}

impl<P: Protocol> Server<P> {
    /// A server for another protocol than Socket.IO. To be made inside a tokio runtime.
    pub fn with_protocol(config: Arc<Config>, protocol: Arc<P>) -> Server<P> {
        Server::build(config, protocol, None)
    }

    fn build(config: Arc<Config>, protocol: Arc<P>, fleet: Option<Fleet>) -> Server<P> {
        let sessions = Arc::new(Sessions::new(config.max_sessions));
        let tasks = TaskTracker::new();
        let forwarder =
            fleet.map(|fleet| Forwarder::new(fleet, Arc::clone(&config), tasks.clone()));
        Server {
            inner: Arc::new(Inner {
                config,
                protocol,
                sessions,
                flusher: Flusher::start(),
                tasks,
                forwarder,
            }),
        }
    }

    /// Answers a request for the socket path, which the caller has compared. The caller serves the
    /// connection with upgrades and a header timeout, and without half-close: an aborted poll is
    /// known by its dropped future. Upgrades need the connection to be a `TokioIo<TcpStream>`.
    /// `remote` is the client's address, after trusted proxies.
    pub async fn handle(&self, mut request: Request<Incoming>, remote: IpAddr) -> Response<Body> {
        let opening = opening::is_asked(request.headers()).then(|| opening::prepare(&mut request));
        let (parts, body) = request.into_parts();
        let cors = Cors::new(&self.inner.config.origins, &parts.headers);
        let preflight = (parts.method == Method::OPTIONS && opening.is_none())
            .then(|| cors.preflight(&parts.headers))
            .flatten();
        let mut response = match (preflight, self.inner.route(&parts, remote), opening) {
            (Some(response), ..) => response,
            (None, Route::Here(caller), Some(opening)) => {
                self.inner.upgrade(parts, caller, opening).await
            }
            (None, Route::Here(caller), None) => self.inner.answer(parts, body, caller).await,
            (None, Route::Elsewhere(node), opening) => {
                let stray = Stray {
                    parts,
                    body,
                    client: remote,
                    opening,
                };
                match self.inner.pass_on(node, stray).await {
                    // The other node has set the headers of CORS.
                    Ok(response) => return response,
                    Err(response) => response,
                }
            }
            (None, Route::Refused, _) => answer::closing(answer::empty(StatusCode::FORBIDDEN)),
        };
        cors.apply(&mut response);
        response
    }

    /// Sessions that are open.
    pub fn sessions(&self) -> usize {
        self.inner.sessions.len()
    }

    /// Ends up to so many sessions as [`crate::Socket::close`] does, and returns how many: what a
    /// drain spreads over time.
    pub fn close_some(&self, at_most: usize, reason: DisconnectReason) -> usize {
        let sessions = self.inner.sessions.some(at_most);
        sessions.iter().for_each(|session| session.close(reason));
        sessions.len()
    }

    /// Lets go of WebSockets that belong to other nodes, each at a moment of its own within `spread`:
    /// their clients come back elsewhere.
    pub fn release_forwarded(&self, spread: Duration) {
        if let Some(forwarder) = &self.inner.forwarder {
            forwarder.drain(spread);
        }
    }

    /// Waits until a task has ended that the server needs as long as it lives, and names it. Some
    /// sessions are written to no more from then on.
    pub async fn failed(&self) -> &'static str {
        self.inner.flusher.failed().await;
        "socket writer"
    }

    /// Waits until no session is left and all event futures have ended.
    pub async fn closed(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

impl<P: Protocol> Inner<P> {
    fn route(&self, parts: &request::Parts, remote: IpAddr) -> Route {
        let direct = Caller { remote, hold: None };
        match (parts.headers.get(TICKET), &self.forwarder) {
            (None, None) => Route::Here(direct),
            (None, Some(forwarder)) => match forwarder.elsewhere(parts) {
                Some(node) => Route::Elsewhere(node),
                None => Route::Here(direct),
            },
            (Some(_), None) => Route::Refused,
            (Some(ticket), Some(forwarder)) => match forwarder.accept(ticket, parts) {
                Some(ticket) => Route::Here(Caller {
                    remote: ticket.client,
                    hold: Some(ticket.hold),
                }),
                None => Route::Refused,
            },
        }
    }

    async fn pass_on(&self, node: NodeTag, stray: Stray) -> Result<Response<Body>, Response<Body>> {
        let is_upgrade = stray.opening.is_some();
        match &self.forwarder {
            Some(forwarder) => forwarder
                .pass(node, stray)
                .await
                .map_err(|failure| failure.answer(is_upgrade)),
            None => Err(answer::refusal(ErrorCode::UnknownSid)),
        }
    }

    /// A request that is no upgrade.
    async fn answer(
        self: &Arc<Self>,
        parts: request::Parts,
        body: Incoming,
        caller: Caller,
    ) -> Response<Body> {
        let query = match query::parse(parts.uri.query().unwrap_or_default()) {
            Some(query) if P::FRAMING == Framing::EngineIo => query,
            _ => return answer::refusal(ErrorCode::BadRequest),
        };
        let transport = match query::get(&query, "transport") {
            Some("polling") => Transport::Polling,
            Some("websocket") => Transport::WebSocket,
            _ => return self.refuse(Transport::Polling, ErrorCode::UnknownTransport),
        };
        if let Some(sid) = query::get(&query, "sid").filter(|sid| !sid.is_empty()) {
            return match self.find(sid, transport, &parts.method, &query) {
                Ok(session) => match parts.method {
                    Method::GET => polling::get(&session, &parts.headers, caller.hold).await,
                    Method::POST => polling::post(&session, &parts.headers, body).await,
                    _ => answer::empty(StatusCode::METHOD_NOT_ALLOWED),
                },
                Err(code) => answer::refusal(code),
            };
        }
        if parts.method != Method::GET {
            return self.refuse(transport, ErrorCode::BadHandshakeMethod);
        }
        if transport == Transport::WebSocket {
            return self.refuse(transport, ErrorCode::BadRequest);
        }
        let (handshake, seat) = match self.admit(parts, query, caller.remote).await {
            Ok(admitted) => admitted,
            Err(Refused::Code(code)) => return self.refuse(transport, code),
            Err(Refused::Forbidden(message)) => return answer::forbidden(message),
            Err(Refused::Later(status, after)) => return answer::later(status, after),
        };
        self.begin_polling(handshake, seat)
    }

    /// A request for a WebSocket.
    async fn upgrade(
        self: &Arc<Self>,
        parts: request::Parts,
        caller: Caller,
        opening: Opening,
    ) -> Response<Body> {
        let transport = Transport::WebSocket;
        let refuse = |code: ErrorCode| {
            metrics::handshake(transport.as_str(), result(code));
            answer::refused_upgrade(StatusCode::BAD_REQUEST, code.message())
        };
        let Some(query) = query::parse(parts.uri.query().unwrap_or_default()) else {
            return refuse(ErrorCode::BadRequest);
        };
        if P::FRAMING == Framing::EngineIo {
            match query::get(&query, "transport") {
                Some("websocket") => {}
                Some("polling") => return refuse(ErrorCode::BadRequest),
                _ => return refuse(ErrorCode::UnknownTransport),
            }
        }
        if !origin::may_open_websocket(&self.config.origins, &parts.headers) {
            metrics::handshake(transport.as_str(), "foreign_origin");
            return answer::refused_upgrade(StatusCode::FORBIDDEN, "Forbidden");
        }
        let accepted = match opening::accept(&parts) {
            Ok(accepted) => accepted,
            Err(refused) => {
                metrics::handshake(transport.as_str(), "bad_request");
                return *refused;
            }
        };
        if let Some(sid) = query::get(&query, "sid").filter(|sid| !sid.is_empty()) {
            return match self.find(sid, Transport::Polling, &parts.method, &query) {
                Ok(session) => {
                    self.tasks.spawn(upgrade::attempt(session, opening));
                    accepted
                }
                Err(code) => answer::refused_upgrade(StatusCode::BAD_REQUEST, code.message()),
            };
        }
        match self.admit(parts, query, caller.remote).await {
            Ok((handshake, seat)) => {
                self.begin_websocket(handshake, seat, opening);
                accepted
            }
            Err(Refused::Code(code)) => refuse(code),
            Err(Refused::Forbidden(message)) => {
                answer::refused_upgrade(StatusCode::BAD_REQUEST, message)
            }
            Err(Refused::Later(status, after)) => answer::closing(answer::later(status, after)),
        }
    }

    fn refuse(&self, transport: Transport, code: ErrorCode) -> Response<Body> {
        metrics::handshake(transport.as_str(), result(code));
        answer::refusal(code)
    }

    /// The session of a `sid`. One that began on a WebSocket has no requests; one that moved to it
    /// refuses them by itself.
    fn find(
        &self,
        sid: &str,
        transport: Transport,
        method: &Method,
        query: &Query,
    ) -> Result<Arc<Session>, ErrorCode> {
        let found = Sid::parse(sid).and_then(|id| self.sessions.get(id));
        let session = found.ok_or(ErrorCode::UnknownSid)?;
        let is_parting = session.is_parting();
        let refusal = session.lock().refusal(Instant::now());
        match refusal {
            // Looked after by the POST itself.
            Some(ErrorCode::UnknownSid) if method == Method::POST && is_parting => {}
            Some(ErrorCode::UnknownSid) => return Err(ErrorCode::UnknownSid),
            _ if transport != session.origin => return Err(ErrorCode::BadRequest),
            _ if query::get(query, "EIO") != Some("4") => return Err(ErrorCode::BadRequest),
            _ => {}
        }
        Ok(session)
    }

    /// Asks for a place and for the application's consent.
    async fn admit(
        self: &Arc<Self>,
        parts: request::Parts,
        query: Query,
        remote: IpAddr,
    ) -> Result<(Arc<Handshake>, Seat), Refused> {
        let transport = match query::get(&query, "transport") {
            Some("polling") => Transport::Polling,
            _ => Transport::WebSocket,
        };
        let count = |result| metrics::handshake(transport.as_str(), result);
        let Some(seat) = self.sessions.reserve() else {
            count("full");
            return Err(Refused::Later(StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER));
        };
        let id = Id::random().map_err(|error| {
            error!(%error, "no random bytes");
            Refused::Later(StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER)
        })?;
        let handshake = Handshake {
            remote,
            headers: parts.headers,
            query,
            connection_id: id.as_str().into(),
        };
        match timeout(ADMIT_WAIT, self.protocol.admit(&handshake)).await {
            Ok(Ok(())) => {}
            Ok(Err(Refusal::Busy { retry_after })) => {
                count("busy");
                return Err(Refused::Later(StatusCode::SERVICE_UNAVAILABLE, retry_after));
            }
            Ok(Err(Refusal::RateLimited { retry_after })) => {
                count("rate_limited");
                return Err(Refused::Later(StatusCode::TOO_MANY_REQUESTS, retry_after));
            }
            Ok(Err(Refusal::Forbidden(message))) => {
                count("forbidden");
                return Err(Refused::Forbidden(message));
            }
            Err(_) => {
                count("busy");
                return Err(Refused::Later(StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER));
            }
        }
        if P::FRAMING == Framing::EngineIo && query::get(&handshake.query, "EIO") != Some("4") {
            return Err(Refused::Code(ErrorCode::UnsupportedProtocolVersion));
        }
        count("ok");
        debug!(connection = &*handshake.connection_id, %remote, "session begins");
        Ok((Arc::new(handshake), seat))
    }

    fn begin_polling(self: &Arc<Self>, handshake: Arc<Handshake>, seat: Seat) -> Response<Body> {
        let Some((session, heartbeat, open)) = self.begin(&handshake, Transport::Polling) else {
            return answer::later(StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER);
        };
        self.drive(session, handshake, heartbeat, None, seat);
        answer::payload(PollBody::new(open.polling(), None))
    }

    fn begin_websocket(self: &Arc<Self>, handshake: Arc<Handshake>, seat: Seat, opening: Opening) {
        let this = Arc::clone(self);
        // A small task that ends when the session's begins: what the opening needs is not kept.
        self.tasks.spawn(async move {
            let Ok(Some(stream)) = timeout(this.config.upgrade_timeout, opening.open()).await
            else {
                return;
            };
            let Some((session, heartbeat, open)) = this.begin(&handshake, Transport::WebSocket)
            else {
                return;
            };
            if P::FRAMING == Framing::EngineIo {
                let _ = session.send(&open, Class::Essential);
            }
            this.drive(session, handshake, heartbeat, Some(stream), seat);
        });
    }

    /// A new session and its open packet.
    fn begin(
        &self,
        handshake: &Handshake,
        transport: Transport,
    ) -> Option<(Arc<Session>, Heartbeat, Frame)> {
        let now = Instant::now();
        let heartbeat = Heartbeat::new(now, &self.config);
        let node = self
            .forwarder
            .as_ref()
            .map_or(NodeTag::ALONE, Forwarder::node);
        let id = Sid::random(node)
            .inspect_err(|error| error!(%error, "no random bytes"))
            .ok()?;
        let open = Frame::open(&Open {
            sid: id.as_str(),
            upgrade: transport == Transport::Polling,
            ping_interval: self.config.ping_interval,
            ping_timeout: self.config.ping_timeout,
            max_payload: self.config.max_payload,
        });
        let open = open
            .inspect_err(|error| error!(%error, "open packet"))
            .ok()?;
        let base64 = query::get(&handshake.query, "b64").is_some_and(|b64| b64 != "0");
        let expires = heartbeat.expires(&self.config);
        let config = Arc::clone(&self.config);
        let session = Session::new(id, config, transport, base64, expires, &self.flusher);
        Some((Arc::new(session), heartbeat, open))
    }

    fn drive(
        &self,
        session: Arc<Session>,
        handshake: Arc<Handshake>,
        heartbeat: Heartbeat,
        stream: Option<Stream>,
        mut seat: Seat,
    ) {
        seat.take(&session);
        let connection = self.protocol.open(Arc::clone(&session), handshake);
        self.tasks.spawn(Driver::<P>::new(
            session, connection, heartbeat, stream, seat,
        ));
    }
}

/// Why a handshake is not let in.
enum Refused {
    Code(ErrorCode),
    Forbidden(&'static str),
    Later(StatusCode, Duration),
}

fn result(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UnknownTransport => "unknown_transport",
        ErrorCode::UnknownSid => "unknown_sid",
        ErrorCode::BadHandshakeMethod => "bad_method",
        ErrorCode::BadRequest => "bad_request",
        ErrorCode::Forbidden => "forbidden",
        ErrorCode::UnsupportedProtocolVersion => "unsupported_version",
    }
}

impl<P: Protocol> Clone for Server<P> {
    fn clone(&self) -> Self {
        Server {
            inner: Arc::clone(&self.inner),
        }
    }
}
