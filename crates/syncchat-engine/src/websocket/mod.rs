//! WebSockets: the opening handshake, reading, and the TCP stream below.

pub(crate) mod opening;
pub(crate) mod reader;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::limits::READ_BYTES;
use reader::{Fault, Reader, Sink};

/// Bytes read at once from a client whose words do not matter any more.
const DISCARD_BYTES: usize = 4096;

/// An opened WebSocket. It has no buffer for reading: those belong to the threads.
pub(crate) struct Stream {
    read: OwnedReadHalf,
    /// Unless somebody else writes.
    write: Option<OwnedWriteHalf>,
    reader: Reader,
}

/// What one read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// There may be more.
    Some,
    /// The receiver wanted no more.
    Stopped,
    /// The client is gone.
    End,
}

/// Why reading cannot go on.
#[derive(Debug)]
pub(crate) enum ReadError {
    Fault(Fault),
    Io,
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

impl Stream {
    /// `rest` was read behind the request that opened it.
    pub(crate) fn new(stream: TcpStream, rest: &[u8]) -> Stream {
        // Frames are gathered by us; what is written is to leave at once.
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        Stream {
            read,
            write: Some(write),
            reader: Reader::with_rest(rest),
        }
    }

    /// Reads once, and gives the messages to the sink. What was kept from before comes first.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
        sink: &mut Sink<'_>,
    ) -> Poll<Result<Read, ReadError>> {
        if self.reader.has_rest() {
            let flow = self.reader.resume(max, sink).map_err(ReadError::Fault)?;
            if flow.is_break() {
                return Poll::Ready(Ok(Read::Stopped));
            }
        }
        BUFFER.with(|buffer| match buffer.try_borrow_mut() {
            Ok(mut buffer) => self.read_into(&mut buffer, cx, max, sink),
            // Only if a receiver reads another stream on this thread.
            Err(_) => self.read_into(&mut vec![0; READ_BYTES], cx, max, sink),
        })
    }

    fn read_into(
        &mut self,
        buffer: &mut [u8],
        cx: &mut Context<'_>,
        max: usize,
        sink: &mut Sink<'_>,
    ) -> Poll<Result<Read, ReadError>> {
        let kept = self.reader.unread(buffer);
        let mut into = ReadBuf::new(&mut buffer[kept..]);
        let read = Pin::new(&mut self.read).poll_read(cx, &mut into);
        let count = into.filled().len();
        let bytes = &mut buffer[..kept + count];
        if read.is_pending() {
            self.reader.keep(bytes);
        }
        ready!(read).map_err(|_| ReadError::Io)?;
        if count == 0 {
            return Poll::Ready(Ok(Read::End));
        }
        let read = match self
            .reader
            .feed(bytes, max, sink)
            .map_err(ReadError::Fault)?
        {
            ControlFlow::Continue(()) => Read::Some,
            ControlFlow::Break(()) => Read::Stopped,
        };
        Poll::Ready(Ok(read))
    }

    /// Ends our side, then reads and forgets until the client has ended its own. Whoever took the
    /// writer has dropped it.
    pub(crate) fn poll_shut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.write = None;
        let mut buffer = [0; DISCARD_BYTES];
        loop {
            let mut into = ReadBuf::new(&mut buffer);
            let read: io::Result<()> = ready!(Pin::new(&mut self.read).poll_read(cx, &mut into));
            if read.is_err() || into.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }

    /// What to write to; `None` once somebody else does.
    pub(crate) fn writer(&mut self) -> Option<Pin<&mut OwnedWriteHalf>> {
        self.write.as_mut().map(Pin::new)
    }

    /// For somebody else who writes. Dropping it shuts our side.
    pub(crate) fn take_writer(&mut self) -> Option<OwnedWriteHalf> {
        self.write.take()
    }

    /// Waits until the kernel takes more, after a write to what [`Stream::take_writer`] gave was
    /// told that it does not.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.read.as_ref().poll_write_ready(cx)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}
