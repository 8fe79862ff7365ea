//! The program as an operator meets it: started, asked, told to stop.

// A panic in a test's helper is the test's report.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use harness::{Node, call, free_address, run, syncchat, text, wait};
use rustix::process::Signal;
use test_speed::scaled;

#[test]
fn a_node_starts_from_nothing_and_says_so_once() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &[]);
    let ready = node.admin("/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
    assert_eq!(node.admin("/healthz").status, 200);
    assert_eq!(node.admin("/").status, 404);
    assert_eq!(
        node.call("GET", "/metrics", "", "").status,
        404,
        "not in public"
    );

    let page = node.call("GET", "/", "", "");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-security-policy: "));
    assert!(
        page.body.contains("<title>SyncChat</title>"),
        "with or without the client"
    );

    let mode = |path| {
        fs::metadata(folder.path().join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("data/jwt-secret"), 0o600);
    assert_eq!(mode("data"), 0o700);

    let metrics = node.admin("/metrics").body;
    assert!(
        metrics.contains("syncchat_build_info{version=\"0.1.0\",node=\""),
        "{metrics}"
    );

    for name in [
        "connections 0",
        "handshakes_total{transport=\"websocket\",result=\"ok\"} 0",
        "messages_accepted_total 0",
        "messages_rejected_total{code=\"invalid\"} 0",
        "deliveries_total 0",
        "outbound_queue_bytes 0",
        "slow_consumers_closed_total 0",
        "panics_total 0",
        "log_lines_dropped_total 0",
        "backplane_connected 1",
        "rate_limited_total{kind=\"logins\"} 0",
        "persist_seconds_count 0",
        "publish_seconds_count 0",
        "delivery_seconds_count 0",
        "backplane_messages_total{direction=\"in\"} 0",
        "backplane_gaps_total 0",
        "backfilled_messages_total 0",
        "recoveries_total{result=\"recovered\"} 0",
        "http_requests_total{route=\"unmatched\",status=\"404\"} 0",
        "http_request_seconds_count{route=\"unmatched\"} 0",
    ] {
        let line = format!("\nsyncchat_{name}\n");
        assert!(metrics.contains(&line), "{name} is missing in {metrics}");
    }
    assert!(
        metrics.contains("\nsyncchat_clock_offset_seconds "),
        "{metrics}"
    );
    for name in types(&metrics) {
        let help = format!("# HELP {name} ");
        assert!(metrics.contains(&help), "{name} is not explained");
    }

    node.signal(Signal::TERM);
    let (status, rest) = node.end();
    assert_eq!((status.code(), rest.as_str()), (Some(0), ""));
}

/// The names of all metrics.
fn types(metrics: &str) -> impl Iterator<Item = &str> {
    metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
}

#[test]
fn a_restart_on_the_same_folder_keeps_accounts_and_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &[]);
    let session = node.register("ann", "");
    assert_eq!(session.status, 201, "{session:?}");
    let bearer = format!("authorization: Bearer {}\r\n", session.field("accessToken"));
    node.signal(Signal::KILL);
    node.end();

    let node = Node::start(folder.path(), &[]);
    let me = node.call("GET", "/api/users/me", &bearer, "");
    assert_eq!(me.status, 200, "{me:?}");
    assert_eq!(me.field("username"), "ann");
}

#[test]
fn what_is_unknown_or_malformed_is_named_and_nothing_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let flag_cases = [
        (vec!["serve", "--listn", "x"], "--listn"),
        (vec!["serve", "--drain", "soon"], "--drain: must be"),
        (
            vec!["serve", "--jwt-secret", "hunter2"],
            "--jwt-secret: must have at least 32 bytes",
        ),
        (
            vec!["serve", "--backplane", "nats://h"],
            "--backplane: must be local, redis://",
        ),
        (
            vec!["serve", "--roles", "gateway"],
            "--roles: this version knows only all",
        ),
        (
            vec!["serve", "--config", "missing.toml"],
            "--config: missing.toml: ",
        ),
        (vec!["dance"], "dance"),
        (vec![], "Usage"),
    ];
    for (args, expected) in flag_cases {
        let output = run(folder.path(), &args);
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {complaint}");
        assert!(complaint.contains(expected), "{args:?}: {complaint}");
        assert!(!complaint.contains("hunter2"), "{complaint}");
    }

    let variable = syncchat(folder.path(), &["serve"])
        .env("SYNCCHAT_LISTN", "x")
        .output()
        .unwrap();
    assert_eq!(variable.status.code(), Some(2));
    assert!(text(&variable.stderr).contains("SYNCCHAT_LISTN: no such setting"));

    fs::write(folder.path().join("f.toml"), "bcrypt_cost = 99\n").unwrap();
    let file = run(folder.path(), &["serve", "--config", "f.toml"]);
    assert_eq!(file.status.code(), Some(2));
    assert!(text(&file.stderr).contains("bcrypt-cost in f.toml: must be"));
    assert!(!folder.path().join("data").exists(), "nothing was made");
}

#[test]
fn a_taken_address_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &[]);
    let address = node.address.to_string();
    let elsewhere = tempfile::tempdir().unwrap();
    let args = ["serve", "--admin-listen", "off", "--listen", &address];
    let output = run(elsewhere.path(), &args);
    assert_eq!(output.status.code(), Some(1));
    let complaint = text(&output.stderr);
    assert!(
        complaint.contains(&format!("--listen: {address}")),
        "{complaint}"
    );
}

#[test]
fn a_flag_beats_a_variable_beats_the_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("f.toml"),
        "access-ttl = '1h'\nrate_registrations = '1/m:1'\njwt-secret = 'short'\n",
    )
    .unwrap();
    let secret = "a secret of the environment, long enough";
    let output = syncchat(folder.path(), &["check", "--config", "f.toml"])
        .env("SYNCCHAT_JWT_SECRET", secret)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains(secret));

    let node = Node::start(
        folder.path(),
        &["--config", "f.toml", "--jwt-secret", secret],
    );
    assert_eq!(node.register("ann", "").status, 201);
    assert_eq!(
        node.register("bob", "").status,
        429,
        "the file's rate holds"
    );
}

#[test]
fn only_a_trusted_proxy_speaks_for_its_client() {
    let folder = tempfile::tempdir().unwrap();
    let rate = ["--rate-registrations", "1/m:1"];
    let node = Node::start(folder.path(), &rate);
    let from = |address| format!("x-forwarded-for: {address}\r\n");
    assert_eq!(node.register("ann", &from("192.0.2.1")).status, 201);
    assert_eq!(
        node.register("bob", &from("192.0.2.2")).status,
        429,
        "nobody is trusted"
    );
    drop(node);

    let trusting = [&rate[..], &["--trusted-proxies", "127.0.0.0/8"]].concat();
    let node = Node::start(folder.path(), &trusting);
    assert_eq!(node.register("cat", &from("192.0.2.1")).status, 201);
    assert_eq!(node.register("dan", &from("192.0.2.2")).status, 201);
    assert_eq!(
        node.register("eve", &from("6.6.6.6, 192.0.2.2")).status,
        429
    );
}

#[test]
fn told_to_stop_it_drains_and_a_second_signal_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &["--drain", "30s"]);
    let session = node.register("ann", "");
    let (_socket, sid) = open_socket(&node);
    authenticate(&node, &sid, session.field("accessToken"));
    node.signal(Signal::TERM);
    wait("readiness to end", || {
        (node.admin("/readyz").status == 503).then_some(())
    });
    assert_eq!(node.admin("/readyz").body, "draining\n");
    assert_eq!(node.admin("/healthz").status, 200);
    let handshake = node.call("GET", "/socket.io/?EIO=4&transport=polling", "", "");
    assert_eq!(handshake.status, 503, "{handshake:?}");
    assert!(handshake.head.contains("retry-after: "), "{handshake:?}");
    node.signal(Signal::INT);
    let (status, _) = node.end();
    assert_eq!(status.code(), Some(130));
}

#[test]
fn a_closed_terminal_does_not_end_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &[]);
    node.signal(Signal::HUP);
    // A request after it: the signal was taken, or would have ended the node.
    for _ in 0..20 {
        assert_eq!(node.admin("/readyz").status, 200);
        std::thread::sleep(Duration::from_millis(10));
    }
    node.signal(Signal::TERM);
    assert_eq!(node.end().0.code(), Some(0));
}

/// Standard error is a pipe that is never read, and far smaller than what is logged.
#[test]
fn a_log_that_nobody_reads_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start_unread(folder.path(), &["--log-level", "trace"]);
    let lost = wait("log lines to be dropped", || {
        for _ in 0..100 {
            assert_eq!(node.call("GET", "/api/nothing", "", "").status, 404);
        }
        let metrics = node.admin("/metrics").body;
        metrics
            .lines()
            .find_map(|line| line.strip_prefix("syncchat_log_lines_dropped_total "))
            .and_then(|count| count.parse::<u64>().ok())
            .filter(|count| *count > 0)
    });
    assert!(lost > 0);
    assert_eq!(node.admin("/healthz").status, 200);
    node.signal(Signal::TERM);
    assert_eq!(node.end().0.code(), Some(0));
}

#[test]
fn a_drain_ends_open_sockets_and_then_itself() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &["--drain", "1s"]);
    let session = node.register("ann", "");
    let (_, known) = open_socket(&node);
    authenticate(&node, &known, session.field("accessToken"));
    let (_, stranger) = open_socket(&node);
    assert!(!stranger.is_empty());
    // Idle, kept alive, and not to be waited for.
    let mut idle = TcpStream::connect(node.address).unwrap();
    idle.set_read_timeout(Some(scaled(Duration::from_secs(20))))
        .unwrap();
    let began = Instant::now();
    node.signal(Signal::INT);
    let (status, _) = node.end();
    assert_eq!(status.code(), Some(0));
    assert!(
        began.elapsed() < scaled(Duration::from_secs(15)),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(idle.read(&mut [0; 16]).unwrap_or(0), 0);
}

/// The features of tests must not bring a store that forgets into the program that they drive.
#[cfg(not(feature = "memory-store"))]
#[test]
fn a_store_in_memory_is_not_offered() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["check", "--store", "memory:"]);
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{complaint}");
    assert!(
        complaint.contains("--store: must be sqlite:PATH"),
        "{complaint}"
    );
}

#[test]
fn check_says_what_answers() {
    let folder = tempfile::tempdir().unwrap();
    let good = run(folder.path(), &["check"]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stdout));
    assert!(
        !folder.path().join("data").exists(),
        "a check changes nothing"
    );
    assert_eq!(run(folder.path(), &["migrate"]).status.code(), Some(0));
    let made = run(folder.path(), &["check"]);
    let table = text(&made.stdout);
    assert_eq!(made.status.code(), Some(0), "{table}");
    assert!(table.contains("its clock and this one "), "{table}");

    let url = format!(
        "mongodb://user:hunter2@{}/x?serverSelectionTimeoutMS=300",
        free_address()
    );
    let bad = run(folder.path(), &["check", "--store", &url]);
    assert_eq!(bad.status.code(), Some(1));
    let table = text(&bad.stdout);
    assert!(
        table.lines().any(|line| line.starts_with("FAILED  store")),
        "{table}"
    );
    assert!(!table.contains("hunter2") && !text(&bad.stderr).contains("hunter2"));
}

#[test]
fn migrating_twice_and_asking_for_tokens() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let output = run(folder.path(), &["migrate"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    let node = Node::start(folder.path(), &[]);
    let id = node.register("ann", "").field("id").to_owned();
    let output = run(folder.path(), &["token", "--user", &id]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let bearer = format!(
        "authorization: Bearer {}\r\n",
        text(&output.stdout).trim_end()
    );
    assert_eq!(
        node.call("GET", "/api/users/me", &bearer, "").field("id"),
        id
    );

    let unknown = run(folder.path(), &["token", "--user", &"0".repeat(24)]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("there is no user"));
    assert_eq!(text(&unknown.stdout), "");
}

#[test]
fn beyond_the_connections_allowed_clients_are_told_to_wait() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &["--max-connections", "1"]);
    open_socket(&node);
    let second = node.call("GET", "/socket.io/?EIO=4&transport=polling", "", "");
    assert_eq!(second.status, 503, "{second:?}");
    assert!(second.head.contains("retry-after: "), "{second:?}");
    assert_eq!(node.call("GET", "/api/openapi.json", "", "").status, 200);
}

/// A session by polling: what the handshake said, and its `sid`.
fn open_socket(node: &Node) -> (String, String) {
    let path = "/socket.io/?EIO=4&transport=polling";
    let answer = call(node.address, "GET", path, "", "").unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let sid = answer.field("sid").to_owned();
    (answer.body, sid)
}

/// Joins the namespace with a token, and waits until the server says who it is.
fn authenticate(node: &Node, sid: &str, token: &str) {
    let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    let connect = format!(r#"40{{"token":"{token}"}}"#);
    let headers = "content-type: text/plain\r\n";
    assert_eq!(node.call("POST", &path, headers, &connect).status, 200);
    wait("the socket to be authenticated", || {
        let packets = node.call("GET", &path, "", "").body;
        packets.contains("\"authenticated\"").then_some(())
    });
}
