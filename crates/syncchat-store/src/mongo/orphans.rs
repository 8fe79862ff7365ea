//! Transactions that a dead gateway left open. The server keeps one for a minute, and all that time
//! nobody else can write to the conversations in it. So whoever runs into one that has been idle for
//! longer than any living gateway leaves one ends its session. If its owner lives after all, its
//! commit fails and is tried again.

use std::time::Instant;

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::error::Error;
use mongodb::options::ReadConcern;
use parking_lot::Mutex;

use super::MongoStore;
use crate::limits::{MONGO_ORPHAN_IDLE, MONGO_ORPHAN_INTERVAL};

/// When somebody here last looked.
pub(super) type LastLook = Mutex<Option<Instant>>;

/// Ends the sessions of this program's orphaned transactions, if nobody has looked just now. Needs
/// no rights beyond those of the user who began them.
pub(super) async fn end(store: &MongoStore) {
    {
        let mut last = store.orphans_looked_for.lock();
        if last.is_some_and(|at: Instant| at.elapsed() < MONGO_ORPHAN_INTERVAL) {
            return;
        }
        *last = Some(Instant::now());
    }
    match find_and_end(store).await {
        Ok(0) => {}
        Ok(ended) => {
            metrics::counter!("syncchat_mongodb_orphans_ended_total").increment(ended);
            tracing::warn!(ended, "transactions of a gateway that is gone were ended");
        }
        Err(error) => tracing::warn!(%error, "orphaned transactions could not be looked for"),
    }
}

async fn find_and_end(store: &MongoStore) -> Result<u64, Error> {
    let admin = store.client.database("admin");
    let idle = MONGO_ORPHAN_IDLE.as_micros() as i64;
    let ours = store.app_name.as_str();
    let found: Vec<Document> = admin
        .aggregate([
            doc! { "$currentOp": { "idleSessions": true, "allUsers": false } },
            doc! { "$match": {
                "type": "idleSession",
                "appName": ours,
                "transaction.timeInactiveMicros": { "$gt": idle },
            } },
            doc! { "$project": { "id": "$lsid.id" } },
        ])
        // What runs now is no data: the server refuses the client's own read concern for it.
        .read_concern(ReadConcern::local())
        .max_time(MONGO_ORPHAN_IDLE)
        .await?
        .try_collect()
        .await?;
    let sessions: Vec<Document> = found
        .iter()
        .filter_map(|session| Some(doc! { "id": session.get("id")?.clone() }))
        .collect();
    let ended = sessions.len() as u64;
    if ended > 0 {
        admin.run_command(doc! { "killSessions": sessions }).await?;
    }
    Ok(ended)
}
