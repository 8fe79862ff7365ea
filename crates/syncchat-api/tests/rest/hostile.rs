//! Bodies that nobody means well with. Each gets its refusal, and the node serves after it.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::json;
use syncchat_api::limits::BODY_TIMEOUT;

use crate::node::{Node, Person, Reply};

/// Every call that takes a body.
const CALLS_WITH_BODIES: [(&str, &str); 10] = [
    ("POST", "/api/auth/register"),
    ("POST", "/api/auth/login"),
    ("POST", "/api/auth/refresh"),
    ("POST", "/api/auth/logout"),
    ("PATCH", "/api/users/me"),
    ("POST", "/api/conversations"),
    ("PATCH", "/api/conversations/000000000000000000000001"),
    (
        "POST",
        "/api/conversations/000000000000000000000001/participants",
    ),
    (
        "POST",
        "/api/conversations/000000000000000000000001/messages",
    ),
    ("PATCH", "/api/messages/000000000000000000000001"),
];

async fn send(
    node: &Node,
    who: &Person,
    (method, path): (&str, &str),
    content_type: Option<&str>,
    body: impl Into<Body>,
) -> Reply {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {}", who.token));
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    node.send(request.body(body.into()).expect("a request"))
        .await
}

#[tokio::test]
async fn what_is_no_json_object_is_refused() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    let deep_list = "[".repeat(100_000);
    let deep_object = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let bad: [&[u8]; 16] = [
        b"",
        b" ",
        b"null",
        b"[]",
        b"[{}]",
        b"1",
        b"\"x\"",
        b"{",
        b"{} {}",
        b"{'a':1}",
        b"{\"a\":1e999}",
        b"{\"a\":\"\\ud800\"}",
        b"{\"a\":\"\xff\xfe\"}",
        b"\xef\xbb\xbf{}",
        deep_list.as_bytes(),
        deep_object.as_bytes(),
    ];
    for call in CALLS_WITH_BODIES {
        for body in bad {
            let reply = send(&node, &ada, call, Some("application/json"), body.to_vec()).await;
            let fields = reply.refused(400, "invalid");
            assert!(fields.is_empty(), "{call:?} {}", body.escape_ascii());
        }
    }
    node.get("/api/users/me", &ada).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn operators_and_wrong_types_are_named_wherever_they_stand() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    let wrong = [
        json!({"$ne": null}),
        json!({"$gt": ""}),
        json!([]),
        json!(["x"]),
        json!(1),
        json!(true),
    ];
    let fields = |path: &str| -> &[&str] {
        match path {
            "/api/auth/register" => &["email", "password", "username"],
            "/api/auth/login" => &["login", "password"],
            "/api/auth/refresh" | "/api/auth/logout" => &["refreshToken"],
            "/api/users/me" => &["avatar", "username"],
            "/api/conversations" => &["title", "type"],
            path if path.ends_with("/participants") => &["userId"],
            path if path.starts_with("/api/messages") || path.ends_with("/messages") => {
                &["content"]
            }
            _ => &["title"],
        }
    };
    for (method, path) in CALLS_WITH_BODIES {
        for value in &wrong {
            let mut body: serde_json::Map<_, _> = fields(path)
                .iter()
                .map(|field| ((*field).to_owned(), value.clone()))
                .collect();
            if path == "/api/conversations" {
                body.insert("participants".to_owned(), json!([ada.id]));
            }
            let body = serde_json::Value::Object(body).to_string();
            let reply = send(&node, &ada, (method, path), Some("application/json"), body).await;
            assert_eq!(
                reply.refused(400, "invalid"),
                fields(path),
                "{path} {value}"
            );
        }
    }
}

#[tokio::test]
async fn of_a_name_written_twice_the_last_counts() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    let call = ("PATCH", "/api/users/me");
    let body = r#"{"username":{"$ne":1},"username":"ada2"}"#;
    let reply = send(&node, &ada, call, Some("application/json"), body).await;
    assert_eq!(reply.expect(StatusCode::OK)["user"]["username"], "ada2");
    let body = r#"{"username":"ada3","username":{"$ne":1}}"#;
    let reply = send(&node, &ada, call, Some("application/json"), body).await;
    assert_eq!(reply.refused(400, "invalid"), ["username"]);
}

#[tokio::test]
async fn prototype_names_are_names_like_any_other() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    let body =
        r#"{"__proto__":{"email":"x"},"constructor":1,"email":"new@example.org","password":"x"}"#;
    let reply = send(
        &node,
        &ada,
        ("PATCH", "/api/users/me"),
        Some("application/json"),
        body,
    )
    .await;
    assert_eq!(
        reply.expect(StatusCode::OK)["user"]["email"],
        "ada@example.org"
    );
}

#[tokio::test]
async fn only_json_is_taken() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    for call in CALLS_WITH_BODIES {
        for bad in [
            None,
            Some(""),
            Some("text/plain"),
            Some("text/json"),
            Some("application/x-www-form-urlencoded"),
            Some("multipart/form-data; boundary=x"),
            Some("application/jsonp"),
            Some("application/xml; application/json"),
        ] {
            let reply = send(&node, &ada, call, bad, "{}").await;
            reply.refused(415, "invalid");
        }
    }
    for good in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/json;charset=UTF-8",
        "application/merge-patch+json",
    ] {
        let reply = send(&node, &ada, ("PATCH", "/api/users/me"), Some(good), "{}").await;
        reply.expect(StatusCode::OK);
    }
}

/// A body that comes piece by piece, its length unknown.
fn stream(pieces: usize, piece: &'static [u8]) -> Body {
    let pieces = (0..pieces).map(move |_| Ok::<_, Infallible>(Bytes::from_static(piece)));
    Body::from_stream(futures_util::stream::iter(pieces))
}

#[tokio::test]
async fn bodies_over_the_limit_are_too_large() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    const MIB: usize = 1 << 20;
    let padded = |bytes: usize| format!("{{}}{}", " ".repeat(bytes - 2));
    let call = ("PATCH", "/api/users/me");
    let json = Some("application/json");
    send(&node, &ada, call, json, padded(MIB))
        .await
        .expect(StatusCode::OK);
    for call in CALLS_WITH_BODIES {
        let reply = send(&node, &ada, call, json, padded(MIB + 1)).await;
        reply.refused(413, "too_large");
    }
    send(&node, &ada, call, json, padded(20 * MIB))
        .await
        .refused(413, "too_large");
    let endless = stream(100, &[b' '; MIB]);
    send(&node, &ada, call, json, endless)
        .await
        .refused(413, "too_large");
    let just = stream(2, &[b' '; MIB / 2]);
    send(&node, &ada, call, json, just)
        .await
        .refused(400, "invalid");
}

#[tokio::test]
async fn a_body_that_takes_too_long_is_called_so() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    let json = Some("application/json");
    // The store's threads do not wait for this clock, and no such call comes so far.
    tokio::time::pause();
    for call in CALLS_WITH_BODIES {
        let begun = tokio::time::Instant::now();
        let reply = send(&node, &ada, call, json, drops(b"{", BODY_TIMEOUT)).await;
        reply.refused(408, "invalid");
        let said = String::from_utf8_lossy(&reply.body);
        assert!(said.contains("within 30 s"), "{said}");
        assert_eq!(begun.elapsed().as_secs(), BODY_TIMEOUT.as_secs());
    }
    let just = drops(b"[", BODY_TIMEOUT - Duration::from_secs(1));
    let reply = send(&node, &ada, ("PATCH", "/api/users/me"), json, just).await;
    reply.refused(400, "invalid");
}

/// A body of two pieces: one at once, its second this much later.
fn drops(piece: &'static [u8], later: Duration) -> Body {
    let pieces = futures_util::stream::iter([Duration::ZERO, later + Duration::from_millis(1)]);
    Body::from_stream(pieces.then(move |wait| async move {
        tokio::time::sleep(wait).await;
        Ok::<_, Infallible>(Bytes::from_static(piece))
    }))
}
