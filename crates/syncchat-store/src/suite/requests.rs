//! Requests under an idempotency key: a repetition finds what the first one made.

use std::collections::BTreeSet;

use syncchat_core::model::{
    ConversationKind, Digest, FileId, IdempotencyKey, StoredFile, Timestamp, UserId,
};
use syncchat_core::ports::store::{
    AddedFile, CreatedConversation, FileChange, LogRange, NewConversation, RequestKey,
};

use super::{World, named, new_conversation, one, people, text};

fn key(name: &str) -> IdempotencyKey {
    IdempotencyKey::from_body("key", name.into()).unwrap()
}

fn request(caller: UserId, name: &str, asked: &str) -> RequestKey {
    RequestKey {
        caller,
        key: key(name),
        asked: Digest::of([asked.as_bytes()]),
    }
}

fn asked_for(kind: ConversationKind, people: &[UserId], request: RequestKey) -> NewConversation {
    NewConversation {
        request: Some(request),
        ..new_conversation(kind, people)
    }
}

pub async fn a_repeated_creation_finds_what_it_made(world: World) {
    let [anna, ben, cleo] = people();
    let create = async |new| world.store.create_conversation(new).await.unwrap();
    let group = |request| asked_for(ConversationKind::Group, &[anna, ben], request);
    let CreatedConversation::New(first) = create(group(request(anna, "a", "x"))).await else {
        panic!("it is the first");
    };
    // Whatever has happened since, and whatever is asked for: the core compares.
    let head = world.conversation(first.id).await;
    let said = one(text(&head, 1, anna, "1"));
    world.store.append(vec![said]).await.unwrap();
    let now = world.conversation(first.id).await;
    assert_eq!(now.last_seq, 1);
    for other in ["x", "y"] {
        let again = create(group(request(anna, "a", other))).await;
        let asked = Digest::of([b"x".as_slice()]);
        assert_eq!(again, CreatedConversation::Repeated(now.clone(), asked));
    }
    // The name is the caller's own; without one each is another group.
    for new in [
        group(request(ben, "a", "x")),
        group(request(anna, "b", "x")),
        group(RequestKey {
            key: IdempotencyKey::from_header(b"a").unwrap(),
            ..request(anna, "a", "x")
        }),
        new_conversation(ConversationKind::Group, &[anna, ben]),
    ] {
        assert!(matches!(create(new).await, CreatedConversation::New(_)));
    }
    // A pair is found by the request that made it, else by who is in it.
    let pair = |name| {
        asked_for(
            ConversationKind::Private,
            &[anna, cleo],
            request(anna, name, "p"),
        )
    };
    let CreatedConversation::New(made) = create(pair("p")).await else {
        panic!("the pair has none");
    };
    let asked = Digest::of([b"p".as_slice()]);
    let again = create(pair("p")).await;
    assert_eq!(again, CreatedConversation::Repeated(made.clone(), asked));
    assert_eq!(create(pair("q")).await, CreatedConversation::Existing(made));
}

pub async fn of_two_creations_at_once_one_finds_the_other(world: World) {
    let [anna, ben, _] = people();
    for round in 0..4 {
        let racers: Vec<_> = (0..6)
            .map(|_| {
                let world = world.clone();
                let request = request(anna, &format!("race {round}"), "x");
                let new = asked_for(ConversationKind::Group, &[anna, ben], request);
                tokio::spawn(async move { world.store.create_conversation(new).await.unwrap() })
            })
            .collect();
        let (mut new, mut all) = (0, BTreeSet::new());
        for racer in racers {
            match racer.await.unwrap() {
                CreatedConversation::New(made) => {
                    new += 1;
                    all.insert(made.id);
                }
                CreatedConversation::Repeated(made, _) => {
                    all.insert(made.id);
                }
                CreatedConversation::Existing(found) => panic!("{found:?}"),
            }
        }
        assert_eq!((new, all.len()), (1, 1));
    }
    assert_eq!(world.places(anna).await.len(), 4);
}

pub async fn a_repeated_file_is_found_until_it_is_given_up(world: World) {
    let [anna, ben, _] = people();
    let file = |owner| StoredFile {
        id: FileId::generate(),
        owner,
        name: "a".into(),
        size: 1,
        content_type: "text/plain".into(),
        created_at: Timestamp::from_millis(1_000_000),
        due_at: Some(Timestamp::from_millis(2_000_000)),
        claims: Vec::new(),
        doomed: false,
        version: 0,
    };
    let add = async |file: &StoredFile, name: Option<&str>| {
        let key = name.map(key);
        world.store.add_file(file, key.as_ref()).await.unwrap()
    };
    let first = file(anna);
    assert_eq!(add(&first, Some("a")).await, AddedFile::New);
    let again = add(&file(anna), Some("a")).await;
    assert_eq!(again, AddedFile::Repeated(first.clone()));
    assert_eq!(add(&file(anna), Some("b")).await, AddedFile::New);
    assert_eq!(add(&file(ben), Some("a")).await, AddedFile::New);
    for _ in 0..2 {
        assert_eq!(add(&file(anna), None).await, AddedFile::New);
    }
    let racers: Vec<_> = (0..6)
        .map(|_| {
            let (world, file) = (world.clone(), file(anna));
            tokio::spawn(async move {
                let key = key("race");
                let added = world.store.add_file(&file, Some(&key)).await.unwrap();
                match added {
                    AddedFile::New => (1, file.id),
                    AddedFile::Repeated(first) => (0, first.id),
                }
            })
        })
        .collect();
    let (mut new, mut all) = (0, BTreeSet::new());
    for racer in racers {
        let (is_new, id) = racer.await.unwrap();
        new += is_new;
        all.insert(id);
    }
    assert_eq!((new, all.len()), (1, 1));
    // What is given up has no key any more, so that another file can be announced under it.
    let given_up = FileChange {
        due_at: None,
        claims: Vec::new(),
        doomed: true,
    };
    let changed = world.store.change_file(first.id, 0, &given_up).await;
    assert!(changed.unwrap());
    let next = file(anna);
    assert_eq!(add(&next, Some("a")).await, AddedFile::New);
    let again = add(&file(anna), Some("a")).await;
    assert_eq!(again, AddedFile::Repeated(next));
}

pub async fn what_was_edited_is_known_as_what_it_was_sent(world: World) {
    let [anna, ben, _] = people();
    let id = world.group(&[anna, ben]).await;
    let head = world.conversation(id).await;
    let said = one(named(text(&head, 1, anna, "first"), "a"));
    world.store.append(vec![said]).await.unwrap();
    let message = world.log(id, LogRange::After(0)).await.remove(0);
    let sent = async || {
        let keys = [(id, anna, "a".to_owned())];
        let found = world.store.messages_by_client_id(&keys).await.unwrap();
        assert_eq!(found.len(), 1);
        (found[0].message.content.clone(), found[0].sent)
    };
    assert_eq!(sent().await, ("first".into(), None));
    let first = Some(Digest::of_sent(message.id, "first"));
    let now = Timestamp::from_millis(2_000_000);
    for content in ["second", "third", "first"] {
        let edited = world.store.edit_message(message.id, content.into(), now);
        assert!(edited.await.unwrap().is_some());
        assert_eq!(sent().await, (content.into(), first));
    }
    let deleted = world.store.delete_message(message.id, now).await.unwrap();
    assert!(deleted.is_some());
    assert_eq!(sent().await, (String::new(), None));
    // Nothing is kept of what has no name.
    let head = world.conversation(id).await;
    let nameless = text(&head, 1, anna, "nameless");
    let nameless_id = nameless.id;
    world.store.append(vec![one(nameless)]).await.unwrap();
    let edited = world.store.edit_message(nameless_id, "other".into(), now);
    assert_eq!(edited.await.unwrap().unwrap().content, "other");
}
