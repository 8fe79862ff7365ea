//! One TCP connection: bytes in, bytes out, nothing blocks.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

/// Bytes that wait for a socket the server does not read. More: the connection is given up.
const OUT_MAX: usize = 4 << 20;

/// One connection.
pub(crate) struct Connection {
    stream: TcpStream,
    /// The beginning of a frame whose end has not come.
    pub(crate) partial: Vec<u8>,
    /// What the kernel did not take.
    out: Vec<u8>,
}

/// The connection is over.
#[derive(Debug)]
pub(crate) struct Gone;

/// What a read brought.
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
    pub(crate) fn open(
        epoll: &OwnedFd,
        token: u64,
        server: SocketAddr,
        source: Option<SocketAddr>,
    ) -> Result<Connection, Errno> {
        let family = match server {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&fd, true)?;
        if let Some(source) = source {
            bind(&fd, &source)?;
        }
        match connect(&fd, &server) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let events = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(epoll, &fd, EventData::new_u64(token), events)?;
        Ok(Connection {
            stream: TcpStream::from(fd),
            partial: Vec::new(),
            out: Vec::new(),
        })
    }

    /// Whether the TCP connection came about.
    pub(crate) fn is_open(&self) -> bool {
        matches!(sockopt::socket_error(&self.stream), Ok(Ok(())))
    }

    /// Reads once.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<Got, Gone> {
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

    /// Writes, or keeps what the kernel does not take.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
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
    pub(crate) fn flush(&mut self) -> Result<(), Gone> {
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
