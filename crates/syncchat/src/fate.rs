//! What this node knows of one message, told to whoever has the fleet's key: `syncchat trace`.

use axum::body::Body as RouterBody;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use syncchat_core::model::{MessageId, Timestamp};
use syncchat_engine::{TICKET, Tickets};
use syncchat_gateway::Traces;
use syncchat_gateway::traces::{Source, Trace};

/// The path below which nodes answer, before the message's id.
pub const PATH: &str = "/internal/trace/";

/// One node's answer. Times are milliseconds since 1970, by that node's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fate {
    /// Which node.
    pub node: String,
    /// Whether it remembers the message.
    pub known: bool,
    /// When it told the fleet that it had committed it.
    pub published: Option<i64>,
    /// When it first came to this node's readers.
    pub seen: Option<i64>,
    /// Whether it came from the store, not by the fleet.
    pub from_store: bool,
    /// When it was first put before sockets.
    pub first_written: Option<i64>,
    /// When it last was.
    pub last_written: Option<i64>,
    /// How many sockets took it.
    pub sockets: u64,
}

/// What answers.
pub struct Fates {
    /// This node's name.
    pub node_id: String,
    /// What it remembers.
    pub traces: Arc<Traces>,
    /// Tells who may ask.
    pub tickets: Tickets,
}

impl Fates {
    /// Answers a request below [`PATH`]; without a ticket there is nothing.
    pub fn answer<B>(&self, request: &Request<B>) -> Response<RouterBody> {
        let id = request.uri().path().strip_prefix(PATH);
        let id: Option<MessageId> = id.and_then(|id| id.parse().ok());
        let may_ask = request.headers().get(TICKET).is_some_and(|ticket| {
            let verified = self.tickets.verify(ticket, request.method(), request.uri());
            verified.is_ok()
        });
        let Some(id) = id.filter(|_| may_ask) else {
            return status(StatusCode::NOT_FOUND);
        };
        let fate = self.of(self.traces.of(id));
        let Ok(json) = serde_json::to_vec(&fate) else {
            return status(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let mut response = Response::new(RouterBody::from(json));
        let kind = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }

    fn of(&self, trace: Option<Trace>) -> Fate {
        let known = trace.is_some();
        let trace = trace.unwrap_or_default();
        let written = |at: fn((Timestamp, Timestamp)) -> Timestamp| trace.written.map(at);
        Fate {
            node: self.node_id.clone(),
            known,
            published: trace.published.map(Timestamp::millis),
            seen: trace.seen.map(|(at, _)| at.millis()),
            from_store: matches!(trace.seen, Some((_, Source::Store))),
            first_written: written(|(first, _)| first).map(Timestamp::millis),
            last_written: written(|(_, last)| last).map(Timestamp::millis),
            sockets: trace.sockets,
        }
    }
}

fn status(status: StatusCode) -> Response<RouterBody> {
    let mut response = Response::new(RouterBody::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;
    use syncchat_engine::NodeTag;

    #[test]
    fn only_who_has_the_key_is_answered() {
        let tickets = || Tickets::new(NodeTag::random().unwrap(), &[[3; 32]]);
        let fates = Fates {
            node_id: "n1".into(),
            traces: Traces::new(),
            tickets: tickets(),
        };
        let ask = |tickets: Option<Tickets>, path: &str| {
            let mut request = Request::get(path).body(()).unwrap();
            if let Some(tickets) = tickets {
                let ticket = tickets.issue(
                    request.method(),
                    request.uri(),
                    IpAddr::V4(Ipv4Addr::LOCALHOST),
                    Duration::ZERO,
                );
                request.headers_mut().insert(TICKET, ticket);
            }
            fates.answer(&request).status().as_u16()
        };
        let path = format!("{PATH}{}", MessageId::generate());
        assert_eq!(ask(Some(tickets()), &path), 200);
        assert_eq!(ask(None, &path), 404);
        let stranger = Tickets::new(NodeTag::random().unwrap(), &[[4; 32]]);
        assert_eq!(ask(Some(stranger), &path), 404);
        assert_eq!(ask(Some(tickets()), "/internal/trace/x"), 404);
    }
}
