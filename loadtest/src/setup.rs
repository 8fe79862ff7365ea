//! Who takes part: accounts and conversations, made in bulk before the run.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Failure;
use crate::run::Settings;
use crate::scenario::{Group, Scenario};
use crate::target::Accounts;

/// Calls at once: enough to fill the commits of a store that gathers them.
const CALLERS: usize = 32;
/// People named when a conversation is made; the others are added one by one.
const NAMED_MAX: usize = 1_000;
/// How long a server that asks for patience gets it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Somebody.
#[derive(Clone, Debug, Default)]
pub(crate) struct Person {
    /// As the server knows them.
    pub(crate) id: String,
    /// What lets their sockets in.
    pub(crate) token: String,
}

/// The people and rooms of one group.
#[derive(Debug, Default)]
pub(crate) struct Cast {
    /// People.
    pub(crate) people: Vec<Person>,
    /// Ids of rooms.
    pub(crate) rooms: Vec<String>,
}

impl Cast {
    /// Which person sits where in a room.
    pub(crate) fn member(group: &Group, room: usize, place: usize) -> usize {
        (room * group.members + place) % group.people()
    }
}

/// Makes what the scenario needs, group by group.
///
/// # Errors
/// The server refuses.
pub(crate) fn cast(scenario: &Scenario, settings: &Settings) -> Result<Vec<Cast>, Failure> {
    // Names must not meet those of an earlier run.
    let run = format!("{:07x}", fastrand::u32(..) >> 4);
    let groups = scenario.groups.iter().enumerate();
    let casts = groups.map(|(g, group)| match settings.target.accounts {
        Accounts::None => Ok(made_up(group, &format!("{run}-{g}"))),
        Accounts::Rest => Rest::new(settings)?.cast(group, &format!("lt-{run}-{g}")),
    });
    casts.collect()
}

fn made_up(group: &Group, prefix: &str) -> Cast {
    let person = |p| Person {
        id: format!("user-{prefix}-{p}"),
        token: String::new(),
    };
    Cast {
        people: (0..group.people()).map(person).collect(),
        rooms: (0..group.rooms)
            .map(|r| format!("room-{prefix}-{r}"))
            .collect(),
    }
}

/// REST calls to one server.
struct Rest {
    agent: ureq::Agent,
    base: String,
}

impl Rest {
    /// To the first of the servers.
    fn new(settings: &Settings) -> Result<Rest, Failure> {
        let address = &settings.addresses[0];
        let mut config = ureq::Agent::config_builder()
            .max_idle_connections(CALLERS)
            .max_idle_connections_per_host(CALLERS)
            .http_status_as_error(false);
        if address.secure {
            config = config.tls_config(settings.trust.rest()?);
        }
        Ok(Rest {
            agent: config.build().into(),
            base: format!("{}/api", address.url()),
        })
    }

    fn cast(&self, group: &Group, prefix: &str) -> Result<Cast, Failure> {
        let people = in_parallel(group.people(), |p| self.register(&format!("{prefix}-{p}")))?;
        let rooms = in_parallel(group.rooms, |r| {
            let members = (0..group.members).map(|m| &people[Cast::member(group, r, m)]);
            self.conversation(&members.collect::<Vec<_>>())
        })?;
        Ok(Cast { people, rooms })
    }

    fn register(&self, name: &str) -> Result<Person, Failure> {
        let body = json!({
            "username": name,
            "email": format!("{name}@example.org"),
            "password": "correct horse",
        });
        let answer = self.post("/auth/register", None, &body)?;
        Ok(Person {
            id: text(&answer, "/user/id")?,
            token: text(&answer, "/accessToken")?,
        })
    }

    fn conversation(&self, members: &[&Person]) -> Result<String, Failure> {
        let (first, others) = members.split_first().ok_or("a room needs people")?;
        let named: Vec<&str> = others
            .iter()
            .take(NAMED_MAX)
            .map(|m| m.id.as_str())
            .collect();
        let body = json!({ "type": "group", "title": "load", "participants": named });
        let token = Some(first.token.as_str());
        let answer = self.post("/conversations", token, &body)?;
        let id = text(&answer, "/conversation/id")?;
        for member in others.iter().skip(NAMED_MAX) {
            let path = format!("/conversations/{id}/participants");
            self.post(&path, token, &json!({ "userId": member.id }))?;
        }
        Ok(id)
    }

    fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Result<Value, Failure> {
        let began = Instant::now();
        loop {
            let mut request = self.agent.post(format!("{}{path}", self.base));
            if let Some(token) = token {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            let mut answer = request
                .send_json(body)
                .map_err(|error| format!("POST {}{path}: {error}", self.base))?;
            let status = answer.status().as_u16();
            let wait = answer.headers().get("retry-after");
            let wait = wait
                .and_then(|wait| wait.to_str().ok()?.parse().ok())
                .unwrap_or(1);
            if matches!(status, 429 | 503) && began.elapsed() < PATIENCE {
                thread::sleep(Duration::from_secs(wait));
                continue;
            }
            if !answer.status().is_success() {
                let body = answer.body_mut().read_to_string().unwrap_or_default();
                return Err(format!("POST {path}: {status} {body}").into());
            }
            return Ok(answer.body_mut().read_json().unwrap_or(Value::Null));
        }
    }
}

/// Does something so many times from several threads; the results in order, or the first error.
fn in_parallel<T: Send + Default + Clone>(
    count: usize,
    work: impl Fn(usize) -> Result<T, Failure> + Sync,
) -> Result<Vec<T>, Failure> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(vec![T::default(); count]);
    let failure = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..CALLERS.min(count) {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count {
                        return;
                    }
                    let outcome = work(i);
                    let failed = outcome.is_err();
                    match outcome {
                        Ok(result) => {
                            if let Ok(mut results) = results.lock() {
                                results[i] = result;
                            }
                        }
                        Err(error) => {
                            if let Ok(mut failure) = failure.lock() {
                                failure.get_or_insert(error);
                            }
                        }
                    }
                    if failed {
                        next.store(count, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    if let Some(error) = failure.into_inner().ok().flatten() {
        return Err(error);
    }
    Ok(results.into_inner().unwrap_or_default())
}

fn text(answer: &Value, pointer: &str) -> Result<String, Failure> {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    Ok(found
        .ok_or_else(|| format!("no {pointer} in an answer"))?
        .to_owned())
}
