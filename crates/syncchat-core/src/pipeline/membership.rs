//! Beginning a conversation, and changing a group: who is in it, and what it is called.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::commit::{Committer, Outcome};
use super::heads::Head;
use super::plan::{Action, Change};
use crate::command::CreateConversation;
use crate::deadline::{read, write};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Conversation, ConversationId, ConversationKind, UserId};
use crate::ports::fleet::FleetEvent;
use crate::ports::store::{CreatedConversation, NewConversation};
use crate::text;

impl Committer {
    /// Makes a conversation, or finds the pair's; true if it is new.
    pub(crate) async fn create(&self, command: CreateConversation) -> Result<(Conversation, bool)> {
        let participants: Vec<UserId> = command.participants.iter().copied().collect();
        self.must_exist("participants", &participants).await?;
        let created_at = self.clock.now()?;
        let new = NewConversation {
            // Gateways that missed the announcement find the conversation by the time in its id.
            id: ConversationId::generate_at(created_at),
            kind: command.kind,
            title: command.title,
            participants: command.participants,
            created_at,
        };
        match write(self.store.create_conversation(new)).await? {
            CreatedConversation::Existing(conversation) => Ok((conversation, false)),
            CreatedConversation::New(conversation) => {
                self.heads.keep(conversation.id, Head::of(&conversation));
                let shared = Arc::new(conversation);
                for user in &shared.participants {
                    self.fleet.publish(FleetEvent::Joined {
                        user: *user,
                        conversation: Arc::clone(&shared),
                        seq: 0,
                        by: command.creator,
                    });
                }
                Ok(((*shared).clone(), true))
            }
        }
    }

    /// Gives a group a new title; the same as before changes nothing.
    pub(crate) async fn rename(
        self: &Arc<Self>,
        by: UserId,
        conversation: ConversationId,
        title: &str,
    ) -> Result<()> {
        self.may_change(by, conversation).await?;
        let change = Change::Rename(text::title(title)?);
        self.change(by, conversation, change).await
    }

    /// Adds somebody who exists to a group.
    pub(crate) async fn add(
        self: &Arc<Self>,
        by: UserId,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<()> {
        self.may_change(by, conversation).await?;
        self.must_exist("userId", &[user]).await?;
        self.change(by, conversation, Change::Add(user)).await
    }

    /// Removes somebody from a group; oneself: leaves it.
    pub(crate) async fn remove(
        self: &Arc<Self>,
        by: UserId,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<()> {
        self.change(by, conversation, Change::Remove(user)).await
    }

    async fn change(
        self: &Arc<Self>,
        by: UserId,
        conversation: ConversationId,
        change: Change,
    ) -> Result<()> {
        match self
            .commit(conversation, Action::Change { by, change })
            .await?
        {
            Outcome::Written(_) | Outcome::Unchanged => Ok(()),
        }
    }

    /// Who may not change this anyway learns that first, before anything about what they named.
    async fn may_change(&self, by: UserId, conversation: ConversationId) -> Result<()> {
        let head = self.heads.for_member(conversation, by).await?;
        changeable(head.kind)
    }

    async fn must_exist(&self, field: &'static str, users: &[UserId]) -> Result<()> {
        let found = read(self.store.users(users)).await?;
        let found: BTreeSet<UserId> = found.into_iter().map(|user| user.id).collect();
        match users.iter().find(|user| !found.contains(user)) {
            None => Ok(()),
            Some(user) => Err(Error::invalid(field, format!("no such user {user}"))),
        }
    }
}

/// Whether members and title of this kind change at all.
pub(super) fn changeable(kind: ConversationKind) -> Result<()> {
    match kind {
        ConversationKind::Group => Ok(()),
        ConversationKind::Private => Err(Error::new(
            ErrorCode::Forbidden,
            "a private conversation does not change",
        )),
    }
}
