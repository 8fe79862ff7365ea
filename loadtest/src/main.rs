//! `syncchat-loadtest`: thousands of Socket.IO clients in one process, and what they cost the
//! server.
//!
//! `idle` opens authenticated sockets that say nothing, and divides the server's resident memory
//! by them. `chat` lets senders talk, each waiting for its acknowledgement, checks that everybody
//! receives everything once and in order, and prints throughput and percentiles.
#![allow(clippy::print_stdout, reason = "its result goes to standard output")]

mod chat;
mod client;
mod idle;
mod server;
mod setup;

use clap::{Parser, Subcommand};

/// Anything that ends a run early.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Resident memory of the server for each idle, authenticated, joined WebSocket.
    Idle(idle::Options),
    /// Persisted messages a second, and the time to their acknowledgement.
    Chat(chat::Options),
}

fn main() -> Result<(), Failure> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match cli.scenario {
            Scenario::Idle(options) => idle::run(options).await,
            Scenario::Chat(options) => chat::run(options).await,
        }
    })
}
