//! Logs grow, and are read where something is missing.

use crate::changes::Turn;
use crate::machine::{Frame, Key, Machine, Outlet, Rev, Seq};
use crate::room::Room;

impl<R: Key + Copy, K: Key, F: Frame> Machine<R, K, F> {
    pub(crate) fn committed(
        &mut self,
        key: R,
        first: Seq,
        frames: &[F],
        out: &mut impl Outlet<R, K, F>,
    ) {
        let Some(&slot) = self.slots.get(&key) else {
            return;
        };
        let from = self.at(slot).map_or(0, |room| room.announced_from);
        let late = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        if let Some(frames) = frames.get(late..) {
            self.take_frames(slot, first.max(from), frames, out);
        }
        self.settle(slot, out);
    }

    pub(crate) fn fetched(
        &mut self,
        key: R,
        after: Seq,
        frames: &[F],
        out: &mut impl Outlet<R, K, F>,
    ) {
        let Some(&slot) = self.slots.get(&key) else {
            return;
        };
        if let Some(Some(room)) = self.rooms.get_mut(slot as usize) {
            room.fetched(after, frames.is_empty(), self.now, &self.config);
            room.refill_from_page(after, frames, out, &mut self.turned);
            let (page, max) = ((after + 1, frames), self.config.ring_frames);
            self.replay
                .keep_older(slot, &mut room.ring, page, room.passed, max);
        }
        self.turn(slot);
        self.keep_budget();
        self.take_frames(slot, after + 1, frames, out);
        self.settle(slot, out);
    }

    fn take_frames(&mut self, slot: u32, first: Seq, frames: &[F], out: &mut impl Outlet<R, K, F>) {
        for (seq, frame) in (first..).zip(frames) {
            if let Some(Some(room)) = self.rooms.get_mut(slot as usize)
                && room.accepts(seq, frame, &self.config)
            {
                self.pass(slot, seq, frame, out);
            }
        }
        while let Some((seq, frame)) = self.at_mut(slot).and_then(Room::take_early) {
            self.pass(slot, seq, &frame, out);
        }
    }

    /// Passes the next frame of a room on.
    fn pass(&mut self, slot: u32, seq: Seq, frame: &F, out: &mut impl Outlet<R, K, F>) {
        let Some(Some(room)) = self.rooms.get_mut(slot as usize) else {
            return;
        };
        debug_assert_eq!(room.passed + 1, seq);
        let key = room.key;
        out.passed(key, seq, frame, &mut self.added);
        while let Some(reader) = self.added.pop() {
            // A room that was forgotten may pass on anew what somebody saw before they were removed.
            let known = self.readers.get(&reader);
            if !known.is_some_and(|known| known.departed_since(key, seq)) {
                self.seat(slot, reader, seq);
            }
        }
        let Some(Some(room)) = self.rooms.get_mut(slot as usize) else {
            return;
        };
        room.broadcast(seq, frame, out, &mut self.turned);
        self.replay.keep(
            slot,
            &mut room.ring,
            seq,
            frame.clone(),
            self.config.ring_frames,
        );
        self.turn(slot);
        self.keep_budget();
    }

    pub(crate) fn head(&mut self, key: R, head: Seq, out: &mut impl Outlet<R, K, F>) {
        if let Some(&slot) = self.slots.get(&key) {
            if let Some(room) = self.at_mut(slot) {
                room.reaches(head);
            }
            self.settle(slot, out);
        }
    }

    pub(crate) fn changed(&mut self, key: R, seq: Seq, frame: &F, out: &mut impl Outlet<R, K, F>) {
        let Some(&slot) = self.slots.get(&key) else {
            return;
        };
        self.change(slot, seq, frame, out);
        self.keep_budget();
        self.settle(slot, out);
    }

    /// Takes a change, and the changes that waited for it.
    fn change(&mut self, slot: u32, seq: Seq, frame: &F, out: &mut impl Outlet<R, K, F>) {
        let Some(Some(room)) = self.rooms.get_mut(slot as usize) else {
            return;
        };
        match room.changes.come(seq, frame, &self.config) {
            Turn::Early => {}
            // Readers may have got an earlier version here: they are told, though the change was known.
            Turn::Old => self.replace(slot, seq, frame, false, out),
            Turn::Next => {
                self.replace(slot, seq, frame, true, out);
                self.take_changes(slot, out);
            }
        }
    }

    pub(crate) fn take_changes(&mut self, slot: u32, out: &mut impl Outlet<R, K, F>) {
        let next = |room: &mut Room<R, K, F>| room.changes.take_next();
        while let Some((seq, frame)) = self.at_mut(slot).and_then(next) {
            self.replace(slot, seq, &frame, true, out);
        }
    }

    /// Puts a changed frame in the place of earlier versions, and tells of it if there was one or it is news.
    fn replace(
        &mut self,
        slot: u32,
        seq: Seq,
        frame: &F,
        is_news: bool,
        out: &mut impl Outlet<R, K, F>,
    ) {
        let Some(Some(room)) = self.rooms.get_mut(slot as usize) else {
            return;
        };
        let waited = room.replace_early(seq, frame);
        let kept = self.replay.change(&mut room.ring, seq, frame.clone());
        if is_news || waited || kept {
            out.changed(room.key, seq, frame);
        }
    }

    pub(crate) fn changes(&mut self, key: R, head: Rev, out: &mut impl Outlet<R, K, F>) {
        if let Some(&slot) = self.slots.get(&key) {
            if let Some(room) = self.at_mut(slot) {
                room.changed_up_to(head);
            }
            self.take_changes(slot, out);
            self.settle(slot, out);
        }
    }

    pub(crate) fn changes_fetched(
        &mut self,
        key: R,
        after: Rev,
        changes: &[(Seq, F)],
        out: &mut impl Outlet<R, K, F>,
    ) {
        let Some(&slot) = self.slots.get(&key) else {
            return;
        };
        for (seq, frame) in changes {
            let room = self.at(slot);
            if room.is_some_and(|room| room.changes.was_missing(after, frame.rev())) {
                self.replace(slot, *seq, frame, true, out);
            } else {
                self.change(slot, *seq, frame, out);
            }
        }
        let is_full = changes.len() >= self.config.changes_page;
        let last = changes.last().map(|(_, frame)| frame.rev());
        if let Some(room) = self.at_mut(slot) {
            room.changes.answered(after, last.filter(|_| is_full));
        }
        self.take_changes(slot, out);
        self.keep_budget();
        self.settle(slot, out);
    }

    pub(crate) fn changes_failed(&mut self, key: R, out: &mut impl Outlet<R, K, F>) {
        if let Some(&slot) = self.slots.get(&key) {
            if let Some(Some(room)) = self.rooms.get_mut(slot as usize) {
                room.changes.failed(self.now, &self.config);
            }
            self.settle(slot, out);
        }
    }

    pub(crate) fn fetch_failed(&mut self, key: R, out: &mut impl Outlet<R, K, F>) {
        if let Some(&slot) = self.slots.get(&key) {
            if let Some(Some(room)) = self.rooms.get_mut(slot as usize) {
                room.fetch_failed(self.now, &self.config);
            }
            self.settle(slot, out);
        }
    }

    /// Brings a room to rest: lagging seats get what is here, the rest is asked for.
    pub(crate) fn settle(&mut self, slot: u32, out: &mut impl Outlet<R, K, F>) {
        loop {
            let Some(Some(room)) = self.rooms.get_mut(slot as usize) else {
                return;
            };
            if !room.lagging {
                break;
            }
            room.refill_from_ring(out, &mut self.turned);
            // Again only for a seat that went on to its next span: each has a bounded number.
            if !self.turn(slot) {
                break;
            }
        }
        let Some(Some(room)) = self.rooms.get_mut(slot as usize) else {
            return;
        };
        let frames = room.ask(self.now, &self.config, out);
        let changes = room.ask_changes(self.now, &self.config, out);
        let wake = [frames, changes].into_iter().flatten().min();
        let old = std::mem::replace(&mut room.wake, wake);
        if old != wake {
            old.map(|at| self.wakes.remove(&(at, slot)));
            wake.map(|at| self.wakes.insert((at, slot)));
        }
    }

    fn keep_budget(&mut self) {
        while let Some((slot, seq)) = self.replay.excess(self.config.ring_bytes) {
            if let Some(Some(room)) = self.rooms.get_mut(slot as usize) {
                self.replay.evict(&mut room.ring, seq);
            }
        }
        if self.replay.is_untidy() {
            let rooms = &self.rooms;
            self.replay.tidy(|slot, seq| {
                matches!(rooms.get(slot as usize), Some(Some(room)) if room.ring.get(seq).is_some())
            });
        }
    }
}
