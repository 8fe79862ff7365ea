//! The admin listener's requests: metrics and health.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::health::Health;
use crate::limits::ADMIN_CONNECTIONS_MAX;
use crate::listeners::Service;
use crate::process;

/// What stands behind the admin listener.
pub struct Admin {
    /// Whether the node is ready.
    pub health: Arc<Health>,
    /// What it has counted.
    pub metrics: PrometheusHandle,
}

type Answer = Response<Full<Bytes>>;

impl Service for Admin {
    const LISTENER: &'static str = "admin";
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<Incoming>, _: IpAddr) -> Answer {
        self.answer_to(request.method(), request.uri().path())
    }

    fn has_room(&self, open: usize) -> bool {
        open < ADMIN_CONNECTIONS_MAX
    }
}

impl Admin {
    fn answer_to(&self, method: &Method, path: &str) -> Answer {
        if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
            return text(StatusCode::NOT_FOUND, "not found\n");
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            return response;
        }
        match (path, self.health.ready()) {
            ("/metrics", _) => {
                let metrics = self.metrics.render() + &process::exposition();
                let mut response = text(StatusCode::OK, metrics);
                // The version of Prometheus' text format, which scrapers ask for.
                let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            ("/readyz", Err(why)) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            ("/readyz", Ok(())) => text(StatusCode::OK, "ready\n"),
            _ => match self.health.alive() {
                Ok(()) => text(StatusCode::OK, "alive\n"),
                Err(task) => {
                    let why = format!("a task has ended: {task}\n");
                    text(StatusCode::SERVICE_UNAVAILABLE, why)
                }
            },
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Phase;

    #[test]
    fn a_node_is_alive_before_it_is_ready() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let health = Health::new();
        let admin = Admin {
            health: Arc::clone(&health),
            metrics: recorder.handle(),
        };
        let status = |method, path| admin.answer_to(&method, path).status().as_u16();
        assert_eq!(status(Method::GET, "/healthz"), 200);
        assert_eq!(status(Method::GET, "/readyz"), 503);
        health.enter(Phase::Serving);
        assert_eq!(status(Method::GET, "/readyz"), 200);
        assert_eq!(status(Method::HEAD, "/metrics"), 200);
        assert_eq!(status(Method::POST, "/metrics"), 405);
        assert_eq!(status(Method::GET, "/"), 404);
        health.enter(Phase::Draining);
        assert_eq!(status(Method::GET, "/readyz"), 503);
        assert_eq!(status(Method::GET, "/healthz"), 200);
    }
}
