//! What the behaviour suite cannot bring about: a full disk, a held lock, strange files.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rusqlite::{Connection, StatementStatus, params};
use syncchat_core::model::{
    ConversationId, ConversationKind, Message, MessageId, MessageKind, Timestamp, UserId,
};
use syncchat_core::ports::store::{
    Append, Appended, ConversationStore, LogRange, NewConversation, Store, StoreError,
};
use tempfile::TempDir;
use test_speed::scaled;

use super::SqliteStore;
use crate::OpenError;

async fn open(dir: &TempDir) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(dir.path().join("syncchat.db")).await
}

/// A store with a conversation.
async fn prepared(dir: &TempDir) -> (SqliteStore, ConversationId, UserId) {
    let store = open(dir).await.unwrap();
    let (id, user) = (ConversationId::generate(), UserId::generate());
    let new = NewConversation {
        id,
        kind: ConversationKind::Group,
        title: None,
        participants: BTreeSet::from([user]),
        created_at: Timestamp::now(),
    };
    store.create_conversation(new).await.unwrap();
    (store, id, user)
}

fn append(conversation: ConversationId, sender: UserId, seq: u64, content: String) -> Append {
    let at = Timestamp::now();
    let message = Message {
        id: MessageId::generate(),
        conversation,
        seq,
        ordinal: seq,
        sender,
        content,
        kind: MessageKind::Text,
        event: None,
        attachments: Vec::new(),
        reply_to: None,
        client_msg_id: None,
        edited: false,
        deleted: false,
        created_at: at,
        updated_at: at,
    };
    Append {
        conversation,
        expected_seq: seq - 1,
        messages: vec![message.into()],
        changes: Vec::new(),
    }
}

/// Runs a pragma on the writing connection.
async fn execute(store: &SqliteStore, sql: &'static str) {
    let run = move |c: &Connection| c.query_row(sql, [], |row| row.get::<_, i64>(0));
    store.writer.run(run).await.unwrap();
}

#[tokio::test]
async fn a_kept_statement_is_planned_once_whatever_it_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _, user) = prepared(&dir).await;
    let planned_again = store.readers.run(move |c| {
        let mut find = c.prepare_cached("SELECT 1 FROM members WHERE user = ?1 LIMIT ?2")?;
        for (user, limit) in [(user, 10), (UserId::generate(), 20)] {
            find.query_map(params![user.bytes(), limit], |_| Ok(()))?
                .count();
        }
        Ok(find.get_status(StatementStatus::RePrepare))
    });
    assert_eq!(planned_again.await.unwrap(), 0);
}

#[tokio::test]
async fn commits_are_synced() {
    let dir = tempfile::tempdir().unwrap();
    let (store, ..) = prepared(&dir).await;
    let settings = store.writer.run(|c| {
        let mode: String = c.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        let sync: i64 = c.pragma_query_value(None, "synchronous", |row| row.get(0))?;
        Ok((mode, sync))
    });
    assert_eq!(settings.await.unwrap(), ("wal".into(), 2));
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let (store, id, user) = prepared(&dir).await;
    execute(&store, "PRAGMA max_page_count = 120").await;
    let mut seq = 0;
    let error = loop {
        let appends = vec![append(id, user, seq + 1, "x".repeat(4_000))];
        match store.append(appends).await {
            Ok(appended) => assert_eq!(appended, [Appended::Committed]),
            Err(error) => break error,
        }
        seq += 1;
        assert!(seq < 1_000, "the file never became full");
    };
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("full"), "{error}");
    // Reading goes on, and nothing of what failed is there.
    let log = store.log(&[(id, LogRange::After(0))], 1_000).await.unwrap();
    assert_eq!(log[0].len() as u64, seq);
    assert_eq!(store.heads(&[id]).await.unwrap(), [(id, seq)]);
    execute(&store, "PRAGMA max_page_count = 1000000").await;
    let appends = vec![append(id, user, seq + 1, "room again".into())];
    assert_eq!(store.append(appends).await.unwrap(), [Appended::Committed]);
}

#[tokio::test]
async fn writes_that_share_a_transaction_fail_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, id, user) = prepared(&dir).await;
    // All polled before the writer is done with the first: they wait together.
    let failing = store.writer.run(|c| {
        c.execute("UPDATE conversations SET title = 'half'", [])?;
        c.execute("INSERT INTO nonsense VALUES (1)", [])
    });
    // What a full disk does: everything is rolled back, not only the step.
    let ending = store.writer.run(|c| {
        c.execute("UPDATE conversations SET title = 'lost'", [])?;
        c.execute_batch("ROLLBACK")?;
        c.execute("INSERT INTO nonsense VALUES (1)", [])
    });
    let (first, failed, second, ended, third) = tokio::join!(
        store.append(vec![append(id, user, 1, "1".into())]),
        failing,
        store.append(vec![append(id, user, 2, "2".into())]),
        ending,
        store.append(vec![append(id, user, 3, "3".into())]),
    );
    assert!(failed.is_err() && ended.is_err());
    for appended in [first, second, third] {
        assert_eq!(appended.unwrap(), [Appended::Committed]);
    }
    let stored = store.conversations(&[id]).await.unwrap().remove(0);
    assert_eq!((stored.last_seq, stored.title), (3, None));
}

#[tokio::test]
async fn a_lock_that_another_process_holds_is_waited_for_in_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let (store, id, user) = prepared(&dir).await;
    let other = Connection::open(dir.path().join("syncchat.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    let appends = vec![append(id, user, 1, "1".into())];
    let refused = store.append(appends.clone()).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    let bound = scaled(Duration::from_secs(6));
    assert!(begun.elapsed() < bound, "{:?}", begun.elapsed());
    assert_eq!(store.heads(&[id]).await.unwrap(), [(id, 0)]);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.append(appends).await.unwrap(), [Appended::Committed]);
}

#[tokio::test]
async fn what_was_written_is_there_when_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, id, user) = prepared(&dir).await;
    store
        .append(vec![append(id, user, 1, "1".into())])
        .await
        .unwrap();
    drop(store);
    let store = open(&dir).await.unwrap();
    assert_eq!(store.heads(&[id]).await.unwrap(), [(id, 1)]);
    assert_eq!(store.migrate().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn strange_files_are_refused_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("syncchat.db");
    drop(open(&dir).await.unwrap());
    let file = Connection::open(&path).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    drop(file);
    let newer = open(&dir).await.err().unwrap();
    assert!(
        matches!(newer, OpenError::Newer { found: 99, .. }),
        "{newer}"
    );

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("syncchat.db");
    let file = Connection::open(&path).unwrap();
    file.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(file);
    let other = open(&dir).await.err().unwrap().to_string();
    assert!(other.contains("another program"), "{other}");

    std::fs::write(&path, "certainly no database, whatever else it may be").unwrap();
    assert!(open(&dir).await.is_err());
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let folder = open(&dir).await.err().unwrap().to_string();
    assert!(folder.contains("syncchat.db"), "{folder}");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (_store, ..) = prepared(&dir).await;
    for name in ["syncchat.db", "syncchat.db-wal"] {
        let meta = std::fs::metadata(dir.path().join(name)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

/// The plans of the queries that count, as SQLite tells them.
#[tokio::test]
async fn counting_reads_indexes_only() {
    let dir = tempfile::tempdir().unwrap();
    let (store, ..) = prepared(&dir).await;
    for (sql, index) in [
        (
            super::members::OWN,
            "USING COVERING INDEX messages_by_sender",
        ),
        (
            super::members::DELETED,
            "USING COVERING INDEX messages_deleted",
        ),
    ] {
        let plan = store.readers.run(move |c| {
            let plan = format!("EXPLAIN QUERY PLAN {sql}");
            c.prepare(&plan)?
                .query_map([[1; 12].as_slice(), &[2; 12], &[3], &[4], &[5]], |row| {
                    row.get(3)
                })?
                .collect::<rusqlite::Result<Vec<String>>>()
        });
        let plan = plan.await.unwrap().join("; ");
        assert!(plan.contains(index), "{plan}");
    }
}

/// Otherwise the writer's share of memory grows by what readers read (`.cargo/config.toml`).
#[test]
fn connections_keep_their_pages_each_for_itself() {
    let connection = Connection::open_in_memory().unwrap();
    let built_with = "SELECT count(*) FROM pragma_compile_options WHERE compile_options = ?1";
    let shared: u32 = connection
        .query_row(built_with, ["ENABLE_MEMORY_MANAGEMENT"], |row| row.get(0))
        .unwrap();
    assert_eq!(shared, 0, "build from the project's folder");
}

#[tokio::test]
async fn a_writer_that_panics_is_named_and_leaves_no_write_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let (store, id, user) = prepared(&dir).await;
    let planted = store
        .writer
        .run(|_| -> rusqlite::Result<()> { panic!("planted") });
    assert!(matches!(planted.await, Err(StoreError::Unavailable(_))));
    assert_eq!(store.failed().await, "sqlite writer");
    let refused = store.append(vec![append(id, user, 1, "x".into())]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    // What was written is there, and can be read meanwhile.
    assert_eq!(store.heads(&[id]).await.unwrap(), [(id, 0)]);
}
