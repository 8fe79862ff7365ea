//! Clients that read slowly or not at all.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::value::to_raw_value;
use syncchat_engine::{Class, Config, Pushed, Socket};
use syncchat_protocol::Frame;
use syncchat_protocol::socketio::EventHead;
use test_speed::scaled;

use crate::client::{Got, Poller, Ws};
use crate::server::{App, serve};

const LIMIT: usize = 256 * 1024;

fn config() -> Config {
    Config {
        outbound_limit: LIMIT,
        slow_timeout: Duration::from_millis(600),
        ..Config::default()
    }
}

fn numbered(i: usize) -> Frame {
    Frame::event("n", &format!("{i:08} {}", "x".repeat(1000))).unwrap()
}

/// Emits numbered events until the socket is behind; returns how many were queued.
async fn fill(socket: &Socket<App>, from: usize) -> usize {
    for i in from.. {
        match socket.emit(&numbered(i), Class::Reliable) {
            Pushed::Queued => {}
            Pushed::Behind => return i,
            other => panic!("{other:?}"),
        }
        assert!(socket.queued_bytes() <= LIMIT);
        if i % 50 == 0 {
            // Lets the kernel take what it takes.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    0
}

fn number(got: &Got) -> Option<usize> {
    match got {
        Got::Text(text) => text.strip_prefix(r#"42["n",""#)?.get(..8)?.parse().ok(),
        _ => None,
    }
}

#[tokio::test]
async fn past_the_limit_a_socket_is_behind_until_its_client_has_caught_up() {
    let served = serve(config()).await;
    let mut ws = Ws::connect(served.address).await;
    let socket = served.socket().await;
    let queued = fill(&socket, 0).await;
    assert_eq!(socket.emit(&numbered(0), Class::Reliable), Pushed::Behind);
    assert_eq!(socket.emit(&numbered(0), Class::Droppable), Pushed::Dropped);
    assert!(socket.queued_bytes() > LIMIT / 2, "what waits stays");
    let essential = Frame::event("essential", &1).unwrap();
    assert_eq!(socket.emit(&essential, Class::Essential), Pushed::Queued);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(served.count("drained"), 0, "the client has read nothing");

    // All that was queued comes, in order, without holes; the essential frame follows it.
    for i in 0..queued {
        assert_eq!(number(&ws.next().await), Some(i));
    }
    assert_eq!(
        ws.next().await,
        Got::Text(r#"42["essential",1]"#.to_owned())
    );
    served.told("drained").await;
    assert_eq!(served.count("drained"), 1);
    assert_eq!(
        socket.emit(&numbered(queued), Class::Reliable),
        Pushed::Queued
    );
    assert_eq!(number(&ws.next().await), Some(queued));
    // It happens again just so.
    fill(&socket, 0).await;
    while served.count("drained") < 2 {
        ws.next().await;
    }
}

#[tokio::test]
async fn droppable_frames_are_refused_early_and_dropped_first() {
    let served = serve(config()).await;
    let poller = Poller::connect(served.address).await;
    let socket = served.socket().await;
    // On polling nothing is taken while no poll comes, so the bytes are exact.
    let typing = Frame::event("typing", &"y".repeat(1000)).unwrap();
    for _ in 0..10 {
        assert_eq!(socket.emit(&typing, Class::Droppable), Pushed::Queued);
    }
    let mut reliable = 0;
    while socket.queued_bytes() + typing.size() <= LIMIT / 2 {
        assert_eq!(
            socket.emit(&numbered(reliable), Class::Reliable),
            Pushed::Queued
        );
        reliable += 1;
    }
    assert_eq!(socket.emit(&typing, Class::Droppable), Pushed::Dropped);
    while socket.queued_bytes() + numbered(0).size() <= LIMIT {
        assert_eq!(
            socket.emit(&numbered(reliable), Class::Reliable),
            Pushed::Queued
        );
        reliable += 1;
    }
    let before = socket.queued_bytes();
    assert_eq!(
        socket.emit(&numbered(reliable), Class::Reliable),
        Pushed::Queued
    );
    assert_eq!(
        socket.queued_bytes(),
        before - 10 * typing.size() + numbered(0).size()
    );
    let body = poller.poll().await.body;
    assert_eq!(body.matches("typing").count(), 0);
    assert_eq!(body.split('\x1e').count(), reliable + 1);
    // Behind, on polling: one poll takes all of it.
    while socket.emit(&numbered(0), Class::Reliable) == Pushed::Queued {}
    assert_eq!(served.count("drained"), 0);
    poller.poll().await;
    assert_eq!(socket.queued_bytes(), 0);
    served.told("drained").await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_closed() {
    let served = serve(config()).await;
    let ws = Ws::connect(served.address).await;
    let socket = served.socket().await;
    // From before it is full: that takes a busy machine some of the time that it is measured by.
    let begin = Instant::now();
    fill(&socket, 0).await;
    served.told("disconnected slow_consumer").await;
    let after = begin.elapsed().as_millis();
    assert!(
        (450..scaled(Duration::from_millis(1_200)).as_millis()).contains(&after),
        "{after} ms"
    );
    served.emptied().await;
    assert_eq!(socket.queued_bytes(), 0);
    assert_eq!(socket.emit(&numbered(0), Class::Essential), Pushed::Closed);
    drop(ws);
}

#[tokio::test]
async fn a_client_that_takes_something_at_last_is_told_why_it_is_closed() {
    let served = serve(config()).await;
    let mut ws = Ws::connect(served.address).await;
    let socket = served.socket().await;
    let queued = fill(&socket, 0).await;
    served.told("disconnected slow_consumer").await;
    let mut read = 0;
    let told = loop {
        let got = ws.next().await;
        match number(&got) {
            Some(i) => assert_eq!(i, read, "what it gets is whole, and without holes"),
            None => break got,
        }
        read += 1;
    };
    assert!(read < queued, "what waited is not kept for it");
    assert_eq!(told, Got::Text(r#"42["goodbye","slow"]"#.to_owned()));
    assert!(matches!(ws.next().await, Got::Close(_)));
    served.emptied().await;
}

#[tokio::test]
async fn essential_frames_are_bounded_too() {
    let served = serve(config()).await;
    let _ws = Ws::connect(served.address).await;
    let socket = served.socket().await;
    fill(&socket, 0).await;
    let mut bytes = 0;
    while socket.emit(&numbered(0), Class::Essential) == Pushed::Queued {
        bytes += numbered(0).size();
        assert!(bytes <= LIMIT);
    }
    served.told("disconnected slow_consumer").await;
}

#[tokio::test]
async fn one_frame_of_any_size_fits_into_an_empty_queue() {
    let served = serve(config()).await;
    let mut ws = Ws::connect(served.address).await;
    let big = Frame::event("big", &"z".repeat(3 * LIMIT)).unwrap();
    assert_eq!(
        served.socket().await.emit(&big, Class::Reliable),
        Pushed::Queued
    );
    assert!(matches!(ws.next().await, Got::Text(text) if text.len() > 3 * LIMIT));
}

#[tokio::test]
async fn attachments_stay_with_their_packet_whatever_is_dropped() {
    let served = serve(config()).await;
    let mut ws = Ws::connect(served.address).await;
    let socket = served.socket().await;
    let attachments = [Bytes::from(vec![1; 3_000]), Bytes::from(vec![2; 3_000])];
    let placeholder = |num| to_raw_value(&serde_json::json!({"_placeholder": true, "num": num}));
    let args = [placeholder(0).unwrap(), placeholder(1).unwrap()];
    let file = EventHead::new("file").args(&args, &attachments).unwrap();
    for i in 0.. {
        if socket.emit(&file, Class::Reliable) == Pushed::Behind {
            break;
        }
        let _ = socket.emit(&numbered(i), Class::Droppable);
        if i % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let end = Frame::event("end", &1).unwrap();
    assert_eq!(socket.emit(&end, Class::Essential), Pushed::Queued);
    let mut files = 0;
    loop {
        let Got::Text(text) = ws.next().await else {
            panic!("an attachment alone")
        };
        if text.starts_with(r#"452-["file""#) {
            assert_eq!(ws.next_raw().await, Got::Binary(vec![1; 3_000]));
            assert_eq!(ws.next_raw().await, Got::Binary(vec![2; 3_000]));
            files += 1;
        } else if text.starts_with(r#"42["end""#) {
            break;
        }
    }
    assert!(files > 0);
}

#[tokio::test]
async fn what_waits_can_be_cleared() {
    let served = serve(config()).await;
    let poller = Poller::connect(served.address).await;
    let socket = served.socket().await;
    for i in 0..10 {
        let _ = socket.emit(&numbered(i), Class::Reliable);
    }
    let _ = socket.emit(&Frame::event("kept", &1).unwrap(), Class::Essential);
    assert_eq!(socket.clear_queue(), 10 * numbered(0).size());
    let _ = socket.emit(&Frame::event("new", &2).unwrap(), Class::Reliable);
    assert_eq!(poller.poll().await.body, "42[\"kept\",1]\x1e42[\"new\",2]");
}

#[tokio::test]
async fn a_client_that_takes_no_answers_is_not_read_until_it_does() {
    let served = serve(Config {
        events_at_once: 4,
        ..config()
    })
    .await;
    let poller = Poller::connect(served.address).await;
    let long = "x".repeat(90_000);
    let events: Vec<String> = (0..12)
        .map(|i| format!(r#"42{i}["ack","{long}"]"#))
        .collect();
    let posting = tokio::spawn({
        let poller = poller.clone();
        async move {
            for event in events {
                assert_eq!(poller.post(&event).await.body, "ok");
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!posting.is_finished());
    let queued = served.socket().await.queued_bytes();
    assert!((LIMIT..LIMIT + 2 * 91_000).contains(&queued), "{queued}");
    let mut acks = 0;
    while acks < 12 {
        let body = poller.poll().await.body;
        acks += body
            .split('\x1e')
            .filter(|packet| packet.starts_with("43"))
            .count();
    }
    posting.await.unwrap();
}
