//! Logs: to standard error, for people or for programs.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::config::{Config, LogFormat};
use crate::log_writer::{LogGuard, LogWriter};

/// Starts logging. What was logged is written when the guard is dropped.
///
/// # Errors
/// It was started before, or the system starts no thread.
pub fn start(config: &Config) -> io::Result<LogGuard> {
    let (writer, guard) = LogWriter::start(io::stderr())?;
    let terminal = io::stderr().is_terminal();
    let format = config.log_format.unwrap_or(match terminal {
        true => LogFormat::Pretty,
        false => LogFormat::Json,
    });
    let base = fmt::layer()
        .with_writer(writer)
        // A log that cannot be written must not end the task that wrote it.
        .log_internal_errors(false);
    let filter: Targets = config.log_level.clone();
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Pretty => registry.with(base.with_ansi(terminal)).try_init(),
        LogFormat::Json => registry.with(base.json().flatten_event(true)).try_init(),
    }
    .map_err(io::Error::other)?;
    Ok(guard)
}
