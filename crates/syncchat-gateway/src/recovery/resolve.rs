//! Where a connection was, worked out of its offset and of what the logs say: exactly, or not at all.
//!
//! **Why it is exact.** Let `p` be the place of the old connection in each of its conversations. An
//! offset names `p` of the recent ones. Of every other one it says that message `p` was written at or
//! before the watermark. So the newest message written at or before the watermark, `i`, is `p` or a
//! later one: later only if a message of so early a time came to be known after the offset was
//! written. The offset also has the sum of all `p`. As no `i` is below its
//! `p`, the sums agree only if each `i` is its `p`. Nothing is guessed: where they do not agree the
//! client is told that it was not recovered.
//!
//! That needs the conversations to be those of the old connection. One that the person was removed
//! from since shows in the sum of the conversations' marks. One that they came to since was made
//! after the watermark if it is new, or begins with a span that tells; for somebody's first time in
//! an older group neither is so, and it is found as what both sums have too much.

use std::collections::HashMap;

use syncchat_core::model::{ConversationId, Membership, Seq, SeqSpans, Timestamp};

use super::offset::{Offset, room_mark};
use super::track::Recent;
use crate::limits::{NEW_ROOMS_MAX, RECOVERED_MESSAGES_MAX};

/// Why a connection is not recovered. Its name in `syncchat_recoveries_total{result}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The pid or the offset is none of this person's.
    Invalid,
    /// The person is no longer in a conversation they were in.
    Membership,
    /// The places cannot be told exactly.
    Uncertain,
    /// A log ends before a message that the client was sent: the conversation, that message's `seq`,
    /// and where the log ends.
    Rewound(ConversationId, Seq, Seq),
    /// More than [`RECOVERED_MESSAGES_MAX`] messages were missed.
    TooMuch,
    /// The store did not answer in time.
    Unavailable,
}

impl Lost {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Lost::Invalid => "invalid",
            Lost::Membership => "membership",
            Lost::Uncertain => "uncertain",
            Lost::Rewound(..) => "rewound",
            Lost::TooMuch => "too_much",
            Lost::Unavailable => "unavailable",
        }
    }
}

/// Where to go on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) starts: HashMap<ConversationId, Start>,
    /// Conversations the client was not in.
    pub(crate) new: Vec<(ConversationId, Came)>,
}

/// How a person came to a conversation while they were away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// It was made, with them in it.
    Made,
    /// They were there before, and were added again: their start is known.
    Back,
    /// They were added to it for the first time: by the first such message after their start.
    Joined,
}

/// Where to go on in one conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    /// The last message that is not owed.
    pub(crate) after: Seq,
    /// The client has what lies before.
    pub(crate) resumed: bool,
    /// Where later spans of the person begin.
    pub(crate) returns: Vec<Seq>,
}

impl Start {
    /// At the end of the log.
    pub(crate) fn at_head(place: &Membership) -> Start {
        Start {
            after: place.last_seq,
            resumed: false,
            returns: Vec::new(),
        }
    }
}

/// Conversations whose place at the watermark has to be looked up: all others are quiet since, or
/// told by the offset.
pub(crate) fn unknown<'a>(offset: &Offset, places: &'a [Membership]) -> Vec<&'a Membership> {
    let told = |place: &&Membership| {
        let mark = room_mark(place.conversation);
        offset.recent.iter().any(|&(other, _)| other == mark)
    };
    let busy = places.iter().filter(|p| p.updated_at > offset.watermark);
    busy.filter(|place| !told(place)).collect()
}

/// Works it out. `places` are the conversations the person is in now; `at_watermark` has those of
/// [`unknown`], and `made` says of those that had no message then when they were made.
pub(crate) fn resolve(
    offset: &Offset,
    places: &[Membership],
    at_watermark: &HashMap<ConversationId, Seq>,
    made: &HashMap<ConversationId, Timestamp>,
) -> Result<Found, Lost> {
    let mut recent = told(offset, places)?;
    let mut found = Found::default();
    let (mut sum, mut rooms) = (0, 0);
    let mut perhaps_new = Vec::new();
    let mut missed = 0;
    for place in places {
        let room = place.conversation;
        let told = recent.remove(&room);
        let at = told.or_else(|| at_watermark.get(&room).copied());
        let after = at.unwrap_or(place.last_seq);
        let seated = is_seated(&place.spans, after);
        if after > place.last_seq {
            return Err(Lost::Rewound(room, after, place.last_seq));
        }
        if told.is_some() && !seated {
            return Err(Lost::Uncertain);
        }
        let is_made = made.get(&room).is_some_and(|made| *made > offset.watermark);
        match (seated, is_made) {
            (false, _) => found.new.push((room, Came::Back)),
            (true, true) => found.new.push((room, Came::Made)),
            (true, false) => {
                sum += after;
                rooms = room_mark(room).wrapping_add(rooms);
            }
        }
        if seated
            && !is_made
            && told.is_none()
            && after < place.last_seq
            && place.spans == SeqSpans::all()
        {
            perhaps_new.push((room, after));
        }
        missed += place.visible().map_or(0, |v| v.count_after(after));
        found
            .starts
            .insert(room, start(&place.spans, after, seated));
    }
    let excess = (
        sum.wrapping_sub(offset.sum),
        rooms.wrapping_sub(offset.rooms),
    );
    for (room, after) in surplus(excess, &perhaps_new)? {
        found.new.push((room, Came::Joined));
        let start = Start {
            after,
            resumed: false,
            returns: Vec::new(),
        };
        found.starts.insert(room, start);
    }
    if missed > RECOVERED_MESSAGES_MAX || found.new.len() > NEW_ROOMS_MAX {
        return Err(Lost::TooMuch);
    }
    Ok(found)
}

/// The state of the connection that goes on from there.
pub(crate) fn goes_on(
    offset: &Offset,
    places: &[Membership],
    found: &Found,
) -> ((Timestamp, u64, u32), Vec<Recent>) {
    let mut rooms = offset.rooms;
    let mut recent = Vec::new();
    for place in places {
        let room = place.conversation;
        let mark = room_mark(room);
        let told = offset.recent.iter().find(|&&(other, _)| other == mark);
        let seq = match told {
            Some(&(_, seq)) => seq,
            // In all others they will be added by the first message that is delivered.
            None if found.new.contains(&(room, Came::Made)) => {
                rooms = rooms.wrapping_add(mark);
                0
            }
            None => continue,
        };
        let at = place.updated_at;
        recent.push(Recent::new(room, seq, at));
    }
    ((offset.watermark, offset.sum, rooms), recent)
}

/// The places that the offset names.
fn told(offset: &Offset, places: &[Membership]) -> Result<HashMap<ConversationId, Seq>, Lost> {
    let mut by_mark: HashMap<u32, Option<ConversationId>> = HashMap::new();
    for place in places {
        let room = place.conversation;
        by_mark
            .entry(room_mark(room))
            .and_modify(|first| *first = None)
            .or_insert(Some(room));
    }
    let named = offset.recent.iter().map(|(mark, seq)| {
        let room = by_mark.get(mark).ok_or(Lost::Membership)?;
        Ok((room.ok_or(Lost::Uncertain)?, *seq))
    });
    named.collect()
}

/// Whether somebody who has all up to `after` is owed what follows it: it lies in one of their
/// spans, or before the first message, and is not the end of one.
fn is_seated(spans: &SeqSpans, after: Seq) -> bool {
    let mut spans = spans.parts().iter();
    spans.any(|&(first, last)| {
        (first <= after || (first == 1 && after == 0)) && last.is_none_or(|last| after < last)
    })
}

fn start(spans: &SeqSpans, after: Seq, seated: bool) -> Start {
    let firsts = spans.parts().iter().map(|&(first, _)| first);
    let mut returns: Vec<Seq> = firsts.filter(|&first| first > after && first > 1).collect();
    let after = match seated {
        true => after,
        // They came back since, or more than once.
        false if !returns.is_empty() => returns.remove(0) - 1,
        false => after,
    };
    Start {
        after,
        resumed: seated,
        returns,
    }
}

/// Those that the person came to since: exactly what both sums have too much. Two at most; to tell
/// more of them apart is not worth it.
fn surplus(
    (sum, rooms): (u64, u32),
    candidates: &[(ConversationId, Seq)],
) -> Result<Vec<(ConversationId, Seq)>, Lost> {
    if (sum, rooms) == (0, 0) {
        return Ok(Vec::new());
    }
    for (index, &one) in candidates.iter().enumerate() {
        if one.1 == sum && room_mark(one.0) == rooms {
            return Ok(vec![one]);
        }
        for &other in &candidates[index + 1..] {
            let marks = room_mark(one.0).wrapping_add(room_mark(other.0));
            if one.1 + other.1 == sum && marks == rooms {
                return Ok(vec![one, other]);
            }
        }
    }
    Err(if rooms == 0 {
        Lost::Uncertain
    } else {
        Lost::Membership
    })
}
