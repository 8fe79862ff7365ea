//! Edits and deletions: numbered in their conversation, and read by their numbers.

use std::collections::HashMap;

use syncchat_core::model::{ConversationId, Message, MessageId, Rev, Timestamp};
use syncchat_core::ports::store::{LogRange, Mark};

use super::{World, people};

/// The newest change of this conversation.
async fn change_seq(world: &World, id: ConversationId) -> Rev {
    let marks = world.store.marks(&[id]).await.unwrap();
    assert_eq!(marks.len(), 1);
    marks[0].change_seq
}

pub async fn changes_have_an_order_of_their_own(world: World) {
    let [anna] = people();
    let (id, other) = (world.group(&[anna]).await, world.group(&[anna]).await);
    let mut messages = Vec::new();
    for content in ["1", "2", "3"] {
        messages.push(world.say(id, anna, content).await);
    }
    let elsewhere = world.say(other, anna, "elsewhere").await;
    assert_eq!(messages[0].rev, 1);
    assert_eq!(change_seq(&world, id).await, 1, "nothing was changed");
    let store = &world.store;
    let at = Timestamp::now();
    for (nth, content) in [(2, "c"), (0, "a"), (2, "C")] {
        store
            .edit_message(messages[nth].id, content.into(), at)
            .await
            .unwrap();
    }
    store.delete_message(messages[1].id, at).await.unwrap();
    store.delete_message(messages[1].id, at).await.unwrap();
    store.delete_message(elsewhere.id, at).await.unwrap();
    let read = async |after: Rev, limit: usize| {
        let after = [(other, 9), (id, after), (ConversationId::generate(), 1)];
        let mut found = store.changes(&after, limit).await.unwrap();
        assert_eq!((found.len(), found[0].len(), found[2].len()), (3, 0, 0));
        let found = found.remove(1).into_iter();
        found.map(|m| (m.rev, m.content)).collect::<Vec<_>>()
    };
    let all = [(3, "a"), (4, "C"), (5, "")].map(|(rev, text)| (rev, text.to_owned()));
    assert_eq!(read(0, 10).await, all);
    assert_eq!(read(1, 2).await, all[..2]);
    assert_eq!(read(3, 10).await, all[1..]);
    assert!(read(5, 10).await.is_empty());
    let marks = store.marks(&[id]).await.unwrap();
    let mark = Mark {
        conversation: id,
        last_seq: 3,
        change_seq: 5,
    };
    assert_eq!(marks, [mark]);
    assert_eq!(world.conversation(id).await.change_seq, 5);
    let place = store.memberships(anna, &[id]).await.unwrap().remove(0);
    assert_eq!(place.change_seq, 5);
    let places = world.places(anna).await;
    assert!(places.contains(&place), "{places:?}");
    assert!(store.changes(&[], 10).await.unwrap().is_empty());
}

pub async fn an_edit_and_a_deletion_at_once_end_deleted(world: World) {
    let [anna] = people();
    let id = world.group(&[anna]).await;
    for nth in 0..20 {
        let message = world.say(id, anna, &nth.to_string()).await;
        let at = Timestamp::now();
        let (edited, deleted) = tokio::join!(
            world.store.edit_message(message.id, "edited".into(), at),
            world.store.delete_message(message.id, at)
        );
        let (edited, deleted) = (edited.unwrap(), deleted.unwrap().unwrap());
        if let Some(edited) = edited {
            assert!(edited.rev < deleted.rev && deleted.supersedes(&edited));
        }
        assert!(deleted.deleted && deleted.content.is_empty());
        assert_eq!(
            world.store.message(message.id).await.unwrap(),
            Some(deleted)
        );
    }
}

pub async fn changes_become_visible_in_the_order_of_their_numbers(world: World) {
    const WRITERS: usize = 4;
    const EACH: usize = 12;
    let [anna] = people();
    let id = world.group(&[anna]).await;
    let mut messages = Vec::new();
    for nth in 0..WRITERS {
        messages.push(world.say(id, anna, &nth.to_string()).await.id);
    }
    let write = |writer: usize| {
        let (world, messages) = (world.clone(), messages.clone());
        tokio::spawn(async move {
            let mut revs = Vec::new();
            for nth in 0..EACH {
                let message = messages[(writer + nth) % WRITERS];
                let content = format!("{writer} {nth}");
                let at = Timestamp::now();
                let edited = world.store.edit_message(message, content, at).await;
                revs.push(edited.unwrap().unwrap().rev);
            }
            revs
        })
    };
    let writers: Vec<_> = (0..WRITERS).map(write).collect();
    // What a reader holds that asks again and again from where it is.
    let mut held: HashMap<MessageId, Message> = HashMap::new();
    let mut known = 1;
    while known < 1 + (WRITERS * EACH) as Rev {
        let newest = change_seq(&world, id).await;
        let page = world.store.changes(&[(id, known)], 1_000).await.unwrap();
        held.extend(page.into_iter().flatten().map(|m| (m.id, m)));
        known = newest;
    }
    let mut revs = Vec::new();
    for writer in writers {
        let mine = writer.await.unwrap();
        assert!(mine.is_sorted(), "{mine:?}");
        revs.extend(mine);
    }
    revs.sort_unstable();
    let all: Vec<Rev> = (2..2 + (WRITERS * EACH) as Rev).collect();
    assert_eq!(revs, all, "each change has a number of its own");
    for message in world.log(id, LogRange::After(0)).await {
        assert_eq!(held.get(&message.id), Some(&message));
    }
}
