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
    room: ConversationId,
    seq: Seq,
    /// When that message was written, or a later moment.
    at: Timestamp,
    /// [`room_mark`] of it, which is written with each message.
    mark: u32,
}

impl Recent {
    pub(crate) fn new(room: ConversationId, seq: Seq, at: Timestamp) -> Recent {
        Recent {
            room,
            seq,
            at,
            mark: room_mark(room),
        }
    }
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
            let recent = Recent::new(place.conversation, place.last_seq, place.updated_at);
            track.count(recent);
            if now.since(place.updated_at) > RECENT_QUIET {
                track.watermark = track.watermark.max(place.updated_at);
            } else {
                track.push(recent);
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
            let recent = Recent::new(room, 0, at);
            self.count(recent);
            self.push(recent);
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
        let recent = match (self.find(room), turn) {
            (Some(index), Turn::Removed) => {
                let gone = self.recent.swap_remove(index);
                self.discount(gone);
                Change::Taken(index, gone)
            }
            (None, Turn::Removed) => {
                self.discount(Recent::new(room, seq - 1, at));
                Change::None
            }
            (Some(index), Turn::Said | Turn::Added) => {
                let before = self.recent[index];
                self.discount(before);
                let now = Recent { seq, at, ..before };
                self.count(now);
                self.recent[index] = now;
                Change::Put(index, before)
            }
            (None, Turn::Said | Turn::Added) => {
                let now = Recent::new(room, seq, at);
                if turn == Turn::Said {
                    self.discount(Recent {
                        seq: seq - 1,
                        ..now
                    });
                }
                self.count(now);
                self.recent.push(now);
                Change::Pushed
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
        let recent = self.recent.iter().map(|recent| (recent.mark, recent.seq));
        scratch.write(&self.seal, (self.watermark, self.sum, self.rooms), recent)
    }

    fn find(&self, room: ConversationId) -> Option<usize> {
        self.recent.iter().position(|recent| recent.room == room)
    }

    fn push(&mut self, recent: Recent) {
        self.recent.push(recent);
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

    fn count(&mut self, place: Recent) {
        self.sum = self.sum.wrapping_add(place.seq);
        self.rooms = self.rooms.wrapping_add(place.mark);
    }

    fn discount(&mut self, place: Recent) {
        self.sum = self.sum.wrapping_sub(place.seq);
        self.rooms = self.rooms.wrapping_sub(place.mark);
    }
}
