//! Times of messages, and the clock of the store.

use std::sync::Arc;

use syncchat_core::model::{ConversationId, Message, Seq, Timestamp};
use syncchat_core::ports::store::{Append, Appended, LogRange};

use super::{World, one, people, text};

pub async fn a_time_finds_its_place(world: World) {
    let [anna] = people();
    let id = world.group(&[anna]).await;
    let since = |millis| LogRange::Since(Timestamp::from_millis(millis));
    assert_eq!(world.log(id, since(0)).await, []);
    let head = world.conversation(id).await;
    // Three messages in each millisecond.
    let messages: Vec<Message> = (0..300)
        .map(|nth| {
            let mut message = text(&head, nth + 1, anna, "x");
            message.created_at = Timestamp::from_millis(5_000 + nth as i64 / 3);
            message
        })
        .collect();
    let append = Append {
        conversation: id,
        expected_seq: 0,
        messages: messages.iter().cloned().map(Arc::new).collect(),
        changes: Vec::new(),
    };
    let appended = world.store.append(vec![append]).await.unwrap();
    assert_eq!(appended, [Appended::Committed]);
    for millis in (4_998..5_103).chain([0, i64::from(i32::MAX)]) {
        let expected = messages
            .iter()
            .filter(|message| message.created_at.millis() >= millis);
        let expected: Vec<Seq> = expected.map(|message| message.seq).take(7).collect();
        let page = world.store.log(&[(id, since(millis))], 7).await.unwrap();
        let page: Vec<Seq> = page[0].iter().map(|message| message.seq).collect();
        assert_eq!(page, expected, "since {millis}");
    }
}

pub async fn a_time_that_is_ahead_is_taken_back(world: World) {
    let [anna] = people();
    let (id, other) = (world.group(&[anna]).await, world.group(&[anna]).await);
    let now = Timestamp::now();
    let day = std::time::Duration::from_secs(86_400);
    let dated = |head: &syncchat_core::model::Conversation, at| Message {
        created_at: at,
        updated_at: at,
        ..text(head, 1, anna, "x")
    };
    for at in [now.before(day), now.plus(day)] {
        let appended = world.append(id, |head| one(dated(head, at))).await;
        assert_eq!(appended, Appended::Committed);
    }
    // A store that nodes share refuses to go behind it; an embedded one appends as always.
    let head = world.conversation(id).await;
    let back = one(dated(&head, now));
    match world.store.append_behind(back.clone()).await.unwrap() {
        Appended::Committed => {}
        answer => {
            assert_eq!(answer, Appended::Moved);
            assert_eq!(world.conversation(id).await, head, "nothing was written");
            let appended = world.store.append(vec![back]).await.unwrap();
            assert_eq!(appended, [Appended::Committed]);
        }
    }
    assert_eq!(world.conversation(id).await.updated_at, now);
    let head = world.conversation(id).await;
    let next = dated(&head, now.plus(std::time::Duration::from_secs(1)));
    let appended = world.store.append_behind(one(next)).await.unwrap();
    assert_eq!(appended, Appended::Committed);

    // Nothing that is younger than a time is left out.
    for (since, at_least) in [(now.before(2 * day), 4), (now.before(day / 2), 3), (now, 2)] {
        let page = world.log(id, LogRange::Since(since)).await;
        assert!(page.len() >= at_least, "{} since {since:?}", page.len());
        assert_eq!(page.last().map(|message| message.seq), Some(4));
    }
    // The list is in order again.
    let newest = now.plus(std::time::Duration::from_secs(2));
    let appended = world.append(other, |head| one(dated(head, newest))).await;
    assert_eq!(appended, Appended::Committed);
    let list = world.store.conversations_of(anna, None, 10).await.unwrap();
    let list: Vec<ConversationId> = list.iter().map(|conversation| conversation.id).collect();
    assert_eq!(list, [other, id]);
}

pub async fn the_time_of_the_store_is_told(world: World) {
    let told = world.store.time().await.unwrap();
    // It runs on this machine.
    let here = Timestamp::now();
    let apart = here.since(told).max(told.since(here));
    assert!(apart < std::time::Duration::from_secs(60), "{apart:?}");
}
