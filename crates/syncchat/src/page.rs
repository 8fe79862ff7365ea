//! What a browser gets at `/`: for now a plain page which says that this node was built without
//! the web client, and where the rest is.

use axum::body::Body;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{Method, Response, StatusCode};

/// Nothing is loaded, nothing runs, nobody frames it.
const POLICY: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-cache"),
];

const PAGE: &str = include_str!("page.html");

/// Answers a request that is neither for a socket nor for REST.
pub fn answer(method: &Method, path: &str) -> Response<Body> {
    let known = matches!(path, "/" | "/index.html");
    let mut response = match (known, method) {
        (true, &Method::GET | &Method::HEAD) => html(StatusCode::OK, PAGE),
        (true, _) => {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        (false, _) => plain(StatusCode::NOT_FOUND, "not found\n"),
    };
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

fn html(status: StatusCode, text: &'static str) -> Response<Body> {
    with_type(status, "text/html; charset=utf-8", text)
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", text)
}

fn with_type(status: StatusCode, kind: &'static str, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_page_is_there_and_always_with_a_policy() {
        let cases = [
            (Method::GET, "/", 200),
            (Method::HEAD, "/index.html", 200),
            (Method::POST, "/", 405),
            (Method::GET, "/../etc/passwd", 404),
        ];
        for (method, path, status) in cases {
            let response = answer(&method, path);
            assert_eq!(response.status(), status, "{method} {path}");
            assert_eq!(response.headers()[CONTENT_SECURITY_POLICY], POLICY);
        }
    }
}
