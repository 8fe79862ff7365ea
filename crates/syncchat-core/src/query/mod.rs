//! Reads, paged and bounded. What a read costs depends on what is shown, not on how long a
//! conversation or how large a group is.

mod conversations;
mod history;
mod places;
mod sync;
mod views;

use std::sync::Arc;

use crate::ports::store::Store;

/// Reads from the store what a person may see.
pub(crate) struct Query {
    store: Arc<dyn Store>,
}

impl Query {
    pub(crate) fn new(store: Arc<dyn Store>) -> Query {
        Query { store }
    }
}
