//! What waits for one client: bounded in bytes, and written all at once.
//!
//! Every byte that a client gets after its handshake passes through here, on either transport, so
//! nothing overtakes and attachments stay with their packet: one [`Frame`] is one item.
//!
//! The bound, `limit`:
//! - a droppable frame is refused once half of it is taken, and is the first to be dropped;
//! - a reliable frame that does not fit is refused and makes the queue *behind*: what follows is
//!   refused too, until half of the limit is free again. What waits stays, so the application knows
//!   what the client has and goes on with the refused frame, without a hole and without a double;
//! - essential frames (acks, CONNECT, pings, what the application marks so) stay. Lost acks would
//!   make clients hang, so a client that lets more than a whole `limit` of them pile up is closed,
//!   but not for [`ESSENTIAL_FRAMES`] of them: what it asked for at once may be answered at once,
//!   however long the answers are. Beyond the limit its next requests are not read.
//!
//! So no client ever holds more than twice the limit, one frame of any size aside (into an empty
//! queue it always fits), and the answers to what it asked for at once.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use syncchat_protocol::Frame;
use tokio::io::AsyncWrite;
use tokio::net::tcp::OwnedWriteHalf;

use crate::limits::{ESSENTIAL_FRAMES, IDLE_QUEUE_PLACES, WRITE_SLICES};
use crate::metrics;
use crate::socket::{Class, Pushed};

/// The queue of one session.
#[derive(Debug)]
pub(crate) struct Outbound {
    queue: VecDeque<Item>,
    /// Bytes of all items, those that are being written too.
    bytes: usize,
    /// Of them, in essential items.
    essential_bytes: usize,
    /// Droppable items in `queue`.
    droppable: usize,
    limit: usize,
    /// The client takes no binary WebSocket messages.
    base64: bool,
    behind: bool,
    /// Items were taken out by [`Outbound::begin`] and are being written.
    writing: bool,
    /// All that was not begun was dropped while items were out.
    cut: bool,
}

#[derive(Debug)]
struct Item {
    piece: Piece,
    class: Class,
    /// A part of it was written: the rest has to follow. Only the first item can be begun.
    begun: bool,
}

#[derive(Debug)]
enum Piece {
    Frame(Frame),
    /// Bytes for a WebSocket only: a control frame, base64, or the rest of a begun frame.
    Raw(Bytes),
}

/// What came of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Push {
    Queued,
    Dropped,
    Behind,
    /// An essential frame too many: the client is to be closed.
    Overflow,
}

impl From<Push> for Pushed {
    fn from(push: Push) -> Pushed {
        match push {
            Push::Queued => Pushed::Queued,
            Push::Dropped => Pushed::Dropped,
            Push::Behind => Pushed::Behind,
            Push::Overflow => Pushed::Closed,
        }
    }
}

impl Outbound {
    pub(crate) fn new(limit: usize) -> Outbound {
        Outbound {
            queue: VecDeque::new(),
            bytes: 0,
            essential_bytes: 0,
            droppable: 0,
            limit,
            base64: false,
            behind: false,
            writing: false,
            cut: false,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits to be taken; something may still be in the writing.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Appends a frame, or says why not.
    pub(crate) fn push(&mut self, frame: &Frame, class: Class) -> Push {
        let piece = match self.base64 {
            false => Piece::Frame(frame.clone()),
            true => Piece::Raw(frame.wire_base64()),
        };
        self.push_piece(piece, class)
    }

    /// Appends a control frame of WebSocket.
    pub(crate) fn push_raw(&mut self, bytes: Bytes) -> Push {
        self.push_piece(Piece::Raw(bytes), Class::Essential)
    }

    /// From here on everything goes to a WebSocket whose client takes only text.
    pub(crate) fn use_base64(&mut self) {
        self.base64 = true;
        let queue = std::mem::take(&mut self.queue);
        self.bytes = 0;
        self.essential_bytes = 0;
        self.droppable = 0;
        for Item { piece, class, .. } in queue {
            let piece = match piece {
                Piece::Frame(frame) => Piece::Raw(frame.wire_base64()),
                raw => raw,
            };
            self.append(piece, class);
        }
    }

    fn push_piece(&mut self, piece: Piece, class: Class) -> Push {
        let verdict = self.admit(piece.size(), class);
        if verdict == Push::Queued {
            self.append(piece, class);
        }
        verdict
    }

    fn admit(&mut self, size: usize, class: Class) -> Push {
        match class {
            Class::Droppable if self.behind || self.bytes + size > self.limit / 2 => {
                metrics::dropped(Class::Droppable, 1);
                Push::Dropped
            }
            Class::Droppable => Push::Queued,
            Class::Reliable if self.behind => {
                metrics::dropped(Class::Reliable, 1);
                Push::Behind
            }
            Class::Reliable if self.fits(size, self.limit) => Push::Queued,
            Class::Reliable => {
                self.drop_droppable();
                if self.fits(size, self.limit) {
                    return Push::Queued;
                }
                metrics::dropped(Class::Reliable, 1);
                metrics::behind();
                self.behind = true;
                Push::Behind
            }
            Class::Essential
                if self.essential_bytes + size > self.limit
                    && self.essential_waiting() >= ESSENTIAL_FRAMES =>
            {
                Push::Overflow
            }
            Class::Essential => Push::Queued,
        }
    }

    /// Whether the client leaves a whole limit of answers untaken: it is not read until it has.
    pub(crate) fn is_choked(&self) -> bool {
        self.essential_bytes > self.limit
    }

    /// Essential frames that were not begun to be written; counted only where it matters.
    fn essential_waiting(&self) -> usize {
        let essential = |item: &&Item| item.class == Class::Essential;
        self.queue.iter().filter(essential).count()
    }

    /// Into an empty queue anything fits: a frame must not be refused for ever.
    fn fits(&self, size: usize, limit: usize) -> bool {
        self.bytes == 0 || self.bytes + size <= limit
    }

    fn append(&mut self, piece: Piece, class: Class) {
        let size = piece.size();
        self.bytes += size;
        match class {
            Class::Droppable => self.droppable += 1,
            Class::Essential => self.essential_bytes += size,
            Class::Reliable => {}
        }
        self.queue.push_back(Item {
            piece,
            class,
            begun: false,
        });
    }

    /// Drops what waits and was not begun, except what is essential. Returns the bytes.
    pub(crate) fn drop_waiting(&mut self) -> usize {
        self.cut = self.writing;
        let before = self.bytes;
        let mut queue = std::mem::take(&mut self.queue);
        self.drop_from(&mut queue, |item| {
            item.class != Class::Essential && !item.begun
        });
        self.queue = queue;
        before - self.bytes
    }

    fn drop_droppable(&mut self) {
        if self.droppable > 0 {
            let mut queue = std::mem::take(&mut self.queue);
            self.drop_from(&mut queue, |item| {
                item.class == Class::Droppable && !item.begun
            });
            self.queue = queue;
        }
    }

    fn drop_from(&mut self, items: &mut VecDeque<Item>, unwanted: impl Fn(&Item) -> bool) {
        let (mut droppable, mut reliable) = (0, 0);
        items.retain(|item| {
            if !unwanted(item) {
                return true;
            }
            match item.class {
                Class::Droppable => droppable += 1,
                _ => reliable += 1,
            }
            self.bytes -= item.piece.size();
            false
        });
        self.droppable = self.droppable.saturating_sub(droppable);
        metrics::dropped(Class::Droppable, droppable);
        metrics::dropped(Class::Reliable, reliable);
    }

    /// Whether [`Outbound::take_drained`] has something to say.
    pub(crate) fn is_drained(&self) -> bool {
        self.behind && self.bytes <= self.limit / 2
    }

    /// True once after the client took so much of a queue that was behind that half of it is free.
    pub(crate) fn take_drained(&mut self) -> bool {
        let drained = self.is_drained();
        if drained {
            self.behind = false;
        }
        drained
    }

    /// Takes everything for a poll; no WebSocket writes at the same time.
    pub(crate) fn take_frames(&mut self) -> Vec<Frame> {
        let frames = self
            .queue
            .drain(..)
            .filter_map(|item| match item.piece {
                Piece::Frame(frame) => Some(frame),
                Piece::Raw(_) => None,
            })
            .collect();
        self.forget();
        frames
    }

    /// Drops everything, at the end of the session.
    pub(crate) fn forget(&mut self) {
        self.queue = VecDeque::new();
        self.bytes = 0;
        self.essential_bytes = 0;
        self.droppable = 0;
    }

    /// Takes out what is to be written now; [`Outbound::finish`] takes back what was not. Between
    /// the two, the queue's lock need not be held.
    pub(crate) fn begin(&mut self) -> Option<Batch> {
        if self.queue.is_empty() || self.writing {
            return None;
        }
        self.writing = true;
        self.droppable = 0;
        Some(Batch {
            items: std::mem::take(&mut self.queue),
            written: 0,
            essential: 0,
        })
    }

    /// The counterpart of [`Outbound::begin`].
    pub(crate) fn finish(&mut self, batch: Batch) {
        let Batch {
            mut items,
            written,
            essential,
        } = batch;
        self.writing = false;
        self.bytes = self.bytes.saturating_sub(written);
        self.essential_bytes = self.essential_bytes.saturating_sub(essential);
        self.droppable += items
            .iter()
            .filter(|item| item.class == Class::Droppable)
            .count();
        if std::mem::take(&mut self.cut) {
            self.drop_from(&mut items, |item| {
                item.class != Class::Essential && !item.begun
            });
        }
        if items.is_empty() {
            if self.queue.capacity() == 0 && items.capacity() <= IDLE_QUEUE_PLACES {
                self.queue = items;
            }
        } else {
            items.append(&mut self.queue);
            self.queue = items;
        }
    }
}

/// Items on their way to the kernel.
#[derive(Debug)]
pub(crate) struct Batch {
    items: VecDeque<Item>,
    written: usize,
    essential: usize,
}

impl Batch {
    /// Writes as much as the kernel takes, with one system call for up to [`WRITE_SLICES`] items.
    /// Returns the bytes written by this call; 0 never comes back as `Ok` unless nothing is left.
    pub(crate) fn poll_write(
        &mut self,
        stream: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut blocked = false;
        let written = self.write_by(|slices| match stream.poll_write_vectored(cx, slices) {
            Poll::Ready(written) => written,
            Poll::Pending => {
                blocked = true;
                Err(io::ErrorKind::WouldBlock.into())
            }
        });
        match blocked {
            true => Poll::Pending,
            false => Poll::Ready(written),
        }
    }

    /// The same without waiting for the kernel: `WouldBlock` if it takes nothing.
    ///
    /// Few small frames are put together in `scratch`, up to its size: to copy them costs less than
    /// the kernel takes for a list of them.
    pub(crate) fn write(
        &mut self,
        stream: &OwnedWriteHalf,
        scratch: &mut [u8],
    ) -> io::Result<usize> {
        let together = match self.items.len() {
            0 => return Ok(0),
            1 => self.items.front().map(|item| &item.piece.bytes()[..]),
            _ => gather(
                self.items.iter().map(|item| &item.piece.bytes()[..]),
                scratch,
            ),
        };
        match together {
            Some(bytes) => {
                let written = stream.try_write(bytes)?;
                self.wrote(written)
            }
            None => self.write_by(|slices| stream.try_write_vectored(slices)),
        }
    }

    fn write_by(
        &mut self,
        write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
        let mut count = 0;
        for (slice, item) in slices.iter_mut().zip(&self.items) {
            *slice = IoSlice::new(item.piece.bytes());
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        let written = write(&slices[..count])?;
        self.wrote(written)
    }

    fn wrote(&mut self, written: usize) -> io::Result<usize> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.advance(written);
        Ok(written)
    }

    fn advance(&mut self, written: usize) {
        self.written += written;
        let mut left = written;
        while let Some(item) = self.items.front_mut() {
            let size = item.piece.size();
            let here = left.min(size);
            if item.class == Class::Essential {
                self.essential += here;
            }
            if left < size {
                item.begin(left);
                return;
            }
            left -= size;
            self.items.pop_front();
        }
    }
}

/// All of these one behind the other, if they have room there.
fn gather<'a, 'b>(
    pieces: impl Iterator<Item = &'b [u8]>,
    scratch: &'a mut [u8],
) -> Option<&'a [u8]> {
    let mut size = 0;
    for piece in pieces {
        scratch
            .get_mut(size..size + piece.len())?
            .copy_from_slice(piece);
        size += piece.len();
    }
    Some(&scratch[..size])
}

impl Item {
    fn begin(&mut self, written: usize) {
        if written > 0 {
            let mut bytes = self.piece.bytes().clone();
            bytes.advance(written);
            self.piece = Piece::Raw(bytes);
            self.begun = true;
        }
    }
}

impl Piece {
    fn bytes(&self) -> &Bytes {
        match self {
            Piece::Frame(frame) => frame.wire(),
            Piece::Raw(bytes) => bytes,
        }
    }

    fn size(&self) -> usize {
        self.bytes().len()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const LIMIT: usize = 1000;

    /// A connection that takes so many bytes, then nothing.
    struct Kernel {
        room: usize,
        taken: Vec<u8>,
        calls: usize,
    }

    impl AsyncWrite for Kernel {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.room == 0 {
                return Poll::Pending;
            }
            let count = bytes.len().min(self.room);
            self.room -= count;
            self.taken.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.calls += 1;
            let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            self.poll_write(cx, &bytes)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn kernel(room: usize) -> Kernel {
        Kernel {
            room,
            taken: Vec::new(),
            calls: 0,
        }
    }

    /// A frame of exactly so many bytes, filled with a character.
    fn frame(size: usize, fill: char) -> Frame {
        let header = if size < 129 { 2 } else { 4 };
        let frame = Frame::message(&fill.to_string().repeat(size - header - 1));
        assert_eq!(frame.size(), size);
        frame
    }

    fn write(out: &mut Outbound, kernel: &mut Kernel) {
        let mut cx = Context::from_waker(Waker::noop());
        while let Some(mut batch) = out.begin() {
            let written = batch.poll_write(Pin::new(kernel), &mut cx);
            out.finish(batch);
            if !matches!(written, Poll::Ready(Ok(_))) {
                break;
            }
        }
    }

    #[test]
    fn all_that_waits_goes_out_in_one_call() {
        let (mut out, mut kernel) = (Outbound::new(100 * LIMIT), kernel(usize::MAX));
        let mut expected = Vec::new();
        for i in 0..WRITE_SLICES {
            let frame = Frame::message(&format!("number {i}"));
            assert_eq!(out.push(&frame, Class::Reliable), Push::Queued);
            expected.extend_from_slice(frame.wire());
        }
        write(&mut out, &mut kernel);
        assert_eq!((kernel.taken, kernel.calls), (expected, 1));
        assert_eq!((out.bytes(), out.is_empty()), (0, true));
        assert!(
            out.queue.capacity() <= IDLE_QUEUE_PLACES,
            "an idle queue is small"
        );
    }

    #[test]
    fn frames_are_gathered_as_far_as_there_is_room() {
        let pieces = || [&b"abc"[..], b"de"].into_iter();
        assert_eq!(gather(pieces(), &mut [0; 5]), Some(&b"abcde"[..]));
        assert_eq!(gather(pieces(), &mut [0; 4]), None);
    }

    #[test]
    fn a_begun_frame_is_finished_whatever_is_cleared_meanwhile() {
        let (mut out, mut kernel) = (Outbound::new(LIMIT), kernel(150));
        for fill in ['a', 'b', 'c'] {
            assert_eq!(out.push(&frame(100, fill), Class::Reliable), Push::Queued);
        }
        assert_eq!(out.push(&frame(100, 'e'), Class::Essential), Push::Queued);
        write(&mut out, &mut kernel);
        assert_eq!(out.bytes(), 250);
        assert_eq!(
            out.drop_waiting(),
            100,
            "neither the begun nor the essential one"
        );
        kernel.room = usize::MAX;
        write(&mut out, &mut kernel);
        let expected = [frame(100, 'a'), frame(100, 'b'), frame(100, 'e')];
        let expected: Vec<u8> = expected
            .iter()
            .flat_map(|frame| frame.wire().to_vec())
            .collect();
        assert_eq!((kernel.taken, out.bytes()), (expected, 0));
    }

    #[test]
    fn what_is_cleared_while_a_batch_is_out_is_dropped_when_it_comes_back() {
        let (mut out, mut kernel) = (Outbound::new(LIMIT), kernel(50));
        for fill in ['a', 'b'] {
            assert_eq!(out.push(&frame(100, fill), Class::Reliable), Push::Queued);
        }
        let mut batch = out.begin().unwrap();
        assert!(out.begin().is_none(), "one at a time");
        let mut cx = Context::from_waker(Waker::noop());
        assert!(batch.poll_write(Pin::new(&mut kernel), &mut cx).is_ready());
        assert_eq!(out.push(&frame(100, 'c'), Class::Reliable), Push::Queued);
        assert_eq!(out.drop_waiting(), 100);
        out.finish(batch);
        assert_eq!(out.bytes(), 50, "what is left of the begun frame");
        kernel.room = usize::MAX;
        write(&mut out, &mut kernel);
        assert_eq!(kernel.taken, frame(100, 'a').wire().to_vec());
        assert_eq!(out.bytes(), 0);
    }

    #[test]
    fn classes_have_their_bounds() {
        let mut out = Outbound::new(LIMIT);
        for _ in 0..5 {
            assert_eq!(out.push(&frame(100, 'd'), Class::Droppable), Push::Queued);
        }
        assert_eq!(out.push(&frame(100, 'd'), Class::Droppable), Push::Dropped);
        for _ in 0..10 {
            assert_eq!(out.push(&frame(100, 'r'), Class::Reliable), Push::Queued);
        }
        assert_eq!(out.bytes(), LIMIT, "the droppable ones made room");
        assert_eq!(out.push(&frame(100, 'r'), Class::Reliable), Push::Behind);
        assert!(!out.take_drained());
        for _ in 0..ESSENTIAL_FRAMES {
            assert_eq!(out.push(&frame(100, 'e'), Class::Essential), Push::Queued);
        }
        assert_eq!(out.push(&frame(100, 'e'), Class::Essential), Push::Overflow);
        assert_eq!(out.bytes(), LIMIT + 100 * ESSENTIAL_FRAMES);
        let above_half = out.bytes() - LIMIT / 2;
        write(&mut out, &mut kernel(above_half - 1));
        assert!(!out.take_drained());
        assert_eq!(out.push(&frame(100, 'r'), Class::Reliable), Push::Behind);
        write(&mut out, &mut kernel(1));
        assert!(out.take_drained());
        assert!(!out.take_drained(), "once");
        assert_eq!(out.push(&frame(100, 'r'), Class::Reliable), Push::Queued);
        write(&mut out, &mut kernel(usize::MAX));
        assert_eq!((out.bytes(), out.essential_bytes, out.droppable), (0, 0, 0));
    }

    #[test]
    fn base64_counts_the_bytes_that_are_written() {
        let mut out = Outbound::new(LIMIT);
        assert_eq!(
            out.push(&Frame::binary(&[1, 2, 3, 4]), Class::Reliable),
            Push::Queued
        );
        out.use_base64();
        assert_eq!(
            out.push(&Frame::binary(&[5]), Class::Reliable),
            Push::Queued
        );
        let mut kernel = kernel(usize::MAX);
        write(&mut out, &mut kernel);
        assert_eq!(kernel.taken, b"\x81\x09bAQIDBA==\x81\x05bBQ==");
        assert_eq!(out.bytes(), 0);
    }
}
