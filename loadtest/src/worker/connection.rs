//! One connection: bytes in, bytes out, nothing blocks. TCP, with TLS on it where the URL says so.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// Bytes that wait for a socket the server does not read. More: the connection is given up.
const OUT_MAX: usize = 4 << 20;

/// Where connections of one server go.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// How TLS is begun, and the name its certificate must hold; `None`: there is none.
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// One connection.
pub(crate) struct Connection {
    stream: TcpStream,
    /// The beginning of a frame whose end has not come.
    pub(crate) partial: Vec<u8>,
    /// What the kernel did not take. With TLS it keeps that itself.
    out: Vec<u8>,
    tls: Option<Box<ClientConnection>>,
}

/// The connection is over.
#[derive(Debug)]
pub(crate) struct Gone;

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// So many bytes, and there may be more.
    Some(usize),
    /// So many bytes, and that was all for now.
    Last(usize),
    /// Nothing for now.
    Nothing,
}

impl Connection {
    /// Begins to connect, and listens for events under `token`.
    ///
    /// # Errors
    /// Of the system.
    pub(crate) fn open(
        epoll: &OwnedFd,
        token: u64,
        server: &Server,
        source: Option<SocketAddr>,
    ) -> std::io::Result<Connection> {
        let family = match server.address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&fd, true)?;
        if let Some(source) = source {
            bind(&fd, &source)?;
        }
        match connect(&fd, &server.address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let events = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(epoll, &fd, EventData::new_u64(token), events)?;
        Ok(Connection {
            stream: TcpStream::from(fd),
            partial: Vec::new(),
            out: Vec::new(),
            tls: server.tls.as_ref().map(begin_tls).transpose()?,
        })
    }

    /// Whether the TCP connection came about.
    pub(crate) fn is_open(&self) -> bool {
        matches!(sockopt::socket_error(&self.stream), Ok(Ok(())))
    }

    /// Reads once.
    ///
    /// # Errors
    /// It is over.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<Got, Gone> {
        if self.tls.is_some() {
            return self.read_tls(buffer);
        }
        match self.stream.read(buffer) {
            Ok(0) => Err(Gone),
            // A short read has emptied the socket; what comes next makes a new event.
            Ok(n) if n < buffer.len() => Ok(Got::Last(n)),
            Ok(n) => Ok(Got::Some(n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Got::Nothing),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Got::Some(0)),
            Err(_) => Err(Gone),
        }
    }

    /// Reads records until one has bytes for the reader, or the socket has no more. The handshake goes
    /// on here, too: what it says is sent at once.
    fn read_tls(&mut self, buffer: &mut [u8]) -> Result<Got, Gone> {
        let Some(tls) = &mut self.tls else {
            return Err(Gone);
        };
        loop {
            match tls.reader().read(buffer) {
                Ok(0) => return Err(Gone),
                Ok(n) => return Ok(Got::Some(n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Err(Gone),
            }
            match tls.read_tls(&mut self.stream) {
                Ok(0) => return Err(Gone),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Got::Nothing),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Err(Gone),
            }
            let processed = tls.process_new_packets();
            // An alert that says what was wrong goes out, too.
            send_records(tls, &mut self.stream)?;
            processed.map_err(|_| Gone)?;
        }
    }

    /// Writes, or keeps what the kernel does not take.
    ///
    /// # Errors
    /// It is over, or too much waits.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        if let Some(tls) = &mut self.tls {
            // Takes less than all of it when too much waits.
            tls.writer().write_all(bytes).map_err(|_| Gone)?;
            return send_records(tls, &mut self.stream);
        }
        if !self.out.is_empty() {
            return self.keep(bytes);
        }
        match self.stream.write(bytes) {
            Ok(n) if n == bytes.len() => Ok(()),
            Ok(n) => self.keep(&bytes[n..]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.keep(bytes),
            Err(_) => Err(Gone),
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.out.extend_from_slice(bytes);
        if self.out.len() > OUT_MAX {
            return Err(Gone);
        }
        Ok(())
    }

    /// Writes what was kept.
    ///
    /// # Errors
    /// It is over.
    pub(crate) fn flush(&mut self) -> Result<(), Gone> {
        if let Some(tls) = &mut self.tls {
            return send_records(tls, &mut self.stream);
        }
        if self.out.is_empty() {
            return Ok(());
        }
        match self.stream.write(&self.out) {
            Ok(n) => {
                self.out.drain(..n);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(Gone),
        }
    }
}

fn begin_tls(
    (config, name): &(Arc<ClientConfig>, ServerName<'static>),
) -> std::io::Result<Box<ClientConnection>> {
    let tls = ClientConnection::new(Arc::clone(config), name.clone());
    let mut tls = tls.map_err(std::io::Error::other)?;
    tls.set_buffer_limit(Some(OUT_MAX));
    Ok(Box::new(tls))
}

/// Writes records until the kernel takes no more.
fn send_records(tls: &mut ClientConnection, stream: &mut TcpStream) -> Result<(), Gone> {
    while tls.wants_write() {
        match tls.write_tls(stream) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(Gone),
        }
    }
    Ok(())
}
