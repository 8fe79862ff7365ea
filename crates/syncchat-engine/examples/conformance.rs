//! The engine with echoes in place of chat, for the public suites of Engine.IO 4, Socket.IO 5 and
//! WebSocket:
//!
//! ```sh
//! cargo run --release --example conformance -- --listen 127.0.0.1:3000
//! ```
//!
//! - `/engine.io/`: every message comes back;
//! - `/socket.io/`: namespaces `/` and `/custom` emit `auth` with what CONNECT carried; `/` also
//!   answers `message` by `message-back` and acknowledges `message-with-ack`, with what they carried;
//! - `/echo`: a WebSocket without Engine.IO, every message comes back.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::convert::Infallible;
use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::value::RawValue;
use syncchat_engine::protocol::{Connection, Framing, Invalid, Protocol};
use syncchat_engine::{
    AckArgs, Body, Class, Config, ConnectError, DisconnectReason, Engine, Event, EventName,
    Handler, Handshake, Refusal, Server, Session, Socket,
};
use syncchat_protocol::Frame;
use syncchat_protocol::socketio::EventHead;
use syncchat_protocol::websocket::Opcode;
use tokio::net::TcpListener;

/// The largest message of the WebSocket suite, and then some.
const ECHO_BYTES_MAX: usize = 64 * 1024 * 1024;

/// From CONNECT to `auth`. The suite listens for one message after the other, and its client loses
/// the second of two that it reads at once; the engine writes all that waits in one go.
const AUTH_DELAY: Duration = Duration::from_millis(20);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = listen_address()?;
    let listener = TcpListener::bind(&address).await?;
    println!("listening on {}", listener.local_addr()?);
    let servers = Servers::new();
    loop {
        let (stream, peer) = listener.accept().await?;
        let servers = servers.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let servers = servers.clone();
                async move { Ok::<_, Infallible>(servers.route(request, peer.ip()).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            // A client that goes away is no error of ours.
            let _ = connection.await;
        });
    }
}

fn listen_address() -> Result<String, String> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next(), args.next()) {
        (None, _, _) => Ok("127.0.0.1:3000".to_owned()),
        (Some("--listen"), Some(address), None) => Ok(address),
        _ => Err("usage: conformance [--listen ADDRESS]".to_owned()),
    }
}

/// One server for each path.
#[derive(Clone)]
struct Servers {
    engine: Server<Echo>,
    socket: Engine<EchoEvents>,
    plain: Server<PlainEcho>,
}

impl Servers {
    fn new() -> Servers {
        let config = Config {
            ping_interval: Duration::from_millis(300),
            ping_timeout: Duration::from_millis(200),
            max_payload: 1_000_000,
            connect_timeout: Duration::from_secs(1),
            ..Config::default()
        };
        let plain = Config {
            ping_interval: Duration::from_secs(24 * 60 * 60),
            max_payload: ECHO_BYTES_MAX,
            outbound_limit: 2 * ECHO_BYTES_MAX,
            ..Config::default()
        };
        Servers {
            engine: Server::with_protocol(Arc::new(config.clone()), Arc::new(Echo)),
            socket: Engine::new(config, Arc::new(EchoEvents)),
            plain: Server::with_protocol(Arc::new(plain), Arc::new(PlainEcho)),
        }
    }

    async fn route(&self, request: Request<Incoming>, remote: IpAddr) -> Response<Body> {
        match request.uri().path() {
            "/engine.io/" => self.engine.handle(request, remote).await,
            "/socket.io/" => self.socket.handle(request, remote).await,
            "/echo" => self.plain.handle(request, remote).await,
            _ => {
                let mut response = Response::new(Body::default());
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
        }
    }
}

/// Bare Engine.IO.
struct Echo;

struct EchoSession(Arc<Session>);

impl Protocol for Echo {
    type Connection = EchoSession;

    async fn admit(&self, _: &Handshake) -> Result<(), Refusal> {
        Ok(())
    }

    fn open(self: &Arc<Self>, session: Arc<Session>, _: Arc<Handshake>) -> EchoSession {
        EchoSession(session)
    }
}

impl Connection for EchoSession {
    fn text(&mut self, text: &str) -> Result<(), Invalid> {
        let _ = self.0.send(&Frame::message(text), Class::Essential);
        Ok(())
    }

    fn binary(&mut self, data: Bytes) -> Result<(), Invalid> {
        let _ = self.0.send(&Frame::binary(&data), Class::Essential);
        Ok(())
    }
}

/// WebSocket alone.
struct PlainEcho;

struct PlainEchoSession(Arc<Session>);

impl Protocol for PlainEcho {
    type Connection = PlainEchoSession;

    const FRAMING: Framing = Framing::WebSocket;

    async fn admit(&self, _: &Handshake) -> Result<(), Refusal> {
        Ok(())
    }

    fn open(self: &Arc<Self>, session: Arc<Session>, _: Arc<Handshake>) -> PlainEchoSession {
        PlainEchoSession(session)
    }
}

impl Connection for PlainEchoSession {
    fn text(&mut self, text: &str) -> Result<(), Invalid> {
        self.0.send_message(Opcode::Text, text.as_bytes());
        Ok(())
    }

    fn binary(&mut self, data: Bytes) -> Result<(), Invalid> {
        self.0.send_message(Opcode::Binary, &data);
        Ok(())
    }
}

/// Socket.IO.
struct EchoEvents;

impl Handler for EchoEvents {
    /// What CONNECT carried.
    type Data = Option<Box<RawValue>>;

    async fn admit(&self, _: &Handshake) -> Result<(), Refusal> {
        Ok(())
    }

    fn has_namespace(&self, namespace: &str) -> bool {
        matches!(namespace, "/" | "/custom")
    }

    async fn connect(
        &self,
        _: &Arc<Handshake>,
        _: &str,
        auth: Option<&RawValue>,
    ) -> Result<Self::Data, ConnectError> {
        Ok(auth.map(ToOwned::to_owned))
    }

    fn connected(&self, socket: &Socket<Self>) {
        let head = EventHead::new("auth").namespace(socket.namespace());
        let frame = match socket.data() {
            Some(auth) => head.payload(auth),
            None => head.payload(&serde_json::json!({})),
        };
        let socket = socket.clone();
        tokio::spawn(async move {
            tokio::time::sleep(AUTH_DELAY).await;
            send(&socket, frame);
        });
    }

    async fn event(&self, socket: &Socket<Self>, event: Event) -> Option<AckArgs> {
        let Event {
            name: EventName::Text(name),
            args,
            attachments,
            ..
        } = event
        else {
            return None;
        };
        match (socket.namespace(), name.as_str()) {
            ("/", "message") => {
                send(
                    socket,
                    EventHead::new("message-back").args(&args, &attachments),
                );
                None
            }
            ("/", "message-with-ack") => Some(AckArgs { args, attachments }),
            _ => None,
        }
    }

    fn drained(&self, _: &Socket<Self>) {}

    fn disconnected(&self, _: &Socket<Self>, _: DisconnectReason) {}
}

fn send(socket: &Socket<EchoEvents>, frame: Result<Frame, syncchat_protocol::EncodeError>) {
    match frame {
        Ok(frame) => {
            let _ = socket.emit(&frame, Class::Reliable);
        }
        Err(error) => eprintln!("answer cannot be encoded: {error}"),
    }
}
