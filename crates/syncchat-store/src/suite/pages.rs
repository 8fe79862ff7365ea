//! Pages of several logs at once.

use syncchat_core::model::{ConversationId, Message};
use syncchat_core::ports::store::LogRange;

use super::{World, people};

/// Pages of several logs at once, at their ends and beyond them.
pub async fn pages_are_spans_of_each_log(world: World) {
    let [anna, ben] = people();
    let ids = [world.group(&[anna, ben]).await, world.group(&[anna]).await];
    for nth in 1..=7 {
        world.say(ids[0], anna, &nth.to_string()).await;
    }
    world.say(ids[1], anna, "1").await;
    let nowhere = ConversationId::generate();
    let whole = [
        world.log(ids[0], LogRange::After(0)).await,
        world.log(ids[1], LogRange::After(0)).await,
    ];
    let limit = 3;
    let seqs = [0, 1, 2, 4, 5, 7, 8, 9, 20, u64::MAX];
    let mut ranges = Vec::new();
    for id in [ids[0], nowhere, ids[1]] {
        ranges.extend(seqs.map(|seq| (id, LogRange::Before(seq))));
        ranges.extend(seqs.map(|seq| (id, LogRange::After(seq))));
    }
    let pages = world.store.log(&ranges, limit).await.unwrap();
    assert_eq!(pages.len(), ranges.len());
    for ((id, range), page) in ranges.into_iter().zip(pages) {
        let log = ids
            .iter()
            .position(|other| *other == id)
            .map_or(&[][..], |nth| &whole[nth]);
        let expected: Vec<Message> = match range {
            LogRange::Before(seq) => {
                let before: Vec<_> = log.iter().filter(|message| message.seq < seq).collect();
                before[before.len().saturating_sub(limit)..]
                    .iter()
                    .copied()
                    .cloned()
                    .collect()
            }
            LogRange::After(seq) => log
                .iter()
                .filter(|m| m.seq > seq)
                .take(limit)
                .cloned()
                .collect(),
            LogRange::Since(_) => Vec::new(),
        };
        assert_eq!(page, expected, "{range:?}");
    }
}
