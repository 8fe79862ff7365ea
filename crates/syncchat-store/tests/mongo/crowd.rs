//! Several gateways write one conversation at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::bson::oid::ObjectId;
use syncchat_core::model::{ConversationId, SystemEvent, UserId};
use syncchat_core::ports::store::{Append, Appended, LogEnd, LogRange, Store};
use syncchat_store::suite::{World, named, one, people, system, text};
use test_speed::scaled;

use crate::support::Mongod;

async fn world(mongod: &Mongod, database: &str) -> World {
    let store: Arc<dyn Store> = syncchat_store::open(&mongod.url(database)).await.unwrap();
    store.migrate().await.unwrap();
    World::new(store)
}

async fn behind(world: &World, append: &Append) -> Appended {
    world.store.append_behind(append.clone()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_goes_behind_talk_and_not_behind_changes() {
    let mongod = crate::shared().await;
    let world = world(mongod, &format!("behind_{}", ObjectId::new())).await;
    let [anna, ben, carl] = people();
    let id = world.group(&[anna, ben]).await;
    let old = world.conversation(id).await;
    world.say(id, anna, "1").await;
    let second = world.say(id, ben, "2").await;
    // Talk goes behind talk; times do not fall, whatever the writer's clock says.
    let end = LogEnd {
        last_seq: 2,
        last_ordinal: 2,
        updated_at: second.created_at,
    };
    let stale = one(text(&old, 1, anna, "3"));
    assert_eq!(behind(&world, &stale).await, Appended::Behind(end));
    let third = world.log(id, LogRange::After(2)).await.remove(0);
    assert_eq!((third.seq, third.ordinal), (3, 3));
    assert_eq!(
        third.created_at,
        second.created_at.max(stale.messages[0].created_at)
    );
    // A change goes behind talk too, and takes effect at its own place.
    let add = system(
        &old,
        anna,
        SystemEvent::Added {
            by: anna,
            user: carl,
        },
    );
    assert!(matches!(behind(&world, &add).await, Appended::Behind(end) if end.last_seq == 3));
    let head = world.conversation(id).await;
    assert!(head.participants.contains(&carl));
    assert_eq!((head.last_seq, head.last_ordinal), (4, 3));
    let place = async |user| {
        let mut places = world.store.memberships(user, &[id]).await.unwrap();
        places.remove(0)
    };
    assert_eq!(place(carl).await.read_seq, 4);
    world.say(id, ben, "5").await;
    let removed = SystemEvent::Removed {
        by: anna,
        user: ben,
    };
    let remove = system(&head, anna, removed);
    assert!(matches!(behind(&world, &remove).await, Appended::Behind(end) if end.last_seq == 5));
    let spans = place(ben).await.spans;
    assert!(spans.contains(6) && !spans.contains(7), "{spans:?}");
    // Nothing goes behind a change that its writer has not seen.
    world.say(id, anna, "7").await;
    let late = one(text(&head, 1, ben, "I am gone"));
    assert_eq!(behind(&world, &late).await, Appended::Moved);
    let mut early = one(text(&head, 1, anna, "what is before me?"));
    early.expected_seq = 100;
    Arc::make_mut(&mut early.messages[0]).seq = 101;
    assert_eq!(behind(&world, &early).await, Appended::Moved);
    let mut nowhere = one(text(&old, 1, anna, "nowhere"));
    nowhere.conversation = ConversationId::generate();
    assert_eq!(behind(&world, &nowhere).await, Appended::Moved);
    let log = world.log(id, LogRange::After(0)).await;
    let seqs: Vec<u64> = log.iter().map(|message| message.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6, 7]);
    assert!(log.is_sorted_by_key(|message| message.created_at));
}

/// Three gateways that write as fast as they can. Each must get its share, and all together must
/// not be slower than one by much.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_that_write_at_once_get_their_shares() {
    const SPAN: Duration = Duration::from_secs(2);
    let mongod = Mongod::start().await;
    let worlds = [
        world(&mongod, "crowd").await,
        world(&mongod, "crowd").await,
        world(&mongod, "crowd").await,
    ];
    let [anna] = people();
    let id = worlds[0].group(&[anna]).await;
    let (alone, _) = write_for(worlds[0].clone(), id, anna, "alone", SPAN).await;
    let writers: Vec<_> = worlds
        .iter()
        .enumerate()
        .map(|(nth, world)| {
            let (world, name) = (world.clone(), format!("w{nth}"));
            tokio::spawn(async move { write_for(world, id, anna, &name, SPAN).await })
        })
        .collect();
    let (mut shares, mut longest) = (Vec::new(), Duration::ZERO);
    for writer in writers {
        let (writes, wait) = writer.await.unwrap();
        shares.push(writes);
        longest = longest.max(wait);
    }
    let sum: usize = shares.iter().sum();
    println!("{alone} writes by one; {shares:?} by three, longest {longest:?}");
    assert!(
        shares.iter().all(|share| share * 6 > sum),
        "{shares:?} of {sum}"
    );
    assert!(sum * 10 > alone * 6, "{sum} by three, {alone} by one");
    assert!(
        longest < scaled(Duration::from_secs(1)),
        "somebody waited {longest:?}"
    );
    let head = worlds[0].conversation(id).await;
    assert_eq!(head.last_seq, (alone + sum) as u64);
}

/// How many writes became durable in this time, and the longest of them.
async fn write_for(
    world: World,
    id: ConversationId,
    sender: UserId,
    name: &str,
    span: Duration,
) -> (usize, Duration) {
    let begun = Instant::now();
    let mut head = world.conversation(id).await;
    let (mut writes, mut longest) = (0, Duration::ZERO);
    while begun.elapsed() < span {
        let name = format!("{name}-{writes}");
        let mut append = one(named(text(&head, 1, sender, &name), &name));
        let called = Instant::now();
        match behind(&world, &append).await {
            Appended::Committed => {}
            Appended::Behind(end) => append.put_behind(end),
            other => panic!("{other:?}"),
        }
        longest = longest.max(called.elapsed());
        let last = &append.messages[0];
        (head.last_seq, head.last_ordinal) = (last.seq, last.ordinal);
        head.updated_at = last.created_at;
        writes += 1;
    }
    (writes, longest)
}
