//! A yardstick, not a product: the least that a Socket.IO server can do for a message. One thread,
//! epoll, no JSON, no checks, no store. A message's packet is made once; what has come in for a
//! socket during a turn of the loop leaves in one write at its end.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use memchr::memmem::find;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

const LISTENER: u64 = u64::MAX;
const EVENTS_MAX: usize = 1024;
/// Bytes that wait for one socket. More: it is closed.
const OUT_MAX: usize = 16 << 20;
const OPEN: &[u8] = br#"0{"sid":"AAAAAAAAAAAAAAAAAAAA","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":100000}"#;

struct Socket {
    stream: TcpStream,
    upgraded: bool,
    input: Vec<u8>,
    out: Vec<u8>,
    dirty: bool,
    rooms: Vec<usize>,
}

#[derive(Default)]
struct Server {
    sockets: Vec<Option<Socket>>,
    free: Vec<usize>,
    names: HashMap<Vec<u8>, usize>,
    rooms: Vec<Vec<usize>>,
    dirty: Vec<usize>,
    serial: u64,
}

fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "9003".to_owned());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"))?;
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut server = Server::default();
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut buffer = vec![0; 64 << 10];
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let (data, flags) = (event.data, event.flags);
            if data.u64() == LISTENER {
                server.accept(&epoll, &listener)?;
                continue;
            }
            let i = data.u64() as usize;
            if flags.contains(EventFlags::OUT) {
                server.mark(i);
            }
            server.read(i, &mut buffer);
        }
        server.flush();
    }
}

impl Server {
    fn accept(&mut self, epoll: &OwnedFd, listener: &TcpListener) -> std::io::Result<()> {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let i = self.free.pop().unwrap_or_else(|| {
                self.sockets.push(None);
                self.sockets.len() - 1
            });
            let events = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(epoll, &stream, EventData::new_u64(i as u64), events)?;
            self.sockets[i] = Some(Socket {
                stream,
                upgraded: false,
                input: Vec::new(),
                out: Vec::new(),
                dirty: false,
                rooms: Vec::new(),
            });
        }
        Ok(())
    }

    fn read(&mut self, i: usize, buffer: &mut [u8]) {
        while let Some(socket) = self.sockets[i].as_mut() {
            match socket.stream.read(buffer) {
                Ok(0) => return self.close(i),
                Ok(n) => {
                    socket.input.extend_from_slice(&buffer[..n]);
                    self.take_in(i);
                    if n < buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.close(i),
            }
        }
    }

    fn take_in(&mut self, i: usize) {
        let Some(socket) = self.sockets[i].as_mut() else {
            return;
        };
        let mut input = std::mem::take(&mut socket.input);
        let mut used = 0;
        if !socket.upgraded {
            let Some(end) = find(&input, b"\r\n\r\n") else {
                socket.input = input;
                return;
            };
            socket.upgraded = true;
            // The load test does not look at the key's answer.
            socket.out.extend_from_slice(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            );
            frame(&mut socket.out, OPEN);
            self.mark(i);
            used = end + 4;
        }
        while let Some((range, mask)) = first(&input[used..]) {
            let payload = &mut input[used + range.start..used + range.end];
            for (at, byte) in payload.iter_mut().enumerate() {
                *byte ^= mask[at & 3];
            }
            let range = used + range.start..used + range.end;
            used = range.end;
            self.packet(i, &input[range]);
        }
        if let Some(socket) = self.sockets[i].as_mut() {
            input.drain(..used);
            if !input.is_empty() {
                socket.input = input;
            }
        }
    }

    fn packet(&mut self, i: usize, packet: &[u8]) {
        if packet.starts_with(b"40") {
            return self.send(i, b"40{\"sid\":\"BBBBBBBBBBBBBBBBBBBB\"}");
        }
        let Some(rest) = packet.strip_prefix(b"42") else {
            return;
        };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (ack, event) = rest.split_at(digits);
        if let Some(room) = event.strip_prefix(b"[\"join\",\"") {
            let room = &room[..find(room, b"\"").unwrap_or(0)];
            let next = self.rooms.len();
            let room = *self.names.entry(room.to_vec()).or_insert(next);
            if room == next {
                self.rooms.push(Vec::new());
            }
            self.rooms[room].push(i);
            if let Some(socket) = self.sockets[i].as_mut() {
                socket.rooms.push(room);
            }
            return self.send(i, &[b"43", ack, b"[{\"ok\":true}]"].concat());
        }
        let Some(message) = event.strip_prefix(b"[\"send_msg\",{\"conversationId\":\"") else {
            return;
        };
        let Some(end) = find(message, b"\"") else {
            return;
        };
        let Some(room) = self.names.get(&message[..end]).copied() else {
            return;
        };
        self.serial += 1;
        // As long as a message of the other servers: what they carry besides the text.
        let fields = format!(
            r#"{{"id":"{:024x}","sender":"000000000000000000000000","type":"text","status":"sent","readBy":[],"edited":false,"deleted":false,"attachments":[],"createdAt":"2026-01-31T08:15:30.123Z","updatedAt":"2026-01-31T08:15:30.123Z","conversationId":""#,
            self.serial
        );
        let message = [fields.as_bytes(), &message[..message.len() - 1]].concat();
        self.send(i, &[b"43", ack, b"[{\"ok\":true,\"message\":", &message, b"}]"].concat());
        let mut shared = Vec::with_capacity(message.len() + 32);
        frame(&mut shared, &[b"42[\"receive_msg\",", &message[..], b"]"].concat());
        for at in 0..self.rooms[room].len() {
            let to = self.rooms[room][at];
            if to != i {
                self.queue(to, &shared);
            }
        }
    }

    fn send(&mut self, i: usize, packet: &[u8]) {
        if let Some(socket) = self.sockets[i].as_mut() {
            frame(&mut socket.out, packet);
            self.mark(i);
        }
    }

    fn queue(&mut self, i: usize, bytes: &[u8]) {
        if let Some(socket) = self.sockets[i].as_mut() {
            socket.out.extend_from_slice(bytes);
            self.mark(i);
        }
    }

    fn mark(&mut self, i: usize) {
        if let Some(socket) = self.sockets[i].as_mut()
            && !std::mem::replace(&mut socket.dirty, true)
        {
            self.dirty.push(i);
        }
    }

    fn flush(&mut self) {
        for i in std::mem::take(&mut self.dirty) {
            let Some(socket) = self.sockets[i].as_mut() else {
                continue;
            };
            socket.dirty = false;
            if socket.out.is_empty() {
                continue;
            }
            match socket.stream.write(&socket.out) {
                Ok(n) if n == socket.out.len() => socket.out.clear(),
                Ok(n) => {
                    socket.out.drain(..n);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.close(i),
            }
            let full = |socket: &Socket| socket.out.len() > OUT_MAX;
            if self.sockets[i].as_ref().is_some_and(full) {
                self.close(i);
            }
        }
    }

    fn close(&mut self, i: usize) {
        if let Some(socket) = self.sockets[i].take() {
            for room in socket.rooms {
                self.rooms[room].retain(|member| *member != i);
            }
            self.free.push(i);
        }
    }
}

/// Appends a text frame.
fn frame(out: &mut Vec<u8>, payload: &[u8]) {
    out.push(0x81);
    match payload.len() {
        short @ 0..=125 => out.push(short as u8),
        middle @ 126..=65_535 => {
            out.push(126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// Where the payload of the first masked frame lies, and its mask; `None` if it is not complete.
fn first(bytes: &[u8]) -> Option<(std::ops::Range<usize>, [u8; 4])> {
    let length = bytes.get(1)? & 0x7f;
    let (start, length) = match length {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        length => (2, usize::from(length)),
    };
    let mask = bytes.get(start..start + 4)?.try_into().ok()?;
    let range = start + 4..start + 4 + length;
    (bytes.len() >= range.end).then_some((range, mask))
}
