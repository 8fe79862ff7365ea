//! From long polling to WebSocket: nothing is lost, doubled or overtaken.

use std::time::{Duration, Instant};

use syncchat_engine::{Config, DisconnectReason};
use syncchat_protocol::Frame;
use test_speed::scaled;
use tokio::time::sleep;

use crate::client::{Got, Poller, Ws, answer, text};
use crate::server::{emit, quick, serve};

async fn probe(ws: &mut Ws) {
    ws.text("2probe").await;
    assert_eq!(ws.next().await, text("3probe"));
}

async fn upgrade(poller: &Poller) -> Ws {
    let mut ws = poller.candidate().await;
    probe(&mut ws).await;
    ws.text("5").await;
    ws
}

async fn assert_echo(ws: &mut Ws) {
    ws.text(r#"42["echo",1]"#).await;
    assert_eq!(ws.next().await, text(r#"42["echo",1]"#));
}

#[tokio::test]
async fn polls_end_with_a_noop_once_the_probe_is_answered() {
    let served = serve(Config::default()).await;
    // At once for one that waits: sooner than one that comes later, in one of some tries at least, for
    // the machine may be busy.
    let mut tries = 0;
    let (poller, mut ws) = loop {
        let poller = Poller::connect(served.address).await;
        let mut waiting = poller.begin_poll().await;
        let mut ws = poller.candidate().await;
        let begin = Instant::now();
        probe(&mut ws).await;
        assert_eq!(answer(&mut waiting).await.body, "6");
        if begin.elapsed() < Duration::from_millis(80) {
            break (poller, ws);
        }
        tries += 1;
        assert!(tries < 10, "{:?} for one that waits", begin.elapsed());
    };
    let begin = Instant::now();
    assert_eq!(poller.poll().await.body, "6");
    let held = begin.elapsed().as_millis();
    assert!(
        (95..scaled(Duration::from_millis(200)).as_millis()).contains(&held),
        "{held} ms for one that comes later"
    );
    // Data goes by poll until the upgrade.
    emit(&served.socket().await, &Frame::event("late", &1).unwrap());
    assert_eq!(poller.poll().await.body, r#"42["late",1]"#);
    emit(&served.socket().await, &Frame::event("later", &2).unwrap());
    ws.text("5").await;
    assert_eq!(ws.next().await, text(r#"42["later",2]"#));
    assert_echo(&mut ws).await;
}

#[tokio::test]
async fn after_it_requests_are_refused_and_the_session_lives_on() {
    let served = serve(Config::default()).await;
    let poller = Poller::connect(served.address).await;
    let mut ws = upgrade(&poller).await;
    assert_echo(&mut ws).await;
    let bad = r#"{"code":3,"message":"Bad request"}"#;
    let answer = poller.poll().await;
    assert_eq!((answer.status, &*answer.body), (400, bad));
    assert_eq!(poller.post("40").await.status, 400);
    let mut second = poller.candidate().await;
    assert_eq!(second.closed().await, Some(None));
    assert_echo(&mut ws).await;
    drop(ws);
    served.emptied().await;
    assert_eq!(served.count("disconnected"), 1);
}

#[tokio::test]
async fn an_upgrade_needs_no_probe_and_ends_a_waiting_poll() {
    let served = serve(Config::default()).await;
    let poller = Poller::connect(served.address).await;
    let mut waiting = poller.begin_poll().await;
    let mut ws = poller.candidate().await;
    ws.text("5").await;
    ws.text(r#"42["echo",1]"#).await;
    assert_eq!(answer(&mut waiting).await.body, "6");
    assert_eq!(ws.next().await, text(r#"42["echo",1]"#));
}

#[tokio::test]
async fn a_candidate_that_fails_leaves_the_session_on_polling() {
    let served = serve(Config {
        upgrade_timeout: Duration::from_millis(150),
        ..Config::default()
    });
    let served = served.await;
    let poller = Poller::connect(served.address).await;
    for wrong in ["4hello", "2", "2other", "x", "6"] {
        let mut ws = poller.candidate().await;
        ws.text(wrong).await;
        assert_eq!(ws.closed().await, Some(None), "{wrong}");
    }
    let mut ws = poller.candidate().await;
    ws.binary(b"5").await;
    assert_eq!(ws.closed().await, Some(None));
    // It goes away, and it never says `5`.
    let mut ws = poller.candidate().await;
    probe(&mut ws).await;
    drop(ws);
    sleep(Duration::from_millis(20)).await;
    let mut ws = poller.candidate().await;
    probe(&mut ws).await;
    assert_eq!(ws.closed().await, Some(None));
    assert_eq!(poller.post(r#"42["echo",1]"#).await.body, "ok");
    assert_eq!(poller.poll().await.body, r#"42["echo",1]"#);
    let mut ws = upgrade(&poller).await;
    assert_echo(&mut ws).await;
}

#[tokio::test]
async fn a_second_candidate_does_not_disturb_the_first() {
    let served = serve(Config::default()).await;
    let poller = Poller::connect(served.address).await;
    let mut ws = poller.candidate().await;
    probe(&mut ws).await;
    let mut second = poller.candidate().await;
    assert_eq!(second.closed().await, Some(None));
    ws.text("5").await;
    assert_echo(&mut ws).await;
    // A session that began on a WebSocket has nothing to upgrade from.
    let mut ws = Ws::open(served.address, "EIO=4&transport=websocket", "")
        .await
        .unwrap();
    let Got::Text(open) = ws.next().await else {
        panic!("no open packet")
    };
    let query = format!(
        "EIO=4&transport=websocket&sid={}",
        crate::client::sid(&open)
    );
    assert_eq!(
        Ws::open(served.address, &query, "").await.unwrap_err().body,
        "Bad request"
    );
}

#[tokio::test]
async fn the_end_of_the_session_closes_the_candidate() {
    let served = serve(Config::default()).await;
    let poller = Poller::connect(served.address).await;
    let mut ws = poller.candidate().await;
    probe(&mut ws).await;
    assert_eq!(poller.post("1").await.body, "ok");
    assert_eq!(ws.closed().await, Some(None));
    let poller = Poller::connect(served.address).await;
    let mut ws = poller.candidate().await;
    probe(&mut ws).await;
    served.socket().await.close(DisconnectReason::ServerClose);
    assert_eq!(ws.closed().await, Some(None));
    assert_eq!(poller.poll().await.body, "1");
    served.emptied().await;
}

#[tokio::test]
async fn the_pong_deadline_holds_across_the_upgrade() {
    let served = serve(quick()).await;
    let poller = Poller::connect(served.address).await;
    assert_eq!(poller.poll().await.body, "2");
    let mut ws = upgrade(&poller).await;
    assert_eq!(ws.next_raw().await, Got::Close(None));
    served.told("disconnected ping_timeout").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_or_overtaken_under_load() {
    const EVENTS: u32 = 1_500;
    let served = serve(Config::default()).await;
    for round in 0..12_u32 {
        let poller = Poller::connect(served.address).await;
        let socket = served.app.sockets.lock().pop().unwrap();
        let emitting = tokio::spawn(async move {
            for i in 0..EVENTS {
                emit(&socket, &Frame::event("n", &i).unwrap());
                if i % 5 == 0 {
                    tokio::task::yield_now().await;
                }
                if i % 100 == round {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        });
        let mut got = Vec::new();
        // As the official client does: it polls on, probes meanwhile, and says `5` when a poll has
        // returned after the probe's answer.
        let mut ws = None;
        for poll in 0.. {
            if poll == round % 4 {
                let mut candidate = poller.candidate().await;
                candidate.text("2probe").await;
                ws = Some(candidate);
            }
            let answer = poller.poll().await;
            assert_eq!(answer.status, 200);
            got.extend(answer.body.split('\x1e').filter_map(number));
            if ws.is_some() && poll >= round % 4 + round % 3 {
                break;
            }
        }
        let mut ws = ws.unwrap();
        assert_eq!(ws.next().await, text("3probe"));
        ws.text("5").await;
        while got.len() < EVENTS as usize {
            let Got::Text(text) = ws.next().await else {
                panic!("closed at {}", got.len())
            };
            got.extend(number(&text));
        }
        assert!(got.iter().copied().eq(0..EVENTS), "round {round}");
        emitting.await.unwrap();
    }
}

fn number(packet: &str) -> Option<u32> {
    packet
        .strip_prefix(r#"42["n","#)?
        .strip_suffix(']')?
        .parse()
        .ok()
}
