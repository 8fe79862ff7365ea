//! A store in memory and a fleet that remembers, for tests. They keep the contracts of the ports
//! and check that the core keeps its side; the store fails as it is told to.

mod accounts;
mod clocks;
mod faults;
mod files;
mod fleet;
mod log;
mod memory;
mod rng;

use std::sync::Arc;

use crate::model::{
    ConversationId, FIRST_REV, Message, MessageId, MessageKind, PresenceStatus, Timestamp, User,
    UserId,
};

pub use clocks::ManualClocks;
pub use faults::Faults;
pub use files::MemoryFiles;
pub use fleet::RecordingFleet;
pub use memory::MemoryStore;
pub use rng::Rng;

/// A text message without a place.
pub fn message(conversation: ConversationId, sender: UserId, content: &str) -> Message {
    Message {
        id: MessageId::generate(),
        conversation,
        seq: 0,
        ordinal: 0,
        sender,
        content: content.into(),
        kind: MessageKind::Text,
        event: None,
        attachments: Vec::new(),
        reply_to: None,
        client_msg_id: None,
        edited: false,
        deleted: false,
        created_at: Timestamp::now(),
        updated_at: Timestamp::now(),
        rev: FIRST_REV,
    }
}

/// A user with a name made of the id.
pub fn user(id: UserId) -> User {
    User {
        id,
        username: format!("u{}", &id.to_string()[..8]),
        email: format!("{id}@example.org"),
        avatar: None,
        status: PresenceStatus::Offline,
        last_seen: None,
        created_at: Timestamp::from_millis(0),
    }
}

/// A store without faults with so many people in it, and their ids.
pub fn store_with_people(count: u8) -> (Arc<MemoryStore>, Vec<UserId>) {
    let store = Arc::new(MemoryStore::new(0));
    let ids: Vec<UserId> = (1..=count).map(|n| UserId::from_bytes([n; 12])).collect();
    ids.iter().for_each(|id| store.add_user(*id));
    (store, ids)
}
