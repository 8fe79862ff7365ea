//! The document says what the router does, and the router does nothing else.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::node::{Node, text};

/// The calls of the outside contract.
const CONTRACT: [(&str, &str); 24] = [
    ("post", "/api/auth/register"),
    ("post", "/api/auth/login"),
    ("post", "/api/auth/refresh"),
    ("post", "/api/auth/logout"),
    ("get", "/api/users/me"),
    ("patch", "/api/users/me"),
    ("get", "/api/users"),
    ("get", "/api/users/{id}"),
    ("get", "/api/conversations"),
    ("post", "/api/conversations"),
    ("get", "/api/conversations/{id}"),
    ("patch", "/api/conversations/{id}"),
    ("post", "/api/conversations/{id}/participants"),
    ("delete", "/api/conversations/{id}/participants"),
    ("post", "/api/conversations/{id}/participants/{userId}"),
    ("delete", "/api/conversations/{id}/participants/{userId}"),
    ("get", "/api/conversations/{id}/messages"),
    ("post", "/api/conversations/{id}/messages"),
    ("patch", "/api/messages/{id}"),
    ("delete", "/api/messages/{id}"),
    ("post", "/api/files"),
    ("get", "/api/files/{id}"),
    ("get", "/api/files/{id}/link"),
    ("get", "/api/openapi.json"),
];

async fn document(node: &Node) -> Value {
    let reply = node
        .call(Method::GET, "/api/openapi.json", None, None)
        .await;
    reply.expect(StatusCode::OK)
}

fn object(value: &Value) -> &Map<String, Value> {
    value
        .as_object()
        .unwrap_or_else(|| panic!("an object, not {value}"))
}

/// `(method, path, operation)` of everything described.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let mut operations = Vec::new();
    for (path, item) in object(&document["paths"]) {
        for (method, operation) in object(item) {
            operations.push((method.clone(), path.clone(), operation));
        }
    }
    operations
}

#[tokio::test]
async fn the_contract_is_described_and_nothing_else() {
    let node = Node::new().await;
    let document = document(&node).await;
    let described: BTreeSet<_> = operations(&document)
        .into_iter()
        .map(|(method, path, _)| (method, path))
        .collect();
    let contract: BTreeSet<_> = CONTRACT
        .into_iter()
        .map(|(method, path)| (method.to_owned(), path.to_owned()))
        .collect();
    assert_eq!(described, contract);
}

#[tokio::test]
async fn what_is_described_is_routed_and_what_is_not_is_refused() {
    let node = Node::new().await;
    let document = document(&node).await;
    for (path, item) in object(&document["paths"]) {
        let real = path
            .replace("{id}", "000000000000000000000001")
            .replace("{userId}", "me");
        let mut allowed = BTreeSet::new();
        for method in ["GET", "PUT", "POST", "PATCH", "DELETE", "TRACE"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let request = Request::builder().method(&method).uri(&real);
            let reply = node.send(request.body(Body::empty()).unwrap()).await;
            assert_ne!(reply.status, StatusCode::NOT_FOUND, "{method} {path}");
            if reply.status == StatusCode::METHOD_NOT_ALLOWED {
                let allow = reply.headers[header::ALLOW].to_str().unwrap();
                assert!(!allow.split(',').any(|one| one == method.as_str()));
            } else {
                allowed.insert(method.as_str().to_lowercase());
            }
        }
        let described: BTreeSet<_> = object(item).keys().cloned().collect();
        assert_eq!(allowed, described, "{path}");
    }
}

#[tokio::test]
async fn tokens_are_asked_for_where_the_document_says_so() {
    let node = Node::new().await;
    let document = document(&node).await;
    let scheme = &document["components"]["securitySchemes"]["bearer"];
    assert_eq!(
        (&scheme["type"], &scheme["scheme"]),
        (&json!("http"), &json!("bearer"))
    );
    for (method, path, operation) in operations(&document) {
        let real = path
            .replace("{id}", "000000000000000000000001")
            .replace("{userId}", "me");
        let request = Request::builder()
            .method(method.to_uppercase().as_str())
            .uri(real);
        let reply = node.send(request.body(Body::empty()).unwrap()).await;
        let secured = operation["security"] == json!([{"bearer": []}]);
        assert_eq!(
            reply.status == StatusCode::UNAUTHORIZED,
            secured,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn it_has_the_shape_of_openapi_3_1() {
    let node = Node::new().await;
    let document = document(&node).await;
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["title"], "SyncChat");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let (mut ids, tags) = (BTreeSet::new(), &document["tags"]);
    let tags: Vec<String> = tags
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| text(&tag["name"]))
        .collect();
    for (method, path, operation) in operations(&document) {
        let what = format!("{method} {path}");
        assert!(
            ids.insert(text(&operation["operationId"])),
            "{what}: its id is taken"
        );
        assert!(operation["summary"].is_string(), "{what}");
        assert!(tags.contains(&text(&operation["tags"][0])), "{what}");

        // Every part of the path is a parameter, and nothing else is one.
        let in_path: BTreeSet<&str> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        let parameters = operation["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut described = BTreeSet::new();
        for parameter in &parameters {
            assert!(parameter["description"].is_string(), "{what}: {parameter}");
            assert!(parameter["schema"].is_object(), "{what}: {parameter}");
            match parameter["in"].as_str() {
                Some("path") => {
                    assert_eq!(parameter["required"], true, "{what}");
                    described.insert(parameter["name"].as_str().unwrap());
                }
                Some("header") => {
                    let taken = (method.as_str(), parameter["name"].as_str());
                    assert_eq!(taken, ("post", Some("Idempotency-Key")), "{what}");
                }
                place => assert_eq!(place, Some("query"), "{what}"),
            }
        }
        assert_eq!(described, in_path, "{what}");

        let body = &operation["requestBody"];
        // Whom to add is all said in the path.
        let takes_body =
            matches!(method.as_str(), "post" | "patch") && !path.ends_with("/{userId}");
        assert_eq!(body["required"] == true, takes_body, "{what}");
        if takes_body {
            let schema = &body["content"]["application/json"]["schema"];
            assert!(schema["$ref"].is_string(), "{what}");
        }

        let responses = object(&operation["responses"]);
        assert!(
            responses.keys().any(|status| status < &"400".to_owned()),
            "{what}"
        );
        for (status, response) in responses {
            assert!(response["description"].is_string(), "{what} {status}");
            let schema = &response["content"]["application/json"]["schema"];
            match status.as_str() {
                "204" | "302" => assert!(response.get("content").is_none(), "{what}"),
                refused if refused >= "400" => {
                    assert_eq!(schema["$ref"], "#/components/schemas/ErrorAnswer", "{what}");
                }
                _ => assert!(schema.is_object(), "{what} {status}"),
            }
        }
        assert!(
            responses.contains_key("500") || path.ends_with("openapi.json"),
            "{what}"
        );
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    let node = Node::new().await;
    let document = document(&node).await;
    let mut waiting = vec![&document];
    let mut references = BTreeSet::new();
    while let Some(value) = waiting.pop() {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(reference)) = map.get("$ref") {
                    references.insert(reference.clone());
                }
                waiting.extend(map.values());
            }
            Value::Array(list) => waiting.extend(list),
            _ => {}
        }
    }
    assert!(references.len() > 15);
    for reference in &references {
        let pointer = reference
            .strip_prefix('#')
            .expect("a reference within the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    // And nothing is described that nobody refers to.
    for name in object(&document["components"]["schemas"]).keys() {
        let reference = format!("#/components/schemas/{name}");
        assert!(references.contains(&reference), "{reference}");
    }
}

#[tokio::test]
async fn answers_have_the_fields_the_document_gives_them() {
    let node = Node::new().await;
    let document = document(&node).await;
    let schema = |name: &str| document["components"]["schemas"][name].clone();
    let message = schema("Message");
    let required: BTreeSet<String> = message["required"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect();
    let described: BTreeSet<String> = object(&message["properties"]).keys().cloned().collect();
    let (ada, bob) = (node.person("ada").await, node.person("bob").await);
    let me = node.get("/api/users/me", &ada).await.expect(StatusCode::OK);
    let user: BTreeSet<String> = object(&me["user"]).keys().cloned().collect();
    let user_described: BTreeSet<String> = object(&schema("User")["properties"])
        .keys()
        .cloned()
        .collect();
    assert_eq!(user, user_described);

    let id = node.group(&[&ada, &bob]).await;
    let said = node.say(&id, &ada, "hi").await;
    let shown: BTreeSet<String> = object(&said).keys().cloned().collect();
    assert!(required.is_subset(&shown), "{required:?} {shown:?}");
    assert!(shown.is_subset(&described), "{shown:?} {described:?}");
}
