//! What an idle socket costs: resident memory and, over a while, CPU.

use std::time::{Duration, Instant};

use clap::Args;
use tokio::time::sleep;

use crate::Failure;
use crate::client::Client;
use crate::server::{Server, ServerOptions};
use crate::setup::Rest;

/// Sockets that say nothing.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    server: ServerOptions,
    /// How many.
    #[arg(long, default_value_t = 5_000)]
    sockets: usize,
    /// How many people they belong to; each group of ten people shares a conversation.
    #[arg(long, default_value_t = 500)]
    people: usize,
    /// Seconds of idleness over which CPU is measured.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Fail above this many bytes of resident memory for each socket.
    #[arg(long)]
    max_bytes: Option<u64>,
}

/// Connections opened at once.
const OPENING_MAX: usize = 64;

/// Runs the scenario and prints one JSON line.
pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let server = Server::start(&options.server).await?;
    let rest = Rest::new(&server.address);
    let people = rest.people(options.people)?;
    for group in people.chunks(10).filter(|group| group.len() > 1) {
        rest.group(group)?;
    }
    // One socket first: what is allocated once is not the sockets' fault.
    let mut clients = vec![Client::connect(&server.address, &people[0].token).await?];
    sleep(Duration::from_secs(1)).await;
    let before = server.usage()?;

    let began = Instant::now();
    let wanted = options.sockets;
    let mut opened = 0;
    while opened < wanted {
        let batch = OPENING_MAX.min(wanted - opened);
        let opening = (opened..opened + batch)
            .map(|i| Client::connect(&server.address, &people[i % people.len()].token));
        for client in futures_util::future::join_all(opening).await {
            clients.push(client?);
        }
        opened += batch;
    }
    let took = began.elapsed();
    sleep(Duration::from_secs(3)).await;
    let held = server.usage()?;

    let readers: Vec<_> = clients
        .into_iter()
        .map(|mut client| tokio::spawn(async move { while client.next().await.is_ok() {} }))
        .collect();
    sleep(Duration::from_secs(options.seconds)).await;
    let after = server.usage()?;
    if let Some(gone) = readers.iter().position(|reader| reader.is_finished()) {
        return Err(format!("socket {gone} was closed").into());
    }

    let bytes = held.resident.saturating_sub(before.resident) / wanted as u64;
    let settled = after.resident.saturating_sub(before.resident) / wanted as u64;
    let idle_micros =
        (after.cpu - held.cpu).as_secs_f64() * 1e6 / options.seconds as f64 / wanted as f64;
    println!(
        "{}",
        serde_json::json!({
            "scenario": "idle",
            "sockets": wanted,
            "residentBytesPerSocket": bytes,
            "residentBytesPerSocketAfterIdling": settled,
            "residentBytesBefore": before.resident,
            "connectMicrosCpuPerSocket":
                (held.cpu - before.cpu).as_secs_f64() * 1e6 / wanted as f64,
            "connectsPerSecond": wanted as f64 / took.as_secs_f64(),
            "idleMicrosCpuPerSocketSecond": idle_micros,
        })
    );
    server.stop().await?;
    match options.max_bytes {
        Some(max) if settled > max => {
            Err(format!("{settled} bytes for each socket, more than {max}").into())
        }
        _ => Ok(()),
    }
}
