//! `/api/conversations`.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use syncchat_api::limits::MEMBERS_SHOWN_MAX;
use syncchat_core::model::UserId;

use crate::node::{Node, text};

#[tokio::test]
async fn a_private_one_exists_once_for_each_pair() {
    let node = Node::new().await;
    let (ada, bob) = (node.person("ada").await, node.person("bob").await);
    let body = json!({"type": "private", "participants": [bob.id]});
    let made = node.post("/api/conversations", &ada, body.clone()).await;
    let made = made.expect(StatusCode::CREATED)["conversation"].clone();
    let keys: Vec<_> = made.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "changeSeq",
            "createdAt",
            "deliveredSeq",
            "id",
            "lastMessage",
            "lastSeq",
            "members",
            "participants",
            "readSeq",
            "rev",
            "title",
            "type",
            "unread",
            "updatedAt"
        ]
    );
    assert_eq!(made["type"], "private");
    assert_eq!(made["lastMessage"], Value::Null);
    assert_eq!((&made["lastSeq"], &made["unread"]), (&json!(0), &json!(0)));
    let mut both = vec![ada.id.clone(), bob.id.clone()];
    both.sort();
    assert_eq!(made["participants"], json!(both));
    let mut names: Vec<_> = made["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| text(&m["username"]))
        .collect();
    names.sort();
    assert_eq!(names, ["ada", "bob"]);

    let again = node.post("/api/conversations", &ada, body).await;
    assert_eq!(
        again.expect(StatusCode::OK)["conversation"]["id"],
        made["id"]
    );
    let body = json!({"type": "private", "participants": [ada.id, bob.id]});
    let other_way = node.post("/api/conversations", &bob, body).await;
    assert_eq!(
        other_way.expect(StatusCode::OK)["conversation"]["id"],
        made["id"]
    );
}

#[tokio::test]
async fn a_wrong_one_names_its_fields() {
    let node = Node::new().await;
    let (ada, bob) = (node.person("ada").await, node.person("bob").await);
    let nobody = UserId::generate().to_string();
    let cases = [
        (json!({}), vec!["participants", "type"]),
        (
            json!({"type": "public", "participants": [bob.id]}),
            vec!["type"],
        ),
        (
            json!({"type": "group", "participants": []}),
            vec!["participants"],
        ),
        (
            json!({"type": "group", "participants": bob.id}),
            vec!["participants"],
        ),
        (
            json!({"type": "group", "participants": [{"$ne": null}]}),
            vec!["participants"],
        ),
        (
            json!({"type": "group", "participants": [nobody]}),
            vec!["participants"],
        ),
        (
            json!({"type": "private", "participants": [ada.id]}),
            vec!["participants"],
        ),
        (
            json!({"type": "private", "participants": [bob.id], "title": "x"}),
            vec!["title"],
        ),
        (
            json!({"type": "group", "participants": [bob.id], "title": "x".repeat(101)}),
            vec!["title"],
        ),
        (
            json!({"type": "group", "participants": vec![&bob.id; 1_002]}),
            vec!["participants"],
        ),
    ];
    for (body, fields) in cases {
        let reply = node.post("/api/conversations", &ada, body.clone()).await;
        assert_eq!(reply.refused(400, "invalid"), fields, "{body}");
    }
}

#[tokio::test]
async fn the_list_is_paged_newest_first() {
    let node = Node::new().await;
    let (ada, bob) = (node.person("ada").await, node.person("bob").await);
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(node.group(&[&ada, &bob]).await);
    }
    let message = node.say(&ids[1], &bob, "newest").await;
    let (mut seen, mut path) = (Vec::new(), "/api/conversations?limit=2".to_owned());
    loop {
        let page = node.get(&path, &ada).await.expect(StatusCode::OK);
        let shown = page["conversations"].as_array().unwrap();
        assert!(shown.len() <= 2);
        seen.extend(shown.iter().cloned());
        let Some(next) = page["next"].as_str() else {
            assert!(page["next"].is_null());
            break;
        };
        path = format!("/api/conversations?limit=2&cursor={next}");
    }
    let order: Vec<_> = seen.iter().map(|one| text(&one["id"])).collect();
    assert_eq!(order[0], ids[1]);
    let (mut sorted, mut all) = (order.clone(), ids.clone());
    sorted.sort();
    all.sort();
    assert_eq!(sorted, all);
    assert_eq!(seen[0]["lastMessage"]["id"], message["id"]);
    assert_eq!(seen[0]["unread"], 1);
    assert_eq!(seen[0]["lastSeq"], 1);

    for (query, field) in [
        ("cursor=x", "cursor"),
        ("limit=0", "limit"),
        ("limit=x", "limit"),
    ] {
        let reply = node.get(&format!("/api/conversations?{query}"), &ada).await;
        assert_eq!(reply.refused(400, "invalid"), [field], "{query}");
    }
}

#[tokio::test]
async fn who_is_not_a_member_finds_nothing() {
    let node = Node::new().await;
    let (ada, bob, eve) = (
        node.person("ada").await,
        node.person("bob").await,
        node.person("eve").await,
    );
    let id = node.group(&[&ada, &bob]).await;
    let message = text(&node.say(&id, &ada, "secret").await["id"]);
    let at = format!("/api/conversations/{id}");
    node.get(&at, &eve).await.refused(404, "not_found");
    node.patch(&at, &eve, json!({"title": "mine"}))
        .await
        .refused(404, "not_found");
    let participants = format!("{at}/participants");
    let reply = node
        .post(&participants, &eve, json!({"userId": eve.id}))
        .await;
    reply.refused(404, "not_found");
    node.delete(&participants, &eve)
        .await
        .refused(404, "not_found");
    let reply = node
        .delete(&format!("{participants}/{}", bob.id), &eve)
        .await;
    reply.refused(404, "not_found");
    node.get(&format!("{at}/messages"), &eve)
        .await
        .refused(404, "not_found");
    let reply = node
        .post(&format!("{at}/messages"), &eve, json!({"content": "x"}))
        .await;
    reply.refused(404, "not_found");
    let message = format!("/api/messages/{message}");
    node.patch(&message, &eve, json!({"content": "x"}))
        .await
        .refused(404, "not_found");
    node.delete(&message, &eve).await.refused(404, "not_found");
}

#[tokio::test]
async fn bad_ids_are_nobody_s_conversation() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    for id in [
        "x",
        "000000000000000000000000",
        "%7B%22$ne%22:1%7D",
        "%ff",
        "..%2f..%2fetc",
    ] {
        let at = format!("/api/conversations/{id}");
        node.get(&at, &ada).await.refused(404, "not_found");
        node.patch(&at, &ada, json!({"title": "t"}))
            .await
            .refused(404, "not_found");
        node.get(&format!("{at}/messages"), &ada)
            .await
            .refused(404, "not_found");
        node.delete(&format!("{at}/participants/me"), &ada)
            .await
            .refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_group_is_renamed_and_its_members_come_and_go() {
    let node = Node::new().await;
    let (ada, bob, cyd) = (
        node.person("ada").await,
        node.person("bob").await,
        node.person("cyd").await,
    );
    let id = node.group(&[&ada, &bob]).await;
    let at = format!("/api/conversations/{id}");

    let renamed = node.patch(&at, &bob, json!({"title": " Tea "})).await;
    assert_eq!(
        renamed.expect(StatusCode::OK)["conversation"]["title"],
        "Tea"
    );
    for bad in [
        json!({}),
        json!({"title": {"$set": 1}}),
        json!({"title": " "}),
    ] {
        let reply = node.patch(&at, &bob, bad).await;
        assert_eq!(reply.refused(400, "invalid"), ["title"]);
    }

    let participants = format!("{at}/participants");
    let added = node
        .post(&participants, &bob, json!({"userId": cyd.id}))
        .await;
    let added = added.expect(StatusCode::OK)["conversation"].clone();
    assert!(
        added["participants"]
            .as_array()
            .unwrap()
            .contains(&json!(cyd.id))
    );
    node.post(&participants, &bob, json!({"userId": cyd.id}))
        .await
        .expect(StatusCode::OK);
    for bad in [
        json!({}),
        json!({"userId": {"$ne": 1}}),
        json!({"userId": "x"}),
        json!({"userId": "000000000000000000000000"}),
    ] {
        let reply = node.post(&participants, &bob, bad).await;
        assert_eq!(reply.refused(400, "invalid"), ["userId"]);
    }

    let path = format!("{participants}/{}", cyd.id);
    node.delete(&path, &ada)
        .await
        .expect(StatusCode::NO_CONTENT);
    // By path, as they are removed, without a body.
    let added = node.call(Method::POST, &path, Some(&bob.token), None).await;
    assert_eq!(
        added.expect(StatusCode::OK)["conversation"]["participants"]
            .as_array()
            .map(Vec::len),
        Some(3)
    );
    node.call(Method::POST, &path, Some(&cyd.token), None)
        .await
        .expect(StatusCode::OK);
    let nobody = format!("{participants}/000000000000000000000000");
    let reply = node
        .call(Method::POST, &nobody, Some(&bob.token), None)
        .await;
    assert_eq!(reply.refused(400, "invalid"), ["userId"]);
    node.delete(&path, &ada)
        .await
        .expect(StatusCode::NO_CONTENT);
    node.call(Method::POST, &path, Some(&cyd.token), None)
        .await
        .refused(404, "not_found");
    node.get(&format!("{at}/messages"), &ada)
        .await
        .expect(StatusCode::OK);
    node.delete(&format!("{participants}/me"), &bob)
        .await
        .expect(StatusCode::NO_CONTENT);
    node.get(&at, &bob).await.refused(404, "not_found");
    node.delete(&participants, &ada)
        .await
        .expect(StatusCode::NO_CONTENT);
    node.get(&at, &ada).await.refused(404, "not_found");
}

#[tokio::test]
async fn changes_of_membership_are_messages() {
    let node = Node::new().await;
    let (ada, bob, cyd) = (
        node.person("ada").await,
        node.person("bob").await,
        node.person("cyd").await,
    );
    let id = node.group(&[&ada, &bob]).await;
    let at = format!("/api/conversations/{id}");
    node.post(
        &format!("{at}/participants"),
        &ada,
        json!({"userId": cyd.id}),
    )
    .await
    .expect(StatusCode::OK);
    node.patch(&at, &ada, json!({"title": "Tea"}))
        .await
        .expect(StatusCode::OK);
    node.delete(&format!("{at}/participants/{}", cyd.id), &ada)
        .await
        .expect(StatusCode::NO_CONTENT);
    node.delete(&format!("{at}/participants"), &bob)
        .await
        .expect(StatusCode::NO_CONTENT);
    let page = node
        .get(&format!("{at}/messages"), &ada)
        .await
        .expect(StatusCode::OK);
    let events: Vec<_> = page["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| {
            assert_eq!(
                (&message["type"], &message["content"]),
                (&json!("system"), &json!(""))
            );
            message["event"].clone()
        })
        .collect();
    assert_eq!(
        events,
        [
            json!({"kind": "added", "by": ada.id, "userId": cyd.id}),
            json!({"kind": "renamed", "by": ada.id, "title": "Tea"}),
            json!({"kind": "removed", "by": ada.id, "userId": cyd.id}),
            json!({"kind": "left", "by": bob.id, "userId": bob.id}),
        ]
    );
}

#[tokio::test]
async fn large_groups_come_without_profiles() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    let mut others = Vec::new();
    for n in 1..=MEMBERS_SHOWN_MAX {
        others.push(node.person(&format!("person{n}")).await.id);
    }
    let make = async |participants: &[String]| {
        let body = json!({"type": "group", "participants": participants});
        let reply = node.post("/api/conversations", &ada, body).await;
        reply.expect(StatusCode::CREATED)["conversation"].clone()
    };
    let at_the_bound = make(&others[1..]).await;
    let members = at_the_bound["members"].as_array().unwrap();
    assert_eq!(members.len(), MEMBERS_SHOWN_MAX);
    let beyond = make(&others).await;
    assert!(beyond.get("members").is_none());
    assert_eq!(
        beyond["participants"].as_array().unwrap().len(),
        MEMBERS_SHOWN_MAX + 1
    );
    // In a list, each for itself.
    let page = node
        .get("/api/conversations", &ada)
        .await
        .expect(StatusCode::OK);
    let list = page["conversations"].as_array().unwrap();
    let with_members = list.iter().filter(|one| one["members"].is_array()).count();
    assert_eq!((list.len(), with_members), (2, 1));
}
