//! What happens when mongod dies, stops answering, or is not what it should be.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use mongodb::bson::doc;
use syncchat_core::model::{ConversationId, Message, UserId};
use syncchat_core::ports::store::{Append, Appended, LogRange, Store, StoreError};
use syncchat_store::suite::{World, named, one, text};
use test_speed::scaled;

use crate::support::Mongod;

/// What a call may take at most, its own bound and some for a busy machine.
static BOUND: LazyLock<Duration> = LazyLock::new(|| scaled(Duration::from_secs(8)));
/// What a call may take that finds nobody at the address, on a busy machine.
static DEAD_BOUND: LazyLock<Duration> = LazyLock::new(|| scaled(Duration::from_millis(3_900)));
/// How soon all must be well again.
static HEALED_WITHIN: LazyLock<Duration> = LazyLock::new(|| scaled(Duration::from_secs(30)));

async fn world(mongod: &Mongod) -> World {
    let store = syncchat_store::open(&mongod.url("faults")).await.unwrap();
    store.migrate().await.unwrap();
    World::new(store)
}

/// A call that must fail, and soon.
async fn fails_within<T>(bound: Duration, call: impl Future<Output = Result<T, StoreError>>) {
    let begun = Instant::now();
    let result = call.await;
    assert!(matches!(result, Err(StoreError::Unavailable(_))));
    assert!(begun.elapsed() < bound, "took {:?}", begun.elapsed());
}

async fn until_it_answers(store: &Arc<dyn Store>) {
    let begun = Instant::now();
    while let Err(error) = store.check().await {
        assert!(begun.elapsed() < *HEALED_WITHIN, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_or_frozen_server_is_unavailable_and_heals() {
    let mongod = Mongod::start().await;
    let world = world(&mongod).await;
    let user = UserId::generate();
    let id = world.group(&[user]).await;
    let ids = [id];
    let head = world.conversation(id).await;
    let store = &world.store;
    let append = one(named(text(&head, 1, user, "held"), "held"));
    for frozen in [true, false] {
        if frozen {
            mongod.freeze()
        } else {
            mongod.kill()
        }
        let bound = if frozen { *BOUND } else { *DEAD_BOUND };
        let ((), (), (), ()) = tokio::join!(
            fails_within(bound, store.append(vec![append.clone()])),
            fails_within(bound, store.heads(&ids)),
            fails_within(bound, store.check()),
            fails_within(bound, store.account_by_login("anna")),
        );
        if frozen {
            mongod.thaw()
        } else {
            mongod.restart()
        }
        until_it_answers(store).await;
        // It may have been written while nobody knew: then sending it again finds it.
        // While that write is still under way it only stands in the way of the repetition.
        let end = Instant::now() + *HEALED_WITHIN;
        let mut appended = store.append(vec![append.clone()]).await.unwrap();
        while appended == [Appended::Moved] {
            assert!(Instant::now() < end, "the write of before stays in the way");
            tokio::time::sleep(Duration::from_millis(50)).await;
            appended = store.append(vec![append.clone()]).await.unwrap();
        }
        assert_eq!(world.log(id, LogRange::After(0)).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_server_dies_or_steps_down() {
    const SENDERS: usize = 8;
    const FAULTS: usize = 6;
    let mongod = Mongod::start().await;
    let world = world(&mongod).await;
    let user = UserId::generate();
    let ids = [world.group(&[user]).await, world.group(&[user]).await];
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (world, stop) = (world.clone(), stop.clone());
            tokio::spawn(async move { send_until(&world, &stop, &ids, user, sender).await })
        })
        .collect();
    for fault in 0..FAULTS {
        tokio::time::sleep(Duration::from_millis(200 + 170 * fault as u64)).await;
        if fault % 2 == 0 {
            mongod.kill();
            mongod.restart();
        } else {
            mongod.step_down().await;
        }
        until_it_answers(&world.store).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = BTreeSet::new();
    for sender in senders {
        acknowledged.extend(sender.await.unwrap());
    }
    println!("{} acknowledged over {FAULTS} faults", acknowledged.len());
    assert!(acknowledged.len() >= 2 * SENDERS);

    let mut stored = Vec::new();
    for id in ids {
        let log = whole_log(&world, id).await;
        let seqs: Vec<u64> = log.iter().map(|message| message.seq).collect();
        assert_eq!(seqs, (1..=log.len() as u64).collect::<Vec<_>>());
        assert_eq!(world.conversation(id).await.last_seq, log.len() as u64);
        stored.extend(log.into_iter().map(|message| message.content));
    }
    let once: BTreeSet<String> = stored.iter().cloned().collect();
    assert_eq!(once.len(), stored.len(), "something is stored twice");
    assert!(acknowledged.is_subset(&once));
}

/// Sends one message after the other to both conversations, each again until it is acknowledged,
/// and gives those that were.
async fn send_until(
    world: &World,
    stop: &AtomicBool,
    ids: &[ConversationId],
    user: UserId,
    sender: usize,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for nth in 0.. {
        let mut open = ids.to_vec();
        while !open.is_empty() {
            let begun = Instant::now();
            let Ok(heads) = world.store.conversations(&open).await else {
                assert!(begun.elapsed() < *BOUND);
                continue;
            };
            let name = format!("{sender}-{nth}");
            let batch: Vec<Append> = heads
                .iter()
                .map(|head| {
                    let content = format!("{name} {}", head.id);
                    one(named(text(head, 1, user, &content), &name))
                })
                .collect();
            let begun = Instant::now();
            let answer = world.store.append(batch.clone()).await;
            assert!(begun.elapsed() < *BOUND, "took {:?}", begun.elapsed());
            for (append, appended) in batch.iter().zip(answer.unwrap_or_default()) {
                if appended != Appended::Moved {
                    acknowledged.push(append.messages[0].content.clone());
                    open.retain(|id| *id != append.conversation);
                }
            }
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    acknowledged
}

async fn whole_log(world: &World, id: ConversationId) -> Vec<Message> {
    let mut log: Vec<Message> = Vec::new();
    loop {
        let after = log.last().map_or(0, |message| message.seq);
        let page = world.log(id, LogRange::After(after)).await;
        if page.is_empty() {
            return log;
        }
        log.extend(page);
    }
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let mongod = crate::shared().await;
    let database = mongod.database("newer").await;
    let schema = doc! { "_id": "schema", "version": 99 };
    database
        .collection("syncchat")
        .insert_one(schema)
        .await
        .unwrap();
    let store = syncchat_store::open(&mongod.url("newer")).await.unwrap();
    for error in [
        store.migrate().await.unwrap_err(),
        store.check().await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("99"), "{error}");
    }
}

#[tokio::test]
async fn an_unprepared_database_is_not_ready() {
    let mongod = crate::shared().await;
    let store = syncchat_store::open(&mongod.url("unprepared"))
        .await
        .unwrap();
    let error = store.check().await.unwrap_err();
    assert!(error.to_string().contains("syncchat migrate"), "{error}");
}
