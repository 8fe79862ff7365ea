//! Where each log ends and who is in it, in memory. A guess: only the compare-and-set of an append
//! proves that it is still so.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cache::Cache;
use crate::deadline::read;
use crate::error::{Error, Result};
use crate::limits::{CLOCK_OFFSET_MAX, HEADS_CACHED_BYTES_MAX};
use crate::model::{
    Conversation, ConversationId, ConversationKind, Message, MessageKind, Rev, Seq, Timestamp,
    UserId,
};
use crate::ports::store::{LogEnd, Store};

/// A conversation as of `last_seq`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: ConversationKind,
    pub(crate) title: Option<Arc<str>>,
    /// In ascending order.
    pub(crate) members: Arc<[UserId]>,
    pub(crate) last_seq: Seq,
    pub(crate) last_ordinal: u64,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    /// Nobody came or went after this message, so every member may see what was said since.
    pub(crate) settled_since: Seq,
    /// The version of the title and the members.
    pub(crate) rev: Rev,
    /// The number of the newest edit or deletion when this was read from the store.
    pub(crate) change_seq: Rev,
}

impl Head {
    pub(crate) fn of(conversation: &Conversation) -> Head {
        Head {
            kind: conversation.kind,
            title: conversation.title.as_deref().map(Arc::from),
            members: conversation.participants.as_slice().into(),
            last_seq: conversation.last_seq,
            last_ordinal: conversation.last_ordinal,
            created_at: conversation.created_at,
            updated_at: conversation.updated_at,
            settled_since: conversation.last_seq,
            rev: conversation.rev,
            change_seq: conversation.change_seq,
        }
    }

    pub(crate) fn conversation(&self, id: ConversationId) -> Conversation {
        Conversation {
            id,
            kind: self.kind,
            title: self.title.as_deref().map(str::to_owned),
            participants: self.members.to_vec(),
            last_seq: self.last_seq,
            last_ordinal: self.last_ordinal,
            created_at: self.created_at,
            updated_at: self.updated_at,
            rev: self.rev,
            change_seq: self.change_seq,
        }
    }

    pub(crate) fn end(&self) -> LogEnd {
        LogEnd {
            last_seq: self.last_seq,
            last_ordinal: self.last_ordinal,
            updated_at: self.updated_at,
        }
    }

    pub(crate) fn set_end(&mut self, end: LogEnd) {
        self.last_seq = end.last_seq;
        self.last_ordinal = end.last_ordinal;
        self.updated_at = end.updated_at;
    }

    /// The same head, with a time that the next message may have: a clock that was ahead may have
    /// written one that lies in the future, and would date all that follows.
    pub(crate) fn taking_time_back(mut self, now: Timestamp) -> Head {
        if self.updated_at > now.plus(CLOCK_OFFSET_MAX) {
            self.updated_at = now;
        }
        self
    }

    pub(crate) fn has_member(&self, user: UserId) -> bool {
        self.members.binary_search(&user).is_ok()
    }

    /// About how many bytes it takes in memory, its place in the table included.
    fn weight(&self) -> usize {
        256 + self.members.len() * size_of::<UserId>()
    }
}

/// The heads in use.
pub(crate) struct Heads {
    store: Arc<dyn Store>,
    cache: Cache<ConversationId, Head>,
}

impl Heads {
    pub(crate) fn new(store: Arc<dyn Store>) -> Heads {
        Heads {
            store,
            cache: Cache::new(HEADS_CACHED_BYTES_MAX, Head::weight),
        }
    }

    /// As last seen by this node.
    pub(crate) fn cached(&self, id: ConversationId) -> Option<Head> {
        self.cache.get(&id)
    }

    /// As they are in the store now; those that do not exist are missing.
    pub(crate) async fn load(
        &self,
        ids: &[ConversationId],
    ) -> Result<HashMap<ConversationId, Head>> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let found = read(self.store.conversations(ids)).await?;
        Ok(found
            .iter()
            .map(|conversation| {
                let head = Head::of(conversation);
                self.keep(conversation.id, head.clone());
                (conversation.id, head)
            })
            .collect())
    }

    /// Remembers a head, unless a newer one is known: reads may overtake one another.
    pub(crate) fn keep(&self, id: ConversationId, head: Head) {
        let last_seq = head.last_seq;
        self.cache
            .put_unless(id, head, |known| known.last_seq > last_seq);
    }

    /// These messages are in a log, consecutive in `seq`, by whichever node. If they follow what is
    /// remembered here, so does the head; what comes late or leaves a gap proves nothing of it. A
    /// change of members or title beyond the head makes it worthless, gap or no gap.
    pub(crate) fn learn(&self, messages: &[Arc<Message>]) {
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
            return;
        };
        let id = first.conversation;
        let Some(mut head) = self.cached(id) else {
            return;
        };
        let is_news = |m: &&Arc<Message>| m.kind == MessageKind::System && m.seq > head.last_seq;
        if messages.iter().any(|message| is_news(&message)) {
            // Who is in it is read again.
            self.forget(id);
            return;
        }
        if head.last_seq + 1 != first.seq {
            return;
        }
        head.set_end(LogEnd {
            last_seq: last.seq,
            last_ordinal: last.ordinal,
            updated_at: last.created_at,
        });
        self.keep(id, head);
    }

    /// Message `seq` removed this person. A head from before it is worthless.
    pub(crate) fn parted(&self, id: ConversationId, user: UserId, seq: Seq) {
        let is_stale = |head: &Head| head.last_seq < seq && head.has_member(user);
        if self.cached(id).is_some_and(|head| is_stale(&head)) {
            self.forget(id);
        }
    }

    pub(crate) fn forget(&self, id: ConversationId) {
        self.cache.remove(&id);
    }

    /// The conversation, if the user is in it. A member is believed from memory; that somebody is
    /// none is only believed from the store.
    pub(crate) async fn for_member(&self, id: ConversationId, user: UserId) -> Result<Head> {
        if let Some(head) = self.cached(id).filter(|head| head.has_member(user)) {
            return Ok(head);
        }
        let loaded = self.load(&[id]).await?.remove(&id);
        loaded
            .filter(|head| head.has_member(user))
            .ok_or_else(not_in_it)
    }
}

/// The one answer for who is not a member, whether the conversation exists or not.
pub(crate) fn not_in_it() -> Error {
    Error::not_found("conversation")
}
