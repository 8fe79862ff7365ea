//! What is shown while a run goes on: a line each second, on standard error.
#![allow(clippy::print_stderr, reason = "progress belongs there")]

use std::time::Instant;

use crate::outcome::Second;

/// Says why there is no result.
pub(crate) fn complain(error: &crate::Failure) {
    eprintln!("error: {error}");
}

/// Says what happens, or nothing.
pub(crate) struct Progress {
    quiet: bool,
    began: Instant,
}

impl Progress {
    /// Begins.
    pub(crate) fn new(quiet: bool) -> Progress {
        Progress {
            quiet,
            began: Instant::now(),
        }
    }

    /// One line.
    pub(crate) fn say(&self, what: &str) {
        if !self.quiet {
            eprintln!("{:>6.1} s  {what}", self.began.elapsed().as_secs_f64());
        }
    }

    /// What a second brought.
    pub(crate) fn second(&self, second: &Second) {
        let counts = &second.sums.counts;
        let ms = |value: Option<f64>| value.map_or("-".into(), |ms| format!("{ms:.1} ms"));
        self.say(&format!(
            "{:>6} in  {:>6} sent  {:>8} delivered  p99 {:>9}  ack p99 {:>9}  workers {:>3.0} %{}",
            second.connected,
            counts.sent,
            counts.delivered,
            ms(second.sums.delivery.ms(0.99)),
            ms(second.sums.ack.ms(0.99)),
            second.busiest * 100.0,
            second.usage.map_or(String::new(), |usage| format!(
                "  server {:.0} MiB",
                usage.resident as f64 / (1 << 20) as f64
            )),
        ));
    }
}
