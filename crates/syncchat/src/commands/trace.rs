//! `syncchat trace MESSAGE_ID`: what became of one message, from the store and from every node.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use syncchat_core::model::{Message, MessageId, UserId};
use syncchat_core::ports::store::Cursors;
use syncchat_engine::{NodeTag, TICKET, Tickets};
use tokio::time::timeout;

use super::Failure;
use crate::cli;
use crate::config::Config;
use crate::fate::{Fate, PATH};
use crate::wiring::node_keys;

/// For one node's answer. Then it is shown as silent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of it. More is no answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Members whose cursors are shown, those who have read furthest first.
const MEMBERS_SHOWN_MAX: usize = 200;

/// A node that was asked: where, and what it said.
type Asked = (SocketAddr, Result<Fate, String>);

/// Prints what is known.
///
/// # Errors
/// The store does not answer, there is no such message, or there is no secret.
pub async fn run(config: Config, id: MessageId) -> Result<(), Failure> {
    let store = syncchat_store::open(config.store.expose()).await?;
    let Some(message) = store.message(id).await? else {
        return Err(Failure(format!("there is no message {id} in the store")));
    };
    let members = store
        .readers(message.conversation, 0, MEMBERS_SHOWN_MAX)
        .await?;
    let tickets = Tickets::new(NodeTag::random()?, &node_keys(&config.signing.load()?));
    let nodes = nodes(&config).await?;
    let asked = nodes.into_iter().map(|node| ask(node, id, &tickets));
    let asked = join_all(asked).await;
    cli::say(report(&message, &asked, &members).trim_end())?;
    Ok(())
}

/// Where all nodes are; without a fleet, where the one is that has these settings.
async fn nodes(config: &Config) -> Result<Vec<SocketAddr>, Failure> {
    if !config.is_fleet() {
        return Ok(vec![config.advertise.unwrap_or(config.listen)]);
    }
    let backplane =
        syncchat_backplane::connect(config.backplane.expose(), config.rates, &config.node_id)
            .await?;
    let all = backplane.registry.all().await.map_err(Failure)?;
    Ok(all.into_iter().map(|(_, address)| address).collect())
}

async fn ask(node: SocketAddr, id: MessageId, tickets: &Tickets) -> Asked {
    let answered = timeout(ANSWER_TIMEOUT, fetch(node, id, tickets)).await;
    let fate = answered.unwrap_or_else(|_| Err("no answer in time".into()));
    (node, fate)
}

async fn fetch(node: SocketAddr, id: MessageId, tickets: &Tickets) -> Result<Fate, String> {
    let mut request = Request::get(format!("http://{node}{PATH}{id}"))
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let here = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let ticket = tickets.issue(request.method(), request.uri(), here, Duration::ZERO);
    request.headers_mut().insert(TICKET, ticket);
    let client =
        Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(HttpConnector::new());
    let response = client.request(request).await;
    let response = response.map_err(|error| match error.is_connect() {
        true => "cannot be reached".to_owned(),
        false => error.to_string(),
    })?;
    if !response.status().is_success() {
        return Err(format!("refused, with {}", response.status()));
    }
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let body = body.collect().await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string())
}

fn report(message: &Message, asked: &[Asked], members: &[Cursors]) -> String {
    let mut report = Report(String::new());
    let accepted = message.created_at.millis();
    let after = |at: i64| format!("{:+} ms", at - accepted);
    report.line(
        "message",
        format!(
            "{}, seq {} of conversation {}",
            message.id, message.seq, message.conversation
        ),
    );
    report.line(
        "committed",
        format!(
            "accepted {} from {}{}",
            message.created_at.rfc3339(),
            message.sender,
            match (message.deleted, message.edited) {
                (true, _) => ", deleted since",
                (false, true) => ", edited since",
                (false, false) => "",
            }
        ),
    );
    let fates = asked.iter().filter_map(|(_, fate)| fate.as_ref().ok());
    let published = fates
        .clone()
        .filter_map(|fate| Some((fate, fate.published?)));
    report.lines(
        "published",
        published.map(|(fate, at)| format!("by {}, {}", fate.node, after(at))),
        "by a node that is gone, or too long ago",
    );
    report.lines(
        "seen",
        asked.iter().map(|(address, fate)| match fate {
            Err(why) => format!("{address}: {why}"),
            Ok(fate) => match fate.seen {
                Some(at) if fate.from_store => {
                    format!("{} {}, from the store", fate.node, after(at))
                }
                Some(at) => format!("{} {}", fate.node, after(at)),
                None if fate.known => format!("{} had nobody to give it to", fate.node),
                None => format!("{} not, or too long ago", fate.node),
            },
        }),
        "no node is alive",
    );
    let written = fates.filter_map(|fate| Some((fate, fate.first_written?, fate.last_written?)));
    report.lines(
        "written",
        written.map(|(fate, first, last)| {
            let sockets = match fate.sockets {
                1 => "1 socket".to_owned(),
                many => format!("{many} sockets"),
            };
            let (node, first) = (&fate.node, after(first));
            match after(last) {
                last if last == first => format!("{node} to {sockets}, {first}"),
                last => format!("{node} to {sockets}, {first} to {last}"),
            }
        }),
        "to no socket",
    );
    let cursor = |cursors: &Cursors, seq| reached(cursors.user, seq, message);
    let delivered = members.iter().map(|m| cursor(m, m.delivered_seq));
    report.lines("delivered", delivered, "nobody is a member any more");
    let read = members.iter().map(|m| cursor(m, m.read_seq));
    report.lines("read", read, "nobody is a member any more");
    report.0
}

/// How far a member's cursor is, seen from the message.
fn reached(user: UserId, seq: u64, message: &Message) -> String {
    match (user == message.sender, seq >= message.seq) {
        (true, _) => format!("{user} the sender, up to {seq}"),
        (false, true) => format!("{user} yes, up to {seq}"),
        (false, false) => format!("{user} no, up to {seq}"),
    }
}

/// Lines under headings.
struct Report(String);

impl Report {
    fn line(&mut self, heading: &str, text: impl AsRef<str>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{heading:10} {}", text.as_ref());
    }

    fn lines(&mut self, heading: &str, lines: impl IntoIterator<Item = String>, if_none: &str) {
        let mut heading = heading;
        for line in lines {
            self.line(heading, line);
            heading = "";
        }
        if !heading.is_empty() {
            self.line(heading, if_none);
        }
    }
}
