//! What the server uses: CPU and memory, from /proc on this host, else from its /metrics.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::Failure;

/// How long a look at the metrics may take. Longer: there is no value for that second.
const METRICS_MAX: Duration = Duration::from_secs(2);

/// What processes have used since they began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Resident memory, bytes.
    pub(crate) resident: u64,
    /// User and system time, microseconds.
    pub(crate) cpu: u64,
}

/// Where the usage of one node is read.
#[derive(Clone, Debug)]
pub(crate) enum Probe {
    /// A process of this host.
    Process(u32),
    /// Prometheus metrics, `process_cpu_seconds_total` and `process_resident_memory_bytes`.
    Metrics(String),
}

impl Probe {
    /// Now; `None` if it has ended or does not answer.
    pub(crate) fn read(&self) -> Option<Usage> {
        match self {
            Probe::Process(pid) => of_process(*pid),
            Probe::Metrics(url) => of_metrics(url).ok(),
        }
    }
}

/// What all nodes together have used. One that has ended counts nothing.
pub(crate) fn sum(nodes: &[Option<Usage>]) -> Option<Usage> {
    let add = |a: Usage, b: Usage| Usage {
        resident: a.resident + b.resident,
        cpu: a.cpu + b.cpu,
    };
    nodes.iter().flatten().copied().reduce(add)
}

fn of_process(pid: u32) -> Option<Usage> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may hold blanks; the fields after its closing bracket do not.
    let fields: Vec<&str> = stat.rsplit(") ").next()?.split(' ').collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    Some(Usage {
        resident: pages * rustix::param::page_size() as u64,
        cpu: ticks * 1_000_000 / ticks_per_second,
    })
}

fn of_metrics(url: &str) -> Result<Usage, Failure> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(METRICS_MAX))
        .build()
        .into();
    let text = agent.get(url).call()?.body_mut().read_to_string()?;
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        value.ok_or_else(|| format!("{url} has no {name}"))
    };
    Ok(Usage {
        resident: value("process_resident_memory_bytes")? as u64,
        cpu: (value("process_cpu_seconds_total")? * 1e6) as u64,
    })
}

/// The process of this host that listens on a TCP port, if it can be seen.
pub(crate) fn listener(port: u16) -> Option<u32> {
    let wanted = format!(":{port:04X}");
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .find_map(|table| {
            let table = fs::read_to_string(table).ok()?;
            table.lines().find_map(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let listens = fields.get(3) == Some(&"0A") && fields.get(1)?.ends_with(&wanted);
                listens.then(|| fields.get(9).map(|inode| inode.to_string()))?
            })
        })?;
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            return false;
        };
        files
            .flatten()
            .any(|file| fs::read_link(file.path()).is_ok_and(|to| to == Path::new(&socket)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_itself_listening_and_what_it_uses() {
        let listener_socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener_socket.local_addr().unwrap().port();
        let pid = std::process::id();
        assert_eq!(listener(port), Some(pid));
        let usage = Probe::Process(pid).read().unwrap();
        assert!(usage.resident > 100_000);
        let both = sum(&[Some(usage), None, Some(usage)]).unwrap();
        assert_eq!(both.resident, 2 * usage.resident);
        assert!(sum(&[None]).is_none());
    }
}
