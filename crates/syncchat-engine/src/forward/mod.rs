//! Passing on what reached the wrong node: a poll or an upgrade goes to the node that its `sid` names.
//!
//! ```text
//! client ─→ this node: no such session ─→ the node of the sid, with a signed ticket ─→ its session
//!        ←─────────────────────── answer, or the bytes of a WebSocket ──────────────
//! ```
//!
//! Stickiness saves this hop; nothing depends on it. A request with a ticket is never passed on again,
//! so nothing goes in circles. What happens at each bound:
//!
//! - no such node, or it cannot be reached: the session is unknown, at once, as if it had ended;
//! - [`Fleet::forwards_max`] under way already: 503, and the client tries again;
//! - no answer in time: 504, no whole answer: 502. A client takes either for the end of its session.
//!
//! A client that goes away takes its request at the other node with it. A WebSocket is two copied
//! byte streams; nothing of it is looked at here.
//!
//! Read in this order: [`Fleet`], `Forwarder::pass`, `ticket`, `tunnel`.

mod headers;
mod passed;
pub mod ticket;
mod tunnel;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use syncchat_protocol::engineio::ErrorCode;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::answer::{self, Body};
use crate::config::Config;
use crate::id::{NodeTag, Sid};
use crate::limits::{
    DRAINING_POLL_HOLD, FORWARD_CONNECT_TIMEOUT, FORWARD_GRACE, FORWARD_IDLE_PER_NODE,
    FORWARD_IDLE_TIMEOUT, FORWARD_POST_TIMEOUT, FORWARDED_POLL_HOLD, RETRY_AFTER,
};
use crate::metrics::{self, Forward};
use crate::polling;
use crate::request as query;
use crate::websocket::opening::Opening;
use passed::{Passed, Place};
pub(crate) use ticket::TICKET;
use ticket::{Ticket, Tickets};

/// Knows the nodes of a fleet.
pub trait Peers: Send + Sync + 'static {
    /// Where a node takes requests; `None` if no such node is alive. Answers within a moment, from
    /// memory as a rule.
    fn find(&self, node: NodeTag) -> BoxFuture<'_, Option<SocketAddr>>;
}

/// What makes a server one of many.
pub struct Fleet {
    /// Names this node in the ids of its sessions.
    pub node: NodeTag,
    /// What nodes know each other by, at least one: the first signs, all verify.
    pub keys: Vec<[u8; 32]>,
    /// The other nodes.
    pub peers: Arc<dyn Peers>,
    /// Requests and WebSockets that are passed on at once; each takes two file descriptors. One more
    /// is answered 503.
    pub forwards_max: usize,
}

/// Passes requests on, and judges those that were.
pub(crate) struct Forwarder {
    node: NodeTag,
    tickets: Tickets,
    peers: Arc<dyn Peers>,
    places: Arc<Semaphore>,
    client: Client<HttpConnector, Full<Bytes>>,
    config: Arc<Config>,
    tasks: TaskTracker,
    /// The time over which WebSockets are to be let go of, once this node is to end.
    draining: watch::Sender<Option<Duration>>,
}

/// Why nothing came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No node is alive that has this tag.
    NoNode,
    /// It takes no connection.
    Unreachable,
    /// As much as may be is passed on already.
    Full,
    /// It did not answer in time.
    TimedOut,
    /// The connection ended before the answer.
    Broken,
    /// The client's body is no good.
    Body(StatusCode),
}

/// A request that is to be passed on.
pub(crate) struct Stray {
    pub(crate) parts: request::Parts,
    pub(crate) body: Incoming,
    pub(crate) client: IpAddr,
    /// If it asks for a WebSocket.
    pub(crate) opening: Option<Opening>,
}

impl Forwarder {
    pub(crate) fn new(fleet: Fleet, config: Arc<Config>, tasks: TaskTracker) -> Forwarder {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(FORWARD_CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(FORWARD_IDLE_PER_NODE)
            .pool_idle_timeout(FORWARD_IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Forwarder {
            node: fleet.node,
            tickets: Tickets::new(fleet.node, &fleet.keys),
            peers: fleet.peers,
            places: Arc::new(Semaphore::new(fleet.forwards_max)),
            client,
            config,
            tasks,
            draining: watch::Sender::new(None),
        }
    }

    pub(crate) fn node(&self) -> NodeTag {
        self.node
    }

    /// The node to which a request is to be passed on; `None` if it is for this one.
    pub(crate) fn elsewhere(&self, parts: &request::Parts) -> Option<NodeTag> {
        if !matches!(parts.method, Method::GET | Method::POST) {
            return None;
        }
        let query = query::parse(parts.uri.query()?)?;
        let node = Sid::parse(query::get(&query, "sid")?)?.node();
        (node != self.node).then_some(node)
    }

    /// Judges the ticket of a request that says it was passed on.
    pub(crate) fn accept(&self, ticket: &HeaderValue, parts: &request::Parts) -> Option<Ticket> {
        let accepted = self.tickets.verify(ticket, &parts.method, &parts.uri);
        metrics::forward_received(accepted.is_ok());
        match &accepted {
            Ok(ticket) => debug!(client = %ticket.client, from = %ticket.from, "passed on to here"),
            Err(reason) => warn!(%reason, "request with a bad ticket refused"),
        }
        accepted.ok()
    }

    /// Lets go of WebSockets, spread over this time, and holds polls no longer than need be.
    pub(crate) fn drain(&self, spread: Duration) {
        self.draining.send_replace(Some(spread));
    }

    /// Passes a request on; the answer is the other node's, its CORS headers included.
    pub(crate) async fn pass(
        &self,
        node: NodeTag,
        stray: Stray,
    ) -> Result<Response<Body>, Failure> {
        let mut outcome = Forward::begin(stray.opening.is_some());
        let passed = self.try_pass(node, stray).await;
        outcome.end(match &passed {
            Ok(_) => "ok",
            Err(failure) => failure.as_str(),
        });
        passed
    }

    async fn try_pass(&self, node: NodeTag, stray: Stray) -> Result<Response<Body>, Failure> {
        let address = self.peers.find(node).await.ok_or(Failure::NoNode)?;
        let place = Place::take(&self.places).ok_or(Failure::Full)?;
        let Stray {
            parts,
            body,
            client,
            opening,
        } = stray;
        let body = match parts.method {
            Method::POST => polling::read_body(&self.config, body)
                .await
                .map_err(Failure::Body)?,
            _ => Bytes::new(),
        };
        let hold = match *self.draining.borrow() {
            None => FORWARDED_POLL_HOLD,
            Some(_) => DRAINING_POLL_HOLD,
        };
        let wait = match (&opening, &parts.method) {
            (Some(_), _) => self.config.upgrade_timeout,
            (None, &Method::POST) => FORWARD_POST_TIMEOUT,
            (None, _) => hold + FORWARD_GRACE,
        };
        let deadline = Instant::now() + wait;
        let request = self.request(&parts, body, address, client, hold, opening.is_some())?;
        let answered = timeout_at(deadline, self.client.request(request))
            .await
            .map_err(|_| Failure::TimedOut)?;
        let response = answered.map_err(|error| {
            debug!(%error, %address, "request could not be passed on");
            match error.is_connect() {
                true => Failure::Unreachable,
                false => Failure::Broken,
            }
        })?;
        Ok(match opening {
            Some(opening) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                self.open_tunnel(response, opening, place)
            }
            Some(_) => answer::closing(Passed::answer(response, place, deadline)),
            None => Passed::answer(response, place, deadline),
        })
    }

    /// The same request, for the other node.
    fn request(
        &self,
        parts: &request::Parts,
        body: Bytes,
        address: SocketAddr,
        client: IpAddr,
        hold: Duration,
        is_upgrade: bool,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        // An address and what was part of a URI before make a URI.
        let uri: Uri = format!("http://{address}{path}")
            .parse()
            .map_err(|_| Failure::Body(StatusCode::BAD_REQUEST))?;
        let ticket = self.tickets.issue(&parts.method, &parts.uri, client, hold);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers::end_to_end(&parts.headers);
        request.headers_mut().insert(TICKET, ticket);
        if is_upgrade {
            headers::ask_for_websocket(request.headers_mut());
        }
        Ok(request)
    }

    /// Promises the client its WebSocket, and joins the two connections behind the answer.
    fn open_tunnel(
        &self,
        mut response: Response<Incoming>,
        opening: Opening,
        place: Place,
    ) -> Response<Body> {
        let peer = hyper::upgrade::on(&mut response);
        let draining = self.draining.subscribe();
        let wait = self.config.upgrade_timeout;
        self.tasks.spawn(async move {
            let place = place.for_websocket();
            let both = futures_util::future::join(opening.tcp(), Opening::new(peer).tcp());
            if let Ok((Some(client), Some(peer))) = tokio::time::timeout(wait, both).await {
                tunnel::run(client, peer, draining).await;
            }
            drop(place);
        });
        let mut passed = response.map(|body| body.map_err(Into::into).boxed());
        *passed.headers_mut() = headers::end_to_end(passed.headers());
        headers::ask_for_websocket(passed.headers_mut());
        passed
    }
}

impl Failure {
    fn as_str(self) -> &'static str {
        match self {
            Failure::NoNode => "unknown_node",
            Failure::Unreachable => "unreachable",
            Failure::Full => "full",
            Failure::TimedOut => "timeout",
            Failure::Broken => "broken",
            Failure::Body(_) => "bad_body",
        }
    }

    /// What the client is told.
    pub(crate) fn answer(self, is_upgrade: bool) -> Response<Body> {
        let answer = match self {
            Failure::NoNode | Failure::Unreachable if is_upgrade => {
                let message = ErrorCode::UnknownSid.message();
                answer::refused_upgrade(StatusCode::BAD_REQUEST, message)
            }
            Failure::NoNode | Failure::Unreachable => answer::refusal(ErrorCode::UnknownSid),
            Failure::Full => answer::later(StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER),
            Failure::TimedOut => answer::empty(StatusCode::GATEWAY_TIMEOUT),
            Failure::Broken => answer::empty(StatusCode::BAD_GATEWAY),
            Failure::Body(status) => answer::closing(answer::empty(status)),
        };
        match is_upgrade {
            true => answer::closing(answer),
            false => answer,
        }
    }
}
