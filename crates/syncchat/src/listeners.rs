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
use syncchat_core::Supervisor;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::sources::ConfigError;
use crate::limits::{
    ACCEPT_PAUSE, FULL_RETRY_AFTER, HEAD_BYTES_MAX, HEAD_TIMEOUT, LAST_REQUEST_WAIT,
};
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

/// An address that is ours, where nobody is answered yet: connections are refused, so that a balancer
/// tries another node.
pub struct Bound {
    setting: &'static str,
    address: SocketAddr,
    socket: TcpSocket,
}

/// Takes an address.
///
/// # Errors
/// It is taken, or not ours; the error names the setting.
pub fn bind(setting: &'static str, address: SocketAddr) -> Result<Bound, ConfigError> {
    let bind = || -> io::Result<Bound> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A restarted node need not wait for its last life's connections to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let address = socket.local_addr()?;
        Ok(Bound {
            setting,
            address,
            socket,
        })
    };
    bind().map_err(|error| ConfigError::new(setting, format!("{address}: {error}")))
}

impl Bound {
    /// The address, with the port that was given if it was left to the system.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes connections from now on.
    ///
    /// # Errors
    /// Somebody else does so at this address; the error names the setting.
    pub fn listen(self) -> Result<TcpListener, ConfigError> {
        let Bound {
            setting,
            address,
            socket,
        } = self;
        let listening = socket.listen(BACKLOG);
        listening.map_err(|error| ConfigError::new(setting, format!("{address}: {error}")))
    }
}

/// The connections of one listener.
pub struct Connections {
    tasks: TaskTracker,
    closing: CancellationToken,
    supervisor: Supervisor,
}

impl Connections {
    /// None yet. The task that accepts them is supervised.
    pub fn new(supervisor: &Supervisor) -> Connections {
        Connections {
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            supervisor: supervisor.clone(),
        }
    }

    /// Accepts and serves until [`Connections::close`].
    pub fn serve<S: Service>(&self, listener: TcpListener, service: Arc<S>) {
        let tasks = self.tasks.clone();
        let closing = self.closing.clone();
        let take = move |stream: TcpStream, peer: SocketAddr| {
            // The accepting task is one of the tasks.
            if service.has_room(tasks.len() - 1) {
                let service = Arc::clone(&service);
                tasks.spawn(serve_one(stream, peer.ip(), service, closing.clone()));
            } else {
                refuse(stream);
                metrics::connection_refused(S::LISTENER);
            }
        };
        let closing = self.closing.clone();
        let guard = self.supervisor.guard("listener");
        self.tasks.spawn(async move {
            let _guard = guard;
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = closing.cancelled() => break,
                };
                match accepted {
                    Ok((stream, peer)) => take(stream, peer),
                    Err(error) => {
                        tracing::warn!(%error, "connection could not be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
            // The kernel has let these in already: closing now would reset them, while one that comes
            // later is refused, and tries another node.
            if let Err(error) = accept_waiting(listener, take) {
                tracing::debug!(%error, "connections that waited are cut off");
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

/// Accepts what the kernel has completed, and no more. It cannot be more than [`BACKLOG`].
fn accept_waiting(listener: TcpListener, take: impl Fn(TcpStream, SocketAddr)) -> io::Result<()> {
    let listener = listener.into_std()?;
    for _ in 0..BACKLOG {
        // The listener does not block.
        match listener.accept() {
            Ok((stream, peer)) => {
                stream.set_nonblocking(true)?;
                take(TcpStream::from_std(stream)?, peer);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
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
    let asked = Notify::new();
    let answer = service_fn(|request| {
        asked.notify_one();
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
        () = async {
            closing.cancelled().await;
            // The first request may be on its way, and would be left without an answer.
            let _ = timeout(LAST_REQUEST_WAIT, asked.notified()).await;
        } => {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    struct Hello;

    impl Service for Hello {
        const LISTENER: &'static str = "test";
        type Body = Full<Bytes>;

        async fn answer(&self, _: Request<Incoming>, _: IpAddr) -> Response<Full<Bytes>> {
            Response::new(Full::new(Bytes::from_static(b"hello")))
        }

        fn has_room(&self, _: usize) -> bool {
            true
        }
    }

    fn bound() -> Bound {
        bind("--listen", SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
    }

    async fn ask(stream: &mut TcpStream) -> String {
        let request = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn nobody_is_let_in_before_there_is_somebody_to_answer() {
        let bound = bound();
        let address = bound.address();
        let refused = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let _listener = bound.listen().unwrap();
        TcpStream::connect(address).await.unwrap();
    }

    #[tokio::test]
    async fn whoever_was_let_in_is_answered_at_the_end() {
        let bound = bound();
        let address = bound.address();
        let connections = Arc::new(Connections::new(&Supervisor::new()));
        connections.serve(bound.listen().unwrap(), Arc::new(Hello));
        let mut accepted = TcpStream::connect(address).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        // On this test's one thread nobody accepts this one before the listener is to close.
        let waiting = std::net::TcpStream::connect(address).unwrap();
        waiting.set_nonblocking(true).unwrap();
        let mut waiting = TcpStream::from_std(waiting).unwrap();
        let closing = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.close().await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        for stream in [&mut accepted, &mut waiting] {
            assert!(ask(stream).await.ends_with("hello"));
        }
        closing.await.unwrap();
        let refused = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn who_asks_for_nothing_does_not_hold_up_the_end() {
        let bound = bound();
        let address = bound.address();
        let connections = Connections::new(&Supervisor::new());
        connections.serve(bound.listen().unwrap(), Arc::new(Hello));
        let _silent = TcpStream::connect(address).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        timeout(LAST_REQUEST_WAIT * 8, connections.close())
            .await
            .unwrap();
    }
}
