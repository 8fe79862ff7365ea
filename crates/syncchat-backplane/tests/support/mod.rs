//! Real Redis servers for the tests, on ports of their own, ended by pid.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "a panic is the report of a test")]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use test_speed::scaled;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// The real server; SYNCCHAT_TEST_REDIS names another binary.
fn binary() -> PathBuf {
    std::env::var_os("SYNCCHAT_TEST_REDIS").map_or("/usr/bin/redis-server".into(), PathBuf::from)
}

/// One server, without persistence.
pub(crate) struct Redis {
    pub(crate) port: u16,
    child: Child,
    extra: Vec<String>,
    dir: TempDir,
}

impl Redis {
    pub(crate) async fn start() -> Redis {
        Redis::start_with(free_port(), &[]).await
    }

    pub(crate) async fn start_with(port: u16, extra: &[String]) -> Redis {
        let dir = tempfile::tempdir().unwrap();
        let child = launch(port, extra, &dir);
        let mut redis = Redis {
            port,
            child,
            extra: extra.to_vec(),
            dir,
        };
        redis.answers().await;
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.child = launch(self.port, &self.extra, &self.dir);
        self.answers().await;
    }

    pub(crate) fn cli(&self, args: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(args)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    async fn answers(&mut self) {
        let end = Instant::now() + scaled(Duration::from_secs(10));
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(Instant::now() < end, "redis did not start");
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "redis ended at once"
            );
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(port: u16, extra: &[String], dir: &TempDir) -> Child {
    let binary = binary();
    assert!(
        binary.exists(),
        "no redis-server at {}: run tests/services.sh",
        binary.display()
    );
    Command::new(binary)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(dir.path())
        .args(extra)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A cluster of three masters.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Redis>,
}

impl Cluster {
    pub(crate) async fn start() -> Cluster {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            // The cluster bus listens 10,000 above.
            let port = loop {
                let port = free_port();
                if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
                    break port;
                }
            };
            let extra = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
            nodes.push(Redis::start_with(port, &extra.map(str::to_owned)).await);
        }
        let ranges = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
        for (i, (node, (from, to))) in nodes.iter().zip(ranges).enumerate() {
            node.cli(&["cluster", "addslotsrange", from, to]);
            node.cli(&["cluster", "set-config-epoch", &(i + 1).to_string()]);
        }
        for other in &nodes[1..] {
            nodes[0].cli(&["cluster", "meet", "127.0.0.1", &other.port.to_string()]);
        }
        let end = Instant::now() + scaled(Duration::from_secs(20));
        while !nodes
            .iter()
            .all(|n| n.cli(&["cluster", "info"]).contains("cluster_state:ok"))
        {
            assert!(Instant::now() < end, "the cluster did not form");
            sleep(Duration::from_millis(50)).await;
        }
        Cluster { nodes }
    }

    pub(crate) fn url(&self) -> String {
        let [first, second, third] = [0, 1, 2].map(|i| self.nodes[i].port);
        format!("redis-cluster://127.0.0.1:{first}?node=127.0.0.1:{second}&node=127.0.0.1:{third}")
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Waits for a condition, with a bound.
pub(crate) async fn until(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let limit = scaled(Duration::from_secs(15));
    let end = Instant::now() + limit;
    while !check().await {
        assert!(Instant::now() < end, "waited {limit:?} for {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
