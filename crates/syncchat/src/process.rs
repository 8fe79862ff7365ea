//! What this process uses, under the names that Prometheus' client libraries agree on.

use std::fmt::Write as _;

use rustix::time::{ClockId, clock_gettime};

/// `process_cpu_seconds_total` and, where `/proc` says it, `process_resident_memory_bytes`, in
/// Prometheus' text format.
pub fn exposition() -> String {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let mut out = format!(
        "# HELP process_cpu_seconds_total user and system time\n\
         # TYPE process_cpu_seconds_total counter\n\
         process_cpu_seconds_total {}.{:09}\n",
        cpu.tv_sec, cpu.tv_nsec
    );
    if let Some(bytes) = resident_bytes() {
        // Writing to a string does not fail.
        let _ = write!(
            out,
            "# HELP process_resident_memory_bytes resident memory\n\
             # TYPE process_resident_memory_bytes gauge\n\
             process_resident_memory_bytes {bytes}\n"
        );
    }
    out
}

fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_this_process_uses() {
        let text = exposition();
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        assert!(value("process_cpu_seconds_total") > 0.0);
        assert!(value("process_resident_memory_bytes") > 100_000.0);
    }
}
