//! SyncChat, the program: reads settings, wires the crates together, listens, drains.
//!
//! Read in this order: [`cli`], [`config`], [`commands::serve`], [`wiring`], [`listeners`],
//! [`shutdown`].

// A program has no outside: `pub` here says what a module offers its neighbours.
#![allow(unreachable_pub)]

mod admin;
mod cli;
mod commands;
mod config;
mod connections;
mod fate;
mod health;
mod limits;
mod listeners;
mod log_writer;
mod logging;
mod metrics;
mod page;
mod panics;
mod process;
mod public;
mod shutdown;
mod wiring;

use std::process::ExitCode;

use cli::Invocation;
use config::Config;

/// Messages are many short-lived pieces of all sizes: an allocator of its own takes a tenth off their
/// whole cost. Both do; jemalloc takes less memory, and longer to compile.
#[cfg(not(feature = "jemalloc"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Settings or arguments that cannot be used.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(error) => error.exit(),
    };
    let config = match configure(&invocation) {
        Ok(config) => config,
        Err(error) => {
            cli::complain(&error);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    commands::run(invocation.command, config)
}

fn configure(invocation: &Invocation) -> Result<Config, config::sources::ConfigError> {
    let sources = cli::sources(invocation)?;
    Config::read(&sources)
}
