//! Where one connection is: kept while messages are queued for it, and written into each of them.
//!
//! Two things have to hold of what is kept, for what it says to be exact (see [`super::resolve`]):
//! the newest message that was queued of each conversation that is not among `recent` was written at
//! or before `watermark`, and `sum` adds up the places of all conversations.

use syncchat_core::model::{ConversationId, Membership, Seq, Timestamp};
use syncchat_identity::Seal;

use super::offset::{Scratch, room_mark};
use crate::limits::{RECENT_QUIET, RECENT_ROOMS_MAX};

/// The state of one connection.
pub(crate) struct Track {
    seal: Seal,
    watermark: Timestamp,
    sum: u64,
    rooms: u32,
    recent: Vec<Recent>,
}

/// A conversation whose place is told by itself.
#[derive(Clone, Copy)]
pub(crate) struct Recent {
    pub(crate) room: ConversationId,
    pub(crate) seq: Seq,
    /// When that message was written, or a later moment.
    pub(crate) at: Timestamp,
}

/// A message that is to be queued.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) room: ConversationId,
    pub(crate) seq: Seq,
    pub(crate) at: Timestamp,
    pub(crate) turn: Turn,
}

/// What a message means for who gets it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing but itself.
    Said,
    /// They are in the conversation from here on.
    Added,
    /// They are out of it after this.
    Removed,
}

/// How to take a step back: the message found no room.
pub(crate) struct Undo {
    sum: u64,
    rooms: u32,
    recent: Change,
}

enum Change {
    None,
    Pushed,
    Put(usize, Recent),
    Taken(usize, Recent),
}

impl Track {
    /// Of somebody who begins at the ends of these logs.
    pub(crate) fn begin(seal: Seal, memberships: &[Membership], now: Timestamp) -> Track {
        let mut track = Track {
            seal,
            watermark: Timestamp::from_millis(0),
            sum: 0,
            rooms: 0,
            recent: Vec::new(),
        };
        for place in memberships {
            track.count(place.conversation, place.last_seq);
            if now.since(place.updated_at) > RECENT_QUIET {
                track.watermark = track.watermark.max(place.updated_at);
            } else {
                track.push(place.conversation, place.last_seq, place.updated_at);
            }
        }
        track
    }

    /// Of somebody who goes on from there.
    pub(crate) fn resume(
        seal: Seal,
        (watermark, sum, rooms): (Timestamp, u64, u32),
        recent: Vec<Recent>,
    ) -> Track {
        let mut track = Track {
            seal,
            watermark,
            sum,
            rooms,
            recent,
        };
        track.bound();
        track
    }

    /// A conversation was made with this person in it; it has no messages.
    pub(crate) fn is_new(&mut self, room: ConversationId, at: Timestamp) {
        if self.find(room).is_none() {
            self.count(room, 0);
            self.push(room, 0, at);
        }
    }

    /// The next message is about to be queued. To be followed by [`Self::settle`] or
    /// [`Self::take_back`].
    pub(crate) fn advance(&mut self, step: Step) -> Undo {
        let Step {
            room,
            seq,
            at,
            turn,
        } = step;
        let (sum, rooms) = (self.sum, self.rooms);
        let known = self.find(room);
        match (known, turn) {
            (Some(index), _) => self.discount(room, self.recent[index].seq),
            (None, Turn::Added) => {}
            (None, _) => self.discount(room, seq - 1),
        }
        let recent = if turn == Turn::Removed {
            match known {
                Some(index) => Change::Taken(index, self.recent.swap_remove(index)),
                None => Change::None,
            }
        } else {
            self.count(room, seq);
            let recent = Recent { room, seq, at };
            match known {
                Some(index) => {
                    Change::Put(index, std::mem::replace(&mut self.recent[index], recent))
                }
                None => {
                    self.recent.push(recent);
                    Change::Pushed
                }
            }
        };
        Undo { sum, rooms, recent }
    }

    /// The message was not queued.
    pub(crate) fn take_back(&mut self, undo: Undo) {
        (self.sum, self.rooms) = (undo.sum, undo.rooms);
        match undo.recent {
            Change::None => {}
            Change::Pushed => {
                self.recent.pop();
            }
            Change::Put(index, recent) => self.recent[index] = recent,
            Change::Taken(index, recent) => {
                self.recent.push(recent);
                let last = self.recent.len() - 1;
                self.recent.swap(index, last);
            }
        }
    }

    /// The message was queued. Conversations that have been quiet for a while are left to the
    /// watermark, if what was queued is `fresh`: while older messages are still being caught up
    /// with, it would be ahead of them.
    pub(crate) fn settle(&mut self, at: Timestamp, fresh: bool) {
        if fresh && self.recent.len() > 1 {
            let watermark = &mut self.watermark;
            self.recent.retain(|recent| {
                let quiet = at.since(recent.at) > RECENT_QUIET;
                if quiet {
                    *watermark = (*watermark).max(recent.at);
                }
                !quiet
            });
        }
        self.bound();
    }

    /// Writes the offset of all that has been queued.
    pub(crate) fn offset<'a>(&self, scratch: &'a mut Scratch) -> &'a str {
        let recent = self.recent.iter().map(|r| (room_mark(r.room), r.seq));
        scratch.write(&self.seal, (self.watermark, self.sum, self.rooms), recent)
    }

    fn find(&self, room: ConversationId) -> Option<usize> {
        self.recent.iter().position(|recent| recent.room == room)
    }

    fn push(&mut self, room: ConversationId, seq: Seq, at: Timestamp) {
        self.recent.push(Recent { room, seq, at });
        self.bound();
    }

    /// Beyond [`RECENT_ROOMS_MAX`] those go whose newest message is oldest: where another
    /// conversation has one just as old that is still to come, there will be no recovery from here.
    fn bound(&mut self) {
        while self.recent.len() > RECENT_ROOMS_MAX {
            let oldest = (0..).zip(&self.recent).min_by_key(|(_, recent)| recent.at);
            let Some(oldest) = oldest.map(|(index, _)| index) else {
                return;
            };
            let gone = self.recent.swap_remove(oldest);
            self.watermark = self.watermark.max(gone.at);
        }
    }

    fn count(&mut self, room: ConversationId, seq: Seq) {
        self.sum = self.sum.wrapping_add(seq);
        self.rooms = self.rooms.wrapping_add(room_mark(room));
    }

    fn discount(&mut self, room: ConversationId, seq: Seq) {
        self.sum = self.sum.wrapping_sub(seq);
        self.rooms = self.rooms.wrapping_sub(room_mark(room));
    }
}
