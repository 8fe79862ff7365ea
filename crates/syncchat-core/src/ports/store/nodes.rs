//! What nodes note for one another while the backplane is away.

use std::time::Duration;

use async_trait::async_trait;

use super::{PresenceChange, StoreResult};
use crate::model::UserId;

/// What a process writes of itself into the store while somebody in the fleet cannot be heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeNote {
    /// Its name, which no other process has.
    pub process: String,
    /// Who came and went of late, by rising number.
    pub changes: Vec<(u64, PresenceChange)>,
    /// Everybody who is there, in parts by [`UserId`]. A part that is not named stays as it was noted.
    pub people: Vec<(u8, Vec<UserId>)>,
}

/// A note as others find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotedNode {
    /// Whose.
    pub process: String,
    /// How long ago it was written, by the store's clock.
    pub age: Duration,
    /// As in [`NodeNote`]; of an old note none.
    pub changes: Vec<(u64, PresenceChange)>,
}

/// What nodes note of themselves while they cannot tell one another. A store that nodes do not share
/// keeps nothing, and so knows of nobody.
#[async_trait]
pub trait NodeStore: Send + Sync + 'static {
    /// Notes that this process lives now, by the store's own clock, and what goes with it. Repeat it
    /// every second or so while it matters; it is forgotten some minutes after the last time. True if
    /// there was no note of it.
    async fn note_node(&self, _note: &NodeNote) -> StoreResult<bool> {
        Ok(false)
    }

    /// All notes, in any order, a few hundred at most; with changes those no older than `fresh`. Cheap
    /// where there are none.
    async fn noted_nodes(&self, _fresh: Duration) -> StoreResult<Vec<NotedNode>> {
        Ok(Vec::new())
    }

    /// Who is in these parts by each note that is no older than `fresh`, and by whose.
    async fn noted_people(
        &self,
        _parts: &[u8],
        _fresh: Duration,
    ) -> StoreResult<Vec<(String, Vec<UserId>)>> {
        Ok(Vec::new())
    }

    /// Takes away the note of a process if it is at least so old: everybody who was there by it. `None`
    /// if there is no such note: one of those who try it at once gets it.
    async fn take_note(&self, _process: &str, _age: Duration) -> StoreResult<Option<Vec<UserId>>> {
        Ok(None)
    }

    /// People whom [`AccountStore::set_presence`] left online, so many at most, in any order. It may read
    /// all accounts: for when a node died and nobody knows who was there.
    async fn shown_online(&self, _limit: usize) -> StoreResult<Vec<UserId>> {
        Ok(Vec::new())
    }
}
