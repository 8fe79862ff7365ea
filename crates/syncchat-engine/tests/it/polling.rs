//! Sessions on long polling.

use std::time::{Duration, Instant};

use syncchat_engine::{Config, DisconnectReason};
use test_speed::scaled;
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use crate::client::{Poller, answer, request, send};
use crate::server::{quick, serve};

const UNKNOWN: &str = r#"{"code":1,"message":"Session ID unknown"}"#;

async fn assert_gone(poller: &Poller) {
    let answer = poller.poll().await;
    assert_eq!((answer.status, &*answer.body), (400, UNKNOWN));
}

#[tokio::test]
async fn what_waits_comes_in_one_payload() {
    let served = serve(Config::default()).await;
    let poller = Poller::connect(served.address).await;
    let answer = poller
        .post("42[\"echo\",1]\x1e42[\"echo\",\"zwei €\"]\x1e42[\"echo\"]")
        .await;
    assert_eq!((answer.status, &*answer.body), (200, "ok"));
    assert_eq!(answer.header("content-type"), Some("text/html"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let answer = poller.poll().await;
    assert_eq!(
        answer.body,
        "42[\"echo\",1]\x1e42[\"echo\",\"zwei €\"]\x1e42[\"echo\"]"
    );
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=UTF-8")
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));

    let mut waiting = poller.begin_poll().await;
    poller.post(r#"42["echo",2]"#).await;
    assert_eq!(answer_body(&mut waiting).await, r#"42["echo",2]"#);
}

async fn answer_body(stream: &mut tokio::net::TcpStream) -> String {
    answer(stream).await.body
}

#[tokio::test]
async fn attachments_are_base64_and_may_come_in_another_post() {
    let served = serve(Config::default()).await;
    let poller = Poller::connect(served.address).await;
    let head = r#"451-["echo",{"_placeholder":true,"num":0}]"#;
    assert_eq!(poller.post(head).await.status, 200);
    assert_eq!(
        poller.post("3").await.status,
        200,
        "heartbeats do not disturb it"
    );
    assert_eq!(poller.post("bAQIDBA==").await.status, 200);
    assert_eq!(poller.poll().await.body, format!("{head}\x1ebAQIDBA=="));
}

#[tokio::test]
async fn an_invalid_packet_ends_the_session_and_those_before_it_count() {
    let served = serve(Config::default()).await;
    for bad in [
        "abc",
        "",
        "42[\"wait\",1]\x1e",
        "2",
        "2probe",
        "4abc",
        "42{}",
        "bAQ",
        "\u{0}",
    ] {
        let poller = Poller::connect(served.address).await;
        let mut waiting = poller.begin_poll().await;
        assert_eq!(poller.post(bad).await.status, 400, "{bad:?}");
        assert_eq!(answer_body(&mut waiting).await, "1", "{bad:?}");
        assert_gone(&poller).await;
    }
    let poller = Poller::connect(served.address).await;
    poller
        .post("42[\"wait\",\"before\"]\x1e7\x1e42[\"wait\",\"behind\"]")
        .await;
    served.told(r#"wait "before""#).await;
    assert_eq!(served.count(r#"wait "behind""#), 0);
    assert_gone(&poller).await;
    served.told("disconnected transport_error").await;
}

#[tokio::test]
async fn packets_that_say_nothing_are_ignored() {
    let served = serve(Config::default()).await;
    let poller = Poller::connect(served.address).await;
    assert_eq!(poller.post("0\x1e5\x1e6\x1e3\x1e3probe").await.body, "ok");
    assert_eq!(poller.post(r#"42["echo",1]"#).await.body, "ok");
    assert_eq!(poller.poll().await.body, r#"42["echo",1]"#);
}

#[tokio::test]
async fn a_second_poll_ends_the_session() {
    let served = serve(Config::default()).await;
    let poller = Poller::connect(served.address).await;
    let mut waiting = poller.begin_poll().await;
    let second = poller.poll().await;
    assert_eq!((second.status, &*second.body), (400, ""));
    let first = answer(&mut waiting).await;
    assert_eq!((first.status, &*first.body), (200, "1"));
    assert_gone(&poller).await;
    served.told("disconnected transport_error").await;
}

#[tokio::test]
async fn a_second_post_ends_the_session_and_cuts_the_first() {
    let served = serve(Config::default()).await;
    let poller = Poller::connect(served.address).await;
    let headers = "Content-Length: 100\r\n";
    let mut first = send(served.address, "POST", &poller.query(), "", b"").await;
    answer(&mut first).await;
    let poller = Poller::connect(served.address).await;
    let head = format!(
        "POST /socket.io/?{} HTTP/1.1\r\nHost: x\r\n{headers}\r\n42[\"ec",
        poller.query()
    );
    let mut first = tokio::net::TcpStream::connect(served.address)
        .await
        .unwrap();
    first.write_all(head.as_bytes()).await.unwrap();
    sleep(Duration::from_millis(30)).await;
    let second = poller.post("3").await;
    assert_eq!((second.status, &*second.body), (400, ""));
    assert_eq!(
        answer(&mut first).await.status,
        400,
        "and its connection has ended"
    );
    assert_gone(&poller).await;
}

#[tokio::test]
async fn a_poll_that_its_client_drops_ends_the_session_at_once() {
    let served = serve(Config::default()).await;
    let poller = Poller::connect(served.address).await;
    drop(poller.begin_poll().await);
    sleep(Duration::from_millis(50)).await;
    assert_gone(&poller).await;
    served.told("disconnected transport_close").await;
    served.emptied().await;
}

#[tokio::test]
async fn a_post_that_breaks_off_ends_the_session() {
    let served = serve(Config {
        body_timeout: Duration::from_millis(200),
        ..Config::default()
    });
    let served = served.await;
    for is_dropped in [true, false] {
        let poller = Poller::connect(served.address).await;
        let mut stream = tokio::net::TcpStream::connect(served.address)
            .await
            .unwrap();
        let head = format!(
            "POST /socket.io/?{} HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n42[\"wait\",1]",
            poller.query()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        sleep(Duration::from_millis(20)).await;
        if is_dropped {
            drop(stream);
            sleep(Duration::from_millis(50)).await;
        } else {
            assert_eq!(answer(&mut stream).await.status, 408);
        }
        assert_gone(&poller).await;
    }
    assert_eq!(served.count("wait"), 0);
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused_and_the_session_lives_on() {
    let served = serve(Config {
        max_payload: 100,
        ..Config::default()
    })
    .await;
    let poller = Poller::connect(served.address).await;
    let event = |size: usize| format!(r#"42["echo","{}"]"#, "x".repeat(size - 13));
    let answer = poller.post(&event(101)).await;
    assert_eq!((answer.status, &*answer.body), (413, ""));
    let chunked = format!("65\r\n{}\r\n0\r\n\r\n", event(101));
    let headers = "Transfer-Encoding: chunked\r\n";
    let mut stream = tokio::net::TcpStream::connect(served.address)
        .await
        .unwrap();
    let head = format!(
        "POST /socket.io/?{} HTTP/1.1\r\nHost: x\r\n{headers}\r\n",
        poller.query()
    );
    stream
        .write_all(format!("{head}{chunked}").as_bytes())
        .await
        .unwrap();
    assert_eq!(crate::client::answer(&mut stream).await.status, 413);
    assert_eq!(event(100).len(), 100);
    assert_eq!(poller.post(&event(100)).await.body, "ok");
    assert_eq!(poller.poll().await.body, event(100));
}

#[tokio::test]
async fn binary_bodies_end_the_session() {
    let served = serve(Config::default()).await;
    let poller = Poller::connect(served.address).await;
    let headers = "Content-Type: application/octet-stream\r\n";
    let answer = request(served.address, "POST", &poller.query(), headers, b"3").await;
    assert_eq!((answer.status, &*answer.body), (400, ""));
    assert_gone(&poller).await;
    let poller = Poller::connect(served.address).await;
    let headers = "Content-Type: application/x-anything\r\n";
    assert_eq!(
        request(served.address, "POST", &poller.query(), headers, b"3")
            .await
            .body,
        "ok"
    );
}

#[tokio::test]
async fn the_client_ends_its_session() {
    let served = serve(Config::default()).await;
    let poller = Poller::connect(served.address).await;
    let mut waiting = poller.begin_poll().await;
    assert_eq!(poller.post("1").await.body, "ok");
    assert_eq!(answer_body(&mut waiting).await, "6");
    assert_gone(&poller).await;

    // The POST may overtake the poll, which has some milliseconds to come after it. A busy machine may
    // need a few tries to be so quick.
    for tries in 1.. {
        let poller = Poller::connect(served.address).await;
        let mut post = send(served.address, "POST", &poller.query(), "", b"1").await;
        sleep(Duration::from_millis(5)).await;
        let polled = poller.poll().await.body;
        assert_eq!(answer_body(&mut post).await, "ok");
        assert_gone(&poller).await;
        if polled == "6" {
            break;
        }
        assert!(tries < 20, "{polled}");
    }

    // No poll at all; what follows the close does not count.
    let poller = Poller::connect(served.address).await;
    assert_eq!(poller.post("1\x1e42[\"wait\",1]").await.body, "ok");
    assert_gone(&poller).await;
    assert_eq!(served.count("wait"), 0);
    served.told("disconnected transport_close").await;
    served.emptied().await;
}

#[tokio::test]
async fn the_server_ends_a_session() {
    let served = serve(Config::default()).await;
    // A poll waits.
    let poller = Poller::connect(served.address).await;
    let mut waiting = poller.begin_poll().await;
    served.socket().await.close(DisconnectReason::ServerClose);
    assert_eq!(answer_body(&mut waiting).await, "1");
    assert_gone(&poller).await;
    // None waits, and there is something to say first.
    let poller = Poller::connect(served.address).await;
    assert_eq!(
        poller.post("42[\"echo\",1]\x1e42[\"close\"]").await.body,
        "ok"
    );
    served.told("disconnected server_close").await;
    assert_eq!(poller.poll().await.body, "42[\"echo\",1]");
    assert_eq!(poller.poll().await.body, "1");
    assert_gone(&poller).await;
    // DISCONNECT, then the end, to a poll of its own: the official client would act on it first.
    let poller = Poller::connect(served.address).await;
    poller.post(r#"42["kick"]"#).await;
    assert_eq!(poller.poll().await.body, "41");
    assert_eq!(poller.poll().await.body, "1");
    assert_gone(&poller).await;
    served.emptied().await;
    served.told("disconnected server_disconnect").await;
}

#[tokio::test]
async fn a_post_that_crosses_the_servers_goodbye_is_answered() {
    let served = serve(Config::default()).await;
    // Before the goodbye was said, and after it.
    let poller = Poller::connect(served.address).await;
    served.socket().await.close(DisconnectReason::ServerClose);
    assert_eq!(poller.post(r#"42["echo",1]"#).await.body, "ok");
    assert_eq!(poller.poll().await.body, "1");
    served.emptied().await;
    assert_eq!(poller.post(r#"42["echo",2]"#).await.body, "ok");
    // Nothing comes of it, and nothing more comes.
    assert_gone(&poller).await;
    assert_eq!(served.count("connected"), 1);
}

#[tokio::test]
async fn heartbeats_follow_pongs_and_silence_ends_the_session_in_time() {
    let served = serve(quick()).await;
    let poller = Poller::connect(served.address).await;
    for _ in 0..2 {
        let begin = Instant::now();
        assert_eq!(poller.poll().await.body, "2");
        assert!(
            begin.elapsed() < scaled(Duration::from_millis(1_500)),
            "{:?}",
            begin.elapsed()
        );
        assert_eq!(poller.post("3").await.body, "ok");
    }
    let poller = Poller::open(served.address).await;
    sleep(quick().ping_interval + quick().ping_timeout).await;
    assert_gone(&poller).await;
    // With a poll waiting when the time is over.
    let poller = Poller::connect(served.address).await;
    assert_eq!(poller.poll().await.body, "2");
    assert_eq!(poller.poll().await.body, "1");
    assert_gone(&poller).await;
    served.told("disconnected ping_timeout").await;
    served.emptied().await;
}

#[tokio::test]
async fn sessions_that_join_nothing_are_closed() {
    let config = Config {
        connect_timeout: Duration::from_millis(100),
        ..Config::default()
    };
    let served = serve(config).await;
    let poller = Poller::open(served.address).await;
    let begin = Instant::now();
    assert_eq!(poller.poll().await.body, "1");
    assert!(begin.elapsed() < scaled(Duration::from_secs(2)));
    assert_gone(&poller).await;
    // A refusal does not stop the clock, the first success does for good.
    let poller = Poller::open(served.address).await;
    poller.post(r#"40{"token":"bad"}"#).await;
    assert!(poller.poll().await.body.starts_with("44"));
    assert_eq!(poller.poll().await.body, "1");
    let poller = Poller::connect(served.address).await;
    poller.post("41").await;
    sleep(Duration::from_millis(400)).await;
    assert_eq!(poller.post("40").await.body, "ok");
}
