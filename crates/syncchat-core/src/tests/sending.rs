use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::limits::{
    COMMIT_BATCH_MAX, COMMIT_QUEUE_MAX, COMMIT_TIMEOUT, STORE_BACKOFF_MAX, STORE_RETRY_SPAN,
};
use crate::model::{FileId, MessageId, MessageKind, SystemEvent};
use crate::ports::fleet::{Fleet, FleetListener};
use crate::ports::store::ConversationChange;
use crate::testing::{self, Faults};

fn reply(sender: UserId, id: ConversationId, target: MessageId) -> SendMessage {
    let draft = MessageDraft {
        content: "yes".into(),
        reply_to: Some(target),
        ..MessageDraft::default()
    };
    SendMessage::new(sender, id, draft).expect("a good message")
}

#[tokio::test]
async fn a_message_is_durable_and_announced_before_it_is_acknowledged() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    let first = world.say(me, id, " hi\n").await.expect("sent");
    assert_eq!(short(&world.fleet.take()), ["committed [1]"]);
    assert_eq!((first.seq, first.ordinal, first.sender), (1, 1, me));
    assert_eq!(first.content, " hi\n", "as written");
    assert_eq!(world.store.log_of(id), [(*first).clone()]);
    let second = world.say(you, id, "ho").await.expect("sent");
    assert_eq!((second.seq, second.ordinal), (2, 2));
    assert!(second.created_at >= first.created_at);
}

#[tokio::test]
async fn what_one_socket_sends_in_order_is_committed_in_order_and_shares_writes() {
    let world = World::new(2);
    let id = world.group(&world.people).await;
    let rest = world.group(&world.people).await;
    let me = world.people[0];
    let before = world.store.calls();
    let mut sends: Vec<_> = (0..COMMIT_BATCH_MAX * 2)
        .map(|n| {
            let home = if n % 10 == 9 { rest } else { id };
            Box::pin(world.chat.send(send(me, home, &n.to_string())))
        })
        .collect();
    for send in &mut sends {
        assert!(poll_once(send).is_pending());
    }
    let mut last = [0, 0];
    for (n, send) in sends.into_iter().enumerate() {
        let message = send.await.expect("sent");
        let home = usize::from(n % 10 == 9);
        assert_eq!(message.content, n.to_string());
        assert_eq!(message.seq, last[home] + 1);
        last[home] = message.seq;
    }
    let calls = world.store.calls() - before;
    assert!(calls <= 6, "512 messages took {calls} calls");
}

#[tokio::test]
async fn a_resend_gets_the_first_result_whoever_is_asked() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    let named = || send_named(me, id, "first", "x");
    let first = world.chat.send(named()).await.expect("sent");
    let calls = world.store.calls();
    let again = world.chat.send(named()).await.expect("a resend");
    assert_eq!(again, first);
    assert_eq!(world.store.calls(), calls, "from memory");
    // A node that knows nothing, in a batch with others.
    let other = world.other_node();
    let mut sends = [
        Box::pin(other.chat.send(send(me, id, "a"))),
        Box::pin(other.chat.send(named())),
        Box::pin(other.chat.send(send(me, id, "b"))),
    ];
    sends
        .iter_mut()
        .for_each(|send| assert!(poll_once(send).is_pending()));
    let [a, resend, b] = sends;
    assert_eq!(a.await.expect("sent").seq, 2);
    assert_eq!(resend.await.expect("a resend"), first);
    assert_eq!(b.await.expect("sent").seq, 3);
    // Another's name for a message is another name.
    let theirs = other.chat.send(send_named(you, id, "mine", "x")).await;
    assert_eq!(theirs.expect("sent").seq, 4);
    assert_eq!(world.store.log_of(id).len(), 4);
}

#[tokio::test]
async fn two_of_the_same_name_at_once_are_one() {
    let world = World::new(2);
    let me = world.people[0];
    let id = world.group(&world.people).await;
    let command = || send_named(me, id, "hi", "x");
    let (a, b) = tokio::join!(world.chat.send(command()), world.chat.send(command()));
    assert_eq!(a, b);
    assert_eq!(world.store.log_of(id).len(), 1);
}

#[tokio::test]
async fn a_resend_of_who_was_removed_since_is_still_told_the_truth() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    let first = world
        .chat
        .send(send_named(you, id, "hi", "x"))
        .await
        .expect("sent");
    world
        .chat
        .remove_participant(me, id, you)
        .await
        .expect("removed");
    let other = world.other_node();
    assert_eq!(
        other.chat.send(send_named(you, id, "hi", "x")).await,
        Ok(first)
    );
    assert_eq!(
        code(other.chat.send(send_named(you, id, "hi", "y")).await),
        ErrorCode::NotFound
    );
}

#[tokio::test]
async fn who_is_no_member_finds_nothing() {
    let world = World::new(3);
    let [me, you, stranger] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    let nowhere = ConversationId::generate();
    assert_eq!(
        code(world.say(stranger, id, "hi").await),
        ErrorCode::NotFound
    );
    assert_eq!(
        code(world.say(me, nowhere, "hi").await),
        ErrorCode::NotFound
    );
    assert_eq!(
        world.say(stranger, id, "hi").await,
        world.say(stranger, nowhere, "hi").await,
        "no difference tells whether it exists"
    );
    assert_eq!(
        code(world.chat.authorise(stranger, id).await),
        ErrorCode::NotFound
    );
    assert_eq!(world.chat.authorise(me, id).await, Ok(()));
    assert!(world.fleet.take().is_empty());
}

#[tokio::test]
async fn memory_is_not_believed_when_another_node_was_there() {
    let world = World::new(3);
    let [me, you, them] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    world.say(me, id, "one").await.expect("sent");
    world.fleet.take();
    // Another node writes: this one appends after it, and says how far the log has come.
    let behind = |sender| vec![testing::message(id, sender, "behind")];
    let change = |sender, event| {
        let mut message = testing::message(id, sender, "");
        message.kind = MessageKind::System;
        message.event = Some(event);
        vec![message]
    };
    world.store.append_behind(id, behind(you), None, you);
    assert_eq!(world.say(me, id, "three").await.expect("sent").seq, 3);
    assert_eq!(short(&world.fleet.take()), ["head 2", "committed [3]"]);
    // Another node adds somebody, who may write here at once.
    let add = |user, seq| ConversationChange::Add { user, seq };
    let added = SystemEvent::Added { by: me, user: them };
    let added = change(me, added);
    world.store.append_behind(id, added, Some(add), them);
    assert_eq!(world.say(them, id, "five").await.expect("sent").seq, 5);
    // Another node removes somebody, who may not.
    let remove = |user, seq| ConversationChange::Remove { user, seq };
    let removed = change(me, SystemEvent::Removed { by: me, user: you });
    world.store.append_behind(id, removed, Some(remove), you);
    assert_eq!(code(world.say(you, id, "never").await), ErrorCode::NotFound);
    assert_eq!(world.store.log_of(id).len(), 6);
    assert_eq!(world.store.broken(), [""; 0]);
}

#[tokio::test]
async fn an_answer_names_a_message_that_the_sender_may_see() {
    let world = World::new(3);
    let [me, you, them] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you, them]).await;
    let elsewhere = world.group(&[me, you]).await;
    let first = world.say(me, id, "1").await.expect("sent");
    let foreign = world.say(me, elsewhere, "1").await.expect("sent");
    world
        .chat
        .remove_participant(me, id, them)
        .await
        .expect("removed");
    let missed = world.say(me, id, "3").await.expect("sent");
    world
        .chat
        .add_participant(me, id, them)
        .await
        .expect("added");
    for node in [&world, &world.other_node()] {
        let answer = |sender, target| node.chat.send(reply(sender, id, target));
        let answered = answer(you, first.id).await.expect("sent");
        assert_eq!(answered.reply_to, Some(first.id));
        assert!(answer(them, first.id).await.is_ok());
        assert!(answer(them, answered.id).await.is_ok());
        assert!(answer(you, missed.id).await.is_ok());
        assert_eq!(
            field(answer(them, missed.id).await),
            "replyTo",
            "they were away"
        );
        assert_eq!(field(answer(me, foreign.id).await), "replyTo");
        assert_eq!(field(answer(me, MessageId::generate()).await), "replyTo");
    }
}

#[tokio::test]
async fn files_are_not_there_yet() {
    let world = World::new(3);
    let [me, you, stranger] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    let show = |sender| {
        let draft = MessageDraft {
            attachments: vec![FileId::generate()],
            ..MessageDraft::default()
        };
        world
            .chat
            .send(SendMessage::new(sender, id, draft).expect("a good message"))
    };
    assert_eq!(field(show(me).await), "attachments");
    assert_eq!(code(show(stranger).await), ErrorCode::NotFound);
}

#[tokio::test]
async fn a_caller_who_goes_away_undoes_nothing() {
    let world = World::new(2);
    let me = world.people[0];
    let id = world.group(&world.people).await;
    let mut gone = Box::pin(world.chat.send(send(me, id, "last words")));
    assert!(poll_once(&mut gone).is_pending());
    drop(gone);
    world.chat.drain().await;
    assert_eq!(world.store.log_of(id).len(), 1);
    assert_eq!(short(&world.fleet.take()), ["committed [1]"]);
    assert_eq!(world.say(me, id, "after").await.expect("sent").seq, 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stalls_is_waited_for_so_long_and_no_longer() {
    let world = World::new(2);
    let me = world.people[0];
    let id = world.group(&world.people).await;
    let hold = |reads, writes| {
        world.store.set_faults(Faults {
            hold_reads: reads,
            hold_writes: writes,
            ..Faults::NONE
        });
    };
    hold(true, true);
    let other = world.other_node();
    let seconds = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
    let begun = tokio::time::Instant::now();
    // The first waits for its read and then for its write, the second for the first.
    let (a, b, ()) = tokio::join!(
        other.say(me, id, "a"),
        async {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            other.say(me, id, "b").await
        },
        async {
            seconds(4).await;
            hold(false, true);
        }
    );
    let refused = (code(a), code(b));
    assert_eq!(refused, (ErrorCode::Unavailable, ErrorCode::Unavailable));
    assert!(begun.elapsed() <= COMMIT_TIMEOUT + Duration::from_millis(2));
    seconds(2).await;
    hold(false, false);
    other.chat.drain().await;
    let log = world.store.log_of(id);
    let texts: Vec<_> = log.iter().map(|message| message.content.as_str()).collect();
    assert_eq!(
        texts,
        ["a"],
        "the second was given up before it was written"
    );
    assert_eq!(other.say(me, id, "c").await.expect("sent").seq, 2);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_overtaken_goes_behind_and_tries_again_but_not_for_ever() {
    let world = World::new(2);
    let me = world.people[0];
    let id = world.group(&world.people).await;
    let overtaken = |times, by_change| {
        world.store.set_faults(Faults {
            overtaken: times,
            overtaken_by_change: by_change,
            ..Faults::NONE
        });
    };
    overtaken(3, false);
    let begun = tokio::time::Instant::now();
    assert_eq!(world.say(me, id, "at last").await.expect("sent").seq, 3);
    assert_eq!(short(&world.fleet.take()), ["head 1", "committed [3]"]);
    // From now on it does not try to be first.
    assert_eq!(world.say(me, id, "again").await.expect("sent").seq, 5);
    assert_eq!(short(&world.fleet.take()), ["committed [5]"]);
    overtaken(3, true);
    assert_eq!(world.say(me, id, "at last").await.expect("sent").seq, 9);
    assert!(begun.elapsed() < Duration::from_secs(1));
    let told = short(&world.fleet.take());
    assert_eq!(told, ["head 6", "head 7", "head 8", "committed [9]"]);
    // What another node changes may decide whether it is refused, so it cannot go behind that.
    overtaken(u32::MAX, true);
    assert_eq!(
        code(world.say(me, id, "never").await),
        ErrorCode::Unavailable
    );
    assert!(begun.elapsed() < COMMIT_TIMEOUT + Duration::from_secs(1));
    world.chat.drain().await;
    assert_eq!(world.store.broken(), [""; 0]);
}

#[tokio::test]
async fn what_others_commit_is_learnt_from_what_they_say() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    let other = world.other_node();
    let heard = Arc::new(Heard::default());
    let listener = world.chat.listening(heard.clone());
    let id = world.group(&world.people).await;
    world.say(me, id, "1").await.expect("sent");
    other.say(you, id, "2").await.expect("sent");
    other.say(you, id, "3").await.expect("sent");
    let news = other.fleet.take();
    // In whichever order it comes, and however often.
    for event in [&news[1], &news[0], &news[0], &news[1]] {
        listener.on_event(event);
    }
    assert_eq!(heard.0.load(Ordering::Relaxed), 4, "it is passed on");
    world.fleet.take();
    let reads = world.store.calls();
    assert_eq!(world.say(me, id, "4").await.expect("sent").seq, 4);
    assert_eq!(world.store.calls() - reads, 1, "nothing had to be read");
    assert_eq!(short(&world.fleet.take()), ["committed [4]"]);
    // Whoever came or went meanwhile is looked up.
    other
        .chat
        .remove_participant(me, id, you)
        .await
        .expect("removed");
    for event in other.fleet.take() {
        listener.on_event(&event);
    }
    assert_eq!(code(world.say(you, id, "never").await), ErrorCode::NotFound);
}

/// Counts what it hears.
#[derive(Default)]
struct Heard(AtomicUsize);

impl FleetListener for Heard {
    fn on_event(&self, _event: &FleetEvent) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn on_doubt(&self) {}
}

#[tokio::test(start_paused = true)]
async fn what_lands_although_nobody_was_told_is_found() {
    let world = World::new(2);
    let me = world.people[0];
    let id = world.group(&world.people).await;
    world.say(me, id, "1").await.expect("sent");
    world.fleet.take();
    let late = Faults {
        land_late: 1.0,
        late: Duration::from_secs(20),
        ..Faults::NONE
    };
    world.store.set_faults(late);
    let (lost, ()) = tokio::join!(world.chat.send(send_named(me, id, "2", "x")), async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        world.store.set_faults(DOWN);
    });
    assert_eq!(code(lost), ErrorCode::Unavailable);
    world.store.set_faults(Faults::NONE);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(short(&world.fleet.take()), ["head 2"]);
    let again = world
        .chat
        .send(send_named(me, id, "2", "x"))
        .await
        .expect("a resend");
    assert_eq!((again.seq, world.store.log_of(id).len()), (2, 2));
}

const DOWN: Faults = Faults {
    down: true,
    ..Faults::NONE
};

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_refuses_and_comes_back() {
    let world = World::new(2);
    let me = world.people[0];
    let id = world.group(&world.people).await;
    world.store.set_faults(DOWN);
    let begun = tokio::time::Instant::now();
    assert_eq!(code(world.say(me, id, "1").await), ErrorCode::Unavailable);
    assert!(begun.elapsed() <= STORE_RETRY_SPAN + STORE_BACKOFF_MAX);
    assert_eq!(
        code(world.chat.memberships(me).await),
        ErrorCode::Unavailable
    );
    world.store.set_faults(Faults::NONE);
    assert_eq!(world.say(me, id, "1").await.expect("sent").seq, 1);
}

#[tokio::test(start_paused = true)]
async fn a_failover_is_waited_out_in_order() {
    let world = World::new(2);
    let me = world.people[0];
    let id = world.group(&world.people).await;
    world.store.set_faults(DOWN);
    let mut sends: Vec<_> = (1..=3)
        .map(|n| Box::pin(world.chat.send(send(me, id, &n.to_string()))))
        .collect();
    sends
        .iter_mut()
        .for_each(|send| assert!(poll_once(send).is_pending()));
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.store.set_faults(Faults::NONE);
    for (send, n) in sends.into_iter().zip(1..) {
        let message = send.await.expect("sent");
        assert_eq!(
            (message.seq, message.content.as_str()),
            (n, n.to_string().as_str())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_done_although_the_answer_was_lost_is_not_done_twice() {
    let world = World::new(3);
    let [me, you, them] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you, them]).await;
    world.store.set_faults(Faults {
        lose_answer: 1.0,
        ..Faults::NONE
    });
    // No clientMsgId: the message is known by its id.
    let message = world.say(me, id, "once").await.expect("sent");
    assert_eq!(message.seq, 1);
    assert_eq!(world.chat.remove_participant(me, id, you).await, Ok(()));
    let view = world
        .chat
        .add_participant(me, id, you)
        .await
        .expect("added");
    assert_eq!(view.conversation.last_seq, 3);
    // Nobody saw them committed, so the fleet was told how far the log reaches, and who came and went.
    assert_eq!(
        short(&world.fleet.take()),
        ["head 1", "head 2", "parted 2", "joined 3", "head 3"]
    );
    assert_eq!(world.store.broken(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded() {
    let world = World::new(2);
    let me = world.people[0];
    let id = world.group(&world.people).await;
    let mut waiting: Vec<_> = (0..COMMIT_QUEUE_MAX)
        .map(|_| Box::pin(world.chat.send(send(me, id, "hi"))))
        .collect();
    waiting
        .iter_mut()
        .for_each(|send| assert!(poll_once(send).is_pending()));
    assert_eq!(
        code(world.say(me, id, "one too many").await),
        ErrorCode::Unavailable
    );
    world.chat.drain().await;
    assert_eq!(world.store.log_of(id).len(), COMMIT_QUEUE_MAX);
    assert!(world.say(me, id, "room again").await.is_ok());
}

/// Panics at the first event.
struct Fragile(AtomicBool);

impl FleetListener for Fragile {
    fn on_event(&self, _event: &FleetEvent) {
        assert!(self.0.swap(true, Ordering::Relaxed), "a defect elsewhere");
    }

    fn on_doubt(&self) {}
}

#[tokio::test]
async fn a_listener_that_panics_does_not_stop_the_conversation() {
    let world = World::new(2);
    let me = world.people[0];
    let id = world.group(&world.people).await;
    world
        .fleet
        .listen(Arc::new(Fragile(AtomicBool::new(false))));
    assert_eq!(code(world.say(me, id, "1").await), ErrorCode::Unavailable);
    assert_eq!(world.say(me, id, "2").await.expect("sent").seq, 2);
    world.chat.drain().await;
}
