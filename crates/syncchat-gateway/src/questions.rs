//! What a shard asks the store and the fleet: each question in a task of its own, which puts the
//! answer into the mailbox.

use std::sync::Arc;
use std::time::Instant;

use syncchat_core::chat::Backfill;
use syncchat_core::model::{ConversationId, Message, Rev, Seq, UserId};
use syncchat_core::ports::fleet::{FleetEvent, Topic};

use crate::limits::{CHANGE_FETCHES_AT_ONCE, FETCH_ROOMS, FETCHES_AT_ONCE};
use crate::mailbox::{Command, Mailbox};
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
        while self.fetching_changes < CHANGE_FETCHES_AT_ONCE && !self.desk.change_fetches.is_empty()
        {
            self.fetch_changes();
        }
    }

    fn subscribe(&mut self) {
        let rooms = std::mem::take(&mut self.desk.subscriptions);
        let fleet = Arc::clone(&self.fleet);
        // Unsubscribed or not, the rooms' heads are compared then.
        let asked = Asked::new(&self.mailbox, Command::Subscribed(rooms.clone()));
        tokio::spawn(async move {
            fleet.subscribe(topics(&rooms)).await;
            asked.answer(Command::Subscribed(rooms));
        });
    }

    /// What a person may see of their conversations, unless that is being asked.
    pub(crate) fn ask_rights(&mut self, user: UserId) {
        if !self.desk.rights.ask(user) {
            return;
        }
        let asked = Asked::new(&self.mailbox, Command::RightsFailed(user));
        let chat = Arc::clone(&self.chat);
        tokio::spawn(async move {
            asked.answer(match chat.memberships(user).await {
                Ok(memberships) => {
                    let spans = memberships.into_iter().map(|m| (m.conversation, m.spans));
                    Command::Rights(user, spans.collect())
                }
                // With the next comparison that succeeds, again.
                Err(error) => {
                    tracing::debug!(%error, %user, "rights cannot be read");
                    Command::RightsFailed(user)
                }
            });
        });
    }

    fn compare(&self, rooms: Vec<ConversationId>) {
        let chat = Arc::clone(&self.chat);
        let asked = Asked::new(&self.mailbox, Command::CompareFailed);
        tokio::spawn(async move {
            asked.answer(match chat.marks(&rooms).await {
                Ok(marks) => Command::Marks(marks),
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
        let chat = Arc::clone(&self.chat);
        let rooms = wanted.iter().map(|&(room, ..)| room).collect();
        let asked = Asked::new(&self.mailbox, Command::FetchFailed(rooms));
        let moment = self.changes.now();
        self.fetching += 1;
        tokio::spawn(async move {
            let places: Vec<_> = wanted
                .iter()
                .map(|&(room, after, _)| (room, after))
                .collect();
            asked.answer(match chat.backfill(&places, limit).await {
                Ok(found) => Command::Fetched(pages(places, found), moment),
                Err(error) => {
                    metrics::backfill_failed();
                    tracing::debug!(%error, rooms = places.len(), "missing messages cannot be read");
                    Command::FetchFailed(places.into_iter().map(|(room, _)| room).collect())
                }
            });
        });
    }

    /// Reads what was changed, where that was missed.
    fn fetch_changes(&mut self) {
        let count = self.desk.change_fetches.len().min(FETCH_ROOMS);
        let wanted: Vec<_> = self.desk.change_fetches.drain(..count).collect();
        let limit = wanted.iter().map(|&(_, _, limit)| limit).max().unwrap_or(1);
        let after: Vec<(ConversationId, Rev)> =
            wanted.iter().map(|&(room, rev, _)| (room, rev)).collect();
        let chat = Arc::clone(&self.chat);
        let rooms = wanted.iter().map(|&(room, ..)| room).collect();
        let asked = Asked::new(&self.mailbox, Command::ChangesFailed(rooms));
        self.fetching_changes += 1;
        tokio::spawn(async move {
            asked.answer(match chat.changes(&after, limit).await {
                Ok(found) => {
                    let found = after.into_iter().zip(found);
                    let found = found.map(|((room, after), messages)| (room, after, messages));
                    Command::ChangesFetched(found.collect())
                }
                Err(error) => {
                    tracing::debug!(%error, rooms = after.len(), "changes cannot be read");
                    Command::ChangesFailed(after.into_iter().map(|(room, _)| room).collect())
                }
            });
        });
    }

    /// Reads a conversation whose new title was not heard of.
    pub(crate) fn ask_title(&self, room: ConversationId) {
        let (chat, mailbox) = (Arc::clone(&self.chat), Arc::clone(&self.mailbox));
        tokio::spawn(async move {
            match chat.inspect(room).await {
                Ok(Some(conversation)) => {
                    let event = FleetEvent::Updated { conversation };
                    mailbox.post(Command::Heard(event, Instant::now()));
                }
                Ok(None) => {}
                // With the next comparison, again.
                Err(error) => tracing::debug!(%error, %room, "a title cannot be read"),
            }
        });
    }
}

/// A question that the shard waits for. It is answered in any case: if its task panics, by what stands
/// for a failure, so that the shard asks again.
struct Asked {
    mailbox: Arc<Mailbox>,
    failure: Option<Command>,
}

impl Asked {
    fn new(mailbox: &Arc<Mailbox>, failure: Command) -> Asked {
        Asked {
            mailbox: Arc::clone(mailbox),
            failure: Some(failure),
        }
    }

    fn answer(mut self, answer: Command) {
        self.failure = None;
        self.mailbox.post(answer);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(failure) = self.failure.take() {
            self.mailbox.post(failure);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_whose_task_panics_has_failed() {
        let mailbox = Arc::new(Mailbox::new());
        let asked = Asked::new(&mailbox, Command::CompareFailed);
        let question = tokio::spawn(async move {
            let _asked = asked;
            panic!("planted");
        });
        assert!(question.await.is_err());
        let answered = Asked::new(&mailbox, Command::CompareFailed);
        answered.answer(Command::Marks(Vec::new()));
        let mut commands = Vec::new();
        mailbox.take(&mut commands);
        assert!(matches!(
            commands[..],
            [Command::CompareFailed, Command::Marks(_)]
        ));
    }
}
