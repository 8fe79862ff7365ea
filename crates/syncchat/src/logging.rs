//! Logs: to standard error, for people or for programs.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// Starts logging.
///
/// # Errors
/// It was started before.
pub fn start(config: &Config) -> io::Result<()> {
    let terminal = io::stderr().is_terminal();
    let format = config.log_format.unwrap_or(match terminal {
        true => LogFormat::Pretty,
        false => LogFormat::Json,
    });
    // The filter was checked when the settings were read.
    let filter = EnvFilter::builder().parse_lossy(&config.log_level);
    let base = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // A log that cannot be written must not end the task that wrote it.
        .log_internal_errors(false);
    match format {
        LogFormat::Pretty => base.with_ansi(terminal).try_init(),
        LogFormat::Json => base.json().flatten_event(true).try_init(),
    }
    .map_err(io::Error::other)
}
