//! Readers come and go, and are full or not.

use crate::machine::{Frame, Key, Machine, Outlet, Seq};
use crate::reader::{Reader, Seat};
use crate::room::Turned;

impl<R: Key + Copy, K: Key, F: Frame> Machine<R, K, F> {
    pub(crate) fn hold(&mut self, reader: K) {
        let held = self.readers.entry(reader).or_insert_with(Reader::new);
        held.full = true;
        for &(slot, index) in held.seats() {
            if let Some(Some(room)) = self.rooms.get_mut(slot as usize) {
                room.seats[index as usize].full = true;
            }
        }
    }

    pub(crate) fn join(&mut self, key: R, reader: K, after: Seq, out: &mut impl Outlet<R, K, F>) {
        let known = self.readers.get(&reader);
        if known.is_some_and(|known| known.departed_since(key, after + 1)) {
            return;
        }
        let slot = self.slot_of(key, after, out);
        self.seat(slot, reader, after + 1);
        self.settle(slot, out);
    }

    pub(crate) fn resume(&mut self, key: R, reader: K, after: Seq, out: &mut impl Outlet<R, K, F>) {
        let slot = self.slot_of(key, after, out);
        self.seat(slot, reader.clone(), after + 1);
        let index = self.readers.get(&reader).and_then(|r| r.seat_in(slot));
        if let (Some(index), Some(room)) = (index, self.at_mut(slot)) {
            room.seats[index as usize].resume_at(after + 1);
        }
        self.settle(slot, out);
    }

    /// The room's slot; one that is not kept here yet begins after `after`.
    fn slot_of(&mut self, key: R, after: Seq, out: &mut impl Outlet<R, K, F>) -> u32 {
        match self.slots.get(&key) {
            Some(&slot) => slot,
            None => {
                out.subscribe(key);
                self.open(key, after)
            }
        }
    }

    /// Seats a reader in a room, or tells its seat of another span.
    pub(crate) fn seat(&mut self, slot: u32, reader: K, first: Seq) {
        let Some(Some(room)) = self.rooms.get_mut(slot as usize) else {
            return;
        };
        room.goes_at = None;
        let index = room.seats.len() as u32;
        let known = self
            .readers
            .entry(reader.clone())
            .or_insert_with(Reader::new);
        let seat = match known.seat_in(slot) {
            Some(index) => &mut room.seats[index as usize],
            None => {
                known.sits_at(slot, index);
                room.seats.push(Seat::new(reader, first, known.full));
                &mut room.seats[index as usize]
            }
        };
        seat.also_from(first);
        room.lagging |= seat.lags(room.passed);
        room.reaches(first - 1);
    }

    pub(crate) fn leave(&mut self, key: R, reader: &K, last: Seq, out: &mut impl Outlet<R, K, F>) {
        let Some(&slot) = self.slots.get(&key) else {
            return;
        };
        let seated = self
            .readers
            .get(reader)
            .and_then(|known| known.seat_in(slot));
        if let Some(room) = self.at_mut(slot) {
            room.reaches(last);
            if let Some(index) = seated {
                room.seats[index as usize].end_at(last);
            }
        }
        self.settle(slot, out);
    }

    pub(crate) fn gone(&mut self, reader: &K) {
        let Some(gone) = self.readers.remove(reader) else {
            return;
        };
        for &(slot, index) in gone.seats() {
            self.vacate(slot, index);
        }
    }

    pub(crate) fn drained(&mut self, reader: &K, out: &mut impl Outlet<R, K, F>) {
        let Some(drained) = self.readers.get_mut(reader) else {
            return;
        };
        if !drained.full {
            return;
        }
        drained.full = false;
        drained.turn = drained.turn.wrapping_add(1);
        let turn = drained.turn;
        let seats = drained.seats().to_vec();
        for &(slot, index) in &seats {
            if let Some(room) = self.at_mut(slot) {
                let seat = &mut room.seats[index as usize];
                seat.full = false;
                room.lagging |= seat.next <= room.passed;
            }
        }
        // Another room first each time, so that none waits for ever behind a busy one. Where the
        // reader is full again, the rest finds nothing to do.
        for step in 0..seats.len() {
            let (slot, _) = seats[(turn + step) % seats.len()];
            if self.at(slot).is_some_and(|room| room.lagging) {
                self.settle(slot, out);
            }
        }
        self.forget_if_blank(reader);
    }

    /// Sees to the seats that a round of deliveries turned. True if one of them now lags.
    pub(crate) fn turn(&mut self, slot: u32) -> bool {
        let mut lags = false;
        // From the last one on, so that a seat that moves into a gap has been seen to.
        while let Some((index, what)) = self.turned.pop() {
            match what {
                Turned::Full => self.set_full(slot, index),
                Turned::Ended(last) => lags |= self.span_ended(slot, index, last),
            }
        }
        lags
    }

    fn set_full(&mut self, slot: u32, index: u32) {
        if let Some(room) = self.at(slot) {
            self.hold(room.seats[index as usize].reader.clone());
        }
    }

    fn span_ended(&mut self, slot: u32, index: u32, last: Seq) -> bool {
        let Some(room) = self.at_mut(slot) else {
            return false;
        };
        let seat = &mut room.seats[index as usize];
        if seat.ended(last) {
            let lags = seat.lags(room.passed);
            room.lagging |= lags;
            return lags;
        }
        let (key, reader) = (room.key, seat.reader.clone());
        if let Some(known) = self.readers.get_mut(&reader) {
            known.stands_up(slot);
            known.departed(key, last);
        }
        self.vacate(slot, index);
        false
    }

    /// Takes a seat out of its room; the last one moves to its place.
    fn vacate(&mut self, slot: u32, index: u32) {
        let goes_at = self.now + self.config.linger;
        let Some(room) = self.at_mut(slot) else {
            return;
        };
        room.seats.swap_remove(index as usize);
        if room.seats.is_empty() {
            room.goes_at = Some(goes_at);
            self.empty.push_back((goes_at, slot));
        } else if let Some(moved) = room.seats.get(index as usize) {
            let moved = moved.reader.clone();
            if let Some(reader) = self.readers.get_mut(&moved) {
                reader.sits_at(slot, index);
            }
        }
    }

    fn forget_if_blank(&mut self, reader: &K) {
        if self.readers.get(reader).is_some_and(Reader::is_blank) {
            self.readers.remove(reader);
        }
    }
}
