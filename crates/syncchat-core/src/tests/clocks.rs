//! Nodes whose clocks are wrong, and what a wrong clock has left in the store.

use std::sync::Arc;
use std::time::Duration;

use super::{World, code, send};
use crate::chat::Chat;
use crate::clock::Clock;
use crate::command::{CreateConversation, CursorKind, EditMessage, PageFrom, PageRequest};
use crate::error::ErrorCode;
use crate::limits::CLOCK_OFFSET_MAX;
use crate::model::{ConversationKind, Message, Timestamp};
use crate::testing::{self, ManualClocks};

const DAY: Duration = Duration::from_secs(86_400);

/// The same chat on a node whose date is this, and whose store shows that.
fn node(world: &World, date: Timestamp, time: Timestamp) -> World {
    let clock = Clock::on(ManualClocks::at(date));
    clock.count_from(time);
    let chat = Chat::with_clock(
        Arc::clone(&world.store) as _,
        Arc::clone(&world.fleet) as _,
        None,
        clock,
    );
    World {
        chat,
        ..world.other_node()
    }
}

#[tokio::test]
async fn a_node_whose_date_is_wrong_writes_nothing_that_bears_a_time() {
    let world = World::new(3);
    let [me, you, other] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    let said = world.say(me, id, "before").await.expect("sent");
    let now = Timestamp::now();
    for date in [now.plus(DAY), now.before(DAY)] {
        let wrong = node(&world, date, now);
        let before = world.store.log_of(id);
        let chat = &wrong.chat;
        let unavailable = ErrorCode::Unavailable;
        assert_eq!(code(wrong.say(me, id, "ahead").await), unavailable);
        let edit = EditMessage::new(me, said.id, "edited".into()).expect("a command");
        assert_eq!(code(chat.edit(edit).await), unavailable);
        assert_eq!(code(chat.delete(me, said.id).await), unavailable);
        assert_eq!(code(chat.rename(me, id, "title").await), unavailable);
        let added = chat.add_participant(me, id, other).await;
        assert_eq!(code(added), unavailable);
        let create = CreateConversation::new(me, ConversationKind::Group, [you], None);
        let created = chat.create_conversation(create.expect("a command")).await;
        assert_eq!(code(created), unavailable);
        assert_eq!(world.store.log_of(id), before);
        // What bears none goes on.
        let page = PageRequest::new(PageFrom::Newest, None).expect("a page");
        assert_eq!(
            chat.history(you, id, page)
                .await
                .expect("read")
                .messages
                .len(),
            1
        );
        assert_eq!(chat.mark(you, id, CursorKind::Read, 1).await, Ok(0));
    }
    world.say(me, id, "after").await.expect("sent");
    assert_eq!(world.store.broken(), Vec::<&str>::new());
}

#[tokio::test]
async fn messages_bear_the_stores_time_and_not_the_nodes() {
    let world = World::new(2);
    let me = world.people[0];
    let id = world.group(&world.people).await;
    let now = Timestamp::now();
    // As far off as may be.
    let behind = node(&world, now.before(CLOCK_OFFSET_MAX), now);
    let ahead = node(
        &world,
        now.plus(CLOCK_OFFSET_MAX),
        now.plus(Duration::from_secs(1)),
    );
    let first = ahead.say(me, id, "1").await.expect("sent");
    assert_eq!(first.created_at, now.plus(Duration::from_secs(1)));
    let second = behind.say(me, id, "2").await.expect("sent");
    assert_eq!(second.created_at, first.created_at, "times do not fall");
    let edit = EditMessage::new(me, second.id, "two".into()).expect("a command");
    let edited = behind.chat.edit(edit).await.expect("edited");
    assert_eq!(edited.updated_at, now);
}

#[tokio::test]
async fn a_room_that_was_dated_ahead_goes_on_with_the_right_time() {
    let world = World::new(2);
    let me = world.people[0];
    let id = world.group(&world.people).await;
    world.say(me, id, "1").await.expect("sent");
    let now = Timestamp::now();
    // As a node of an earlier release wrote it.
    let ahead = Message {
        created_at: now.plus(DAY),
        updated_at: now.plus(DAY),
        ..testing::message(id, me, "by the node that is ahead")
    };
    world.store.append_behind(id, vec![ahead], None, me);
    let fresh = node(&world, now, now);
    for text in ["3", "4"] {
        let said = fresh.say(me, id, text).await.expect("sent");
        assert_eq!(said.created_at, now, "{text}");
    }
    let list = fresh
        .chat
        .conversations(me, None, None)
        .await
        .expect("read");
    assert_eq!(list.conversations[0].conversation.updated_at, now);
    // Nothing written since a time is left out.
    let page = PageRequest::new(PageFrom::Since(now), None).expect("a page");
    let page = fresh.chat.history(me, id, page).await.expect("read");
    let seqs: Vec<_> = page.messages.iter().map(|view| view.message.seq).collect();
    assert!(seqs.ends_with(&[3, 4]), "{seqs:?}");
    assert_eq!(world.store.broken(), Vec::<&str>::new());
}

#[tokio::test]
async fn a_time_that_is_ahead_a_little_is_kept() {
    let world = World::new(2);
    let me = world.people[0];
    let id = world.group(&world.people).await;
    let now = Timestamp::now();
    let ahead = Message {
        created_at: now.plus(CLOCK_OFFSET_MAX),
        ..testing::message(id, me, "a little ahead")
    };
    world.store.append_behind(id, vec![ahead], None, me);
    let fresh = node(&world, now, now);
    let said = fresh.say(me, id, "next").await.expect("sent");
    assert_eq!(said.created_at, now.plus(CLOCK_OFFSET_MAX));
    assert_eq!(world.store.broken(), Vec::<&str>::new());
}

#[tokio::test]
async fn a_node_that_does_not_know_the_time_takes_none_back() {
    let world = World::new(2);
    let me = world.people[0];
    let id = world.group(&world.people).await;
    let now = Timestamp::now();
    let clocks = ManualClocks::at(now);
    let clock = Clock::on(clocks.clone());
    clock.count_from(now);
    let asleep = World {
        chat: Chat::with_clock(
            Arc::clone(&world.store) as _,
            Arc::clone(&world.fleet) as _,
            None,
            clock,
        ),
        ..world.other_node()
    };
    // Accepted before the machine slept, planned after it.
    let mut sending = Box::pin(asleep.chat.send(send(me, id, "slept over")));
    assert!(super::poll_once(&mut sending).is_pending());
    let awake = now.plus(DAY);
    clocks.set(awake);
    let meanwhile = Message {
        created_at: awake,
        ..testing::message(id, me, "meanwhile")
    };
    world.store.append_behind(id, vec![meanwhile], None, me);
    let said = sending.await.expect("sent");
    assert_eq!((said.seq, said.created_at), (2, awake));
    assert_eq!(world.store.broken(), Vec::<&str>::new());
}
