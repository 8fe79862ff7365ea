//! Files: who may show them, who may get them, and when they go.

use std::sync::Arc;
use std::time::Duration;

use super::{World, code, field};
use crate::chat::Chat;
use crate::clock::Clock;
use crate::command::{MessageDraft, SendMessage};
use crate::error::{ErrorCode, Result};
use crate::files::{AnnounceFile, ContentTypes, FileRules, Files};
use crate::limits::{CLOCK_SWEEP_HOLD, FILE_CLAIM_SPAN, FILE_CLAIMS_MAX};
use crate::model::{
    ConversationId, FileClaim, FileId, IdempotencyKey, Message, MessageId, Timestamp, UserId,
};
use crate::ports::store::FileStore;
use crate::testing::{Faults, ManualClocks, MemoryFiles};

const DAY: Duration = Duration::from_secs(86_400);

/// A world with files.
struct Shelf {
    world: World,
    storage: Arc<MemoryFiles>,
    files: Arc<Files>,
}

impl Shelf {
    fn new(people: u8) -> Shelf {
        Shelf::with_clock(people, Clock::system())
    }

    fn with_clock(people: u8, clock: Arc<Clock>) -> Shelf {
        let mut world = World::new(people);
        let storage = Arc::new(MemoryFiles::default());
        let rules = FileRules {
            max_bytes: 1_000,
            types: ContentTypes::Any,
            unsent_span: DAY,
            link_span: Duration::from_secs(300),
        };
        let files = Files::new(
            Arc::clone(&world.store) as _,
            Arc::clone(&storage) as _,
            rules,
        );
        let files = Arc::new(files.with_clock(clock));
        world.chat = Chat::with_files(
            Arc::clone(&world.store) as _,
            Arc::clone(&world.fleet) as _,
            Arc::clone(&files),
        );
        Shelf {
            world,
            storage,
            files,
        }
    }

    async fn announce(&self, owner: UserId, content_type: &str) -> FileId {
        let file = AnnounceFile::new("a.bin", 10, content_type).unwrap();
        self.files.announce(owner, file).await.unwrap().0.id
    }

    async fn upload(&self, owner: UserId) -> FileId {
        let id = self.announce(owner, "text/plain").await;
        self.storage.put(id, 10);
        id
    }

    async fn show(
        &self,
        sender: UserId,
        id: ConversationId,
        kind: &str,
        files: &[FileId],
    ) -> Result<Arc<Message>> {
        let draft = MessageDraft {
            kind: Some(kind.into()),
            attachments: files.to_vec(),
            client_msg_id: Some(format!("{kind} {:?}", files.last())),
            ..MessageDraft::default()
        };
        let command = SendMessage::new(sender, id, draft)?;
        self.world.chat.send(command).await
    }

    /// Sweeps as if so much time had gone by.
    async fn sweep_after(&self, id: FileId, span: Duration) {
        let store = &self.world.store;
        let mut file = store.files(&[id]).await.unwrap().remove(0);
        let earlier = |at: Timestamp| Timestamp::from_millis(at.millis() - span.as_millis() as i64);
        file.created_at = earlier(file.created_at);
        file.due_at = file.due_at.map(earlier);
        for claim in &mut file.claims {
            claim.at = earlier(claim.at);
        }
        store.add_file(&file, None).await.unwrap();
        self.files.sweep().await.unwrap();
    }

    async fn may_get(&self, user: UserId, id: FileId) -> bool {
        match self.files.download(user, id).await {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.code, ErrorCode::NotFound);
                false
            }
        }
    }
}

#[tokio::test]
async fn a_message_shows_whole_files_of_its_sender() {
    let shelf = Shelf::new(3);
    let [ann, ben, eve] = shelf.world.people[..] else {
        panic!()
    };
    let id = shelf.world.group(&[ann, ben]).await;
    let file = shelf.upload(ann).await;
    let shown = shelf.show(ann, id, "file", &[file]).await.unwrap();
    assert_eq!(shown.attachments.len(), 1);
    assert_eq!(shown.attachments[0].file, file);
    assert_eq!(
        (shown.attachments[0].size, shown.content.as_str()),
        (10, "")
    );
    assert_eq!(
        shelf.world.store.log_of(id)[0].attachments,
        shown.attachments
    );

    let half = shelf.announce(ann, "text/plain").await;
    let refused = shelf.show(ann, id, "file", &[file, half]).await;
    assert_eq!(field(refused), "attachments");
    shelf.storage.put(half, 9);
    let refused = shelf.show(ann, id, "file", &[half]).await;
    assert!(
        refused
            .unwrap_err()
            .message
            .contains("9 bytes instead of 10")
    );
    assert_eq!(
        field(shelf.show(ben, id, "file", &[file]).await),
        "attachments"
    );
    let unknown = FileId::generate();
    assert_eq!(
        field(shelf.show(ann, id, "file", &[unknown]).await),
        "attachments"
    );
    assert_eq!(
        field(shelf.show(ann, id, "file", &[file, file]).await),
        "attachments"
    );
    assert_eq!(field(shelf.show(ann, id, "image", &[file]).await), "type");
    let image = shelf.announce(ann, "image/png").await;
    shelf.storage.put(image, 10);
    assert!(shelf.show(ann, id, "image", &[image]).await.is_ok());
    // Who is not in there is told that, whatever the file.
    let refused = shelf.show(eve, id, "file", &[unknown]).await;
    assert_eq!(code(refused), ErrorCode::NotFound);
    assert_eq!(shelf.world.store.broken(), Vec::<&str>::new());
}

#[tokio::test]
async fn members_who_may_see_the_message_get_the_file() {
    let shelf = Shelf::new(4);
    let [ann, ben, cid, eve] = shelf.world.people[..] else {
        panic!()
    };
    let chat = &shelf.world.chat;
    let id = shelf.world.group(&[ann, ben, cid]).await;
    let file = shelf.upload(ann).await;
    assert!(shelf.may_get(ann, file).await && !shelf.may_get(ben, file).await);
    let shown = shelf.show(ann, id, "file", &[file]).await.unwrap();
    assert!(shelf.may_get(ben, file).await && !shelf.may_get(eve, file).await);
    chat.remove_participant(ann, id, cid).await.unwrap();
    assert!(!shelf.may_get(cid, file).await);
    // Who came later sees it or not by the same rule as the message.
    chat.add_participant(ann, id, eve).await.unwrap();
    let place = shelf.world.chat.memberships(eve).await.unwrap().remove(0);
    assert_eq!(
        shelf.may_get(eve, file).await,
        place.spans.contains(shown.seq)
    );
    // Its owner may after leaving too, until it is taken back.
    chat.delete(ann, shown.id).await.unwrap();
    for user in [ann, ben, eve] {
        assert!(!shelf.may_get(user, file).await);
    }
}

#[tokio::test]
async fn what_nothing_shows_is_swept() {
    let shelf = Shelf::new(2);
    let [ann, ben] = shelf.world.people[..] else {
        panic!()
    };
    let id = shelf.world.group(&[ann, ben]).await;
    let unsent = shelf.upload(ann).await;
    shelf.sweep_after(unsent, DAY / 2).await;
    assert!(shelf.storage.holds(unsent));
    shelf.sweep_after(unsent, DAY / 2).await;
    assert!(!shelf.storage.holds(unsent) && !shelf.may_get(ann, unsent).await);
    assert_eq!(
        field(shelf.show(ann, id, "file", &[unsent]).await),
        "attachments"
    );

    let file = shelf.upload(ann).await;
    let first = shelf.show(ann, id, "file", &[file]).await.unwrap();
    shelf.sweep_after(file, 9 * DAY).await;
    let kept = shelf.world.store.files(&[file]).await.unwrap().remove(0);
    assert_eq!((kept.due_at, kept.claims.len()), (None, 1));
    // Taken back here, shown there: it stays. Then it goes.
    let other = shelf.world.group(&[ann, ben]).await;
    let second = shelf.show(ann, other, "file", &[file]).await.unwrap();
    shelf.world.chat.delete(ann, first.id).await.unwrap();
    shelf.sweep_after(file, DAY).await;
    assert!(shelf.may_get(ben, file).await);
    shelf.world.chat.delete(ann, second.id).await.unwrap();
    shelf.sweep_after(file, DAY).await;
    assert!(!shelf.storage.holds(file));
    assert!(shelf.world.store.files(&[file]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_claim_protects_until_its_message_can_come_no_more() {
    let shelf = Shelf::new(2);
    let ann = shelf.world.people[0];
    let file = shelf.upload(ann).await;
    let claim = FileClaim {
        message: MessageId::generate(),
        at: Timestamp::now(),
    };
    let store = &shelf.world.store;
    let due_at = claim.at.plus(FILE_CLAIM_SPAN);
    // Its time is over, but for the claim.
    let mut old = store.files(&[file]).await.unwrap().remove(0);
    old.created_at = Timestamp::from_millis(0);
    store.add_file(&old, None).await.unwrap();
    assert!(
        store
            .claim_files(ann, &[file], claim, due_at)
            .await
            .unwrap()
    );
    store
        .touch_files(&[file], Timestamp::from_millis(0))
        .await
        .unwrap();
    shelf.files.sweep().await.unwrap();
    assert!(shelf.storage.holds(file));
    let looked_at = store.files(&[file]).await.unwrap().remove(0);
    assert_eq!(looked_at.due_at, Some(due_at));
    shelf.sweep_after(file, FILE_CLAIM_SPAN).await;
    assert!(!shelf.storage.holds(file));
}

#[tokio::test]
async fn a_storage_that_is_away_is_waited_for() {
    let shelf = Shelf::new(2);
    let [ann, ben] = shelf.world.people[..] else {
        panic!()
    };
    let id = shelf.world.group(&[ann, ben]).await;
    let (file, unsent) = (shelf.upload(ann).await, shelf.upload(ann).await);
    shelf.storage.set_down(true);
    let sent = shelf.show(ann, id, "file", &[file]).await;
    assert_eq!(code(sent), ErrorCode::Unavailable);
    assert!(shelf.world.say(ann, id, "words go on").await.is_ok());
    // Doomed, and kept until its bytes can be deleted.
    shelf.sweep_after(unsent, DAY).await;
    assert!(!shelf.world.store.files(&[unsent]).await.unwrap().is_empty());
    shelf.storage.set_down(false);
    assert!(!shelf.may_get(ann, unsent).await);
    assert_eq!(
        field(shelf.show(ann, id, "file", &[unsent]).await),
        "attachments"
    );
    shelf.sweep_after(unsent, DAY).await;
    assert!(!shelf.storage.holds(unsent));
    assert!(shelf.world.store.files(&[unsent]).await.unwrap().is_empty());
    assert!(shelf.show(ann, id, "file", &[file]).await.is_ok());
}

#[tokio::test]
async fn a_resend_gets_the_first_result_whatever_became_of_the_file() {
    let shelf = Shelf::new(2);
    let [ann, ben] = shelf.world.people[..] else {
        panic!()
    };
    let id = shelf.world.group(&[ann, ben]).await;
    let file = shelf.upload(ann).await;
    let first = shelf.show(ann, id, "file", &[file]).await.unwrap();
    let again = shelf.show(ann, id, "file", &[file]).await.unwrap();
    assert_eq!((again.id, again.seq), (first.id, first.seq));
    shelf.world.chat.delete(ann, first.id).await.unwrap();
    shelf.sweep_after(file, DAY).await;
    let again = shelf.show(ann, id, "file", &[file]).await.unwrap();
    assert_eq!((again.id, again.deleted), (first.id, true));
}

#[tokio::test]
async fn claims_are_bounded() {
    let shelf = Shelf::new(2);
    let [ann, ben] = shelf.world.people[..] else {
        panic!()
    };
    let file = shelf.upload(ann).await;
    for _ in 0..FILE_CLAIMS_MAX {
        let id = shelf.world.group(&[ann, ben]).await;
        shelf.show(ann, id, "file", &[file]).await.unwrap();
    }
    let id = shelf.world.group(&[ann, ben]).await;
    assert_eq!(
        field(shelf.show(ann, id, "file", &[file]).await),
        "attachments"
    );
}

#[tokio::test]
async fn what_is_announced_keeps_to_the_rules() {
    let shelf = Shelf::new(1);
    let ann = shelf.world.people[0];
    let big = AnnounceFile::new("a", 1_001, "text/plain").unwrap();
    let refused = shelf.files.announce(ann, big).await;
    assert_eq!(code(refused), ErrorCode::TooLarge);
    shelf.world.store.set_faults(Faults {
        down: true,
        ..Faults::NONE
    });
    let fine = AnnounceFile::new("a", 1_000, "text/plain").unwrap();
    let refused = shelf.files.announce(ann, fine).await;
    assert_eq!(code(refused), ErrorCode::Unavailable);
}

#[tokio::test]
async fn a_clock_that_is_wrong_sweeps_nothing() {
    let start = Timestamp::now();
    let clocks = ManualClocks::at(start);
    let clock = Clock::on(clocks.clone());
    clock.count_from(start);
    let shelf = Shelf::with_clock(1, Arc::clone(&clock));
    let ann = shelf.world.people[0];
    let file = shelf.upload(ann).await;
    // The node's date is set, not the store's.
    clocks.set(start.plus(40 * DAY));
    assert_eq!(shelf.files.sweep().await, Ok(0));
    clock.count_from(start);
    assert_eq!(shelf.files.sweep().await, Ok(0));
    assert!(shelf.may_get(ann, file).await);
    // The store's is, too: its machine is this one. There is time to take it back.
    clock.count_from(start.plus(40 * DAY));
    assert_eq!(shelf.files.sweep().await, Ok(0));
    clocks.pass(CLOCK_SWEEP_HOLD);
    assert_eq!(shelf.files.sweep().await, Ok(1));
    assert!(!shelf.may_get(ann, file).await);
}

#[tokio::test]
async fn a_resend_is_answered_though_its_sender_was_removed_since() {
    let shelf = Shelf::new(2);
    let [ann, ben] = shelf.world.people[..] else {
        panic!()
    };
    let id = shelf.world.group(&[ann, ben]).await;
    let file = shelf.upload(ben).await;
    let first = shelf.show(ben, id, "file", &[file]).await.unwrap();
    let chat = &shelf.world.chat;
    chat.remove_participant(ann, id, ben).await.unwrap();
    assert_eq!(shelf.show(ben, id, "file", &[file]).await, Ok(first));
    let other = shelf.upload(ben).await;
    let refused = shelf.show(ben, id, "file", &[other]).await;
    assert_eq!(code(refused), ErrorCode::NotFound);
}

#[tokio::test]
async fn a_repeated_announcement_is_of_the_same_file() {
    let shelf = Shelf::new(2);
    let [ann, ben] = shelf.world.people[..] else {
        unreachable!()
    };
    let key = |value: &str| Some(IdempotencyKey::from_header(value.as_bytes()).unwrap());
    let file = |name, size, value| {
        let file = AnnounceFile::new(name, size, "text/plain").unwrap();
        file.keyed(key(value))
    };
    let announce = async |owner, file| shelf.files.announce(owner, file).await;
    let first = announce(ann, file("a", 10, "k")).await.unwrap().0;
    let again = announce(ann, file("a", 10, "k")).await.unwrap().0;
    assert_eq!(again, first);
    for other in [file("b", 10, "k"), file("a", 11, "k")] {
        let refused = announce(ann, other).await;
        assert_eq!(field(refused.map(|_| ())), "Idempotency-Key");
    }
    let theirs = announce(ben, file("a", 10, "k")).await.unwrap().0;
    let next = announce(ann, file("a", 10, "l")).await.unwrap().0;
    assert!(theirs.id != first.id && next.id != first.id);
}
