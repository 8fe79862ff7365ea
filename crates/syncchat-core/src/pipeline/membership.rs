//! Beginning a conversation, and changing a group: who is in it, and what it is called.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::announce;
use super::commit::{Committer, Outcome};
use super::heads::Head;
use super::in_doubt::InDoubt;
use super::plan::{Action, Change};
use crate::command::CreateConversation;
use crate::deadline::{read, write};
use crate::error::{Error, ErrorCode, Result};
use crate::limits::ADDITION_LOOK_BACK;
use crate::metrics;
use crate::model::{
    Conversation, ConversationId, ConversationKind, FIRST_REV, SystemEvent, UserId,
};
use crate::ports::fleet::FleetEvent;
use crate::ports::store::{CreatedConversation, LogRange, NewConversation};
use crate::text;

/// A conversation that was asked for.
pub(crate) enum Created {
    /// It is new.
    New(Conversation),
    /// The same request made it before.
    Repeated(Conversation),
    /// The pair had it already.
    Existing(Conversation),
}

impl Created {
    pub(crate) fn conversation(&self) -> &Conversation {
        match self {
            Created::New(conversation)
            | Created::Repeated(conversation)
            | Created::Existing(conversation) => conversation,
        }
    }
}

impl Committer {
    /// Makes a conversation, or finds the one that the same request made before, or the pair's.
    pub(crate) async fn create(&self, command: CreateConversation) -> Result<Created> {
        let participants: Vec<UserId> = command.participants.iter().copied().collect();
        self.must_exist("participants", &participants).await?;
        let created_at = self.clock.now()?;
        let request = command.request_key();
        let asked = request.as_ref().map(|request| request.asked);
        let new = NewConversation {
            // Gateways that missed the announcement find the conversation by the time in its id.
            id: ConversationId::generate_at(created_at),
            kind: command.kind,
            title: command.title.clone(),
            participants: command.participants.clone(),
            created_at,
            request,
        };
        let under_way = self.in_doubt.begin(InDoubt::Creation {
            conversation: new.id,
            by: command.creator,
        });
        let created = match write(self.store.create_conversation(new)).await? {
            CreatedConversation::New(conversation) => Created::New(conversation),
            CreatedConversation::Existing(conversation) => Created::Existing(conversation),
            CreatedConversation::Repeated(conversation, before) if Some(before) == asked => {
                metrics::resend_answered();
                Created::Repeated(conversation)
            }
            CreatedConversation::Repeated(..) => {
                under_way.settle();
                return Err(command.used_otherwise());
            }
        };
        if let Created::New(conversation) = &created {
            self.heads.keep(conversation.id, Head::of(conversation));
        }
        // The node that made it may not have come to announce it. All its members have been in it from the
        // beginning, unless it is a group that has changed since.
        let conversation = created.conversation();
        if conversation.kind == ConversationKind::Private
            || conversation.rev == FIRST_REV
                && conversation.participants.iter().eq(&command.participants)
        {
            let conversation = Arc::new(conversation.clone());
            announce::created(&*self.fleet, &conversation, command.creator);
        }
        under_way.settle();
        Ok(created)
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
        match self.change(by, conversation, change).await? {
            Outcome::Written(_) => Ok(()),
            Outcome::Unchanged => self.announce_title_again(conversation).await,
        }
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
        match self.change(by, conversation, Change::Add(user)).await? {
            Outcome::Written(_) => Ok(()),
            Outcome::Unchanged => self.announce_addition_again(conversation, user).await,
        }
    }

    /// Removes somebody from a group; oneself: leaves it.
    pub(crate) async fn remove(
        self: &Arc<Self>,
        by: UserId,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<()> {
        let removed = self.change(by, conversation, Change::Remove(user)).await;
        removed.map(drop)
    }

    async fn change(
        self: &Arc<Self>,
        by: UserId,
        conversation: ConversationId,
        change: Change,
    ) -> Result<Outcome> {
        self.commit(conversation, Action::Change { by, change })
            .await
    }

    /// The title is as it was asked for: the node that gave it may not have come to announce it.
    async fn announce_title_again(&self, id: ConversationId) -> Result<()> {
        if let Some(head) = self.heads.load(&[id]).await?.get(&id) {
            let conversation = Arc::new(head.conversation(id));
            self.fleet.publish(FleetEvent::Updated { conversation });
        }
        Ok(())
    }

    /// The person is a member already: the node that added them may not have come to announce it.
    /// The message that did so is looked for where it lies if the person has read nothing since, and
    /// a little before. Whoever has read more has been told, or was found by their gateway.
    async fn announce_addition_again(&self, id: ConversationId, user: UserId) -> Result<()> {
        let place = read(self.store.memberships(user, &[id])).await?.pop();
        let Some(place) = place.filter(|place| place.spans.is_open()) else {
            return Ok(());
        };
        let range = (id, LogRange::Before(place.read_seq.saturating_add(1)));
        let log = read(self.store.log(&[range], ADDITION_LOOK_BACK)).await?;
        let said = log
            .into_iter()
            .flatten()
            .rev()
            .find_map(|message| match message.event {
                Some(SystemEvent::Added { by, user: added }) if added == user => {
                    Some((message.seq, by))
                }
                _ => None,
            });
        if let Some((seq, by)) = said
            && let Some(head) = self.heads.load(&[id]).await?.get(&id)
        {
            let conversation = Arc::new(head.conversation(id));
            announce::joined(&*self.fleet, user, conversation, seq, by);
        }
        Ok(())
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
