//! A raw client: Socket.IO spelt out over a WebSocket.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use test_speed::scaled;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Long enough on a busy machine; a test that waits so long has failed.
static PATIENCE: LazyLock<Duration> = LazyLock::new(|| scaled(Duration::from_secs(20)));

pub(crate) struct Client {
    stream: WebSocketStream<TcpStream>,
    /// Events that came while something else was waited for.
    events: VecDeque<(String, Value)>,
    acks: u64,
    /// The server has disconnected the socket, or closed the connection.
    pub(crate) closed: Option<Closed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// DISCONNECT: it shall stay away.
    Disconnected,
    /// Only the connection ended: it shall come back.
    Connection,
}

enum Packet {
    Event(String, Value),
    Ack(u64, Value),
    Connected,
    Refused(Value),
    Other,
}

impl Client {
    /// Opens a session, without joining the namespace.
    pub(crate) async fn open(address: SocketAddr) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        // The kernel takes little for a client that does not read.
        socket.set_recv_buffer_size(8 * 1024).expect("a size");
        let stream = socket.connect(address).await.expect("a connection");
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let (stream, _) = client_async(url, stream).await.expect("a handshake");
        let mut client = Client {
            stream,
            events: VecDeque::new(),
            acks: 0,
            closed: None,
        };
        let open = client.text(Instant::now() + *PATIENCE).await;
        assert!(open.is_some_and(|text| text.starts_with("0{")));
        client
    }

    /// Joins the namespace; the refusal's object if it is refused.
    pub(crate) async fn join(&mut self, token: Option<&str>) -> Result<(), Value> {
        let auth = token.map_or(String::new(), |token| json!({ "token": token }).to_string());
        self.send(format!("40{auth}")).await;
        loop {
            match self.packet(Instant::now() + *PATIENCE).await {
                Some(Packet::Connected) => return Ok(()),
                Some(Packet::Refused(why)) => return Err(why),
                Some(Packet::Event(name, payload)) => self.events.push_back((name, payload)),
                Some(_) => {}
                None => panic!("no answer to CONNECT"),
            }
        }
    }

    pub(crate) async fn emit(&mut self, name: &str, payload: Value) {
        self.send(format!("42{}", json!([name, payload]))).await;
    }

    /// Emits and waits for the ack.
    pub(crate) async fn call(&mut self, name: &str, payload: Value) -> Value {
        let id = self.emit_acked(name, payload).await;
        self.ack(id).await
    }

    /// Emits, and gives the ack's number to wait for later.
    pub(crate) async fn emit_acked(&mut self, name: &str, payload: Value) -> u64 {
        self.acks += 1;
        let id = self.acks;
        self.send(format!("42{id}{}", json!([name, payload]))).await;
        id
    }

    pub(crate) async fn ack(&mut self, id: u64) -> Value {
        let until = Instant::now() + *PATIENCE;
        loop {
            match self.packet(until).await {
                Some(Packet::Ack(other, payload)) if other == id => return payload,
                Some(Packet::Event(name, payload)) => self.events.push_back((name, payload)),
                Some(_) => {}
                None => panic!("no ack; closed: {:?}", self.closed),
            }
        }
    }

    /// Sends a message, and what the ack says of it.
    pub(crate) async fn say(&mut self, conversation: impl ToString, content: &str) -> Value {
        let payload = json!({ "conversationId": conversation.to_string(), "content": content });
        let ack = self.call("send_msg", payload).await;
        assert_eq!(ack["ok"], true, "{ack}");
        ack["message"].clone()
    }

    /// Waits for an event of this name. Others that come meanwhile are kept.
    pub(crate) async fn next(&mut self, name: &str) -> Value {
        let until = Instant::now() + *PATIENCE;
        self.next_until(name, until)
            .await
            .unwrap_or_else(|| panic!("no {name}; closed: {:?}, {:?}", self.closed, self.events))
    }

    async fn next_until(&mut self, name: &str, until: Instant) -> Option<Value> {
        if let Some(place) = self.events.iter().position(|(other, _)| other == name) {
            return self.events.remove(place).map(|(_, payload)| payload);
        }
        loop {
            match self.packet(until).await? {
                Packet::Event(other, payload) if other == name => return Some(payload),
                Packet::Event(other, payload) => self.events.push_back((other, payload)),
                _ => {}
            }
        }
    }

    /// Takes the next `count` events of these names, in the order in which they came.
    pub(crate) async fn next_of(&mut self, names: &[&str], count: usize) -> Vec<(String, Value)> {
        let until = Instant::now() + *PATIENCE;
        let mut found = Vec::new();
        let mut others = VecDeque::new();
        while found.len() < count {
            let event = match self.events.pop_front() {
                Some(event) => Some(event),
                None => self.event(until).await,
            };
            match event {
                Some((name, payload)) if names.contains(&name.as_str()) => {
                    found.push((name, payload));
                }
                Some(other) => others.push_back(other),
                None => panic!("only {} of {count} {names:?}", found.len()),
            }
        }
        others.append(&mut self.events);
        self.events = others;
        found
    }

    /// `seq` of the next `count` messages, received or sent.
    pub(crate) async fn seqs(&mut self, count: usize) -> Vec<u64> {
        let events = self.next_of(&["receive_msg", "msg_sent"], count).await;
        events
            .iter()
            .map(|(name, payload)| match name.as_str() {
                "msg_sent" => payload["message"]["seq"].as_u64().expect("a seq"),
                _ => payload["seq"].as_u64().expect("a seq"),
            })
            .collect()
    }

    /// Everything that comes within this time.
    pub(crate) async fn all_within(&mut self, span: Duration) -> Vec<(String, Value)> {
        let until = Instant::now() + span;
        while let Some(event) = self.event(until).await {
            self.events.push_back(event);
        }
        self.events.drain(..).collect()
    }

    /// Asserts that none of these events comes for a moment.
    pub(crate) async fn hears_nothing_of(&mut self, names: &[&str]) {
        let heard = self.all_within(Duration::from_millis(300)).await;
        let wrong: Vec<_> = heard
            .iter()
            .filter(|(name, _)| names.contains(&name.as_str()))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        self.events = heard.into();
    }

    /// Waits for the end.
    pub(crate) async fn end(&mut self) -> Closed {
        let until = Instant::now() + *PATIENCE;
        while let Some(event) = self.event(until).await {
            self.events.push_back(event);
        }
        self.closed.expect("the end")
    }

    async fn event(&mut self, until: Instant) -> Option<(String, Value)> {
        loop {
            if let Packet::Event(name, payload) = self.packet(until).await? {
                return Some((name, payload));
            }
        }
    }

    async fn packet(&mut self, until: Instant) -> Option<Packet> {
        let text = self.text(until).await?;
        if let Some(rest) = text.strip_prefix("42") {
            // A third one is the offset of connection state recovery.
            let args: Vec<Value> = serde_json::from_str(rest).expect("an event");
            let mut args = args.into_iter();
            let name = args.next().expect("a name");
            let payload = args.next().expect("a payload");
            return Some(Packet::Event(name.as_str().expect("text").into(), payload));
        }
        if let Some(rest) = text.strip_prefix("43") {
            let start = rest.find('[').expect("an array");
            let id = rest[..start].parse().expect("a number");
            let mut args: Vec<Value> = serde_json::from_str(&rest[start..]).expect("an ack");
            return Some(Packet::Ack(id, args.pop().expect("an argument")));
        }
        if let Some(rest) = text.strip_prefix("44") {
            return Some(Packet::Refused(serde_json::from_str(rest).expect("JSON")));
        }
        if text.starts_with("40") {
            return Some(Packet::Connected);
        }
        if text.starts_with("41") {
            self.closed = Some(Closed::Disconnected);
            return None;
        }
        Some(Packet::Other)
    }

    /// The next text; pings are answered on the way.
    async fn text(&mut self, until: Instant) -> Option<String> {
        loop {
            let message = timeout_at(until, self.stream.next()).await.ok()?;
            match message {
                Some(Ok(Message::Text(text))) if text.as_str() == "2" => {
                    self.send("3".into()).await;
                }
                Some(Ok(Message::Text(text))) => return Some(text.as_str().to_owned()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => {
                    self.closed.get_or_insert(Closed::Connection);
                    return None;
                }
                Some(Ok(_)) => {}
            }
        }
    }

    async fn send(&mut self, text: String) {
        // A connection that has ended shows when it is read.
        let _ = self.stream.send(Message::text(text)).await;
    }
}
