//! What sockets do apart from messages: they emit other events, break, stop reading.

use std::io::Write;

use super::socket::State;
use super::{Due, Phase, Worker};
use crate::clock::micros;
use crate::target::{Slot, Template};

impl Worker {
    /// The load begins: every habit gets its first time.
    pub(super) fn begin_habits(&mut self, i: usize, at: u64) {
        let group = &self.scenario.groups[self.sockets[i].group];
        let emits: Vec<f64> = group
            .emit
            .iter()
            .map(|emit| 1.0 / emit.per_second)
            .collect();
        let cut = group.cut.as_ref().map(|cut| (cut.every, cut.share));
        let stall = group.stall.as_ref().map(|stall| (stall.every, stall.share));
        for (which, every) in emits.into_iter().enumerate() {
            let first = micros(every * self.rng.f64());
            self.later(at + first, Due::Emit(i as u32, which as u8));
        }
        if let Some((every, share)) = cut
            && self.rng.f64() < share
        {
            let first = micros(every * self.rng.f64());
            self.later(at + first, Due::Cut(i as u32));
        }
        if let Some((every, share)) = stall
            && self.rng.f64() < share
        {
            let first = micros(every * self.rng.f64());
            self.later(at + first, Due::Stall(i as u32));
        }
    }

    /// From half to one and a half.
    fn about(&mut self, seconds: f64) -> u64 {
        micros(seconds * (0.5 + self.rng.f64()))
    }

    fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Talking(..))
    }

    pub(super) fn emit(&mut self, socket: u32, which: u8, at: u64) {
        if !self.is_running() {
            return;
        }
        let i = socket as usize;
        let group = &self.scenario.groups[self.sockets[i].group];
        let emit = &group.emit[which as usize];
        let (template, every) = (Template::new(&emit.event), 1.0 / emit.per_second);
        let next = at + self.about(every);
        self.later(next, Due::Emit(socket, which));
        if self.sockets[i].state != State::In || self.sockets[i].seats.is_empty() {
            return;
        }
        let seat = self.rng.usize(0..self.sockets[i].seats.len());
        let (seat, user) = (&self.sockets[i].seats[seat], &self.sockets[i].user);
        let room = &self.room_plans[seat.room as usize].id;
        let mut packet = b"42".to_vec();
        template.write(&mut packet, |slot, out| {
            let _ = match slot {
                Slot::Room => out.write_all(room.as_bytes()),
                Slot::User => out.write_all(user.as_bytes()),
                _ => write!(out, "{}", seat.newest),
            };
        });
        self.sums.counts.emitted += 1;
        self.send_packet(i, &packet);
    }

    /// A socket is cut, without a word.
    pub(super) fn cut(&mut self, socket: u32, at: u64) {
        let i = socket as usize;
        let group = &self.scenario.groups[self.sockets[i].group];
        let Some((every, away)) = group.cut.as_ref().map(|cut| (cut.every, cut.away)) else {
            return;
        };
        if !self.is_running() {
            return;
        }
        let next = at + self.about(every);
        self.later(next, Due::Cut(socket));
        self.cut_now(i, away);
    }

    fn cut_now(&mut self, i: usize, away: f64) {
        if self.sockets[i].state == State::In {
            self.sums.counts.cuts += 1;
            self.close(i, away);
        }
    }

    /// Cuts a share of all sockets at once. They come back as the official client does: after half
    /// a second to one and a half.
    pub(super) fn drop_share(&mut self, share: f64) {
        for i in 0..self.sockets.len() {
            if self.rng.f64() < share {
                let away = 0.5 + self.rng.f64();
                self.cut_now(i, away);
            }
        }
    }

    /// A socket stops reading.
    pub(super) fn stall(&mut self, socket: u32, now: u64) {
        let i = socket as usize;
        let group = &self.scenario.groups[self.sockets[i].group];
        let Some(pause) = group.stall.as_ref().map(|stall| stall.pause) else {
            return;
        };
        if self.is_running() && self.sockets[i].state == State::In {
            self.sockets[i].stalled = true;
            self.later(now + micros(pause), Due::Resume(socket));
        } else {
            self.next_stall(i, now);
        }
    }

    /// A socket reads again; the next stall follows.
    pub(super) fn next_stall(&mut self, i: usize, now: u64) {
        let group = &self.scenario.groups[self.sockets[i].group];
        if let Some(every) = group.stall.as_ref().map(|stall| stall.every)
            && self.is_running()
        {
            let next = now + self.about(every);
            self.later(next, Due::Stall(i as u32));
        }
    }
}
