//! A worker: one thread that holds thousands of sockets, opens them, talks, reads, checks.
//!
//! Everything happens in [`Worker::turn`]: orders, what is due, what epoll reports. Nothing else
//! runs in the process but a thread that reads the coordinator's orders.

mod connection;
mod frames;
mod habits;
mod http;
mod packets;
mod polling;
mod seat;
mod socket;
mod talk;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use fastrand::Rng;
use memchr::memmem::Finder;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event};
use rustix::time::Timespec;
use rustls::pki_types::ServerName;

use crate::Failure;
use crate::address::{Address, Trust};
use crate::clock::{Clock, own_cpu};
use crate::control::{Lines, Order, Plan, RoomPlan, Tick, Verdict, Word, tell};
use crate::mark::Marks;
use crate::measure::Sums;
use crate::scenario::Scenario;
#[cfg(doc)]
use crate::scenario::Timing;

use connection::Server;
use packets::Ways;
use polling::Lane;
use socket::Socket;
use talk::{Room, Sender};

/// Events taken from epoll at once.
const EVENTS_MAX: usize = 1024;
/// Bytes read at once.
const BUFFER_BYTES: usize = 256 << 10;
/// The longest sleep, microseconds: orders are looked at so often.
const SLEEP_MAX: u64 = 10_000;
/// A tick, microseconds.
const SECOND: u64 = 1_000_000;
/// Faults described in words, for each worker.
const EXAMPLES_MAX: usize = 10;

/// How long a coordinator that is not there yet is waited for.
const REACH_MAX: Duration = Duration::from_secs(60);

/// What is due at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The open loop of a sender.
    Send(u32),
    /// One of the events a socket emits.
    Emit(u32, u8),
    /// A socket is cut.
    Cut(u32),
    /// A socket stops reading.
    Stall(u32),
    /// A socket reads again.
    Resume(u32),
    /// A socket comes back.
    Return(u32),
    /// A handshake that began then has taken too long.
    Expire(u32, u32),
    /// The server did not say what was missed over that connection: it is asked again.
    AskAgain(u32, u32),
}

/// How far the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Sockets are opened.
    Opening,
    /// The load begins and ends at these times.
    Talking(u64, u64),
    /// Acknowledgements are waited for, until this time.
    Finishing(u64),
    /// Nobody sends; what the others sent is not known yet.
    Silent,
    /// What is missing is waited for, until this time.
    Draining(u64),
    /// All is said.
    Reported,
}

/// One process's part of a run.
struct Worker {
    clock: Clock,
    rng: Rng,
    epoll: OwnedFd,
    control: TcpStream,
    orders: Receiver<Order>,
    scenario: Scenario,
    ways: Ways,
    marks: Marks,
    seq_key: Finder<'static>,
    servers: Vec<Server>,
    sources: Vec<SocketAddr>,
    sockets: Vec<Socket>,
    senders: Vec<Sender>,
    rooms: Vec<Room>,
    room_plans: Vec<RoomPlan>,
    /// Sockets that wait to be opened.
    to_open: VecDeque<u32>,
    /// Handshakes under way.
    connecting: usize,
    connected: usize,
    /// When the last socket so far was let in.
    last_in: u64,
    /// Connections opened so far: sources are taken in turn.
    opened: usize,
    open_next_at: u64,
    dues: BinaryHeap<Reverse<(u64, Due)>>,
    phase: Phase,
    totals: Vec<crate::control::SenderTotal>,
    verdict: Verdict,
    sums: Sums,
    tick_at: u64,
    ticked_at: u64,
    cpu_at_tick: u64,
    /// With [`Timing::busy_poll`]: [`own_cpu`] when there was nothing to do any more, and how much of
    /// it went into asking since the last tick.
    idle_since: Option<u64>,
    idle_cpu: u64,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
    frame: Vec<u8>,
}

/// Joins the coordinator at this address and does what it says.
///
/// # Errors
/// The coordinator went away, or the plan cannot be followed.
pub(crate) fn join(coordinator: &str) -> Result<(), Failure> {
    let control = reach(coordinator)?;
    control.set_nodelay(true)?;
    tell(
        &control,
        &Word::Hello {
            pid: std::process::id(),
        },
    )?;
    let mut lines = Lines::new(control.try_clone()?);
    let Some(Order::Open(plan)) = lines.next()? else {
        return Ok(());
    };
    let (sender, orders) = channel();
    std::thread::spawn(move || {
        while let Ok(Some(order)) = lines.next() {
            if sender.send(order).is_err() {
                return;
            }
        }
    });
    let failed = control.try_clone()?;
    let mut worker = Worker::new(control, orders, *plan)?;
    worker.run().inspect_err(|error| {
        let _ = tell(&failed, &Word::Failed(error.to_string()));
    })
}

/// Connects to the coordinator, which may be started after this.
fn reach(coordinator: &str) -> Result<TcpStream, Failure> {
    let patience = Instant::now() + REACH_MAX;
    loop {
        match TcpStream::connect(coordinator) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > patience => {
                return Err(format!("{coordinator}: {error}").into());
            }
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// The servers' addresses, and what is needed for TLS with those that speak it.
fn servers(addresses: &[Address], trust: &Trust) -> Result<Vec<Server>, Failure> {
    let secure = addresses.iter().any(|address| address.secure);
    let client = secure.then(|| trust.client()).transpose()?;
    let mut servers = Vec::new();
    for address in addresses {
        let found = address.to_string().to_socket_addrs()?.next();
        let name = ServerName::try_from(address.name().to_owned())?;
        let client = client.clone().filter(|_| address.secure);
        servers.push(Server {
            address: found.ok_or_else(|| format!("{address}: no such host"))?,
            tls: client.map(|client| (client, name)),
        });
    }
    Ok(servers)
}

impl Worker {
    fn new(control: TcpStream, orders: Receiver<Order>, plan: Plan) -> Result<Worker, Failure> {
        let clock = Clock::new();
        let now = clock.now();
        let servers = servers(&plan.addresses, &plan.trust)?;
        let mut sources = Vec::new();
        for source in &plan.sources {
            sources.push(SocketAddr::new(source.parse()?, 0));
        }
        let mut worker = Worker {
            clock,
            rng: Rng::with_seed(plan.scenario.run.seed),
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            control,
            orders,
            ways: Ways::new(&plan.target, &plan.addresses[0]),
            scenario: plan.scenario,
            marks: Marks::new(),
            seq_key: Finder::new(b"\"seq\":"),
            servers,
            sources,
            sockets: Vec::with_capacity(plan.sockets.len()),
            senders: Vec::new(),
            rooms: plan.rooms.iter().map(|_| Room::default()).collect(),
            room_plans: plan.rooms,
            to_open: (0..plan.sockets.len() as u32).collect(),
            connecting: 0,
            connected: 0,
            last_in: now,
            opened: 0,
            open_next_at: now,
            dues: BinaryHeap::new(),
            phase: Phase::Opening,
            totals: Vec::new(),
            verdict: Verdict::default(),
            sums: Sums::default(),
            tick_at: now + SECOND,
            ticked_at: now,
            cpu_at_tick: own_cpu(),
            idle_since: None,
            idle_cpu: 0,
            buffer: vec![0; BUFFER_BYTES],
            scratch: Vec::new(),
            frame: Vec::new(),
        };
        for socket in plan.sockets {
            worker.add(socket);
        }
        Ok(worker)
    }

    fn run(&mut self) -> Result<(), Failure> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        while self.turn(&mut events)? {}
        Ok(())
    }

    /// What epoll calls a socket's connection.
    fn token(socket: usize, lane: Lane) -> u64 {
        (socket as u64) << 1 | u64::from(lane == Lane::Post)
    }

    fn socket_of(token: u64) -> (usize, Lane) {
        let lane = match token & 1 {
            0 => Lane::Main,
            _ => Lane::Post,
        };
        ((token >> 1) as usize, lane)
    }

    /// One turn; whether there is another.
    fn turn(&mut self, events: &mut Vec<Event>) -> Result<bool, Failure> {
        loop {
            match self.orders.try_recv() {
                Ok(Order::End) | Err(TryRecvError::Disconnected) => return Ok(false),
                Ok(order) => self.obey(order),
                Err(TryRecvError::Empty) => break,
            }
        }
        let now = self.clock.now();
        self.open_more(now);
        let next = self.do_what_is_due(now);
        self.change_phase(now)?;
        self.tick(now)?;

        let now = self.clock.now();
        let micros = match self.scenario.run.busy_poll {
            true => 0,
            false => next.min(self.tick_at).saturating_sub(now).min(SLEEP_MAX),
        };
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: (micros * 1000) as _,
        };
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.note_idle(events.is_empty());
        for event in events.iter() {
            let (data, flags) = (event.data, event.flags);
            let (socket, lane) = Worker::socket_of(data.u64());
            self.react(socket, lane, flags);
        }
        Ok(true)
    }

    /// What a generator that never sleeps spends on asking whether there is something to do is not
    /// what the load costs it.
    fn note_idle(&mut self, nothing: bool) {
        if !self.scenario.run.busy_poll {
            return;
        }
        match (nothing, self.idle_since) {
            (true, None) => self.idle_since = Some(own_cpu()),
            (false, Some(since)) => {
                self.idle_cpu += own_cpu() - since;
                self.idle_since = None;
            }
            _ => {}
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Begin(at) => self.begin(at),
            Order::Drop(share) => self.drop_share(share),
            Order::Totals(totals) => {
                self.totals = totals;
                let until = self.clock.now() + crate::clock::micros(self.scenario.run.drain);
                self.phase = Phase::Draining(until);
            }
            // The plan came before; the end is seen by the caller.
            Order::Open(_) | Order::End => {}
        }
    }

    /// Does what is due; when the next thing is.
    fn do_what_is_due(&mut self, now: u64) -> u64 {
        while let Some(Reverse((at, due))) = self.dues.peek().copied() {
            if at > now {
                return at;
            }
            self.dues.pop();
            match due {
                Due::Send(sender) => self.send_on_time(sender, at, now),
                Due::Emit(socket, which) => self.emit(socket, which, at),
                Due::Cut(socket) => self.cut(socket, at),
                Due::Stall(socket) => self.stall(socket, now),
                Due::Resume(socket) => self.resume(socket, now),
                Due::Return(socket) => self.to_open.push_back(socket),
                Due::Expire(socket, attempt) => self.expire(socket, attempt),
                Due::AskAgain(socket, attempt) => self.ask_again(socket, attempt),
            }
        }
        u64::MAX
    }

    fn later(&mut self, at: u64, due: Due) {
        self.dues.push(Reverse((at, due)));
    }

    fn change_phase(&mut self, now: u64) -> Result<(), Failure> {
        match self.phase {
            Phase::Talking(_, ends) if now >= ends => {
                let until = now + crate::clock::micros(self.scenario.run.drain);
                self.phase = Phase::Finishing(until);
            }
            Phase::Finishing(until) if now >= until || self.all_answered() => {
                self.flush_tick(now)?;
                let totals = self.close_books();
                self.phase = Phase::Silent;
                tell(&self.control, &Word::Silent(totals))?;
            }
            Phase::Draining(until) if now >= until || self.all_here() => {
                self.flush_tick(now)?;
                self.judge();
                self.phase = Phase::Reported;
                tell(
                    &self.control,
                    &Word::Result(Box::new(std::mem::take(&mut self.verdict))),
                )?;
            }
            _ => {}
        }
        Ok(())
    }

    fn tick(&mut self, now: u64) -> Result<(), Failure> {
        if now < self.tick_at {
            return Ok(());
        }
        self.tick_at += SECOND * (1 + (now - self.tick_at) / SECOND);
        self.flush_tick(now)
    }

    fn flush_tick(&mut self, now: u64) -> Result<(), Failure> {
        let cpu = own_cpu();
        if let Some(since) = &mut self.idle_since {
            self.idle_cpu += cpu - *since;
            *since = cpu;
        }
        let tick = Tick {
            at: now,
            connected: self.connected,
            last_in: self.last_in,
            cpu_micros: (cpu - self.cpu_at_tick).saturating_sub(self.idle_cpu),
            span_micros: now - self.ticked_at,
            sums: std::mem::take(&mut self.sums),
        };
        (self.cpu_at_tick, self.ticked_at) = (cpu, now);
        self.idle_cpu = 0;
        let word = Word::Tick(Box::new(tick));
        tell(&self.control, &word)?;
        if let Word::Tick(tick) = word {
            self.sums = tick.sums;
            self.sums.reset();
        }
        Ok(())
    }

    /// Describes a fault, if not too many were described already.
    fn example(&mut self, describe: impl FnOnce() -> String) {
        if self.verdict.examples.len() < EXAMPLES_MAX {
            self.verdict.examples.push(describe());
        }
    }
}
