//! The promise: once, in order, without holes, whatever is lost on the way down.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;
use syncchat_core::command::{EditMessage, MessageDraft, SendMessage};
use syncchat_core::model::{ConversationId, Message};
use syncchat_core::ports::fleet::{Change, Fleet, FleetEvent};
use syncchat_delivery::Config as DeliveryConfig;
use test_speed::scaled;

use crate::node::{Node, Person, Settings};

/// As over REST: no socket sends it.
async fn say(
    node: &Node,
    person: &Person,
    conversation: ConversationId,
    content: String,
) -> Arc<Message> {
    let draft = MessageDraft {
        content,
        ..MessageDraft::default()
    };
    let command = SendMessage::new(person.id, conversation, draft).expect("a command");
    node.chat.send(command).await.expect("sent")
}

async fn edit(node: &Node, person: &Person, message: &Message, content: &str) -> Arc<Message> {
    let command = EditMessage::new(person.id, message.id, content.into()).expect("a command");
    node.chat.edit(command).await.expect("edited")
}

/// A node that compares its conversations with their logs twice a second.
async fn node_that_compares() -> Node {
    Node::with(Settings {
        delivery: DeliveryConfig {
            review: 500,
            ..DeliveryConfig::default()
        },
        ..Settings::default()
    })
    .await
}

#[tokio::test]
async fn lost_announcements_are_made_good_from_the_store() {
    let node = Node::new().await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let conversation = node.group(&ada, &[&bob]).await;
    let mut reader = node.connect(&bob).await;
    let mut sender = node.connect(&ada).await;
    node.fleet.loss.store(60, Ordering::Relaxed);
    for number in 0..100 {
        sender.say(conversation, &number.to_string()).await;
    }
    // The last ones too: what was acknowledged is known to exist.
    let everything: Vec<u64> = (1..=100).collect();
    assert_eq!(reader.seqs(100).await, everything);
    assert_eq!(sender.seqs(100).await, everything);
    sender.hears_nothing_of(&["receive_msg", "msg_sent"]).await;
}

#[tokio::test]
async fn a_lost_last_message_is_found_by_comparing_heads() {
    let node = node_that_compares().await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let conversation = node.group(&ada, &[&bob]).await;
    let mut reader = node.connect(&bob).await;
    node.fleet.loss.store(100, Ordering::Relaxed);
    say(&node, &ada, conversation, "only".into()).await;
    assert_eq!(reader.seqs(1).await, [1]);
}

#[tokio::test]
async fn nodes_that_cannot_hear_each_other_still_deliver_within_two_seconds() {
    let here = Node::new().await;
    let there = here.beside().await;
    let [ada, bob] = here.people(["ada", "bob"]).await;
    let conversation = here.group(&ada, &[&bob]).await;
    here.fleet.deaf.store(true, Ordering::Relaxed);
    there.fleet.deaf.store(true, Ordering::Relaxed);
    let mut sender = here.connect(&ada).await;
    let mut reader = there.connect(&bob).await;
    for number in 1..=3 {
        let began = Instant::now();
        sender.say(conversation, "across").await;
        reader.say(conversation, "and back").await;
        assert_eq!(reader.seqs(2).await, [2 * number - 1, 2 * number]);
        assert_eq!(sender.seqs(2).await, [2 * number - 1, 2 * number]);
        assert!(
            began.elapsed() < scaled(Duration::from_secs(2)),
            "{:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_falls_behind_and_is_refilled() {
    let node = Node::with(Settings {
        outbound_limit: 32 * 1024,
        ..Settings::default()
    })
    .await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let first = node.group(&ada, &[&bob]).await;
    let second = node.group(&bob, &[&ada]).await;
    let mut lazy = node.connect(&bob).await;
    let mut eager = node.connect(&bob).await;
    let mut sender = node.connect(&ada).await;
    // Far more than the queue, the kernel's buffers and the ring of recent messages hold.
    for number in 0..400 {
        let text = format!("{number} {}", "x".repeat(2_000));
        say(&node, &ada, first, text.clone()).await;
        if number % 4 == 0 {
            say(&node, &ada, second, text).await;
        }
    }
    let in_order = |events: &[(String, serde_json::Value)], conversation: ConversationId| {
        let of_it = |(_, message): &(String, serde_json::Value)| {
            (message["conversationId"] == conversation.to_string())
                .then(|| message["seq"].as_u64().expect("a seq"))
        };
        events.iter().filter_map(of_it).collect::<Vec<_>>()
    };
    for client in [&mut eager, &mut sender] {
        let events = client.next_of(&["receive_msg"], 500).await;
        assert_eq!(in_order(&events, first), (1..=400).collect::<Vec<_>>());
        assert_eq!(in_order(&events, second), (1..=100).collect::<Vec<_>>());
    }
    // Who does not read still acts.
    let at = json!({"conversationId": first.to_string(), "seq": 7});
    lazy.emit("mark_read", at).await;
    assert_eq!(sender.next("msg_status").await["seq"], 7);
    let events = lazy.next_of(&["receive_msg"], 500).await;
    assert_eq!(in_order(&events, first), (1..=400).collect::<Vec<_>>());
    assert_eq!(in_order(&events, second), (1..=100).collect::<Vec<_>>());
    // And it is live again, without a seam.
    say(&node, &ada, first, "now".into()).await;
    for client in [&mut lazy, &mut eager, &mut sender] {
        assert_eq!(client.next("receive_msg").await["seq"], 401);
    }
}

#[tokio::test]
async fn who_sends_while_behind_is_told_in_order() {
    let node = Node::with(Settings {
        outbound_limit: 32 * 1024,
        ..Settings::default()
    })
    .await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let conversation = node.group(&ada, &[&bob]).await;
    let mut lazy = node.connect(&bob).await;
    for _ in 0..200 {
        say(&node, &ada, conversation, "x".repeat(2_000)).await;
    }
    let payload = json!({
        "conversationId": conversation.to_string(), "content": "mine", "clientMsgId": "c1",
    });
    let mut sender = node.connect(&ada).await;
    let ack = lazy.emit_acked("send_msg", payload).await;
    assert_eq!(sender.next("receive_msg").await["seq"], 201);
    say(&node, &ada, conversation, "last".into()).await;
    assert_eq!(lazy.ack(ack).await["message"]["seq"], 201);
    let events = lazy.next_of(&["receive_msg", "msg_sent"], 202).await;
    let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.iter().filter(|name| **name == "msg_sent").count(), 1);
    assert_eq!(names[200], "msg_sent");
    assert_eq!(events[201].1["seq"], 202);
}

#[tokio::test]
async fn who_connects_while_others_talk_misses_nothing_from_then_on() {
    let node = Node::new().await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let conversation = node.group(&ada, &[&bob]).await;
    let talk = async {
        for _ in 0..300 {
            say(&node, &ada, conversation, "on and on".into()).await;
        }
    };
    let come_and_read = async {
        let mut clients = Vec::new();
        for _ in 0..10 {
            clients.push(node.connect(&bob).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        clients
    };
    let ((), mut clients) = tokio::join!(talk, come_and_read);
    say(&node, &ada, conversation, "the end".into()).await;
    for client in &mut clients {
        let first = client.next("receive_msg").await["seq"]
            .as_u64()
            .expect("a seq");
        let rest = client.seqs((301 - first) as usize).await;
        assert_eq!(rest, (first + 1..=301).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_changed_while_a_client_was_behind_reaches_it_as_it_is_now() {
    let node = Node::with(Settings {
        outbound_limit: 32 * 1024,
        ..Settings::default()
    })
    .await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let conversation = node.group(&ada, &[&bob]).await;
    let mut lazy = node.connect(&bob).await;
    let mut sender = node.connect(&ada).await;
    let mut messages = Vec::new();
    for _ in 0..150 {
        messages.push(sender.say(conversation, &"x".repeat(2_000)).await);
    }
    // The first one is in the queue or with the client; the last ones are in the ring.
    let edit = json!({"messageId": messages[0]["id"], "content": "edited"});
    assert_eq!(sender.call("edit_msg", edit).await["ok"], true);
    for message in &messages[100..] {
        let ack = sender
            .call("delete_msg", json!({"messageId": message["id"]}))
            .await;
        assert_eq!(ack["ok"], true);
    }
    let events = lazy.next_of(&["receive_msg"], 150).await;
    let deleted = |place: usize| events[place].1["deleted"] == true;
    assert!(
        (100..150).all(deleted),
        "nobody is given what was taken back"
    );
    assert_eq!(lazy.next("msg_edited").await["content"], "edited");
}

#[tokio::test]
async fn changes_that_overtake_each_other_are_not_told_backwards() {
    let here = Node::new().await;
    let there = here.beside().await;
    let [ada, bob] = here.people(["ada", "bob"]).await;
    let conversation = here.group(&ada, &[&bob]).await;
    let mut reader = here.connect(&bob).await;
    let message = say(&here, &ada, conversation, "first".into()).await;
    assert_eq!(reader.next("receive_msg").await["rev"], 1);
    // Another node's, whose words come in the wrong order.
    let second = edit(&there, &ada, &message, "second").await;
    let third = edit(&there, &ada, &message, "third").await;
    assert_eq!((second.rev, third.rev), (2, 3));
    for message in [&third, &second, &third] {
        here.fleet.publish(FleetEvent::Changed {
            message: Arc::clone(message),
            change: Change::Edited,
        });
    }
    here.chat.delete(ada.id, message.id).await.expect("deleted");
    // An edit that was on its way when the message was deleted.
    here.fleet.publish(FleetEvent::Changed {
        message: Arc::clone(&third),
        change: Change::Edited,
    });
    say(&here, &ada, conversation, "last".into()).await;
    let heard = reader
        .next_of(&["msg_edited", "msg_deleted", "receive_msg"], 3)
        .await;
    let heard: Vec<_> = heard
        .iter()
        .map(|(name, message)| (name.as_str(), message["rev"].as_u64()))
        .collect();
    // The second came with the third, which is the later of the two.
    let expected = [
        ("msg_edited", Some(3)),
        ("msg_deleted", Some(4)),
        ("receive_msg", Some(1)),
    ];
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn a_deletion_that_was_not_heard_of_is_found_by_comparing() {
    let here = node_that_compares().await;
    let there = here.beside().await;
    let [ada, bob] = here.people(["ada", "bob"]).await;
    let conversation = here.group(&ada, &[&bob]).await;
    let mut reader = here.connect(&bob).await;
    let mut messages = Vec::new();
    for content in ["1", "2", "3"] {
        messages.push(say(&here, &ada, conversation, content.into()).await);
    }
    reader.seqs(3).await;
    edit(&there, &ada, &messages[0], "one").await;
    let deleted = there.chat.delete(ada.id, messages[1].id).await;
    assert_eq!(deleted.expect("deleted").rev, 3);
    assert_eq!(reader.next("msg_edited").await["content"], "one");
    let told = reader.next("msg_deleted").await;
    assert_eq!((&told["seq"], &told["rev"]), (&json!(2), &json!(3)));
    // Each once.
    edit(&here, &ada, &messages[2], "three").await;
    let next = reader.next_of(&["msg_edited", "msg_deleted"], 1).await;
    assert_eq!(next[0].1["content"], "three");
}

#[tokio::test]
async fn a_title_that_was_not_heard_of_is_told_and_an_older_one_is_not() {
    let here = node_that_compares().await;
    let there = here.beside().await;
    let [ada, bob] = here.people(["ada", "bob"]).await;
    let conversation = here.group(&ada, &[&bob]).await;
    let mut reader = here.connect(&bob).await;
    let rename = async |title: &str| {
        let renamed = there.chat.rename(ada.id, conversation, title).await;
        Arc::new(renamed.expect("renamed").conversation)
    };
    let older = rename("older").await;
    rename("newer").await;
    let told = reader.next("conversation_updated").await;
    assert_eq!(told["conversation"]["title"], "newer");
    assert_eq!(told["conversation"]["rev"], 3);
    here.fleet.publish(FleetEvent::Updated {
        conversation: older,
    });
    let renamed = here.chat.rename(ada.id, conversation, "newest").await;
    assert_eq!(renamed.expect("renamed").conversation.rev, 4);
    let told = reader.next("conversation_updated").await;
    assert_eq!(told["conversation"]["title"], "newest");
}

#[tokio::test]
async fn an_edit_of_what_was_said_after_a_removal_is_not_told_to_who_was_removed() {
    let node = Node::new().await;
    let [ada, bob, eve] = node.people(["ada", "bob", "eve"]).await;
    let conversation = node.group(&ada, &[&bob, &eve]).await;
    let mut removed = node.connect(&eve).await;
    let mut stays = node.connect(&bob).await;
    let open = say(&node, &ada, conversation, "for all".into()).await;
    // This node does not hear that eve is removed, nor what is said after it; but that it is changed.
    node.fleet.loss.store(100, Ordering::Relaxed);
    node.fleet.lose_partings.store(true, Ordering::Relaxed);
    let gone = node.chat.remove_participant(ada.id, conversation, eve.id);
    gone.await.expect("removed");
    let secret = say(&node, &ada, conversation, "secret".into()).await;
    for (message, text) in [(&secret, "still secret"), (&open, "still for all")] {
        let edit = EditMessage::new(ada.id, message.id, text.into()).expect("a command");
        node.chat.edit(edit).await.expect("edited");
    }
    for client in [&mut removed, &mut stays] {
        assert_eq!(client.seqs(1).await, [1]);
        assert_eq!(client.next("msg_edited").await["content"], "still for all");
    }
    node.fleet.loss.store(0, Ordering::Relaxed);
    say(&node, &ada, conversation, "more".into()).await;
    let events = stays.next_of(&["receive_msg"], 3).await;
    assert_eq!(events[1].1["content"], "still secret");
    assert_eq!(
        removed.seqs(1).await,
        [2],
        "their removal, and nothing after it"
    );
    let fates = ["msg_edited", "receive_msg"];
    removed.hears_nothing_of(&fates).await;
}
