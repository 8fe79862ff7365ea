//! One socket's life: opened, upgraded, let in, closed, back again.

use std::collections::VecDeque;
use std::net::SocketAddr;

use rustix::event::epoll::EventFlags;

use super::connection::{Connection, Gone, Got};
use super::frames::{self, Kind};
use super::polling::{Lane, Polling};
use super::seat::Seat;
use super::talk::{Sender, Waiting};
use super::{Due, Phase, Worker};
use crate::clock::micros;
use crate::control::SocketPlan;

/// Seconds that a handshake may take.
const HANDSHAKE_MAX: f64 = 30.0;
/// Bytes of an HTTP answer.
const HEAD_MAX: usize = 16 << 10;

/// Where a socket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No connection.
    Away,
    /// TCP.
    Connecting,
    /// The upgrade was asked for.
    Upgrading,
    /// Socket.IO's CONNECT, the event that lets it in, and its rooms.
    Entering,
    /// Let in.
    In,
}

/// One socket.
pub(crate) struct Socket {
    pub(crate) connection: Option<Connection>,
    /// What long polling needs more; `None`: it uses WebSocket.
    pub(crate) polling: Option<Box<Polling>>,
    /// Which server this connection goes to.
    pub(crate) server: usize,
    pub(crate) state: State,
    pub(crate) user: String,
    pub(crate) token: String,
    pub(crate) group: usize,
    pub(crate) seats: Vec<Seat>,
    /// What acks are waited for, in the order in which they were asked for.
    pub(crate) waiting: VecDeque<Waiting>,
    pub(crate) next_ack: u32,
    /// When this connection was begun.
    pub(crate) began: u64,
    /// Connections so far.
    pub(crate) attempt: u32,
    /// Handshakes that failed in a row.
    pub(crate) failures: u32,
    /// Joins not answered yet.
    pub(crate) joins: usize,
    /// It has been in before: what was missed is asked for.
    pub(crate) returning: bool,
    /// What was missed is being asked for.
    pub(crate) syncing: bool,
    /// It does not read.
    pub(crate) stalled: bool,
    /// There was something to read meanwhile.
    unread: bool,
}

impl Worker {
    /// Adds a socket of the plan.
    pub(super) fn add(&mut self, plan: SocketPlan) {
        let index = self.sockets.len() as u32;
        let mut seats = Vec::with_capacity(plan.seats.len());
        for (at, seat) in plan.seats.iter().enumerate() {
            let sender = seat.sender.map(|which| {
                let bytes = self.scenario.groups[plan.group]
                    .talk
                    .as_ref()
                    .map_or(0, |talk| talk.bytes);
                self.senders
                    .push(Sender::new(index, at, seat.room, which, bytes));
                self.senders.len() as u32 - 1
            });
            let senders = self.room_plans[seat.room as usize].senders;
            seats.push(Seat::new(seat.room, sender, senders));
        }
        let share = self.scenario.groups[plan.group].polling;
        let polls = share > 0.0 && self.rng.f64() < share;
        self.sockets.push(Socket {
            connection: None,
            polling: polls.then(Box::default),
            server: 0,
            state: State::Away,
            user: plan.user,
            token: plan.token,
            group: plan.group,
            seats,
            waiting: VecDeque::new(),
            next_ack: 0,
            began: 0,
            attempt: 0,
            failures: 0,
            joins: 0,
            returning: false,
            syncing: false,
            stalled: false,
            unread: false,
        });
    }

    /// Opens sockets that wait for it, as many and as fast as the scenario allows.
    pub(super) fn open_more(&mut self, now: u64) {
        let timing = &self.scenario.run;
        let (at_once, rate) = (timing.connecting_max, timing.connect_per_second);
        while self.connecting < at_once && !self.to_open.is_empty() {
            // The rate is that of the first opening; who comes back later has a time of their own.
            if rate > 0.0 && self.phase == Phase::Opening {
                if self.open_next_at > now {
                    return;
                }
                self.open_next_at = self.open_next_at.max(now.saturating_sub(100_000));
                self.open_next_at += micros(1.0 / rate).max(1);
            }
            if let Some(socket) = self.to_open.pop_front() {
                self.open(socket as usize, now);
            }
        }
    }

    fn open(&mut self, i: usize, now: u64) {
        let source = self.next_source();
        self.connecting += 1;
        let socket = &mut self.sockets[i];
        // Neighbours in a room go to different servers, and who comes back to the next one.
        let nodes = &self.scenario.groups[socket.group].nodes;
        let turn = i + socket.attempt as usize;
        socket.server = match nodes.len() {
            0 => turn % self.servers.len(),
            some => nodes[turn % some],
        };
        socket.attempt += 1;
        (socket.began, socket.state) = (now, State::Connecting);
        socket.waiting.clear();
        // Now, not when it is let in: messages may come before the word that it is.
        socket.seats.iter_mut().for_each(Seat::reconnected);
        if let Some(polling) = &mut socket.polling {
            polling.reset();
        }
        let (attempt, server) = (socket.attempt, &self.servers[socket.server]);
        let token = Worker::token(i, Lane::Main);
        match Connection::open(&self.epoll, token, server, source) {
            Ok(connection) => {
                self.sockets[i].connection = Some(connection);
                self.later(now + micros(HANDSHAKE_MAX), Due::Expire(i as u32, attempt));
            }
            Err(error) => self.gone(i, &error.to_string()),
        }
    }

    /// The address that the next connection comes from; `None`: the system chooses.
    pub(super) fn next_source(&mut self) -> Option<SocketAddr> {
        self.opened += 1;
        let turn = self.opened.checked_rem(self.sources.len())?;
        self.sources.get(turn).copied()
    }

    pub(super) fn expire(&mut self, socket: u32, attempt: u32) {
        let i = socket as usize;
        let socket = &self.sockets[i];
        let waits = !matches!(socket.state, State::In | State::Away);
        if waits && socket.attempt == attempt {
            self.gone(i, "the handshake took too long");
        }
    }

    /// One of a socket's connections.
    fn lane(&mut self, i: usize, lane: Lane) -> Option<&mut Connection> {
        let socket = &mut self.sockets[i];
        match lane {
            Lane::Main => socket.connection.as_mut(),
            Lane::Post => socket.polling.as_mut()?.post.as_mut(),
        }
    }

    /// Something happened to a connection.
    pub(super) fn react(&mut self, i: usize, lane: Lane, flags: EventFlags) {
        let begins = lane == Lane::Main && self.sockets[i].state == State::Connecting;
        let Some(connection) = self.lane(i, lane) else {
            return;
        };
        if begins {
            if !flags.intersects(EventFlags::OUT | EventFlags::ERR | EventFlags::HUP) {
                return;
            }
            if !connection.is_open() {
                return self.gone(i, "no TCP connection");
            }
            self.sockets[i].state = State::Upgrading;
            self.ask_for_session(i);
        } else if flags.contains(EventFlags::OUT) && connection.flush().is_err() {
            return self.gone(i, "a write failed");
        }
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
        {
            if self.sockets[i].stalled && lane == Lane::Main {
                self.sockets[i].unread = true;
            } else {
                self.read(i, lane);
            }
        }
    }

    fn ask_for_session(&mut self, i: usize) {
        if self.sockets[i].polling.is_some() {
            return self.poll(i);
        }
        let request = std::mem::take(&mut self.ways.upgrade);
        self.write(i, &request);
        self.ways.upgrade = request;
    }

    /// Reads all there is.
    fn read(&mut self, i: usize, lane: Lane) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(connection) = self.lane(i, lane) {
            let had = connection.partial.len();
            // A frame longer than the buffer is rare: a replay of many messages.
            if buffer.len() < had * 2 {
                buffer.resize(had * 2, 0);
            }
            buffer[..had].copy_from_slice(&connection.partial);
            let (n, more) = match connection.read(&mut buffer[had..]) {
                Ok(Got::Some(n)) => (n, true),
                Ok(Got::Last(n)) => (n, false),
                Ok(Got::Nothing) => break,
                Err(Gone) => {
                    match lane {
                        Lane::Main => self.gone(i, "closed by the server"),
                        Lane::Post => self.post_is_over(i),
                    }
                    break;
                }
            };
            self.sums.counts.bytes_in += n as u64;
            self.sums.counts.reads += 1;
            let now = self.clock.now();
            let bytes = &buffer[..had + n];
            let used = match self.sockets[i].polling.is_some() {
                true => self.take_in_answers(i, lane, bytes, now),
                false => self.take_in(i, bytes, now),
            };
            if let Some(connection) = self.lane(i, lane) {
                connection.partial.clear();
                if used < had + n {
                    connection.partial.extend_from_slice(&buffer[used..had + n]);
                } else if connection.partial.capacity() > 0 {
                    connection.partial = Vec::new();
                }
            }
            if !more {
                break;
            }
        }
        self.buffer = buffer;
    }

    /// Takes in bytes; how many of them were whole.
    fn take_in(&mut self, i: usize, bytes: &[u8], now: u64) -> usize {
        let mut used = 0;
        if self.sockets[i].state == State::Upgrading {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
                if bytes.len() > HEAD_MAX {
                    self.gone(i, "an endless HTTP answer");
                }
                return 0;
            };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                let line = bytes
                    .split(|byte| *byte == b'\r')
                    .next()
                    .unwrap_or_default();
                self.gone(i, &String::from_utf8_lossy(line));
                return bytes.len();
            }
            self.sockets[i].state = State::Entering;
            used = end + 4;
        }
        while let Some((kind, range)) = frames::first(&bytes[used..]) {
            let payload = &bytes[used + range.start..used + range.end];
            used += range.end;
            match kind {
                Kind::Text => self.packet(i, payload, now),
                Kind::Ping => {
                    let mut pong = Vec::new();
                    frames::write_pong(&mut pong, payload);
                    self.write(i, &pong);
                }
                Kind::Close => self.gone(i, "closed by the server"),
                Kind::Other => {}
            }
            if self.sockets[i].connection.is_none() {
                break;
            }
        }
        used
    }

    pub(super) fn write(&mut self, i: usize, bytes: &[u8]) {
        let connection = self.sockets[i].connection.as_mut();
        if connection.is_some_and(|connection| connection.write(bytes).is_err()) {
            self.gone(i, "a write failed");
        }
    }

    /// Sends one packet.
    pub(super) fn send_packet(&mut self, i: usize, packet: &[u8]) {
        if self.sockets[i].polling.is_some() {
            return self.send_by_post(i, packet);
        }
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        frames::write_text(&mut frame, packet);
        self.write(i, &frame);
        self.frame = frame;
    }

    /// The socket is let in.
    pub(super) fn is_in(&mut self, i: usize, now: u64) {
        let socket = &mut self.sockets[i];
        socket.state = State::In;
        socket.failures = 0;
        let took = now - socket.began;
        let returning = std::mem::replace(&mut socket.returning, true);
        self.connecting -= 1;
        self.connected += 1;
        self.last_in = now;
        self.sums.counts.connects += 1;
        self.sums.connect.record(took);
        for seat in &self.sockets[i].seats {
            self.rooms[seat.room as usize].here += 1;
        }
        if returning {
            self.ask_for_missed(i);
        }
        self.send_what_waited(i, now);
    }

    /// The connection is over, by the server's doing or by a failure.
    pub(super) fn gone(&mut self, i: usize, why: &str) {
        let was_in = self.sockets[i].state == State::In;
        if was_in {
            self.sums.counts.closed_by_server += 1;
        } else {
            self.sums.counts.connects_failed += 1;
        }
        let user = self.sockets[i].user.clone();
        self.example(|| format!("socket of {user}: {why}"));
        let failures = self.sockets[i].failures;
        self.sockets[i].failures += 1;
        // As the official client: a second, doubled up to five, give or take a half.
        let wait = f64::from(1 << failures.min(3)).min(5.0) * (0.5 + self.rng.f64());
        self.close(i, wait);
    }

    /// Closes a socket and lets it come back after so many seconds.
    pub(super) fn close(&mut self, i: usize, back_after: f64) {
        let socket = &mut self.sockets[i];
        match socket.state {
            State::Away => return,
            State::In => {
                self.connected -= 1;
                for at in 0..self.sockets[i].seats.len() {
                    let room = self.sockets[i].seats[at].room;
                    self.rooms[room as usize].here -= 1;
                    self.nobody_waits_for(room);
                }
            }
            _ => self.connecting -= 1,
        }
        let socket = &mut self.sockets[i];
        socket.connection = None;
        if let Some(polling) = &mut socket.polling {
            polling.reset();
        }
        socket.state = State::Away;
        (socket.stalled, socket.unread, socket.syncing) = (false, false, false);
        self.keep_unanswered(i);
        let at = self.clock.now() + micros(back_after);
        self.later(at, Due::Return(i as u32));
    }

    pub(super) fn resume(&mut self, socket: u32, now: u64) {
        let i = socket as usize;
        let socket = &mut self.sockets[i];
        if std::mem::take(&mut socket.stalled) && std::mem::take(&mut socket.unread) {
            self.read(i, Lane::Main);
        }
        self.next_stall(i, now);
    }
}
