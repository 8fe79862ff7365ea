//! What a shard asks the store and the fleet: each question in a task of its own, which puts the
//! answer into the mailbox.

use std::sync::Arc;

use syncchat_core::chat::Backfill;
use syncchat_core::model::{ConversationId, Message, Seq, UserId};
use syncchat_core::ports::fleet::Topic;

use crate::limits::{FETCH_ROOMS, FETCHES_AT_ONCE};
use crate::mailbox::Command;
use crate::metrics;
use crate::shard::Shard;

impl Shard {
    /// Asks what the desk has gathered.
    pub(crate) fn ask(&mut self) {
        if !self.desk.unsubscriptions.is_empty() {
            let topics = topics(&std::mem::take(&mut self.desk.unsubscriptions));
            self.fleet.unsubscribe(topics);
        }
        if !self.desk.subscriptions.is_empty() {
            self.subscribe();
        }
        if let Some(rooms) = self.desk.comparison.take() {
            self.compare(rooms);
        }
        while self.fetching < FETCHES_AT_ONCE && !self.desk.fetches.is_empty() {
            self.fetch();
        }
    }

    fn subscribe(&mut self) {
        let rooms = std::mem::take(&mut self.desk.subscriptions);
        let (fleet, mailbox) = (Arc::clone(&self.fleet), Arc::clone(&self.mailbox));
        tokio::spawn(async move {
            fleet.subscribe(topics(&rooms)).await;
            mailbox.post(Command::Subscribed(rooms));
        });
    }

    /// What a person may see of their conversations.
    pub(crate) fn ask_rights(&self, user: UserId) {
        let (chat, mailbox) = (Arc::clone(&self.chat), Arc::clone(&self.mailbox));
        tokio::spawn(async move {
            match chat.memberships(user).await {
                Ok(memberships) => {
                    let spans = memberships.into_iter().map(|m| (m.conversation, m.spans));
                    mailbox.post(Command::Rights(user, spans.collect()));
                }
                // They hear of changes from their addition on, and no more.
                Err(error) => tracing::debug!(%error, %user, "rights cannot be read"),
            }
        });
    }

    fn compare(&self, rooms: Vec<ConversationId>) {
        let (chat, mailbox) = (Arc::clone(&self.chat), Arc::clone(&self.mailbox));
        tokio::spawn(async move {
            mailbox.post(match chat.heads(&rooms).await {
                Ok(heads) => Command::Heads(heads),
                Err(error) => {
                    tracing::debug!(%error, rooms = rooms.len(), "heads cannot be compared");
                    Command::CompareFailed
                }
            });
        });
    }

    fn fetch(&mut self) {
        let count = self.desk.fetches.len().min(FETCH_ROOMS);
        let wanted: Vec<_> = self.desk.fetches.drain(..count).collect();
        let limit = wanted.iter().map(|&(_, _, limit)| limit).max().unwrap_or(1);
        let (chat, mailbox) = (Arc::clone(&self.chat), Arc::clone(&self.mailbox));
        self.fetching += 1;
        tokio::spawn(async move {
            let places: Vec<_> = wanted
                .iter()
                .map(|&(room, after, _)| (room, after))
                .collect();
            mailbox.post(match chat.backfill(&places, limit).await {
                Ok(found) => Command::Fetched(pages(places, found)),
                Err(error) => {
                    metrics::backfill_failed();
                    tracing::debug!(%error, rooms = places.len(), "missing messages cannot be read");
                    Command::FetchFailed(places.into_iter().map(|(room, _)| room).collect())
                }
            });
        });
    }
}

/// An answer for each place that was asked for, found or not.
fn pages(
    places: Vec<(ConversationId, Seq)>,
    mut found: Vec<Backfill>,
) -> Vec<(ConversationId, Seq, Vec<Arc<Message>>)> {
    let page = |(room, after)| {
        let page = found.iter_mut().find(|page| page.conversation == room);
        let messages = page.map_or_else(Vec::new, |page| std::mem::take(&mut page.messages));
        (room, after, messages)
    };
    places.into_iter().map(page).collect()
}

fn topics(rooms: &[ConversationId]) -> Vec<Topic> {
    rooms
        .iter()
        .map(|&room| Topic::Conversation(room))
        .collect()
}
