//! Conversations: making them, listing them, and whom they bring together.

use std::collections::BTreeSet;

use syncchat_core::model::{ConversationId, ConversationKind, SystemEvent, UserId};
use syncchat_core::ports::store::{ConversationCursor, CreatedConversation};

use super::{World, new_conversation, people};

pub async fn a_pair_has_one_conversation(world: World) {
    let [anna, ben, cleo] = people();
    let racers: Vec<_> = (0..12)
        .map(|nth| {
            let world = world.clone();
            let pair = if nth % 2 == 0 {
                [anna, ben]
            } else {
                [ben, anna]
            };
            tokio::spawn(async move {
                let new = new_conversation(ConversationKind::Private, &pair);
                world.store.create_conversation(new).await.unwrap()
            })
        })
        .collect();
    let (mut new, mut all) = (0, BTreeSet::new());
    for racer in racers {
        let conversation = match racer.await.unwrap() {
            CreatedConversation::New(conversation) => {
                new += 1;
                conversation
            }
            CreatedConversation::Existing(conversation) => conversation,
            CreatedConversation::Repeated(..) => panic!("there was no key"),
        };
        assert_eq!(conversation.kind, ConversationKind::Private);
        assert_eq!(conversation.title, None);
        assert_eq!((conversation.last_seq, conversation.last_ordinal), (0, 0));
        all.insert(conversation.id);
    }
    assert_eq!((new, all.len()), (1, 1));
    let id = *all.first().unwrap();
    let mut pair = [anna, ben];
    pair.sort();
    assert_eq!(world.conversation(id).await.participants, pair);
    assert_eq!(world.places(anna).await.len(), 1);

    let other = new_conversation(ConversationKind::Private, &[anna, cleo]);
    let made = world.store.create_conversation(other).await.unwrap();
    assert!(matches!(made, CreatedConversation::New(_)));
    // A group of the same two is something else.
    world.group(&[anna, ben]).await;
}

pub async fn groups_are_many(world: World) {
    let everybody: Vec<UserId> = (0..150).map(|_| UserId::generate()).collect();
    let new = new_conversation(ConversationKind::Group, &everybody);
    let made = world.store.create_conversation(new.clone()).await.unwrap();
    let CreatedConversation::New(made) = made else {
        panic!("{made:?}");
    };
    assert_eq!(made, world.conversation(new.id).await);
    assert_eq!(made.title.as_deref(), Some("title"));
    assert_eq!(made.created_at, new.created_at);
    assert_eq!(made.updated_at, new.created_at);
    assert_eq!(made.participants.len(), 150);
    assert!(made.participants.is_sorted());
    assert!(everybody.iter().all(|user| made.has_member(*user)));
    let again = world.group(&everybody).await;
    assert_ne!(again, made.id);
    let both = world.store.conversations(&[again, made.id]).await.unwrap();
    assert_eq!(both.len(), 2);
}

pub async fn lists_are_paged_newest_first(world: World) {
    let [anna, ben] = people();
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(world.group(&[anna, ben]).await);
    }
    // All of the same age, so that their ids decide; then two become newer.
    ids.sort();
    ids.reverse();
    assert_eq!(list(&world, anna, 3).await, ids);
    world.say(ids[4], ben, "1").await;
    world.say(ids[2], ben, "1").await;
    world.say(ids[2], ben, "2").await;
    let expected = [2, 4, 0, 1, 3, 5, 6].map(|place| ids[place]);
    for page in [1, 2, 7, 100] {
        assert_eq!(list(&world, anna, page).await, expected, "pages of {page}");
    }
    let first = world.store.conversations_of(anna, None, 1).await.unwrap();
    assert_eq!(first, [world.conversation(ids[2]).await]);
    let nobody = UserId::generate();
    let list = world.store.conversations_of(nobody, None, 10).await;
    assert_eq!(list.unwrap(), []);
}

async fn list(world: &World, user: UserId, page: usize) -> Vec<ConversationId> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let found = world
            .store
            .conversations_of(user, after, page)
            .await
            .unwrap();
        let Some(last) = found.last() else {
            return ids;
        };
        after = Some(ConversationCursor {
            updated_at: last.updated_at,
            id: last.id,
        });
        ids.extend(found.iter().map(|conversation| conversation.id));
    }
}

pub async fn contacts_share_a_conversation(world: World) {
    let everybody: [UserId; 6] = people();
    let [anna, ben, cleo, dora, emil, stranger] = everybody;
    world.group(&[anna, ben, cleo]).await;
    world.group(&[anna, ben, dora]).await;
    world.group(&[emil, stranger]).await;
    let contacts = async |user, limit| -> BTreeSet<UserId> {
        let mut found = world.store.contacts(&[user], limit).await.unwrap();
        assert_eq!(found.len(), 1);
        let found = found.remove(0);
        assert!(found.len() <= limit);
        found.into_iter().collect()
    };
    assert_eq!(contacts(anna, 10).await, BTreeSet::from([ben, cleo, dora]));
    assert_eq!(contacts(anna, 2).await.len(), 2);
    assert_eq!(contacts(stranger, 10).await, BTreeSet::from([emil]));
    assert!(contacts(UserId::generate(), 10).await.is_empty());
    let asked = [stranger, UserId::generate(), anna];
    let found = world.store.contacts(&asked, 10).await.unwrap();
    let found: Vec<BTreeSet<UserId>> = found.into_iter().map(BTreeSet::from_iter).collect();
    let each = [BTreeSet::from([emil]), BTreeSet::new()];
    assert_eq!(found[..2], each);
    assert_eq!(found[2], BTreeSet::from([ben, cleo, dora]));
    assert!(world.store.contacts(&[], 10).await.unwrap().is_empty());
}

/// What is read once for many gives each what it gives one alone.
pub async fn contacts_of_many_who_share_rooms(world: World) {
    let everybody: [UserId; 12] = people();
    let [gone, back, ..] = everybody;
    for shift in 0..6 {
        let members: Vec<UserId> = (0..5).map(|n| everybody[(shift + n * n) % 12]).collect();
        world.group(&members).await;
    }
    let id = world.group(&everybody[..4]).await;
    for event in [
        SystemEvent::Left { user: gone },
        SystemEvent::Left { user: back },
        SystemEvent::Added {
            by: everybody[2],
            user: back,
        },
    ] {
        world.change(id, everybody[2], event).await;
    }
    let all = world.store.contacts(&everybody, 20).await.unwrap();
    let set = |list: &Vec<UserId>| -> BTreeSet<UserId> { list.iter().copied().collect() };
    for (user, found) in everybody.iter().zip(&all) {
        assert_eq!(set(found).len(), found.len(), "each once");
        let places = world.places(*user).await;
        let rooms: Vec<ConversationId> = places.iter().map(|place| place.conversation).collect();
        let mut expected: BTreeSet<UserId> = world
            .store
            .conversations(&rooms)
            .await
            .unwrap()
            .into_iter()
            .flat_map(|conversation| conversation.participants)
            .collect();
        expected.remove(user);
        assert_eq!(set(found), expected);
        let alone = world.store.contacts(&[*user], 20).await.unwrap();
        assert_eq!(set(&alone[0]), expected);
    }
    let few = world.store.contacts(&everybody, 3).await.unwrap();
    for (all, few) in all.iter().zip(&few) {
        assert_eq!(few.len(), all.len().min(3));
        assert!(set(few).is_subset(&set(all)));
    }
}
