//! Files by REST; their bytes are the file storage's.

use axum::http::{StatusCode, header};
use serde_json::{Value, json};

use crate::node::{Node, Person, text};

impl Node {
    async fn announce(&self, who: &Person, name: &str) -> Value {
        let body = json!({"name": name, "size": 10, "contentType": "image/png"});
        let reply = self.post("/api/files", who, body).await;
        reply.expect(StatusCode::CREATED)
    }
}

#[tokio::test]
async fn a_file_is_announced_sent_and_got() {
    let node = Node::new().await;
    let (ada, bob, eve) = (
        node.person("ada").await,
        node.person("bob").await,
        node.person("eve").await,
    );
    let id = node.group(&[&ada, &bob]).await;
    let announced = node.announce(&ada, "../a.png").await;
    let file = text(&announced["fileId"]);
    assert_eq!(announced["upload"]["method"], "PUT");
    assert_eq!(announced["upload"]["url"], format!("/files/{file}"));
    assert!(announced["upload"]["headers"].is_object());
    assert!(text(&announced["upload"]["expiresAt"]).ends_with('Z'));

    let path = format!("/api/conversations/{id}/messages");
    let message = json!({"type": "image", "attachments": [file]});
    let early = node.post(&path, &ada, message.clone()).await;
    assert_eq!(early.refused(400, "invalid"), ["attachments"]);
    node.storage.put(file.parse().unwrap(), 10);
    let sent = node.post(&path, &ada, message.clone()).await;
    let sent = sent.expect(StatusCode::CREATED)["message"].clone();
    assert_eq!(
        sent["attachments"],
        json!([{"fileId": file, "name": "../a.png", "size": 10, "contentType": "image/png"}])
    );
    assert_eq!(
        (&sent["type"], &sent["content"]),
        (&json!("image"), &json!(""))
    );
    let stolen = node.post(&path, &bob, message).await;
    assert_eq!(stolen.refused(400, "invalid"), ["attachments"]);

    let get = format!("/api/files/{file}");
    let led = node.get(&get, &bob).await;
    assert_eq!(led.status, StatusCode::FOUND);
    assert_eq!(led.headers[header::LOCATION], format!("/files/{file}"));
    assert_eq!(led.headers[header::CACHE_CONTROL], "no-store");
    let link = node.get(&format!("{get}/link"), &bob).await;
    let link = link.expect(StatusCode::OK)["link"].clone();
    assert_eq!(link["url"], format!("/files/{file}"));
    for path in [
        &get,
        "/api/files/0",
        "/api/files/000000000000000000000001/link",
    ] {
        node.get(path, &eve).await.refused(404, "not_found");
    }
    node.delete(&format!("/api/messages/{}", text(&sent["id"])), &ada)
        .await
        .expect(StatusCode::OK);
    node.get(&get, &bob).await.refused(404, "not_found");
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let node = Node::new().await;
    let ada = node.person("ada").await;
    let cases = [
        (json!({}), vec!["name", "size"]),
        (json!({"name": "", "size": -1}), vec!["size"]),
        (
            json!({"name": "\u{0}", "size": 1, "contentType": "x"}),
            vec!["contentType", "name"],
        ),
        (json!({"name": "a", "size": 1.5}), vec!["size"]),
    ];
    for (body, fields) in cases {
        let mut refused = node
            .post("/api/files", &ada, body.clone())
            .await
            .refused(400, "invalid");
        refused.sort();
        assert_eq!(refused, fields, "{body}");
    }
    let big = json!({"name": "a", "size": 1_000_001});
    node.post("/api/files", &ada, big)
        .await
        .refused(413, "too_large");
    node.storage.set_down(true);
    let fine = json!({"name": "a", "size": 1});
    node.post("/api/files", &ada, fine)
        .await
        .refused(503, "unavailable");
}
