//! A whole node in this process, one of whose tasks fails.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::*;
use crate::config::sources::Sources;
use crate::panics;

/// For each step, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    listener.local_addr().unwrap()
}

/// The answer to a request on a connection of its own, with its head; empty if there is none.
async fn call(to: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(to).await else {
        return String::new();
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\
         content-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Asks until the answer holds this; gives the answer.
async fn until(what: &str, to: SocketAddr, path: &str) -> String {
    let began = Instant::now();
    loop {
        let answer = call(to, "GET", path, "").await;
        if answer.contains(what) {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "no {what} in {answer}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Counts what this test panics on purpose, beside the report of the test's own harness.
fn count_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        panics::note(panic);
        report(panic);
    }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_panics_ends_the_node_in_good_order() {
    count_panics();
    let folder = tempfile::tempdir().unwrap();
    let (public, admin) = (free_address().await, free_address().await);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let flags = [
        ("listen", public.to_string()),
        ("admin-listen", admin.to_string()),
        ("store", format!("sqlite:{}", path("chat.db"))),
        ("files", format!("file:{}", path("files"))),
        (
            "jwt-secret",
            "a secret of the test, long enough for it".into(),
        ),
        // Would outlast the test.
        ("drain", "1h".into()),
    ];
    let flags: BTreeMap<String, String> = flags.map(|(name, text)| (name.into(), text)).into();
    let config = Config::read(&Sources::default().with_flags(flags)).unwrap();
    let supervisor = Supervisor::new();
    let (plant, planted) = oneshot::channel::<()>();
    supervisor.spawn("planted", async move {
        let _ = planted.await;
        panic!("planted");
    });
    let node = serve(config, Signals::catch().unwrap(), supervisor);
    let node = tokio::spawn(async move { node.await.map_err(|failure| failure.to_string()) });

    until("ready\n", admin, "/readyz").await;
    assert!(
        call(admin, "GET", "/healthz", "")
            .await
            .ends_with("alive\n")
    );
    let polling = "/socket.io/?EIO=4&transport=polling";
    let open = call(public, "GET", polling, "").await;
    let sid = open
        .split("\"sid\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let session = format!("{polling}&sid={sid}");
    assert!(
        call(public, "POST", &session, "40")
            .await
            .starts_with("HTTP/1.1 200")
    );
    until("\"sid\"", public, &session).await;

    plant.send(()).unwrap();
    let goodbye = until("server_closing", public, &session).await;
    assert!(goodbye.contains("\"draining\""), "{goodbye}");
    let health = until("503", admin, "/healthz").await;
    assert!(health.ends_with("a task has ended: planted\n"), "{health}");
    let ready = call(admin, "GET", "/readyz", "").await;
    assert!(ready.ends_with("a task has ended\n"), "{ready}");
    let metrics = call(admin, "GET", "/metrics", "").await;
    assert!(metrics.contains("\nsyncchat_panics_total 1\n"), "{metrics}");

    let code = timeout(PATIENCE, node).await.unwrap().unwrap();
    assert_eq!(code, Ok(ExitCode::from(EXIT_FAILED)));
}
