//! The public listener's requests: sockets, REST, files, or the page, by path.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body as RouterBody;
use http::header::{CONNECTION, HeaderValue};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body_util::Either;
use hyper::body::Incoming;
use syncchat_api::ClientAddr;
use syncchat_engine::{Body as EngineBody, Engine};
use syncchat_gateway::Gateway;
use tower::ServiceExt as _;

use crate::config::network::{Network, client_address};
use crate::connections::Room;
use crate::fate::{self, Fates};
use crate::health::{Health, Phase};
use crate::listeners::Service;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What stands behind the public listener.
pub struct Public {
    /// Sockets.
    pub engine: Engine<Gateway>,
    /// REST.
    pub api: axum::Router,
    /// Files by their links, where this node serves them.
    pub file_links: Option<axum::Router>,
    /// The web client.
    pub page: axum::Router,
    /// What became of messages, for other nodes and operators.
    pub fates: Arc<Fates>,
    /// Tells whether this node is about to end.
    pub health: Arc<Health>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// How many connections there may be.
    pub room: Room,
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    Sockets,
    Api,
    Files,
    Fates,
    Page,
}

fn route(path: &str) -> Route {
    let is_under = |prefix: &str| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    // With its slash: `/socket.io` alone is not Engine.IO's, as in Node.
    if path.starts_with("/socket.io/") {
        Route::Sockets
    } else if is_under("/api") {
        Route::Api
    } else if is_under(syncchat_files::folder::PREFIX) {
        Route::Files
    } else if path.starts_with(fate::PATH) {
        Route::Fates
    } else {
        Route::Page
    }
}

impl Service for Public {
    const LISTENER: &'static str = "public";
    type Body = Either<EngineBody, RouterBody>;

    async fn answer(&self, mut request: Request<Incoming>, peer: IpAddr) -> Response<Self::Body> {
        let client = client_address(
            peer,
            forwarded_for(request.headers()),
            &self.trusted_proxies,
        );
        let mut response = match route(request.uri().path()) {
            Route::Sockets => self.engine.handle(request, client).await.map(Either::Left),
            Route::Api => {
                request.extensions_mut().insert(ClientAddr(client));
                ask(&self.api, request).await
            }
            Route::Fates => self.fates.answer(&request).map(Either::Right),
            Route::Files => ask(self.file_links.as_ref().unwrap_or(&self.page), request).await,
            Route::Page => ask(&self.page, request).await,
        };
        // So that few connections are left that a request may come on at the end.
        if self.health.phase() == Phase::Draining
            && response.status() != StatusCode::SWITCHING_PROTOCOLS
        {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        response
    }

    // A session by WebSocket has one connection, which is none of the open ones any more; one by
    // polling has one or two that are. So this errs towards refusing, and never runs out of files.
    fn has_room(&self, open: usize) -> bool {
        let free = self.room.total().saturating_sub(self.engine.sessions());
        open < free.max(self.room.requests)
    }
}

async fn ask(
    router: &axum::Router,
    request: Request<Incoming>,
) -> Response<Either<EngineBody, RouterBody>> {
    let request = request.map(RouterBody::new);
    let Ok(response) = router.clone().oneshot(request).await;
    response.map(Either::Right)
}

fn forwarded_for(headers: &HeaderMap) -> impl DoubleEndedIterator<Item = &str> {
    // A line that is no text is no address either, and ends the search like one.
    headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .map(|line| line.to_str().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_by_path() {
        let cases = [
            ("/socket.io/", Route::Sockets),
            ("/socket.io", Route::Page),
            ("/socket.iox", Route::Page),
            ("/api", Route::Api),
            ("/api/users/me", Route::Api),
            ("/apis", Route::Page),
            ("/files/1", Route::Files),
            ("/filesystem", Route::Page),
            ("/internal/trace/x", Route::Fates),
            ("/internal", Route::Page),
            ("/", Route::Page),
            ("", Route::Page),
        ];
        for (path, expected) in cases {
            assert_eq!(route(path), expected, "{path}");
        }
    }
}
