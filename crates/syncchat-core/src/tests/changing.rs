use super::*;
use crate::command::{CursorKind, EditMessage};
use crate::model::{MessageId, MessageKind, SystemEvent};
use crate::ports::fleet::FleetListener;

#[tokio::test]
async fn a_pair_has_one_conversation_and_everybody_named_must_exist() {
    let world = World::new(3);
    let [me, you, _] = world.people[..] else {
        unreachable!()
    };
    let create = |creator, other, kind| {
        let command = CreateConversation::new(creator, kind, [other], None);
        world
            .chat
            .create_conversation(command.expect("a good command"))
    };
    let (first, new) = create(me, you, ConversationKind::Private)
        .await
        .expect("made");
    assert!(new && first.conversation.participants == [me, you]);
    assert_eq!(short(&world.fleet.take()), ["joined 0", "joined 0"]);
    let (again, new) = create(you, me, ConversationKind::Private)
        .await
        .expect("found");
    assert!(!new && again.conversation.id == first.conversation.id);
    // Whoever made it may not have come to announce it.
    assert_eq!(short(&world.fleet.take()), ["joined 0", "joined 0"]);
    let nobody = UserId::generate();
    let refused = create(me, nobody, ConversationKind::Group).await;
    let error = refused.expect_err("nobody");
    assert_eq!(error.fields[0].0, "participants");
    assert!(error.message.contains(&nobody.to_string()));
}

#[tokio::test]
async fn coming_and_going_take_a_number_and_are_told_in_order() {
    let world = World::new(4);
    let [me, you, them, stranger] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    world.say(me, id, "1").await.expect("sent");
    world.fleet.take();

    let view = world
        .chat
        .add_participant(you, id, them)
        .await
        .expect("added");
    assert_eq!(view.conversation.participants, [me, you, them]);
    assert_eq!(view.conversation.last_seq, 2);
    assert_eq!(short(&world.fleet.take()), ["joined 2", "committed [2]"]);
    world
        .chat
        .add_participant(me, id, them)
        .await
        .expect("already there");
    assert_eq!(short(&world.fleet.take()), ["joined 2"], "told again");
    world
        .chat
        .add_participant(me, id, you)
        .await
        .expect("there from the beginning");
    assert!(world.fleet.take().is_empty());

    world
        .chat
        .remove_participant(them, id, you)
        .await
        .expect("removed");
    assert_eq!(short(&world.fleet.take()), ["committed [3]", "parted 3"]);
    assert_eq!(code(world.say(you, id, "never").await), ErrorCode::NotFound);
    world
        .chat
        .remove_participant(them, id, them)
        .await
        .expect("left");

    let log = world.store.log_of(id);
    let events: Vec<_> = log[1..]
        .iter()
        .map(|m| m.event.clone().expect("an event"))
        .collect();
    assert_eq!(
        events,
        [
            SystemEvent::Added {
                by: you,
                user: them
            },
            SystemEvent::Removed {
                by: them,
                user: you
            },
            SystemEvent::Left { user: them },
        ]
    );
    assert!(
        log[1..]
            .iter()
            .all(|m| m.kind == MessageKind::System && m.content.is_empty())
    );
    assert!(log[1..].iter().all(|m| m.ordinal == 1), "they do not count");

    let add = |by, user| world.chat.add_participant(by, id, user);
    let remove = |by, user| world.chat.remove_participant(by, id, user);
    assert_eq!(field(add(me, UserId::generate()).await), "userId");
    assert_eq!(code(add(stranger, stranger).await), ErrorCode::NotFound);
    assert_eq!(
        code(add(stranger, UserId::generate()).await),
        ErrorCode::NotFound
    );
    assert_eq!(code(remove(me, them).await), ErrorCode::NotFound);
    assert_eq!(code(remove(stranger, me).await), ErrorCode::NotFound);
    assert_eq!(world.store.broken(), [""; 0]);
}

#[tokio::test]
async fn who_is_removed_in_a_batch_writes_nothing_after_it() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    let mut before = Box::pin(world.chat.send(send(you, id, "before")));
    let mut removal = Box::pin(world.chat.remove_participant(me, id, you));
    let mut after = Box::pin(world.chat.send(send(you, id, "after")));
    let mut mine = Box::pin(world.chat.send(send(me, id, "mine")));
    assert!(poll_once(&mut before).is_pending() && poll_once(&mut removal).is_pending());
    assert!(poll_once(&mut after).is_pending() && poll_once(&mut mine).is_pending());
    assert_eq!(before.await.expect("sent").seq, 1);
    assert_eq!(removal.await, Ok(()));
    assert_eq!(code(after.await), ErrorCode::NotFound);
    assert_eq!(mine.await.expect("sent").seq, 3);
    // Nothing after the removal is told before the one who was removed knows of it.
    let told = short(&world.fleet.take());
    assert_eq!(told, ["committed [1, 2]", "parted 2", "committed [3]"]);
}

#[tokio::test]
async fn a_group_gets_a_title_and_a_private_conversation_does_not_change() {
    let world = World::new(3);
    let [me, you, stranger] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    let view = world
        .chat
        .rename(you, id, " Lunch ")
        .await
        .expect("renamed");
    assert_eq!(view.conversation.title.as_deref(), Some("Lunch"));
    assert_eq!(short(&world.fleet.take()), ["committed [1]", "updated"]);
    world.chat.rename(me, id, "Lunch").await.expect("as it is");
    assert_eq!(short(&world.fleet.take()), ["updated"], "told again");
    assert_eq!(field(world.chat.rename(me, id, "  ").await), "title");
    assert_eq!(
        code(world.chat.rename(stranger, id, "x").await),
        ErrorCode::NotFound
    );

    let pair = world
        .conversation(ConversationKind::Private, &[me, you])
        .await
        .id;
    let chat = &world.chat;
    assert_eq!(code(chat.rename(me, pair, "x").await), ErrorCode::Forbidden);
    assert_eq!(
        code(chat.add_participant(me, pair, stranger).await),
        ErrorCode::Forbidden
    );
    assert_eq!(
        code(chat.remove_participant(me, pair, me).await),
        ErrorCode::Forbidden
    );
    assert_eq!(
        code(chat.remove_participant(stranger, pair, me).await),
        ErrorCode::NotFound
    );
    assert!(world.store.log_of(pair).is_empty());
}

#[tokio::test]
async fn only_the_sender_changes_a_message() {
    let world = World::new(3);
    let [me, you, stranger] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    let message = world
        .chat
        .send(send_named(me, id, "hello", "x"))
        .await
        .expect("sent")
        .id;
    world.chat.rename(me, id, "title").await.expect("renamed");
    let system = world.store.log_of(id)[1].id;
    world.fleet.take();
    let edit = |editor, message, text: &str| {
        let command = EditMessage::new(editor, message, text.into());
        world.chat.edit(command.expect("a good edit"))
    };
    let delete = |user, message| world.chat.delete(user, message);

    let edited = edit(me, message, "hullo").await.expect("edited");
    assert!(edited.edited && edited.content == "hullo" && edited.seq == 1);
    assert_eq!(short(&world.fleet.take()), ["Edited 1"]);
    let resend = world
        .chat
        .send(send_named(me, id, "hello", "x"))
        .await
        .expect("a resend");
    assert_eq!(resend.id, message);
    assert_eq!(
        short(&world.fleet.take()),
        ["head 1"],
        "it may not have been announced"
    );
    assert_eq!(code(edit(you, message, "x").await), ErrorCode::Forbidden);
    assert_eq!(
        code(edit(stranger, message, "x").await),
        ErrorCode::NotFound
    );
    assert_eq!(code(edit(me, system, "x").await), ErrorCode::Forbidden);
    assert_eq!(
        code(edit(me, MessageId::generate(), "x").await),
        ErrorCode::NotFound
    );
    assert_eq!(code(delete(you, message).await), ErrorCode::Forbidden);
    assert_eq!(code(delete(stranger, message).await), ErrorCode::NotFound);
    assert_eq!(code(delete(me, system).await), ErrorCode::Forbidden);
    assert!(world.fleet.take().is_empty());

    let deleted = delete(me, message).await.expect("deleted");
    assert!(deleted.deleted && deleted.content.is_empty());
    assert_eq!(short(&world.fleet.take()), ["Deleted 1"]);
    assert_eq!(delete(me, message).await, Ok(deleted));
    assert_eq!(short(&world.fleet.take()), ["Deleted 1"], "told again");
    assert_eq!(code(edit(me, message, "x").await), ErrorCode::Conflict);
    assert!(world.fleet.take().is_empty());
}

#[tokio::test]
async fn a_message_of_words_only_may_not_become_empty() {
    let world = World::new(2);
    let me = world.people[0];
    let id = world.group(&world.people).await;
    let message = world.say(me, id, "words").await.expect("sent").id;
    let edit =
        EditMessage::new(me, message, " \n".into()).expect("checked when the message is known");
    let error = world
        .chat
        .edit(edit)
        .await
        .expect_err("nothing is left of it");
    assert_eq!(error.fields[0].0, "content");
    assert_eq!(world.store.log_of(id)[0].content, "words");
}

#[tokio::test]
async fn edits_are_made_in_the_order_in_which_they_came() {
    let world = World::new(2);
    let me = world.people[0];
    let id = world.group(&world.people).await;
    let message = world.say(me, id, "0").await.expect("sent").id;
    let mut edits: Vec<_> = (1..=20)
        .map(|n| {
            let command = EditMessage::new(me, message, n.to_string()).expect("a good edit");
            Box::pin(world.chat.edit(command))
        })
        .collect();
    edits
        .iter_mut()
        .for_each(|edit| assert!(poll_once(edit).is_pending()));
    for (edit, n) in edits.into_iter().zip(1..) {
        assert_eq!(edit.await.expect("edited").content, n.to_string());
    }
    assert_eq!(world.store.log_of(id)[0].content, "20");
}

#[tokio::test]
async fn cursors_rise_within_the_log_and_are_told_when_they_do() {
    let world = World::new(3);
    let [me, you, stranger] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    world.say_many(me, id, 5).await;
    world.fleet.take();
    let mark = |user, kind, seq| world.chat.mark(user, id, kind, seq);
    assert_eq!(mark(you, CursorKind::Delivered, 3).await, Ok(0));
    assert_eq!(
        mark(you, CursorKind::Read, 2).await,
        Ok(3),
        "three are unread"
    );
    assert_eq!(
        mark(you, CursorKind::Read, 1).await,
        Ok(3),
        "it does not fall"
    );
    assert_eq!(short(&world.fleet.take()), ["delivered 3", "read 2"]);
    assert_eq!(mark(you, CursorKind::Read, u64::MAX).await, Ok(0));
    assert_eq!(short(&world.fleet.take()), ["read 5"]);
    assert_eq!(
        mark(me, CursorKind::Read, 0).await,
        Ok(0),
        "one's own are not unread"
    );
    assert_eq!(
        code(mark(stranger, CursorKind::Read, 1).await),
        ErrorCode::NotFound
    );
    let nowhere = world
        .chat
        .mark(me, ConversationId::generate(), CursorKind::Read, 1);
    assert_eq!(code(nowhere.await), ErrorCode::NotFound);
    assert!(world.fleet.take().is_empty());
    // A node whose memory is behind does not hold a cursor back.
    let behind = vec![crate::testing::message(id, me, "behind")];
    world.store.append_behind(id, behind, None, me);
    assert_eq!(mark(you, CursorKind::Read, 6).await, Ok(0));
    assert_eq!(short(&world.fleet.take()), ["read 6"]);
    assert_eq!(world.store.broken(), [""; 0]);
}

#[tokio::test]
async fn cursors_that_wait_share_a_write() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    world.say_many(me, id, 50).await;
    let before = world.store.calls();
    let mut marks: Vec<_> = (1..=50)
        .map(|seq| Box::pin(world.chat.mark(you, id, CursorKind::Delivered, seq)))
        .collect();
    marks
        .iter_mut()
        .for_each(|mark| assert!(poll_once(mark).is_pending()));
    for mark in marks {
        assert_eq!(mark.await, Ok(0));
    }
    assert_eq!(world.store.calls() - before, 1);
}

/// An edit is told to the other nodes; what they remember of the message as it was is no answer any more.
#[tokio::test]
async fn a_resend_at_another_node_is_answered_with_the_message_as_it_is_now() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    let sent = world.chat.send(send_named(me, id, "hello", "x")).await;
    let sent = sent.expect("sent");
    let there = world.other_node();
    let command = EditMessage::new(me, sent.id, "hullo".into()).expect("a good edit");
    let edited = there.chat.edit(command).await.expect("edited");
    assert_eq!((sent.rev, edited.rev), (1, 2));
    let listener = world.chat.listening(Arc::new(Deaf));
    there
        .fleet
        .take()
        .iter()
        .for_each(|event| listener.on_event(event));
    let again = world.chat.send(send_named(me, id, "hello", "x")).await;
    assert_eq!(again.expect("a resend").content, "hullo");
}

struct Deaf;

impl FleetListener for Deaf {
    fn on_event(&self, _: &FleetEvent) {}

    fn on_doubt(&self) {}
}
