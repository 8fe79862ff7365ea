//! `syncchat-loadtest`: load on any Socket.IO chat, what its people received, and what it cost.
//!
//! Read in this order: [`scenario`] (what is to be done), [`target`] (how to talk to a chat),
//! [`run`] (the coordinator, from the first account to the verdict), [`worker`] (the sockets),
//! [`outcome`] (what it comes to).
#![allow(clippy::print_stdout, reason = "its result goes to standard output")]

mod address;
mod clock;
mod compare;
mod control;
mod mark;
mod measure;
mod outcome;
mod plan;
mod progress;
mod report;
mod run;
mod scenario;
mod setup;
mod slope;
mod target;
mod usage;
mod verdict;
mod worker;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use address::{Address, Trust};
use run::Settings;
use scenario::Scenario;
use target::Target;
use usage::Probe;

/// Anything that ends a run early.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a run and prints its result. Exits with 1 if a limit was not kept, with 2 if the run
    /// could not be made.
    Run(Box<RunOptions>),
    /// Makes the same runs against several servers, in turn, and prints a table of medians.
    Compare {
        /// What is compared, a TOML file; see loadtest/compare. Run it in the repository's root.
        comparison: PathBuf,
        /// Runs of each server.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Only this scenario, by its file's name without the end.
        #[arg(long)]
        only: Option<String>,
        /// Writes all values there.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Joins a run that is being made elsewhere.
    Join {
        /// The coordinator: HOST:PORT, as it was given with --listen.
        coordinator: String,
    },
}

/// Of `run`.
#[derive(Args)]
struct RunOptions {
    /// The scenario, a TOML file; see loadtest/scenarios.
    scenario: PathBuf,
    /// The server, or several that are taken in turn: http://HOST[:PORT] or https://HOST[:PORT].
    #[arg(long, default_value = "http://127.0.0.1:8080", value_delimiter = ',')]
    url: Vec<Address>,
    /// Believe certificates of these authorities, a PEM file, instead of this system's.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// How to talk to it, a TOML file; SyncChat if absent. See loadtest/targets.
    #[arg(long)]
    target: Option<PathBuf>,
    /// Changes the number of rooms, or of a single room's members, to about so many sockets.
    #[arg(long)]
    sockets: Option<usize>,
    /// Changes the seconds that count.
    #[arg(long)]
    seconds: Option<u64>,
    /// Changes what random choices follow from.
    #[arg(long)]
    seed: Option<u64>,
    /// Changes the open loop's messages a second in each room, of every group that has one.
    #[arg(long)]
    per_second: Option<f64>,
    /// Processes started here. One holds up to about 19,000 sockets and uses one core.
    #[arg(long, default_value_t = 1)]
    processes: usize,
    /// Where processes of other hosts may join.
    #[arg(long, requires = "joining")]
    listen: Option<String>,
    /// How many of them are waited for.
    #[arg(long, requires = "listen")]
    joining: Option<usize>,
    /// Addresses to connect from, taken in turn: each has the ports of
    /// /proc/sys/net/ipv4/ip_local_port_range, 28,000 unless it was widened.
    #[arg(long, value_delimiter = ',')]
    sources: Vec<String>,
    /// The servers' processes, in the order of --url, if they run on this host; found by the port
    /// if absent.
    #[arg(long, value_delimiter = ',')]
    server_pid: Vec<u32>,
    /// The servers' metrics, in the same order, if they run elsewhere: http://HOST:PORT/metrics.
    #[arg(long, value_delimiter = ',')]
    metrics: Vec<String>,
    /// CPUs for the processes started here, as for taskset.
    #[arg(long)]
    cpus: Option<String>,
    /// Writes the result there; to standard output if absent.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Writes a report to read there: one HTML file.
    #[arg(long)]
    html: Option<PathBuf>,
    /// Shows no progress.
    #[arg(long)]
    quiet: bool,
}

impl RunOptions {
    fn scenario(&self) -> Result<Scenario, Failure> {
        let mut scenario = Scenario::read(&self.scenario)?;
        if let Some(sockets) = self.sockets {
            scenario.scale_to(sockets);
        }
        if let Some(seconds) = self.seconds {
            scenario.run.seconds = seconds;
        }
        if let Some(seed) = self.seed {
            scenario.run.seed = seed;
        }
        if let Some(rate) = self.per_second {
            for group in &mut scenario.groups {
                if let Some(talk) = group.talk.as_mut().filter(|talk| talk.in_flight.is_none()) {
                    talk.per_second = Some(rate);
                }
            }
        }
        scenario.validate()?;
        Ok(scenario)
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let ca = self.ca.as_ref().map(read).transpose()?;
        let probes = match (self.metrics.is_empty(), self.server_pid.is_empty()) {
            (false, _) => self.metrics.iter().cloned().map(Probe::Metrics).collect(),
            (true, false) => self
                .server_pid
                .iter()
                .copied()
                .map(Probe::Process)
                .collect(),
            (true, true) => found(&self.url),
        };
        Ok(Settings {
            addresses: self.url.clone(),
            trust: Trust { ca },
            target: Target::read(self.target.as_deref())?,
            processes: self.processes,
            joining: self.listen.clone().zip(self.joining),
            sources: self.sources.clone(),
            probes,
            cpus: self.cpus.clone(),
            quiet: self.quiet,
        })
    }
}

/// The processes of this host that listen at these addresses.
fn found(addresses: &[Address]) -> Vec<Probe> {
    let local = |address: &&Address| {
        address.host == "localhost"
            || address
                .name()
                .parse()
                .is_ok_and(|ip: IpAddr| ip.is_loopback())
    };
    let ports = addresses.iter().filter(local).map(|address| address.port);
    ports
        .filter_map(usage::listener)
        .map(Probe::Process)
        .collect()
}

/// A run that could not be made. One that broke a limit ends with 1.
const EXIT_NOT_MADE: u8 = 2;

fn main() -> ExitCode {
    match obey(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            progress::complain(&error);
            ExitCode::from(EXIT_NOT_MADE)
        }
    }
}

fn obey(command: Command) -> Result<ExitCode, Failure> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    // For sockets and REST alike. There is none before, so it cannot fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match command {
        Command::Join { coordinator } => {
            worker::join(&coordinator)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Compare {
            comparison,
            rounds,
            only,
            json,
        } => {
            let table = compare::compare(&comparison, rounds, only.as_deref(), json.as_deref())?;
            println!("{table}");
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(options) => {
            let outcome = run::run(&options.scenario()?, &options.settings()?)?;
            let json = serde_json::to_string_pretty(&outcome)?;
            match &options.json {
                Some(path) => {
                    std::fs::write(path, json + "\n")?;
                    println!("{}", verdict::in_words(&outcome));
                }
                None => println!("{json}"),
            }
            if let Some(path) = &options.html {
                std::fs::write(path, report::html(&outcome))?;
            }
            Ok(ExitCode::from(u8::from(!outcome.passed)))
        }
    }
}
