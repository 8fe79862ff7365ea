//! Records of files: claims, looks and ends that exclude each other.

use std::time::Duration;

use syncchat_core::limits::FILE_CLAIMS_MAX;
use syncchat_core::model::{FileClaim, FileId, MessageId, StoredFile, Timestamp, UserId};
use syncchat_core::ports::store::FileChange;

use super::World;

/// Cases share a store with nobody, so any time will do.
const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

fn at(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

fn claim(seconds: u64) -> FileClaim {
    FileClaim {
        message: MessageId::generate(),
        at: at(seconds),
    }
}

impl World {
    async fn file(&self, due_at: Timestamp) -> StoredFile {
        let file = StoredFile {
            id: FileId::generate(),
            owner: UserId::generate(),
            name: "../ü \u{1f600}.txt".into(),
            size: 5_000_000_000,
            content_type: "text/plain; charset=utf-8".into(),
            created_at: NOW,
            due_at: Some(due_at),
            claims: Vec::new(),
            doomed: false,
            version: 0,
        };
        self.store.add_file(&file, None).await.unwrap();
        file
    }

    async fn reread(&self, file: &StoredFile) -> StoredFile {
        let mut found = self.store.files(&[file.id]).await.unwrap();
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    async fn claim(&self, file: &StoredFile, claim: FileClaim) -> bool {
        let (store, due_at) = (&self.store, claim.at.plus(Duration::from_secs(60)));
        let ids = [file.id];
        let claimed = store.claim_files(file.owner, &ids, claim, due_at);
        claimed.await.unwrap()
    }
}

fn change(file: &StoredFile, due_at: Option<Timestamp>, doomed: bool) -> FileChange {
    FileChange {
        due_at,
        claims: file.claims.clone(),
        doomed,
    }
}

pub async fn a_file_is_kept_as_it_was(world: World) {
    let (file, other) = (world.file(at(1)).await, world.file(at(2)).await);
    assert_eq!(world.reread(&file).await, file);
    let ids = [other.id, FileId::generate(), file.id];
    assert_eq!(world.store.files(&ids).await.unwrap().len(), 2);
    assert!(world.store.files(&[]).await.unwrap().is_empty());
    world.store.remove_file(file.id).await.unwrap();
    world.store.remove_file(file.id).await.unwrap();
    assert!(world.store.files(&[file.id]).await.unwrap().is_empty());
}

pub async fn claims_are_the_owners(world: World) {
    let (file, store) = (world.file(at(1)).await, &world.store);
    let (first, second) = (claim(5), claim(6));
    assert!(world.claim(&file, first).await && world.claim(&file, second).await);
    let claimed = world.reread(&file).await;
    assert_eq!(claimed.claims, [first, second]);
    assert_eq!(claimed.due_at, Some(at(66)));
    assert!(claimed.version > file.version);

    let stranger = UserId::generate();
    let ids = [file.id, FileId::generate()];
    let by_stranger = store.claim_files(stranger, &ids[..1], claim(7), at(9));
    assert!(!by_stranger.await.unwrap());
    let half = store.claim_files(file.owner, &ids, claim(7), at(9));
    assert!(!half.await.unwrap());
    for seconds in 3..FILE_CLAIMS_MAX as u64 {
        assert!(world.claim(&file, claim(seconds)).await, "{seconds}");
    }
    assert!(!world.claim(&file, claim(100)).await);
    assert_eq!(world.reread(&file).await.claims.len(), FILE_CLAIMS_MAX);
}

pub async fn a_look_holds_only_if_nothing_came_between(world: World) {
    let (file, store) = (world.file(at(1)).await, &world.store);
    assert!(world.claim(&file, claim(5)).await);
    let doom = change(&file, None, true);
    assert!(
        !store
            .change_file(file.id, file.version, &doom)
            .await
            .unwrap()
    );
    let seen = world.reread(&file).await;
    store.touch_files(&[file.id], at(2)).await.unwrap();
    assert_eq!(world.reread(&file).await.due_at, Some(at(2)));
    assert!(
        !store
            .change_file(file.id, seen.version, &doom)
            .await
            .unwrap()
    );

    let seen = world.reread(&file).await;
    let keep = change(&file, None, false);
    assert!(
        store
            .change_file(file.id, seen.version, &keep)
            .await
            .unwrap()
    );
    let kept = world.reread(&file).await;
    assert_eq!(
        (kept.due_at, kept.claims.len(), kept.doomed),
        (None, 0, false)
    );
    assert!(world.claim(&file, claim(8)).await);

    let seen = world.reread(&file).await;
    let doom = change(&seen, Some(at(9)), true);
    assert!(
        store
            .change_file(file.id, seen.version, &doom)
            .await
            .unwrap()
    );
    let doomed = world.reread(&file).await;
    assert!(doomed.doomed && doomed.claims == seen.claims);
    assert!(!world.claim(&file, claim(10)).await);
    let spare = change(&doomed, None, false);
    store
        .change_file(file.id, doomed.version, &spare)
        .await
        .unwrap();
    assert!(world.reread(&file).await.doomed);
    let unknown = store.change_file(FileId::generate(), 0, &doom);
    assert!(!unknown.await.unwrap());
}

pub async fn one_of_a_claim_and_a_doom_wins(world: World) {
    for _ in 0..10 {
        let file = world.file(at(1)).await;
        let (claiming, dooming) = (world.clone(), world.clone());
        let (seen, doom) = (file.clone(), change(&file, None, true));
        let claimed = tokio::spawn(async move { claiming.claim(&seen, claim(5)).await });
        let doomed = dooming.store.change_file(file.id, file.version, &doom);
        let (claimed, doomed) = (claimed, doomed.await.unwrap());
        assert_ne!(claimed.await.unwrap(), doomed);
        assert_eq!(world.reread(&file).await.doomed, doomed);
    }
}

pub async fn the_longest_due_come_first(world: World) {
    let store = &world.store;
    let late = world.file(at(9)).await;
    let (second, first) = (world.file(at(2)).await, world.file(at(1)).await);
    let settled = world.file(at(1)).await;
    let settle = change(&settled, None, false);
    assert!(store.change_file(settled.id, 0, &settle).await.unwrap());
    let due = async |now, limit| -> Vec<FileId> {
        let due = store.due_files(now, limit).await.unwrap();
        due.into_iter().map(|file| file.id).collect()
    };
    assert_eq!(due(at(2), 10).await, [first.id, second.id]);
    assert_eq!(due(at(2), 1).await, [first.id]);
    assert_eq!(due(at(9), 10).await, [first.id, second.id, late.id]);
    assert!(due(NOW, 10).await.is_empty() && due(at(9), 0).await.is_empty());
}
