//! What comes in, what goes out, and how one leads to the other.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;

use crate::heads::Heads;
use crate::limits::Config;
use crate::reader::{Reader, Seat};
use crate::replay::Replay;
use crate::room::{Room, Turned};

/// A frame's place in its room: 1, 2, 3 … without holes. 0 is "before the first".
pub type Seq = u64;

/// Milliseconds since any moment of the caller's choice; never falls.
pub type Millis = u64;

/// What names a room or a reader. Cheap to clone: an integer, or a counted reference.
pub trait Key: Clone + Eq + Hash {}

impl<T: Clone + Eq + Hash> Key for T {}

/// One entry of a room's log, cheap to clone.
pub trait Frame: Clone {
    /// What keeping it costs, for the bound of [`Config::ring_bytes`].
    fn bytes(&self) -> usize;
}

/// What the machine is told. Facts about logs and rights may come late, doubled and in any order.
/// What must not: the answers to [`Outlet::fetch`], [`Outlet::compare`] and [`Outlet::subscribe`]
/// come once each, and after [`Input::Gone`] the reader is not named again.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a, R, K, F> {
    /// The reader gets nothing until [`Input::Drained`]. For one that is only just coming: what it
    /// hears of single rooms must not overtake the list of all its rooms that is being read.
    Hold {
        /// Who.
        reader: K,
    },
    /// The reader may see what follows `after` in this room, until a delivery is answered with
    /// [`Verdict::Last`]. If it is in the room already and has got something, it keeps its place:
    /// should its present span turn out to end before `after`, it goes on from there.
    Join {
        /// Where.
        room: R,
        /// Who.
        reader: K,
        /// The last frame it needs not get.
        after: Seq,
    },
    /// The reader may see nothing after `last`. Only hastens what the log itself says.
    Leave {
        /// Where.
        room: R,
        /// Who.
        reader: K,
        /// The last frame it gets.
        last: Seq,
    },
    /// The reader is gone, from all rooms.
    Gone {
        /// Who.
        reader: K,
    },
    /// Frames of a log, consecutive.
    Committed {
        /// Which log.
        room: R,
        /// `seq` of the first one.
        first: Seq,
        /// In order.
        frames: &'a [F],
    },
    /// A log reaches at least to here.
    Head {
        /// Which log.
        room: R,
        /// Its newest frame, or an older one.
        head: Seq,
    },
    /// Answer to [`Outlet::subscribe`]: what is committed from now on will be heard of.
    Subscribed {
        /// Where.
        room: R,
    },
    /// Answer to [`Outlet::fetch`]: what follows `after`, consecutive; empty if there is nothing.
    Fetched {
        /// Which log.
        room: R,
        /// As it was asked for.
        after: Seq,
        /// In order.
        frames: &'a [F],
    },
    /// Answer to [`Outlet::fetch`]: the log could not be read.
    FetchFailed {
        /// Which log.
        room: R,
    },
    /// Answer to [`Outlet::compare`]: where these logs end.
    Heads {
        /// Those that exist among the rooms asked for.
        heads: &'a [(R, Seq)],
    },
    /// Answer to [`Outlet::compare`]: the logs could not be read.
    CompareFailed,
    /// The reader, once full, has room again.
    Drained {
        /// Who.
        reader: K,
    },
    /// Anything may have been lost: compare all heads.
    Doubt,
    /// Time has passed; wanted at [`Machine::wakes_at`].
    Tick,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The reader has it.
    Taken,
    /// The reader has it, and may see nothing after it.
    Last,
    /// The reader has no room: it keeps its place, and gets nothing more until
    /// [`Input::Drained`], here or in any other room.
    Full,
}

/// Why a page is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Something between what was passed on and the head never came.
    Gap,
    /// A reader needs what was passed on before it could take it.
    Behind,
}

/// Where the machine's output goes. Called during [`Machine::handle`]; must not block.
pub trait Outlet<R, K, F> {
    /// The reader is owed this frame now. To each reader and room this comes in rising `seq`,
    /// without holes but between its spans, and each `seq` once unless it was refused.
    fn deliver(&mut self, reader: &K, room: R, seq: Seq, frame: &F) -> Verdict;

    /// The room passes this frame on: once each, in order, before it is delivered to anybody.
    /// Readers whose right begins with it are put into `added`: they join before it.
    fn passed(&mut self, room: R, seq: Seq, frame: &F, added: &mut Vec<K>);

    /// Read at most `limit` frames after `after`. One at a time for each room, however many
    /// readers need it. Answer: [`Input::Fetched`] or [`Input::FetchFailed`].
    fn fetch(&mut self, room: R, after: Seq, limit: usize, reason: Reason);

    /// Compare these rooms with their logs. One at a time. Answer: [`Input::Heads`] or
    /// [`Input::CompareFailed`].
    fn compare(&mut self, rooms: Vec<R>);

    /// Somebody is interested in this room now. Answer: [`Input::Subscribed`].
    fn subscribe(&mut self, room: R);

    /// Nobody has been interested for a while; the machine forgets the room.
    fn unsubscribe(&mut self, room: R);
}

/// The state machine: rooms and who reads them.
#[derive(Debug, Clone)]
pub struct Machine<R, K, F> {
    config: Config,
    now: Millis,
    rooms: Vec<Option<Room<R, K, F>>>,
    free: Vec<u32>,
    slots: HashMap<R, u32>,
    readers: HashMap<K, Reader<R>>,
    replay: Replay,
    heads: Heads<R>,
    /// When rooms want a tick.
    wakes: BTreeSet<(Millis, u32)>,
    /// Rooms without readers, and when they may go, in that order. An entry whose moment is not
    /// the room's own any more is stale.
    empty: VecDeque<(Millis, u32)>,
    /// Seats to see to after a round of deliveries, in rising order; kept to reuse its memory.
    turned: Vec<(u32, Turned)>,
    /// Who is added by the frame that is passed on; kept to reuse its memory.
    added: Vec<K>,
}

impl<R: Key + Copy, K: Key, F: Frame> Machine<R, K, F> {
    /// A machine without rooms.
    pub fn new(config: Config) -> Machine<R, K, F> {
        Machine {
            config,
            now: 0,
            rooms: Vec::new(),
            free: Vec::new(),
            slots: HashMap::new(),
            readers: HashMap::new(),
            replay: Replay::new(),
            heads: Heads::new(),
            wakes: BTreeSet::new(),
            empty: VecDeque::new(),
            turned: Vec::new(),
            added: Vec::new(),
        }
    }

    /// Takes an input, and puts out all that follows from it.
    ///
    /// Cost: a frame to a room of N readers is O(N), without allocation for each of them.
    pub fn handle(
        &mut self,
        now: Millis,
        input: Input<'_, R, K, F>,
        out: &mut impl Outlet<R, K, F>,
    ) {
        self.now = self.now.max(now);
        match input {
            Input::Hold { reader } => self.hold(reader),
            Input::Join {
                room,
                reader,
                after,
            } => self.join(room, reader, after, out),
            Input::Leave { room, reader, last } => self.leave(room, &reader, last, out),
            Input::Gone { reader } => self.gone(&reader),
            Input::Committed {
                room,
                first,
                frames,
            } => self.committed(room, first, frames, out),
            Input::Head { room, head } => self.head(room, head, out),
            Input::Subscribed { room } => self.subscribed(room),
            Input::Fetched {
                room,
                after,
                frames,
            } => self.fetched(room, after, frames, out),
            Input::FetchFailed { room } => self.fetch_failed(room, out),
            Input::Heads { heads } => self.compared(heads, out),
            Input::CompareFailed => self.compare_failed(),
            Input::Drained { reader } => self.drained(&reader, out),
            Input::Doubt => self.doubt_all(),
            Input::Tick => self.tick(out),
        }
        self.close_empty(out);
        self.compare(out);
    }

    /// When a [`Input::Tick`] is wanted at the latest.
    pub fn wakes_at(&self) -> Option<Millis> {
        let room = self.wakes.first().map(|&(at, _)| at);
        let empty = self.empty.front().map(|&(at, _)| at);
        let heads = self.heads.wakes_at(self.slots.len());
        [room, empty, heads].into_iter().flatten().min()
    }

    /// Who is in a room: for what is said besides the log. Not those whose removal is known.
    pub fn readers(&self, room: R) -> impl Iterator<Item = &K> {
        self.room(room)
            .into_iter()
            .flat_map(|room| &room.seats)
            .filter(|seat| !seat.is_ending())
            .map(|seat| &seat.reader)
    }

    /// What a reader is owed next in a room, if it is there.
    pub fn position(&self, room: R, reader: &K) -> Option<Seq> {
        let slot = *self.slots.get(&room)?;
        let index = self.readers.get(reader)?.seat_in(slot)?;
        Some(self.at(slot)?.seats[index as usize].next)
    }

    /// Whether the machine keeps this room.
    pub fn knows(&self, room: R) -> bool {
        self.slots.contains_key(&room)
    }

    /// Rooms kept, those without readers too.
    pub fn room_count(&self) -> usize {
        self.slots.len()
    }
}

/// Readers come and go.
impl<R: Key + Copy, K: Key, F: Frame> Machine<R, K, F> {
    fn hold(&mut self, reader: K) {
        let held = self.readers.entry(reader).or_insert_with(Reader::new);
        held.full = true;
        for &(slot, index) in held.seats() {
            if let Some(Some(room)) = self.rooms.get_mut(slot as usize) {
                room.seats[index as usize].full = true;
            }
        }
    }

    fn join(&mut self, key: R, reader: K, after: Seq, out: &mut impl Outlet<R, K, F>) {
        let first = after + 1;
        let known = self.readers.get(&reader);
        if known.is_some_and(|known| known.departed_since(key, first)) {
            return;
        }
        let slot = match self.slots.get(&key) {
            Some(&slot) => slot,
            None => {
                out.subscribe(key);
                self.open(key, after)
            }
        };
        self.seat(slot, reader, first);
        self.settle(slot, out);
    }

    /// Seats a reader in a room, or tells its seat of another span.
    fn seat(&mut self, slot: u32, reader: K, first: Seq) {
        let Some(Some(room)) = self.rooms.get_mut(slot as usize) else {
            return;
        };
        room.reaches(first - 1);
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
    }

    fn leave(&mut self, key: R, reader: &K, last: Seq, out: &mut impl Outlet<R, K, F>) {
        let Some(&slot) = self.slots.get(&key) else {
            return;
        };
        let seated = known_seat(&self.readers, reader, slot);
        if let Some(room) = self.at_mut(slot) {
            room.reaches(last);
            if let Some(index) = seated {
                room.seats[index as usize].end_at(last);
            }
        }
        self.settle(slot, out);
    }

    fn gone(&mut self, reader: &K) {
        let Some(gone) = self.readers.remove(reader) else {
            return;
        };
        for &(slot, index) in gone.seats() {
            self.vacate(slot, index);
        }
    }

    fn drained(&mut self, reader: &K, out: &mut impl Outlet<R, K, F>) {
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
    fn turn(&mut self, slot: u32) -> bool {
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

/// Logs grow.
impl<R: Key + Copy, K: Key, F: Frame> Machine<R, K, F> {
    fn committed(&mut self, key: R, first: Seq, frames: &[F], out: &mut impl Outlet<R, K, F>) {
        let Some(&slot) = self.slots.get(&key) else {
            return;
        };
        self.take_frames(slot, first, frames, out);
        self.settle(slot, out);
    }

    fn fetched(&mut self, key: R, after: Seq, frames: &[F], out: &mut impl Outlet<R, K, F>) {
        let Some(&slot) = self.slots.get(&key) else {
            return;
        };
        if let Some(Some(room)) = self.rooms.get_mut(slot as usize) {
            room.fetched(after, frames.is_empty(), self.now, &self.config);
            room.refill_from_page(after, frames, out, &mut self.turned);
        }
        self.turn(slot);
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

    fn head(&mut self, key: R, head: Seq, out: &mut impl Outlet<R, K, F>) {
        if let Some(&slot) = self.slots.get(&key) {
            if let Some(room) = self.at_mut(slot) {
                room.reaches(head);
            }
            self.settle(slot, out);
        }
    }

    fn fetch_failed(&mut self, key: R, out: &mut impl Outlet<R, K, F>) {
        if let Some(&slot) = self.slots.get(&key) {
            if let Some(Some(room)) = self.rooms.get_mut(slot as usize) {
                room.fetch_failed(self.now, &self.config);
            }
            self.settle(slot, out);
        }
    }

    /// Brings a room to rest: lagging seats get what is here, the rest is asked for.
    fn settle(&mut self, slot: u32, out: &mut impl Outlet<R, K, F>) {
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
        let wake = room.ask(self.now, &self.config, out);
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

/// Rooms come and go, and are compared with their logs.
impl<R: Key + Copy, K: Key, F: Frame> Machine<R, K, F> {
    fn open(&mut self, key: R, passed: Seq) -> u32 {
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

    fn subscribed(&mut self, key: R) {
        if let Some(&slot) = self.slots.get(&key) {
            if let Some(room) = self.at_mut(slot) {
                room.subscribed = true;
            }
            // What was committed before may not have been heard of.
            self.doubt(slot);
        }
    }

    fn doubt_all(&mut self) {
        for slot in 0..self.rooms.len() as u32 {
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

    fn compared(&mut self, heads: &[(R, Seq)], out: &mut impl Outlet<R, K, F>) {
        self.heads.answered();
        for &(key, head) in heads {
            self.head(key, head, out);
        }
    }

    fn compare_failed(&mut self) {
        for key in self.heads.failed(self.now, &self.config) {
            if let Some(&slot) = self.slots.get(&key) {
                self.doubt(slot);
            }
        }
    }

    /// Asks for the next comparison, if one is due and none is in flight.
    fn compare(&mut self, out: &mut impl Outlet<R, K, F>) {
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

    fn tick(&mut self, out: &mut impl Outlet<R, K, F>) {
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
    fn close_empty(&mut self, out: &mut impl Outlet<R, K, F>) {
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

    fn room(&self, key: R) -> Option<&Room<R, K, F>> {
        self.at(*self.slots.get(&key)?)
    }

    fn at(&self, slot: u32) -> Option<&Room<R, K, F>> {
        self.rooms.get(slot as usize)?.as_ref()
    }

    fn at_mut(&mut self, slot: u32) -> Option<&mut Room<R, K, F>> {
        self.rooms.get_mut(slot as usize)?.as_mut()
    }
}

fn known_seat<R: Copy + Eq, K: Key>(
    readers: &HashMap<K, Reader<R>>,
    reader: &K,
    slot: u32,
) -> Option<u32> {
    readers.get(reader)?.seat_in(slot)
}
