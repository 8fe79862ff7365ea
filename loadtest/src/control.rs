//! What the coordinator and its workers tell each other: JSON, a line each, over TCP, so that a
//! worker may be a child on the same host or a process on another.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::TcpStream;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::address::{Address, Trust};
use crate::measure::Sums;
use crate::scenario::{Scenario, Timing};
use crate::target::Target;

/// What a worker is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Where the server is: one or more, taken in turn.
    pub(crate) addresses: Vec<Address>,
    /// Whose word is taken for the servers' certificates.
    pub(crate) trust: Trust,
    /// Addresses to connect from, taken in turn; empty: the system chooses.
    pub(crate) sources: Vec<String>,
    /// How to talk to it.
    pub(crate) target: Target,
    /// The scenario. Its timing holds this worker's share of the rates.
    pub(crate) scenario: Scenario,
    /// This worker's people, one entry for each socket.
    pub(crate) sockets: Vec<SocketPlan>,
    /// All rooms of the run.
    pub(crate) rooms: Vec<RoomPlan>,
}

/// One socket.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SocketPlan {
    /// Whose.
    pub(crate) user: String,
    /// What CONNECT says.
    pub(crate) token: String,
    /// Index of the scenario's group.
    pub(crate) group: usize,
    /// The rooms it is in.
    pub(crate) seats: Vec<SeatPlan>,
}

/// One socket in one room.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SeatPlan {
    /// Index of the room.
    pub(crate) room: u32,
    /// Which of the room's senders it is, if it sends.
    pub(crate) sender: Option<u32>,
}

/// One room.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RoomPlan {
    /// The server's id of it.
    pub(crate) id: String,
    /// How many members send.
    pub(crate) senders: u32,
}

/// From the coordinator.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Open the sockets.
    Open(Box<Plan>),
    /// Begin to talk at this time, microseconds since 1970.
    Begin(u64),
    /// Cut this share of the sockets.
    Drop(f64),
    /// How many messages each sender of each room has sent, over all workers, and which of them
    /// were refused: wait for what is missing, then report.
    Totals(Vec<SenderTotal>),
    /// Close everything and end.
    End,
}

/// What one sender sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SenderTotal {
    /// Index of the room.
    pub(crate) room: u32,
    /// Which of its senders.
    pub(crate) sender: u32,
    /// Messages, numbered from 0.
    pub(crate) sent: u32,
    /// Numbers that were refused, or never answered: nobody has to have them.
    pub(crate) void: Vec<u32>,
}

/// From a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    /// It is there.
    Hello {
        /// Its process.
        pid: u32,
    },
    /// About once a second.
    Tick(Box<Tick>),
    /// Nobody sends any more, and all acknowledgements have come or were given up.
    Silent(Vec<SenderTotal>),
    /// What is missing.
    Result(Box<Verdict>),
    /// It cannot go on.
    Failed(String),
}

/// A second of a worker.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tick {
    /// When the second ended, microseconds since 1970.
    pub(crate) at: u64,
    /// Sockets that are in.
    pub(crate) connected: usize,
    /// When the last socket so far was let in.
    pub(crate) last_in: u64,
    /// Its own CPU since the last tick, microseconds.
    pub(crate) cpu_micros: u64,
    /// Length of the second, microseconds.
    pub(crate) span_micros: u64,
    /// What happened in it.
    pub(crate) sums: Sums,
}

/// What a worker found at the end.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// Deliveries that had to come and did not.
    pub(crate) lost: u64,
    /// Messages never answered.
    pub(crate) unanswered: u64,
    /// The first few things that were wrong, in words.
    pub(crate) examples: Vec<String>,
}

/// Divides what is meant for all workers.
pub(crate) fn share(timing: &Timing, workers: usize, index: usize) -> Timing {
    Timing {
        connect_per_second: timing.connect_per_second / workers as f64,
        connecting_max: (timing.connecting_max / workers).max(1),
        seed: timing
            .seed
            .wrapping_mul(1_000_003)
            .wrapping_add(index as u64),
        ..timing.clone()
    }
}

/// Reads lines.
pub(crate) struct Lines<T> {
    reader: BufReader<TcpStream>,
    line: String,
    kind: std::marker::PhantomData<T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// Lines of this stream.
    pub(crate) fn new(stream: TcpStream) -> Lines<T> {
        Lines {
            reader: BufReader::new(stream),
            line: String::new(),
            kind: std::marker::PhantomData,
        }
    }

    /// The next; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<T>, Failure> {
        self.line.clear();
        if self.reader.read_line(&mut self.line)? == 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&self.line)?))
    }
}

/// Writes one line.
pub(crate) fn tell<T: Serialize>(stream: &TcpStream, what: &T) -> Result<(), Failure> {
    let mut writer = BufWriter::new(stream);
    serde_json::to_writer(&mut writer, what)?;
    writer.write_all(b"\n")?;
    Ok(writer.flush()?)
}
