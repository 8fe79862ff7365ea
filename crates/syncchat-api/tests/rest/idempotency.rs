//! Calls that are repeated under the caller's own name for them.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::node::{Node, text};

const CREATED: StatusCode = StatusCode::CREATED;

#[tokio::test]
async fn a_repeated_creation_is_answered_as_the_first() {
    let node = Node::new().await;
    let (ada, bob) = (node.person("ada").await, node.person("bob").await);
    let path = "/api/conversations";
    let body = json!({"type": "group", "participants": [bob.id], "title": "t"});
    let mut named = body.clone();
    named["clientConversationId"] = json!("g");
    let id = |reply: Value| text(&reply["conversation"]["id"]);
    let by_name = id(node.post(path, &ada, named.clone()).await.expect(CREATED));
    let by_key = node.post_under(&["g"], path, Some(&ada), &body).await;
    let by_key = id(by_key.expect(CREATED));
    assert_ne!(by_name, by_key);
    node.say(&by_name, &bob, "hi").await;
    for _ in 0..2 {
        let again = node.post(path, &ada, named.clone()).await.expect(CREATED);
        assert_eq!(again["conversation"]["lastSeq"], 1);
        assert_eq!(again["conversation"]["unread"], 1);
        assert_eq!(id(again), by_name);
        let again = node.post_under(&["g"], path, Some(&ada), &body).await;
        assert_eq!(id(again.expect(CREATED)), by_key);
    }
    let theirs = json!({"type": "group", "participants": [ada.id], "title": "t"});
    let theirs = node.post_under(&["g"], path, Some(&bob), &theirs).await;
    assert!(![by_name.clone(), by_key].contains(&id(theirs.expect(CREATED))));
    // Something else under the same name.
    named["title"] = json!("u");
    let refused = node.post(path, &ada, named.clone()).await;
    assert_eq!(refused.refused(409, "conflict"), ["clientConversationId"]);
    named["clientConversationId"] = Value::Null;
    let refused = node.post_under(&["g"], path, Some(&ada), &named).await;
    assert_eq!(refused.refused(409, "conflict"), ["Idempotency-Key"]);
    for wrong in [json!(""), json!("x".repeat(65)), json!("a\u{1}"), json!(1)] {
        named["clientConversationId"] = wrong;
        let refused = node.post(path, &ada, named.clone()).await;
        assert_eq!(refused.refused(400, "invalid"), ["clientConversationId"]);
    }
    // The call that made the pair's is told so again; one that found it, that it was there.
    let pair = json!({"type": "private", "participants": [bob.id]});
    for _ in 0..2 {
        let made = node.post_under(&["p"], path, Some(&ada), &pair).await;
        made.expect(CREATED);
        let found = node.post_under(&["q"], path, Some(&ada), &pair).await;
        found.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn a_repeated_message_is_one_and_its_key_is_not_shown() {
    let node = Node::new().await;
    let (ada, bob) = (node.person("ada").await, node.person("bob").await);
    let id = node.group(&[&ada, &bob]).await;
    let path = format!("/api/conversations/{id}/messages");
    let body = json!({"content": "hi"});
    let post = async |body: &Value| node.post_under(&["k"], &path, Some(&ada), body).await;
    let first = post(&body).await.expect(CREATED);
    assert_eq!(first["message"]["clientMsgId"], Value::Null);
    assert_eq!(post(&body).await.expect(CREATED), first);
    let page = node.get(&path, &bob).await.expect(StatusCode::OK);
    assert_eq!(page["messages"].as_array().unwrap().len(), 1);
    assert_eq!(page["messages"][0]["clientMsgId"], Value::Null);
    let refused = post(&json!({"content": "ho"})).await;
    assert_eq!(refused.refused(409, "conflict"), ["Idempotency-Key"]);
    let named = json!({"content": "hi", "clientMsgId": "k"});
    let message = node.post(&path, &ada, named).await.expect(CREATED);
    assert_eq!(message["message"]["seq"], 2);
    let named = json!({"content": "ho", "clientMsgId": "k"});
    let refused = node.post(&path, &ada, named).await;
    assert_eq!(refused.refused(409, "conflict"), ["clientMsgId"]);
}

#[tokio::test]
async fn a_repeated_announcement_of_a_file_is_of_the_same() {
    let node = Node::new().await;
    let (ada, bob) = (node.person("ada").await, node.person("bob").await);
    let file = |name: &str| json!({"name": name, "size": 10, "contentType": "image/png"});
    let post = async |key: &str, who, name: &str| {
        let path = "/api/files";
        node.post_under(&[key], path, Some(who), &file(name)).await
    };
    let first = post("k", &ada, "a").await.expect(CREATED);
    let again = post("k", &ada, "a").await.expect(CREATED);
    assert_eq!(again["fileId"], first["fileId"]);
    assert_eq!(again["upload"]["url"], first["upload"]["url"]);
    let refused = post("k", &ada, "b").await;
    assert_eq!(refused.refused(409, "conflict"), ["Idempotency-Key"]);
    let theirs = post("k", &bob, "a").await.expect(CREATED);
    assert_ne!(theirs["fileId"], first["fileId"]);
}

#[tokio::test]
async fn a_repeated_registration_is_of_the_same_account() {
    let node = Node::new().await;
    let body = |password: &str| json!({"username": "ada", "email": "ada@example.org", "password": password});
    let post = async |password: &str| {
        let path = "/api/auth/register";
        node.post_under(&["k"], path, None, &body(password)).await
    };
    let first = post("correct horse").await.expect(CREATED);
    let again = post("correct horse").await.expect(CREATED);
    assert_eq!(again["user"]["id"], first["user"]["id"]);
    let refused = post("wrong horse").await;
    assert_eq!(refused.refused(409, "conflict"), ["username"]);
}

#[tokio::test]
async fn a_malformed_key_is_refused_wherever_something_is_posted() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    let id = node.group(&[&ada, &node.person("bob").await]).await;
    let longest = "k".repeat(255);
    let paths = [
        "/api/auth/register",
        "/api/auth/login",
        "/api/auth/refresh",
        "/api/auth/logout",
        "/api/conversations",
        &format!("/api/conversations/{id}/participants"),
        &format!("/api/conversations/{id}/participants/{}", ada.id),
        &format!("/api/conversations/{id}/messages"),
        "/api/files",
    ];
    for path in paths {
        let too_long = format!("{longest}k");
        let bad: [&[&str]; 4] = [&[""], &["a b"], &[&too_long], &["a", "a"]];
        for keys in bad {
            let reply = node.post_under(keys, path, Some(&ada), &json!({})).await;
            assert_eq!(
                reply.refused(400, "invalid"),
                ["Idempotency-Key"],
                "{path} {keys:?}"
            );
        }
        let reply = node
            .post_under(&[&longest], path, Some(&ada), &json!({}))
            .await;
        let said = String::from_utf8_lossy(&reply.body);
        assert!(!said.contains("Idempotency-Key"), "{path} {said}");
    }
}

#[tokio::test]
async fn the_document_says_that_every_post_takes_a_key() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    let document = node
        .get("/api/openapi.json", &ada)
        .await
        .expect(StatusCode::OK);
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let key = parameters.filter(|p| p["name"] == "Idempotency-Key" && p["in"] == "header");
            assert_eq!(
                key.count(),
                usize::from(method == "post"),
                "{method} {path}"
            );
        }
    }
}
