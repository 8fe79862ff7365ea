//! The rules of a conversation, applied to what waits in it, on a head that is believed to be so.
//! No I/O here: a plan is a value, and it is true if its append is committed, or if the head was
//! just read.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::heads::{Head, not_in_it};
use super::membership::changeable;
use super::recent::Recent;
use crate::command::SendMessage;
use crate::error::{Error, Result};
use crate::limits::PARTICIPANTS_MAX;
use crate::model::{
    ConversationId, FIRST_REV, Membership, Message, MessageId, MessageKind, Seq, SystemEvent,
    Timestamp, UserId,
};
use crate::ports::store::{ConversationChange, LogEnd};

/// What takes a place in the log.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Send(SendMessage),
    Change { by: UserId, change: Change },
}

/// A change of a group, by one of its members.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Add(UserId),
    /// Of oneself: leaving.
    Remove(UserId),
    Rename(String),
}

/// An action with what was fixed when it was accepted.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) id: MessageId,
    pub(crate) accepted_at: Timestamp,
    pub(crate) action: Action,
    /// Set where an earlier try seemed to fail and was committed all the same.
    pub(crate) done: Option<Arc<Message>>,
}

/// What the store says of the messages that are answered, and of who may see them.
#[derive(Debug, Default)]
pub(crate) struct References {
    pub(crate) places: HashMap<MessageId, (ConversationId, Seq)>,
    /// Memberships of those who answer something from before the head was settled, read after the
    /// messages that are answered.
    pub(crate) members: HashMap<(ConversationId, UserId), Membership>,
    /// The store did not say.
    pub(crate) failed: Option<Error>,
}

/// What becomes of one request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It becomes this one of [`Plan::messages`].
    Write(usize),
    /// It repeats the request that becomes this one.
    Repeat(usize),
    /// It was committed before; true in any case.
    Done(Arc<Message>),
    /// There is nothing to change.
    Unchanged,
    /// It breaks a rule.
    Refused(Error),
}

/// What is to be appended to one log, and what becomes of each request.
pub(crate) struct Plan {
    /// The conversation after it.
    pub(crate) head: Option<Head>,
    pub(crate) messages: Vec<Arc<Message>>,
    pub(crate) changes: Vec<ConversationChange>,
    /// One for each request, in order.
    pub(crate) verdicts: Vec<Verdict>,
}

impl Plan {
    /// Decides the requests of one conversation one after the other, each on what the ones before
    /// it leave behind. No head: there is no such conversation.
    pub(crate) fn make<'a>(
        conversation: ConversationId,
        head: Option<Head>,
        requests: impl Iterator<Item = &'a Wanted>,
        recent: &Recent,
        references: &References,
    ) -> Plan {
        let mut plan = Plan {
            head,
            messages: Vec::new(),
            changes: Vec::new(),
            verdicts: Vec::new(),
        };
        let mut named: HashMap<(UserId, &str), usize, RandomState> = HashMap::default();
        let mut requests = requests.peekable();
        while let Some(wanted) = requests.next() {
            if let Some(message) = &wanted.done {
                plan.verdicts.push(Verdict::Done(Arc::clone(message)));
                continue;
            }
            let verdict = match &wanted.action {
                Action::Send(command) => {
                    let name = command
                        .client_msg_id
                        .as_deref()
                        .map(|name| (command.sender, name));
                    let first = name.and_then(|name| named.get(&name));
                    match (first, committed_before(conversation, command, recent)) {
                        (_, Some(message)) => {
                            let same = command.must_repeat(&message, None);
                            same.map_or_else(Verdict::Refused, |()| Verdict::Done(message))
                        }
                        (Some(&first), None) => {
                            let same = command.must_repeat(&plan.messages[first], None);
                            same.map_or_else(Verdict::Refused, |()| Verdict::Repeat(first))
                        }
                        (None, None) => {
                            let verdict = plan.send(conversation, wanted, command, references);
                            // For those that follow; most often none does.
                            if let (Verdict::Write(place), Some(name)) = (&verdict, name)
                                && requests.peek().is_some()
                            {
                                named.insert(name, *place);
                            }
                            verdict
                        }
                    }
                }
                Action::Change { by, change } => plan.change(conversation, wanted, *by, change),
            };
            plan.verdicts.push(verdict);
        }
        plan
    }

    /// Whether it says something that only holds if the head was right, without an append to prove
    /// that it was.
    pub(crate) fn needs_proof(&self) -> bool {
        self.messages.is_empty()
            && self
                .verdicts
                .iter()
                .any(|v| matches!(v, Verdict::Unchanged | Verdict::Refused(_)))
    }

    fn send(
        &mut self,
        conversation: ConversationId,
        wanted: &Wanted,
        command: &SendMessage,
        references: &References,
    ) -> Verdict {
        let head = match self.head_for(command.sender) {
            Ok(head) => head,
            Err(error) => return Verdict::Refused(error),
        };
        if let Some(target) = command.reply_to
            && let Err(error) = may_answer(conversation, head, command.sender, target, references)
        {
            return Verdict::Refused(error);
        }
        self.append(Message {
            kind: command.kind,
            content: command.content.clone(),
            attachments: command.shows.clone(),
            reply_to: command.reply_to,
            client_msg_id: command.client_msg_id.clone(),
            ..blank(conversation, wanted, command.sender)
        })
    }

    fn change(
        &mut self,
        conversation: ConversationId,
        wanted: &Wanted,
        by: UserId,
        change: &Change,
    ) -> Verdict {
        let decided = self.head_for(by).and_then(|head| decide(head, by, change));
        let event = match decided {
            Ok(Some(event)) => event,
            Ok(None) => return Verdict::Unchanged,
            Err(error) => return Verdict::Refused(error),
        };
        let verdict = self.append(Message {
            kind: MessageKind::System,
            event: Some(event.clone()),
            ..blank(conversation, wanted, by)
        });
        self.apply(event);
        verdict
    }

    /// The head, for who is a member as of now.
    fn head_for(&self, user: UserId) -> Result<&Head> {
        self.head
            .as_ref()
            .filter(|head| head.has_member(user))
            .ok_or_else(not_in_it)
    }

    /// What it comes to behind messages of others that changed nothing about the conversation. Who
    /// was refused still is: nobody came or went.
    pub(crate) fn put_behind(&mut self, mut end: LogEnd) {
        let Some(head) = &mut self.head else {
            return;
        };
        let expected = head.last_seq - self.messages.len() as Seq;
        if head.settled_since > expected {
            head.settled_since = (head.settled_since + end.last_seq).saturating_sub(expected);
        }
        if head.rev > expected + 1 {
            head.rev = (head.rev + end.last_seq).saturating_sub(expected);
        }
        for message in &mut self.messages {
            end.place(Arc::make_mut(message));
        }
        head.set_end(end);
    }

    /// Gives the message the next place.
    fn append(&mut self, mut message: Message) -> Verdict {
        let Some(head) = &mut self.head else {
            return Verdict::Refused(not_in_it());
        };
        let mut end = head.end();
        end.place(&mut message);
        head.set_end(end);
        self.messages.push(Arc::new(message));
        Verdict::Write(self.messages.len() - 1)
    }

    /// Lets what the newest message tells take effect.
    fn apply(&mut self, event: SystemEvent) {
        let Some(head) = &mut self.head else {
            return;
        };
        let seq = head.last_seq;
        head.rev = seq + 1;
        self.changes.push(match event {
            SystemEvent::Added { user, .. } => {
                let mut members = head.members.to_vec();
                if let Err(place) = members.binary_search(&user) {
                    members.insert(place, user);
                }
                head.members = members.into();
                head.settled_since = seq;
                ConversationChange::Add { user, seq }
            }
            SystemEvent::Removed { user, .. } | SystemEvent::Left { user } => {
                let staying = head.members.iter().filter(|member| **member != user);
                head.members = staying.copied().collect();
                head.settled_since = seq;
                ConversationChange::Remove { user, seq }
            }
            SystemEvent::Renamed { title, .. } => {
                head.title = Some(title.as_str().into());
                ConversationChange::Rename { title }
            }
        });
    }
}

/// What a member's change of a group comes to: an event, nothing, or a refusal.
fn decide(head: &Head, by: UserId, change: &Change) -> Result<Option<SystemEvent>> {
    changeable(head.kind)?;
    match change {
        Change::Add(user) if head.has_member(*user) => Ok(None),
        Change::Add(_) if head.members.len() >= PARTICIPANTS_MAX => Err(Error::conflict(
            "participants",
            format!("at most {PARTICIPANTS_MAX} in a conversation"),
        )),
        Change::Add(user) => Ok(Some(SystemEvent::Added { by, user: *user })),
        Change::Remove(user) if !head.has_member(*user) => Err(Error::not_found("participant")),
        Change::Remove(user) if *user == by => Ok(Some(SystemEvent::Left { user: by })),
        Change::Remove(user) => Ok(Some(SystemEvent::Removed { by, user: *user })),
        Change::Rename(title) if head.title.as_deref() == Some(title) => Ok(None),
        Change::Rename(title) => Ok(Some(SystemEvent::Renamed {
            by,
            title: title.clone(),
        })),
    }
}

/// Whether there is such a message here, and the sender may see it.
fn may_answer(
    conversation: ConversationId,
    head: &Head,
    sender: UserId,
    target: MessageId,
    references: &References,
) -> Result<()> {
    let no_such = || Error::invalid("replyTo", "no such message");
    let Some(&(home, seq)) = references.places.get(&target) else {
        return Err(references.failed.clone().unwrap_or_else(no_such));
    };
    if home != conversation {
        return Err(no_such());
    }
    if seq > head.settled_since {
        return Ok(());
    }
    match references.members.get(&(conversation, sender)) {
        Some(member) => match member.visible().is_some_and(|visible| visible.shows(seq)) {
            true => Ok(()),
            false => Err(no_such()),
        },
        None => Err(references.failed.clone().unwrap_or_else(no_such)),
    }
}

fn committed_before(
    conversation: ConversationId,
    command: &SendMessage,
    recent: &Recent,
) -> Option<Arc<Message>> {
    let name = command.client_msg_id.as_deref()?;
    recent.resent(conversation, command.sender, name)
}

/// A message without content or place.
fn blank(conversation: ConversationId, wanted: &Wanted, sender: UserId) -> Message {
    Message {
        id: wanted.id,
        conversation,
        seq: 0,
        ordinal: 0,
        sender,
        content: String::new(),
        kind: MessageKind::Text,
        event: None,
        attachments: Vec::new(),
        reply_to: None,
        client_msg_id: None,
        edited: false,
        deleted: false,
        created_at: wanted.accepted_at,
        updated_at: wanted.accepted_at,
        rev: FIRST_REV,
    }
}
