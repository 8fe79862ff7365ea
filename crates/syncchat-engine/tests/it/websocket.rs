//! Sessions on WebSocket.

use std::time::{Duration, Instant};

use syncchat_engine::{Config, DisconnectReason};
use test_speed::scaled;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{Got, Poller, Ws, masked, text};
use crate::server::{quick, serve};

#[tokio::test]
async fn messages_pass_whole_or_in_pieces() {
    let served = serve(Config::default()).await;
    let mut ws = Ws::connect(served.address).await;
    ws.text(r#"42["echo",1]"#).await;
    assert_eq!(ws.next().await, text(r#"42["echo",1]"#));
    // Fragments with a ping between, byte by byte.
    let mut bytes = masked(0x01, b"42[\"ec");
    bytes.extend(masked(0x89, b"hi"));
    bytes.extend(masked(0x00, b""));
    bytes.extend(masked(0x80, "ho\",\"ä\"]".as_bytes()));
    for byte in bytes {
        ws.stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(ws.next().await, Got::Pong(b"hi".to_vec()));
    assert_eq!(ws.next().await, text(r#"42["echo","ä"]"#));
    for quiet in ["0", "5", "6", "3", "3probe"] {
        ws.text(quiet).await;
    }
    ws.text(r#"42["echo"]"#).await;
    assert_eq!(ws.next().await, text(r#"42["echo"]"#));
}

#[tokio::test]
async fn many_messages_in_one_segment_keep_their_order() {
    let served = serve(Config::default()).await;
    let mut ws = Ws::connect(served.address).await;
    let events: Vec<String> = (0..2_000).map(|i| format!(r#"42["echo",{i}]"#)).collect();
    let bytes: Vec<u8> = events
        .iter()
        .flat_map(|event| masked(0x81, event.as_bytes()))
        .collect();
    ws.stream.write_all(&bytes).await.unwrap();
    for event in events {
        assert_eq!(ws.next().await, Got::Text(event));
    }
}

#[tokio::test]
async fn what_is_wrong_closes_the_connection() {
    let served = serve(Config {
        max_payload: 1000,
        ..Config::default()
    })
    .await;
    let too_long = format!(r#"42["echo","{}"]"#, "x".repeat(1000));
    let half = "x".repeat(600);
    let cases: [(&str, Vec<u8>, Option<u16>); 14] = [
        (
            "over the limit",
            masked(0x81, too_long.as_bytes()),
            Some(1009),
        ),
        (
            "over the limit in fragments",
            [masked(0x01, half.as_bytes()), masked(0x80, half.as_bytes())].concat(),
            Some(1009),
        ),
        (
            "a length that nobody can have",
            vec![
                0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4,
            ],
            Some(1009),
        ),
        ("not UTF-8", masked(0x81, b"4\xff"), Some(1007)),
        (
            "cut UTF-8",
            masked(0x81, "4ä".as_bytes().split_last().unwrap().1),
            Some(1007),
        ),
        ("not masked", b"\x81\x0240".to_vec(), Some(1002)),
        ("reserved bits", masked(0xc1, b"40"), Some(1002)),
        ("reserved opcode", masked(0x83, b"40"), Some(1002)),
        ("continuation of nothing", masked(0x80, b"40"), Some(1002)),
        ("unknown packet", masked(0x81, b"abc"), None),
        ("empty text", masked(0x81, b""), None),
        ("ping from a client", masked(0x81, b"2"), None),
        ("an attachment nobody announced", masked(0x82, b"x"), None),
        ("close", masked(0x81, b"1"), None),
    ];
    for (what, bytes, code) in cases {
        let mut ws = Ws::connect(served.address).await;
        ws.stream.write_all(&bytes).await.unwrap();
        assert_eq!(ws.closed().await, Some(code), "{what}");
    }
    let mut ws = Ws::connect(served.address).await;
    let event = format!(r#"42["echo","{}"]"#, "x".repeat(1000 - 13));
    ws.text(&event).await;
    assert_eq!(
        ws.next().await,
        Got::Text(event),
        "exactly the limit passes"
    );
}

#[tokio::test]
async fn the_clients_close_is_echoed() {
    let served = serve(Config::default()).await;
    let mut ws = Ws::connect(served.address).await;
    ws.frame(0x88, &[0x03, 0xe8]).await;
    assert_eq!(ws.closed().await, Some(Some(1000)));
    served.told("disconnected transport_close").await;
    let ws = Ws::connect(served.address).await;
    drop(ws);
    served.emptied().await;
    assert_eq!(served.count("disconnected transport_close"), 2);
}

#[tokio::test]
async fn the_server_writes_what_waits_and_closes_without_a_code() {
    let served = serve(Config::default()).await;
    let mut ws = Ws::connect(served.address).await;
    ws.text(r#"42["echo",1]"#).await;
    ws.text(r#"42["close"]"#).await;
    assert_eq!(ws.next().await, text(r#"42["echo",1]"#));
    assert_eq!(ws.next().await, Got::Close(None));
    served.told("disconnected server_close").await;
    let mut ws = Ws::connect(served.address).await;
    ws.text(r#"42["kick"]"#).await;
    assert_eq!(ws.next().await, text("41"));
    assert_eq!(ws.closed().await, Some(None));
    served.told("disconnected server_disconnect").await;
    served.emptied().await;
}

#[tokio::test]
async fn heartbeats_follow_pongs_not_a_grid() {
    // Long enough for a pong that a busy machine delays.
    let silence = scaled(Duration::from_secs(1));
    let config = Config {
        ping_timeout: silence,
        ..quick()
    };
    let served = serve(config).await;
    let mut ws = Ws::connect(served.address).await;
    let begin = Instant::now();
    assert_eq!(ws.next_raw().await, text("2"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    ws.text("3").await;
    let pong = Instant::now();
    assert_eq!(ws.next_raw().await, text("2"));
    let pause = pong.elapsed().as_millis();
    assert!(
        (295..scaled(Duration::from_secs(2)).as_millis()).contains(&pause),
        "{pause} ms"
    );
    assert!(begin.elapsed() >= Duration::from_millis(690));
    // Any packet gives more time, once.
    tokio::time::sleep(Duration::from_millis(150)).await;
    let last = Instant::now();
    ws.text("6").await;
    assert_eq!(ws.next_raw().await, Got::Close(None));
    let pause = last.elapsed().as_millis();
    let least = silence.as_millis() - 5;
    assert!((least..3 * least).contains(&pause), "{pause} ms");
    served.told("disconnected ping_timeout").await;
}

#[tokio::test]
async fn clients_without_binary_get_base64() {
    let served = serve(Config::default()).await;
    let query = "EIO=4&transport=websocket&b64=1";
    let mut ws = Ws::open(served.address, query, "").await.unwrap();
    ws.next().await;
    ws.text("40").await;
    ws.next().await;
    let head = r#"451-["echo",{"_placeholder":true,"num":0}]"#;
    ws.text(head).await;
    ws.text("bAQIDBA==").await;
    assert_eq!(ws.next().await, text(head));
    assert_eq!(ws.next().await, text("bAQIDBA=="));
}

#[tokio::test]
async fn half_sent_requests_and_frames_by_the_hundred_do_no_harm() {
    let served = serve(Config::default()).await;
    let pieces: [&[u8]; 4] = [
        b"G",
        b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nX-Slow",
        b"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nContent-Length: 9\r\n\r\n12",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ];
    let mut streams = Vec::new();
    for i in 0..400 {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(pieces[i % pieces.len()]).await.unwrap();
        streams.push(stream);
    }
    let mut sockets = Vec::new();
    for _ in 0..100 {
        let mut ws = Ws::connect(served.address).await;
        // A header that promises more than comes.
        ws.stream
            .write_all(&masked(0x81, &[b'x'; 90_000])[..100])
            .await
            .unwrap();
        sockets.push(ws);
    }
    let mut ws = Ws::connect(served.address).await;
    ws.text(r#"42["echo",1]"#).await;
    assert_eq!(ws.next().await, text(r#"42["echo",1]"#));
    let poller = Poller::connect(served.address).await;
    assert_eq!(poller.post(r#"42["echo",1]"#).await.body, "ok");
    drop(streams);
    drop(sockets);
    drop(ws);
    poller.post("1").await;
    served.emptied().await;
}

#[tokio::test]
async fn a_drain_closes_a_few_at_a_time() {
    let served = serve(Config::default()).await;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        sockets.push(Ws::connect(served.address).await);
    }
    let reason = DisconnectReason::ServerClose;
    assert_eq!(served.engine.close_some(3, reason), 3);
    assert_eq!(served.engine.close_some(10, reason), 2);
    for ws in &mut sockets {
        assert_eq!(ws.next().await, Got::Close(None));
    }
    drop(sockets);
    tokio::time::timeout(scaled(Duration::from_secs(2)), served.engine.closed())
        .await
        .unwrap();
    assert_eq!(served.count("disconnected server_close"), 5);
}
