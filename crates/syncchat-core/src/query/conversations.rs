//! The list of a person's conversations, and one of them.
//!
//! Costs five or six reads whatever the number shown: the conversations, the person's places, unread
//! counts, newest messages, and who has come how far.

use std::collections::HashMap;

use super::Query;
use crate::chat::ConversationPage;
use crate::deadline::read;
use crate::error::{Error, Result};
use crate::limits::{PAGE_DEFAULT, PAGE_MAX};
use crate::model::{
    Conversation, ConversationId, ConversationView, Membership, MessageView, Seq, UserId,
};
use crate::pipeline::heads::not_in_it;
use crate::ports::store::{ConversationCursor, LogRange};

impl Query {
    /// A page of the list, newest first.
    pub(crate) async fn conversations(
        &self,
        user: UserId,
        after: Option<ConversationCursor>,
        limit: Option<usize>,
    ) -> Result<ConversationPage> {
        let limit = limit.unwrap_or(PAGE_DEFAULT);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(Error::invalid("limit", format!("must be 1 to {PAGE_MAX}")));
        }
        // One more than is shown tells whether there is a next page.
        let mut found = read(self.store.conversations_of(user, after, limit + 1)).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found
            .last()
            .filter(|_| more)
            .map(|last| ConversationCursor {
                updated_at: last.updated_at,
                id: last.id,
            });
        Ok(ConversationPage {
            conversations: self.conversation_views(user, found).await?,
            next,
        })
    }

    /// One conversation of the user's.
    pub(crate) async fn conversation(
        &self,
        user: UserId,
        id: ConversationId,
    ) -> Result<ConversationView> {
        let found = read(self.store.conversations(&[id])).await?;
        let mine = found.into_iter().filter(|found| found.has_member(user));
        let views = self.conversation_views(user, mine.collect()).await?;
        views.into_iter().next().ok_or_else(not_in_it)
    }

    /// As it is, whoever asks.
    pub(crate) async fn inspect(&self, id: ConversationId) -> Result<Option<Conversation>> {
        Ok(read(self.store.conversations(&[id])).await?.pop())
    }

    /// Conversations as a member sees them, in the order given. Where the user is no member any more,
    /// for it was read a moment earlier, it is left out.
    pub(crate) async fn conversation_views(
        &self,
        user: UserId,
        conversations: Vec<Conversation>,
    ) -> Result<Vec<ConversationView>> {
        if conversations.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<ConversationId> = conversations.iter().map(|c| c.id).collect();
        let mut places = read(self.store.memberships(user, &ids)).await?;
        places.retain(|place| place.spans.is_open());
        let (unread, mut newest) =
            tokio::try_join!(self.unread(&places), self.newest(&conversations, &places))?;
        let mut places: HashMap<ConversationId, Membership> = places
            .into_iter()
            .map(|place| (place.conversation, place))
            .collect();
        Ok(conversations
            .into_iter()
            .filter_map(|conversation| {
                let place = places.remove(&conversation.id)?;
                Some(ConversationView {
                    last_message: newest.remove(&conversation.id),
                    unread: unread.get(&conversation.id).copied().unwrap_or(0),
                    read_seq: place.read_seq,
                    delivered_seq: place.delivered_seq,
                    conversation,
                })
            })
            .collect())
    }

    /// The newest visible message of each, no newer than the conversation as it was read.
    async fn newest(
        &self,
        conversations: &[Conversation],
        places: &[Membership],
    ) -> Result<HashMap<ConversationId, MessageView>> {
        let heads: HashMap<ConversationId, Seq> =
            conversations.iter().map(|c| (c.id, c.last_seq)).collect();
        let ranges: Vec<(ConversationId, LogRange)> = places
            .iter()
            .filter_map(|place| {
                let head = heads.get(&place.conversation)?;
                let newest = place.visible()?.newest_up_to(*head)?;
                Some((place.conversation, LogRange::Before(newest + 1)))
            })
            .collect();
        if ranges.is_empty() {
            return Ok(HashMap::new());
        }
        let lists = read(self.store.log(&ranges, 1)).await?;
        let views = self.views(lists).await?.into_iter().flatten();
        Ok(views
            .map(|view| (view.message.conversation, view))
            .collect())
    }
}
