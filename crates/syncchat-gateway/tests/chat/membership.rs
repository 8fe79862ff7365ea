//! Rooms follow membership at once, on all of a person's sockets.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use syncchat_core::ErrorCode;
use syncchat_core::command::{CreateConversation, EditMessage};
use syncchat_core::model::ConversationKind;
use syncchat_core::ports::fleet::{Change, Fleet, FleetEvent};
use syncchat_core::testing::{Faults, MemoryStore};
use syncchat_delivery::Config as DeliveryConfig;
use test_speed::scaled;

use crate::client::Client;
use crate::node::{Node, Person, Settings};

#[tokio::test]
async fn everybody_in_a_new_conversation_is_told_and_reads_it() {
    let node = Node::new().await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let mut maker = node.connect(&ada).await;
    let mut laptop = node.connect(&ada).await;
    let mut other = node.connect(&bob).await;
    let request = json!({"type": "private", "participants": [bob.id.to_string()]});
    let ack = maker.call("create_conversation", request.clone()).await;
    assert_eq!(ack["ok"], true);
    let id = ack["conversation"]["id"].as_str().expect("an id");
    for device in [&mut maker, &mut laptop, &mut other] {
        let created = device.next("conversation_created").await;
        assert_eq!(created["conversation"]["id"], id);
    }
    let again = other
        .call(
            "create_conversation",
            json!({"type": "private", "participants": [ada.id.to_string()]}),
        )
        .await;
    assert_eq!(again["conversation"]["id"], id);
    other.say(id, "hi").await;
    for device in [&mut maker, &mut laptop] {
        assert_eq!(device.next("receive_msg").await["seq"], 1);
    }
    maker.hears_nothing_of(&["conversation_created"]).await;
}

#[tokio::test]
async fn who_is_added_reads_from_there_on_and_who_is_removed_up_to_there() {
    let node = Node::new().await;
    let [ada, bob, cyd] = node.people(["ada", "bob", "cyd"]).await;
    let conversation = node.group(&ada, &[&bob]).await;
    let mut owner = node.connect(&ada).await;
    let mut other = node.connect(&bob).await;
    let mut phone = node.connect(&cyd).await;
    let mut laptop = node.connect(&cyd).await;
    owner.say(conversation, "before").await;

    let added = node
        .chat
        .add_participant(ada.id, conversation, cyd.id)
        .await;
    added.expect("added");
    owner.say(conversation, "welcome").await;
    let removed = node.chat.remove_participant(ada.id, conversation, cyd.id);
    removed.await.expect("removed");
    owner.say(conversation, "gone").await;

    for device in [&mut phone, &mut laptop] {
        let created = device.next("conversation_created").await;
        assert_eq!(created["conversation"]["id"], conversation.to_string());
        assert_eq!(device.seqs(3).await, [2, 3, 4]);
        for (name, seq) in [("member_added", 2), ("member_removed", 4)] {
            let expected = json!({
                "conversationId": conversation.to_string(), "userId": cyd.id.to_string(),
                "by": ada.id.to_string(), "seq": seq, "rev": seq + 1,
            });
            assert_eq!(device.next(name).await, expected);
        }
        device
            .hears_nothing_of(&["receive_msg", "member_removed"])
            .await;
    }
    assert_eq!(other.seqs(5).await, [1, 2, 3, 4, 5]);
    assert_eq!(owner.seqs(5).await, [1, 2, 3, 4, 5]);
    assert_eq!(owner.next("member_removed").await["seq"], 4);

    let payload = json!({"conversationId": conversation.to_string(), "content": "let me in"});
    let ack = phone.call("send_msg", payload).await;
    assert_eq!(ack["error"]["code"], "not_found");
    let typing = json!({"conversationId": conversation.to_string(), "typing": true});
    owner.call("typing", typing).await;
    phone.hears_nothing_of(&["typing", "receive_msg"]).await;
}

#[tokio::test]
async fn who_comes_and_goes_many_times_sees_exactly_their_spans() {
    let node = Node::new().await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let conversation = node.group(&ada, &[&bob]).await;
    let mut owner = node.connect(&ada).await;
    let mut guest = node.connect(&bob).await;
    let mut owed = Vec::new();
    let mut seq = 0;
    for _ in 0..10 {
        let removed = node.chat.remove_participant(ada.id, conversation, bob.id);
        removed.await.expect("removed");
        owner.say(conversation, "behind their back").await;
        let added = node
            .chat
            .add_participant(ada.id, conversation, bob.id)
            .await;
        added.expect("added");
        owner.say(conversation, "to their face").await;
        owed.extend([seq + 1, seq + 3, seq + 4]);
        seq += 4;
    }
    assert_eq!(guest.seqs(owed.len()).await, owed);
    guest.hears_nothing_of(&["receive_msg"]).await;
    assert_eq!(owner.seqs(40).await, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_new_title_is_told_to_all() {
    let node = Node::new().await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let conversation = node.group(&ada, &[&bob]).await;
    let mut owner = node.connect(&ada).await;
    let mut other = node.connect(&bob).await;
    let renamed = node.chat.rename(bob.id, conversation, "new title").await;
    renamed.expect("renamed");
    for device in [&mut owner, &mut other] {
        let updated = device.next("conversation_updated").await;
        assert_eq!(updated["conversation"]["title"], "new title");
        let message = device.next("receive_msg").await;
        assert_eq!(
            (&message["type"], &message["seq"]),
            (&json!("system"), &json!(1))
        );
    }
}

#[tokio::test]
async fn edits_tell_nobody_what_was_said_while_they_were_away() {
    let node = Node::new().await;
    let [ada, bob, cyd] = node.people(["ada", "bob", "cyd"]).await;
    let conversation = node.group(&ada, &[&bob]).await;
    let mut owner = node.connect(&ada).await;
    let mut away = node.connect(&bob).await;
    let before = owner.say(conversation, "before").await;
    let removed = node.chat.remove_participant(ada.id, conversation, bob.id);
    removed.await.expect("removed");
    let secret = owner.say(conversation, "secret").await;
    for person in [&bob, &cyd] {
        let added = node
            .chat
            .add_participant(ada.id, conversation, person.id)
            .await;
        added.expect("added");
    }
    let mut later = node.connect(&bob).await;
    let mut new = node.connect(&cyd).await;
    assert_eq!(away.seqs(4).await, [1, 2, 4, 5]);
    let edit = |message: &serde_json::Value, content: &str| json!({"messageId": message["id"], "content": content});
    owner.call("edit_msg", edit(&secret, "still secret")).await;
    owner.call("edit_msg", edit(&before, "known")).await;
    for device in [&mut away, &mut later] {
        assert_eq!(device.next("msg_edited").await["content"], "known");
        device.hears_nothing_of(&["msg_edited"]).await;
    }
    // Who came for the first time may see all of it.
    assert_eq!(new.next("msg_edited").await["content"], "still secret");
}

#[tokio::test]
async fn additions_that_nobody_could_tell_of_are_found_once() {
    let here = Node::new().await;
    let there = here.beside().await;
    let [ada, bob, cyd] = here.people(["ada", "bob", "cyd"]).await;
    let known = here.group(&ada, &[&bob]).await;
    let mut owner = here.connect(&ada).await;
    let mut reader = there.connect(&bob).await;
    let mut newcomer = there.connect(&cyd).await;
    there.fleet.deaf.store(true, Ordering::Relaxed);

    // Into a conversation that nobody reads there, and into one that somebody does.
    let fresh = here.group(&ada, &[&cyd]).await;
    owner.say(fresh, "new").await;
    let added = here.chat.add_participant(ada.id, known, cyd.id).await;
    added.expect("added");
    owner.say(known, "welcome").await;
    let mut told = Vec::new();
    for _ in 0..2 {
        let created = newcomer.next("conversation_created").await;
        told.push(created["conversation"]["id"].as_str().map(str::to_owned));
    }
    told.sort();
    let mut expected = [known, fresh].map(|id| Some(id.to_string()));
    expected.sort();
    assert_eq!(told, expected);
    let mut heard: Vec<_> = newcomer.seqs(3).await;
    heard.sort_unstable();
    assert_eq!(heard, [1, 1, 2], "each from where the person may read on");
    assert_eq!(reader.seqs(2).await, [1, 2]);
    // However often one looks.
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    newcomer
        .hears_nothing_of(&["conversation_created", "receive_msg"])
        .await;
}

/// Heads and memberships are compared often at rest.
fn often() -> Settings {
    Settings {
        delivery: DeliveryConfig {
            review: 400,
            ..DeliveryConfig::default()
        },
        ..Settings::default()
    }
}

#[tokio::test]
async fn additions_whose_announcement_was_lost_are_found_at_rest() {
    let node = Node::with(often()).await;
    let [ada, bob, cyd] = node.people(["ada", "bob", "cyd"]).await;
    let known = node.group(&ada, &[&bob]).await;
    let mut owner = node.connect(&ada).await;
    let mut newcomer = node.connect(&cyd).await;
    node.fleet.loses_additions.store(true, Ordering::Relaxed);
    let fresh = node.group(&ada, &[&cyd]).await;
    let added = node.chat.add_participant(ada.id, known, cyd.id).await;
    added.expect("added");
    owner.say(fresh, "new").await;
    owner.say(known, "welcome").await;
    let mut told = Vec::new();
    for _ in 0..2 {
        let created = newcomer.next("conversation_created").await;
        told.push(created["conversation"]["id"].as_str().map(str::to_owned));
    }
    told.sort();
    let mut expected = [known, fresh].map(|id| Some(id.to_string()));
    expected.sort();
    assert_eq!(told, expected);
    let mut heard = newcomer.seqs(3).await;
    heard.sort_unstable();
    assert_eq!(heard, [1, 1, 2]);
    // However often one looks.
    let more = newcomer.all_within(std::time::Duration::from_millis(1_200));
    let again = |(name, _): &&(String, _)| name == "conversation_created" || name == "receive_msg";
    assert_eq!(more.await.iter().find(again), None);
}

#[tokio::test]
async fn a_repeat_tells_those_who_were_not_told_and_no_others() {
    let node = Node::new().await;
    let [ada, bob, cyd] = node.people(["ada", "bob", "cyd"]).await;
    let group = node.group(&ada, &[&bob]).await;
    let mut owner = node.connect(&ada).await;
    let mut newcomer = node.connect(&cyd).await;
    node.fleet.loses_additions.store(true, Ordering::Relaxed);
    let request = json!({"type": "private", "participants": [cyd.id.to_string()]});
    let made = owner.call("create_conversation", request.clone()).await;
    let pair = made["conversation"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    node.chat
        .add_participant(ada.id, group, cyd.id)
        .await
        .expect("added");
    owner.say(&pair, "1").await;
    owner.say(group, "2").await;
    // The group's log, which another reads here, seats its new member without a word.
    assert_eq!(newcomer.seqs(2).await, [1, 2]);
    newcomer
        .hears_nothing_of(&["conversation_created", "receive_msg"])
        .await;
    node.fleet.loses_additions.store(false, Ordering::Relaxed);
    for _ in 0..3 {
        let again = owner.call("create_conversation", request.clone()).await;
        assert_eq!(again["conversation"]["id"], *pair);
        node.chat
            .add_participant(ada.id, group, cyd.id)
            .await
            .expect("there already");
    }
    for _ in 0..2 {
        newcomer.next("conversation_created").await;
    }
    assert_eq!(
        newcomer.seqs(1).await,
        [1],
        "the pair's, which were unknown"
    );
    newcomer
        .hears_nothing_of(&["conversation_created", "receive_msg"])
        .await;
    // The owner had not been told of the pair either: their socket joined it by the repeat.
    owner.next("conversation_created").await;
    owner.hears_nothing_of(&["conversation_created"]).await;
}

#[tokio::test]
async fn late_and_repeated_words_of_an_addition_bring_nothing_old() {
    let node = Node::new().await;
    let [ada, bob, cyd] = node.people(["ada", "bob", "cyd"]).await;
    let pair = CreateConversation::new(ada.id, ConversationKind::Private, [bob.id], None);
    let (pair, _) = node
        .chat
        .create_conversation(pair.expect("a command"))
        .await
        .expect("made");
    let group = node.group(&ada, &[&bob]).await;
    let mut owner = node.connect(&ada).await;
    for content in ["1", "2", "3"] {
        owner.say(pair.conversation.id, content).await;
    }
    node.chat
        .add_participant(ada.id, group, cyd.id)
        .await
        .expect("added");
    // They begin at the end of each log, and have taken nothing yet.
    let mut reader = node.connect(&bob).await;
    let mut guest = node.connect(&cyd).await;
    let say_again = |user, conversation: syncchat_core::model::Conversation, seq| {
        node.fleet.publish(FleetEvent::Joined {
            user,
            conversation: Arc::new(conversation),
            seq,
            by: ada.id,
        });
    };
    let of_group = node.chat.inspect(group).await.expect("read");
    let of_group = Arc::unwrap_or_clone(of_group.expect("a group"));
    say_again(bob.id, pair.conversation.clone(), 0);
    say_again(cyd.id, of_group.clone(), 1);
    reader
        .hears_nothing_of(&["conversation_created", "receive_msg"])
        .await;
    guest
        .hears_nothing_of(&["conversation_created", "receive_msg"])
        .await;
    // Who was removed since is not brought back.
    node.chat
        .remove_participant(ada.id, group, cyd.id)
        .await
        .expect("removed");
    assert_eq!(guest.next("receive_msg").await["seq"], 2);
    say_again(cyd.id, of_group, 1);
    owner.say(group, "behind their back").await;
    guest
        .hears_nothing_of(&["conversation_created", "receive_msg"])
        .await;
}

/// Two people on a node whose store loses answers when it is told to.
async fn forgetful() -> (Node, Arc<MemoryStore>, [Person; 3]) {
    let (node, store) = Node::in_memory(Settings::default()).await;
    let people = node.people(["ada", "bob", "cyd"]).await;
    (node, store, people)
}

/// The outcome of what `client` asks for is lost, and the request refused.
async fn refused(store: &MemoryStore, client: &mut Client, name: &str, payload: serde_json::Value) {
    store.set_faults(Faults {
        lose_answer: 1.0,
        ..Faults::NONE
    });
    let ack = client.call(name, payload).await;
    assert_eq!(
        ack["error"]["code"],
        ErrorCode::Unavailable.as_str(),
        "{ack}"
    );
    store.set_faults(Faults::NONE);
}

#[tokio::test]
async fn a_connected_member_hears_of_a_conversation_that_was_made_after_all() {
    let (node, store, [ada, bob, _]) = forgetful().await;
    let mut maker = node.connect(&ada).await;
    let mut other = node.connect(&bob).await;
    let request = json!({"type": "private", "participants": [bob.id.to_string()]});
    refused(&store, &mut maker, "create_conversation", request.clone()).await;
    let created = other.next("conversation_created").await;
    let again = maker.call("create_conversation", request).await;
    assert_eq!(again["conversation"]["id"], created["conversation"]["id"]);
    let id = again["conversation"]["id"].as_str().expect("an id");
    for content in ["are", "you", "there?"] {
        maker.say(id, content).await;
    }
    assert_eq!(other.seqs(3).await, [1, 2, 3]);
    other.hears_nothing_of(&["conversation_created"]).await;
    maker.next("conversation_created").await;
    maker.hears_nothing_of(&["conversation_created"]).await;
}

#[tokio::test]
async fn a_connected_member_hears_of_a_deletion_and_a_cursor_of_unknown_outcome() {
    let (node, store, [ada, bob, _]) = forgetful().await;
    let id = node.group(&ada, &[&bob]).await;
    let mut sender = node.connect(&ada).await;
    let mut other = node.connect(&bob).await;
    let secret = sender.say(id, "hunter2").await;
    assert_eq!(other.seqs(1).await, [1]);
    let edit = json!({"messageId": secret["id"], "content": "hunter3"});
    refused(&store, &mut sender, "edit_msg", edit).await;
    assert_eq!(other.next("msg_edited").await["content"], "hunter3");
    let delete = json!({"messageId": secret["id"]});
    refused(&store, &mut sender, "delete_msg", delete).await;
    assert_eq!(other.next("msg_deleted").await["content"], "");
    let read = json!({"conversationId": id.to_string(), "seq": 1});
    refused(&store, &mut other, "mark_read", read).await;
    let status = sender.next("msg_status").await;
    assert_eq!(
        (&status["status"], &status["seq"]),
        (&json!("read"), &json!(1))
    );
}

#[tokio::test]
async fn a_group_of_unknown_outcome_is_one_when_its_creation_is_repeated() {
    let (node, store, [ada, bob, cyd]) = forgetful().await;
    let mut maker = node.connect(&ada).await;
    let mut other = node.connect(&bob).await;
    let mut request = json!({"type": "group", "title": "t", "participants": [bob.id.to_string()],
        "clientConversationId": "g"});
    refused(&store, &mut maker, "create_conversation", request.clone()).await;
    let again = maker.call("create_conversation", request.clone()).await;
    let created = other.next("conversation_created").await;
    assert_eq!(again["conversation"]["id"], created["conversation"]["id"]);
    maker.next("conversation_created").await;
    let id = again["conversation"]["id"].as_str().expect("an id");
    maker.say(id, "there?").await;
    assert_eq!(other.seqs(1).await, [1]);
    let third = maker.call("create_conversation", request.clone()).await;
    assert_eq!(third["conversation"]["id"], id);
    for client in [&mut maker, &mut other] {
        client.hears_nothing_of(&["conversation_created"]).await;
    }
    assert_eq!(store.all_conversations().len(), 1);
    request["participants"] = json!([cyd.id.to_string()]);
    let refused = maker.call("create_conversation", request).await;
    assert_eq!(refused["error"]["code"], "conflict", "{refused}");
}

#[tokio::test]
async fn a_used_name_of_a_message_is_refused_for_another() {
    let node = Node::new().await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let id = node.group(&ada, &[&bob]).await;
    let mut sender = node.connect(&ada).await;
    let send = |content: &str| json!({"conversationId": id.to_string(), "content": content, "clientMsgId": "x"});
    let first = sender.call("send_msg", send("a")).await;
    let again = sender.call("send_msg", send("a")).await;
    assert_eq!(again["message"]["id"], first["message"]["id"]);
    let refused = sender.call("send_msg", send("b")).await;
    assert_eq!(refused["error"]["code"], "conflict", "{refused}");
}

#[tokio::test]
async fn who_is_added_hears_of_changes_made_before_the_store_says_what_they_may_see() {
    let (node, store, [ada, bob, cyd]) = forgetful().await;
    let there = node.beside().await;
    let id = node.group(&ada, &[&bob]).await;
    let mut owner = node.connect(&ada).await;
    let mut guest = node.connect(&cyd).await;
    owner.say(id, "old").await;
    let log = store.log_of(id);
    let edit = EditMessage::new(ada.id, log[0].id, "edited".into()).expect("a good edit");
    // The other node's word of it comes late.
    let message = there.chat.edit(edit).await.expect("edited");
    store.set_faults(Faults {
        delay: scaled(Duration::from_secs(1)),
        ..Faults::NONE
    });
    let adding = node.chat.add_participant(ada.id, id, cyd.id);
    let telling = async {
        guest.next("conversation_created").await;
        // What the guest may see is being read.
        let change = Change::Edited;
        node.fleet.publish(FleetEvent::Changed { message, change });
    };
    let (added, ()) = tokio::join!(adding, telling);
    added.expect("added");
    let told = guest.next("msg_edited").await;
    assert_eq!(
        (&told["seq"], &told["content"]),
        (&json!(1), &json!("edited"))
    );
}
