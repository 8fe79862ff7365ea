//! Senders: when a message is due, in flight, answered, and what is counted at the end.

use std::collections::{BTreeSet, VecDeque};

use super::packets::begin_event;
use super::socket::State;
use super::{Due, Phase, Worker};
use crate::clock::micros;
use crate::control::SenderTotal;
use crate::mark::Mark;
use crate::scenario::Until;
use crate::target::Slot;

/// Somebody who talks in one room.
pub(crate) struct Sender {
    socket: u32,
    seat: usize,
    room: u32,
    /// Which of the room's senders.
    which: u32,
    bytes: usize,
    /// The number of the next message.
    next: u32,
    /// The closed loop's messages that are not over.
    in_flight: u32,
    /// Number and time of messages that are due and could not be sent, or not with an answer.
    queue: VecDeque<(u32, u64)>,
    /// Numbers that were refused or never answered.
    void: Vec<u32>,
    /// Numbers that were sent again, because their answer did not come.
    repeated: BTreeSet<u32>,
}

/// An ack that is waited for.
pub(crate) struct Waiting {
    pub(crate) ack: u32,
    pub(crate) what: What,
}

/// What an ack answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// A room was entered.
    Join,
    /// A message of one of the worker's senders.
    Message { sender: u32, number: u32, due: u64 },
    /// A question for what was missed.
    Missed,
}

/// A room, as far as this worker knows it.
#[derive(Default)]
pub(crate) struct Room {
    /// Sockets of this worker that are in.
    pub(crate) here: u32,
    /// The closed loop's messages that are not over.
    flights: VecDeque<Flight>,
}

struct Flight {
    sender: u32,
    which: u32,
    number: u32,
    /// Sockets here that do not have it yet.
    left: u32,
    answered: bool,
}

impl Sender {
    pub(crate) fn new(socket: u32, seat: usize, room: u32, which: u32, bytes: usize) -> Sender {
        Sender {
            socket,
            seat,
            room,
            which,
            bytes,
            next: 0,
            in_flight: 0,
            queue: VecDeque::new(),
            void: Vec::new(),
            repeated: BTreeSet::new(),
        }
    }
}

impl Worker {
    /// The load begins at this time.
    pub(super) fn begin(&mut self, at: u64) {
        let run = &self.scenario.run;
        let ends = at + (run.warm_up + run.seconds) * 1_000_000;
        self.phase = Phase::Talking(at, ends);
        // Ticks are cut where the load begins, so that all workers' seconds are the same.
        self.tick_at = at;
        for sender in 0..self.senders.len() as u32 {
            // Spread over the time between two messages, so that rooms do not talk in step.
            let first = self
                .period(sender)
                .map_or(0, |period| self.rng.u64(0..period));
            self.later(at + first, Due::Send(sender));
        }
        for socket in 0..self.sockets.len() {
            self.begin_habits(socket, at);
        }
    }

    /// Microseconds between two messages of the open loop; `None` in the closed one.
    fn period(&self, sender: u32) -> Option<u64> {
        let socket = self.senders[sender as usize].socket;
        let group = &self.scenario.groups[self.sockets[socket as usize].group];
        let talk = group.talk.as_ref()?;
        let rate = talk.per_second? / talk.senders as f64;
        Some(micros(1.0 / rate).max(1))
    }

    /// Messages a sender has in flight, and when one is over; in the closed loop.
    fn closed_loop(&self, sender: u32) -> Option<(u32, Until)> {
        let socket = self.senders[sender as usize].socket;
        let group = &self.scenario.groups[self.sockets[socket as usize].group];
        let talk = group.talk.as_ref()?;
        Some((talk.in_flight?, talk.until))
    }

    fn may_talk(&self, now: u64) -> bool {
        matches!(self.phase, Phase::Talking(_, ends) if now < ends)
    }

    /// A message of the open loop is due, or the closed loop begins.
    pub(super) fn send_on_time(&mut self, sender: u32, due: u64, now: u64) {
        if !matches!(self.phase, Phase::Talking(_, ends) if due < ends) {
            return;
        }
        match self.period(sender) {
            None => self.fill_flight(sender, now),
            Some(period) => {
                self.later(due + period, Due::Send(sender));
                self.new_message(sender, due, now);
            }
        }
    }

    /// Sends until as many messages are in flight as there may be.
    fn fill_flight(&mut self, sender: u32, now: u64) {
        let Some((in_flight, _)) = self.closed_loop(sender) else {
            return;
        };
        while self.may_talk(now) && self.senders[sender as usize].in_flight < in_flight {
            let talker = &mut self.senders[sender as usize];
            talker.in_flight += 1;
            let room = talker.room as usize;
            let flight = Flight {
                sender,
                which: talker.which,
                number: talker.next,
                left: self.rooms[room].here.saturating_sub(1),
                answered: false,
            };
            self.rooms[room].flights.push_back(flight);
            self.new_message(sender, now, now);
        }
    }

    fn new_message(&mut self, sender: u32, due: u64, now: u64) {
        let talker = &mut self.senders[sender as usize];
        let number = talker.next;
        talker.next += 1;
        self.sums.counts.sent += 1;
        let socket = &self.sockets[talker.socket as usize];
        if socket.state != State::In || !talker.queue.is_empty() {
            talker.queue.push_back((number, due));
            return;
        }
        self.sums.late.record(now.saturating_sub(due));
        self.send_message(sender, number, due);
    }

    fn send_message(&mut self, sender: u32, number: u32, due: u64) {
        let socket = self.senders[sender as usize].socket as usize;
        let ack = self.expect_answer(
            socket,
            super::talk::What::Message {
                sender,
                number,
                due,
            },
        );
        let talker = &self.senders[sender as usize];
        let mark = Mark {
            room: talker.room,
            sender: talker.which,
            number,
            due,
        };
        let mut packet = begin_event(ack);
        let room = &self.room_plans[talker.room as usize].id;
        self.ways.send.write(&mut packet, |slot, out| match slot {
            Slot::Room => out.extend_from_slice(room.as_bytes()),
            Slot::Text => mark.write(out, talker.bytes),
            Slot::Id => out.extend_from_slice(format!("{}-{number}-{due}", mark.sender).as_bytes()),
            _ => {}
        });
        self.send_packet(socket, &packet);
    }

    /// A message was answered.
    pub(super) fn is_answered(
        &mut self,
        sender: u32,
        number: u32,
        due: u64,
        accepted: bool,
        now: u64,
    ) {
        if accepted {
            self.sums.counts.acked += 1;
            self.sums.ack.record(now.saturating_sub(due));
        } else {
            self.sums.counts.refused += 1;
            self.senders[sender as usize].void.push(number);
        }
        let Some((_, until)) = self.closed_loop(sender) else {
            return;
        };
        let room = self.senders[sender as usize].room as usize;
        let flights = &mut self.rooms[room].flights;
        let same = |flight: &&mut Flight| flight.sender == sender && flight.number == number;
        if let Some(flight) = flights.iter_mut().find(same) {
            flight.answered = true;
            if !accepted || until == Until::Acknowledged {
                flight.left = 0;
            }
        }
        self.land(room, now);
    }

    /// A message arrived at one of its readers.
    pub(super) fn has_arrived(&mut self, mark: &Mark, now: u64) {
        let room = mark.room as usize;
        let flights = &mut self.rooms[room].flights;
        let same =
            |flight: &&mut Flight| flight.which == mark.sender && flight.number == mark.number;
        let Some(flight) = flights.iter_mut().find(same) else {
            return;
        };
        flight.left = flight.left.saturating_sub(1);
        if flight.left == 0 && flight.answered {
            self.land(room, now);
        }
    }

    /// A socket of the room went away: messages in flight do not wait for it.
    pub(super) fn nobody_waits_for(&mut self, room: u32) {
        for flight in &mut self.rooms[room as usize].flights {
            flight.left = flight.left.saturating_sub(1);
        }
    }

    /// Ends what is over, and sends what may follow.
    fn land(&mut self, room: usize, now: u64) {
        let over = |flight: &Flight| flight.left == 0 && flight.answered;
        while let Some(at) = self.rooms[room].flights.iter().position(over) {
            if let Some(flight) = self.rooms[room].flights.remove(at) {
                self.senders[flight.sender as usize].in_flight -= 1;
                self.fill_flight(flight.sender, now);
            }
        }
    }

    /// A connection broke: what had no answer is sent again, if the target knows repetitions.
    pub(super) fn keep_unanswered(&mut self, i: usize) {
        let waiting = std::mem::take(&mut self.sockets[i].waiting);
        for waiting in waiting.into_iter().rev() {
            let What::Message {
                sender,
                number,
                due,
            } = waiting.what
            else {
                continue;
            };
            if self.ways.repeats {
                let sender = &mut self.senders[sender as usize];
                sender.queue.push_front((number, due));
                sender.repeated.insert(number);
            } else {
                self.verdict.unanswered += 1;
                self.senders[sender as usize].void.push(number);
            }
        }
    }

    /// Whether a message is one that this sender sent again. Its sender is told of it when the
    /// repetition is answered, which need not be its place in the room.
    pub(super) fn was_repeated(&self, sender: Option<u32>, mark: &Mark) -> bool {
        sender.is_some_and(|sender| {
            let sender = &self.senders[sender as usize];
            sender.which == mark.sender && sender.repeated.contains(&mark.number)
        })
    }

    /// A socket is in: what waited for it is sent.
    pub(super) fn send_what_waited(&mut self, i: usize, now: u64) {
        let seats = self.sockets[i].seats.iter();
        let senders: Vec<u32> = seats.filter_map(|seat| seat.sender).collect();
        for sender in senders {
            let mut queue = std::mem::take(&mut self.senders[sender as usize].queue);
            while self.sockets[i].state == State::In
                && let Some((number, due)) = queue.pop_front()
            {
                self.send_message(sender, number, due);
            }
            queue.append(&mut self.senders[sender as usize].queue);
            self.senders[sender as usize].queue = queue;
            self.fill_flight(sender, now);
        }
    }

    /// Whether every message has its answer.
    pub(super) fn all_answered(&self) -> bool {
        let is_message = |waiting: &Waiting| matches!(waiting.what, What::Message { .. });
        self.senders.iter().all(|sender| sender.queue.is_empty())
            && self
                .sockets
                .iter()
                .all(|socket| !socket.waiting.iter().any(is_message))
    }

    /// What was sent; what was not answered is void.
    pub(super) fn close_books(&mut self) -> Vec<SenderTotal> {
        for socket in &mut self.sockets {
            for waiting in &socket.waiting {
                if let What::Message { sender, number, .. } = waiting.what {
                    self.verdict.unanswered += 1;
                    self.senders[sender as usize].void.push(number);
                }
            }
        }
        let totals = self.senders.iter_mut().map(|sender| {
            let queued = sender.queue.iter().map(|(number, _)| *number);
            self.verdict.unanswered += sender.queue.len() as u64;
            sender.void.extend(queued);
            sender.void.sort_unstable();
            SenderTotal {
                room: sender.room,
                sender: sender.which,
                sent: sender.next,
                void: sender.void.clone(),
            }
        });
        totals.collect()
    }

    /// Whether everybody has everything.
    pub(super) fn all_here(&self) -> bool {
        self.missing().next().is_none()
    }

    /// Counts what is missing.
    pub(super) fn judge(&mut self) {
        let missing: Vec<String> = self.missing().take(5).collect();
        self.verdict.lost = self.missing().count() as u64;
        missing.into_iter().for_each(|text| self.example(|| text));
    }

    /// Every message that somebody here lacks, in words.
    fn missing(&self) -> impl Iterator<Item = String> {
        let mut by_room = vec![Vec::new(); self.rooms.len()];
        for total in &self.totals {
            by_room[total.room as usize].push(total);
        }
        let seats = self.sockets.iter().flat_map(|socket| {
            socket
                .seats
                .iter()
                .enumerate()
                .map(move |seat| (socket, seat))
        });
        seats.flat_map(move |(socket, (at, seat))| {
            let totals = by_room[seat.room as usize].clone();
            totals.into_iter().flat_map(move |total| {
                let own = seat.sender.is_some_and(|sender| {
                    let sender = &self.senders[sender as usize];
                    sender.seat == at && sender.which == total.sender
                });
                let skip = own && !self.ways.echoes();
                let lacks = seat.lacks(total).filter(move |_| !skip);
                lacks.map(move |number| {
                    let (room, sender) = (total.room, total.sender);
                    let user = &socket.user;
                    format!("{user} lacks message {number} of sender {sender} in room {room}")
                })
            })
        })
    }
}
