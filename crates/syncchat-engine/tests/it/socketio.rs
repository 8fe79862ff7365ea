//! Namespaces, events, acks.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::value::to_raw_value;
use syncchat_engine::{AckError, Class, Config, Pushed};
use syncchat_protocol::Frame;
use syncchat_protocol::socketio::EventHead;
use test_speed::scaled;

use crate::client::{Got, Poller, Ws, masked, text};
use crate::server::serve;

#[tokio::test]
async fn namespaces_are_joined_refused_and_left() {
    let served = serve(Config::default()).await;
    let mut ws = Ws::session(served.address).await;
    ws.text("40/random").await;
    assert_eq!(
        ws.next().await,
        text(r#"44/random,{"message":"Invalid namespace"}"#)
    );
    ws.text(r#"40{"token":"bad"}"#).await;
    let refused = r#"44{"message":"Authentication error","data":{"code":"unauthorized"}}"#;
    assert_eq!(ws.next().await, text(refused));
    ws.text(r#"40{"token":"good"}"#).await;
    let Got::Text(connect) = ws.next().await else {
        panic!("no CONNECT")
    };
    let id = served.socket().await.id().to_owned();
    assert_eq!(connect, format!(r#"40{{"sid":"{id}"}}"#));
    assert_eq!(id.len(), 20);
    ws.text("40/other,").await;
    let Got::Text(connect) = ws.next().await else {
        panic!("no CONNECT")
    };
    assert!(connect.starts_with(r#"40/other,{"sid":""#));
    ws.text("41").await;
    served.told("disconnected client_disconnect").await;
    ws.text(r#"42/other,["echo",1]"#).await;
    assert_eq!(ws.next().await, text(r#"42/other,["echo",1]"#));
    ws.text("40").await;
    assert!(matches!(ws.next().await, Got::Text(again) if !again.contains(&id)));
    drop(ws);
    served.emptied().await;
    assert_eq!(
        (served.count("connected"), served.count("disconnected")),
        (3, 3)
    );
}

#[tokio::test]
async fn what_the_state_forbids_closes_the_session_without_a_word() {
    let served = serve(Config::default()).await;
    let cases: [&[&str]; 9] = [
        &[r#"42["echo"]"#],
        &["40", "40"],
        &[r#"40{"token":"slow"}"#, r#"42["echo"]"#],
        &["40", r#"42/other,["echo"]"#],
        &["44"],
        &["41"],
        &["4abc"],
        &["40", "40/", "43[]x"],
        &["40", r#"42["disconnect"]"#],
    ];
    for packets in cases {
        let mut ws = Ws::session(served.address).await;
        let bytes: Vec<u8> = packets
            .iter()
            .flat_map(|packet| masked(0x81, packet.as_bytes()))
            .collect();
        tokio::io::AsyncWriteExt::write_all(&mut ws.stream, &bytes)
            .await
            .unwrap();
        assert_eq!(ws.closed().await, Some(None), "{packets:?}");
    }
    // As one payload of long polling.
    let poller = Poller::open(served.address).await;
    assert_eq!(poller.post("40\x1e42[\"echo\"]").await.status, 400);
    served.emptied().await;
}

#[tokio::test]
async fn events_are_acknowledged_with_what_they_carried() {
    let served = serve(Config::default()).await;
    let mut ws = Ws::connect(served.address).await;
    ws.text(r#"42456["echo",1,"2",{"b":1.0,"a":[false]}]"#)
        .await;
    assert_eq!(
        ws.next().await,
        text(r#"42["echo",1,"2",{"b":1.0,"a":[false]}]"#)
    );
    assert_eq!(
        ws.next().await,
        text(r#"43456[1,"2",{"b":1.0,"a":[false]}]"#)
    );
    ws.text(r#"452-789["echo",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#)
        .await;
    ws.binary(&[1, 2]).await;
    ws.binary(&[]).await;
    let args = r#"{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}"#;
    assert_eq!(
        ws.next().await,
        Got::Text(format!(r#"452-["echo",{args}]"#))
    );
    assert_eq!(ws.next().await, Got::Binary(vec![1, 2]));
    assert_eq!(ws.next().await, Got::Binary(vec![]));
    assert_eq!(ws.next().await, Got::Text(format!("462-789[{args}]")));
    assert_eq!(ws.next().await, Got::Binary(vec![1, 2]));
    assert_eq!(ws.next().await, Got::Binary(vec![]));
    // Nobody answers this one, and the session lives on.
    ws.text(r#"421["unknown"]"#).await;
    ws.text(r#"42[17]"#).await;
    ws.text(r#"42["echo"]"#).await;
    assert_eq!(ws.next().await, text(r#"42["echo"]"#));
}

#[tokio::test]
async fn clients_acknowledge_what_the_server_asks() {
    let served = serve(Config {
        pending_acks: 2,
        ..Config::default()
    })
    .await;
    let mut ws = Ws::connect(served.address).await;
    let socket = served.socket().await;
    let ask = |wait: u64| {
        let socket = socket.clone();
        tokio::spawn(async move {
            let args = [to_raw_value(&1).unwrap()];
            let wait = Duration::from_millis(wait);
            let head = EventHead::new("ask");
            socket
                .emit_with_ack(head, &args, &[], Class::Reliable, wait)
                .await
        })
    };
    let asking = ask(2_000);
    assert_eq!(ws.next().await, text(r#"420["ask",1]"#));
    ws.text("437[\"nobody asked\"]").await;
    ws.text("43[\"no id\"]").await;
    ws.text(r#"430["yes",{"a":1}]"#).await;
    let ack = asking.await.unwrap().unwrap();
    assert_eq!(
        ack.args.iter().map(|arg| arg.get()).collect::<Vec<_>>(),
        [r#""yes""#, r#"{"a":1}"#]
    );
    ws.text(r#"430["again"]"#).await;
    assert_eq!(ask(30).await.unwrap().unwrap_err(), AckError::Timeout);
    let (one, other) = (ask(2_000), ask(2_000));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(ask(2_000).await.unwrap().unwrap_err(), AckError::TooMany);
    socket.disconnect();
    assert_eq!(one.await.unwrap().unwrap_err(), AckError::Closed);
    assert_eq!(other.await.unwrap().unwrap_err(), AckError::Closed);
    assert_eq!(ask(2_000).await.unwrap().unwrap_err(), AckError::Closed);
}

#[tokio::test]
async fn the_server_leaves_and_the_session_stays() {
    let served = serve(Config::default()).await;
    let mut ws = Ws::connect(served.address).await;
    // What the client had sent by then is ignored.
    let events = [
        masked(0x81, br#"42["leave"]"#),
        masked(0x81, br#"42["echo"]"#),
    ]
    .concat();
    tokio::io::AsyncWriteExt::write_all(&mut ws.stream, &events)
        .await
        .unwrap();
    assert_eq!(ws.next().await, text("41"));
    served.told("disconnected server_disconnect").await;
    ws.text(r#"42["echo"]"#).await;
    ws.text("41").await;
    let socket = served.socket().await;
    assert_eq!(
        socket.emit(&Frame::event("x", &1).unwrap(), Class::Reliable),
        Pushed::Closed
    );
    socket.disconnect();
    ws.text("40").await;
    assert!(matches!(ws.next().await, Got::Text(connect) if connect.starts_with("40{")));
    assert_eq!(served.count("disconnected"), 1);
}

#[tokio::test]
async fn a_bounded_number_of_events_runs_in_the_order_in_which_they_came() {
    let served = serve(Config {
        events_at_once: 4,
        ..Config::default()
    })
    .await;
    let mut ws = Ws::connect(served.address).await;
    for i in 0..20 {
        ws.text(&format!(r#"42{i}["wait",{i}]"#)).await;
    }
    served.told("wait 3").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(served.count("wait"), 4);
    served.app.gate.add_permits(20);
    let mut acks = Vec::new();
    for _ in 0..20 {
        let Got::Text(ack) = ws.next().await else {
            panic!("closed")
        };
        acks.push(ack);
    }
    acks.sort();
    let mut expected: Vec<String> = (0..20).map(|i| format!("43{i}[{i}]")).collect();
    expected.sort();
    assert_eq!(acks, expected);
    let log: Vec<String> = (0..20).map(|i| format!("wait {i}")).collect();
    assert_eq!(served.app.log.lock()[1..], log);
    assert_eq!(served.app.waiting_max.load(Ordering::SeqCst), 4);
    // The same over polling: the POST is answered when its last packet was taken.
    let poller = Poller::connect(served.address).await;
    let posting = tokio::spawn({
        let poller = poller.clone();
        let body = (0..6)
            .map(|i| format!("42[\"wait\",{i}]"))
            .collect::<Vec<_>>()
            .join("\x1e");
        async move { poller.post(&body).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!posting.is_finished());
    served.app.gate.add_permits(6);
    assert_eq!(posting.await.unwrap().body, "ok");
}

#[tokio::test]
async fn events_end_although_their_client_has_gone() {
    let served = serve(Config::default()).await;
    let mut ws = Ws::connect(served.address).await;
    ws.text(r#"421["wait",1]"#).await;
    served.told("wait 1").await;
    drop(ws);
    served.told("disconnected transport_close").await;
    served.emptied().await;
    assert_eq!(served.app.waiting.load(Ordering::SeqCst), 1);
    let closed = tokio::time::timeout(Duration::from_millis(50), served.engine.closed()).await;
    assert!(closed.is_err(), "an event is under way");
    served.app.gate.add_permits(1);
    tokio::time::timeout(scaled(Duration::from_secs(2)), served.engine.closed())
        .await
        .unwrap();
    assert_eq!(served.app.waiting.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_panic_in_an_event_ends_only_its_session() {
    let served = serve(Config::default()).await;
    let mut ws = Ws::connect(served.address).await;
    let mut other = Ws::connect(served.address).await;
    ws.text(r#"42["panic"]"#).await;
    assert_eq!(ws.closed().await, Some(None));
    other.text(r#"42["echo"]"#).await;
    assert_eq!(other.next().await, text(r#"42["echo"]"#));
    served.told("disconnected transport_error").await;
}

#[tokio::test]
async fn a_kick_leaves_every_namespace_before_the_end() {
    let served = serve(Config::default()).await;
    let mut ws = Ws::connect(served.address).await;
    ws.text("40/other").await;
    ws.next().await;
    ws.text(r#"42["kick"]"#).await;
    assert_eq!(ws.next().await, text("41"));
    assert_eq!(ws.next().await, text("41/other,"));
    assert_eq!(ws.closed().await, Some(None));
    assert_eq!(served.count("disconnected server_disconnect"), 2);
}
