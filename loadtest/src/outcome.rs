//! What a run found: everything that the JSON and the report show, and what the limits judge.

use serde::Serialize;

use crate::control::Tick;
use crate::measure::{Latency, Sums};
use crate::scenario::Scenario;
use crate::slope::Slope;
use crate::usage::{Usage, sum};
use crate::verdict::{Judged, judge};

/// A worker that is busier than this is not to be trusted.
pub(crate) const BUSY_MAX: f64 = 0.85;
/// Messages that were sent later than this, 99 of 100, milliseconds, neither.
pub(crate) const LATE_MAX_MS: f64 = 5.0;

/// One second of all workers.
pub(crate) struct Second {
    /// When it ended, microseconds since 1970.
    pub(crate) at: u64,
    /// Sockets that are in.
    pub(crate) connected: usize,
    /// What happened.
    pub(crate) sums: Sums,
    /// The busiest worker's share of a core.
    pub(crate) busiest: f64,
    /// What the server had used at its end.
    pub(crate) usage: Option<Usage>,
}

impl Second {
    /// An empty one.
    pub(crate) fn new(at: u64, usage: Option<Usage>) -> Second {
        Second {
            at,
            connected: 0,
            sums: Sums::default(),
            busiest: 0.0,
            usage,
        }
    }

    /// Adds one worker's.
    pub(crate) fn add(&mut self, tick: &Tick, connected: usize) {
        self.connected = connected;
        self.sums.merge(&tick.sums);
        // The rest of a second says little about how busy a worker is.
        if tick.span_micros > 100_000 {
            let busy = tick.cpu_micros as f64 / tick.span_micros as f64;
            self.busiest = self.busiest.max(busy);
        }
    }
}

/// What the server had used, at the turns of the run.
#[derive(Default)]
pub(crate) struct Turns {
    /// Before the first socket.
    pub(crate) before: Option<Usage>,
    /// When all sockets were in.
    pub(crate) opened: Option<Usage>,
    /// After a moment of quiet.
    pub(crate) settled: Option<Usage>,
    /// When what counts began, node by node.
    pub(crate) window_began: Vec<Option<Usage>>,
    /// When it ended.
    pub(crate) window_ended: Vec<Option<Usage>>,
    /// At the very end.
    pub(crate) end: Option<Usage>,
}

/// Percentiles, milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Percentiles {
    /// How many values there are.
    pub(crate) count: u64,
    /// Half of them took no longer.
    pub(crate) p50: Option<f64>,
    /// 90 of 100.
    pub(crate) p90: Option<f64>,
    /// 99 of 100.
    pub(crate) p99: Option<f64>,
    /// 999 of 1,000.
    pub(crate) p999: Option<f64>,
    /// The longest.
    pub(crate) max: Option<f64>,
}

impl Percentiles {
    fn of(latency: &Latency) -> Percentiles {
        Percentiles {
            count: latency.count(),
            p50: latency.ms(0.5),
            p90: latency.ms(0.9),
            p99: latency.ms(0.99),
            p999: latency.ms(0.999),
            max: latency.max_ms(),
        }
    }
}

/// Figures of the whole run. `None` where there is nothing to divide by, or no server to look at.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    /// Messages acknowledged a second.
    pub(crate) messages_per_second: f64,
    /// Deliveries a second.
    pub(crate) deliveries_per_second: f64,
    /// Deliveries that one read of a socket brought.
    pub(crate) deliveries_per_read: Option<f64>,
    /// Sockets let in a second while they were opened.
    pub(crate) connects_per_second: f64,
    /// Server's CPU for each delivery, microseconds.
    pub(crate) cpu_us_per_delivery: Option<f64>,
    /// Server's CPU for each acknowledged message.
    pub(crate) cpu_us_per_message: Option<f64>,
    /// Server's CPU to let one socket in.
    pub(crate) cpu_us_per_connect: Option<f64>,
    /// Server's CPU for each socket and second of the load.
    pub(crate) cpu_us_per_socket_second: Option<f64>,
    /// Server's share of one core during the load.
    pub(crate) server_cores: Option<f64>,
    /// Server's resident memory for each socket, when all were in and at the end of the load, KiB.
    pub(crate) kib_per_socket_opened: Option<f64>,
    /// At the end of the load.
    pub(crate) kib_per_socket: Option<f64>,
    /// Growth of its resident memory during the load, KiB a minute.
    pub(crate) memory_slope: Option<Slope>,
    /// Server's resident memory at the end of the load, MiB.
    pub(crate) server_mib: Option<f64>,
    /// The busiest worker's share of a core, at its busiest second.
    pub(crate) worker_busiest: f64,
}

/// What one node of several did while the load was on.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeFigures {
    /// Where it was reached.
    pub(crate) address: String,
    /// Deliveries it made.
    pub(crate) deliveries: u64,
    /// Its CPU for each of them, microseconds.
    pub(crate) cpu_us_per_delivery: Option<f64>,
    /// Its CPU for each message of the whole run, whoever it was for.
    pub(crate) cpu_us_per_message: Option<f64>,
    /// Its share of one core.
    pub(crate) cores: Option<f64>,
    /// Its resident memory at the end, MiB.
    pub(crate) mib: Option<f64>,
}

/// All that is known of a run.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    /// What was to be done.
    pub(crate) scenario: Scenario,
    /// Whom it was done to.
    pub(crate) target: String,
    /// Processes.
    pub(crate) workers: usize,
    /// Where the servers were, as the run was told.
    pub(crate) addresses: Vec<String>,
    /// Sockets.
    pub(crate) sockets: usize,
    /// To make people and rooms.
    pub(crate) setup_seconds: f64,
    /// To open the sockets.
    pub(crate) opening_seconds: f64,
    /// Deliveries that had to come and did not.
    pub(crate) lost: u64,
    /// Messages without an answer.
    pub(crate) unanswered: u64,
    /// Counts of the whole run.
    pub(crate) counts: crate::measure::Counts,
    /// Figures.
    pub(crate) figures: Figures,
    /// The same for each server, where there are several.
    pub(crate) nodes: Vec<NodeFigures>,
    /// Due to arrival.
    pub(crate) delivery_ms: Percentiles,
    /// Due to acknowledgement.
    pub(crate) ack_ms: Percentiles,
    /// SYN to being let in.
    pub(crate) connect_ms: Percentiles,
    /// SYN of a reconnect to having everything.
    pub(crate) replay_ms: Percentiles,
    /// How late the generator itself was.
    pub(crate) late_ms: Percentiles,
    /// What was judged, and how.
    pub(crate) limits: Vec<Judged>,
    /// Whether all limits were kept.
    pub(crate) passed: bool,
    /// Why the figures may not be the server's.
    pub(crate) warnings: Vec<String>,
    /// Faults in words.
    pub(crate) examples: Vec<String>,
    #[serde(skip)]
    pub(crate) usage: Turns,
    /// The latencies themselves.
    #[serde(skip)]
    pub(crate) total: Sums,
    /// Each second.
    #[serde(skip)]
    pub(crate) seconds: Vec<Second>,
    /// When the load began, microseconds since 1970.
    #[serde(skip)]
    pub(crate) began: u64,
}

impl Outcome {
    /// Of a run that is about to be made.
    pub(crate) fn new(scenario: &Scenario, target: &str, workers: usize) -> Outcome {
        Outcome {
            scenario: scenario.clone(),
            target: target.to_owned(),
            workers,
            sockets: 0,
            setup_seconds: 0.0,
            opening_seconds: 0.0,
            lost: 0,
            unanswered: 0,
            counts: Default::default(),
            addresses: Vec::new(),
            figures: Figures::default(),
            nodes: Vec::new(),
            delivery_ms: Percentiles::default(),
            ack_ms: Percentiles::default(),
            connect_ms: Percentiles::default(),
            replay_ms: Percentiles::default(),
            late_ms: Percentiles::default(),
            limits: Vec::new(),
            passed: false,
            warnings: Vec::new(),
            examples: Vec::new(),
            usage: Turns::default(),
            total: Sums::default(),
            seconds: Vec::new(),
            began: 0,
        }
    }

    /// Works out everything from the seconds.
    pub(crate) fn finish(&mut self, mut seconds: Vec<Second>, began: u64) {
        seconds.sort_by_key(|second| second.at);
        let counts_from = began + self.scenario.run.warm_up * 1_000_000;
        let ends = counts_from + self.scenario.run.seconds * 1_000_000;
        // A tick that says it ended just after a boundary belongs to the second before it.
        let begins_after = |second: &Second, at: u64| second.at > at + 500_000;
        let mut window = Sums::default();
        for second in &seconds {
            self.counts.merge(&second.sums.counts);
            // What arrives after the end was due before it: leaving it out would flatter.
            if begins_after(second, counts_from) {
                self.total.merge(&second.sums);
                if !begins_after(second, ends) {
                    window.merge(&second.sums);
                }
            }
            self.total
                .connect
                .merge(&match begins_after(second, counts_from) {
                    true => Latency::default(),
                    false => second.sums.connect.clone(),
                });
        }
        (self.seconds, self.began) = (seconds, began);
        self.figure(&window);
        self.delivery_ms = Percentiles::of(&self.total.delivery);
        self.ack_ms = Percentiles::of(&self.total.ack);
        self.connect_ms = Percentiles::of(&self.total.connect);
        self.replay_ms = Percentiles::of(&self.total.replay);
        self.late_ms = Percentiles::of(&self.total.late);
        self.warn();
        self.limits = judge(self);
        self.passed = self.limits.iter().all(|limit| limit.kept);
    }

    fn figure(&mut self, window: &Sums) {
        let counts = window.counts;
        let span = self.scenario.run.seconds as f64;
        let rate = |count: u64| if span > 0.0 { count as f64 / span } else { 0.0 };
        let per = |value: Option<f64>, count: u64| {
            value
                .filter(|_| count > 0)
                .map(|value| value / count as f64)
        };
        let cpu =
            |from: Option<Usage>, to: Option<Usage>| Some(to?.cpu.saturating_sub(from?.cpu) as f64);
        let usage = &self.usage;
        let ended = sum(&usage.window_ended);
        let spent = cpu(sum(&usage.window_began), ended);
        let grown = |to: Option<Usage>| {
            let bytes = to?.resident.saturating_sub(usage.before?.resident);
            Some(bytes as f64 / 1024.0)
        };
        let sockets = self.sockets as u64;
        let in_load = self.seconds.iter().filter(|second| second.at > self.began);
        self.figures = Figures {
            messages_per_second: rate(counts.acked),
            deliveries_per_second: rate(counts.delivered),
            deliveries_per_read: per(Some(counts.delivered as f64), counts.reads),
            connects_per_second: sockets as f64 / self.opening_seconds.max(1e-3),
            cpu_us_per_delivery: per(spent, counts.delivered),
            cpu_us_per_message: per(spent, counts.acked),
            cpu_us_per_connect: per(cpu(usage.before, usage.opened), sockets),
            cpu_us_per_socket_second: per(spent, sockets * self.scenario.run.seconds),
            server_cores: spent.filter(|_| span > 0.0).map(|spent| spent / 1e6 / span),
            kib_per_socket_opened: per(grown(usage.opened), sockets),
            kib_per_socket: per(grown(ended), sockets),
            memory_slope: self.memory_slope(),
            server_mib: ended.map(mib),
            worker_busiest: in_load.map(|second| second.busiest).fold(0.0, f64::max),
        };
        self.nodes = self.by_node(window);
    }

    /// Figures of each server, if there are several and the usage of each is known.
    fn by_node(&self, window: &Sums) -> Vec<NodeFigures> {
        let (began, ended) = (&self.usage.window_began, &self.usage.window_ended);
        if self.addresses.len() < 2 || self.addresses.len() != ended.len() {
            return Vec::new();
        }
        let seconds = self.scenario.run.seconds as f64;
        let usage = began.iter().zip(ended);
        let nodes = self.addresses.iter().zip(usage).enumerate();
        let figures = nodes.map(|(node, (address, (began, ended)))| {
            let spent = ended
                .zip(*began)
                .map(|(ended, began)| ended.cpu.saturating_sub(began.cpu) as f64);
            let per = |count: u64| {
                spent
                    .filter(|_| count > 0)
                    .map(|spent| spent / count as f64)
            };
            let deliveries = window.delivered_by.get(node).copied().unwrap_or(0);
            NodeFigures {
                address: address.clone(),
                deliveries,
                cpu_us_per_delivery: per(deliveries),
                cpu_us_per_message: per(window.counts.acked),
                cores: spent
                    .filter(|_| seconds > 0.0)
                    .map(|spent| spent / 1e6 / seconds),
                mib: ended.map(mib),
            }
        });
        figures.collect()
    }

    /// Slope of resident memory over the load, KiB a minute.
    fn memory_slope(&self) -> Option<Slope> {
        let from = self.began + self.scenario.run.warm_up * 1_000_000;
        let to = from + self.scenario.run.seconds * 1_000_000 + 500_000;
        let inside = self
            .seconds
            .iter()
            .filter(|second| (from..to).contains(&second.at));
        let points: Vec<(f64, f64)> = inside
            .filter_map(|second| {
                let minutes = (second.at - from) as f64 / 60e6;
                Some((minutes, second.usage?.resident as f64 / 1024.0))
            })
            .collect();
        Slope::of(&points)
    }

    fn warn(&mut self) {
        let busy = self.figures.worker_busiest;
        if busy > BUSY_MAX {
            self.warnings.push(format!(
                "a worker used {:.0} % of a core: rates are lower bounds, latencies upper bounds; \
                 use more --processes, on cores that the server does not use",
                busy * 100.0
            ));
        }
        if let Some(late) = self.late_ms.p99.filter(|late| *late > LATE_MAX_MS) {
            self.warnings.push(format!(
                "1 of 100 messages was sent {late:.1} ms late or more: the generator was held up"
            ));
        }
        let closed = self
            .scenario
            .groups
            .iter()
            .filter_map(|group| group.talk.as_ref());
        if closed.clone().any(|talk| talk.in_flight.is_some()) {
            self.warnings.push(
                "closed loop: senders wait for the server, so its latencies are flattered; \
                 they are no answer to how long a message takes"
                    .into(),
            );
        }
    }
}

fn mib(usage: Usage) -> f64 {
    usage.resident as f64 / f64::from(1 << 20)
}
