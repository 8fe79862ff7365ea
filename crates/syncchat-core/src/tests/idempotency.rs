//! Requests that are repeated under the caller's own name for them.

use std::time::Duration;

use super::{World, code, field, poll_once, send, send_named, short};
use crate::command::{CreateConversation, EditMessage, MessageDraft, SendMessage};
use crate::error::ErrorCode;
use crate::limits::DOUBT_SPAN;
use crate::model::{ConversationKind, FIRST_REV, IdempotencyKey, MessageId, UserId};
use crate::testing::Faults;

fn group(creator: UserId, others: &[UserId], title: &str) -> CreateConversation {
    let others = others.iter().copied();
    CreateConversation::new(creator, ConversationKind::Group, others, Some(title))
        .expect("a good command")
}

fn named(command: CreateConversation, name: &str) -> CreateConversation {
    command.named(Some(name.into())).expect("a good name")
}

fn header(value: &str) -> Option<IdempotencyKey> {
    Some(IdempotencyKey::from_header(value.as_bytes()).expect("a good key"))
}

#[tokio::test]
async fn a_repeated_creation_is_answered_as_the_first_and_told_again() {
    let world = World::new(3);
    let [me, you, them] = world.people[..] else {
        unreachable!()
    };
    let ask = || named(group(me, &[you], "t"), "g");
    let (first, new) = world.chat.create_conversation(ask()).await.expect("made");
    assert!(new);
    let id = first.conversation.id;
    world.say(me, id, "1").await.expect("sent");
    let other = world.other_node();
    for node in [&world, &other] {
        node.fleet.take();
        let (again, new) = node.chat.create_conversation(ask()).await.expect("found");
        assert_eq!((again.conversation.id, new), (id, true));
        assert_eq!(again.conversation.last_seq, 1);
        assert_eq!(short(&node.fleet.take()), ["joined 0", "joined 0"]);
    }
    // Its members are another matter once they have changed: each addition is told by its own message.
    world
        .chat
        .add_participant(me, id, them)
        .await
        .expect("added");
    world.chat.rename(you, id, "u").await.expect("renamed");
    other.fleet.take();
    let (again, new) = other.chat.create_conversation(ask()).await.expect("found");
    assert_eq!((again.conversation.id, new), (id, true));
    assert!(again.conversation.rev > FIRST_REV);
    assert!(other.fleet.take().is_empty());
    // Who left it is no member, and finds nothing.
    world
        .chat
        .remove_participant(me, id, me)
        .await
        .expect("left");
    let gone = other.chat.create_conversation(ask()).await;
    assert_eq!(code(gone), ErrorCode::NotFound);
    assert_eq!(world.store.all_conversations().len(), 1);
}

#[tokio::test]
async fn another_conversation_under_the_same_name_is_refused() {
    let world = World::new(3);
    let [me, you, them] = world.people[..] else {
        unreachable!()
    };
    let create = |command| world.chat.create_conversation(command);
    let first = create(named(group(me, &[you], "t"), "g"))
        .await
        .expect("made");
    let pair = CreateConversation::new(me, ConversationKind::Private, [you], None);
    for other in [
        group(me, &[you], "u"),
        group(me, &[them], "t"),
        group(me, &[you, them], "t"),
        pair.expect("a good command"),
    ] {
        let refused = create(named(other, "g")).await;
        assert_eq!(field(refused), "clientConversationId");
    }
    // A header's value is another name, as is another caller's.
    let keyed = || group(me, &[you], "t").keyed(header("g"));
    let by_header = create(keyed()).await.expect("made").0.conversation.id;
    assert_ne!(by_header, first.0.conversation.id);
    assert_eq!(
        create(keyed()).await.expect("found").0.conversation.id,
        by_header
    );
    let refused = create(group(me, &[them], "t").keyed(header("g"))).await;
    assert_eq!(field(refused), "Idempotency-Key");
    let theirs = create(named(group(you, &[me], "t"), "g")).await;
    assert!(theirs.expect("made").1);
    // The body's name counts where there are both.
    let both = named(group(me, &[you], "t"), "g").keyed(header("another"));
    let found = create(both).await.expect("found").0.conversation.id;
    assert_eq!(found, first.0.conversation.id);
    assert_eq!(world.store.all_conversations().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_creation_of_unknown_outcome_is_repeated_elsewhere_and_makes_one_group() {
    let (never, late) = (Duration::from_secs(100_000), Duration::from_millis(200));
    for faults in [
        Faults {
            lose_answer: 1.0,
            ..Faults::NONE
        },
        Faults {
            land_late: 1.0,
            late,
            ..Faults::NONE
        },
        Faults {
            land_late: 1.0,
            late: never,
            ..Faults::NONE
        },
    ] {
        let world = World::new(2);
        let [me, you] = world.people[..] else {
            unreachable!()
        };
        let ask = || named(group(me, &[you], "t"), "g");
        world.store.set_faults(faults);
        let lost = world.chat.create_conversation(ask()).await;
        assert_eq!(code(lost), ErrorCode::Unavailable);
        world.store.set_faults(Faults::NONE);
        let other = world.other_node();
        let (made, new) = other
            .chat
            .create_conversation(ask())
            .await
            .expect("one of them");
        assert!(new);
        assert_eq!(short(&other.fleet.take()), ["joined 0", "joined 0"]);
        tokio::time::sleep(2 * DOUBT_SPAN).await;
        let all = world.store.all_conversations();
        assert_eq!(all.len(), 1, "{faults:?}");
        assert_eq!(all[0].id, made.conversation.id);
    }
}

#[tokio::test]
async fn two_creations_at_once_are_one() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    let ask = || {
        world
            .chat
            .create_conversation(named(group(me, &[you], "t"), "g"))
    };
    let (a, b) = tokio::join!(ask(), ask());
    let (a, b) = (a.expect("made"), b.expect("found"));
    assert_eq!((a.0.conversation.id, a.1), (b.0.conversation.id, b.1));
    assert_eq!(world.store.all_conversations().len(), 1);
}

#[tokio::test]
async fn another_message_under_the_same_name_is_refused() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    let target = world.say(you, id, "a question").await.expect("sent").id;
    let draft = |content: &str, reply_to: Option<MessageId>| MessageDraft {
        content: content.into(),
        client_msg_id: Some("x".into()),
        reply_to,
        ..MessageDraft::default()
    };
    let ask = |content, reply_to| {
        SendMessage::new(me, id, draft(content, reply_to)).expect("a good message")
    };
    let first = world
        .chat
        .send(ask("yes", Some(target)))
        .await
        .expect("sent");
    let other = world.other_node();
    for node in [&world, &other] {
        for otherwise in [ask("no", Some(target)), ask("yes", None)] {
            let refused = node.chat.send(otherwise).await;
            assert_eq!(field(refused.clone()), "clientMsgId");
            assert_eq!(code(refused), ErrorCode::Conflict);
        }
        let again = node.chat.send(ask("yes", Some(target))).await;
        assert_eq!(again, Ok(first.clone()));
    }
    assert_eq!(world.store.log_of(id).len(), 2);
    assert_eq!(world.store.broken(), [""; 0]);
}

#[tokio::test]
async fn of_two_messages_of_one_name_in_one_write_the_first_counts() {
    let world = World::new(2);
    let me = world.people[0];
    let id = world.group(&world.people).await;
    for node in [&world, &world.other_node()] {
        let name = node.store.calls().to_string();
        let mut sends = [
            Box::pin(node.chat.send(send(me, id, "takes the turn"))),
            Box::pin(node.chat.send(send_named(me, id, "a", &name))),
            Box::pin(node.chat.send(send_named(me, id, "b", &name))),
            Box::pin(node.chat.send(send_named(me, id, "a", &name))),
        ];
        sends
            .iter_mut()
            .for_each(|send| assert!(poll_once(send).is_pending()));
        let [_, a, b, again] = sends;
        let a = a.await.expect("sent");
        assert_eq!(field(b.await), "clientMsgId");
        assert_eq!(again.await, Ok(a));
    }
    assert_eq!(world.store.log_of(id).len(), 4);
}

#[tokio::test]
async fn a_message_is_compared_with_what_was_sent_however_it_was_edited() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    let sent = world
        .chat
        .send(send_named(me, id, "first", "x"))
        .await
        .expect("sent");
    for content in ["second", "third"] {
        let edit = EditMessage::new(me, sent.id, content.into()).expect("a good edit");
        let edited = world.chat.edit(edit).await.expect("edited");
        for node in [&world, &world.other_node()] {
            for _ in 0..2 {
                let again = node.chat.send(send_named(me, id, "first", "x")).await;
                assert_eq!(again, Ok(edited.clone()));
                for other in ["second", "third"] {
                    let refused = node.chat.send(send_named(me, id, other, "x")).await;
                    assert_eq!(field(refused), "clientMsgId");
                }
            }
        }
    }
    // Of what was deleted nothing is left to compare with.
    let deleted = world.chat.delete(me, sent.id).await.expect("deleted");
    for content in ["first", "second"] {
        let again = world.chat.send(send_named(me, id, content, "x")).await;
        assert_eq!(again, Ok(deleted.clone()));
    }
    assert_eq!(world.store.log_of(id).len(), 1);
}

#[tokio::test]
async fn a_key_names_a_message_and_is_not_shown_as_its_name() {
    let world = World::new(2);
    let me = world.people[0];
    let id = world.group(&world.people).await;
    let keyed = |text| send(me, id, text).keyed(header("k"));
    let first = world.chat.send(keyed("a")).await.expect("sent");
    assert_eq!(first.shown_client_msg_id(), None);
    assert_eq!(
        world.other_node().chat.send(keyed("a")).await,
        Ok(first.clone())
    );
    assert_eq!(field(world.chat.send(keyed("b")).await), "Idempotency-Key");
    let by_name = world
        .chat
        .send(send_named(me, id, "a", "k"))
        .await
        .expect("sent");
    assert_ne!(by_name.id, first.id);
    assert_eq!(by_name.shown_client_msg_id(), Some("k"));
    // The body's name counts where there are both.
    let both = send_named(me, id, "a", "k").keyed(header("z"));
    assert_eq!(world.chat.send(both).await, Ok(by_name));
}
