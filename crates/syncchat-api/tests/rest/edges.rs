//! What surrounds every call: tokens, methods, headers, limits, compression, CORS.

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use syncchat_api::CorsOrigins;
use syncchat_backplane::LimiterRates;
use syncchat_core::ports::limiter::Rate;

use crate::node::Node;

/// Every call that needs an access token.
pub(crate) const CALLS_OF_CALLERS: [(&str, &str); 15] = [
    ("GET", "/api/users/me"),
    ("PATCH", "/api/users/me"),
    ("GET", "/api/users?q=a"),
    ("GET", "/api/users/000000000000000000000001"),
    ("GET", "/api/conversations"),
    ("POST", "/api/conversations"),
    ("GET", "/api/conversations/000000000000000000000001"),
    ("PATCH", "/api/conversations/000000000000000000000001"),
    (
        "POST",
        "/api/conversations/000000000000000000000001/participants",
    ),
    (
        "DELETE",
        "/api/conversations/000000000000000000000001/participants",
    ),
    (
        "DELETE",
        "/api/conversations/000000000000000000000001/participants/me",
    ),
    (
        "GET",
        "/api/conversations/000000000000000000000001/messages",
    ),
    (
        "POST",
        "/api/conversations/000000000000000000000001/messages",
    ),
    ("PATCH", "/api/messages/000000000000000000000001"),
    ("DELETE", "/api/messages/000000000000000000000001"),
];

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path)
}

#[tokio::test]
async fn nobody_gets_past_a_bad_token() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    // Signed by nobody: {"alg":"none"} and this person's id.
    let none = format!("eyJhbGciOiJub25lIn0.{}.", "eyJ1c2VySWQiOiIwIn0");
    let mut forged = ada.token.clone();
    forged.truncate(forged.len() - 4);
    let bad = [
        None,
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some("Bearer x".to_owned()),
        Some(format!("Bearer {none}")),
        Some(format!("Bearer {forged}AAAA")),
        Some(format!("Basic {}", ada.token)),
        Some(ada.token.clone()),
        Some(format!("Bearer {}", "x".repeat(100_000))),
    ];
    for (method, path) in CALLS_OF_CALLERS {
        for value in &bad {
            let mut request = request(method, path);
            if let Some(value) = value {
                request = request.header(header::AUTHORIZATION, value);
            }
            let reply = node.send(request.body(Body::empty()).unwrap()).await;
            reply.refused(401, "unauthorized");
            assert_eq!(reply.headers[header::WWW_AUTHENTICATE], "Bearer", "{path}");
        }
        let expired = node.expired_token(&ada);
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let reply = node.call(method, path, Some(&expired), None).await;
        reply.refused(401, "token_expired");
        assert!(reply.headers.contains_key(header::WWW_AUTHENTICATE));
    }
    // The scheme's name has no case.
    let lower = format!("bearer {}", ada.token);
    let request = request("GET", "/api/users/me").header(header::AUTHORIZATION, lower);
    node.send(request.body(Body::empty()).unwrap())
        .await
        .expect(StatusCode::OK);
}

#[tokio::test]
async fn unknown_places_and_wrong_methods() {
    let node = Node::new().await;
    for path in [
        "/",
        "/api",
        "/api/",
        "/api/nothing",
        "/api/users/me/",
        "/api/filing",
        "//api/users",
    ] {
        node.call(Method::GET, path, None, None)
            .await
            .refused(404, "not_found");
    }
    for (method, path, allow) in [
        (Method::PUT, "/api/users/me", "GET,HEAD,PATCH"),
        (Method::GET, "/api/auth/login", "POST"),
        (Method::OPTIONS, "/api/auth/login", "POST"),
        (Method::DELETE, "/api/conversations", "GET,HEAD,POST"),
        (Method::POST, "/api/openapi.json", "GET,HEAD"),
    ] {
        let reply = node.call(method, path, None, None).await;
        reply.refused(405, "invalid");
        assert_eq!(reply.headers[header::ALLOW], allow, "{path}");
    }
}

#[tokio::test]
async fn every_answer_is_hardened_and_named() {
    let node = Node::new().await;
    for (path, status) in [
        ("/api/openapi.json", 200),
        ("/api/users/me", 401),
        ("/nothing", 404),
    ] {
        let reply = node.call(Method::GET, path, None, None).await;
        assert_eq!(reply.status, status);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'",
            ),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(reply.headers[name], value, "{path} {name}");
        }
        let id = reply.headers["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!(id.len(), 16);
        let other = node.call(Method::GET, path, None, None).await;
        assert_ne!(other.headers["x-request-id"], id);
    }
    let named = async |id: &str| {
        let request = request("GET", "/nothing").header("x-request-id", id);
        let reply = node.send(request.body(Body::empty()).unwrap()).await;
        reply.headers["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(named("trace-1.a_B").await, "trace-1.a_B");
    for bad in ["", "a b", "x\ty", "<script>", &"x".repeat(65)] {
        assert_ne!(named(bad).await, bad);
    }
}

#[tokio::test]
async fn calls_have_a_rate() {
    let rates = LimiterRates {
        requests: Some(Rate {
            per_second: 0.5,
            burst: 3,
        }),
        ..LimiterRates::OFF
    };
    let node = Node::with(rates, CorsOrigins::SameOrigin).await;
    let (ada, bob) = (node.person("ada").await, node.person("bob").await);
    for _ in 0..3 {
        node.get("/api/users/me", &ada).await.expect(StatusCode::OK);
    }
    let reply = node.get("/api/users/me", &ada).await;
    reply.refused(429, "rate_limited");
    assert_eq!(reply.headers[header::RETRY_AFTER], "2");
    node.get("/api/users/me", &bob).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn large_answers_are_compressed_as_asked() {
    let node = Node::new().await;
    let get = async |accepted: &str, path: &str| {
        let request = request("GET", path).header(header::ACCEPT_ENCODING, accepted);
        node.send(request.body(Body::empty()).unwrap()).await
    };
    let plain = get("identity", "/api/openapi.json").await;
    assert!(!plain.headers.contains_key(header::CONTENT_ENCODING));
    for encoding in ["gzip", "br", "zstd"] {
        let reply = get(encoding, "/api/openapi.json").await;
        assert_eq!(reply.headers[header::CONTENT_ENCODING], encoding);
        assert!(reply.body.len() < plain.body.len() / 2, "{encoding}");
    }
    // A tiny one is not worth it.
    let tiny = get("gzip", "/api/nothing").await;
    assert!(!tiny.headers.contains_key(header::CONTENT_ENCODING));
    tiny.refused(404, "not_found");
}

#[tokio::test]
async fn only_listed_origins_may_read_answers() {
    let listed = vec![HeaderValue::from_static("https://chat.example")];
    let node = Node::with(LimiterRates::OFF, CorsOrigins::List(listed)).await;
    let preflight = async |origin: &str| {
        let request = request("OPTIONS", "/api/messages/x")
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "PATCH")
            .header(
                header::ACCESS_CONTROL_REQUEST_HEADERS,
                "authorization,content-type,traceparent,sentry-trace",
            );
        node.send(request.body(Body::empty()).unwrap()).await
    };
    let allowed = preflight("https://chat.example").await;
    assert_eq!(allowed.status, StatusCode::OK);
    assert_eq!(
        allowed.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN],
        "https://chat.example"
    );
    let methods = allowed.headers[header::ACCESS_CONTROL_ALLOW_METHODS]
        .to_str()
        .unwrap();
    assert!(methods.contains("PATCH"));
    let headers = allowed.headers[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str();
    assert!(headers.unwrap().contains("sentry-trace"));
    let foreign = preflight("https://evil.example").await;
    assert!(
        !foreign
            .headers
            .contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
    );

    let request = request("GET", "/api/users/me").header(header::ORIGIN, "https://chat.example");
    let reply = node.send(request.body(Body::empty()).unwrap()).await;
    reply.refused(401, "unauthorized");
    assert_eq!(
        reply.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN],
        "https://chat.example"
    );
    assert!(
        reply.headers[header::VARY]
            .to_str()
            .unwrap()
            .contains("origin")
    );
}

#[tokio::test]
async fn without_a_list_there_is_no_cors() {
    let node = Node::new().await;
    let request = request("GET", "/api/openapi.json").header(header::ORIGIN, "https://a.example");
    let reply = node.send(request.body(Body::empty()).unwrap()).await;
    assert!(
        !reply
            .headers
            .contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
    );
}

#[tokio::test]
async fn any_origin_may_be_allowed() {
    let node = Node::with(LimiterRates::OFF, CorsOrigins::Any).await;
    let request = request("GET", "/api/openapi.json").header(header::ORIGIN, "https://a.example");
    let reply = node.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(reply.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
}

#[tokio::test]
async fn heads_are_answered_without_a_body() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    let reply = node
        .call(Method::HEAD, "/api/users/me", Some(&ada.token), None)
        .await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(reply.body.is_empty());
}
