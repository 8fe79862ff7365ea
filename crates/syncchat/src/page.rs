//! What a browser gets at `/`: the built web client, which is inside the binary; or, from a binary
//! built without it, a plain page that says so.

use axum::body::Body;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};
use axum::{Router, routing};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

/// A file of the web client.
struct File {
    /// Its path, from the first slash.
    name: &'static str,
    /// Says whether a browser has it already.
    tag: &'static str,
    /// Its content.
    bytes: &'static [u8],
}

/// Sorted by name; empty in a binary built without the web client.
const CLIENT: &[File] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

const PLAIN: File = File {
    name: "/index.html",
    tag: "W/\"plain\"",
    bytes: include_bytes!("page.html"),
};

/// The client loads nothing from elsewhere but pictures, and files from where they are kept; nobody
/// frames it.
fn policy(file_origin: Option<&str>) -> String {
    let files = file_origin.map(|origin| format!(" {origin}"));
    let files = files.unwrap_or_default();
    format!(
        "default-src 'self'; script-src 'self'; style-src 'self'; \
         connect-src 'self' ws: wss:{files}; img-src 'self' data: blob: https:{files}; \
         media-src 'self' blob:{files}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

const HEADERS: [(HeaderName, &str); 3] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
];

/// Bytes from which compression pays.
const COMPRESSED_BYTES_MIN: u64 = 1_024;

/// Answers every request that is neither for a socket nor for REST, compressed as asked.
/// `file_origin` is where files are kept, if that is not here.
pub fn router(file_origin: Option<&str>) -> Router {
    let policy = HeaderValue::try_from(policy(file_origin));
    // An origin is checked where it is read: what is left then is a header's text.
    let policy = policy.unwrap_or_else(|_| HeaderValue::from_static("default-src 'self'"));
    Router::new()
        .fallback(routing::any(
            async move |method: Method, uri: Uri, headers: HeaderMap| {
                let mut response = answer(CLIENT, &method, uri.path(), &headers);
                let policy = policy.clone();
                response
                    .headers_mut()
                    .insert(CONTENT_SECURITY_POLICY, policy);
                response
            },
        ))
        .layer(
            CompressionLayer::new()
                .quality(CompressionLevel::Default)
                .compress_when(SizeAbove::new(COMPRESSED_BYTES_MIN)),
        )
}

fn answer(
    client: &'static [File],
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Response<Body> {
    let mut response = match find(client, path) {
        None => text(StatusCode::NOT_FOUND, "not found\n"),
        Some(_) if !matches!(*method, Method::GET | Method::HEAD) => {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
            put(&mut response, ALLOW, "GET, HEAD");
            response
        }
        Some(file) if has_it(headers, file) => with_status(StatusCode::NOT_MODIFIED, Body::empty()),
        Some(file) => {
            let mut response = with_status(StatusCode::OK, Body::from(file.bytes));
            put(&mut response, CONTENT_TYPE, content_type(file.name));
            response
        }
    };
    if let Some(file) = find(client, path) {
        put(&mut response, ETAG, file.tag);
        put(&mut response, CACHE_CONTROL, cache_control(file.name));
    }
    for (name, value) in HEADERS {
        put(&mut response, name, value);
    }
    response
}

fn find(client: &'static [File], path: &str) -> Option<&'static File> {
    let name = match path {
        "/" => "/index.html",
        path => path,
    };
    match client.is_empty() {
        true => (name == PLAIN.name).then_some(&PLAIN),
        false => client.iter().find(|file| file.name == name),
    }
}

/// Whether the browser holds this very content.
fn has_it(headers: &HeaderMap, file: &File) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim() == file.tag)
}

/// What lies under `/assets` has a hash of its content in its name; everything else is asked for
/// anew.
fn cache_control(name: &str) -> &'static str {
    match name.starts_with("/assets/") {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "webmanifest" => "application/manifest+json",
        "json" | "map" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = with_status(status, Body::from(text));
    put(&mut response, CONTENT_TYPE, content_type(".txt"));
    response
}

fn with_status(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn put(response: &mut Response<Body>, name: HeaderName, value: &'static str) {
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILT: &[File] = &[
        File {
            name: "/assets/main-abc.js",
            tag: "W/\"1\"",
            bytes: b"1",
        },
        File {
            name: "/index.html",
            tag: "W/\"2\"",
            bytes: b"<!doctype html>",
        },
    ];

    fn ask(
        client: &'static [File],
        method: Method,
        path: &str,
        tag: Option<&str>,
    ) -> Response<Body> {
        let mut headers = HeaderMap::new();
        if let Some(tag) = tag {
            headers.insert(IF_NONE_MATCH, tag.parse().unwrap());
        }
        answer(client, &method, path, &headers)
    }

    #[test]
    fn files_may_come_from_where_they_are_kept() {
        let here = policy(None);
        assert!(here.contains("connect-src 'self' ws: wss:; "), "{here}");
        let there = policy(Some("http://s3:9000"));
        for part in ["connect-src", "img-src", "media-src"] {
            let mut parts = there.split("; ").filter(|one| one.starts_with(part));
            assert!(parts.any(|one| one.ends_with(" http://s3:9000")), "{there}");
        }
        assert!(!there.contains("script-src 'self' "), "{there}");
    }

    #[test]
    fn without_a_client_only_the_plain_page_is_there() {
        let cases = [
            (Method::GET, "/", 200),
            (Method::HEAD, "/index.html", 200),
            (Method::POST, "/", 405),
            (Method::GET, "/assets/main-abc.js", 404),
            (Method::GET, "/../etc/passwd", 404),
        ];
        for (method, path, status) in cases {
            let response = ask(&[], method.clone(), path, None);
            assert_eq!(response.status(), status, "{method} {path}");
        }
    }

    #[test]
    fn the_client_is_kept_by_browsers_as_long_as_it_is_true() {
        let asset = ask(BUILT, Method::GET, "/assets/main-abc.js", None);
        assert_eq!(
            asset.headers()[CONTENT_TYPE],
            "text/javascript; charset=utf-8"
        );
        assert!(
            asset.headers()[CACHE_CONTROL]
                .to_str()
                .unwrap()
                .contains("immutable")
        );
        let page = ask(BUILT, Method::GET, "/", None);
        assert_eq!(page.headers()[CACHE_CONTROL], "no-cache");
        assert_eq!(page.headers()[ETAG], "W/\"2\"");
        let again = ask(BUILT, Method::GET, "/", Some("W/\"1\", W/\"2\""));
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(
            ask(BUILT, Method::GET, "/", Some("W/\"1\"")).status(),
            StatusCode::OK
        );
        assert_eq!(
            ask(BUILT, Method::GET, "/nothing", None).status(),
            StatusCode::NOT_FOUND
        );
    }
}
