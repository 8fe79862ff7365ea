//! Refresh tokens: a used one names its successor again until that is used, and costs its whole family
//! afterwards.

use std::time::Duration;

use syncchat_core::model::{Timestamp, UserId};
use syncchat_core::ports::store::{RefreshToken, Rotation};

use super::World;

const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);
const LATER: Duration = Duration::from_secs(3_600);
const SALT: [u8; 16] = [1; 16];

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
        self.rotate_with(hash, next, SALT).await
    }

    async fn rotate_with(&self, hash: [u8; 32], next: &RefreshToken, salt: [u8; 16]) -> Rotation {
        self.store
            .rotate_refresh_token(hash, next, salt, NOW)
            .await
            .unwrap()
    }

    async fn revoked(&self, families: &[[u8; 16]]) -> Vec<(UserId, [u8; 16])> {
        let mut revoked = self.store.revoked_families(families).await.unwrap();
        revoked.sort();
        revoked
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

pub async fn a_used_token_is_repeated_until_its_successor_is_used(world: World) {
    let first = world.log_in().await;
    let (user, family) = (first.user, first.family);
    let second = token(user, family);
    let salts: [[u8; 16]; 3] = [bytes(), bytes(), bytes()];
    world.rotate_with(first.hash, &second, salts[0]).await;
    for _ in 0..3 {
        // What comes with a repetition is not stored, neither the salt nor the token.
        let ignored = token(user, family);
        let again = world.rotate_with(first.hash, &ignored, bytes()).await;
        let salt = salts[0];
        assert_eq!(again, Rotation::Repeated { user, family, salt });
        let unknown = world.rotate(ignored.hash, &token(user, family)).await;
        assert_eq!(unknown, Rotation::Unknown);
    }
    assert!(world.active(family).await);
    let third = token(user, family);
    let rotated = Rotation::Rotated { user, family };
    let used = world.rotate_with(second.hash, &third, salts[1]).await;
    assert_eq!(used, rotated);
    let again = world.rotate(second.hash, &token(user, family)).await;
    let salt = salts[1];
    assert_eq!(again, Rotation::Repeated { user, family, salt });
    assert_eq!(
        world
            .rotate_with(third.hash, &token(user, family), salts[2])
            .await,
        rotated
    );
    // The grandparent of the newest: its successor was used.
    let reused = world.rotate(second.hash, &token(user, family)).await;
    assert_eq!(reused, Rotation::Reused { user, family });
    assert!(!world.active(family).await);
}

pub async fn a_repetition_does_not_prolong(world: World) {
    let first = world.log_in().await;
    let (user, family) = (first.user, first.family);
    let mut second = token(user, family);
    second.expires_at = NOW.plus(2 * LATER);
    world.rotate(first.hash, &second).await;
    let mut long = token(user, family);
    long.expires_at = NOW.plus(100 * LATER);
    let again = world.rotate(first.hash, &long).await;
    assert!(matches!(again, Rotation::Repeated { .. }));
    let store = &world.store;
    let end = first.expires_at;
    let rotation = store.rotate_refresh_token(first.hash, &long, SALT, end);
    assert_eq!(rotation.await.unwrap(), Rotation::Unknown, "it expired");
    let end = second.expires_at;
    let rotation = store.rotate_refresh_token(second.hash, &long, SALT, end);
    assert_eq!(rotation.await.unwrap(), Rotation::Unknown, "it expired");
}

pub async fn a_token_used_after_its_successor_ends_its_family(world: World) {
    let first = world.log_in().await;
    let (user, family) = (first.user, first.family);
    let other = world.log_in().await;
    let second = token(user, family);
    let third = token(user, family);
    world.rotate(first.hash, &second).await;
    world.rotate(second.hash, &third).await;
    assert!(world.revoked(&[family, other.family]).await.is_empty());
    let again = world.rotate(first.hash, &token(user, family)).await;
    assert_eq!(again, Rotation::Reused { user, family });
    assert!(!world.active(family).await);
    let unknown: [u8; 16] = bytes();
    assert_eq!(
        world.revoked(&[unknown, other.family, family]).await,
        [(user, family)]
    );
    assert!(world.revoked(&[]).await.is_empty());
    // Neither the good one nor the used ones are good any more.
    for hash in [third.hash, second.hash, first.hash] {
        let rotation = world.rotate(hash, &token(user, family)).await;
        assert_eq!(rotation, Rotation::Unknown);
    }
    assert!(world.active(other.family).await);
}

pub async fn of_two_at_once_one_repeats_the_other(world: World) {
    for _ in 0..4 {
        let first = world.log_in().await;
        let (user, family) = (first.user, first.family);
        let racers: Vec<_> = (0..6)
            .map(|_| {
                let world = world.clone();
                let (next, salt) = (token(user, family), bytes());
                let hash = first.hash;
                let racer = async move { (world.rotate_with(hash, &next, salt).await, salt, next) };
                tokio::spawn(racer)
            })
            .collect();
        let (mut stored, mut repeated) = (Vec::new(), Vec::new());
        for racer in racers {
            let (rotation, own_salt, next) = racer.await.unwrap();
            match rotation {
                Rotation::Rotated { .. } => stored.push((own_salt, next)),
                Rotation::Repeated { salt, .. } => repeated.push(salt),
                other => panic!("{other:?}"),
            }
        }
        let [(salt, next)] = stored.try_into().unwrap();
        assert_eq!(repeated, [salt; 5]);
        assert!(world.active(family).await);
        let rotation = world.rotate(next.hash, &token(user, family)).await;
        assert_eq!(rotation, Rotation::Rotated { user, family });
    }
}

pub async fn a_revocation_between_two_tries_is_final(world: World) {
    let first = world.log_in().await;
    let (user, family) = (first.user, first.family);
    let second = token(user, family);
    world.rotate(first.hash, &second).await;
    let store = &world.store;
    for _ in 0..2 {
        // The owner still holds the first one. Once more: the same answer, so that it is told again.
        let revoked = store.revoke_refresh_token(first.hash).await.unwrap();
        assert_eq!(revoked, Some((user, family)));
    }
    for hash in [first.hash, second.hash] {
        let rotation = world.rotate(hash, &token(user, family)).await;
        assert_eq!(rotation, Rotation::Unknown);
    }
    assert_eq!(world.revoked(&[family]).await, [(user, family)]);
    let unknown: [u8; 32] = bytes();
    let hashes = [unknown, second.hash, first.hash];
    let mut families = store.families_of_tokens(&hashes).await.unwrap();
    families.sort();
    let mut expected = [(first.hash, family), (second.hash, family)];
    expected.sort();
    assert_eq!(families, expected);
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
    let rotation = store.rotate_refresh_token(old.hash, &next, SALT, end);
    assert_eq!(rotation.await.unwrap(), Rotation::Unknown);
    let before = Timestamp::from_millis(end.millis() - 1);
    let rotation = store.rotate_refresh_token(old.hash, &next, SALT, before);
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
    let rotation = store.rotate_refresh_token(young.hash, &next, SALT, then);
    assert!(matches!(rotation.await.unwrap(), Rotation::Rotated { .. }));
}
