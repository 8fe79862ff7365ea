//! Reads, paged and bounded. What a read costs depends on what is shown, not on how long a
//! conversation or how large a group is.

mod conversations;
mod history;
mod places;
mod sync;
mod views;

use std::sync::Arc;

use crate::limits::{PLACES_TOGETHER, SYNC_PAGES_TOGETHER};
use crate::model::{ConversationId, Membership, MessageView, Rev, Seq, UserId};
use crate::ports::store::Store;
use crate::together::Together;

/// A page of a log as it is shown.
type Views = Arc<Vec<MessageView>>;

/// Reads from the store what a person may see.
pub(crate) struct Query {
    store: Arc<dyn Store>,
    /// Where people are who sync at the same time.
    places: Together<UserId, Vec<Membership>>,
    /// What follows a place in a log, for all who sync from there at the same time.
    pages: Together<(ConversationId, Seq), Views>,
    /// What was changed after a change, read once for all clients that sync from there at the same time.
    changes: Together<(ConversationId, Rev), Views>,
}

impl Query {
    pub(crate) fn new(store: Arc<dyn Store>) -> Query {
        let [of_places, of_pages, of_changes] = std::array::from_fn(|_| Arc::clone(&store));
        let places = move |users: Vec<UserId>| {
            let store = Arc::clone(&of_places);
            async move { places::of(&*store, &users).await }
        };
        let pages = move |after: Vec<(ConversationId, Seq)>| {
            let store = Arc::clone(&of_pages);
            async move { sync::pages(&*store, &after).await }
        };
        let changes = move |after: Vec<(ConversationId, Rev)>| {
            let store = Arc::clone(&of_changes);
            async move { sync::changes(&*store, &after).await }
        };
        Query {
            store,
            places: Together::new("places", PLACES_TOGETHER, places),
            pages: Together::new("pages", SYNC_PAGES_TOGETHER, pages),
            changes: Together::new("changes", SYNC_PAGES_TOGETHER, changes),
        }
    }
}
