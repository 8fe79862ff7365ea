use std::collections::BTreeMap;

use super::*;
use crate::command::{EditMessage, SyncRequest};
use crate::limits::{PAGE_DEFAULT, SYNC_CHANGED_MAX};
use crate::model::Rev;

impl World {
    /// What `sync` says was changed: by conversation the `seq`s, whether there is more, and the number that
    /// is known then.
    async fn changes(
        &self,
        user: UserId,
        cursors: &[(ConversationId, Seq)],
        known: &[(ConversationId, Rev)],
    ) -> BTreeMap<ConversationId, (Vec<Seq>, bool, Rev)> {
        let request = SyncRequest::new(cursors.iter().copied().collect(), false)
            .and_then(|request| request.knowing(known.iter().copied().collect()));
        let synced = self.chat.sync(user, request.expect("a good request")).await;
        let short = synced.expect("synced").conversations.into_iter().map(|c| {
            let seqs = c.changes.iter().map(|view| view.message.seq).collect();
            (c.id, (seqs, c.more, c.change_seq))
        });
        short.collect()
    }

    async fn edit_all(&self, user: UserId, id: ConversationId) {
        for message in self.store.log_of(id) {
            let command = EditMessage::new(user, message.id, "edited".into());
            let edited = self.chat.edit(command.expect("a good edit")).await;
            edited.expect("edited");
        }
    }
}

#[tokio::test]
async fn sync_brings_what_was_changed_of_what_the_client_holds() {
    let world = World::new(3);
    let [me, you, them] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    world.say_many(me, id, 4).await;
    let log = world.store.log_of(id);
    let sync = async |user, cursor, known| {
        let known: Vec<_> = Option::into_iter(known).map(|rev| (id, rev)).collect();
        let mut changes = world.changes(user, &[(id, cursor)], &known).await;
        changes.remove(&id).expect("a member")
    };
    assert_eq!(sync(you, 4, Some(0)).await, (vec![], false, 1));
    for place in [3, 0, 1] {
        let deleted = world.chat.delete(me, log[place].id).await;
        deleted.expect("deleted");
    }
    assert_eq!(sync(you, 4, Some(1)).await, (vec![4, 1, 2], false, 4));
    assert_eq!(sync(you, 4, Some(2)).await, (vec![1, 2], false, 4));
    assert_eq!(sync(you, 4, Some(4)).await, (vec![], false, 4));
    // The rest comes as it is now, among the messages.
    assert_eq!(sync(you, 3, Some(1)).await, (vec![1, 2], false, 4));
    assert_eq!(sync(you, 0, Some(1)).await, (vec![], false, 4));
    assert_eq!(sync(you, 4, None).await, (vec![], false, 4));
    // Not of messages outside the member's spans.
    world
        .chat
        .add_participant(me, id, them)
        .await
        .expect("added");
    world
        .chat
        .remove_participant(me, id, them)
        .await
        .expect("removed");
    world.say(me, id, "7").await.expect("sent");
    world
        .chat
        .add_participant(me, id, them)
        .await
        .expect("added");
    let said = world.store.log_of(id)[6].id;
    world.chat.delete(me, said).await.expect("deleted");
    assert_eq!(sync(you, 8, Some(4)).await, (vec![7], false, 5));
    assert_eq!(sync(them, 8, Some(4)).await, (vec![], false, 5));
}

#[tokio::test]
async fn changes_come_by_pages_and_end_with_all_of_them() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    let mut ids = Vec::new();
    for n in 0..=SYNC_CHANGED_MAX {
        let id = world.group(&[me, you]).await;
        let count = if n == 0 { PAGE_DEFAULT + 1 } else { 1 };
        world.say_many(me, id, count).await;
        world.edit_all(me, id).await;
        ids.push(id);
    }
    let held = |id: &ConversationId| (*id, world.store.log_of(*id).len() as Seq);
    let cursors: Vec<_> = ids.iter().map(held).collect();
    let mut known: Vec<_> = ids.iter().map(|id| (*id, 1)).collect();
    let mut found = 0;
    for round in 0.. {
        assert!(round < 3, "it does not end");
        let changes = world.changes(you, &cursors, &known).await;
        found += changes.values().map(|(seqs, ..)| seqs.len()).sum::<usize>();
        known = changes.iter().map(|(id, (.., rev))| (*id, *rev)).collect();
        if changes.values().all(|(_, more, _)| !more) {
            break;
        }
    }
    assert_eq!(found, PAGE_DEFAULT + 1 + SYNC_CHANGED_MAX);
}
