//! Rooms come and go, and are compared with their logs.

use crate::machine::{Frame, Key, Machine, Millis, Outlet, Rev, Seq};
use crate::room::Room;

impl<R: Key + Copy, K: Key, F: Frame> Machine<R, K, F> {
    pub(crate) fn open(&mut self, key: R, passed: Seq) -> u32 {
        let room = Room::new(key, passed);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.rooms[slot as usize] = Some(room);
                slot
            }
            None => {
                self.rooms.push(Some(room));
                self.rooms.len() as u32 - 1
            }
        };
        self.slots.insert(key, slot);
        slot
    }

    pub(crate) fn subscribed(&mut self, key: R) {
        if let Some(&slot) = self.slots.get(&key) {
            if let Some(room) = self.at_mut(slot) {
                room.subscribed = true;
            }
            // What was committed before may not have been heard of.
            self.doubt(slot);
        }
    }

    pub(crate) fn doubt_all(&mut self) {
        for slot in 0..self.rooms.len() as u32 {
            // Recent frames are not given out before it is known what was changed meanwhile.
            if let Some(room) = self.at_mut(slot) {
                room.unsure = true;
            }
            self.doubt(slot);
        }
    }

    fn doubt(&mut self, slot: u32) {
        if let Some(Some(room)) = self.rooms.get_mut(slot as usize)
            && !std::mem::replace(&mut room.doubted, true)
        {
            self.heads.doubt(room.key);
        }
    }

    pub(crate) fn compared(&mut self, heads: &[(R, Seq, Rev)], out: &mut impl Outlet<R, K, F>) {
        self.heads.answered();
        for &(key, head, changes) in heads {
            let Some(&slot) = self.slots.get(&key) else {
                continue;
            };
            if let Some(room) = self.at_mut(slot) {
                room.reaches(head);
                room.changed_up_to(changes);
                // Unless there was a new doubt since this was asked.
                room.unsure &= room.doubted;
            }
            self.take_changes(slot, out);
            self.settle(slot, out);
        }
    }

    pub(crate) fn compare_failed(&mut self) {
        for key in self.heads.failed(self.now, &self.config) {
            if let Some(&slot) = self.slots.get(&key) {
                self.doubt(slot);
            }
        }
    }

    /// Asks for the next comparison, if one is due and none is in flight.
    pub(crate) fn compare(&mut self, out: &mut impl Outlet<R, K, F>) {
        let mut batch = self.heads.next_doubtful(self.now, &self.config);
        batch.retain(|key| match self.slots.get(key) {
            Some(&slot) => {
                if let Some(Some(room)) = self.rooms.get_mut(slot as usize) {
                    room.doubted = false;
                }
                true
            }
            None => false,
        });
        if batch.is_empty()
            && self
                .heads
                .review_due(self.now, self.slots.len(), &self.config)
        {
            batch = self.next_reviewed();
        }
        if !batch.is_empty() {
            self.heads.asked(batch.clone());
            out.compare(batch);
        }
    }

    fn next_reviewed(&mut self) -> Vec<R> {
        let mut batch = Vec::new();
        for _ in 0..self.rooms.len() {
            if batch.len() == self.config.compare_batch {
                break;
            }
            let slot = self.heads.cursor as usize % self.rooms.len();
            self.heads.cursor = slot as u32 + 1;
            batch.extend(self.rooms[slot].as_ref().map(|room| room.key));
        }
        batch
    }

    pub(crate) fn tick(&mut self, out: &mut impl Outlet<R, K, F>) {
        while let Some(&(at, slot)) = self.wakes.first()
            && at <= self.now
        {
            self.wakes.pop_first();
            if let Some(room) = self.at_mut(slot) {
                room.wake = None;
            }
            self.settle(slot, out);
        }
    }

    /// Lets rooms go that have been without readers for long, or are too many.
    pub(crate) fn close_empty(&mut self, out: &mut impl Outlet<R, K, F>) {
        // Once around at most: a room that cannot go yet comes back at the end.
        for _ in 0..self.empty.len() {
            let Some(&(at, slot)) = self.empty.front() else {
                return;
            };
            if at > self.now && self.empty.len() <= self.config.lingering_rooms {
                return;
            }
            self.empty.pop_front();
            self.close(slot, at, out);
        }
    }

    /// Forgets a room if it has been without readers since it was to go at `at`.
    fn close(&mut self, slot: u32, at: Millis, out: &mut impl Outlet<R, K, F>) {
        let again = self.now + self.config.linger;
        let Some(room) = self.at_mut(slot).filter(|room| room.goes_at == Some(at)) else {
            return;
        };
        if !room.is_at_rest() {
            room.goes_at = Some(again);
            self.empty.push_back((again, slot));
            return;
        }
        let key = room.key;
        if let Some(mut room) = self.rooms[slot as usize].take() {
            self.replay.forget(&mut room.ring);
            room.wake.map(|at| self.wakes.remove(&(at, slot)));
        }
        self.slots.remove(&key);
        self.free.push(slot);
        out.unsubscribe(key);
    }
}
