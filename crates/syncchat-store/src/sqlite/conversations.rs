//! Conversations: making them, and finding a person's.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::{Connection, OptionalExtension, params};
use syncchat_core::model::{
    Conversation, ConversationId, ConversationKind, Digest, SeqSpans, UserId,
};
use syncchat_core::ports::store::{
    ConversationCursor, CreatedConversation, Mark, NewConversation, RequestKey,
};

use super::errors::damaged;
use super::rows::{
    CONVERSATION_COLUMNS, conversation, int, load_conversation, spans_to_text, with_participants,
};
use crate::limits::{CONTACTS_CONVERSATIONS_MAX, CONTACTS_SCAN_MAX};
use crate::pair_key;

pub(super) fn by_ids(
    connection: &Connection,
    ids: &[ConversationId],
) -> rusqlite::Result<Vec<Conversation>> {
    ids.iter()
        .filter_map(|id| load_conversation(connection, *id).transpose())
        .collect()
}

pub(super) fn marks(
    connection: &Connection,
    ids: &[ConversationId],
) -> rusqlite::Result<Vec<Mark>> {
    let mut find = connection
        .prepare_cached("SELECT last_seq, change_seq FROM conversations WHERE id = ?1")?;
    let mut marks = Vec::with_capacity(ids.len());
    for id in ids {
        let mark = find.query_row([id.bytes()], |row| {
            Ok(Mark {
                conversation: *id,
                last_seq: row.get(0)?,
                change_seq: row.get(1)?,
            })
        });
        marks.extend(mark.optional()?);
    }
    Ok(marks)
}

pub(super) fn create(
    connection: &Connection,
    new: &NewConversation,
) -> rusqlite::Result<CreatedConversation> {
    let pair = match new.kind {
        ConversationKind::Private => pair_key(&new.participants),
        ConversationKind::Group => None,
    };
    if let Some(request) = &new.request
        && let Some((made, asked)) = by_request(connection, request)?
    {
        return Ok(CreatedConversation::Repeated(made, asked));
    }
    if let Some(existing) = pair
        .map(|pair| by_pair(connection, pair))
        .transpose()?
        .flatten()
    {
        return Ok(CreatedConversation::Existing(existing));
    }
    let request = new.request.as_ref();
    connection
        .prepare_cached(
            "INSERT INTO conversations
                 (id, kind, title, pair, last_seq, last_ordinal, created_at, updated_at,
                  creator, request_key, asked)
             VALUES (?1, ?2, ?3, ?4, 0, 0, ?5, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            new.id.bytes(),
            new.kind.as_str(),
            new.title,
            pair,
            new.created_at.millis(),
            request.map(|request| request.caller.bytes()),
            request.map(|request| request.key.as_str()),
            request.map(|request| request.asked.bytes()),
        ])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO members
             (conversation, user, spans, open, read_seq, read_ordinal, delivered_seq)
         VALUES (?1, ?2, ?3, 1, 0, 0, 0)",
    )?;
    let spans = spans_to_text(&SeqSpans::all());
    for user in &new.participants {
        insert.execute(params![new.id.bytes(), user.bytes(), spans])?;
    }
    load_conversation(connection, new.id)?
        .map(CreatedConversation::New)
        .ok_or_else(|| damaged("conversations"))
}

/// What the caller made under this key before, and the digest of what was asked for.
fn by_request(
    connection: &Connection,
    request: &RequestKey,
) -> rusqlite::Result<Option<(Conversation, Digest)>> {
    let found = connection
        .prepare_cached(
            "SELECT id, asked FROM conversations WHERE creator = ?1 AND request_key = ?2",
        )?
        .query_row(
            params![request.caller.bytes(), request.key.as_str()],
            |row| {
                let id = ConversationId::from_bytes(row.get(0)?);
                Ok((id, Digest::from_bytes(row.get(1)?)))
            },
        )
        .optional()?;
    let Some((id, asked)) = found else {
        return Ok(None);
    };
    Ok(load_conversation(connection, id)?.map(|made| (made, asked)))
}

fn by_pair(connection: &Connection, pair: [u8; 24]) -> rusqlite::Result<Option<Conversation>> {
    let id = connection
        .prepare_cached("SELECT id FROM conversations WHERE pair = ?1")?
        .query_row([pair], |row| row.get(0).map(ConversationId::from_bytes))
        .optional()?;
    match id {
        Some(id) => load_conversation(connection, id),
        None => Ok(None),
    }
}

pub(super) fn of_user(
    connection: &Connection,
    user: UserId,
    after: Option<ConversationCursor>,
    limit: usize,
) -> rusqlite::Result<Vec<Conversation>> {
    let (updated_at, id) = match after {
        Some(cursor) => (cursor.updated_at.millis(), cursor.id.bytes()),
        None => (i64::MAX, [0xff; 12]),
    };
    let page = connection
        .prepare_cached(&format!(
            "SELECT {CONVERSATION_COLUMNS} FROM conversations
             WHERE id IN (SELECT conversation FROM members WHERE user = ?1 AND open = 1)
                 AND (updated_at, id) < (?2, ?3)
             ORDER BY updated_at DESC, id DESC LIMIT ?4"
        ))?
        .query_map(
            params![user.bytes(), updated_at, id, int(limit as u64)],
            conversation,
        )?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    page.into_iter()
        .map(|found| with_participants(connection, found))
        .collect()
}

/// Each room is read once for all of these who are in it: a crowd that comes at once shares its rooms.
pub(super) fn contacts(
    connection: &Connection,
    users: &[UserId],
    limit: usize,
) -> rusqlite::Result<Vec<Vec<UserId>>> {
    let mut rooms = Rooms {
        // One more than wanted: the person is among them.
        people_max: limit + 1,
        known: HashMap::new(),
        kept: 0,
    };
    users
        .iter()
        .map(|user| contacts_of(connection, &mut rooms, *user, limit))
        .collect()
}

fn contacts_of(
    connection: &Connection,
    rooms: &mut Rooms,
    user: UserId,
    limit: usize,
) -> rusqlite::Result<Vec<UserId>> {
    let mut find = connection
        .prepare_cached("SELECT conversation FROM members WHERE user = ?1 AND open = 1 LIMIT ?2")?;
    let looked_at_max = int(CONTACTS_CONVERSATIONS_MAX as u64);
    let mut found = find.query(params![user.bytes(), looked_at_max])?;
    let mut contacts: Vec<UserId> = Vec::new();
    let mut looked_at = 0;
    while let Some(row) = found.next()? {
        let people = rooms.people(connection, ConversationId::from_bytes(row.get(0)?))?;
        looked_at += people.len();
        contacts.extend(people.iter().filter(|other| **other != user));
        if contacts.len() >= limit {
            contacts.sort_unstable();
            contacts.dedup();
        }
        if contacts.len() >= limit || looked_at >= CONTACTS_SCAN_MAX {
            break;
        }
    }
    contacts.sort_unstable();
    contacts.dedup();
    contacts.truncate(limit);
    Ok(contacts)
}

/// Who is in a room, as far as it matters, once for all who ask.
struct Rooms {
    people_max: usize,
    known: HashMap<ConversationId, Vec<UserId>>,
    /// People in all of them, [`CONTACTS_SCAN_MAX`] and a room more at most.
    kept: usize,
}

impl Rooms {
    fn people(
        &mut self,
        connection: &Connection,
        room: ConversationId,
    ) -> rusqlite::Result<&[UserId]> {
        if self.kept > CONTACTS_SCAN_MAX {
            self.known.clear();
            self.kept = 0;
        }
        match self.known.entry(room) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => {
                let people = connection
                    .prepare_cached(
                        "SELECT user FROM members WHERE conversation = ?1 AND open = 1 LIMIT ?2",
                    )?
                    .query_map(params![room.bytes(), int(self.people_max as u64)], |row| {
                        row.get(0).map(UserId::from_bytes)
                    })?
                    .collect::<rusqlite::Result<Vec<_>>>()?;
                self.kept += people.len();
                Ok(unknown.insert(people))
            }
        }
    }
}
