//! Persisted chat in a closed loop: each sender has a few messages in flight and sends the next
//! when one is acknowledged.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use serde::Deserialize;
use tokio::task::LocalSet;

use crate::Failure;
use crate::client::Client;
use crate::server::{Server, ServerOptions};
use crate::setup::Rest;

/// People who talk.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    server: ServerOptions,
    /// How many send.
    #[arg(long, default_value_t = 100)]
    senders: usize,
    /// Over how many conversations they are spread evenly.
    #[arg(long, default_value_t = 20)]
    conversations: usize,
    /// Messages each sender has in flight.
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    /// Bytes of each text.
    #[arg(long, default_value_t = 128)]
    bytes: usize,
    /// Seconds that count, after two that do not.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

const WARM_UP: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_secs(15);

/// What all sockets of the run share.
struct Run {
    began: Instant,
    counts_from: Instant,
    ends: Instant,
    ack_micros: RefCell<Histogram<u64>>,
    acked: RefCell<u64>,
    received: RefCell<u64>,
    faults: RefCell<Vec<String>>,
}

/// As much of an event or an ack as is checked.
#[derive(Deserialize)]
struct Received {
    seq: u64,
}

#[derive(Deserialize)]
struct Ack {
    ok: bool,
    message: Option<Received>,
}

/// Runs the scenario and prints one JSON line; fails if anything was lost, doubled or misplaced.
pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let server = Server::start(&options.server).await?;
    let rest = Rest::new(&server.address);
    let people = rest.people(options.senders)?;
    let per_room = options.senders.div_ceil(options.conversations);
    let mut places = Vec::new();
    for group in people.chunks(per_room) {
        let room = rest.group(group)?;
        for person in group {
            let client = Client::connect(&server.address, &person.token).await?;
            places.push((room.clone(), client));
        }
    }
    let began = Instant::now();
    let counts_from = began + WARM_UP;
    let state = Rc::new(Run {
        began,
        counts_from,
        ends: counts_from + Duration::from_secs(options.seconds),
        ack_micros: RefCell::new(Histogram::new(3)?),
        acked: RefCell::default(),
        received: RefCell::default(),
        faults: RefCell::default(),
    });
    let content = "x".repeat(options.bytes);
    let before = server.usage()?;
    let local = LocalSet::new();
    let mut talkers = Vec::new();
    for (room, client) in places {
        let sender = Sender {
            packet: serde_json::json!({ "conversationId": room, "content": content }).to_string(),
            client,
            in_flight: options.in_flight,
            run: state.clone(),
        };
        talkers.push((room, local.spawn_local(sender.talk())));
    }
    let heads = local
        .run_until(async {
            let mut heads: HashMap<String, Vec<u64>> = HashMap::new();
            for (room, talker) in talkers {
                heads.entry(room).or_default().push(talker.await??);
            }
            Ok::<_, Failure>(heads)
        })
        .await?;
    let after = server.usage()?;

    for (room, lasts) in &heads {
        if lasts.iter().any(|last| *last != lasts[0]) {
            state
                .faults
                .borrow_mut()
                .push(format!("{room}: members end at {lasts:?}"));
        }
    }
    server.stop().await?;
    let acked = *state.acked.borrow();
    let histogram = state.ack_micros.borrow();
    let percentile = |p| histogram.value_at_quantile(p) as f64 / 1000.0;
    let total = histogram.len().max(1);
    println!(
        "{}",
        serde_json::json!({
            "scenario": "chat",
            "senders": options.senders,
            "conversations": options.conversations,
            "inFlight": options.in_flight,
            "messagesPerSecond": total as f64 / options.seconds as f64,
            "ackMs": {
                "p50": percentile(0.5), "p99": percentile(0.99), "p999": percentile(0.999),
                "max": histogram.max() as f64 / 1000.0,
            },
            "acknowledged": acked,
            "received": *state.received.borrow(),
            "cpuMicrosPerMessage": (after.cpu - before.cpu).as_secs_f64() * 1e6 / acked.max(1) as f64,
            "faults": state.faults.borrow().len(),
        })
    );
    match state.faults.borrow().first() {
        Some(fault) => Err(format!("first fault: {fault}").into()),
        None => Ok(()),
    }
}

/// One person: sends, and checks what comes.
struct Sender {
    client: Client,
    packet: String,
    in_flight: usize,
    run: Rc<Run>,
}

impl Sender {
    /// Talks until the end of the run, then listens until everything has come; the newest `seq`
    /// seen, sent or received.
    async fn talk(mut self) -> Result<u64, Failure> {
        let mut waiting: HashMap<u64, Instant> = HashMap::new();
        // Own messages come as acks and others' as events: together they are the whole log.
        let mut seen = Seen::default();
        let mut id = 0;
        loop {
            let now = Instant::now();
            while now < self.run.ends && waiting.len() < self.in_flight {
                waiting.insert(id, Instant::now());
                self.client
                    .send(format!("42{id}[\"send_msg\",{}]", self.packet))
                    .await?;
                id += 1;
            }
            let quiet = if waiting.is_empty() {
                Duration::from_secs(2)
            } else {
                GRACE
            };
            let packet = match tokio::time::timeout(quiet, self.client.next()).await {
                Ok(packet) => packet?,
                Err(_) if waiting.is_empty() => break,
                Err(_) => return Err("no acknowledgement within 15 s".into()),
            };
            if let Some(rest) = packet.strip_prefix(r#"42["receive_msg","#) {
                let message: Received = serde_json::from_str(rest.trim_end_matches(']'))?;
                *self.run.received.borrow_mut() += 1;
                seen.event(message.seq, &self.run);
            } else if let Some(rest) = packet.strip_prefix("43") {
                let bracket = rest.find('[').ok_or("an ack without arguments")?;
                let ack: [Ack; 1] = serde_json::from_str(&rest[bracket..])?;
                let sent = waiting
                    .remove(&rest[..bracket].parse()?)
                    .ok_or("an ack twice")?;
                let message = ack[0].message.as_ref().filter(|_| ack[0].ok);
                let Some(message) = message else {
                    return Err(format!("refused: {packet}").into());
                };
                seen.own(message.seq);
                *self.run.acked.borrow_mut() += 1;
                if sent >= self.run.counts_from && Instant::now() <= self.run.ends {
                    self.run
                        .ack_micros
                        .borrow_mut()
                        .record(sent.elapsed().as_micros() as u64)?;
                }
            }
        }
        seen.finish(&self.run);
        Ok(seen.newest)
    }
}

/// Which `seq` have come.
#[derive(Default)]
struct Seen {
    newest: u64,
    last_event: u64,
    count: u64,
}

impl Seen {
    fn event(&mut self, seq: u64, run: &Run) {
        if seq <= self.last_event {
            let fault = format!(
                "{seq} after {} at {:?}",
                self.last_event,
                run.began.elapsed()
            );
            run.faults.borrow_mut().push(fault);
        }
        self.last_event = seq;
        self.own(seq);
    }

    fn own(&mut self, seq: u64) {
        self.newest = self.newest.max(seq);
        self.count += 1;
    }

    fn finish(&self, run: &Run) {
        if self.count != self.newest {
            let fault = format!("{} of {} messages came", self.count, self.newest);
            run.faults.borrow_mut().push(fault);
        }
    }
}
