//! `/api/users`.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use syncchat_core::model::UserId;
use syncchat_core::ports::fleet::Presence;

use crate::node::{Node, text};

#[tokio::test]
async fn ones_own_profile_has_the_address_and_others_have_not() {
    let node = Node::new().await;
    let (ada, bob) = (node.person("ada").await, node.person("bob").await);
    let me = node.get("/api/users/me", &ada).await.expect(StatusCode::OK);
    let keys: Vec<_> = me["user"].as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "avatar",
            "createdAt",
            "email",
            "id",
            "lastSeen",
            "status",
            "username"
        ]
    );
    let path = format!("/api/users/{}", ada.id);
    let seen = node.get(&path, &bob).await.expect(StatusCode::OK);
    assert_eq!(seen["user"]["username"], "ada");
    assert!(seen["user"].get("email").is_none());
    let seen = node.get(&path, &ada).await.expect(StatusCode::OK);
    assert_eq!(seen["user"]["email"], "ada@example.org");
}

#[tokio::test]
async fn a_profile_is_changed_field_by_field() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    node.person("bob").await;
    let patch = async |body: Value| node.patch("/api/users/me", &ada, body).await;

    let changed = patch(json!({"username": "Ada_2"}))
        .await
        .expect(StatusCode::OK);
    assert_eq!(changed["user"]["username"], "Ada_2");
    assert_eq!(changed["user"]["avatar"], Value::Null);
    let avatar = "https://example.org/a.png";
    let changed = patch(json!({"avatar": avatar}))
        .await
        .expect(StatusCode::OK);
    assert_eq!(changed["user"]["avatar"], avatar);
    assert_eq!(changed["user"]["username"], "Ada_2");
    let same = patch(json!({"unknown": 1})).await.expect(StatusCode::OK);
    assert_eq!(same["user"]["avatar"], avatar);
    let gone = patch(json!({"avatar": null})).await.expect(StatusCode::OK);
    assert_eq!(gone["user"]["avatar"], Value::Null);

    assert_eq!(
        patch(json!({"username": "BOB"}))
            .await
            .refused(409, "conflict"),
        ["username"]
    );
    let wrong = json!({"username": {"$set": "x"}, "avatar": 1});
    assert_eq!(
        patch(wrong).await.refused(400, "invalid"),
        ["avatar", "username"]
    );
    let wrong = json!({"username": "a b", "avatar": "javascript:alert(1)"});
    assert_eq!(
        patch(wrong).await.refused(400, "invalid"),
        ["avatar", "username"]
    );
}

#[tokio::test]
async fn people_are_found_by_how_their_name_begins() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    for name in ["adam", "Adele", "bob", "a_z"] {
        node.person(name).await;
    }
    let find = async |q: &str| {
        let reply = node.get(&format!("/api/users?q={q}"), &ada).await;
        let found = reply.expect(StatusCode::OK);
        let users = found["users"].as_array().unwrap();
        assert!(users.iter().all(|user| user.get("email").is_none()));
        let names: Vec<String> = users.iter().map(|user| text(&user["username"])).collect();
        names
    };
    assert_eq!(find("AD").await, ["ada", "adam", "Adele"]);
    assert_eq!(find("a_").await, ["a_z"]);
    assert_eq!(find("%25").await, Vec::<String>::new());
    assert_eq!(find(".*").await, Vec::<String>::new());

    let refused = async |query: &str| {
        let reply = node.get(&format!("/api/users{query}"), &ada).await;
        reply.refused(400, "invalid")
    };
    assert_eq!(refused("").await, ["q"]);
    assert_eq!(refused("?q=").await, ["q"]);
    assert_eq!(refused("?q=%20").await, ["q"]);
    assert_eq!(refused(&format!("?q={}", "a".repeat(33))).await, ["q"]);
}

#[tokio::test]
async fn presence_is_live() {
    let node = Node::new().await;
    let (ada, bob) = (node.person("ada").await, node.person("bob").await);
    let status = async || {
        let reply = node.get(&format!("/api/users/{}", bob.id), &ada).await;
        text(&reply.expect(StatusCode::OK)["user"]["status"])
    };
    let id: UserId = bob.id.parse().unwrap();
    assert_eq!(status().await, "offline");
    node.fleet.arrive(id).await;
    assert_eq!(status().await, "online");
    node.fleet.leave(id).await;
    assert_eq!(status().await, "offline");
}

#[tokio::test]
async fn nobody_is_not_found() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    for id in [
        &*UserId::generate().to_string(),
        "x",
        "%7B%22$ne%22:1%7D",
        "%ff",
    ] {
        let reply = node.get(&format!("/api/users/{id}"), &ada).await;
        reply.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_token_without_an_account_is_nobody_s() {
    let node = Node::new().await;
    let (token, _) = node.api.identity.issue_access(UserId::generate()).unwrap();
    let reply = node
        .call(Method::GET, "/api/users/me", Some(&token), None)
        .await;
    reply.refused(401, "unauthorized");
}
