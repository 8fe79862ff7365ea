//! Requests that reach another node than the one of their session.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use syncchat_engine::{Config, Fleet, NodeTag, Peers};
use syncchat_protocol::Frame;
use test_speed::scaled;
use tokio::time::{sleep, timeout};

use crate::client::{Got, Poller, Ws, answer, request, text};
use crate::server::{Served, emit, serve_in};

const KEY: [u8; 32] = [7; 32];
const UNKNOWN: &str = r#"{"code":1,"message":"Session ID unknown"}"#;

/// Where the nodes of a test are.
#[derive(Clone, Default)]
struct Known(Arc<Mutex<HashMap<NodeTag, SocketAddr>>>);

impl Peers for Known {
    fn find(&self, node: NodeTag) -> BoxFuture<'_, Option<SocketAddr>> {
        ready(self.0.lock().get(&node).copied()).boxed()
    }
}

impl Known {
    async fn serve(&self, config: Config, forwards_max: usize) -> Served {
        let node = NodeTag::random().unwrap();
        let fleet = Fleet {
            node,
            keys: vec![KEY],
            peers: Arc::new(self.clone()),
            forwards_max,
        };
        let served = serve_in(config, Some(fleet)).await;
        self.0.lock().insert(node, served.address);
        served
    }
}

/// Two nodes of one fleet, and a client of the first that has joined.
async fn fleet() -> (Served, Served, Poller) {
    let known = Known::default();
    let here = known.serve(Config::default(), 8).await;
    let there = known.serve(Config::default(), 8).await;
    let poller = Poller::connect(here.address).await;
    (here, there, poller)
}

fn by(served: &Served, poller: &Poller) -> Poller {
    Poller {
        address: served.address,
        sid: poller.sid.clone(),
    }
}

#[tokio::test]
async fn polls_reach_their_session_by_any_node() {
    let (here, there, poller) = fleet().await;
    let stray = by(&there, &poller);
    assert_eq!(stray.post(r#"42["echo",1]"#).await.body, "ok");
    assert_eq!(poller.poll().await.body, r#"42["echo",1]"#);
    assert_eq!(poller.post(r#"42["echo",2]"#).await.body, "ok");
    assert_eq!(stray.poll().await.body, r#"42["echo",2]"#);
    // One that waits.
    let mut waiting = stray.begin_poll().await;
    emit(&here.socket().await, &Frame::event("n", &3).unwrap());
    let answered = answer(&mut waiting).await;
    assert_eq!(answered.body, r#"42["n",3]"#);
    assert_eq!(answered.header("cache-control"), Some("no-store"));
    assert_eq!(
        answered.header("content-type"),
        Some("text/plain; charset=UTF-8")
    );
    assert_eq!(there.engine.sessions(), 0);
    // It ends as it would there.
    assert_eq!(stray.post("1").await.body, "ok");
    here.emptied().await;
    assert_eq!(stray.poll().await.body, UNKNOWN);
}

#[tokio::test]
async fn large_bodies_pass_and_too_large_ones_are_refused() {
    let (here, there, poller) = fleet().await;
    let stray = by(&there, &poller);
    let long = "x".repeat(90_000);
    let packet = format!(r#"42["echo","{long}"]"#);
    assert_eq!(stray.post(&packet).await.body, "ok");
    assert_eq!(stray.poll().await.body, packet);
    assert_eq!(stray.post(&"x".repeat(100_001)).await.status, 413);
    assert_eq!(here.engine.sessions(), 1, "it lives on");
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_poll_with_it() {
    let (here, there, poller) = fleet().await;
    drop(by(&there, &poller).begin_poll().await);
    here.told("disconnected transport_close").await;
}

#[tokio::test]
async fn an_upgrade_reaches_its_session_by_any_node() {
    let (here, there, poller) = fleet().await;
    let stray = by(&there, &poller);
    let mut waiting = stray.begin_poll().await;
    let mut ws = stray.candidate().await;
    ws.text("2probe").await;
    assert_eq!(ws.next().await, text("3probe"));
    assert_eq!(answer(&mut waiting).await.body, "6");
    ws.text("5").await;
    for size in [1, 1_000, 90_000] {
        let event = format!(r#"42["echo","{}"]"#, "y".repeat(size));
        ws.text(&event).await;
        assert_eq!(ws.next().await, text(&event));
    }
    // The end comes through from either side.
    ws.text(r#"42["close"]"#).await;
    assert_eq!(ws.closed().await, Some(None));
    here.emptied().await;
    let poller = Poller::connect(here.address).await;
    let mut ws = by(&there, &poller).candidate().await;
    ws.text("5").await;
    ws.text(r#"42["echo",1]"#).await;
    assert_eq!(ws.next().await, text(r#"42["echo",1]"#));
    drop(ws);
    here.emptied().await;
}

#[tokio::test]
async fn a_session_without_a_living_node_is_unknown_at_once() {
    let known = Known::default();
    let dead = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refusing = dead.local_addr().unwrap();
    drop(dead);
    let served = known.serve(Config::default(), 8).await;
    let tag = NodeTag::random().unwrap();
    known.0.lock().insert(tag, refusing);
    let nobody = NodeTag::random().unwrap();
    let began = Instant::now();
    for tag in [tag, nobody] {
        let poller = Poller {
            address: served.address,
            sid: format!("{tag}{}", "x".repeat(20)),
        };
        let polled = poller.poll().await;
        assert_eq!((polled.status, &*polled.body), (400, UNKNOWN));
        assert_eq!(poller.post("40").await.body, UNKNOWN);
        let query = format!("EIO=4&transport=websocket&sid={}", poller.sid);
        let refused = Ws::open(served.address, &query, "").await.unwrap_err();
        assert_eq!(
            (refused.status, &*refused.body),
            (400, "Session ID unknown")
        );
    }
    assert!(began.elapsed() < scaled(Duration::from_secs(1)));
}

#[tokio::test]
async fn what_is_passed_on_at_once_is_bounded() {
    let known = Known::default();
    let here = known.serve(Config::default(), 0).await;
    let there = known.serve(Config::default(), 1).await;
    let (one, other) = (
        Poller::connect(here.address).await,
        Poller::connect(here.address).await,
    );
    let waiting = by(&there, &one).begin_poll().await;
    let refused = by(&there, &other).poll().await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("5"))
    );
    drop(waiting);
    let mut polled = by(&there, &other).begin_poll().await;
    emit(&here.socket().await, &Frame::event("n", &1).unwrap());
    assert_eq!(answer(&mut polled).await.body, r#"42["n",1]"#);
}

#[tokio::test]
async fn what_is_not_signed_by_the_fleet_is_refused() {
    let (here, there, poller) = fleet().await;
    let query = poller.query();
    for forged in [
        "v1 1700000000 AAAAAAAA 127.0.0.1 5 AAAA".to_owned(),
        String::new(),
        "x".repeat(5_000),
    ] {
        let header = format!("X-Syncchat-Forwarded: {forged}\r\n");
        for served in [&here, &there] {
            let refused = request(served.address, "GET", &query, &header, b"").await;
            assert_eq!(refused.status, 403, "{forged}");
        }
        let upgrade = format!("EIO=4&transport=websocket&sid={}", poller.sid);
        let refused = Ws::open(here.address, &upgrade, &header).await;
        assert_eq!(refused.unwrap_err().status, 403);
    }
    // The session was not touched by it.
    assert_eq!(poller.post(r#"42["echo",1]"#).await.body, "ok");
    assert_eq!(poller.poll().await.body, r#"42["echo",1]"#);
}

#[tokio::test]
async fn a_node_that_ends_lets_go_of_what_is_not_its_own() {
    let (here, there, poller) = fleet().await;
    let mut ws = by(&there, &poller).candidate().await;
    ws.text("5").await;
    ws.text(r#"42["echo",1]"#).await;
    assert_eq!(ws.next().await, text(r#"42["echo",1]"#));
    there.engine.release_forwarded(Duration::from_millis(50));
    assert_eq!(ws.next().await, Got::End);
    here.emptied().await;
    timeout(scaled(Duration::from_secs(1)), there.engine.closed())
        .await
        .unwrap();
    // Polls are still passed on, and held no longer than a moment.
    let poller = Poller::connect(here.address).await;
    let began = Instant::now();
    assert_eq!(by(&there, &poller).poll().await.body, "6");
    assert!(began.elapsed() < scaled(Duration::from_secs(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_through_many_nodes() {
    const EVENTS: u32 = 2_000;
    let known = Known::default();
    let here = known.serve(Config::default(), 8).await;
    let others = [
        known.serve(Config::default(), 8).await,
        known.serve(Config::default(), 8).await,
    ];
    let poller = Poller::connect(here.address).await;
    let socket = here.socket().await;
    let emitting = tokio::spawn(async move {
        for i in 0..EVENTS {
            emit(&socket, &Frame::event("n", &i).unwrap());
            if i % 7 == 0 {
                sleep(Duration::from_micros(300)).await;
            }
        }
    });
    let mut got = Vec::new();
    for turn in 0.. {
        let nodes = [&here, &others[0], &others[1]];
        let polled = by(nodes[turn % 3], &poller).poll().await;
        assert_eq!(polled.status, 200);
        got.extend(polled.body.split('\x1e').filter_map(|packet| {
            let number = packet.strip_prefix(r#"42["n","#)?.strip_suffix(']')?;
            number.parse::<u32>().ok()
        }));
        if got.len() >= EVENTS as usize {
            break;
        }
    }
    assert!(got.iter().copied().eq(0..EVENTS));
    emitting.await.unwrap();
}
