//! Members: what they may see, and how far they have come.

use std::collections::BTreeSet;
use std::time::Duration;

use syncchat_core::command::CursorKind;
use syncchat_core::model::{
    ConversationId, Membership, Seq, SeqSpans, SystemEvent, Timestamp, UserId,
};
use syncchat_core::ports::store::{Addition, Appended, CursorAdvance, Cursors, LogRange};

use super::{World, one, people, system, text};

impl World {
    /// This person's place, if they ever had one.
    pub async fn membership(&self, user: UserId, id: ConversationId) -> Option<Membership> {
        let mut found = self.store.memberships(user, &[id]).await.unwrap();
        assert!(found.len() <= 1);
        found.pop()
    }

    /// Raises one cursor.
    pub async fn advance(
        &self,
        id: ConversationId,
        user: UserId,
        kind: CursorKind,
        seq: Seq,
    ) -> Option<(Cursors, bool)> {
        let advance = [advance(id, user, kind, seq)];
        let mut answers = self.store.advance_cursors(&advance).await.unwrap();
        assert_eq!(answers.len(), 1);
        answers.remove(0)
    }
}

pub async fn each_change_is_a_version_of_its_own(world: World) {
    let [anna, ben] = people();
    let id = world.group(&[anna]).await;
    assert_eq!(world.conversation(id).await.rev, 1);
    world.say(id, anna, "1").await;
    assert_eq!(world.conversation(id).await.rev, 1, "talk changes nothing");
    let by = anna;
    let rename = |title: &str| SystemEvent::Renamed {
        by,
        title: title.into(),
    };
    world
        .change(id, by, SystemEvent::Added { by, user: ben })
        .await;
    assert_eq!(world.conversation(id).await.rev, 3);
    world.change(id, by, rename("new")).await;
    assert_eq!(world.conversation(id).await.rev, 4);
    let stale = world.conversation(id).await;
    world.say(id, anna, "4").await;
    // Behind what was said meanwhile, where the store does that.
    let behind = world
        .store
        .append_behind(system(&stale, by, rename("newer")));
    if behind.await.unwrap() == Appended::Moved {
        world.change(id, by, rename("newer")).await;
    }
    let now = world.conversation(id).await;
    assert_eq!((now.last_seq, now.rev), (5, 6));
    world.change(id, by, SystemEvent::Left { user: ben }).await;
    assert_eq!(world.conversation(id).await.rev, 7);
}

/// Whoever became a member lately is found, by a new conversation or by a message.
pub async fn additions_of_late_are_found(world: World) {
    let [ann, bob, eve] = people();
    let before = Timestamp::now();
    let id = world.group(&[ann, bob]).await;
    world.say(id, ann, "hello").await;
    let added = SystemEvent::Added { by: ann, user: eve };
    world.change(id, ann, added).await;
    let left = SystemEvent::Left { user: bob };
    world.change(id, bob, left).await;
    let found = |since, limit| world.store.additions_since(since, limit);
    let additions = found(before, 100).await.unwrap();
    let has = |user, seq| {
        additions.contains(&Addition {
            conversation: id,
            user,
            seq,
        })
    };
    assert!(has(ann, 0) && has(eve, 2), "{additions:?}");
    let stranger = |a: &&Addition| a.conversation == id && ![ann, bob, eve].contains(&a.user);
    assert_eq!(additions.iter().find(stranger), None);
    let later = before.plus(Duration::from_secs(60));
    assert!(found(later, 100).await.unwrap().is_empty());
}

fn advance(
    conversation: ConversationId,
    user: UserId,
    kind: CursorKind,
    seq: Seq,
) -> CursorAdvance {
    CursorAdvance {
        conversation,
        user,
        kind,
        seq,
    }
}

fn cursors(user: UserId, read_seq: Seq, delivered_seq: Seq) -> Cursors {
    Cursors {
        user,
        read_seq,
        delivered_seq,
    }
}

pub async fn changes_come_with_their_message(world: World) {
    let [anna, ben, cleo] = people();
    let id = world.group(&[anna, ben]).await;
    world.say(id, anna, "before").await;
    let add = SystemEvent::Added {
        by: anna,
        user: cleo,
    };
    // Whoever loses the compare-and-set changes nobody either.
    let stale = world.conversation(id).await;
    world.say(id, ben, "faster").await;
    let appended = world.store.append(vec![system(&stale, anna, add.clone())]);
    assert_eq!(appended.await.unwrap(), [Appended::Moved]);
    assert_eq!(world.membership(cleo, id).await, None);
    assert_eq!(world.conversation(id).await.participants, [anna, ben]);

    world.change(id, anna, add).await;
    let mut everybody = vec![anna, ben, cleo];
    everybody.sort();
    let conversation = world.conversation(id).await;
    assert_eq!(conversation.participants, everybody);
    assert_eq!((conversation.last_seq, conversation.last_ordinal), (3, 2));
    let expected = Membership {
        conversation: id,
        user: cleo,
        spans: SeqSpans::all(),
        read_seq: 3,
        read_ordinal: 2,
        delivered_seq: 3,
        last_seq: 3,
        last_ordinal: 2,
        updated_at: conversation.updated_at,
        change_seq: 1,
    };
    assert_eq!(world.membership(cleo, id).await, Some(expected.clone()));
    assert_eq!(world.places(cleo).await, [expected]);
    assert_eq!(world.unread(cleo, &[id]).await, [0]);

    world
        .change(id, cleo, SystemEvent::Left { user: cleo })
        .await;
    assert_eq!(world.conversation(id).await.participants, [anna, ben]);
    let left = world.membership(cleo, id).await.unwrap();
    assert_eq!(left.spans, SeqSpans::from_parts(vec![(1, Some(4))]));
    assert_eq!(world.places(cleo).await, []);
    let list = world.store.conversations_of(cleo, None, 10).await.unwrap();
    assert_eq!(list, []);
    assert_eq!(world.places(anna).await.len(), 1);
}

/// Whoever else is asked for at the same time, each gets their own places and no others'.
pub async fn places_of_many_are_their_own(world: World) {
    let [anna, ben, cleo, stranger] = people();
    let (first, second) = (
        world.group(&[anna, ben]).await,
        world.group(&[anna, cleo]).await,
    );
    world.say(second, cleo, "hello").await;
    let left = SystemEvent::Left { user: ben };
    world.change(first, ben, left).await;
    let asked = [cleo, stranger, ben, anna];
    let found = world.store.memberships_of(&asked).await.unwrap();
    let places = |places: &Vec<Membership>| -> BTreeSet<(UserId, ConversationId, Seq)> {
        let place = |p: &Membership| (p.user, p.conversation, p.last_seq);
        places.iter().map(place).collect()
    };
    let found: Vec<_> = found.iter().map(places).collect();
    let expected = [
        BTreeSet::from([(cleo, second, 1)]),
        BTreeSet::new(),
        BTreeSet::new(),
        BTreeSet::from([(anna, first, 1), (anna, second, 1)]),
    ];
    assert_eq!(found, expected);
    assert!(world.store.memberships_of(&[]).await.unwrap().is_empty());
}

pub async fn who_comes_back_missed_what_was_said(world: World) {
    let [anna, ben] = people();
    let id = world.group(&[anna, ben]).await;
    let (removed, added) = (
        SystemEvent::Removed {
            by: anna,
            user: ben,
        },
        SystemEvent::Added {
            by: anna,
            user: ben,
        },
    );
    world.say(id, anna, "1").await;
    world.advance(id, ben, CursorKind::Read, 1).await.unwrap();
    world.change(id, anna, removed).await;
    world.say(id, anna, "behind your back").await;
    world.change(id, anna, added).await;
    world.say(id, anna, "welcome").await;
    let back = world.membership(ben, id).await.unwrap();
    assert_eq!(
        back.spans,
        SeqSpans::from_parts(vec![(1, Some(2)), (4, None)])
    );
    assert_eq!((back.read_seq, back.delivered_seq), (4, 4));
    assert_eq!(world.unread(ben, &[id]).await, [1]);
    assert_eq!(world.conversation(id).await.participants.len(), 2);
}

/// A message and the sender's removal, each made for the same head: only one can be written.
pub async fn a_removal_beats_a_message(world: World) {
    let [anna, ben] = people();
    for _ in 0..5 {
        let id = world.group(&[anna, ben]).await;
        let head = world.conversation(id).await;
        let removed = SystemEvent::Removed {
            by: anna,
            user: ben,
        };
        let appends = [
            system(&head, anna, removed),
            one(text(&head, 1, ben, "still here")),
        ];
        let racers = appends.map(|append| {
            let world = world.clone();
            tokio::spawn(async move { world.store.append(vec![append]).await.unwrap() })
        });
        let mut committed = 0;
        for racer in racers {
            committed += usize::from(racer.await.unwrap() == [Appended::Committed]);
        }
        assert_eq!(committed, 1);
        let log = world.log(id, LogRange::After(0)).await;
        assert_eq!(log.len(), 1);
        let gone = log[0].event.is_some();
        let member = world.conversation(id).await.has_member(ben);
        assert_eq!(member, !gone);
        assert_eq!(
            world.membership(ben, id).await.unwrap().spans.is_open(),
            !gone
        );
    }
}

pub async fn cursors_never_fall(world: World) {
    let [anna, ben] = people();
    let id = world.group(&[anna, ben]).await;
    for nth in 0..10 {
        world.say(id, anna, &nth.to_string()).await;
    }
    let (read, delivered) = (CursorKind::Read, CursorKind::Delivered);
    let steps = [
        (delivered, 3, (0, 3), true),
        (delivered, 2, (0, 3), false),
        (delivered, 3, (0, 3), false),
        (read, 2, (2, 3), true),
        (read, 5, (5, 5), true),
        (read, 4, (5, 5), false),
        (delivered, 5, (5, 5), false),
        (delivered, 7, (5, 7), true),
        (read, 0, (5, 7), false),
        // Beyond the end is the end.
        (read, 1_000, (10, 10), true),
        (delivered, Seq::MAX, (10, 10), false),
    ];
    for (kind, seq, (read_seq, delivered_seq), rose) in steps {
        let expected = Some((cursors(ben, read_seq, delivered_seq), rose));
        let answer = world.advance(id, ben, kind, seq).await;
        assert_eq!(answer, expected, "{kind:?} {seq}");
        let stored = world.membership(ben, id).await.unwrap();
        assert_eq!(
            (stored.read_seq, stored.delivered_seq),
            (read_seq, delivered_seq)
        );
    }
    let other = world.membership(anna, id).await.unwrap();
    assert_eq!((other.read_seq, other.delivered_seq), (0, 0));

    // Several in one call, the same member among them twice.
    let answers = world
        .store
        .advance_cursors(&[
            advance(id, anna, delivered, 4),
            advance(id, anna, read, 6),
            advance(id, anna, delivered, 5),
            advance(id, ben, read, 10),
        ])
        .await
        .unwrap();
    let expected = [
        Some((cursors(anna, 0, 4), true)),
        Some((cursors(anna, 6, 6), true)),
        Some((cursors(anna, 6, 6), false)),
        Some((cursors(ben, 10, 10), false)),
    ];
    assert_eq!(answers, expected);
    let stored = world.membership(anna, id).await.unwrap();
    assert_eq!((stored.read_seq, stored.delivered_seq), (6, 6));
    assert_eq!(world.unread(anna, &[id]).await, [0]);
}

pub async fn cursors_race_upwards(world: World) {
    let [anna, ben] = people();
    let id = world.group(&[anna, ben]).await;
    for nth in 0..20 {
        world.say(id, anna, &nth.to_string()).await;
    }
    let racers: Vec<_> = (1..=20)
        .map(|seq| {
            let world = world.clone();
            let kind = match seq % 2 {
                0 => CursorKind::Read,
                _ => CursorKind::Delivered,
            };
            tokio::spawn(async move {
                let (cursors, _) = world.advance(id, ben, kind, seq).await.unwrap();
                assert!(cursors.delivered_seq >= seq);
                assert!(kind == CursorKind::Delivered || cursors.read_seq >= seq);
            })
        })
        .collect();
    for racer in racers {
        racer.await.unwrap();
    }
    let stored = world.membership(ben, id).await.unwrap();
    assert_eq!((stored.read_seq, stored.delivered_seq), (20, 20));
    assert_eq!(world.unread(ben, &[id]).await, [0]);
}

pub async fn cursors_of_others_do_not_exist(world: World) {
    let [anna, ben, stranger] = people();
    let id = world.group(&[anna, ben]).await;
    world.say(id, anna, "1").await;
    let nobody = world.advance(id, stranger, CursorKind::Read, 1).await;
    assert_eq!(nobody, None);
    let nowhere = ConversationId::generate();
    let nobody = world.advance(nowhere, anna, CursorKind::Read, 1).await;
    assert_eq!(nobody, None);
    world.change(id, ben, SystemEvent::Left { user: ben }).await;
    assert_eq!(world.advance(id, ben, CursorKind::Read, 1).await, None);
    assert_eq!(world.membership(stranger, id).await, None);
    let ids = [nowhere, id];
    assert_eq!(world.unread(stranger, &ids).await, [0, 0]);
    assert_eq!(world.unread(ben, &ids).await, [0, 0]);
    assert_eq!(world.places(stranger).await, []);
    assert_eq!(world.store.advance_cursors(&[]).await.unwrap(), []);
}

pub async fn the_furthest_come_first(world: World) {
    let everybody: [UserId; 5] = people();
    let [anna, ben, cleo, dora, _] = everybody;
    let id = world.group(&everybody).await;
    for nth in 0..9 {
        world.say(id, anna, &nth.to_string()).await;
    }
    let reads = [(ben, 4), (cleo, 9), (dora, 6)];
    for (user, seq) in reads {
        world
            .advance(id, user, CursorKind::Read, seq)
            .await
            .unwrap();
    }
    world
        .advance(id, ben, CursorKind::Delivered, 8)
        .await
        .unwrap();
    let store = &world.store;
    let readers = async |seq, limit| {
        let found = store.readers(id, seq, limit).await.unwrap();
        found
            .into_iter()
            .map(|found| found.user)
            .collect::<Vec<_>>()
    };
    assert_eq!(readers(5, 10).await, [cleo, dora]);
    assert_eq!(readers(4, 10).await, [cleo, dora, ben]);
    assert_eq!(readers(1, 2).await, [cleo, dora]);
    assert_eq!(readers(10, 10).await, []);
    let furthest = store.furthest_delivered(id).await.unwrap();
    assert_eq!(furthest, [cursors(cleo, 9, 9), cursors(ben, 4, 8)]);

    let quiet = world.group(&[anna, ben]).await;
    let of = [
        (quiet, 1),
        (id, 6),
        (ConversationId::generate(), 1),
        (id, 1),
    ];
    let audiences = store.audiences(&of, 2).await.unwrap();
    assert_eq!(audiences.len(), 4);
    for ((conversation, seq), audience) in of.into_iter().zip(audiences) {
        let readers = store.readers(conversation, seq, 2).await.unwrap();
        assert_eq!(audience.readers, readers);
        let mut furthest = store.furthest_delivered(conversation).await.unwrap();
        furthest.retain(|cursors| cursors.delivered_seq >= seq);
        let mut delivered = audience.delivered;
        delivered.retain(|cursors| cursors.delivered_seq >= seq);
        furthest.sort_by_key(|cursors| cursors.user);
        delivered.sort_by_key(|cursors| cursors.user);
        assert_eq!(delivered, furthest);
    }
}

/// More members who got a message than are looked at one by one.
pub async fn the_furthest_of_a_crowd_come_first(world: World) {
    let crowd: [UserId; 70] = people();
    let [anna, ben, ..] = crowd;
    let (big, small) = (world.group(&crowd).await, world.group(&[anna, ben]).await);
    for id in [big, small] {
        for nth in 0..4 {
            world.say(id, anna, &nth.to_string()).await;
        }
    }
    let advances: Vec<CursorAdvance> = crowd
        .iter()
        .enumerate()
        .map(|(nth, user)| CursorAdvance {
            conversation: big,
            user: *user,
            kind: [CursorKind::Delivered, CursorKind::Read][nth % 2],
            seq: 1 + nth as u64 % 3,
        })
        .collect();
    world.store.advance_cursors(&advances).await.unwrap();
    world.advance(big, ben, CursorKind::Read, 4).await.unwrap();
    world
        .advance(small, ben, CursorKind::Delivered, 2)
        .await
        .unwrap();
    for of in [
        [(big, 1), (small, 1)],
        [(small, 2), (big, 4)],
        [(big, 2), (big, 3)],
    ] {
        let audiences = world.store.audiences(&of, 20).await.unwrap();
        for ((conversation, seq), audience) in of.into_iter().zip(audiences) {
            let far = |list: &[Cursors]| -> Vec<u64> { list.iter().map(|c| c.read_seq).collect() };
            let readers = world.store.readers(conversation, seq, 20).await.unwrap();
            assert_eq!(far(&audience.readers), far(&readers), "{seq}");
            let furthest = world.store.furthest_delivered(conversation).await.unwrap();
            let far = |list: &[Cursors]| -> Vec<u64> {
                let got = list.iter().map(|cursors| cursors.delivered_seq);
                got.filter(|got| *got >= seq).collect()
            };
            assert_eq!(far(&audience.delivered), far(&furthest), "{seq}");
        }
    }
}
