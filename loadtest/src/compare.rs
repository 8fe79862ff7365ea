//! The same scenarios against several servers, in turn, round after round: medians, and ratios of
//! runs that were made next to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::address::Trust;
use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::run::{Settings, run};
use crate::scenario::Scenario;
use crate::target::Target;
use crate::usage::Probe;

/// How long a server may take to listen.
const START_MAX: Duration = Duration::from_secs(60);

/// What is compared.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Comparison {
    /// For the table's heading.
    name: String,
    /// CPUs of the servers, for taskset.
    server_cpus: String,
    /// CPUs of the load.
    worker_cpus: String,
    /// Figures that are shown, by their names in a run's JSON.
    figures: Vec<String>,
    /// Scenario files, next to this file or below.
    scenarios: Vec<PathBuf>,
    /// Servers. The first is what the others are compared with.
    #[serde(rename = "server")]
    servers: Vec<ServerPlan>,
    /// What all servers need, MongoDB for one: started once, not measured, not bound to a CPU.
    #[serde(default, rename = "service")]
    services: Vec<ServicePlan>,
}

/// One server.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerPlan {
    name: String,
    /// A shell command; `{port}` is where it shall listen, `{dir}` an empty folder, `{NAME}` the
    /// port of a service.
    command: String,
    /// How to talk to it; SyncChat if absent.
    target: Option<PathBuf>,
}

/// Something that servers need.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServicePlan {
    name: String,
    /// A shell command; `{port}` and `{dir}` as for servers.
    command: String,
    /// Started by this once it listens.
    #[serde(default)]
    then: String,
}

/// What one run of one server gave.
#[derive(Debug, Serialize)]
struct Sample {
    scenario: String,
    server: String,
    round: usize,
    values: BTreeMap<String, f64>,
}

impl Comparison {
    /// Reads a comparison; servers of one name would be taken for the same.
    fn parse(text: &str) -> Result<Comparison, Failure> {
        let plan: Comparison = toml::from_str(text)?;
        let mut names = BTreeSet::new();
        match plan
            .servers
            .iter()
            .find(|server| !names.insert(&server.name))
        {
            Some(twice) => Err(format!("two servers are called {:?}", twice.name).into()),
            None => Ok(plan),
        }
    }
}

/// A process that was started here, with its children; it does not outlive this.
struct Running {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts a command and waits until it listens. `exec` makes it the process that is measured.
    fn start(
        command: &str,
        cpus: Option<&str>,
        ports: &[(String, u16)],
    ) -> Result<Running, Failure> {
        let dir = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = command
            .replace("{port}", &port.to_string())
            .replace("{dir}", &dir.path().display().to_string());
        for (name, port) in ports {
            command = command.replace(&format!("{{{name}}}"), &port.to_string());
        }
        let bound = cpus.map_or(String::new(), |cpus| format!("taskset -c {cpus} "));
        let child = Command::new("sh")
            .arg("-c")
            .arg(format!("exec {bound}{command}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let mut running = Running {
            child,
            port,
            _dir: dir,
        };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = running.child.try_wait()? {
                return Err(format!("{command}: {status}").into());
            }
            if began.elapsed() > START_MAX {
                return Err(format!("{command}: does not listen").into());
            }
            sleep(Duration::from_millis(50));
        }
        // What a server does just after it begins to listen is not the load's fault.
        sleep(Duration::from_millis(500));
        Ok(running)
    }
}

/// Makes all runs; the table, in Markdown. `only` names one scenario, by its file's name.
///
/// # Errors
/// A file cannot be read, a server not started, a run not made, or messages were lost.
pub(crate) fn compare(
    file: &Path,
    rounds: usize,
    only: Option<&str>,
    json: Option<&Path>,
) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let plan = Comparison::parse(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let progress = Progress::new(false);
    let mut services = Vec::new();
    let mut ports = Vec::new();
    for service in &plan.services {
        let running = Running::start(&service.command, None, &[])?;
        let then = service.then.replace("{port}", &running.port.to_string());
        if !then.is_empty() && !Command::new("sh").arg("-c").arg(&then).status()?.success() {
            return Err(format!("{then} failed").into());
        }
        ports.push((service.name.clone(), running.port));
        services.push(running);
    }
    let chosen =
        |path: &&PathBuf| only.is_none_or(|only| path.file_stem().is_some_and(|s| s == only));
    let mut samples = Vec::new();
    for path in plan.scenarios.iter().filter(chosen) {
        let scenario = Scenario::read(&folder.join(path))?;
        for round in 0..rounds {
            for turn in 0..plan.servers.len() {
                // Each round begins with another server: what a machine does in between hits all.
                let server = &plan.servers[(turn + round) % plan.servers.len()];
                let outcome = one(&plan, server, &scenario, folder, &ports)
                    .map_err(|error| format!("{}: {error}", server.name))?;
                let values = values(&outcome)?;
                let shown = plan.figures.iter().map(|name| {
                    format!(
                        "{name} {:.2}",
                        values.get(name).copied().unwrap_or(f64::NAN)
                    )
                });
                let shown = shown.collect::<Vec<_>>().join("  ");
                progress.say(&format!(
                    "{} {round} {}: {shown}",
                    scenario.name, server.name
                ));
                samples.push(Sample {
                    scenario: scenario.name.clone(),
                    server: server.name.clone(),
                    round,
                    values,
                });
            }
        }
    }
    if let Some(path) = json {
        std::fs::write(path, serde_json::to_string_pretty(&samples)? + "\n")?;
    }
    Ok(table(&plan, &samples))
}

fn one(
    plan: &Comparison,
    server: &ServerPlan,
    scenario: &Scenario,
    folder: &Path,
    ports: &[(String, u16)],
) -> Result<Outcome, Failure> {
    let running = Running::start(&server.command, Some(&plan.server_cpus), ports)?;
    let target = server.target.as_ref().map(|target| folder.join(target));
    let settings = Settings {
        addresses: vec![format!("http://127.0.0.1:{}", running.port).parse()?],
        trust: Trust::default(),
        target: Target::read(target.as_deref())?,
        processes: 1,
        joining: None,
        sources: Vec::new(),
        probes: vec![Probe::Process(running.child.id())],
        cpus: Some(plan.worker_cpus.clone()),
        quiet: true,
    };
    run(scenario, &settings)
}

/// All numbers of a run, by name: those in `figures` and `counts` by their own, percentiles as
/// `deliveryMs.p99`.
fn values(outcome: &Outcome) -> Result<BTreeMap<String, f64>, Failure> {
    let json = serde_json::to_value(outcome)?;
    let mut values = BTreeMap::new();
    for (group, content) in json.as_object().into_iter().flatten() {
        if let Some(value) = content.as_f64() {
            values.insert(group.clone(), value);
        }
        for (name, value) in content.as_object().into_iter().flatten() {
            let name = match group.as_str() {
                "figures" | "counts" => name.clone(),
                _ => format!("{group}.{name}"),
            };
            if let Some(value) = value.as_f64() {
                values.insert(name, value);
            }
        }
    }
    Ok(values)
}

/// The middle one, or the mean of both.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

fn table(plan: &Comparison, samples: &[Sample]) -> String {
    let mut out = format!("### {}\n", plan.name);
    let mut scenarios: Vec<&str> = samples.iter().map(|sample| &*sample.scenario).collect();
    scenarios.dedup();
    for scenario in scenarios {
        let of = |server: &str, figure: &str| -> Vec<f64> {
            let mine = samples
                .iter()
                .filter(|s| s.scenario == scenario && s.server == server);
            mine.filter_map(|sample| sample.values.get(figure).copied())
                .collect()
        };
        let first = &plan.servers[0].name;
        let _ = write!(
            out,
            "\n**{scenario}**\n\n| | {} | {first} ÷ this, {}: min – median – max |\n",
            plan.figures.join(" | "),
            plan.figures[0]
        );
        let _ = writeln!(out, "| --- {}|", "| --- ".repeat(plan.figures.len() + 1));
        for server in &plan.servers {
            let cells = plan.figures.iter().map(|figure| {
                let value = median(of(&server.name, figure));
                value.map_or("–".to_owned(), number)
            });
            let cells = cells.collect::<Vec<_>>().join(" | ");
            let (ours, theirs) = (
                of(first, &plan.figures[0]),
                of(&server.name, &plan.figures[0]),
            );
            let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| a / b).collect();
            let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            let high = ratios.iter().copied().fold(0.0, f64::max);
            let middle = median(ratios).unwrap_or(f64::NAN);
            let _ = writeln!(
                out,
                "| {} | {cells} | {low:.2} – {middle:.2} – {high:.2} |",
                server.name
            );
        }
    }
    out
}

/// A number as people write it.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 1_000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn all_that_come_with_it_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("compare");
        for file in std::fs::read_dir(&folder).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let plan = Comparison::parse(&text).unwrap();
            for scenario in &plan.scenarios {
                Scenario::read(&folder.join(scenario)).unwrap();
            }
            for target in plan
                .servers
                .iter()
                .filter_map(|server| server.target.as_ref())
            {
                Target::read(Some(&folder.join(target))).unwrap();
            }
        }
    }
}
