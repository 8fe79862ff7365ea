//! The whole core over a store in memory: the rules of each request, then a simulation by seed.

mod changing;
mod clocks;
mod files;
mod idempotency;
mod in_doubt;
mod missed_changes;
mod reading;
mod sending;
mod simulation;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::chat::Chat;
use crate::command::{CreateConversation, MessageDraft, SendMessage};
use crate::error::{ErrorCode, Result};
use crate::model::{Conversation, ConversationId, ConversationKind, Message, Seq, UserId};
use crate::ports::fleet::FleetEvent;
use crate::testing::{MemoryStore, RecordingFleet, store_with_people};

/// A node, its store, and people.
struct World {
    store: Arc<MemoryStore>,
    fleet: Arc<RecordingFleet>,
    chat: Arc<Chat>,
    people: Vec<UserId>,
}

impl World {
    fn new(people: u8) -> World {
        let (store, people) = store_with_people(people);
        World::over(store, people)
    }

    fn over(store: Arc<MemoryStore>, people: Vec<UserId>) -> World {
        let fleet = RecordingFleet::new();
        World {
            chat: Chat::new(Arc::clone(&store) as _, Arc::clone(&fleet) as _),
            store,
            fleet,
            people,
        }
    }

    /// Another node, or this one after a restart: it knows nothing but what is in the store.
    fn other_node(&self) -> World {
        World::over(Arc::clone(&self.store), self.people.clone())
    }

    /// A conversation of the first of `members` with the others; its events are taken.
    async fn conversation(&self, kind: ConversationKind, members: &[UserId]) -> Conversation {
        let others = members[1..].iter().copied();
        let command = CreateConversation::new(members[0], kind, others, None);
        let made = self
            .chat
            .create_conversation(command.expect("a good command"))
            .await;
        self.fleet.take();
        made.expect("it can be made").0.conversation
    }

    async fn group(&self, members: &[UserId]) -> ConversationId {
        self.conversation(ConversationKind::Group, members).await.id
    }

    async fn say(&self, sender: UserId, id: ConversationId, text: &str) -> Result<Arc<Message>> {
        self.chat.send(send(sender, id, text)).await
    }

    async fn say_many(&self, sender: UserId, id: ConversationId, count: usize) {
        for n in 0..count {
            self.say(sender, id, &format!("m{n}"))
                .await
                .expect("it can be sent");
        }
    }
}

fn send(sender: UserId, id: ConversationId, text: &str) -> SendMessage {
    let draft = MessageDraft {
        content: text.into(),
        ..MessageDraft::default()
    };
    SendMessage::new(sender, id, draft).expect("a good message")
}

fn send_named(sender: UserId, id: ConversationId, text: &str, name: &str) -> SendMessage {
    let draft = MessageDraft {
        content: text.into(),
        client_msg_id: Some(name.into()),
        ..MessageDraft::default()
    };
    SendMessage::new(sender, id, draft).expect("a good message")
}

/// The code of a refusal.
fn code<T: std::fmt::Debug>(result: Result<T>) -> ErrorCode {
    result.expect_err("it must be refused").code
}

/// The field a refusal names.
fn field<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.expect_err("it must be refused").fields[0]
        .0
        .to_string()
}

/// Polls once, as a socket does with what came in.
fn poll_once<T>(future: &mut Pin<Box<impl Future<Output = T>>>) -> Poll<T> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

/// Events in short, for comparing.
fn short(events: &[FleetEvent]) -> Vec<String> {
    let seqs = |messages: &[Arc<Message>]| {
        let seqs: Vec<Seq> = messages.iter().map(|message| message.seq).collect();
        format!("committed {seqs:?}")
    };
    events
        .iter()
        .map(|event| match event {
            FleetEvent::Committed { messages } => seqs(messages),
            FleetEvent::Head { head, .. } => format!("head {head}"),
            FleetEvent::Changed { message, change } => format!("{change:?} {}", message.seq),
            FleetEvent::Cursor { kind, seq, .. } => format!("{} {seq}", kind.as_str()),
            FleetEvent::Joined { seq, .. } => format!("joined {seq}"),
            FleetEvent::Parted { seq, .. } => format!("parted {seq}"),
            FleetEvent::Updated { .. } => "updated".into(),
            other => format!("{other:?}"),
        })
        .collect()
}
