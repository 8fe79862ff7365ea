//! The server under load: one that runs already, or one started for this run.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Args;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::Failure;

/// Which server.
#[derive(Args)]
pub(crate) struct ServerOptions {
    /// The binary to start on free ports, with an empty store of its own.
    #[arg(long, default_value = "target/release/syncchat")]
    bin: PathBuf,
    /// The `--store` it is given; the embedded one when absent.
    #[arg(long)]
    store: Option<String>,
}

/// A running server and what the kernel says of it.
pub(crate) struct Server {
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    pid: u32,
    child: Child,
    _dir: TempDir,
}

/// What a process has used since it began.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    /// Resident memory, bytes.
    pub(crate) resident: u64,
    /// User and system time.
    pub(crate) cpu: Duration,
}

impl Server {
    /// Starts the binary and waits until it is ready.
    pub(crate) async fn start(options: &ServerOptions) -> Result<Server, Failure> {
        let dir = tempfile::tempdir()?;
        let (port, admin) = (free_port()?, free_port()?);
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(options.bin.canonicalize()?);
        command
            .current_dir(dir.path())
            .arg("serve")
            .args([
                "--listen",
                &address,
                "--admin-listen",
                &format!("127.0.0.1:{admin}"),
            ])
            .args([
                "--bcrypt-cost",
                "4",
                "--drain",
                "0s",
                "--log-format",
                "json",
            ])
            .args([
                "--rate-messages",
                "off",
                "--rate-requests",
                "off",
                "--rate-handshakes",
                "off",
            ])
            .args([
                "--rate-registrations",
                "off",
                "--rate-logins",
                "off",
                "--access-ttl",
                "1h",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        if let Some(store) = &options.store {
            command.args(["--store", store]);
        }
        let child = command.spawn()?;
        let pid = child.id().ok_or("the server ended at once")?;
        let ready = format!("http://127.0.0.1:{admin}/readyz");
        let began = Instant::now();
        while ureq::get(&ready).call().is_err() {
            if began.elapsed() > Duration::from_secs(30) {
                return Err("the server was not ready within 30 s".into());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(Server {
            address,
            pid,
            child,
            _dir: dir,
        })
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> Result<Usage, Failure> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid))?;
        let pages: u64 = statm
            .split(' ')
            .nth(1)
            .ok_or("no resident pages in statm")?
            .parse()?;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The command's name may hold blanks; the fields after its closing bracket do not.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
        let ticks = |i: usize| {
            fields
                .get(i)
                .and_then(|field| field.parse::<u64>().ok())
                .unwrap_or(0)
        };
        // Linux counts in hundredths of a second and in pages of 4 KiB on every machine we run on.
        Ok(Usage {
            resident: pages * 4096,
            cpu: Duration::from_millis((ticks(11) + ticks(12)) * 10),
        })
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        self.child.kill().await?;
        Ok(())
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
