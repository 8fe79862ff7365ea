//! Refresh tokens: good once, and a whole family lost when one is used twice.

use std::time::Duration;

use syncchat_core::model::{Timestamp, UserId};
use syncchat_core::ports::store::{RefreshToken, Rotation};

use super::World;

const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);
const LATER: Duration = Duration::from_secs(3_600);

/// Twelve bytes that occur once, in a field of `N`.
fn bytes<const N: usize>() -> [u8; N] {
    let id = UserId::generate().bytes();
    std::array::from_fn(|place| id.get(place).copied().unwrap_or(0))
}

fn token(user: UserId, family: [u8; 16]) -> RefreshToken {
    RefreshToken {
        hash: bytes(),
        family,
        user,
        created_at: NOW,
        expires_at: NOW.plus(LATER),
    }
}

impl World {
    async fn log_in(&self) -> RefreshToken {
        let token = token(UserId::generate(), bytes());
        self.store.add_refresh_token(&token).await.unwrap();
        token
    }

    async fn rotate(&self, hash: [u8; 32], next: &RefreshToken) -> Rotation {
        self.store
            .rotate_refresh_token(hash, next, NOW)
            .await
            .unwrap()
    }

    async fn active(&self, family: [u8; 16]) -> bool {
        self.store.refresh_family_active(family).await.unwrap()
    }
}

pub async fn a_token_is_good_once(world: World) {
    let first = world.log_in().await;
    let (user, family) = (first.user, first.family);
    assert!(world.active(family).await);
    assert!(!world.active(bytes()).await);
    // What the new one says of itself is not asked.
    let second = token(UserId::generate(), bytes());
    let third = token(UserId::generate(), bytes());
    let rotated = Rotation::Rotated { user, family };
    assert_eq!(world.rotate(first.hash, &second).await, rotated);
    assert_eq!(world.rotate(second.hash, &third).await, rotated);
    assert!(!world.active(second.family).await);
    assert!(world.active(family).await);
    let unknown = world.rotate(bytes(), &token(user, family)).await;
    assert_eq!(unknown, Rotation::Unknown);
}

pub async fn a_token_used_twice_ends_its_family(world: World) {
    let first = world.log_in().await;
    let (user, family) = (first.user, first.family);
    let other = world.log_in().await;
    let second = token(user, family);
    world.rotate(first.hash, &second).await;
    let again = world.rotate(first.hash, &token(user, family)).await;
    assert_eq!(again, Rotation::Reused { user, family });
    assert!(!world.active(family).await);
    // Neither the good one nor the used one is good any more.
    for hash in [second.hash, first.hash] {
        let rotation = world.rotate(hash, &token(user, family)).await;
        assert_eq!(rotation, Rotation::Unknown);
    }
    assert!(world.active(other.family).await);
}

pub async fn two_at_once_are_two(world: World) {
    for _ in 0..4 {
        let first = world.log_in().await;
        let (user, family) = (first.user, first.family);
        let racers: Vec<_> = (0..6)
            .map(|_| {
                let world = world.clone();
                let next = token(user, family);
                tokio::spawn(async move { world.rotate(first.hash, &next).await })
            })
            .collect();
        let (mut rotated, mut reused) = (0, 0);
        for racer in racers {
            match racer.await.unwrap() {
                Rotation::Rotated { .. } => rotated += 1,
                Rotation::Reused { .. } => reused += 1,
                Rotation::Unknown => {}
            }
        }
        assert_eq!((rotated, reused), (1, 1));
        assert!(!world.active(family).await);
    }
}

pub async fn revoked_and_expired_tokens_are_unknown(world: World) {
    let first = world.log_in().await;
    let (user, family) = (first.user, first.family);
    let second = token(user, family);
    world.rotate(first.hash, &second).await;
    let store = &world.store;
    let revoked = store.revoke_refresh_token(second.hash).await.unwrap();
    assert_eq!(revoked, Some((user, family)));
    assert!(!world.active(family).await);
    let rotation = world.rotate(second.hash, &token(user, family)).await;
    assert_eq!(rotation, Rotation::Unknown);
    assert_eq!(store.revoke_refresh_token(bytes()).await.unwrap(), None);

    let old = world.log_in().await;
    let end = old.expires_at;
    let next = token(user, family);
    let rotation = store.rotate_refresh_token(old.hash, &next, end);
    assert_eq!(rotation.await.unwrap(), Rotation::Unknown);
    let before = Timestamp::from_millis(end.millis() - 1);
    let rotation = store.rotate_refresh_token(old.hash, &next, before);
    assert!(matches!(rotation.await.unwrap(), Rotation::Rotated { .. }));
}

pub async fn what_expired_is_deleted(world: World) {
    let store = &world.store;
    let mut old = Vec::new();
    for _ in 0..5 {
        old.push(world.log_in().await);
    }
    let mut fresh = token(UserId::generate(), bytes());
    fresh.expires_at = NOW.plus(3 * LATER);
    store.add_refresh_token(&fresh).await.unwrap();
    // A family lives as long as its youngest token.
    let mut young = token(old[0].user, old[0].family);
    young.expires_at = NOW.plus(3 * LATER);
    world.rotate(old[0].hash, &young).await;

    let then = NOW.plus(2 * LATER);
    assert_eq!(store.delete_expired_tokens(NOW, 10).await.unwrap(), 0);
    assert_eq!(store.delete_expired_tokens(then, 0).await.unwrap(), 0);
    assert_eq!(store.delete_expired_tokens(then, 3).await.unwrap(), 3);
    assert_eq!(store.delete_expired_tokens(then, 3).await.unwrap(), 2);
    assert_eq!(store.delete_expired_tokens(then, 3).await.unwrap(), 0);
    assert!(world.active(fresh.family).await);
    assert!(world.active(old[0].family).await);
    assert!(!world.active(old[1].family).await);
    let next = token(young.user, young.family);
    let rotation = store.rotate_refresh_token(young.hash, &next, then);
    assert!(matches!(rotation.await.unwrap(), Rotation::Rotated { .. }));
}
