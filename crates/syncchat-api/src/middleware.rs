//! What happens to every call, around its handler: a request id, a span, figures, a deadline, and
//! the headers that keep browsers from guessing.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::body::HttpBody;
use axum::extract::{MatchedPath, Request};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use syncchat_core::Error;
use syncchat_core::model::IdempotencyKey;
use syncchat_core::model::idempotency::IDEMPOTENCY_KEY_HEADER;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tracing::Instrument;

use crate::error::Refusal;
use crate::limits::{
    BODY_TIMEOUT, COMPRESSED_BYTES_MIN, CORS_MAX_AGE, REQUEST_ID_BYTES_MAX, REQUEST_TIMEOUT,
};
use crate::metrics::{HTTP_REQUEST_SECONDS, HTTP_REQUESTS_TOTAL};

/// Names a request in logs; answered with every call.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Under which a POST can be repeated.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Which other origins a browser may call from.
#[derive(Debug, Clone, Default)]
pub enum CorsOrigins {
    /// None: no CORS headers, so browsers allow the page's own origin only.
    #[default]
    SameOrigin,
    /// Every origin.
    Any,
    /// These, as browsers write them (`https://chat.example`).
    List(Vec<HeaderValue>),
}

/// Gives the call an id, a span and its place in the figures.
pub(crate) async fn observe(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let request_id = request_id(request.headers());
    let span = tracing::info_span!(
        "request",
        id = request_id.to_str().unwrap_or_default(),
        method = %request.method(),
        route,
    );
    let begun = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, took) = (response.status(), begun.elapsed());

    metrics::counter!(
        HTTP_REQUESTS_TOTAL,
        "route" => route.to_owned(), "status" => status.as_str().to_owned()
    )
    .increment(1);
    metrics::histogram!(HTTP_REQUEST_SECONDS, "route" => route.to_owned()).record(took);
    span.in_scope(|| {
        let milliseconds = took.as_millis() as u64;
        tracing::debug!(status = status.as_u16(), milliseconds, "answered");
    });
    response.headers_mut().insert(X_REQUEST_ID, request_id);
    response
}

/// The caller's id for the request if it is harmless in logs, else one of ours.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let harmless = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    };
    match headers.get(X_REQUEST_ID).filter(harmless) {
        Some(theirs) => theirs.clone(),
        None => {
            // A keyed hash of a counter: no two alike in this process, nor likely in the fleet.
            static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
            static COUNT: AtomicU64 = AtomicU64::new(0);
            let id = KEY.hash_one(COUNT.fetch_add(1, Ordering::Relaxed));
            HeaderValue::try_from(format!("{id:016x}"))
                .unwrap_or_else(|_| HeaderValue::from_static("0"))
        }
    }
}

/// Reads the `Idempotency-Key` of a POST, and refuses one that is malformed or given twice.
pub(crate) async fn idempotency(mut request: Request, next: Next) -> Response {
    if request.method() == Method::POST {
        let mut values = request.headers().get_all(IDEMPOTENCY_KEY).iter();
        let key = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => Some(IdempotencyKey::from_header(value.as_bytes())),
            (Some(_), Some(_)) => Some(Err(Error::invalid(
                IDEMPOTENCY_KEY_HEADER,
                "must be given once",
            ))),
        };
        match key.transpose() {
            Ok(Some(key)) => drop(request.extensions_mut().insert(key)),
            Ok(None) => {}
            Err(error) => return Refusal::from(error).into_response(),
        }
    }
    next.run(request).await
}

/// Answers 503 when the time is up, which a body's own bound does not use up; what the handler was doing
/// is dropped with it.
pub(crate) async fn deadline(request: Request, next: Next) -> Response {
    let time = match request.body().is_end_stream() {
        true => REQUEST_TIMEOUT,
        false => BODY_TIMEOUT + REQUEST_TIMEOUT,
    };
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refusal::from(Error::unavailable("the call took too long")).into_response(),
    }
}

/// Nothing under `/api` is to be framed, sniffed, cached or executed.
pub(crate) async fn harden(request: Request, next: Next) -> Response {
    const HEADERS: [(HeaderName, &str); 5] = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (CACHE_CONTROL, "no-store"),
    ];
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

/// gzip, br or zstd, as asked, at their quickest: most of the gain for little of the time.
pub(crate) fn compression() -> CompressionLayer<impl Predicate> {
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(COMPRESSED_BYTES_MIN))
}

/// The CORS layer, if any other origin is allowed. Tokens travel in a header, so no credentials.
/// Also for what is served beside `/api`, such as files by their links.
pub fn cors(origins: &CorsOrigins) -> Option<CorsLayer> {
    let origins = match origins {
        CorsOrigins::SameOrigin => return None,
        CorsOrigins::Any => AllowOrigin::any(),
        CorsOrigins::List(list) => AllowOrigin::list(list.iter().cloned()),
    };
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        // Whatever the page asks for, as for sockets: clients add headers for tracing that no list knows.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([RETRY_AFTER, X_REQUEST_ID, ETAG])
        .max_age(CORS_MAX_AGE);
    Some(layer)
}
