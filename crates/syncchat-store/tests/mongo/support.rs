//! A real mongod for the tests: a replica set of one, on a free port, gone when the test's process
//! is.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mongodb::bson::{doc, oid::ObjectId};
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};
use test_speed::scaled;

/// Runs mongod, does what it is told line by line, and cleans up when nobody can tell it anything
/// any more: then the test's process has ended, however it did.
const KEEPER: &str = r#"
dir=$1; shift
start() { "$@" >"$dir/out" 2>&1 </dev/null & pid=$!; }
start "$@"
echo ready
while read -r order; do
    case $order in
        kill) kill -9 $pid; wait $pid 2>/dev/null ;;
        start) start "$@" ;;
        stop) kill -STOP $pid ;;
        continue) kill -CONT $pid ;;
    esac
    echo done
done
kill -9 $pid; wait $pid 2>/dev/null; rm -rf "$dir"
"#;

/// How long a mongod may take to become primary on a busy machine.
const PRIMARY_WITHIN: Duration = Duration::from_secs(60);

/// One mongod.
pub(crate) struct Mongod {
    port: u16,
    keeper: Mutex<Keeper>,
}

struct Keeper {
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    _process: Child,
}

impl Mongod {
    /// Starts one and waits until it is primary.
    pub(crate) async fn start() -> Mongod {
        let binary = binary();
        let dir = std::env::temp_dir().join(format!("syncchat-mongod-{}", ObjectId::new()));
        std::fs::create_dir_all(dir.join("db")).unwrap();
        let port = free_port();
        let mut process = Command::new("/bin/sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&dir)
            .arg(&binary)
            .arg("--dbpath")
            .arg(dir.join("db"))
            .args(["--port", &port.to_string(), "--bind_ip", "127.0.0.1"])
            .args(["--replSet", "rs", "--nounixsocket"])
            .args(["--wiredTigerCacheSizeGB", "0.25"])
            .args(["--setParameter", "diagnosticDataCollectionEnabled=false"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut keeper = Keeper {
            orders: process.stdin.take().unwrap(),
            answers: BufReader::new(process.stdout.take().unwrap()),
            _process: process,
        };
        keeper.answer("ready");
        let mongod = Mongod {
            port,
            keeper: Mutex::new(keeper),
        };
        mongod.initiate().await;
        mongod
    }

    /// The address of a database on it.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("mongodb://127.0.0.1:{}/{database}?replicaSet=rs", self.port)
    }

    /// A driver of the test's own.
    pub(crate) async fn database(&self, name: &str) -> Database {
        let client = Client::with_uri_str(self.url(name)).await.unwrap();
        client.database(name)
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) {
        self.order("kill");
    }

    /// Starts it again on the same data.
    pub(crate) fn restart(&self) {
        self.order("start");
    }

    /// Makes it give up being primary, until it elects itself again a second later.
    pub(crate) async fn step_down(&self) {
        let order = doc! { "replSetStepDown": 1, "secondaryCatchUpPeriodSecs": 0, "force": true };
        // It may close the connection instead of answering.
        let _ = self.database("admin").await.run_command(order).await;
    }

    /// SIGSTOP: connections stay, nothing answers.
    pub(crate) fn freeze(&self) {
        self.order("stop");
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.order("continue");
    }

    fn order(&self, order: &str) {
        let mut keeper = self.keeper.lock().unwrap();
        writeln!(keeper.orders, "{order}").unwrap();
        keeper.answer("done");
    }

    async fn initiate(&self) {
        let url = format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port);
        let mut options = ClientOptions::parse(url).await.unwrap();
        options.server_selection_timeout = Some(PRIMARY_WITHIN);
        let admin = Client::with_options(options).unwrap().database("admin");
        let member = doc! { "_id": 0, "host": format!("127.0.0.1:{}", self.port) };
        let config = doc! { "_id": "rs", "members": [member] };
        admin
            .run_command(doc! { "replSetInitiate": config })
            .await
            .unwrap();
        let begun = Instant::now();
        loop {
            let hello = admin.run_command(doc! { "hello": 1 }).await.unwrap();
            if hello.get_bool("isWritablePrimary").unwrap_or(false) {
                return;
            }
            assert!(
                begun.elapsed() < scaled(PRIMARY_WITHIN),
                "mongod is not primary"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Keeper {
    fn answer(&mut self, expected: &str) {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), expected);
    }
}

fn binary() -> PathBuf {
    let path = match std::env::var_os("SYNCCHAT_TEST_MONGOD") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../target/services/bin/mongod"
        )),
    };
    assert!(
        path.is_file(),
        "{} is missing: run tests/services.sh, or name a mongod in SYNCCHAT_TEST_MONGOD",
        path.display()
    );
    path
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
