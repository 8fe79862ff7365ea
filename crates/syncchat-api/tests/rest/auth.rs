//! `/api/auth`.

use axum::http::{Method, StatusCode, header};
use serde_json::json;
use syncchat_api::CorsOrigins;
use syncchat_backplane::LimiterRates;
use syncchat_core::ports::limiter::Rate;

use crate::node::{Node, text};

#[tokio::test]
async fn registering_logs_in() {
    let node = Node::new().await;
    let body = json!({"username": "Ada", "email": "ada@example.org", "password": "12345678"});
    let session = node
        .auth("register", body)
        .await
        .expect(StatusCode::CREATED);
    let keys: Vec<_> = session.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["accessToken", "expiresAt", "refreshToken", "user"]);
    assert_eq!(session["user"]["username"], "Ada");
    assert_eq!(session["user"]["email"], "ada@example.org");
    assert!(session["user"].get("password").is_none());
    assert!(text(&session["expiresAt"]).ends_with('Z'));

    let token = text(&session["accessToken"]);
    let me = node
        .call(Method::GET, "/api/users/me", Some(&token), None)
        .await;
    assert_eq!(
        me.expect(StatusCode::OK)["user"]["id"],
        session["user"]["id"]
    );
}

#[tokio::test]
async fn a_wrong_account_names_its_fields() {
    let node = Node::new().await;
    let cases = [
        (json!({}), vec!["email", "password", "username"]),
        (
            json!({"username": {"$ne": 1}, "email": ["a@b.c"], "password": 12_345_678}),
            vec!["email", "password", "username"],
        ),
        (
            json!({"username": "a", "email": "nobody", "password": "short"}),
            vec!["email", "password", "username"],
        ),
        (
            json!({"username": "ada", "email": "a@b.c", "password": "x".repeat(73)}),
            vec!["password"],
        ),
        (
            json!({"username": "ada", "email": "a@b.c", "password": "é".repeat(37)}),
            vec!["password"],
        ),
        (
            json!({"username": "a/b", "email": "a@b.c", "password": "12345678"}),
            vec!["username"],
        ),
    ];
    for (body, fields) in cases {
        let reply = node.auth("register", body.clone()).await;
        assert_eq!(reply.refused(400, "invalid"), fields, "{body}");
    }
}

#[tokio::test]
async fn what_is_taken_is_named() {
    let node = Node::new().await;
    node.person("ada").await;
    let register = async |username, email| {
        let body = json!({"username": username, "email": email, "password": "12345678"});
        node.auth("register", body).await.refused(409, "conflict")
    };
    assert_eq!(register("ADA", "other@example.org").await, ["username"]);
    assert_eq!(register("other", "Ada@Example.org").await, ["email"]);
}

#[tokio::test]
async fn the_same_registration_again_logs_in() {
    let node = Node::new().await;
    let body = json!({"username": "Ada", "email": "ada@example.org", "password": "12345678"});
    let first = node.auth("register", body.clone()).await;
    let first = first.expect(StatusCode::CREATED);
    let again = node.auth("register", body.clone()).await;
    let again = again.expect(StatusCode::CREATED);
    assert_eq!(again["user"]["id"], first["user"]["id"]);
    assert_ne!(again["refreshToken"], first["refreshToken"]);
    for (field, other, taken) in [
        ("password", "87654321", "username"),
        ("username", "ADA", "username"),
        ("email", "other@example.org", "username"),
        ("username", "other", "email"),
    ] {
        let mut body = body.clone();
        body[field] = json!(other);
        let reply = node.auth("register", body).await;
        assert_eq!(reply.refused(409, "conflict"), [taken], "{field}");
    }
}

#[tokio::test]
async fn logging_in_by_name_or_address() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    for login in ["ada", "ADA", "ada@example.org"] {
        let body = json!({"login": login, "password": "correct horse"});
        let session = node.auth("login", body).await.expect(StatusCode::OK);
        assert_eq!(session["user"]["id"], ada.id, "{login}");
    }
    let refusal = async |login, password| {
        let reply = node
            .auth("login", json!({"login": login, "password": password}))
            .await;
        assert_eq!(reply.headers[header::WWW_AUTHENTICATE], "Bearer");
        assert!(reply.refused(401, "unauthorized").is_empty());
        reply.json()
    };
    // One answer for both, so that nobody learns who has an account.
    assert_eq!(
        refusal("ada", "wrong horse").await,
        refusal("nobody", "correct horse").await
    );
    let reply = node.auth("login", json!({"login": {"$gt": ""}})).await;
    assert_eq!(reply.refused(400, "invalid"), ["login", "password"]);
}

#[tokio::test]
async fn a_refresh_token_repeats_its_successor_until_that_is_used() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    let refresh = async |token: &str| node.auth("refresh", json!({"refreshToken": token})).await;
    let second = refresh(&ada.refresh_token).await.expect(StatusCode::OK);
    let second = text(&second["refreshToken"]);
    assert_ne!(second, ada.refresh_token);
    // The answer may have been lost: the same once more.
    let again = refresh(&ada.refresh_token).await.expect(StatusCode::OK);
    assert_eq!(text(&again["refreshToken"]), second);
    let third = refresh(&second).await.expect(StatusCode::OK);
    refresh(&ada.refresh_token)
        .await
        .refused(401, "unauthorized");
    // Used after its successor, it has taken its whole family with it.
    for token in [second, text(&third["refreshToken"])] {
        refresh(&token).await.refused(401, "unauthorized");
    }
    refresh("nonsense").await.refused(401, "unauthorized");
    let reply = node.auth("refresh", json!({"refreshToken": null})).await;
    assert_eq!(reply.refused(400, "invalid"), ["refreshToken"]);
}

#[tokio::test]
async fn logging_out_ends_the_refresh_token() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    let body = json!({"refreshToken": ada.refresh_token});
    let reply = node.auth("logout", body.clone()).await;
    assert!(reply.expect(StatusCode::NO_CONTENT).is_null());
    node.auth("refresh", body.clone())
        .await
        .refused(401, "unauthorized");
    // Again, or with nobody's token: nothing to tell.
    node.auth("logout", body)
        .await
        .expect(StatusCode::NO_CONTENT);
    let reply = node.auth("logout", json!({"refreshToken": "x"})).await;
    reply.expect(StatusCode::NO_CONTENT);
    let reply = node.auth("logout", json!({})).await;
    assert_eq!(reply.refused(400, "invalid"), ["refreshToken"]);
}

#[tokio::test]
async fn registrations_are_limited_by_address() {
    let rates = LimiterRates {
        registrations: Some(Rate {
            per_second: 0.01,
            burst: 2,
        }),
        ..LimiterRates::OFF
    };
    let node = Node::with(rates, CorsOrigins::SameOrigin).await;
    node.person("first").await;
    node.person("second").await;
    let body = json!({"username": "third", "email": "t@example.org", "password": "12345678"});
    let reply = node.auth("register", body).await;
    reply.refused(429, "rate_limited");
    let after: u64 = reply.headers[header::RETRY_AFTER]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((90..=100).contains(&after), "{after}");
    let told = reply.json()["error"]["retryAfterMs"].as_u64().unwrap();
    assert_eq!(told.div_ceil(1_000), after);
}
