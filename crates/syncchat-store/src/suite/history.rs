//! Which history a store holds.

use futures_util::StreamExt;
use syncchat_core::limits::EPOCHS_KEPT_MAX;
use syncchat_core::model::{EpochId, Lineage, Message, SystemEvent};
use syncchat_core::ports::store::LogRange;

use super::{World, people};

pub async fn epochs_are_kept_newest_first(world: World) {
    let store = &world.store;
    assert_eq!(store.lineage().await.unwrap(), Lineage::default());
    let [one, two, three] = std::array::from_fn(|_| EpochId::generate());
    assert_eq!(store.add_epoch(one).await.unwrap(), Lineage::new(vec![one]));
    let both = Lineage::new(vec![two, one]);
    assert_eq!(store.add_epoch(two).await.unwrap(), both);
    assert_eq!(store.lineage().await.unwrap(), both);
    store.replace_lineage(three).await.unwrap();
    assert_eq!(store.lineage().await.unwrap(), Lineage::new(vec![three]));
    let after = store.add_epoch(one).await.unwrap();
    assert_eq!(after, Lineage::new(vec![one, three]));
}

pub async fn nodes_that_begin_at_once_all_have_an_epoch(world: World) {
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = std::sync::Arc::clone(&world.store);
        starts.spawn(async move {
            let epoch = EpochId::generate();
            let lineage = store.add_epoch(epoch).await.unwrap();
            assert!(lineage.contains(epoch));
            epoch
        });
    }
    let started = starts.join_all().await;
    let lineage = world.store.lineage().await.unwrap();
    assert_eq!(lineage.len(), started.len());
    assert!(started.iter().all(|epoch| lineage.contains(*epoch)));
}

pub async fn the_oldest_epochs_are_forgotten(world: World) {
    let world = &world;
    let first = EpochId::generate();
    world.store.add_epoch(first).await.unwrap();
    let others = futures_util::stream::iter(1..EPOCHS_KEPT_MAX).map(|_| {
        let epoch = EpochId::generate();
        async move { world.store.add_epoch(epoch).await.unwrap() }
    });
    others.buffer_unordered(32).for_each(async |_| {}).await;
    assert!(world.store.lineage().await.unwrap().contains(first));
    let last = EpochId::generate();
    let lineage = world.store.add_epoch(last).await.unwrap();
    assert_eq!(lineage.len(), EPOCHS_KEPT_MAX);
    assert!(!lineage.contains(first) && lineage.current() == last);
}

/// The rule of [`syncchat_core::model::Visibility`] holds because a membership is read with a head
/// that its spans know everything up to: whatever is written after it, the page shows none of it.
pub async fn a_membership_says_what_may_be_shown_whenever_the_log_is_read(world: World) {
    let [ann, eve] = people();
    let id = world.group(&[ann, eve]).await;
    world.say(id, ann, "for all").await;
    let by_list = world.places(eve).await.remove(0);
    let by_id = world.membership(eve, id).await.unwrap();
    let removed = SystemEvent::Removed { by: ann, user: eve };
    world.change(id, ann, removed).await;
    world.say(id, ann, "secret").await;
    for place in [by_list, by_id] {
        let visible = place.visible().unwrap();
        let log = world.log(id, LogRange::After(0)).await;
        let shown: Vec<Message> = log.into_iter().filter(|m| visible.shows(m.seq)).collect();
        let shown: Vec<&str> = shown.iter().map(|m| m.content.as_str()).collect();
        assert_eq!(shown, ["for all"]);
    }
    assert!(world.membership(eve, id).await.unwrap().visible().is_none());
    let added = SystemEvent::Added { by: ann, user: eve };
    world.change(id, ann, added).await;
    let place = world.membership(eve, id).await.unwrap();
    let visible: Vec<_> = place.visible().unwrap().after(0).collect();
    assert_eq!(visible, [(1, 2), (4, 4)]);
}

/// One is removed and added again without end, and each time something is said that she may not see;
/// others read her memberships and then the log at any moment in between.
pub async fn no_race_shows_what_was_said_after_a_removal(world: World) {
    const ROUNDS: usize = 25;
    let [ann, eve] = people();
    let id = world.group(&[ann, eve]).await;
    let writer = {
        let world = world.clone();
        tokio::spawn(async move {
            for round in 0..ROUNDS {
                world.say(id, ann, &format!("open {round}")).await;
                let removed = SystemEvent::Removed { by: ann, user: eve };
                world.change(id, ann, removed).await;
                world.say(id, ann, &format!("secret {round}")).await;
                let added = SystemEvent::Added { by: ann, user: eve };
                world.change(id, ann, added).await;
            }
        })
    };
    let mut pages = 0;
    while !writer.is_finished() {
        let mut places = world.places(eve).await;
        places.extend(world.membership(eve, id).await);
        let log = world.log(id, LogRange::After(0)).await;
        for place in places {
            let Some(visible) = place.visible() else {
                continue;
            };
            pages += 1;
            let shown = log.iter().filter(|m| visible.shows(m.seq));
            let secret = shown.filter(|m| m.content.starts_with("secret")).count();
            assert_eq!(secret, 0, "{place:?}");
        }
    }
    writer.await.unwrap();
    assert!(pages > ROUNDS, "{pages} pages");
}
