//! The two listeners: the public one for sockets, REST and the page, and the admin one.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::sources::ConfigError;
use crate::limits::{ACCEPT_PAUSE, FULL_RETRY_AFTER, HEAD_BYTES_MAX, HEAD_TIMEOUT};
use crate::metrics;

/// Connections that the kernel completes before we accept them. The kernel may have a lower bound
/// of its own (`net.core.somaxconn`).
const BACKLOG: u32 = 4_096;

/// What answers the requests of a listener.
pub trait Service: Send + Sync + 'static {
    /// Which listener, for metrics.
    const LISTENER: &'static str;
    /// The body of its answers.
    type Body: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static;

    /// Answers one request from this peer.
    fn answer(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Whether one more connection has room, besides so many that are open and no WebSocket.
    fn has_room(&self, open: usize) -> bool;
}

/// Takes an address, without accepting yet.
///
/// # Errors
/// It is taken, or not ours; the error names the setting.
pub fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, ConfigError> {
    let bind = || -> io::Result<TcpListener> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A restarted node need not wait for its last life's connections to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|error| ConfigError::new(setting, format!("{address}: {error}")))
}

/// The connections of one listener.
pub struct Connections {
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Connections {
    /// None yet.
    pub fn new() -> Connections {
        Connections {
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        }
    }

    /// Accepts and serves until [`Connections::close`].
    pub fn serve<S: Service>(&self, listener: TcpListener, service: Arc<S>) {
        let tasks = self.tasks.clone();
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = closing.cancelled() => return,
                };
                match accepted {
                    // The accepting task is one of the tasks.
                    Ok((stream, _)) if !service.has_room(tasks.len() - 1) => {
                        refuse(stream);
                        metrics::connection_refused(S::LISTENER);
                    }
                    Ok((stream, peer)) => {
                        let service = Arc::clone(&service);
                        tasks.spawn(serve_one(stream, peer.ip(), service, closing.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "connection could not be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        });
    }

    /// Accepts no more, lets requests under way end, and closes what is idle. Returns when all
    /// are gone.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// One connection, until it ends or becomes a WebSocket.
async fn serve_one<S: Service>(
    stream: TcpStream,
    peer: IpAddr,
    service: Arc<S>,
    closing: CancellationToken,
) {
    let _open = metrics::OpenConnection::count(S::LISTENER);
    // Messages are small and somebody waits for each of them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.answer(request, peer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "connection ended early");
    }
}

/// Says that there is no room, as far as that can be said without waiting, and closes.
fn refuse(stream: TcpStream) {
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        FULL_RETRY_AFTER.as_secs()
    );
    // The stream does not block; whether the text fits into its buffer or not, it is closed.
    let _ = stream
        .into_std()
        .and_then(|mut stream| stream.write_all(text.as_bytes()));
}
