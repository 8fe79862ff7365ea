//! A real node in a folder of its own, spoken to over TCP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::LazyLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use test_speed::scaled;

static PATIENCE: LazyLock<Duration> = LazyLock::new(|| scaled(Duration::from_secs(30)));

/// The program with these arguments in this folder, without settings from our environment.
pub(crate) fn syncchat(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncchat"));
    command.current_dir(folder).args(args);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SYNCCHAT_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs it to its end.
pub(crate) fn run(folder: &Path, args: &[&str]) -> Output {
    syncchat(folder, args).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A node that serves; killed when dropped.
pub(crate) struct Node {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// Its public address, as printed.
    pub(crate) address: SocketAddr,
    /// Its admin address.
    pub(crate) admin: SocketAddr,
}

impl Node {
    /// Starts one on free ports, and waits for its line.
    pub(crate) fn start(folder: &Path, args: &[&str]) -> Node {
        Node::start_with(folder, args, Stdio::null())
    }

    /// The same, with logs into a pipe that is not read.
    pub(crate) fn start_unread(folder: &Path, args: &[&str]) -> Node {
        Node::start_with(folder, args, Stdio::piped())
    }

    fn start_with(folder: &Path, args: &[&str], logs: Stdio) -> Node {
        let admin = free_address();
        let mut command = syncchat(folder, &["serve", "--bcrypt-cost", "4"]);
        let mut child = command
            .args([
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                &admin.to_string(),
            ])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(logs)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line
            .trim_end()
            .strip_prefix("syncchat listening on http://")
            .unwrap_or_else(|| panic!("the first line is {line:?}"));
        Node {
            address: address.parse().unwrap(),
            child,
            stdout,
            admin,
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the end; gives the status and what was printed after the first line.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        let status = wait("the node to end", || self.child.try_wait().unwrap());
        self.stdout.read_to_string(&mut rest).unwrap();
        (status, rest)
    }

    /// One request to the public listener: status, head and body.
    pub(crate) fn call(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        call(self.address, method, path, headers, body).unwrap()
    }

    pub(crate) fn register(&self, name: &str, headers: &str) -> Answer {
        let body = format!(
            r#"{{"username":"{name}","email":"{name}@example.org","password":"correct horse"}}"#
        );
        let headers = format!("content-type: application/json\r\n{headers}");
        self.call("POST", "/api/auth/register", &headers, &body)
    }

    pub(crate) fn admin(&self, path: &str) -> Answer {
        call(self.admin, "GET", path, "", "").unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// A text field of the body, found without a JSON parser: the first of this name.
    pub(crate) fn field(&self, name: &str) -> &str {
        let start = format!("\"{name}\":\"");
        let (_, rest) = self
            .body
            .split_once(&start)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"));
        rest.split('"').next().unwrap()
    }
}

/// One request on a connection of its own.
pub(crate) fn call(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(*PATIENCE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok(Answer {
        status: head.split(' ').nth(1).unwrap_or("0").parse().unwrap_or(0),
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Asks until there is an answer, with a bound.
pub(crate) fn wait<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < *PATIENCE, "waited too long for {what}");
        sleep(Duration::from_millis(20));
    }
}
