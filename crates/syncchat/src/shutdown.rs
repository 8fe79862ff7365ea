//! Being told to stop: the first signal drains, the second ends at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code after a second signal, as shells have it for SIGINT.
const EXIT_AT_ONCE: i32 = 130;

/// SIGTERM, SIGINT and SIGHUP, caught from now on.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Catches them. Needs a tokio runtime.
    ///
    /// # Errors
    /// The system does not allow it.
    pub fn catch() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one that tells the node to stop, and says which. SIGHUP does not: a terminal that is closed, or a tool
    /// that asks for a new log file, must not end a node without its goodbyes.
    pub async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => tracing::info!("SIGHUP is ignored: settings are read at the start only"),
            }
        }
    }

    /// From now on the next signal ends the process, whatever it is doing.
    pub fn end_at_next(mut self) {
        tokio::spawn(async move {
            let signal = self.next().await;
            tracing::warn!(signal, "second signal, ending at once");
            std::process::exit(EXIT_AT_ONCE);
        });
    }
}
