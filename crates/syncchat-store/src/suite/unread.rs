//! Unread figures, against what counting the whole log gives.

use std::collections::HashMap;

use syncchat_core::command::CursorKind;
use syncchat_core::model::{
    ConversationId, Message, MessageId, MessageKind, Seq, SystemEvent, Timestamp, UserId,
};
use syncchat_core::ports::store::{Append, Appended, LogRange};

use super::{World, one, people, text};

pub async fn counts_others_after_the_cursor(world: World) {
    let [anna, ben, cleo] = people();
    let id = world.group(&[anna, ben]).await;
    let other = world.group(&[anna, ben]).await;
    world.say(other, anna, "elsewhere").await;
    let first = world.say(id, anna, "1").await;
    world.say(id, ben, "2").await;
    let added = SystemEvent::Added {
        by: anna,
        user: cleo,
    };
    world.change(id, anna, added).await;
    world.say(id, anna, "4").await;
    let ids = [id, other, ConversationId::generate()];
    let unread = async |user| world.unread(user, &ids).await;
    assert_eq!(unread(ben).await, [2, 1, 0]);
    assert_eq!(unread(anna).await, [1, 0, 0]);
    assert_eq!(unread(cleo).await, [1, 0, 0]);
    let now = Timestamp::now();
    world.store.delete_message(first.id, now).await.unwrap();
    assert_eq!(unread(ben).await, [1, 1, 0]);
    world.advance(id, ben, CursorKind::Read, 3).await.unwrap();
    assert_eq!(unread(ben).await, [1, 1, 0]);
    world.advance(id, ben, CursorKind::Read, 4).await.unwrap();
    assert_eq!(unread(ben).await, [0, 1, 0]);
    assert!(world.store.unread(&[]).await.unwrap().is_empty());
}

/// More of what does not count than is counted one by one.
pub async fn counts_however_much_does_not_count(world: World) {
    let [anna, ben] = people();
    let (busy, quiet) = (
        world.group(&[anna, ben]).await,
        world.group(&[anna, ben]).await,
    );
    let head = world.conversation(busy).await;
    let messages: Vec<Message> = (1..=150)
        .map(|nth| text(&head, nth, if nth % 3 == 0 { anna } else { ben }, "x"))
        .collect();
    let deleted: Vec<MessageId> = messages
        .iter()
        .map(|message| message.id)
        .take(120)
        .collect();
    let append = Append {
        messages: messages.into_iter().map(Into::into).collect(),
        ..one(text(&head, 1, ben, ""))
    };
    let appended = world.store.append(vec![append]).await.unwrap();
    assert_eq!(appended, [Appended::Committed]);
    world.say(quiet, anna, "1").await;
    world.say(quiet, ben, "2").await;
    let ids = [busy, quiet];
    assert_eq!(world.unread(ben, &ids).await, [50, 1]);
    assert_eq!(world.unread(anna, &ids).await, [100, 1]);
    for id in deleted {
        let now = Timestamp::now();
        world.store.delete_message(id, now).await.unwrap();
    }
    assert_eq!(world.unread(ben, &ids).await, [10, 1]);
    assert_eq!(world.unread(anna, &ids).await, [20, 1]);
    world
        .advance(busy, ben, CursorKind::Read, 30)
        .await
        .unwrap();
    assert_eq!(world.unread(ben, &ids).await, [10, 1]);
}

/// What comes after a place was read is in the next one.
pub async fn counts_up_to_where_the_place_ends(world: World) {
    let [anna, ben] = people();
    let id = world.group(&[anna, ben]).await;
    world.say(id, anna, "1").await;
    world.say(id, ben, "2").await;
    let places = world.store.memberships(ben, &[id]).await.unwrap();
    world.say(id, anna, "3").await;
    world.say(id, ben, "4").await;
    let last = world.say(id, anna, "5").await;
    let now = Timestamp::now();
    world.store.delete_message(last.id, now).await.unwrap();
    assert_eq!(world.store.unread(&places).await.unwrap(), [1]);
    assert_eq!(world.unread(ben, &[id]).await, [2]);
    world.change(id, ben, SystemEvent::Left { user: ben }).await;
    assert_eq!(world.unread(ben, &[id]).await, [0], "who has left");
}

/// Random talk, comings and goings, deletions and readings, each checked against the log.
pub async fn is_what_counting_gives(world: World) {
    for seed in 1..=3 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let everybody: [UserId; 4] = people();
        let mut members: Vec<UserId> = everybody[..3].to_vec();
        let id = world.group(&members).await;
        // What each has read, as far as this test did it.
        let mut read: HashMap<UserId, Seq> = HashMap::new();
        for step in 0..60 {
            let last_seq = world.conversation(id).await.last_seq;
            let member = members[random.below(members.len() as u64) as usize];
            match random.below(10) {
                0..5 => drop(world.say(id, member, &format!("{seed} {step}")).await),
                5 if last_seq > 0 => delete_one(&world, id, 1 + random.below(last_seq)).await,
                6 | 7 => {
                    let seq = random.below(last_seq + 1);
                    world.advance(id, member, CursorKind::Read, seq).await;
                    let known = read.entry(member).or_default();
                    *known = (*known).max(seq);
                }
                8 if members.len() > 1 => {
                    world
                        .change(id, member, SystemEvent::Left { user: member })
                        .await;
                    members.retain(|user| *user != member);
                }
                _ => {
                    let absent = everybody.iter().find(|user| !members.contains(user));
                    let Some(&user) = absent else { continue };
                    world
                        .change(id, member, SystemEvent::Added { by: member, user })
                        .await;
                    members.push(user);
                    read.insert(user, last_seq + 1);
                }
            }
            let log = world.log(id, LogRange::After(0)).await;
            for user in everybody {
                let cursor = read.get(&user).copied().unwrap_or(0);
                let expected = log.iter().filter(|message| {
                    members.contains(&user)
                        && message.seq > cursor
                        && message.sender != user
                        && !message.deleted
                        && message.kind != MessageKind::System
                });
                let unread = world.unread(user, &[id]).await;
                assert_eq!(
                    unread,
                    [expected.count() as u64],
                    "seed {seed}, step {step}"
                );
            }
        }
    }
}

async fn delete_one(world: &World, id: ConversationId, seq: Seq) {
    let pages = world.store.log(&[(id, LogRange::After(seq - 1))], 1).await;
    let message = &pages.unwrap()[0][0];
    // Nobody deletes a system message.
    if message.kind != MessageKind::System {
        let now = Timestamp::now();
        world.store.delete_message(message.id, now).await.unwrap();
    }
}

/// Numbers that a seed repeats (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
