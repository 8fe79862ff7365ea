//! Where a person is, and where logs end.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Query;
use crate::chat::Backfill;
use crate::deadline::read;
use crate::error::Result;
use crate::limits::{ADDITIONS_MAX, ADDITIONS_READ_MAX};
use crate::model::{
    Conversation, ConversationId, Membership, Message, Rev, Seq, Timestamp, UserId,
};
use crate::pipeline::heads::not_in_it;
use crate::ports::store::{LogRange, Mark, Store};

/// Every place where each of these is a member now, in the order asked.
pub(super) async fn of(store: &dyn Store, users: &[UserId]) -> Result<Vec<Vec<Membership>>> {
    read(store.memberships_of(users)).await
}

impl Query {
    /// Every place where each of these is a member now, in the order asked.
    pub(crate) async fn memberships_of(&self, users: &[UserId]) -> Result<Vec<Vec<Membership>>> {
        of(&*self.store, users).await
    }

    /// Every place where the user is a member now.
    pub(crate) async fn memberships(&self, user: UserId) -> Result<Vec<Membership>> {
        let mut places = self.memberships_of(&[user]).await?;
        Ok(places.pop().unwrap_or_default())
    }

    /// Who of those that `concern` the caller became a member since, with the conversation as it is
    /// now and the message that says so; each once, and only if they still are.
    pub(crate) async fn additions_since(
        &self,
        since: Timestamp,
        concern: impl Fn(UserId) -> bool + Send,
    ) -> Result<Vec<(UserId, Arc<Conversation>, Seq)>> {
        let found = read(self.store.additions_since(since, ADDITIONS_MAX)).await?;
        // The last time counts: what lies before may have ended meanwhile.
        let mut latest: BTreeMap<(ConversationId, UserId), Seq> = BTreeMap::new();
        for addition in found.into_iter().filter(|addition| concern(addition.user)) {
            let seq = latest
                .entry((addition.conversation, addition.user))
                .or_default();
            *seq = addition.seq.max(*seq);
        }
        let mut ids: Vec<ConversationId> = latest.keys().map(|(id, _)| *id).collect();
        ids.dedup();
        let mut conversations = HashMap::new();
        for ids in ids.chunks(ADDITIONS_READ_MAX) {
            for conversation in read(self.store.conversations(ids)).await? {
                conversations.insert(conversation.id, Arc::new(conversation));
            }
        }
        let still_there = |((id, user), seq)| {
            let conversation: &Arc<Conversation> = conversations.get(&id)?;
            let there = conversation.participants.contains(&user);
            there.then(|| (user, Arc::clone(conversation), seq))
        };
        Ok(latest.into_iter().filter_map(still_there).collect())
    }

    /// The user's place in this conversation, if they are a member now.
    pub(super) async fn membership(
        &self,
        user: UserId,
        conversation: ConversationId,
    ) -> Result<Membership> {
        let places = read(self.store.memberships(user, &[conversation])).await?;
        places
            .into_iter()
            .find(|place| place.spans.is_open())
            .ok_or_else(not_in_it)
    }

    /// Unread messages in each of these places of one person, by conversation. Where all of them are read
    /// to the end, nothing is asked.
    pub(super) async fn unread(
        &self,
        places: &[Membership],
    ) -> Result<HashMap<ConversationId, u64>> {
        if places.iter().all(|place| place.unread_at_most() == 0) {
            return Ok(HashMap::new());
        }
        let counts = read(self.store.unread(places)).await?;
        let ids = places.iter().map(|place| place.conversation);
        Ok(ids.zip(counts).collect())
    }

    /// Unread messages in one conversation.
    pub(crate) async fn unread_in(
        &self,
        user: UserId,
        conversation: ConversationId,
    ) -> Result<u64> {
        let places = read(self.store.memberships(user, &[conversation])).await?;
        let unread = self.unread(&places).await?;
        Ok(unread.get(&conversation).copied().unwrap_or(0))
    }

    /// What follows each of these places, at most `limit` messages a conversation.
    pub(crate) async fn backfill(
        &self,
        after: &[(ConversationId, Seq)],
        limit: usize,
    ) -> Result<Vec<Backfill>> {
        if after.is_empty() {
            return Ok(Vec::new());
        }
        let ranges: Vec<_> = after
            .iter()
            .map(|&(conversation, seq)| (conversation, LogRange::After(seq)))
            .collect();
        let lists = read(self.store.log(&ranges, limit)).await?;
        Ok(after
            .iter()
            .zip(lists)
            .map(|(&(conversation, seq), list)| {
                // A hole cannot be committed; were there one, nothing beyond it would be shown.
                let consecutive = list
                    .into_iter()
                    .zip(seq + 1..)
                    .take_while(|(message, next)| message.seq == *next);
                Backfill {
                    conversation,
                    messages: consecutive.map(|(message, _)| Arc::new(message)).collect(),
                }
            })
            .collect())
    }

    /// Newest `seq` of each conversation that exists.
    pub(crate) async fn heads(&self, ids: &[ConversationId]) -> Result<Vec<(ConversationId, Seq)>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        read(self.store.heads(ids)).await
    }

    /// How far each conversation that exists has come.
    pub(crate) async fn marks(&self, ids: &[ConversationId]) -> Result<Vec<Mark>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        read(self.store.marks(ids)).await
    }

    /// What was edited or deleted after these changes, rising in `rev`, at most `limit` a conversation.
    pub(crate) async fn changes(
        &self,
        after: &[(ConversationId, Rev)],
        limit: usize,
    ) -> Result<Vec<Vec<Arc<Message>>>> {
        if after.is_empty() {
            return Ok(Vec::new());
        }
        let found = read(self.store.changes(after, limit)).await?;
        let shared = |list: Vec<Message>| list.into_iter().map(Arc::new).collect();
        Ok(found.into_iter().map(shared).collect())
    }

    /// People who share a conversation with each of these, in the order asked.
    pub(crate) async fn contacts(
        &self,
        users: &[UserId],
        limit: usize,
    ) -> Result<Vec<Vec<UserId>>> {
        read(self.store.contacts(users, limit)).await
    }
}
