//! One file for each command.

mod check;
mod deep;
mod migrate;
mod restored;
mod serve;
mod token;
mod trace;

use std::fmt;
use std::process::ExitCode;

use crate::cli::{self, Task};
use crate::config::Config;
use crate::{logging, panics};

/// Why a command failed, for the operator.
pub struct Failure(String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        // A chain of causes, each once: some errors repeat their cause in their own text.
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        Failure(text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Does what was asked, and says how it went.
pub fn run(task: Task, config: Config) -> ExitCode {
    let done = start(task, config);
    match done {
        Ok(code) => code,
        Err(failure) => {
            cli::complain(failure);
            ExitCode::FAILURE
        }
    }
}

fn start(task: Task, config: Config) -> Result<ExitCode, Failure> {
    let _log = logging::start(&config)?;
    panics::report();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = match task {
        Task::Serve => runtime.block_on(serve::run(config)),
        Task::Check => runtime.block_on(check::run(config)),
        Task::CheckDeep { repair } => runtime.block_on(deep::run(config, repair)),
        Task::Restored => runtime
            .block_on(restored::run(config))
            .map(|()| ExitCode::SUCCESS),
        Task::Migrate => runtime
            .block_on(migrate::run(config))
            .map(|()| ExitCode::SUCCESS),
        Task::Token { user } => runtime
            .block_on(token::run(config, user))
            .map(|()| ExitCode::SUCCESS),
        Task::Trace { message } => runtime
            .block_on(trace::run(config, message))
            .map(|()| ExitCode::SUCCESS),
    };
    // What still runs on other threads would end with the process anyway; nothing of it was
    // acknowledged.
    runtime.shutdown_background();
    outcome
}
