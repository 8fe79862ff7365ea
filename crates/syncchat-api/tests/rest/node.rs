//! A node without sockets: the router over a SQLite file of its own.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use bytes::Bytes;
use serde_json::{Value, json};
use syncchat_api::{Api, CorsOrigins, router};
use syncchat_backplane::{LimiterRates, LocalFleet};
use syncchat_core::files::{ContentTypes, FileRules};
use syncchat_core::ports::fleet::{Fleet, Presence};
use syncchat_core::ports::limiter::Limiter;
use syncchat_core::ports::store::AccountStore;
use syncchat_core::testing::MemoryFiles;
use syncchat_core::{Chat, Files, People};
use syncchat_identity::{Identity, IdentityConfig, Secret};
use tempfile::TempDir;
use tower::ServiceExt;

/// The program's parts, as small as they get.
pub(crate) struct Node {
    pub(crate) api: Api,
    pub(crate) fleet: Arc<LocalFleet>,
    pub(crate) storage: Arc<MemoryFiles>,
    accounts: Arc<dyn AccountStore>,
    pub(crate) router: Router,
    // Holds the file until the end.
    _folder: TempDir,
}

/// Somebody with an account.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) refresh_token: String,
}

/// What came back.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Node {
    /// Without limits, for the page's own origin only.
    pub(crate) async fn new() -> Node {
        Node::with(LimiterRates::OFF, CorsOrigins::SameOrigin).await
    }

    pub(crate) async fn with(rates: LimiterRates, origins: CorsOrigins) -> Node {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("chat.db").display());
        let store = syncchat_store::open(&url).await.expect("a store");
        let fleet = Arc::new(LocalFleet::new(rates));
        let accounts: Arc<dyn AccountStore> = store.clone();
        let storage = Arc::new(MemoryFiles::default());
        let rules = FileRules {
            max_bytes: 1_000_000,
            types: ContentTypes::Any,
            unsent_span: Duration::from_secs(3_600),
            link_span: Duration::from_secs(300),
        };
        let files = Files::new(Arc::clone(&store), Arc::clone(&storage) as _, rules);
        let files = Arc::new(files);
        let chat_fleet = Arc::clone(&fleet) as Arc<dyn Fleet>;
        let api = Api {
            chat: Chat::with_files(store, chat_fleet, Arc::clone(&files)),
            files,
            identity: identity(&accounts, &fleet, Duration::from_secs(900)),
            people: Arc::new(People::new(
                Arc::clone(&accounts),
                Arc::clone(&fleet) as Arc<dyn Presence>,
            )),
            limiter: Arc::clone(&fleet) as Arc<dyn Limiter>,
        };
        Node {
            router: router(api.clone(), &origins),
            api,
            fleet,
            storage,
            accounts,
            _folder: folder,
        }
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.expect("never");
        let (parts, body) = response.into_parts();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: to_bytes(body, usize::MAX).await.expect("a body"),
        }
    }

    /// A call with an access token and a JSON body, if given.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match body {
            Some(json) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(json.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).expect("a request")).await
    }

    /// A POST of JSON under an idempotency key, given as often as named.
    pub(crate) async fn post_under(
        &self,
        keys: &[&str],
        path: &str,
        who: Option<&Person>,
        body: &Value,
    ) -> Reply {
        let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        for key in keys {
            request = request.header("idempotency-key", *key);
        }
        if let Some(who) = who {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", who.token));
        }
        let body = Body::from(body.to_string());
        self.send(request.body(body).expect("a request")).await
    }

    pub(crate) async fn get(&self, path: &str, who: &Person) -> Reply {
        self.call(Method::GET, path, Some(&who.token), None).await
    }

    pub(crate) async fn post(&self, path: &str, who: &Person, body: Value) -> Reply {
        self.call(Method::POST, path, Some(&who.token), Some(body))
            .await
    }

    pub(crate) async fn patch(&self, path: &str, who: &Person, body: Value) -> Reply {
        self.call(Method::PATCH, path, Some(&who.token), Some(body))
            .await
    }

    pub(crate) async fn delete(&self, path: &str, who: &Person) -> Reply {
        self.call(Method::DELETE, path, Some(&who.token), None)
            .await
    }

    /// A call of `/api/auth`.
    pub(crate) async fn auth(&self, what: &str, body: Value) -> Reply {
        let path = format!("/api/auth/{what}");
        self.call(Method::POST, &path, None, Some(body)).await
    }

    /// Makes an account.
    pub(crate) async fn person(&self, name: &str) -> Person {
        let body = json!({
            "username": name,
            "email": format!("{name}@example.org"),
            "password": "correct horse",
        });
        let session = self
            .auth("register", body)
            .await
            .expect(StatusCode::CREATED);
        Person {
            id: text(&session["user"]["id"]),
            token: text(&session["accessToken"]),
            refresh_token: text(&session["refreshToken"]),
        }
    }

    /// A token that was good until now.
    pub(crate) fn expired_token(&self, who: &Person) -> String {
        let identity = identity(&self.accounts, &self.fleet, Duration::ZERO);
        let user = who.id.parse().expect("an id");
        identity.issue_access(user).expect("a token").0
    }

    /// A group of these people, made by the first.
    pub(crate) async fn group(&self, people: &[&Person]) -> String {
        let others: Vec<&str> = people[1..].iter().map(|person| &*person.id).collect();
        let body = json!({"type": "group", "participants": others, "title": "group"});
        let reply = self.post("/api/conversations", people[0], body).await;
        text(&reply.expect(StatusCode::CREATED)["conversation"]["id"])
    }

    /// Says something; the message.
    pub(crate) async fn say(&self, conversation: &str, who: &Person, content: &str) -> Value {
        let path = format!("/api/conversations/{conversation}/messages");
        let reply = self.post(&path, who, json!({"content": content})).await;
        reply.expect(StatusCode::CREATED)["message"].clone()
    }
}

fn identity(
    accounts: &Arc<dyn AccountStore>,
    fleet: &Arc<LocalFleet>,
    access_ttl: Duration,
) -> Arc<Identity> {
    let config = IdentityConfig {
        secret: Secret::new([7; 32]).expect("long enough"),
        former_secrets: Vec::new(),
        access_ttl,
        refresh_ttl: Duration::from_secs(3_600),
        bcrypt_cost: 4,
    };
    let (limiter, fleet) = (Arc::clone(fleet), Arc::clone(fleet));
    Arc::new(Identity::new(Arc::clone(accounts), limiter, fleet, &config))
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/json");
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The body, if the status is this.
    #[track_caller]
    pub(crate) fn expect(&self, status: StatusCode) -> Value {
        let said = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{said}");
        match self.body.is_empty() {
            true => Value::Null,
            false => self.json(),
        }
    }

    /// A refusal with this status and code, of the contract's shape; the fields it names.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Vec<String> {
        let body = self.expect(StatusCode::from_u16(status).expect("a status"));
        assert_eq!(body["error"]["code"], code, "{body}");
        let message = text(&body["error"]["message"]);
        assert!(!message.is_empty() && !message.ends_with('.'), "{message}");
        let keys: Vec<_> = body.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["error"]);
        let error = body["error"].as_object().expect("an object");
        for key in error.keys() {
            assert!(
                ["code", "message", "fields", "retryAfterMs"].contains(&&**key),
                "{key}"
            );
        }
        let fields = error.get("fields").and_then(Value::as_object);
        fields
            .into_iter()
            .flat_map(|fields| fields.keys().cloned())
            .collect()
    }
}

#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("a string, not {value}"))
        .to_owned()
}
