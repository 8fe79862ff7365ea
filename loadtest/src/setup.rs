//! Accounts and conversations for a run, by REST.

use serde_json::{Value, json};

use crate::Failure;

/// Somebody to log in as.
#[derive(Clone)]
pub(crate) struct Person {
    /// 24 hex digits.
    pub(crate) id: String,
    /// An access token.
    pub(crate) token: String,
}

/// REST calls to one server over one connection pool.
pub(crate) struct Rest {
    agent: ureq::Agent,
    base: String,
}

impl Rest {
    /// Calls to `address`.
    pub(crate) fn new(address: &str) -> Rest {
        Rest {
            agent: ureq::Agent::new_with_defaults(),
            base: format!("http://{address}/api"),
        }
    }

    /// Registers `count` people.
    pub(crate) fn people(&self, count: usize) -> Result<Vec<Person>, Failure> {
        (0..count)
            .map(|i| {
                let name = format!("load-{}-{i}", std::process::id());
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
            })
            .collect()
    }

    /// Makes a group of these people; its id.
    pub(crate) fn group(&self, people: &[Person]) -> Result<String, Failure> {
        let (first, others) = people.split_first().ok_or("a group needs people")?;
        let ids: Vec<&str> = others.iter().map(|person| person.id.as_str()).collect();
        let body = json!({ "type": "group", "title": "load", "participants": ids });
        text(
            &self.post("/conversations", Some(&first.token), &body)?,
            "/conversation/id",
        )
    }

    fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Result<Value, Failure> {
        let mut request = self.agent.post(format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let mut answer = request
            .send_json(body)
            .map_err(|error| format!("POST {path}: {error}"))?;
        Ok(answer.body_mut().read_json()?)
    }
}

fn text(answer: &Value, pointer: &str) -> Result<String, Failure> {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    Ok(found
        .ok_or_else(|| format!("no {pointer} in {answer}"))?
        .to_owned())
}
