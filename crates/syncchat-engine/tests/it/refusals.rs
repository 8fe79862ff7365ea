//! What is not let in, and how that is said.

use std::time::Duration;

use syncchat_engine::{Config, Origins};

use crate::client::{Answer, Poller, Ws, request};
use crate::server::serve;

#[tokio::test]
async fn handshakes_by_polling_are_refused_in_order() {
    let served = serve(Config::default()).await;
    let cases = [
        (
            "GET",
            "EIO=4",
            400,
            r#"{"code":0,"message":"Transport unknown"}"#,
        ),
        (
            "GET",
            "EIO=4&transport=abc",
            400,
            r#"{"code":0,"message":"Transport unknown"}"#,
        ),
        (
            "GET",
            "EIO=4&transport=webtransport",
            400,
            r#"{"code":0,"message":"Transport unknown"}"#,
        ),
        (
            "GET",
            "EIO=3&transport=abc",
            400,
            r#"{"code":0,"message":"Transport unknown"}"#,
        ),
        (
            "GET",
            "EIO=4&transport=polling&sid=nope",
            400,
            r#"{"code":1,"message":"Session ID unknown"}"#,
        ),
        (
            "POST",
            "EIO=4&transport=polling&sid=__proto__",
            400,
            r#"{"code":1,"message":"Session ID unknown"}"#,
        ),
        (
            "GET",
            "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA",
            400,
            r#"{"code":1,"message":"Session ID unknown"}"#,
        ),
        (
            "POST",
            "EIO=4&transport=polling",
            400,
            r#"{"code":2,"message":"Bad handshake method"}"#,
        ),
        (
            "PUT",
            "EIO=4&transport=polling",
            400,
            r#"{"code":2,"message":"Bad handshake method"}"#,
        ),
        (
            "OPTIONS",
            "EIO=4&transport=polling",
            400,
            r#"{"code":2,"message":"Bad handshake method"}"#,
        ),
        (
            "GET",
            "EIO=4&transport=websocket",
            400,
            r#"{"code":3,"message":"Bad request"}"#,
        ),
        (
            "GET",
            "EIO=3&transport=polling&why=forbidden",
            403,
            r#"{"code":4,"message":"not you"}"#,
        ),
        (
            "GET",
            "transport=polling",
            400,
            r#"{"code":5,"message":"Unsupported protocol version"}"#,
        ),
        (
            "GET",
            "EIO=abc&transport=polling",
            400,
            r#"{"code":5,"message":"Unsupported protocol version"}"#,
        ),
        ("GET", "EIO=4&transport=polling&why=busy", 503, ""),
        ("GET", "EIO=4&transport=polling&why=rate", 429, ""),
    ];
    for (method, query, status, body) in cases {
        let answer = request(served.address, method, query, "", b"").await;
        assert_eq!(
            (answer.status, &*answer.body),
            (status, body),
            "{method} {query}"
        );
        if !body.is_empty() {
            assert_eq!(answer.header("content-type"), Some("application/json"));
        } else {
            assert_eq!(
                answer.header("retry-after"),
                Some("2"),
                "seconds, rounded up"
            );
        }
    }
    served.emptied().await;
}

#[tokio::test]
async fn handshakes_that_are_only_odd_pass() {
    let served = serve(Config::default()).await;
    for query in [
        "EIO=4&transport=polling&t=abc&b64=1&j=0",
        "EIO=4&transport=polling&sid=",
        "EIO=3&transport=abc&EIO=4&transport=polling",
    ] {
        let answer = request(served.address, "GET", query, "", b"").await;
        assert_eq!(answer.status, 200, "{query}");
        assert!(answer.body.starts_with(r#"0{"sid":""#));
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; charset=UTF-8")
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(
            answer.header("content-length"),
            Some(&*answer.body.len().to_string())
        );
        assert!(answer.header("access-control-allow-origin").is_none());
        assert!(answer.header("set-cookie").is_none());
    }
}

#[tokio::test]
async fn upgrades_are_refused_before_the_101() {
    let served = serve(Config::default()).await;
    let cases = [
        ("EIO=4", 400, "Transport unknown"),
        ("EIO=4&transport=abc", 400, "Transport unknown"),
        ("EIO=4&transport=polling", 400, "Bad request"),
        (
            "EIO=4&transport=websocket&sid=nope",
            400,
            "Session ID unknown",
        ),
        ("EIO=4&transport=websocket&why=forbidden", 400, "not you"),
        (
            "EIO=5&transport=websocket",
            400,
            "Unsupported protocol version",
        ),
        ("transport=websocket", 400, "Unsupported protocol version"),
        ("EIO=4&transport=websocket&why=busy", 503, ""),
    ];
    for (query, status, body) in cases {
        let answer = Ws::open(served.address, query, "").await.unwrap_err();
        assert_eq!((answer.status, &*answer.body), (status, body), "{query}");
        assert_eq!(answer.header("connection"), Some("close"), "{query}");
        if status == 400 {
            assert_eq!(answer.header("content-type"), Some("text/html"));
        }
    }
    served.emptied().await;
}

#[tokio::test]
async fn openings_against_rfc_6455_are_refused() {
    let served = serve(Config::default()).await;
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let cases = [
        ("GET", format!("{upgrade}{version}"), 400),
        (
            "GET",
            format!("{upgrade}{version}Sec-WebSocket-Key: c2hvcnQ=\r\n"),
            400,
        ),
        ("GET", format!("{upgrade}{key}"), 426),
        (
            "GET",
            format!("{upgrade}{key}Sec-WebSocket-Version: 8\r\n"),
            426,
        ),
        ("POST", format!("{upgrade}{version}{key}"), 400),
        ("GET", format!("Upgrade: websocket\r\n{version}{key}"), 400),
    ];
    for (method, headers, status) in cases {
        let query = "EIO=4&transport=websocket";
        let answer: Answer = request(served.address, method, query, &headers, b"").await;
        assert_eq!(answer.status, status, "{method} {headers}");
        if status == 426 {
            assert_eq!(answer.header("sec-websocket-version"), Some("13"));
        }
    }
    served.emptied().await;
}

#[tokio::test]
async fn requests_that_do_not_fit_their_session_leave_it_alone() {
    let served = serve(Config::default()).await;
    let poller = Poller::connect(served.address).await;
    let sid = &poller.sid;
    let bad = r#"{"code":3,"message":"Bad request"}"#;
    for query in [
        format!("EIO=4&transport=websocket&sid={sid}"),
        format!("EIO=3&transport=polling&sid={sid}"),
        format!("transport=polling&sid={sid}"),
    ] {
        let answer = request(served.address, "GET", &query, "", b"").await;
        assert_eq!((answer.status, &*answer.body), (400, bad), "{query}");
    }
    assert_eq!(
        request(served.address, "PUT", &poller.query(), "", b"")
            .await
            .status,
        405
    );
    assert_eq!(
        request(served.address, "DELETE", &poller.query(), "", b"")
            .await
            .status,
        405
    );
    assert_eq!(poller.post(r#"42["echo",1]"#).await.body, "ok");
    assert_eq!(poller.poll().await.body, r#"42["echo",1]"#);
}

#[tokio::test]
async fn no_more_sessions_than_allowed_are_open_at_once() {
    let served = serve(Config {
        max_sessions: 2,
        ..Config::default()
    })
    .await;
    let one = Poller::open(served.address).await;
    let _other = Ws::session(served.address).await;
    let answer = request(served.address, "GET", "EIO=4&transport=polling", "", b"").await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("5"))
    );
    let answer = Ws::open(served.address, "EIO=4&transport=websocket", "")
        .await
        .unwrap_err();
    assert_eq!(answer.status, 503);
    assert_eq!(one.post("1").await.body, "ok");
    tokio::time::sleep(Duration::from_millis(50)).await;
    Poller::open(served.address).await;
}

#[tokio::test]
async fn cors_for_any_page() {
    let served = serve(Config {
        origins: Origins::Any,
        ..Config::default()
    })
    .await;
    let origin = "Origin: https://page.example\r\n";
    for headers in ["", origin] {
        for query in ["EIO=4&transport=polling", "EIO=4&transport=none"] {
            let answer = request(served.address, "GET", query, headers, b"").await;
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
            assert_eq!(answer.header("access-control-allow-credentials"), None);
        }
    }
    let headers = format!("{origin}Access-Control-Request-Headers: x-a,x-b\r\n");
    let answer = request(
        served.address,
        "OPTIONS",
        "EIO=4&transport=polling&sid=x",
        &headers,
        b"",
    )
    .await;
    assert_eq!((answer.status, &*answer.body), (204, ""));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(
        answer.header("access-control-allow-headers"),
        Some("x-a,x-b")
    );
    assert_eq!(
        answer.header("access-control-allow-methods"),
        Some("GET,HEAD,PUT,PATCH,POST,DELETE")
    );
    assert_eq!(
        answer.header("vary"),
        Some("Access-Control-Request-Headers")
    );
    Ws::open(served.address, "EIO=4&transport=websocket", origin)
        .await
        .unwrap();
}

#[tokio::test]
async fn cors_and_websockets_for_listed_pages() {
    let list = Origins::List(vec!["https://app.example".to_owned()]);
    let served = serve(Config {
        origins: list,
        ..Config::default()
    })
    .await;
    let (app, other) = (
        "Origin: https://app.example\r\n",
        "Origin: https://other.example\r\n",
    );
    let query = "EIO=4&transport=polling";
    let answer = request(served.address, "GET", query, app, b"").await;
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://app.example")
    );
    assert_eq!(
        answer.header("access-control-allow-credentials"),
        Some("true")
    );
    assert_eq!(answer.header("vary"), Some("Origin"));
    let answer = request(served.address, "GET", query, other, b"").await;
    assert_eq!(answer.status, 200, "the browser hides it, we need not");
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("vary"), Some("Origin"));
    let query = "EIO=4&transport=websocket";
    Ws::open(served.address, query, app).await.unwrap();
    assert_eq!(
        Ws::open(served.address, query, other)
            .await
            .unwrap_err()
            .status,
        403
    );
}

#[tokio::test]
async fn websockets_open_from_the_same_host_only_by_default() {
    let served = serve(Config::default()).await;
    let query = "EIO=4&transport=websocket";
    let same = format!("Origin: http://{}\r\n", served.address);
    Ws::open(served.address, query, &same).await.unwrap();
    Ws::open(served.address, query, "").await.unwrap();
    for foreign in ["http://127.0.0.1:1", "https://evil.example", "null"] {
        let headers = format!("Origin: {foreign}\r\n");
        let answer = Ws::open(served.address, query, &headers).await.unwrap_err();
        assert_eq!(answer.status, 403, "{foreign}");
        let poller = Poller::open(served.address).await;
        let query = format!("{query}&sid={}", poller.sid);
        let answer = Ws::open(served.address, &query, &headers)
            .await
            .unwrap_err();
        assert_eq!(
            answer.status, 403,
            "{foreign} may not take a session over either"
        );
    }
}
