//! What comes in, what goes out, and how one leads to the other.

use std::collections::{BTreeSet, HashMap, VecDeque};

use foldhash::fast::RandomState;
use std::hash::Hash;

use crate::heads::Heads;
use crate::limits::Config;
use crate::reader::Reader;
use crate::replay::Replay;
use crate::room::{Room, Turned};

/// A frame's place in its room: 1, 2, 3 … without holes. 0 is "before the first".
pub type Seq = u64;

/// The number of a change in its room, as the room's log counts them; 1 for what was never changed.
pub type Rev = u64;

/// Milliseconds since any moment of the caller's choice; never falls.
pub type Millis = u64;

/// What names a room or a reader. Cheap to clone: an integer, or a counted reference.
pub trait Key: Clone + Eq + Hash {}

impl<T: Clone + Eq + Hash> Key for T {}

/// One entry of a room's log, cheap to clone.
pub trait Frame: Clone {
    /// What keeping it costs, for the bound of [`Config::ring_bytes`].
    fn bytes(&self) -> usize;

    /// Which version it is: the number of the change that made it so, 1 as it was committed. A later one
    /// takes the place of an earlier one, never the other way round.
    fn rev(&self) -> Rev;
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
    ///
    /// Of several spans in a room that is not kept here, the earlier ones have to be told first:
    /// what is known of a room that is kept, the log itself tells in order.
    Join {
        /// Where.
        room: R,
        /// Who.
        reader: K,
        /// The last frame it needs not get.
        after: Seq,
    },
    /// As [`Input::Join`], for a reader that has what lies before: it took that over another
    /// connection. Nothing that is heard later takes it back there.
    Resume {
        /// Where.
        room: R,
        /// Who.
        reader: K,
        /// The last frame it has.
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
    /// A frame has a later version, for readers that have not got it yet; the others are to be told.
    Changed {
        /// Which log.
        room: R,
        /// Which frame.
        seq: Seq,
        /// As it is now.
        frame: F,
    },
    /// A log has been changed at least up to here (0: that is not known). Readers that join a room that
    /// is not kept yet know these changes, or will read the log.
    Changes {
        /// Which log.
        room: R,
        /// Its newest change, or an older one.
        head: Rev,
    },
    /// Answer to [`Outlet::fetch_changes`]: frames that were changed after `after`, as they are now,
    /// rising in [`Frame::rev`].
    ChangesFetched {
        /// Which log.
        room: R,
        /// As it was asked for.
        after: Rev,
        /// With their places.
        changes: &'a [(Seq, F)],
    },
    /// Answer to [`Outlet::fetch_changes`]: the log could not be read.
    ChangesFailed {
        /// Which log.
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
    /// Answer to [`Outlet::compare`]: where these logs end, and their newest change (0: not known).
    Heads {
        /// Those that exist among the rooms asked for.
        heads: &'a [(R, Seq, Rev)],
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

    /// A frame was changed: readers of the room that may see it are to be told. Each change once, rising; what
    /// was changed again before it could be told comes in its later version only. A page that was fetched
    /// may have brought a later version still, and so may a delivery that follows within the same
    /// [`Machine::handle`]: readers are told after that, and of the latest version only.
    fn changed(&mut self, room: R, seq: Seq, frame: &F);

    /// Read at most `limit` frames that were changed after this change. One at a time for each room.
    /// Answer: [`Input::ChangesFetched`] or [`Input::ChangesFailed`].
    fn fetch_changes(&mut self, room: R, after: Rev, limit: usize);

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
    pub(crate) config: Config,
    pub(crate) now: Millis,
    pub(crate) rooms: Vec<Option<Room<R, K, F>>>,
    pub(crate) free: Vec<u32>,
    pub(crate) slots: HashMap<R, u32, RandomState>,
    pub(crate) readers: HashMap<K, Reader<R>, RandomState>,
    pub(crate) replay: Replay,
    pub(crate) heads: Heads<R>,
    /// When rooms want a tick.
    pub(crate) wakes: BTreeSet<(Millis, u32)>,
    /// Rooms without readers, and when they may go, in that order. An entry whose moment is not
    /// the room's own any more is stale.
    pub(crate) empty: VecDeque<(Millis, u32)>,
    /// Seats to see to after a round of deliveries, in rising order; kept to reuse its memory.
    pub(crate) turned: Vec<(u32, Turned)>,
    /// Who is added by the frame that is passed on; kept to reuse its memory.
    pub(crate) added: Vec<K>,
}

impl<R: Key + Copy, K: Key, F: Frame> Machine<R, K, F> {
    /// A machine without rooms.
    pub fn new(config: Config) -> Machine<R, K, F> {
        Machine {
            config,
            now: 0,
            rooms: Vec::new(),
            free: Vec::new(),
            slots: HashMap::default(),
            readers: HashMap::default(),
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
            Input::Resume {
                room,
                reader,
                after,
            } => self.resume(room, reader, after, out),
            Input::Leave { room, reader, last } => self.leave(room, &reader, last, out),
            Input::Gone { reader } => self.gone(&reader),
            Input::Committed {
                room,
                first,
                frames,
            } => self.committed(room, first, frames, out),
            Input::Head { room, head } => self.head(room, head, out),
            Input::Changed { room, seq, frame } => self.changed(room, seq, &frame, out),
            Input::Changes { room, head } => self.changes(room, head, out),
            Input::ChangesFetched {
                room,
                after,
                changes,
            } => self.changes_fetched(room, after, changes, out),
            Input::ChangesFailed { room } => self.changes_failed(room, out),
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

    /// Whether a span of the reader's that begins at `first` lies before its removal from the room: word
    /// of it is late. As far as is remembered.
    pub fn has_left(&self, room: R, reader: &K, first: Seq) -> bool {
        let known = self.readers.get(reader);
        known.is_some_and(|known| known.departed_since(room, first))
    }

    /// Whether the machine keeps this room.
    pub fn knows(&self, room: R) -> bool {
        self.slots.contains_key(&room)
    }

    /// Whether this change of the room was told, and all before it.
    pub fn knows_change(&self, room: R, rev: Rev) -> bool {
        self.room(room)
            .is_some_and(|room| room.changes.is_known(rev))
    }

    /// Rooms kept, those without readers too.
    pub fn room_count(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn room(&self, key: R) -> Option<&Room<R, K, F>> {
        self.at(*self.slots.get(&key)?)
    }

    pub(crate) fn at(&self, slot: u32) -> Option<&Room<R, K, F>> {
        self.rooms.get(slot as usize)?.as_ref()
    }

    pub(crate) fn at_mut(&mut self, slot: u32) -> Option<&mut Room<R, K, F>> {
        self.rooms.get_mut(slot as usize)?.as_mut()
    }
}
