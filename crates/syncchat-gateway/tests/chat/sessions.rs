//! Who may come in, until when, and how they are sent away.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use syncchat_backplane::LimiterRates;
use syncchat_core::ports::limiter::Rate;
use test_speed::scaled;

use crate::client::{Client, Closed};
use crate::node::{Node, Settings};

#[tokio::test]
async fn a_token_with_connect_lets_in_at_once() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    let mut client = Client::open(node.address).await;
    client.join(Some(&ada.token)).await.expect("let in");
    let authenticated = client.next("authenticated").await;
    assert_eq!(authenticated["user"]["id"], ada.id.to_string());
    assert_eq!(authenticated["user"]["email"], "ada@example.org");
    assert_eq!(authenticated["node"], "test-node");
    assert!(authenticated["expiresAt"].is_string());
}

#[tokio::test]
async fn bad_tokens_are_refused() {
    let node = Node::with(Settings {
        access_ttl: Duration::ZERO,
        ..Settings::default()
    })
    .await;
    let expired = node.person("ada").await.token;
    for (token, code) in [("nonsense", "unauthorized"), (&expired, "token_expired")] {
        let mut client = Client::open(node.address).await;
        let why = client.join(Some(token)).await.expect_err("refused");
        let expected = json!({"message": "Authentication error", "data": {"code": code}});
        assert_eq!(why, expected);
    }
}

#[tokio::test]
async fn who_comes_while_the_store_is_away_is_let_in_when_it_is_back() {
    let node = Node::new().await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let conversation = node.group(&ada, &[&bob]).await;
    let mut sender = node.connect(&bob).await;
    node.accounts.away.store(true, Ordering::Relaxed);
    let mut client = Client::open(node.address).await;
    client.join(Some(&ada.token)).await.expect("not refused");
    let ack = client.call("sync", json!({"all": true})).await;
    assert_eq!(ack["error"]["code"], "unavailable");
    node.accounts.away.store(false, Ordering::Relaxed);
    client.next("authenticated").await;
    sender.say(conversation, "hello").await;
    assert_eq!(client.next("receive_msg").await["content"], "hello");

    // A token that comes later can be presented again.
    let mut late = Client::open(node.address).await;
    late.join(None).await.expect("joined");
    node.accounts.away.store(true, Ordering::Relaxed);
    let ack = late.call("authenticate", json!({"token": ada.token})).await;
    assert_eq!(ack["error"]["code"], "unavailable");
    node.accounts.away.store(false, Ordering::Relaxed);
    let ack = late.call("authenticate", json!({"token": ada.token})).await;
    assert_eq!(ack["ok"], true);
    sender.say(conversation, "again").await;
    assert_eq!(late.next("receive_msg").await["content"], "again");
}

#[tokio::test]
async fn a_good_token_of_nobody_is_refused() {
    let node = Node::new().await;
    let nobody = syncchat_core::model::UserId::generate();
    let (token, _) = node.identity.issue_access(nobody).expect("a token");
    let mut client = Client::open(node.address).await;
    let why = client.join(Some(&token)).await.expect_err("refused");
    assert_eq!(why["data"]["code"], "unauthorized");
}

#[tokio::test]
async fn a_token_may_come_later_and_be_renewed_by_the_same_person_only() {
    let node = Node::new().await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let mut client = Client::open(node.address).await;
    client.join(None).await.expect("joined");

    let ack = client.call("sync", json!({"all": true})).await;
    assert_eq!(
        (&ack["ok"], &ack["error"]["code"]),
        (&json!(false), &json!("unauthorized"))
    );
    client.emit("send_msg", json!({"clientMsgId": "c1"})).await;
    let error = client.next("error_msg").await;
    assert_eq!(error["error"]["code"], "unauthorized");
    assert_eq!(
        (&error["event"], &error["clientMsgId"]),
        (&json!("send_msg"), &json!("c1"))
    );
    let ack = client
        .call("authenticate", json!({"token": "nonsense"}))
        .await;
    assert_eq!(ack["error"]["code"], "unauthorized");

    let ack = client
        .call("authenticate", json!({"token": ada.token}))
        .await;
    assert_eq!(
        (&ack["ok"], &ack["user"]["username"]),
        (&json!(true), &json!("ada"))
    );
    assert_eq!(
        client.next("authenticated").await["user"]["id"],
        ada.id.to_string()
    );

    let ack = client
        .call("authenticate", json!({"token": ada.token}))
        .await;
    assert_eq!(ack["ok"], true);
    client.next("authenticated").await;
    let ack = client
        .call("authenticate", json!({"token": bob.token}))
        .await;
    assert_eq!(ack["error"]["code"], "forbidden");

    // And it reads as one that came with a token.
    let conversation = node.group(&bob, &[&ada]).await;
    client.next("conversation_created").await;
    node.connect(&bob).await.say(conversation, "hello").await;
    assert_eq!(client.next("receive_msg").await["content"], "hello");
}

#[tokio::test]
async fn who_brings_no_token_in_time_is_disconnected() {
    let node = Node::new().await;
    let mut client = Client::open(node.address).await;
    client.join(None).await.expect("joined");
    assert_eq!(client.end().await, Closed::Disconnected);
}

#[tokio::test]
async fn a_token_ends_with_a_warning_and_a_goodbye() {
    let node = Node::with(Settings {
        access_ttl: scaled(Duration::from_secs(2)),
        ..Settings::default()
    })
    .await;
    let ada = node.person("ada").await;
    let mut client = node.connect(&ada).await;
    assert!(client.next("token_expiring").await["expiresAt"].is_string());
    assert_eq!(
        client.next("server_closing").await["reason"],
        "token_expired"
    );
    assert_eq!(client.end().await, Closed::Disconnected);
}

#[tokio::test]
async fn a_revoked_log_in_ends_its_sockets() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    let login = node
        .identity
        .login("ada", "correct horse".into(), node.address.ip());
    let other = login.await.expect("logged in");
    let mut first = node.connect(&ada).await;
    let mut second = Client::open(node.address).await;
    second
        .join(Some(&other.access_token))
        .await
        .expect("let in");
    second.next("authenticated").await;

    node.identity
        .logout(&other.refresh_token)
        .await
        .expect("logged out");
    assert_eq!(second.next("server_closing").await["reason"], "kicked");
    assert_eq!(second.end().await, Closed::Disconnected);
    let ack = first.call("sync", json!({"all": true})).await;
    assert_eq!(ack["ok"], true);
}

#[tokio::test]
async fn a_revocation_that_was_not_heard_ends_sockets_once_there_is_doubt() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    let login = node
        .identity
        .login("ada", "correct horse".into(), node.address.ip());
    let other = login.await.expect("logged in");
    let mut first = node.connect(&ada).await;
    let mut second = Client::open(node.address).await;
    second
        .join(Some(&other.access_token))
        .await
        .expect("let in");
    second.next("authenticated").await;

    node.fleet.hides_revocations.store(true, Ordering::Relaxed);
    let out = node.identity.logout(&other.refresh_token).await;
    out.expect("logged out");
    // The node heard nothing, and knows of nothing that was lost.
    let ack = second.call("sync", json!({"all": true})).await;
    assert_eq!(ack["ok"], true);
    node.fleet.deaf.store(true, Ordering::Relaxed);
    assert_eq!(second.next("server_closing").await["reason"], "kicked");
    assert_eq!(second.end().await, Closed::Disconnected);
    let ack = first.call("sync", json!({"all": true})).await;
    assert_eq!(ack["ok"], true);
}

#[tokio::test]
async fn a_log_out_whose_answer_was_lost_ends_its_sockets() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    let login = node
        .identity
        .login("ada", "correct horse".into(), node.address.ip());
    let other = login.await.expect("logged in");
    let mut first = node.connect(&ada).await;
    let mut second = Client::open(node.address).await;
    second
        .join(Some(&other.access_token))
        .await
        .expect("let in");
    second.next("authenticated").await;

    node.accounts.answers_lost.store(true, Ordering::Relaxed);
    let out = node.identity.logout(&other.refresh_token).await;
    assert_eq!(
        out.expect_err("in doubt").code,
        syncchat_core::ErrorCode::Unavailable
    );
    let ack = second.call("sync", json!({"all": true})).await;
    assert_eq!(ack["ok"], true, "nobody knows yet");
    // Nobody tries again: the node finds out by itself.
    node.accounts.answers_lost.store(false, Ordering::Relaxed);
    assert_eq!(second.next("server_closing").await["reason"], "kicked");
    assert_eq!(second.end().await, Closed::Disconnected);
    let ack = first.call("sync", json!({"all": true})).await;
    assert_eq!(ack["ok"], true);
}

#[tokio::test]
async fn a_refresh_whose_answer_was_lost_ends_nothing() {
    let node = Node::new().await;
    node.person("ada").await;
    let login = node
        .identity
        .login("ada", "correct horse".into(), node.address.ip());
    let session = login.await.expect("logged in");
    let mut client = Client::open(node.address).await;
    client
        .join(Some(&session.access_token))
        .await
        .expect("let in");
    client.next("authenticated").await;

    node.accounts.answers_lost.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let lost = node.identity.refresh(&session.refresh_token).await;
        assert!(lost.is_err());
    }
    node.accounts.answers_lost.store(false, Ordering::Relaxed);
    let next = node.identity.refresh(&session.refresh_token).await;
    let next = next.unwrap_or_else(|error| panic!("{error}"));
    // The live socket takes the newer token.
    let payload = json!({"token": next.access_token});
    let ack = client.call("authenticate", payload).await;
    assert_eq!(ack["ok"], true);
    client.next("authenticated").await;
    let after = node.identity.refresh(&next.refresh_token).await;
    assert!(after.is_ok());
    let ack = client.call("sync", json!({"all": true})).await;
    assert_eq!(ack["ok"], true);
}

#[tokio::test]
async fn unknown_events_and_wrong_arguments_are_refused() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    let mut client = node.connect(&ada).await;
    for (name, payload) in [
        ("no_such_event", json!({})),
        (
            "send_msg",
            json!({"conversationId": {"$ne": 1}, "content": "x"}),
        ),
        ("send_msg", json!([1, 2])),
        (
            "mark_read",
            json!({"conversationId": ada.id.to_string(), "seq": -1}),
        ),
        ("presence", json!({})),
        (
            "create_conversation",
            json!({"type": "private", "participants": []}),
        ),
    ] {
        let ack = client.call(name, payload).await;
        assert_eq!(ack["error"]["code"], "invalid", "{name}: {ack}");
    }
}

#[tokio::test]
async fn messages_are_limited_by_person() {
    let node = Node::with(Settings {
        rates: LimiterRates {
            messages: Some(Rate {
                per_second: 0.1,
                burst: 2,
            }),
            ..LimiterRates::OFF
        },
        ..Settings::default()
    })
    .await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let conversation = node.group(&ada, &[&bob]).await;
    let mut client = node.connect(&ada).await;
    client.say(conversation, "one").await;
    client.say(conversation, "two").await;
    let payload = json!({"conversationId": conversation.to_string(), "content": "three"});
    let ack = client.call("send_msg", payload).await;
    assert_eq!(ack["error"]["code"], "rate_limited");
    assert!(
        ack["error"]["retryAfterMs"]
            .as_u64()
            .is_some_and(|ms| ms > 0)
    );
    node.connect(&bob).await.say(conversation, "mine").await;
}

#[tokio::test]
async fn a_drain_says_goodbye_to_everybody_and_lets_nobody_in() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(node.connect(&ada).await);
    }
    // One that did not say yet whose it is.
    let mut guest = Client::open(node.address).await;
    guest.join(None).await.expect("let in");
    clients.push(guest);
    let drain = node.gateway.drain(Duration::from_millis(500));
    let goodbyes = async {
        for client in &mut clients {
            let goodbye = client.next("server_closing").await;
            assert_eq!(goodbye["reason"], "draining");
            assert!(goodbye["reconnectInMs"].is_u64());
            assert_eq!(client.end().await, Closed::Connection);
        }
    };
    tokio::join!(drain, goodbyes);
    let refused = tokio::time::timeout(scaled(Duration::from_secs(5)), async {
        let stream = tokio::net::TcpStream::connect(node.address)
            .await
            .expect("a connection");
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", node.address);
        tokio_tungstenite::client_async(url, stream).await.is_err()
    });
    assert!(refused.await.expect("an answer"));
}
