//! Being told to stop: the first signal drains, the second ends at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code after a second signal, as shells have it for SIGINT.
const EXIT_AT_ONCE: i32 = 130;

/// SIGTERM and SIGINT, caught from now on.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches both. Needs a tokio runtime.
    ///
    /// # Errors
    /// The system does not allow it.
    pub fn catch() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one of them, and says which.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
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
