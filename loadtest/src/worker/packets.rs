//! What comes and goes as Socket.IO packets, in the target's words.

use std::io::Write;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::seat::Came;
use super::socket::State;
use super::talk::{Waiting, What};
use super::{Due, Worker};
use crate::address::Address;
use crate::mark::number_after;
use crate::target::{Slot, Target, Template};

/// Until a question for what was missed that was refused is asked again, microseconds.
const ASK_AGAIN: u64 = 500_000;

/// A target's ways, prepared.
pub(crate) struct Ways {
    /// The HTTP request that begins a WebSocket.
    pub(crate) upgrade: Vec<u8>,
    /// Where the Socket.IO server listens, and what it is called.
    pub(crate) path: String,
    pub(crate) host: String,
    /// How packets begin that bring a message to others, and to its sender.
    receive: Vec<u8>,
    own: Option<Vec<u8>>,
    /// How the packet begins that lets a socket in; `None`: the answer to CONNECT does.
    ready: Option<Vec<u8>>,
    accepted: Finder<'static>,
    connect: Template,
    join: Option<Template>,
    pub(crate) send: Template,
    sync: Option<Template>,
    pub(crate) seq: bool,
    pub(crate) repeats: bool,
}

impl Ways {
    pub(crate) fn new(target: &Target, address: &Address) -> Ways {
        let begin = |event: &str| format!("42[\"{event}\"").into_bytes();
        let some = |text: &str| (!text.is_empty()).then_some(text.to_owned());
        let upgrade = format!(
            "GET {}?EIO=4&transport=websocket HTTP/1.1\r\nHost: {address}\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: bG9hZHRlc3QgbG9hZHRlcw==\r\n\r\n",
            target.path
        );
        Ways {
            upgrade: upgrade.into_bytes(),
            path: target.path.clone(),
            host: address.to_string(),
            receive: begin(&target.receive),
            own: some(&target.own).map(|event| begin(&event)),
            ready: some(&target.ready).map(|event| begin(&event)),
            accepted: Finder::new(target.accepted.as_bytes()).into_owned(),
            connect: Template::new(&target.connect),
            join: some(&target.join).map(|text| Template::new(&text)),
            send: Template::new(&target.send),
            sync: some(&target.sync).map(|text| Template::new(&text)),
            seq: target.seq,
            repeats: target.repeats,
        }
    }

    /// Whether a sender is sent its own messages.
    pub(crate) fn echoes(&self) -> bool {
        self.own.is_some()
    }
}

/// As much of the answer to a question for what was missed as is needed.
#[derive(Deserialize)]
struct Missed<'a> {
    #[serde(borrow, default)]
    conversations: Vec<MissedIn<'a>>,
}

#[derive(Deserialize)]
struct MissedIn<'a> {
    id: &'a str,
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
    more: bool,
}

impl Worker {
    /// One packet of Engine.IO.
    pub(super) fn packet(&mut self, i: usize, packet: &[u8], now: u64) {
        match packet {
            b"2" => self.send_packet(i, b"3"),
            [b'4', b'2', ..] => self.event(i, packet, now),
            [b'4', b'3', rest @ ..] => self.answer(i, rest, now),
            [b'0', ..] if self.sockets[i].state == State::Entering => self.ask_to_enter(i),
            [b'4', b'0', ..] if self.ways.ready.is_none() => self.enter_rooms(i, now),
            [b'4', b'4', ..] => {
                let why = String::from_utf8_lossy(packet).into_owned();
                self.gone(i, &why);
            }
            b"1" | b"41" => self.gone(i, "closed by the server"),
            _ => {}
        }
    }

    fn event(&mut self, i: usize, packet: &[u8], now: u64) {
        if packet.starts_with(&self.ways.receive) {
            return self.message(i, packet, now, false);
        }
        if self
            .ways
            .own
            .as_ref()
            .is_some_and(|own| packet.starts_with(own))
        {
            return self.message(i, packet, now, true);
        }
        let ready = self.ways.ready.as_ref();
        if ready.is_some_and(|ready| packet.starts_with(ready)) {
            if self.sockets[i].state == State::Entering {
                self.enter_rooms(i, now);
            }
            return;
        }
        self.sums.counts.other_events += 1;
    }

    /// A message came by itself.
    fn message(&mut self, i: usize, packet: &[u8], now: u64, own: bool) {
        let Some(mark) = self.marks.first(packet) else {
            self.sums.counts.other_events += 1;
            return;
        };
        let seats = &mut self.sockets[i].seats;
        let Some(at) = seats.iter().position(|seat| seat.room == mark.room) else {
            return self.example(|| format!("a message of room {} came to a stranger", mark.room));
        };
        let seq = if self.ways.seq {
            number_after(&self.seq_key, packet)
        } else {
            None
        };
        let seat = &mut seats[at];
        let mut came = seat.live(&mark, seq);
        let sender = seat.sender;
        if own && came != Came::Well && self.was_repeated(sender, &mark) {
            came = Came::Known;
        }
        self.sums.delivered(self.sockets[i].server);
        match came {
            Came::Well | Came::Known => {}
            Came::Doubled => self.sums.counts.doubled += 1,
            Came::Misplaced => self.sums.counts.misplaced += 1,
        }
        if matches!(came, Came::Doubled | Came::Misplaced) {
            let user = self.sockets[i].user.clone();
            self.example(|| format!("{user}: {came:?}: {mark:?}, seq {seq:?}"));
        } else if let (Some(seq), false) = (seq, self.sockets[i].syncing) {
            self.sockets[i].seats[at].cursor = seq;
        }
        if !own {
            if came == Came::Well {
                self.sums.delivery.record(now.saturating_sub(mark.due));
            }
            self.has_arrived(&mark, now);
        }
    }

    fn ask_to_enter(&mut self, i: usize) {
        let mut packet = std::mem::take(&mut self.scratch);
        packet.clear();
        packet.extend_from_slice(b"40");
        let socket = &self.sockets[i];
        self.ways
            .connect
            .write(&mut packet, |slot, out| match slot {
                Slot::Token => out.extend_from_slice(socket.token.as_bytes()),
                _ => out.extend_from_slice(socket.user.as_bytes()),
            });
        self.send_packet(i, &packet);
        self.scratch = packet;
    }

    fn enter_rooms(&mut self, i: usize, now: u64) {
        if self.ways.join.is_none() || self.sockets[i].seats.is_empty() {
            return self.is_in(i, now);
        }
        let rooms: Vec<u32> = self.sockets[i].seats.iter().map(|seat| seat.room).collect();
        self.sockets[i].joins = rooms.len();
        for room in rooms {
            let ack = self.expect_answer(i, What::Join);
            let mut packet = begin_event(ack);
            if let Some(join) = &self.ways.join {
                let id = &self.room_plans[room as usize].id;
                join.write(&mut packet, |_, out| out.extend_from_slice(id.as_bytes()));
            }
            self.send_packet(i, &packet);
        }
    }

    /// Remembers that an ack will come; its id.
    pub(super) fn expect_answer(&mut self, i: usize, what: What) -> u32 {
        let socket = &mut self.sockets[i];
        let ack = socket.next_ack;
        socket.next_ack = socket.next_ack.wrapping_add(1);
        socket.waiting.push_back(Waiting { ack, what });
        ack
    }

    /// An ack: `ID[…]`.
    fn answer(&mut self, i: usize, rest: &[u8], now: u64) {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let id = std::str::from_utf8(&rest[..digits])
            .ok()
            .and_then(|text| text.parse().ok());
        let waiting = &mut self.sockets[i].waiting;
        let at = id.and_then(|id: u32| waiting.iter().position(|waiting| waiting.ack == id));
        let Some(waiting) = at.and_then(|at| waiting.remove(at)) else {
            return self.example(|| "an ack that nobody waits for".to_owned());
        };
        match waiting.what {
            What::Join => {
                self.sockets[i].joins -= 1;
                if self.sockets[i].joins == 0 && self.sockets[i].state == State::Entering {
                    self.is_in(i, now);
                }
            }
            What::Message {
                sender,
                number,
                due,
            } => {
                let accepted = self.ways.accepted.find(rest).is_some();
                if !accepted {
                    let text = String::from_utf8_lossy(&rest[..rest.len().min(200)]).into_owned();
                    self.example(|| format!("refused: {text}"));
                }
                self.is_answered(sender, number, due, accepted, now);
            }
            What::Missed => self.missed(i, &rest[digits..], now),
        }
    }

    /// After a reconnect: asks for everything since the last message seen.
    pub(super) fn ask_for_missed(&mut self, i: usize) {
        if self.ways.sync.is_none() || self.sockets[i].seats.is_empty() {
            return;
        }
        self.sockets[i].syncing = true;
        let ack = self.expect_answer(i, What::Missed);
        let mut packet = begin_event(ack);
        let (socket, rooms) = (&self.sockets[i], &self.room_plans);
        if let Some(sync) = &self.ways.sync {
            sync.write(&mut packet, |_, out| {
                for (at, seat) in socket.seats.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    let id = &rooms[seat.room as usize].id;
                    let _ = write!(out, "{comma}\"{id}\":{}", seat.cursor);
                }
            });
        }
        self.send_packet(i, &packet);
    }

    /// Asks once more, unless the socket has another connection or none.
    pub(super) fn ask_again(&mut self, socket: u32, attempt: u32) {
        let i = socket as usize;
        if self.sockets[i].state == State::In && self.sockets[i].attempt == attempt {
            self.ask_for_missed(i);
        }
    }

    /// What was missed.
    fn missed(&mut self, i: usize, answer: &[u8], now: u64) {
        if self.ways.accepted.find(answer).is_none() {
            // A store that is slow, say: what was missed is still to be had.
            self.sums.counts.syncs_refused += 1;
            let attempt = self.sockets[i].attempt;
            return self.later(now + ASK_AGAIN, Due::AskAgain(i as u32, attempt));
        }
        let Ok([missed]) = serde_json::from_slice::<[Missed<'_>; 1]>(answer) else {
            let text = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
            return self.example(|| format!("what was missed cannot be read: {text}"));
        };
        let mut more = false;
        for part in missed.conversations {
            more |= part.more;
            let rooms = &self.room_plans;
            let here = |seat: &&mut super::seat::Seat| rooms[seat.room as usize].id == part.id;
            let Some(seat) = self.sockets[i].seats.iter_mut().find(here) else {
                continue;
            };
            for message in part.messages {
                let bytes = message.get().as_bytes();
                let Some(mark) = self.marks.first(bytes) else {
                    continue;
                };
                if seat.replayed(&mark) {
                    self.sums.counts.replayed += 1;
                }
                let seq = number_after(&self.seq_key, bytes);
                seat.cursor = seat.cursor.max(seq.unwrap_or(0));
            }
        }
        if more {
            return self.ask_for_missed(i);
        }
        let socket = &mut self.sockets[i];
        socket.syncing = false;
        for seat in &mut socket.seats {
            seat.cursor = seat.cursor.max(seat.newest);
        }
        let took = now - socket.began;
        self.sums.replay.record(took);
    }
}

/// `42ID`, to which an event's array is appended.
pub(super) fn begin_event(ack: u32) -> Vec<u8> {
    format!("42{ack}").into_bytes()
}
