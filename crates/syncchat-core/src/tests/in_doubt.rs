//! Writes whose outcome is unknown: whatever happened is announced once it is known, with everything
//! that an ordinary write announces, and what did not happen is not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::command::{CursorKind, EditMessage};
use crate::limits::DOUBT_SPAN;
use crate::ports::fleet::{Fleet, FleetListener};
use crate::testing::Faults;

/// How an outcome gets lost.
const UNKNOWN: [Faults; 3] = [
    // It happened, and nobody heard of it.
    Faults {
        lose_answer: 1.0,
        ..Faults::NONE
    },
    // It happens a moment later, and long after the request was refused.
    Faults {
        land_late: 1.0,
        late: Duration::from_millis(200),
        ..Faults::NONE
    },
    Faults {
        land_late: 1.0,
        late: Duration::from_secs(25),
        ..Faults::NONE
    },
];

const DOWN: Faults = Faults {
    down: true,
    ..Faults::NONE
};

impl World {
    /// Runs one write whose outcome is lost as the dials say; the store then stays away until the
    /// request has been refused, and comes back. Only an append whose answer was lost is found at
    /// once, by its next attempt.
    async fn lose_outcome<T: std::fmt::Debug>(
        &self,
        faults: Faults,
        write: impl Future<Output = Result<T>>,
    ) {
        self.fleet.take();
        self.store.set_faults(faults);
        let (outcome, ()) = tokio::join!(write, async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.store.set_faults(DOWN);
        });
        match outcome {
            Err(error) => assert_eq!(error.code, ErrorCode::Unavailable),
            Ok(_) => assert!(faults.lose_answer > 0.0, "{outcome:?}"),
        }
        self.store.set_faults(Faults::NONE);
    }

    /// What is told until nothing can be in doubt any more.
    async fn told_in_the_end(&self) -> Vec<String> {
        tokio::time::sleep(2 * DOUBT_SPAN).await;
        let calls = self.store.calls();
        tokio::time::sleep(DOUBT_SPAN).await;
        assert_eq!(self.store.calls(), calls, "nothing is watched any more");
        short(&self.fleet.take())
    }
}

#[tokio::test(start_paused = true)]
async fn a_conversation_that_was_made_after_all_is_told_to_everybody_in_it() {
    for faults in UNKNOWN {
        for kind in [ConversationKind::Private, ConversationKind::Group] {
            let world = World::new(2);
            let [me, you] = world.people[..] else {
                unreachable!()
            };
            let command = CreateConversation::new(me, kind, [you], None).expect("a good command");
            let create = world.chat.create_conversation(command);
            world.lose_outcome(faults, create).await;
            assert_eq!(world.told_in_the_end().await, ["joined 0", "joined 0"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn changes_of_a_group_that_landed_after_all_are_told_with_all_that_belongs_to_them() {
    for faults in UNKNOWN {
        let world = World::new(3);
        let [me, you, them] = world.people[..] else {
            unreachable!()
        };
        let id = world.group(&[me, you]).await;
        world.say(me, id, "1").await.expect("sent");
        let add = world.chat.add_participant(me, id, them);
        world.lose_outcome(faults, add).await;
        assert_eq!(world.told_in_the_end().await, ["joined 2", "head 2"]);
        let rename = world.chat.rename(them, id, "new");
        world.lose_outcome(faults, rename).await;
        assert_eq!(world.told_in_the_end().await, ["head 3", "updated"]);
        let remove = world.chat.remove_participant(me, id, you);
        world.lose_outcome(faults, remove).await;
        assert_eq!(world.told_in_the_end().await, ["head 4", "parted 4"]);
        assert_eq!(world.store.broken(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn several_changes_of_one_write_are_told_in_the_order_of_the_log() {
    for faults in UNKNOWN {
        let world = World::new(3);
        let [me, you, them] = world.people[..] else {
            unreachable!()
        };
        let id = world.group(&[me, you]).await;
        let changes = async {
            let (added, removed, renamed) = tokio::join!(
                world.chat.add_participant(me, id, them),
                world.chat.remove_participant(me, id, you),
                world.chat.rename(me, id, "new"),
            );
            added.map(drop).and(removed).and(renamed.map(drop))
        };
        world.lose_outcome(faults, changes).await;
        let told = world.told_in_the_end().await;
        let expected = [
            "joined 1", "head 1", "head 2", "parted 2", "head 3", "updated",
        ];
        assert_eq!(told, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_were_changed_after_all_are_told_as_they_are_now() {
    for faults in UNKNOWN {
        let world = World::new(2);
        let me = world.people[0];
        let id = world.group(&world.people).await;
        let message = world.say(me, id, "helo").await.expect("sent").id;
        let command = EditMessage::new(me, message, "hello".into()).expect("a good edit");
        world.lose_outcome(faults, world.chat.edit(command)).await;
        assert_eq!(world.told_in_the_end().await, ["Edited 1"]);
        let delete = world.chat.delete(me, message);
        world.lose_outcome(faults, delete).await;
        assert_eq!(world.told_in_the_end().await, ["Deleted 1"]);
        // Whoever repeats it is answered, and it is told again.
        let other = world.other_node();
        let again = other.chat.delete(me, message).await.expect("deleted");
        assert!(again.deleted && again.content.is_empty());
        assert_eq!(short(&other.fleet.take()), ["Deleted 1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_resend_is_not_answered_with_what_was_deleted_after_all() {
    let world = World::new(2);
    let me = world.people[0];
    let id = world.group(&world.people).await;
    let secret = send_named(me, id, "hunter2", "x");
    let message = world.chat.send(secret.clone()).await.expect("sent").id;
    let delete = world.chat.delete(me, message);
    world.lose_outcome(UNKNOWN[0], delete).await;
    world.told_in_the_end().await;
    let again = world.chat.send(secret).await.expect("a resend");
    assert!(again.id == message && again.deleted && again.content.is_empty());
}

#[tokio::test(start_paused = true)]
async fn cursors_of_unknown_outcome_are_raised_until_that_is_known() {
    for faults in UNKNOWN {
        let world = World::new(2);
        let [me, you] = world.people[..] else {
            unreachable!()
        };
        let id = world.group(&world.people).await;
        world.say_many(me, id, 5).await;
        let read = world.chat.mark(you, id, CursorKind::Read, 3);
        world.lose_outcome(faults, read).await;
        assert_eq!(world.told_in_the_end().await, ["read 3"]);
        let delivered = world.chat.mark(you, id, CursorKind::Delivered, 5);
        world.lose_outcome(faults, delivered).await;
        assert_eq!(world.told_in_the_end().await, ["delivered 5"]);
        assert_eq!(world.chat.mark(you, id, CursorKind::Read, 3).await, Ok(2));
    }
}

#[tokio::test(start_paused = true)]
async fn what_did_not_happen_is_not_told() {
    let world = World::new(3);
    let [me, you, them] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    let message = world.say(me, id, "1").await.expect("sent").id;
    let never = Faults {
        fail_before_write: 1.0,
        ..Faults::NONE
    };
    let command = CreateConversation::new(me, ConversationKind::Group, [them], None);
    let create = world
        .chat
        .create_conversation(command.expect("a good command"));
    world.lose_outcome(never, create).await;
    let add = world.chat.add_participant(me, id, them);
    world.lose_outcome(never, add).await;
    let command = EditMessage::new(me, message, "2".into()).expect("a good edit");
    world.lose_outcome(never, world.chat.edit(command)).await;
    let delete = world.chat.delete(me, message);
    world.lose_outcome(never, delete).await;
    assert_eq!(world.told_in_the_end().await, [""; 0]);
    assert_eq!(world.store.log_of(id).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_landed_is_told_within_two_seconds_of_the_stores_return() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    world.store.set_faults(Faults {
        lose_answer: 1.0,
        ..Faults::NONE
    });
    let command = CreateConversation::new(me, ConversationKind::Private, [you], None);
    let create = world
        .chat
        .create_conversation(command.expect("a good command"));
    assert_eq!(code(create.await), ErrorCode::Unavailable);
    world.store.set_faults(DOWN);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(world.fleet.take().is_empty());
    world.store.set_faults(Faults::NONE);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(short(&world.fleet.take()), ["joined 0", "joined 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_ends_in_good_order_looks_once_more() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    let command = CreateConversation::new(me, ConversationKind::Private, [you], None);
    let create = world
        .chat
        .create_conversation(command.expect("a good command"));
    world.lose_outcome(UNKNOWN[0], create).await;
    world.chat.drain().await;
    assert_eq!(short(&world.fleet.take()), ["joined 0", "joined 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_does_not_end_the_watch() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    let message = world.say(me, id, "helo").await.expect("sent").id;
    let command = EditMessage::new(me, message, "hello".into()).expect("a good edit");
    world
        .lose_outcome(UNKNOWN[0], world.chat.edit(command))
        .await;
    world
        .fleet
        .listen(Arc::new(Fragile(AtomicBool::new(false))));
    // The first word of it meets the panic. What is in doubt later is looked for all the same.
    tokio::time::sleep(Duration::from_secs(5)).await;
    world
        .lose_outcome(UNKNOWN[0], world.chat.delete(me, message))
        .await;
    assert_eq!(world.told_in_the_end().await, ["Deleted 1"]);
}

/// Panics at the first event.
struct Fragile(AtomicBool);

impl FleetListener for Fragile {
    fn on_event(&self, _event: &FleetEvent) {
        assert!(self.0.swap(true, Ordering::Relaxed), "a defect elsewhere");
    }

    fn on_doubt(&self) {}
}

#[tokio::test(start_paused = true)]
async fn what_a_panic_kept_from_being_told_is_told_later() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    world
        .fleet
        .listen(Arc::new(Fragile(AtomicBool::new(false))));
    let command = CreateConversation::new(me, ConversationKind::Private, [you], None);
    let create = world
        .chat
        .create_conversation(command.expect("a good command"));
    assert_eq!(code(create.await), ErrorCode::Internal);
    assert_eq!(world.told_in_the_end().await, ["joined 0", "joined 0"]);
}

#[tokio::test]
async fn a_repeat_is_told_again_by_whichever_node() {
    let world = World::new(4);
    let [me, you, them, late] = world.people[..] else {
        unreachable!()
    };
    let pair = world
        .conversation(ConversationKind::Private, &[me, you])
        .await
        .id;
    world.say_many(me, pair, 3).await;
    let other = world.other_node();
    let command = CreateConversation::new(me, ConversationKind::Private, [you], None);
    let create = other
        .chat
        .create_conversation(command.expect("a good command"));
    assert!(!create.await.expect("found").1);
    let told = other.fleet.take();
    assert_eq!(short(&told), ["joined 0", "joined 0"]);
    assert!(told.iter().all(|event| match event {
        FleetEvent::Joined { conversation, .. } =>
            conversation.id == pair && conversation.last_seq == 3,
        _ => false,
    }));
    // An addition is told again with the message that did it.
    let id = world.group(&[me, you]).await;
    world.say_many(me, id, 3).await;
    let add = |node: &World, user| {
        let chat = Arc::clone(&node.chat);
        async move { chat.add_participant(me, id, user).await }
    };
    add(&world, them).await.expect("added");
    world
        .say_many(me, id, 2 * crate::limits::ADDITION_LOOK_BACK)
        .await;
    add(&other, them).await.expect("there already");
    assert_eq!(short(&other.fleet.take()), ["joined 4"]);
    // They have read a little.
    world
        .chat
        .mark(them, id, CursorKind::Read, 20)
        .await
        .expect("read");
    add(&other, them).await.expect("there already");
    assert_eq!(short(&other.fleet.take()), ["joined 4"]);
    // They have read so much that they know.
    world
        .chat
        .mark(them, id, CursorKind::Read, 90)
        .await
        .expect("read");
    add(&other, them).await.expect("there already");
    add(&other, you).await.expect("there from the beginning");
    assert!(other.fleet.take().is_empty());
    // Somebody who came back is told of their return.
    add(&world, late).await.expect("added");
    world
        .chat
        .remove_participant(me, id, late)
        .await
        .expect("removed");
    add(&world, late).await.expect("added again");
    let seq = world.store.log_of(id).len();
    add(&other, late).await.expect("there already");
    // It had not heard of the others' writes.
    let told = [format!("head {seq}"), format!("joined {seq}")];
    assert_eq!(short(&other.fleet.take()), told);
}

#[tokio::test]
async fn who_was_removed_elsewhere_types_no_more_however_little_was_heard() {
    let world = World::new(3);
    let [me, you, them] = world.people[..] else {
        unreachable!()
    };
    let heard = world
        .chat
        .listening(Arc::new(Fragile(AtomicBool::new(true))));
    let other = world.other_node();
    for heard_of in ["the removal behind a gap", "the word of it", "a page"] {
        let id = world.group(&[me, you, them]).await;
        world.say(you, id, "1").await.expect("sent");
        assert_eq!(world.chat.authorise(you, id).await, Ok(()));
        other.say(me, id, "2").await.expect("sent");
        other.fleet.take();
        let removed = other.chat.remove_participant(me, id, you);
        removed.await.expect("removed");
        let told = other.fleet.take();
        assert_eq!(short(&told), ["committed [3]", "parted 3"]);
        match heard_of {
            "the removal behind a gap" => heard.on_event(&told[0]),
            "the word of it" => heard.on_event(&told[1]),
            _ => {
                let pages = world.chat.backfill(&[(id, 1)], 10).await.expect("a page");
                assert_eq!(pages[0].messages.len(), 2);
            }
        }
        let typing = world.chat.authorise(you, id).await;
        assert_eq!(code(typing), ErrorCode::NotFound, "{heard_of}");
        assert_eq!(world.chat.authorise(them, id).await, Ok(()));
    }
}

#[tokio::test]
async fn a_head_that_is_not_older_than_a_change_is_kept() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    let heard = world
        .chat
        .listening(Arc::new(Fragile(AtomicBool::new(true))));
    let id = world.group(&[me, you]).await;
    world.chat.rename(me, id, "new").await.expect("renamed");
    let told = world.fleet.take();
    let calls = world.store.calls();
    told.iter().for_each(|event| heard.on_event(event));
    assert_eq!(world.chat.authorise(you, id).await, Ok(()));
    assert_eq!(world.store.calls(), calls, "nothing had to be read");
}

#[tokio::test]
async fn resends_are_answered_with_what_other_nodes_made_of_the_message() {
    let world = World::new(2);
    let me = world.people[0];
    let heard = world
        .chat
        .listening(Arc::new(Fragile(AtomicBool::new(true))));
    let other = world.other_node();
    let id = world.group(&world.people).await;
    for name in ["told", "missed"] {
        let secret = send_named(me, id, "hunter2", name);
        let message = world.chat.send(secret.clone()).await.expect("sent").id;
        other.fleet.take();
        other.chat.delete(me, message).await.expect("deleted");
        match name {
            "told" => other
                .fleet
                .take()
                .iter()
                .for_each(|event| heard.on_event(event)),
            _ => heard.on_doubt(),
        }
        let again = world.chat.send(secret).await.expect("a resend");
        assert!(again.id == message && again.content.is_empty(), "{name}");
    }
}
