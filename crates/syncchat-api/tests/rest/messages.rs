//! `/api/conversations/{id}/messages` and `/api/messages`.

use axum::http::{StatusCode, header};
use serde_json::json;
use syncchat_api::CorsOrigins;
use syncchat_backplane::LimiterRates;
use syncchat_core::model::MessageId;
use syncchat_core::ports::limiter::Rate;

use crate::node::{Node, text};

#[tokio::test]
async fn a_message_is_answered_whole() {
    let node = Node::new().await;
    let (ada, bob) = (node.person("ada").await, node.person("bob").await);
    let id = node.group(&[&ada, &bob]).await;
    let path = format!("/api/conversations/{id}/messages");
    let body = json!({"content": " hi <b> ", "clientMsgId": "c1"});
    let first = node
        .post(&path, &ada, body.clone())
        .await
        .expect(StatusCode::CREATED);
    let message = &first["message"];
    let keys: Vec<_> = message.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "attachments",
            "clientMsgId",
            "content",
            "conversationId",
            "createdAt",
            "deleted",
            "edited",
            "id",
            "readBy",
            "replyTo",
            "rev",
            "sender",
            "seq",
            "status",
            "type",
            "updatedAt"
        ]
    );
    assert_eq!(message["content"], " hi <b> ");
    assert_eq!(
        (&message["seq"], &message["sender"]),
        (&json!(1), &json!(ada.id))
    );
    // The same once more makes no second message.
    let again = node
        .post(&path, &ada, body)
        .await
        .expect(StatusCode::CREATED);
    assert_eq!(again["message"]["id"], message["id"]);

    let reply_to = json!({"content": "yes", "replyTo": message["id"]});
    let answer = node
        .post(&path, &bob, reply_to)
        .await
        .expect(StatusCode::CREATED);
    assert_eq!(answer["message"]["replyTo"], message["id"]);
    assert_eq!(answer["message"]["seq"], 2);
}

#[tokio::test]
async fn a_wrong_message_names_its_fields() {
    let node = Node::new().await;
    let (ada, bob) = (node.person("ada").await, node.person("bob").await);
    let id = node.group(&[&ada, &bob]).await;
    let path = format!("/api/conversations/{id}/messages");
    let cases = [
        (json!({}), vec!["content"]),
        (json!({"content": {"$ne": 1}}), vec!["content"]),
        (json!({"content": "  "}), vec!["content"]),
        (json!({"content": "a\u{0}b"}), vec!["content"]),
        (json!({"content": "é".repeat(4_001)}), vec!["content"]),
        (json!({"content": "x", "type": "system"}), vec!["type"]),
        (
            json!({"content": "x", "type": "image"}),
            vec!["attachments"],
        ),
        (
            json!({"content": "x", "clientMsgId": "x".repeat(65)}),
            vec!["clientMsgId"],
        ),
        (
            json!({"content": "x", "clientMsgId": 7}),
            vec!["clientMsgId"],
        ),
        (json!({"content": "x", "replyTo": "x"}), vec!["replyTo"]),
        (
            json!({"content": "x", "attachments": {"0": "x"}}),
            vec!["attachments"],
        ),
        (
            json!({"content": 1, "type": 2, "clientMsgId": 3, "attachments": [4], "replyTo": 5}),
            vec!["attachments", "clientMsgId", "content", "replyTo", "type"],
        ),
    ];
    for (body, fields) in cases {
        let reply = node.post(&path, &ada, body.clone()).await;
        if body["attachments"].is_array() {
            let named = reply.refused(400, "invalid");
            assert!(
                fields
                    .iter()
                    .all(|field| named.iter().any(|name| name == field)),
                "{body}"
            );
        } else {
            assert_eq!(reply.refused(400, "invalid"), fields, "{body}");
        }
    }
}

#[tokio::test]
async fn pages_lie_before_and_after_and_since() {
    let node = Node::new().await;
    let (ada, bob) = (node.person("ada").await, node.person("bob").await);
    let id = node.group(&[&ada, &bob]).await;
    let mut said = Vec::new();
    for n in 1..=60 {
        said.push(node.say(&id, &ada, &format!("{n}")).await);
    }
    let page = async |query: &str| {
        let path = format!("/api/conversations/{id}/messages{query}");
        let page = node.get(&path, &bob).await.expect(StatusCode::OK);
        let keys: Vec<_> = page.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["messages", "more"]);
        let messages = page["messages"].as_array().unwrap();
        let seqs: Vec<u64> = messages
            .iter()
            .map(|m| m["seq"].as_u64().unwrap())
            .collect();
        (seqs, page["more"].as_bool().unwrap())
    };
    let range = |first: u64, last: u64| (first..=last).collect::<Vec<_>>();
    assert_eq!(page("").await, (range(11, 60), true));
    assert_eq!(page("?limit=200").await, (range(1, 60), false));
    assert_eq!(page("?before=11").await, (range(1, 10), false));
    assert_eq!(page("?before=4&limit=2").await, (range(2, 3), true));
    assert_eq!(page("?after=58").await, (range(59, 60), false));
    assert_eq!(page("?after=0&limit=3").await, (range(1, 3), true));
    assert_eq!(page("?after=60").await, (vec![], false));
    assert_eq!(
        page("?since=1970-01-01T00:00:00Z&limit=3").await,
        (range(1, 3), true)
    );
    let (seqs, _) = page(&format!("?since={}", text(&said[59]["createdAt"]))).await;
    assert_eq!(seqs.last(), Some(&60));
    assert_eq!(page("?since=2999-01-01T00:00:00Z").await, (vec![], false));

    for (query, fields) in [
        ("limit=0", vec!["limit"]),
        ("limit=201", vec!["limit"]),
        ("limit=1.5", vec!["limit"]),
        ("before=x", vec!["before"]),
        ("before=-1", vec!["before"]),
        ("after=18446744073709551616", vec!["after"]),
        ("since=yesterday", vec!["since"]),
        ("before=1&after=1", vec!["after", "before"]),
        ("before[$ne]=1&limit[$gt]=1&limit=x", vec!["limit"]),
    ] {
        let reply = node
            .get(&format!("/api/conversations/{id}/messages?{query}"), &bob)
            .await;
        assert_eq!(reply.refused(400, "invalid"), fields, "{query}");
    }
}

#[tokio::test]
async fn only_the_sender_edits_and_deletes() {
    let node = Node::new().await;
    let (ada, bob) = (node.person("ada").await, node.person("bob").await);
    let id = node.group(&[&ada, &bob]).await;
    let message = text(&node.say(&id, &ada, "helo").await["id"]);
    let at = format!("/api/messages/{message}");
    node.patch(&at, &bob, json!({"content": "x"}))
        .await
        .refused(403, "forbidden");
    node.delete(&at, &bob).await.refused(403, "forbidden");
    for bad in [json!({}), json!({"content": ["x"]}), json!({"content": ""})] {
        assert_eq!(
            node.patch(&at, &ada, bad).await.refused(400, "invalid"),
            ["content"]
        );
    }
    let edited = node.patch(&at, &ada, json!({"content": "hello"})).await;
    let edited = edited.expect(StatusCode::OK)["message"].clone();
    assert_eq!(
        (&edited["content"], &edited["edited"]),
        (&json!("hello"), &json!(true))
    );
    let gone = node.delete(&at, &ada).await.expect(StatusCode::OK)["message"].clone();
    assert_eq!(
        (&gone["content"], &gone["deleted"]),
        (&json!(""), &json!(true))
    );
    assert_eq!(gone["seq"], 1);
    for nobody in [&*MessageId::generate().to_string(), "x", "%ff"] {
        let at = format!("/api/messages/{nobody}");
        node.patch(&at, &ada, json!({"content": "x"}))
            .await
            .refused(404, "not_found");
        node.delete(&at, &ada).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn what_was_read_stays_read_when_it_is_edited() {
    let node = Node::new().await;
    let (ada, bob) = (node.person("ada").await, node.person("bob").await);
    let id = node.group(&[&ada, &bob]).await;
    let message = node.say(&id, &ada, "hi").await;
    let (conversation, reader) = (id.parse().unwrap(), bob.id.parse().unwrap());
    let kind = syncchat_core::command::CursorKind::Read;
    node.api
        .chat
        .mark(reader, conversation, kind, 1)
        .await
        .unwrap();
    let at = format!("/api/messages/{}", text(&message["id"]));
    let edited = node.patch(&at, &ada, json!({"content": "hi!"})).await;
    let edited = edited.expect(StatusCode::OK)["message"].clone();
    assert_eq!(edited["status"], "read");
    assert_eq!(edited["readBy"], json!([bob.id]));
    let gone = node.delete(&at, &ada).await.expect(StatusCode::OK);
    assert_eq!(gone["message"]["status"], "read");
}

#[tokio::test]
async fn messages_have_a_rate_of_their_own() {
    let rates = LimiterRates {
        messages: Some(Rate {
            per_second: 0.1,
            burst: 2,
        }),
        ..LimiterRates::OFF
    };
    let node = Node::with(rates, CorsOrigins::SameOrigin).await;
    let (ada, bob) = (node.person("ada").await, node.person("bob").await);
    let id = node.group(&[&ada, &bob]).await;
    node.say(&id, &ada, "1").await;
    node.say(&id, &ada, "2").await;
    let path = format!("/api/conversations/{id}/messages");
    let reply = node.post(&path, &ada, json!({"content": "3"})).await;
    reply.refused(429, "rate_limited");
    assert!(reply.headers.contains_key(header::RETRY_AFTER));
    // Reading goes on, and so does everybody else.
    let page = node.get(&path, &ada).await.expect(StatusCode::OK);
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(2));
    node.say(&id, &bob, "3").await;
}
