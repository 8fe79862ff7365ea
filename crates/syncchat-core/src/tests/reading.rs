use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::chat::{Page, Synced, SyncedConversation};
use crate::command::{CursorKind, PageFrom, PageRequest, SyncRequest};
use crate::limits::{EPOCH_POLL, PAGE_DEFAULT, SYNC_MESSAGES_MAX};
use crate::model::{EpochId, MessageKind, MessageStatus, SystemEvent, Timestamp};
use crate::ports::store::{ConversationChange, HistoryStore};
use crate::testing::{self, Faults};

impl World {
    async fn page(&self, user: UserId, id: ConversationId, from: PageFrom, limit: usize) -> Page {
        let request = PageRequest::new(from, Some(limit)).expect("a good request");
        self.chat.history(user, id, request).await.expect("a page")
    }

    async fn seqs(
        &self,
        user: UserId,
        id: ConversationId,
        from: PageFrom,
        limit: usize,
    ) -> (Vec<Seq>, bool) {
        let page = self.page(user, id, from, limit).await;
        let seqs = page.messages.iter().map(|view| view.message.seq).collect();
        (seqs, page.more)
    }

    async fn sync(
        &self,
        user: UserId,
        cursors: &[(ConversationId, Seq)],
        all: bool,
    ) -> ByConversation {
        let cursors: BTreeMap<_, _> = cursors.iter().copied().collect();
        let request = SyncRequest::new(cursors, all).expect("a good request");
        let synced = self.chat.sync(user, request).await.expect("synced");
        let short = synced.conversations.into_iter().map(|c| {
            let seqs: Vec<Seq> = c.messages.iter().map(|view| view.message.seq).collect();
            (c.id, (seqs, c.more, c.last_seq, c.unread))
        });
        short.collect()
    }
}

/// Conversation → messages, more, newest, unread.
type ByConversation = BTreeMap<ConversationId, (Vec<Seq>, bool, Seq, u64)>;

#[tokio::test]
async fn pages_go_both_ways_and_know_whether_there_is_more() {
    let world = World::new(3);
    let [me, you, stranger] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    let nothing = world.seqs(you, id, PageFrom::Newest, 3).await;
    assert_eq!(nothing, (vec![], false));
    world.say_many(me, id, 7).await;
    let seqs = |from, limit| world.seqs(you, id, from, limit);
    assert_eq!(seqs(PageFrom::Newest, 3).await, (vec![5, 6, 7], true));
    assert_eq!(
        seqs(PageFrom::Newest, 7).await,
        (vec![1, 2, 3, 4, 5, 6, 7], false)
    );
    assert_eq!(seqs(PageFrom::Before(5), 3).await, (vec![2, 3, 4], true));
    assert_eq!(seqs(PageFrom::Before(2), 3).await, (vec![1], false));
    assert_eq!(seqs(PageFrom::Before(0), 3).await, (vec![], false));
    assert_eq!(
        seqs(PageFrom::Before(Seq::MAX - 1), 2).await,
        (vec![6, 7], true)
    );
    assert_eq!(seqs(PageFrom::After(0), 3).await, (vec![1, 2, 3], true));
    assert_eq!(seqs(PageFrom::After(4), 3).await, (vec![5, 6, 7], false));
    assert_eq!(seqs(PageFrom::After(7), 3).await, (vec![], false));
    assert_eq!(seqs(PageFrom::After(Seq::MAX), 3).await, (vec![], false));
    let begin = PageFrom::Since(Timestamp::from_millis(0));
    assert_eq!(seqs(begin, 2).await, (vec![1, 2], true));
    assert_eq!(seqs(begin, 9).await, (vec![1, 2, 3, 4, 5, 6, 7], false));
    let never = PageFrom::Since(Timestamp::from_millis(i64::MAX));
    assert_eq!(seqs(never, 2).await, (vec![], false));
    let request = PageRequest::new(PageFrom::Newest, None).expect("a good request");
    let refused = world.chat.history(stranger, id, request).await;
    assert_eq!(code(refused), ErrorCode::NotFound);
}

/// Somebody who saw 1–3 and 6–8, and sees from 11 on.
async fn a_world_with_gaps() -> (World, ConversationId) {
    let world = World::new(3);
    let [me, you, them] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you, them]).await;
    world.say_many(me, id, 2).await; // 1, 2
    for _ in 0..2 {
        world
            .chat
            .remove_participant(me, id, them)
            .await
            .expect("removed"); // 3, 8
        world.say_many(me, id, 2).await; // 4, 5; 9, 10
        world
            .chat
            .add_participant(me, id, them)
            .await
            .expect("added"); // 6, 11
        world.say(me, id, "m").await.expect("sent"); // 7, 12
    }
    (world, id)
}

#[tokio::test]
async fn what_was_said_while_somebody_was_away_is_never_shown_to_them() {
    let (world, id) = a_world_with_gaps().await;
    let them = world.people[2];
    let seqs = |from, limit| world.seqs(them, id, from, limit);
    let all = vec![1, 2, 3, 6, 7, 8, 11, 12];
    assert_eq!(seqs(PageFrom::Newest, 50).await, (all.clone(), false));
    assert_eq!(seqs(PageFrom::After(0), 50).await, (all.clone(), false));
    let begin = PageFrom::Since(Timestamp::from_millis(0));
    assert_eq!(seqs(begin, 50).await, (all.clone(), false));
    for limit in 1..=8 {
        for at in 0..=13 {
            let after: Vec<Seq> = all.iter().copied().filter(|seq| *seq > at).collect();
            let page = after[..limit.min(after.len())].to_vec();
            let more = after.len() > limit;
            assert_eq!(
                seqs(PageFrom::After(at), limit).await,
                (page, more),
                "after {at}"
            );
            let before: Vec<Seq> = all.iter().copied().filter(|seq| *seq < at).collect();
            let page = before[before.len().saturating_sub(limit)..].to_vec();
            let more = before.len() > limit;
            assert_eq!(
                seqs(PageFrom::Before(at), limit).await,
                (page, more),
                "before {at}"
            );
        }
    }
    // Who removed them sees everything.
    let everything = world.seqs(world.people[0], id, PageFrom::Newest, 50).await;
    assert_eq!(everything.0.len(), 12);
}

/// Says two things, removes the person, says two more and adds them again: what a page must not show
/// is written between its reads.
fn removed_meanwhile(
    (by, whom): (UserId, UserId),
    id: ConversationId,
    comes_back: bool,
) -> impl FnOnce(&MemoryStore) + Send + 'static {
    let say = move |store: &MemoryStore, text: &str| {
        store.append_behind(id, vec![testing::message(id, by, text)], None, by);
    };
    type Change = fn(UserId, Seq) -> ConversationChange;
    let change = move |store: &MemoryStore, event: SystemEvent, change: Change| {
        let message = Message {
            kind: MessageKind::System,
            event: Some(event),
            ..testing::message(id, by, "")
        };
        store.append_behind(id, vec![message], Some(change), whom);
    };
    move |store| {
        say(store, "still here");
        let removed = SystemEvent::Removed { by, user: whom };
        change(store, removed, |user, seq| ConversationChange::Remove {
            user,
            seq,
        });
        say(store, "secret");
        say(store, "secret too");
        if comes_back {
            let added = SystemEvent::Added { by, user: whom };
            change(store, added, |user, seq| ConversationChange::Add {
                user,
                seq,
            });
        }
    }
}

#[tokio::test]
async fn what_is_said_after_a_removal_is_not_shown_by_a_page_that_was_under_way() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    let begin = Timestamp::from_millis(0);
    let ways = [
        PageFrom::Newest,
        PageFrom::Before(Seq::MAX),
        PageFrom::After(0),
        PageFrom::After(2),
        PageFrom::Since(begin),
    ];
    for comes_back in [false, true] {
        for from in ways {
            let id = world.group(&[me, you]).await;
            world.say_many(me, id, 3).await;
            let meanwhile = removed_meanwhile((me, you), id, comes_back);
            world.store.before_next_log(meanwhile);
            let page = world.page(you, id, from, 50).await;
            let shown: Vec<&str> = page
                .messages
                .iter()
                .map(|view| view.message.content.as_str())
                .collect();
            let known = if from == PageFrom::After(2) {
                &["m2"][..]
            } else {
                &["m0", "m1", "m2"]
            };
            assert_eq!((shown, page.more), (known.to_vec(), false), "{from:?}");
        }
    }
}

#[tokio::test]
async fn sync_and_lists_that_were_under_way_show_nothing_after_a_removal() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    for comes_back in [false, true] {
        let id = world.group(&[me, you]).await;
        world.say_many(me, id, 3).await;
        let before = removed_meanwhile((me, you), id, comes_back);
        world.store.before_next_log(before);
        let synced = world.sync(you, &[(id, 1)], false).await;
        let (seqs, more, last_seq, _) = synced[&id].clone();
        assert_eq!((seqs, more, last_seq), (vec![2, 3], false, 3));

        let id = world.group(&[me, you]).await;
        world.say_many(me, id, 3).await;
        let before = removed_meanwhile((me, you), id, comes_back);
        world.store.before_next_log(before);
        let view = world.chat.conversation(you, id).await.expect("mine");
        let last = view.last_message.expect("a message").message.seq;
        assert_eq!((last, view.conversation.last_seq), (3, 3));
    }
}

/// Whether all is to be forgotten; by conversation whether that is, and what it has.
fn short_synced(synced: &Synced) -> (bool, BTreeMap<ConversationId, (bool, Vec<Seq>)>) {
    let of = |c: &SyncedConversation| {
        let seqs = c.messages.iter().map(|view| view.message.seq);
        (c.id, (c.reset, seqs.collect()))
    };
    (synced.reset, synced.conversations.iter().map(of).collect())
}

#[tokio::test]
async fn a_client_of_a_history_that_was_lost_begins_anew() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    world.chat.epochs().begin().await.expect("begun");
    let (a, b) = (world.group(&[me, you]).await, world.group(&[me, you]).await);
    world.say_many(me, a, 3).await;
    world.say_many(me, b, 2).await;
    let ask = async |world: &World, epoch: Option<&str>, cursors: &[(ConversationId, Seq)]| {
        let cursors = cursors.iter().copied().collect();
        let request = SyncRequest::new(cursors, true).expect("a good request");
        let request = request.in_epoch(epoch.map(str::to_owned));
        world.chat.sync(you, request).await.expect("synced")
    };
    let first = ask(&world, None, &[(a, 3), (b, 1)]).await;
    let rest = BTreeMap::from([(a, (false, vec![])), (b, (false, vec![2]))]);
    assert_eq!(short_synced(&first), (false, rest.clone()));
    let again = ask(&world, Some(&first.epoch.to_string()), &[(a, 3), (b, 1)]).await;
    assert_eq!(
        (short_synced(&again), again.epoch),
        ((false, rest), first.epoch)
    );

    // A restart goes on with the same history; other nodes learn of it when it is brought to them.
    let restore = world.store.backup();
    let other = world.other_node();
    other.chat.epochs().begin().await.expect("begun");
    let calls = world.store.calls();
    let later = ask(&other, Some(&first.epoch.to_string()), &[(a, 3), (b, 2)]).await;
    assert!(!later.reset && later.epoch != first.epoch);
    let known = world.store.calls() - calls;
    let here = ask(&world, Some(&later.epoch.to_string()), &[(a, 3), (b, 2)]).await;
    assert!(!here.reset && here.epoch == later.epoch);
    assert_eq!(
        world.store.calls() - calls,
        2 * known + 1,
        "one read of the lineage"
    );

    // What was written after the backup is gone, and with it the epoch of the node that wrote it.
    world.say_many(me, a, 3).await;
    let (lost, held) = (later.epoch.to_string(), [(a, 6), (b, 2)]);
    restore(&world.store);
    let restored = world.other_node();
    restored.chat.epochs().begin().await.expect("begun");
    restored.say_many(me, a, 4).await;
    let all = BTreeMap::from([
        (a, (false, vec![1, 2, 3, 4, 5, 6, 7])),
        (b, (false, vec![1, 2])),
    ]);
    for epoch in [lost.as_str(), "", "another program's"] {
        let synced = ask(&restored, Some(epoch), &held).await;
        assert_eq!(short_synced(&synced), (true, all.clone()), "{epoch:?}");
    }
    // A client that was away since before the backup goes on.
    let synced = ask(&restored, Some(&first.epoch.to_string()), &[(a, 3), (b, 2)]).await;
    assert!(!synced.reset && short_synced(&synced).1[&a] == (false, vec![4, 5, 6, 7]));
    // One that brings no epoch is told at least what the end of a log tells.
    let synced = ask(&restored, None, &[(a, 8), (b, 2)]).await;
    assert_eq!(
        short_synced(&synced).1[&a],
        (true, vec![1, 2, 3, 4, 5, 6, 7])
    );
    assert!(!synced.reset && !synced.conversations.iter().any(|c| c.id == b && c.reset));

    // The operator knows of a restored backup that nothing tells of.
    let epoch = EpochId::generate();
    restored
        .store
        .replace_lineage(epoch)
        .await
        .expect("replaced");
    let node = world.other_node();
    node.chat.epochs().begin().await.expect("begun");
    let synced = ask(&node, Some(&synced.epoch.to_string()), &held).await;
    assert!(synced.reset);
    assert_eq!(node.store.lineage().await.expect("read").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_node_notices_that_its_history_was_replaced() {
    let world = World::new(1);
    world.chat.epochs().begin().await.expect("begun");
    let epochs = Arc::clone(world.chat.epochs());
    let noticed = tokio::spawn(async move { epochs.until_replaced().await });
    // Other nodes start meanwhile, and the store is away for a while.
    for _ in 0..5 {
        let other = world.other_node();
        other.chat.epochs().begin().await.expect("begun");
        tokio::time::sleep(EPOCH_POLL).await;
    }
    world.store.set_faults(Faults {
        down: true,
        ..Faults::NONE
    });
    tokio::time::sleep(3 * EPOCH_POLL).await;
    world.store.set_faults(Faults::NONE);
    tokio::time::sleep(3 * EPOCH_POLL).await;
    assert!(!noticed.is_finished());
    let epoch = EpochId::generate();
    world.store.replace_lineage(epoch).await.expect("replaced");
    tokio::time::timeout(3 * EPOCH_POLL, noticed)
        .await
        .expect("noticed")
        .expect("ended");
    assert_ne!(
        world.chat.epochs().current(),
        epoch,
        "what it tells clients stays"
    );
}

#[tokio::test]
async fn a_sync_over_gaps_ends_with_everything_seen() {
    let (world, id) = a_world_with_gaps().await;
    let them = world.people[2];
    let (mut cursor, mut seen) = (0, Vec::new());
    for _ in 0..20 {
        let synced = world.sync(them, &[(id, cursor)], false).await;
        let (seqs, more, last_seq, _) = synced[&id].clone();
        assert_eq!(last_seq, 12);
        seen.extend(seqs);
        cursor = *seen.last().expect("each answer brings something");
        if !more {
            break;
        }
    }
    assert_eq!(seen, [1, 2, 3, 6, 7, 8, 11, 12]);
}

#[tokio::test]
async fn sync_brings_what_was_asked_for_and_nothing_of_others() {
    let world = World::new(3);
    let [me, you, stranger] = world.people[..] else {
        unreachable!()
    };
    let [a, b] = [world.group(&[me, you]).await, world.group(&[me, you]).await];
    let foreign = world.group(&[me, stranger]).await;
    world.say_many(me, a, 3).await;
    world.say_many(me, foreign, 3).await;
    let nowhere = ConversationId::generate();
    let named = [(a, 1), (foreign, 0), (nowhere, 0)];
    let synced = world.sync(you, &named, false).await;
    assert_eq!(synced, BTreeMap::from([(a, (vec![2, 3], false, 3, 3))]));
    let synced = world.sync(you, &named, true).await;
    let nothing = (vec![], false, 0, 0);
    assert_eq!(
        synced,
        BTreeMap::from([(a, (vec![2, 3], false, 3, 3)), (b, nothing)])
    );
    let synced = world.sync(you, &[], true).await;
    assert_eq!(synced[&a], (vec![1, 2, 3], false, 3, 3));
    assert_eq!(world.sync(you, &[], false).await, BTreeMap::new());
    // A cursor from the future is answered with all there is.
    let synced = world.sync(you, &[(a, Seq::MAX)], false).await;
    assert_eq!(synced[&a], (vec![1, 2, 3], false, 3, 3));
}

#[tokio::test]
async fn sync_is_bounded_and_its_cost_does_not_grow_with_the_conversations() {
    let world = World::new(2);
    let [me, you] = world.people[..] else {
        unreachable!()
    };
    let mut calls = Vec::new();
    for conversations in [1, 30] {
        for _ in calls.len()..conversations {
            let id = world.group(&[me, you]).await;
            world.say_many(me, id, PAGE_DEFAULT + 1).await;
        }
        let before = world.store.calls();
        let synced = world.sync(you, &[], true).await;
        calls.push(world.store.calls() - before);
        let given: usize = synced.values().map(|(seqs, ..)| seqs.len()).sum();
        assert_eq!(given, (synced.len() * PAGE_DEFAULT).min(SYNC_MESSAGES_MAX));
        assert!(synced.values().all(|(_, more, ..)| *more));
    }
    assert_eq!(calls[0], calls[1]);
    assert!(calls[0] <= 5, "{calls:?}");
    // Asked again with what it got, a client ends with everything.
    let mut cursors: BTreeMap<ConversationId, Seq> = BTreeMap::new();
    let mut rounds = 0;
    loop {
        let named: Vec<_> = cursors.iter().map(|(id, seq)| (*id, *seq)).collect();
        let synced = world.sync(you, &named, true).await;
        for (id, (seqs, ..)) in &synced {
            let cursor = cursors.entry(*id).or_default();
            for seq in seqs {
                assert_eq!(*seq, *cursor + 1);
                *cursor = *seq;
            }
        }
        rounds += 1;
        if synced.values().all(|(_, more, ..)| !more) {
            break;
        }
    }
    assert!(cursors.values().all(|seq| *seq == PAGE_DEFAULT as u64 + 1));
    assert!(rounds <= 4, "{rounds} rounds");
}

/// But for the unread counts, which are each one's own.
#[tokio::test]
async fn a_crowd_that_syncs_at_once_shares_its_reads() {
    const CROWD: usize = 30;
    let world = World::new(CROWD as u8);
    let id = world.group(&world.people.clone()).await;
    world.say_many(world.people[0], id, 3).await;
    let before = world.store.calls();
    let mut crowd = tokio::task::JoinSet::new();
    for &user in &world.people {
        let chat = Arc::clone(&world.chat);
        let request = SyncRequest::new(BTreeMap::new(), true).expect("a good request");
        crowd.spawn(async move {
            let synced = chat.sync(user, request).await.expect("synced");
            synced.conversations
        });
    }
    for synced in crowd.join_all().await {
        let seqs = synced[0].messages.iter().map(|view| view.message.seq);
        assert_eq!((synced[0].id, seqs.collect()), (id, vec![1, 2, 3]));
    }
    let calls = world.store.calls() - before;
    assert!(calls <= CROWD as u64 + 4, "{calls} calls");
}

#[tokio::test]
async fn the_state_of_a_message_follows_the_cursors_of_the_others() {
    let world = World::new(3);
    let [me, you, them] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you, them]).await;
    world.say_many(me, id, 3).await;
    let mark = |user, kind, seq| world.chat.mark(user, id, kind, seq);
    mark(me, CursorKind::Read, 3).await.expect("marked");
    mark(you, CursorKind::Delivered, 2).await.expect("marked");
    mark(them, CursorKind::Read, 1).await.expect("marked");
    let page = world.page(me, id, PageFrom::Newest, 50).await;
    let states: Vec<_> = page
        .messages
        .iter()
        .map(|view| (view.status, view.read_by.clone()))
        .collect();
    let expected = [
        (MessageStatus::Read, vec![them]),
        (MessageStatus::Delivered, vec![]),
        (MessageStatus::Sent, vec![]),
    ];
    assert_eq!(states, expected);
    let view = world.chat.conversation(you, id).await.expect("mine");
    let last = view.last_message.expect("a message");
    assert_eq!((last.message.seq, last.status), (3, MessageStatus::Sent));
    assert_eq!((view.unread, view.read_seq, view.delivered_seq), (3, 0, 2));
}

#[tokio::test]
async fn the_list_shows_the_newest_first_page_by_page() {
    let world = World::new(3);
    let [me, you, stranger] = world.people[..] else {
        unreachable!()
    };
    let mut ids = Vec::new();
    for n in 0..5 {
        let id = world.group(&[me, you]).await;
        world.say_many(me, id, n).await;
        ids.push(id);
    }
    world.group(&[you, stranger]).await;
    let (mut after, mut seen) = (None, Vec::new());
    for _ in 0..3 {
        let page = world
            .chat
            .conversations(me, after, Some(2))
            .await
            .expect("a page");
        seen.extend(page.conversations);
        after = page.next;
    }
    assert_eq!(after, None);
    let mut found: Vec<_> = seen.iter().map(|view| view.conversation.id).collect();
    found.sort_unstable();
    ids.sort_unstable();
    assert_eq!(found, ids);
    let times: Vec<_> = seen
        .iter()
        .map(|view| view.conversation.updated_at)
        .collect();
    assert!(times.is_sorted_by(|a, b| a >= b));
    for view in &seen {
        let last = view
            .last_message
            .as_ref()
            .map_or(0, |last| last.message.seq);
        assert_eq!(last, view.conversation.last_seq);
    }
    for limit in [0, 201] {
        assert_eq!(
            field(world.chat.conversations(me, None, Some(limit)).await),
            "limit"
        );
    }
    assert_eq!(
        code(world.chat.conversation(stranger, ids[0]).await),
        ErrorCode::NotFound
    );
}

#[tokio::test]
async fn a_gateway_gets_what_follows_and_where_logs_end() {
    let world = World::new(3);
    let [me, you, stranger] = world.people[..] else {
        unreachable!()
    };
    let id = world.group(&[me, you]).await;
    world.say_many(me, id, 4).await;
    let nowhere = ConversationId::generate();
    let filled = world
        .chat
        .backfill(&[(id, 1), (nowhere, 0), (id, 4)], 2)
        .await;
    let filled: Vec<Vec<Seq>> = filled
        .expect("read")
        .iter()
        .map(|fill| fill.messages.iter().map(|m| m.seq).collect())
        .collect();
    assert_eq!(filled, [vec![2, 3], vec![], vec![]]);
    assert_eq!(world.chat.heads(&[id, nowhere]).await, Ok(vec![(id, 4)]));
    let places = world.chat.memberships(you).await.expect("read");
    assert_eq!((places.len(), places[0].last_seq), (1, 4));
    assert_eq!(world.chat.contacts(&[me], 10).await, Ok(vec![vec![you]]));
    assert_eq!(world.chat.contacts(&[stranger], 10).await, Ok(vec![vec![]]));
    let seen = world
        .chat
        .inspect(id)
        .await
        .expect("read")
        .expect("it exists");
    assert_eq!(seen.last_seq, 4);
    assert_eq!(world.chat.inspect(nowhere).await, Ok(None));
}
