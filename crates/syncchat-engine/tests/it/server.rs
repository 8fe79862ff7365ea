//! An engine with an application that writes down what happens to it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use serde_json::value::{RawValue, to_raw_value};
use syncchat_engine::{
    AckArgs, Config, ConnectError, DisconnectReason, Engine, Event, EventName, Fleet, Handler,
    Handshake, Refusal, Socket,
};
use syncchat_protocol::Frame;
use syncchat_protocol::socketio::EventHead;
use test_speed::scaled;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::client::PATIENCE;

/// The application. Namespaces `/` and `/other`.
pub(crate) struct App {
    /// What was told: `connected`, `drained`, `disconnected <reason>`.
    pub(crate) log: Mutex<Vec<String>>,
    pub(crate) sockets: Mutex<Vec<Socket<App>>>,
    /// Events named `wait` end when they get a permit.
    pub(crate) gate: Semaphore,
    pub(crate) waiting: AtomicUsize,
    pub(crate) waiting_max: AtomicUsize,
}

impl Handler for App {
    type Data = ();

    async fn admit(&self, handshake: &Handshake) -> Result<(), Refusal> {
        let retry_after = Duration::from_millis(1500);
        match handshake
            .query
            .iter()
            .find(|(name, _)| name == "why")
            .map(|(_, why)| &**why)
        {
            Some("busy") => Err(Refusal::Busy { retry_after }),
            Some("rate") => Err(Refusal::RateLimited { retry_after }),
            Some("forbidden") => Err(Refusal::Forbidden("not you")),
            _ => Ok(()),
        }
    }

    fn has_namespace(&self, namespace: &str) -> bool {
        matches!(namespace, "/" | "/other")
    }

    async fn connect(
        &self,
        _: &Arc<Handshake>,
        _: &str,
        auth: Option<&RawValue>,
    ) -> Result<(), ConnectError> {
        match auth.map(RawValue::get) {
            Some(r#"{"token":"bad"}"#) => Err(ConnectError {
                message: "Authentication error".to_owned(),
                data: to_raw_value(&serde_json::json!({"code": "unauthorized"})).ok(),
            }),
            Some(r#"{"token":"slow"}"#) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn connected(&self, socket: &Socket<Self>) {
        self.log.lock().push("connected".to_owned());
        self.sockets.lock().push(socket.clone());
    }

    async fn event(&self, socket: &Socket<Self>, event: Event) -> Option<AckArgs> {
        let Event {
            name,
            args,
            attachments,
            ..
        } = event;
        let name = match name {
            EventName::Text(name) => name,
            EventName::Number(name) => format!("number {name}"),
        };
        match name.as_str() {
            "echo" => {
                let head = EventHead::new("echo").namespace(socket.namespace());
                emit(socket, &head.args(&args, &attachments).unwrap());
                Some(AckArgs { args, attachments })
            }
            "ack" => Some(AckArgs { args, attachments }),
            "wait" => {
                self.log.lock().push(format!("wait {}", args[0].get()));
                let waiting = 1 + self.waiting.fetch_add(1, Ordering::SeqCst);
                self.waiting_max.fetch_max(waiting, Ordering::SeqCst);
                self.gate.acquire().await.unwrap().forget();
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                Some(AckArgs { args, attachments })
            }
            "panic" => panic!("as asked"),
            "leave" => {
                socket.disconnect();
                None
            }
            "close" => {
                socket.close(DisconnectReason::ServerClose);
                None
            }
            "kick" => {
                socket.kick();
                None
            }
            _ => None,
        }
    }

    fn drained(&self, _: &Socket<Self>) {
        self.log.lock().push("drained".to_owned());
    }

    fn takes_nothing(&self, socket: &Socket<Self>) {
        let goodbye = Frame::event("goodbye", &"slow").unwrap();
        let _ = socket.emit(&goodbye, syncchat_engine::Class::Essential);
    }

    fn disconnected(&self, _: &Socket<Self>, reason: DisconnectReason) {
        self.log
            .lock()
            .push(format!("disconnected {}", reason.as_str()));
    }
}

/// Emits what must not be lost.
pub(crate) fn emit(socket: &Socket<App>, frame: &Frame) {
    let _ = socket.emit(frame, syncchat_engine::Class::Reliable);
}

/// A served engine.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) app: Arc<App>,
    pub(crate) engine: Engine<App>,
}

/// Serves until the test's runtime ends.
pub(crate) async fn serve(config: Config) -> Served {
    serve_in(config, None).await
}

/// Serves as one of a fleet, or alone.
pub(crate) async fn serve_in(config: Config, fleet: Option<Fleet>) -> Served {
    let app = Arc::new(App {
        log: Mutex::default(),
        sockets: Mutex::default(),
        gate: Semaphore::new(0),
        waiting: AtomicUsize::new(0),
        waiting_max: AtomicUsize::new(0),
    });
    let engine = match fleet {
        Some(fleet) => Engine::in_fleet(config, Arc::clone(&app), fleet),
        None => Engine::new(config, Arc::clone(&app)),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = engine.clone();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let engine = serving.clone();
            let service = service_fn(move |request| {
                let engine = engine.clone();
                async move { Ok::<_, Infallible>(engine.handle(request, peer.ip()).await) }
            });
            tokio::spawn(
                http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(scaled(Duration::from_secs(1)))
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades(),
            );
        }
    });
    Served {
        address,
        app,
        engine,
    }
}

/// With the heartbeat of the official suites.
pub(crate) fn quick() -> Config {
    Config {
        ping_interval: Duration::from_millis(300),
        ping_timeout: scaled(Duration::from_millis(200)),
        ..Config::default()
    }
}

impl Served {
    /// The socket that joined last.
    pub(crate) async fn socket(&self) -> Socket<App> {
        let end = Instant::now() + *PATIENCE;
        while Instant::now() < end {
            if let Some(socket) = self.app.sockets.lock().last() {
                return socket.clone();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no socket joined");
    }

    /// Waits until the application was told so.
    pub(crate) async fn told(&self, what: &str) {
        let end = Instant::now() + *PATIENCE;
        while Instant::now() < end {
            if self.app.log.lock().iter().any(|told| told == what) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not told {what:?}: {:?}", self.app.log.lock());
    }

    /// How often the application was told so.
    pub(crate) fn count(&self, what: &str) -> usize {
        self.app
            .log
            .lock()
            .iter()
            .filter(|told| told.starts_with(what))
            .count()
    }

    /// Waits until no session is left.
    pub(crate) async fn emptied(&self) {
        let end = Instant::now() + *PATIENCE;
        while Instant::now() < end {
            if self.engine.sessions() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{} sessions are left", self.engine.sessions());
    }
}
