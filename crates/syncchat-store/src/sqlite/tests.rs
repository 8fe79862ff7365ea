//! What the behaviour suite cannot bring about: a full disk, a held lock, strange files.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rusqlite::{Connection, StatementStatus, params};
use syncchat_core::model::{
    Attachment, ConversationId, ConversationKind, FileId, Message, MessageId, MessageKind,
    SystemEvent, Timestamp, UserId,
};
use syncchat_core::ports::store::{
    Addition, Append, Appended, ConversationChange, ConversationStore, DeepFinding, FileStore,
    Flaw, LogRange, NewConversation, Store, StoreError,
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
        request: None,
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
        rev: 1,
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

/// Makes a file as it was before version 7, which keeps idempotency keys.
const WITHOUT_KEYS: &str = "
    DROP INDEX conversations_by_request;
    ALTER TABLE conversations DROP COLUMN creator;
    ALTER TABLE conversations DROP COLUMN request_key;
    ALTER TABLE conversations DROP COLUMN asked;
    DROP INDEX files_by_request;
    ALTER TABLE files DROP COLUMN request_key;
    ALTER TABLE messages DROP COLUMN sent;
    PRAGMA user_version = 6;
";

/// A file of the release before messages and conversations had versions.
#[tokio::test]
async fn what_an_older_release_wrote_is_the_first_version() {
    let dir = tempfile::tempdir().unwrap();
    let (store, id, user) = prepared(&dir).await;
    let first = append(id, user, 1, "1".into());
    let message = first.messages[0].id;
    store.append(vec![first]).await.unwrap();
    let older = store.writer.run(|c| {
        c.execute_batch(WITHOUT_KEYS)?;
        c.execute_batch(
            "DROP INDEX messages_by_rev;
             ALTER TABLE messages DROP COLUMN rev;
             ALTER TABLE conversations DROP COLUMN rev;
             ALTER TABLE conversations DROP COLUMN change_seq;
             PRAGMA user_version = 5;",
        )
    });
    older.await.unwrap();
    drop(store);
    let store = open(&dir).await.unwrap();
    assert!(!store.migrate().await.unwrap().is_empty());
    assert_eq!(store.message(message).await.unwrap().unwrap().rev, 1);
    let conversation = store.conversations(&[id]).await.unwrap().remove(0);
    assert_eq!((conversation.rev, conversation.change_seq), (1, 1));
    let edited = store.edit_message(message, "2".into(), Timestamp::now());
    assert_eq!(edited.await.unwrap().unwrap().rev, 2);
}

#[tokio::test]
async fn additions_are_found_however_much_was_said_since_in_older_files_too() {
    let dir = tempfile::tempdir().unwrap();
    let (store, id, ann) = prepared(&dir).await;
    let (since, bob) = (Timestamp::now(), UserId::generate());
    let mut addition = append(id, ann, 1, String::new());
    let said = Message {
        kind: MessageKind::System,
        event: Some(SystemEvent::Added { by: ann, user: bob }),
        ordinal: 0,
        ..(*addition.messages[0]).clone()
    };
    addition.messages = vec![said.into()];
    let mut talk = append(id, ann, 2, "talk".into());
    for seq in 3..=12_000 {
        let next = append(id, ann, seq, "talk".into());
        talk.messages.extend(next.messages);
    }
    for append in [addition, talk] {
        let appended = store.append(vec![append]).await.unwrap();
        assert_eq!(appended, [Appended::Committed]);
    }
    drop(store);
    let file = Connection::open(dir.path().join("syncchat.db")).unwrap();
    file.execute_batch(WITHOUT_KEYS).unwrap();
    file.execute_batch(
        "DROP INDEX messages_system;
         DROP INDEX messages_by_rev;
         ALTER TABLE messages DROP COLUMN rev;
         ALTER TABLE conversations DROP COLUMN rev;
         ALTER TABLE conversations DROP COLUMN change_seq;",
    )
    .unwrap();
    file.pragma_update(None, "user_version", 4).unwrap();
    drop(file);
    let store = open(&dir).await.unwrap();
    let added = Addition {
        conversation: id,
        user: bob,
        seq: 1,
    };
    let found = store.additions_since(since, 10).await.unwrap();
    assert!(found.contains(&added), "{found:?}");
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

/// Changes the file as no write of this release does.
async fn damage(store: &SqliteStore, sql: String) {
    let run = move |c: &Connection| c.execute_batch(&sql);
    store.writer.run(run).await.unwrap();
}

fn hex(bytes: [u8; 12]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("x'{digits}'")
}

/// Says three things: a person comes by the second, and another one goes by the third.
async fn a_log_of_three(store: &SqliteStore, id: ConversationId, by: UserId) -> [UserId; 2] {
    let [comes, goes] = [UserId::generate(), UserId::generate()];
    let events = [
        SystemEvent::Added { by, user: goes },
        SystemEvent::Added { by, user: comes },
        SystemEvent::Removed { by, user: goes },
    ];
    for (seq, event) in (1..).zip(events) {
        let mut append = append(id, by, seq, String::new());
        append.changes = vec![ConversationChange::of(&event, seq)];
        let message = std::sync::Arc::make_mut(&mut append.messages[0]);
        (message.kind, message.event) = (MessageKind::System, Some(event));
        message.ordinal = 0;
        assert_eq!(
            store.append(vec![append]).await.unwrap(),
            [Appended::Committed]
        );
    }
    [comes, goes]
}

/// The members of the file as they were before the second message, but for their rows' own keys.
async fn set_back(store: &SqliteStore, id: ConversationId, [comes, goes]: [UserId; 2]) {
    let (id, comes, goes) = (hex(id.bytes()), hex(comes.bytes()), hex(goes.bytes()));
    damage(
        store,
        format!(
            "UPDATE conversations SET last_seq = 1, last_message = NULL WHERE id = {id};
             DELETE FROM members WHERE conversation = {id} AND user = {comes};
             UPDATE members SET spans = '1-', open = 1 WHERE conversation = {id} AND user = {goes};"
        ),
    )
    .await;
}

async fn is_as_the_log_says(store: &SqliteStore, id: ConversationId, [comes, goes]: [UserId; 2]) {
    let conversation = store.conversations(&[id]).await.unwrap().remove(0);
    assert!(conversation.has_member(comes) && !conversation.has_member(goes));
    let gone = store.memberships(goes, &[id]).await.unwrap().remove(0);
    assert_eq!(gone.spans.parts(), [(1, Some(3))]);
}

#[tokio::test]
async fn an_append_to_a_head_behind_its_log_raises_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, id, user) = prepared(&dir).await;
    let people = a_log_of_three(&store, id, user).await;
    set_back(&store, id, people).await;
    // Another conversation shares the write, and is none the worse for it.
    let other = NewConversation {
        id: ConversationId::generate(),
        kind: ConversationKind::Group,
        title: None,
        participants: BTreeSet::from([user]),
        created_at: Timestamp::now(),
        request: None,
    };
    let beside = other.id;
    store.create_conversation(other).await.unwrap();
    let both = vec![
        append(id, user, 2, "taken".into()),
        append(beside, user, 1, "1".into()),
    ];
    let answers = store.append(both).await.unwrap();
    assert_eq!(answers, [Appended::Moved, Appended::Committed]);
    assert_eq!(store.heads(&[id]).await.unwrap(), [(id, 3)]);
    is_as_the_log_says(&store, id, people).await;
    let appended = store
        .append(vec![append(id, user, 4, "on".into())])
        .await
        .unwrap();
    assert_eq!(appended, [Appended::Committed]);
}

#[tokio::test]
async fn a_deep_check_finds_and_mends() {
    let dir = tempfile::tempdir().unwrap();
    let (store, id, user) = prepared(&dir).await;
    let people = a_log_of_three(&store, id, user).await;
    let sound = store.check_deep(false).await.unwrap();
    assert!(sound.iter().all(|finding| finding.found == 0), "{sound:?}");

    let mut shows = append(id, user, 4, "secret".into());
    let message = std::sync::Arc::make_mut(&mut shows.messages[0]);
    let file = FileId::generate();
    message.attachments = vec![Attachment {
        file,
        name: "a".into(),
        size: 1,
        content_type: "text/plain".into(),
    }];
    let shown = message.id;
    store.append(vec![shows]).await.unwrap();
    store
        .append(vec![append(id, user, 5, "taken back".into())])
        .await
        .unwrap();
    damage(
        &store,
        "UPDATE messages SET deleted = 1 WHERE seq = 5".into(),
    )
    .await;
    // Nobody is shown it, mended or not.
    let log = store.log(&[(id, LogRange::After(4))], 10).await.unwrap();
    assert!(log[0][0].deleted && log[0][0].content.is_empty());
    set_back(&store, id, people).await;
    damage(
        &store,
        "UPDATE members SET read_seq = 9 WHERE open = 1; DROP INDEX files_due".into(),
    )
    .await;
    let counts = |findings: Vec<DeepFinding>| -> Vec<(Flaw, u64, u64)> {
        let flawed = findings.into_iter().filter(|finding| finding.found > 0);
        flawed.map(|f| (f.flaw, f.found, f.repaired)).collect()
    };
    let found = counts(store.check_deep(false).await.unwrap());
    let expected = |repaired: u64| {
        let flaws = [
            (Flaw::HeadBehindLog, 1),
            (Flaw::CursorsMissing, 2),
            (Flaw::FileUnclaimed, 1),
            (Flaw::IndexMissing, 1),
            (Flaw::DeletedWithText, 1),
        ];
        flaws.map(|(flaw, found)| (flaw, found, repaired * found))
    };
    assert_eq!(found, expected(0));
    // Raising the head brings back one member, whose cursors are sound, and takes one away.
    let mended = counts(store.check_deep(true).await.unwrap());
    assert_eq!(mended.len(), 5, "{mended:?}");
    assert!(
        mended.iter().all(|(_, found, repaired)| found == repaired),
        "{mended:?}"
    );
    let after = counts(store.check_deep(false).await.unwrap());
    assert_eq!(after, []);
    is_as_the_log_says(&store, id, people).await;
    assert_eq!(store.heads(&[id]).await.unwrap(), [(id, 5)]);
    let kept = store.files(&[file]).await.unwrap().remove(0);
    assert_eq!(
        kept.claims
            .iter()
            .map(|claim| claim.message)
            .collect::<Vec<_>>(),
        [shown]
    );

    // What is gone cannot be brought back.
    damage(&store, "DELETE FROM messages WHERE seq = 5".into()).await;
    let beyond = counts(store.check_deep(true).await.unwrap());
    assert_eq!(beyond, [(Flaw::HeadBeyondLog, 1, 0)]);
}
