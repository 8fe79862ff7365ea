//! The log: appended to by compare-and-set, read by pages, changed in place.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use syncchat_core::model::{
    Attachment, ConversationId, FileId, Message, MessageId, MessageKind, Seq, SystemEvent,
    Timestamp, UserId,
};
use syncchat_core::ports::store::{Append, Appended, LogEnd, LogRange};

use super::{World, named, one, people, system, text};

/// Whether this is a log without holes: `seq` 1, 2, 3 …, ordinals to match.
fn assert_dense(log: &[Message], length: usize) {
    let seqs: Vec<Seq> = log.iter().map(|message| message.seq).collect();
    assert_eq!(seqs, (1..=length as u64).collect::<Vec<_>>());
    let mut ordinal = 0;
    for message in log {
        ordinal += u64::from(message.kind != MessageKind::System);
        assert_eq!(message.ordinal, ordinal, "ordinal of {}", message.seq);
    }
}

pub async fn append_is_compare_and_set(world: World) {
    let [anna, ben] = people();
    let id = world.group(&[anna, ben]).await;
    let empty = world.conversation(id).await;
    let append = |messages: Vec<Message>, expected_seq| Append {
        conversation: id,
        expected_seq,
        messages: messages.into_iter().map(Arc::new).collect(),
        changes: Vec::new(),
    };
    let two = vec![text(&empty, 1, anna, "1"), text(&empty, 2, ben, "2")];
    let last = two[1].clone();
    let appended = world.store.append(vec![append(two.clone(), 0)]).await;
    assert_eq!(appended.unwrap(), [Appended::Committed]);

    let late = vec![text(&empty, 1, ben, "late")];
    let appended = world.store.append(vec![append(late, 0)]).await;
    assert_eq!(appended.unwrap(), [Appended::Moved]);
    let mut early = text(&empty, 4, ben, "early");
    early.ordinal = 4;
    let appended = world.store.append(vec![append(vec![early], 3)]).await;
    assert_eq!(appended.unwrap(), [Appended::Moved]);
    let mut nowhere = one(text(&empty, 1, ben, "nowhere"));
    nowhere.conversation = ConversationId::generate();
    Arc::make_mut(&mut nowhere.messages[0]).conversation = nowhere.conversation;
    let appended = world.store.append(vec![nowhere]).await;
    assert_eq!(appended.unwrap(), [Appended::Moved]);

    assert_eq!(world.log(id, LogRange::After(0)).await, two);
    let head = world.conversation(id).await;
    assert_eq!((head.last_seq, head.last_ordinal), (2, 2));
    assert_eq!(head.updated_at, last.created_at);
    assert_eq!(head.created_at, empty.created_at);
    assert_eq!(world.store.heads(&[id]).await.unwrap(), [(id, 2)]);
    assert_eq!(world.store.append(Vec::new()).await.unwrap(), []);
}

pub async fn appends_of_one_batch_are_independent(world: World) {
    let [anna, ben] = people();
    let mut heads = Vec::new();
    for _ in 0..6 {
        let id = world.group(&[anna, ben]).await;
        heads.push(world.conversation(id).await);
    }
    world.say(heads[1].id, ben, "faster").await;
    let written = one(named(text(&heads[3], 1, anna, "first"), "same"));
    let appended = world.store.append(vec![written]).await.unwrap();
    assert_eq!(appended, [Appended::Committed]);

    let batch: Vec<Append> = heads
        .iter()
        .map(|head| one(named(text(head, 1, anna, "batch"), "same")))
        .collect();
    let appended = world.store.append(batch).await.unwrap();
    let expected = [
        Appended::Committed,
        Appended::Moved,
        Appended::Committed,
        Appended::Duplicate,
        Appended::Committed,
        Appended::Committed,
    ];
    assert_eq!(appended, expected);
    for (place, head) in heads.iter().enumerate() {
        let log = world.log(head.id, LogRange::After(0)).await;
        assert_dense(&log, 1);
        let content = match place {
            1 => "faster",
            3 => "first",
            _ => "batch",
        };
        assert_eq!(log[0].content, content);
    }
}

pub async fn a_resend_is_a_duplicate(world: World) {
    let [anna, ben] = people();
    let id = world.group(&[anna, ben]).await;
    let empty = world.conversation(id).await;
    let first = named(text(&empty, 1, anna, "once"), "a");
    let appended = world.store.append(vec![one(first.clone())]).await.unwrap();
    assert_eq!(appended, [Appended::Committed]);

    // With the right head, with the old one, and beside others in the same append.
    let head = world.conversation(id).await;
    for resend in [&head, &empty] {
        let again = one(named(text(resend, 1, anna, "twice"), "a"));
        let appended = world.store.append(vec![again]).await.unwrap();
        assert_eq!(appended, [Appended::Duplicate]);
    }
    let beside = Append {
        messages: vec![
            named(text(&head, 1, anna, "new"), "b").into(),
            named(text(&head, 2, anna, "twice"), "a").into(),
        ],
        ..one(text(&head, 1, anna, ""))
    };
    let appended = world.store.append(vec![beside]).await.unwrap();
    assert_eq!(appended, [Appended::Duplicate]);
    let itself = Append {
        messages: vec![
            named(text(&head, 1, anna, "new"), "c").into(),
            named(text(&head, 2, anna, "new"), "c").into(),
        ],
        ..one(text(&head, 1, anna, ""))
    };
    let appended = world.store.append(vec![itself]).await.unwrap();
    assert_eq!(appended, [Appended::Duplicate]);
    assert_eq!(
        world.log(id, LogRange::After(0)).await,
        std::slice::from_ref(&first)
    );

    // The name is the sender's own, and the conversation's.
    let theirs = one(named(text(&head, 1, ben, "mine"), "a"));
    let appended = world.store.append(vec![theirs]).await.unwrap();
    assert_eq!(appended, [Appended::Committed]);
    let elsewhere = world.group(&[anna]).await;
    let head = world.conversation(elsewhere).await;
    let appended = world
        .store
        .append(vec![one(named(text(&head, 1, anna, "there"), "a"))])
        .await
        .unwrap();
    assert_eq!(appended, [Appended::Committed]);

    let keys = [
        (id, anna, "a".to_owned()),
        (id, anna, "b".to_owned()),
        (elsewhere, anna, "a".to_owned()),
        (elsewhere, ben, "a".to_owned()),
    ];
    let mut found = world.store.messages_by_client_id(&keys).await.unwrap();
    found.sort_by_key(|found| found.message.id);
    let contents: Vec<&str> = found.iter().map(|m| m.message.content.as_str()).collect();
    assert_eq!(contents, ["once", "there"]);
    assert!(
        world
            .store
            .messages_by_client_id(&[])
            .await
            .unwrap()
            .is_empty()
    );
}

pub async fn racers_leave_no_hole(world: World) {
    const RACERS: usize = 12;
    const EACH: usize = 10;
    let [anna] = people();
    let id = world.group(&[anna]).await;
    let racers: Vec<_> = (0..RACERS)
        .map(|racer| {
            let world = world.clone();
            tokio::spawn(async move {
                for nth in 0..EACH {
                    let name = format!("{racer}-{nth}");
                    let appended = world
                        .append(id, |head| one(named(text(head, 1, anna, &name), &name)))
                        .await;
                    assert_eq!(appended, Appended::Committed, "{name}");
                }
            })
        })
        .collect();
    for racer in racers {
        racer.await.unwrap();
    }
    let log = world.log(id, LogRange::After(0)).await;
    assert_dense(&log, RACERS * EACH);
    let contents: HashSet<&str> = log.iter().map(|m| m.content.as_str()).collect();
    assert_eq!(contents.len(), RACERS * EACH);
    assert_eq!(world.conversation(id).await.last_seq, log.len() as u64);
}

pub async fn racing_batches_leave_no_hole(world: World) {
    const RACERS: usize = 6;
    const CONVERSATIONS: usize = 8;
    const ROUNDS: usize = 6;
    let [anna] = people();
    let mut ids = Vec::new();
    for _ in 0..CONVERSATIONS {
        ids.push(world.group(&[anna]).await);
    }
    let racers: Vec<_> = (0..RACERS)
        .map(|racer| {
            let (world, ids) = (world.clone(), ids.clone());
            tokio::spawn(async move { batches(&world, &ids, anna, racer, ROUNDS).await })
        })
        .collect();
    let mut committed: HashMap<ConversationId, usize> = HashMap::new();
    for racer in racers {
        for id in racer.await.unwrap() {
            *committed.entry(id).or_default() += 1;
        }
    }
    for id in ids {
        let log = world.log(id, LogRange::After(0)).await;
        assert_dense(&log, RACERS * ROUNDS);
        assert_eq!(committed[&id], RACERS * ROUNDS);
    }
}

/// Appends once to each conversation in each round, all in one batch, and whatever moved again.
async fn batches(
    world: &World,
    ids: &[ConversationId],
    sender: UserId,
    racer: usize,
    rounds: usize,
) -> Vec<ConversationId> {
    let mut committed = Vec::new();
    for round in 0..rounds {
        let mut open = ids.to_vec();
        for attempt in 0.. {
            assert!(attempt < 1_000, "moved 1,000 times");
            let heads = world.store.conversations(&open).await.unwrap();
            let name = format!("{racer}-{round}");
            let batch: Vec<Append> = heads
                .iter()
                .map(|head| one(named(text(head, 1, sender, &name), &name)))
                .collect();
            let appended = world.store.append(batch).await.unwrap();
            for (head, appended) in heads.iter().zip(appended) {
                match appended {
                    Appended::Committed => {
                        committed.push(head.id);
                        open.retain(|id| *id != head.id);
                    }
                    Appended::Moved => {}
                    other => panic!("{name} was not acknowledged: {other:?}"),
                }
            }
            if open.is_empty() {
                break;
            }
        }
    }
    committed
}

/// Racers who never read the head: they only know what they were answered.
pub async fn who_goes_behind_leaves_no_hole(world: World) {
    const RACERS: usize = 6;
    const EACH: usize = 12;
    let [anna] = people();
    let id = world.group(&[anna]).await;
    let racers: Vec<_> = (0..RACERS)
        .map(|racer| {
            let world = world.clone();
            tokio::spawn(async move { race_behind(&world, id, anna, racer, EACH).await })
        })
        .collect();
    let mut told = HashMap::new();
    for racer in racers {
        told.extend(racer.await.unwrap());
    }
    let log = world.log(id, LogRange::After(0)).await;
    assert_dense(&log, RACERS * EACH * 2);
    assert!(log.is_sorted_by_key(|message| message.created_at));
    for message in &log {
        assert_eq!(told.get(&message.id), Some(message), "it is where was said");
    }
    let head = world.conversation(id).await;
    let last = log.last().unwrap();
    assert_eq!((head.last_seq, head.last_ordinal), (last.seq, last.ordinal));
    assert_eq!(head.updated_at, last.created_at);
}

async fn race_behind(
    world: &World,
    id: ConversationId,
    sender: UserId,
    racer: usize,
    each: usize,
) -> Vec<(MessageId, Message)> {
    let mut head = world.conversation(id).await;
    let mut written = Vec::new();
    for nth in 0..each {
        let name = format!("{racer}-{nth}");
        loop {
            let mut append = one(named(text(&head, 1, sender, &name), &name));
            let second = text(&head, 2, sender, &name);
            append.messages.push(second.into());
            match world.store.append_behind(append.clone()).await.unwrap() {
                Appended::Committed => {}
                Appended::Behind(end) => append.put_behind(end),
                Appended::Moved => {
                    head = world.conversation(id).await;
                    continue;
                }
                Appended::Duplicate => panic!("{name} was not acknowledged"),
            }
            let last = append.messages.last().unwrap();
            (head.last_seq, head.last_ordinal) = (last.seq, last.ordinal);
            head.updated_at = last.created_at;
            written.extend(append.messages.iter().map(|m| (m.id, (**m).clone())));
            break;
        }
    }
    written
}

pub async fn what_exists_is_not_written_behind(world: World) {
    let [anna] = people();
    let id = world.group(&[anna]).await;
    let empty = world.conversation(id).await;
    let unnamed = one(text(&empty, 1, anna, "once"));
    let appended = world.store.append_behind(unnamed.clone()).await.unwrap();
    assert_eq!(appended, Appended::Committed);
    let head = world.conversation(id).await;
    let called = one(named(text(&head, 1, anna, "once, called a"), "a"));
    let appended = world.store.append_behind(called.clone()).await.unwrap();
    assert_eq!(appended, Appended::Committed);
    // The same again, as when its outcome was not known, with the head of then and of now.
    for again in [&unnamed, &called] {
        let mut now = again.clone();
        now.put_behind(LogEnd {
            last_seq: 2,
            last_ordinal: 2,
            updated_at: Timestamp::now(),
        });
        for again in [again.clone(), now] {
            let together = world.store.append(vec![again.clone()]).await.unwrap();
            assert_eq!(together, [Appended::Duplicate]);
            let behind = world.store.append_behind(again).await.unwrap();
            assert_eq!(behind, Appended::Duplicate);
        }
    }
    // Under another id of ours, by its sender's name.
    let resent = one(named(text(&head, 1, anna, "twice"), "a"));
    let appended = world.store.append_behind(resent).await.unwrap();
    assert_eq!(appended, Appended::Duplicate);
    assert_eq!(world.log(id, LogRange::After(0)).await.len(), 2);
}

pub async fn everything_of_a_message_is_kept(world: World) {
    let [anna, ben] = people();
    let id = world.group(&[anna, ben]).await;
    let head = world.conversation(id).await;
    let mut full = named(
        text(&head, 1, anna, "a \"text\"\nwith 🦀 and \u{0}"),
        "näme",
    );
    full.kind = MessageKind::File;
    full.reply_to = Some(MessageId::generate());
    full.attachments = vec![
        Attachment {
            file: FileId::generate(),
            name: "a b.pdf".into(),
            size: 5_000_000_000,
            content_type: "application/pdf".into(),
        },
        Attachment {
            file: FileId::generate(),
            name: String::new(),
            size: 0,
            content_type: "image/png".into(),
        },
    ];
    full.edited = true;
    full.updated_at = Timestamp::from_millis(full.created_at.millis() + 123);
    let appended = world.store.append(vec![one(full.clone())]).await.unwrap();
    assert_eq!(appended, [Appended::Committed]);
    assert_eq!(
        world.store.message(full.id).await.unwrap(),
        Some(full.clone())
    );

    let events = [
        SystemEvent::Added {
            by: anna,
            user: UserId::generate(),
        },
        SystemEvent::Removed {
            by: anna,
            user: UserId::generate(),
        },
        SystemEvent::Left { user: ben },
        SystemEvent::Renamed {
            by: anna,
            title: "new".into(),
        },
    ];
    for event in &events {
        world.change(id, anna, event.clone()).await;
    }
    let log = world.log(id, LogRange::After(1)).await;
    let stored: Vec<_> = log.iter().map(|message| message.event.clone()).collect();
    assert_eq!(stored, events.map(Some));
    assert!(
        log.iter()
            .all(|message| message.kind == MessageKind::System)
    );
    assert_eq!(world.conversation(id).await.title.as_deref(), Some("new"));

    let ids = [full.id, log[0].id, MessageId::generate()];
    let mut found = world.store.messages(&ids).await.unwrap();
    found.sort_by_key(|message| message.seq);
    assert_eq!(found, [full, log[0].clone()]);
}

pub async fn pages_lie_where_they_were_asked_for(world: World) {
    let [anna] = people();
    let (long, short, empty) = (
        world.group(&[anna]).await,
        world.group(&[anna]).await,
        world.group(&[anna]).await,
    );
    for (id, length) in [(long, 25), (short, 3)] {
        let head = world.conversation(id).await;
        let messages = (1..=length).map(|nth| text(&head, nth, anna, &nth.to_string()));
        let append = Append {
            conversation: id,
            expected_seq: 0,
            messages: messages.map(Arc::new).collect(),
            changes: Vec::new(),
        };
        let appended = world.store.append(vec![append]).await.unwrap();
        assert_eq!(appended, [Appended::Committed]);
    }
    let ranges = [
        (long, LogRange::Before(Seq::MAX)),
        (long, LogRange::Before(5)),
        (long, LogRange::Before(1)),
        (short, LogRange::After(0)),
        (long, LogRange::After(20)),
        (empty, LogRange::Before(Seq::MAX)),
        (short, LogRange::After(3)),
        (ConversationId::generate(), LogRange::After(0)),
        (long, LogRange::After(Seq::MAX)),
        (long, LogRange::Before(Seq::MAX)),
    ];
    let pages = world.store.log(&ranges, 10).await.unwrap();
    let seqs: Vec<Vec<Seq>> = pages
        .iter()
        .map(|page| page.iter().map(|message| message.seq).collect())
        .collect();
    let expected: [Vec<Seq>; 10] = [
        (16..=25).collect(),
        (1..=4).collect(),
        vec![],
        (1..=3).collect(),
        (21..=25).collect(),
        vec![],
        vec![],
        vec![],
        vec![],
        (16..=25).collect(),
    ];
    assert_eq!(seqs, expected);
    assert!(pages[3].iter().all(|message| message.conversation == short));

    // More than fit into one round trip of any store.
    let many: Vec<_> = (0..200)
        .map(|nth| (long, LogRange::After(nth % 25)))
        .collect();
    let pages = world.store.log(&many, 1).await.unwrap();
    assert_eq!(pages.len(), 200);
    for (nth, page) in pages.iter().enumerate() {
        assert_eq!(page[0].seq, nth as u64 % 25 + 1);
    }
    assert!(world.store.log(&[], 10).await.unwrap().is_empty());
}

pub async fn edits_and_deletions(world: World) {
    let [anna, ben] = people();
    let id = world.group(&[anna, ben]).await;
    let message = world.say(id, anna, "frist").await;
    let store = &world.store;
    let later = Timestamp::from_millis(message.created_at.millis() + 1);
    let edited = store.edit_message(message.id, "first".into(), later).await;
    let expected = Message {
        content: "first".into(),
        edited: true,
        updated_at: later,
        rev: 2,
        ..message.clone()
    };
    assert_eq!(edited.unwrap().as_ref(), Some(&expected));
    assert_eq!(
        world.log(id, LogRange::After(0)).await,
        std::slice::from_ref(&expected)
    );

    let last = Timestamp::from_millis(later.millis() + 1);
    let gone = Message {
        content: String::new(),
        deleted: true,
        updated_at: last,
        rev: 3,
        ..expected
    };
    let deleted = store.delete_message(message.id, last).await.unwrap();
    assert_eq!(deleted.as_ref(), Some(&gone));
    let again = Timestamp::from_millis(last.millis() + 1);
    let deleted = store.delete_message(message.id, again).await.unwrap();
    assert_eq!(deleted.as_ref(), Some(&gone));
    let edited = store.edit_message(message.id, "back".into(), again).await;
    assert_eq!(edited.unwrap(), None);
    assert_eq!(world.log(id, LogRange::After(0)).await, [gone]);
    // The log goes on as if nothing had been.
    assert_eq!(world.conversation(id).await.last_seq, 1);
}

pub async fn unknown_things_are_not_found(world: World) {
    let store = &world.store;
    let (conversation, message) = (ConversationId::generate(), MessageId::generate());
    let now = Timestamp::now();
    assert_eq!(store.message(message).await.unwrap(), None);
    assert!(store.messages(&[]).await.unwrap().is_empty());
    assert_eq!(
        store.edit_message(message, "x".into(), now).await.unwrap(),
        None
    );
    assert_eq!(store.delete_message(message, now).await.unwrap(), None);
    assert_eq!(store.conversations(&[conversation]).await.unwrap(), []);
    assert_eq!(store.conversations(&[]).await.unwrap(), []);
    assert_eq!(store.heads(&[conversation]).await.unwrap(), []);
    assert_eq!(store.marks(&[conversation]).await.unwrap(), []);
    let [anna] = people();
    let head = world.conversation(world.group(&[anna]).await).await;
    let gone = syncchat_core::model::Conversation {
        id: conversation,
        ..head
    };
    let left = system(&gone, anna, SystemEvent::Left { user: anna });
    assert_eq!(store.append(vec![left]).await.unwrap(), [Appended::Moved]);
}
