//! What people say to each other, and what their devices see of it.

use std::time::Duration;

use serde_json::json;

use crate::node::Node;

#[tokio::test]
async fn everybody_gets_a_message_once_and_its_sender_gets_msg_sent() {
    let node = Node::new().await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let conversation = node.group(&ada, &[&bob]).await;
    let mut phone = node.connect(&ada).await;
    let mut laptop = node.connect(&ada).await;
    let mut other = node.connect(&bob).await;

    let payload = json!({
        "conversationId": conversation.to_string(), "content": "<b>hi</b>", "clientMsgId": "c1",
    });
    let ack = phone.call("send_msg", payload).await;
    let message = &ack["message"];
    assert_eq!((&ack["ok"], &message["seq"]), (&json!(true), &json!(1)));
    assert_eq!(message["content"], "<b>hi</b>");

    let sent = phone.next("msg_sent").await;
    assert_eq!(
        (&sent["clientMsgId"], &sent["message"]),
        (&json!("c1"), message)
    );
    assert_eq!(&laptop.next("receive_msg").await, message);
    assert_eq!(&other.next("receive_msg").await, message);
    phone.hears_nothing_of(&["receive_msg", "msg_sent"]).await;
    laptop.hears_nothing_of(&["receive_msg", "msg_sent"]).await;
}

#[tokio::test]
async fn without_an_ack_the_sender_still_hears() {
    let node = Node::new().await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let conversation = node.group(&ada, &[&bob]).await;
    let mut client = node.connect(&ada).await;
    let payload = json!({"conversationId": conversation.to_string(), "content": "hi"});
    client.emit("send_msg", payload).await;
    let sent = client.next("msg_sent").await;
    assert_eq!(sent["clientMsgId"], json!(null));
    assert_eq!(sent["message"]["seq"], 1);
}

#[tokio::test]
async fn a_resend_gets_the_first_result_and_no_second_message() {
    let node = Node::new().await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let conversation = node.group(&ada, &[&bob]).await;
    let mut client = node.connect(&ada).await;
    let mut other = node.connect(&bob).await;
    let payload = json!({
        "conversationId": conversation.to_string(), "content": "hi", "clientMsgId": "c1",
    });
    let first = client.emit_acked("send_msg", payload.clone()).await;
    let second = client.emit_acked("send_msg", payload.clone()).await;
    let (first, second) = (client.ack(first).await, client.ack(second).await);
    assert_eq!(first["message"], second["message"]);

    let mut later = node.connect(&ada).await;
    let third = later.call("send_msg", payload).await;
    assert_eq!(first["message"]["id"], third["message"]["id"]);
    assert_eq!(
        later.next("msg_sent").await["message"]["id"],
        first["message"]["id"]
    );

    client.say(conversation, "next").await;
    assert_eq!(other.seqs(2).await, [1, 2]);
    let sent = client.next_of(&["msg_sent"], 3).await;
    let seqs: Vec<_> = sent
        .iter()
        .map(|(_, sent)| &sent["message"]["seq"])
        .collect();
    assert_eq!(seqs, [1, 1, 2]);
}

#[tokio::test]
async fn messages_of_one_socket_keep_their_order() {
    let node = Node::new().await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let conversation = node.group(&ada, &[&bob]).await;
    let mut client = node.connect(&ada).await;
    let mut other = node.connect(&bob).await;
    for number in 0..200 {
        let payload = json!({
            "conversationId": conversation.to_string(), "content": number.to_string(),
        });
        client.emit("send_msg", payload).await;
    }
    for number in 0..200 {
        let message = other.next("receive_msg").await;
        assert_eq!(message["content"], number.to_string());
        assert_eq!(message["seq"], number + 1);
    }
}

#[tokio::test]
async fn many_speak_at_once_and_all_see_one_order() {
    let node = Node::new().await;
    let people = node.people(["ada", "bob", "cyd", "dan"]).await;
    let [ada, others @ ..] = &people;
    let conversation = node.group(ada, &others.iter().collect::<Vec<_>>()).await;
    let mut tasks = Vec::new();
    for person in &people {
        for device in 0..2 {
            let mut client = node.connect(person).await;
            tasks.push(async move {
                for number in 0..25 {
                    client
                        .say(conversation, &format!("{device}-{number}"))
                        .await;
                }
                client.seqs(200).await
            });
        }
    }
    let everything: Vec<u64> = (1..=200).collect();
    for seqs in futures_util::future::join_all(tasks).await {
        assert_eq!(seqs, everything);
    }
}

#[tokio::test]
async fn edits_and_deletions_reach_the_others() {
    let node = Node::new().await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let conversation = node.group(&ada, &[&bob]).await;
    let mut phone = node.connect(&ada).await;
    let mut laptop = node.connect(&ada).await;
    let mut other = node.connect(&bob).await;
    let message = phone.say(conversation, "helo").await;

    let edit = json!({"messageId": message["id"], "content": "hello"});
    let ack = phone.call("edit_msg", edit.clone()).await;
    assert_eq!(ack["message"]["content"], "hello");
    for device in [&mut laptop, &mut other] {
        let edited = device.next("msg_edited").await;
        assert_eq!(
            (&edited["content"], &edited["edited"]),
            (&json!("hello"), &json!(true))
        );
    }
    assert_eq!(other.call("edit_msg", edit).await["ok"], false);

    let ack = phone
        .call("delete_msg", json!({"messageId": message["id"]}))
        .await;
    assert_eq!(ack["message"]["deleted"], true);
    for device in [&mut laptop, &mut other] {
        let deleted = device.next("msg_deleted").await;
        assert_eq!(
            (&deleted["content"], &deleted["seq"]),
            (&json!(""), &json!(1))
        );
    }
    phone.hears_nothing_of(&["msg_edited", "msg_deleted"]).await;
}

#[tokio::test]
async fn receipts_reach_the_others_and_ones_own_other_devices() {
    let node = Node::new().await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let conversation = node.group(&ada, &[&bob]).await;
    let mut sender = node.connect(&ada).await;
    let mut phone = node.connect(&bob).await;
    let mut laptop = node.connect(&bob).await;
    sender.say(conversation, "one").await;
    sender.say(conversation, "two").await;

    let at = |seq| json!({"conversationId": conversation.to_string(), "seq": seq});
    assert_eq!(
        phone.call("mark_delivered", at(2)).await,
        json!({"ok": true})
    );
    let ack = phone.call("mark_read", at(1)).await;
    assert_eq!(ack, json!({"ok": true, "unread": 1}));
    for device in [&mut sender, &mut laptop] {
        for (status, seq) in [("delivered", 2), ("read", 1)] {
            let expected = json!({
                "conversationId": conversation.to_string(), "userId": bob.id.to_string(),
                "status": status, "seq": seq,
            });
            assert_eq!(device.next("msg_status").await, expected);
        }
    }
    phone.hears_nothing_of(&["msg_status"]).await;
}

#[tokio::test]
async fn typing_is_told_to_the_others_and_ends_by_itself() {
    let node = Node::new().await;
    let [ada, bob, eve] = node.people(["ada", "bob", "eve"]).await;
    let conversation = node.group(&ada, &[&bob]).await;
    let mut phone = node.connect(&ada).await;
    let mut laptop = node.connect(&ada).await;
    let mut other = node.connect(&bob).await;
    let payload = json!({"conversationId": conversation.to_string(), "typing": true});
    for _ in 0..5 {
        assert_eq!(phone.call("typing", payload.clone()).await["ok"], true);
    }
    let began = other.next("typing").await;
    assert_eq!(
        (&began["userId"], &began["typing"]),
        (&json!(ada.id.to_string()), &json!(true))
    );
    let ended = other.next("typing").await;
    assert_eq!(ended["typing"], false, "five words of it are told once");
    laptop.hears_nothing_of(&["typing"]).await;

    let mut stranger = node.connect(&eve).await;
    let ack = stranger.call("typing", payload).await;
    assert_eq!(ack["error"]["code"], "not_found");
    other.hears_nothing_of(&["typing"]).await;
}

#[tokio::test]
async fn contacts_see_who_comes_and_goes_but_not_a_reconnect() {
    let node = Node::new().await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    node.group(&ada, &[&bob]).await;
    let mut watcher = node.connect(&bob).await;
    let asked = json!({"userIds": [ada.id.to_string(), bob.id.to_string()]});

    let first = node.connect(&ada).await;
    let came = watcher.next("presence").await;
    assert_eq!(
        (&came["userId"], &came["status"]),
        (&json!(ada.id.to_string()), &json!("online"))
    );
    let ack = watcher.call("presence", asked.clone()).await;
    assert_eq!(ack["presence"][0]["status"], "online");

    drop(first);
    let second = node.connect(&ada).await;
    let heard = watcher.all_within(Duration::from_secs(3)).await;
    assert!(
        heard.iter().all(|(name, _)| name != "presence"),
        "{heard:?}"
    );

    drop(second);
    let went = watcher.next("presence").await;
    assert_eq!(went["status"], "offline");
    assert!(went["lastSeen"].is_string());
    let ack = watcher.call("presence", asked).await;
    assert_eq!(ack["presence"][0]["status"], "offline");
    assert_eq!(ack["presence"][1]["status"], "online");
}

#[tokio::test]
async fn sync_gives_what_was_missed() {
    let node = Node::new().await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    let conversation = node.group(&ada, &[&bob]).await;
    let mut sender = node.connect(&ada).await;
    for text in ["one", "two", "three"] {
        sender.say(conversation, text).await;
    }
    let mut late = node.connect(&bob).await;
    let ack = late
        .call("sync", json!({"cursors": {conversation.to_string(): 1}}))
        .await;
    let synced = &ack["conversations"][0];
    let texts: Vec<_> = synced["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|message| message["content"].as_str().expect("text"))
        .collect();
    assert_eq!(texts, ["two", "three"]);
    assert_eq!(
        (&synced["lastSeq"], &synced["unread"]),
        (&json!(3), &json!(3))
    );
    late.hears_nothing_of(&["receive_msg"]).await;
}
