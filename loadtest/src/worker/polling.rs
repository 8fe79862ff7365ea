//! Sockets over long polling: one connection that always asks for more, and one that brings what
//! is to be sent, a payload at a time.

use memchr::{memchr, memrchr};

use super::Worker;
use super::connection::Connection;
use super::http::{self, SEPARATOR};
use super::socket::State;

/// Bytes of one payload, below what servers take (`maxPayload`, 100,000 unless set otherwise).
const PAYLOAD_MAX: usize = 64 << 10;
/// Bytes that wait to be sent. More: the server takes nothing, and the socket is given up.
const WAITING_MAX: usize = 4 << 20;

/// Which of a socket's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Its only one, or the one that polls.
    Main,
    /// The one that sends.
    Post,
}

/// What a socket over long polling has, apart from its main connection.
#[derive(Default)]
pub(crate) struct Polling {
    /// The session, once it is known.
    sid: String,
    /// What the balancer knows the server by.
    cookie: String,
    pub(crate) post: Option<Connection>,
    /// Whether a payload was sent and is not answered.
    posting: bool,
    /// Packets that wait, with separators between them.
    waiting: Vec<u8>,
}

impl Polling {
    /// For a new connection.
    pub(crate) fn reset(&mut self) {
        *self = Polling::default();
    }

    /// The next payload: as many whole packets as may go at once.
    fn take_payload(&mut self) -> Vec<u8> {
        if self.waiting.len() <= PAYLOAD_MAX {
            return std::mem::take(&mut self.waiting);
        }
        let cut = memrchr(SEPARATOR, &self.waiting[..PAYLOAD_MAX])
            .or_else(|| memchr(SEPARATOR, &self.waiting));
        let Some(cut) = cut else {
            return std::mem::take(&mut self.waiting);
        };
        let rest = self.waiting.split_off(cut + 1);
        let mut payload = std::mem::replace(&mut self.waiting, rest);
        payload.pop();
        payload
    }
}

impl Worker {
    /// Asks for the next packets; the first time, for a session.
    pub(super) fn poll(&mut self, i: usize) {
        let request = self.request(i, "GET", None);
        self.write(i, &request);
    }

    fn request(&self, i: usize, method: &str, body: Option<&[u8]>) -> Vec<u8> {
        let (path, host) = (&self.ways.path, &self.ways.host);
        let mut request = format!("{method} {path}?EIO=4&transport=polling");
        if let Some(polling) = &self.sockets[i].polling {
            if !polling.sid.is_empty() {
                request += "&sid=";
                request += &polling.sid;
            }
            request += " HTTP/1.1\r\nHost: ";
            request += host;
            if !polling.cookie.is_empty() {
                request += "\r\nCookie: ";
                request += &polling.cookie;
            }
        }
        if let Some(body) = body {
            let length = body.len();
            request += "\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: ";
            request += &length.to_string();
        }
        request += "\r\n\r\n";
        let mut request = request.into_bytes();
        request.extend_from_slice(body.unwrap_or_default());
        request
    }

    /// Lets a packet wait for the next payload, which leaves at once if none is under way.
    pub(super) fn send_by_post(&mut self, i: usize, packet: &[u8]) {
        let Some(polling) = &mut self.sockets[i].polling else {
            return;
        };
        if !polling.waiting.is_empty() {
            polling.waiting.push(SEPARATOR);
        }
        polling.waiting.extend_from_slice(packet);
        if polling.waiting.len() > WAITING_MAX {
            return self.gone(i, "the server takes nothing");
        }
        self.post(i);
    }

    fn post(&mut self, i: usize) {
        let Some(polling) = &mut self.sockets[i].polling else {
            return;
        };
        if polling.posting || polling.waiting.is_empty() {
            return;
        }
        let payload = polling.take_payload();
        polling.posting = true;
        if polling.post.is_none() {
            let (server, source) = (self.sockets[i].server, self.next_source());
            let token = Worker::token(i, Lane::Post);
            match Connection::open(&self.epoll, token, &self.servers[server], source) {
                Ok(connection) => self.lay_post(i, connection),
                Err(error) => return self.gone(i, &error.to_string()),
            }
        }
        let request = self.request(i, "POST", Some(&payload));
        let post = self.sockets[i].polling.as_mut();
        let post = post.and_then(|polling| polling.post.as_mut());
        if post.is_some_and(|post| post.write(&request).is_err()) {
            self.gone(i, "a write failed");
        }
    }

    fn lay_post(&mut self, i: usize, connection: Connection) {
        if let Some(polling) = &mut self.sockets[i].polling {
            polling.post = Some(connection);
        }
    }

    /// The connection that sends is over. Between two payloads the server may end it.
    pub(super) fn post_is_over(&mut self, i: usize) {
        let polling = self.sockets[i].polling.as_mut();
        if polling.as_ref().is_some_and(|polling| polling.posting) {
            return self.gone(i, "closed by the server");
        }
        if let Some(polling) = polling {
            polling.post = None;
        }
    }

    /// Takes in bytes of a lane; how many of them were whole answers.
    pub(super) fn take_in_answers(
        &mut self,
        i: usize,
        lane: Lane,
        bytes: &[u8],
        now: u64,
    ) -> usize {
        let mut used = 0;
        loop {
            let answer = match http::first(&bytes[used..]) {
                Ok(Some(answer)) => answer,
                Ok(None) => return used,
                Err(why) => {
                    self.gone(i, why);
                    return bytes.len();
                }
            };
            used += answer.end;
            if !answer.is_ok() {
                self.gone(i, answer.line);
                return bytes.len();
            }
            match lane {
                Lane::Post => {
                    if let Some(polling) = &mut self.sockets[i].polling {
                        polling.posting = false;
                    }
                    self.post(i);
                }
                Lane::Main => self.take_in_payload(i, &answer, now),
            }
            if self.sockets[i].connection.is_none() {
                return bytes.len();
            }
        }
    }

    /// A poll was answered: its packets, and the next poll.
    fn take_in_payload(&mut self, i: usize, answer: &http::Answer<'_>, now: u64) {
        if self.sockets[i].state == State::Upgrading {
            let Some(sid) = sid(answer.body) else {
                return self.gone(i, "a handshake without a session");
            };
            let socket = &mut self.sockets[i];
            socket.state = State::Entering;
            if let Some(polling) = &mut socket.polling {
                sid.clone_into(&mut polling.sid);
                answer
                    .cookie
                    .unwrap_or_default()
                    .clone_into(&mut polling.cookie);
            }
        }
        let attempt = self.sockets[i].attempt;
        for packet in answer.body.split(|byte| *byte == SEPARATOR) {
            self.packet(i, packet, now);
            if self.sockets[i].connection.is_none() || self.sockets[i].attempt != attempt {
                return;
            }
        }
        self.poll(i);
    }
}

/// The session that a handshake names.
fn sid(body: &[u8]) -> Option<&str> {
    let body = std::str::from_utf8(body).ok()?;
    let (_, rest) = body.split_once("\"sid\":\"")?;
    rest.split_once('"').map(|(sid, _)| sid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_hold_whole_packets_in_order() {
        let packet = vec![b'x'; 40_000];
        let mut polling = Polling {
            waiting: [&packet[..], &packet[..], &packet[..]].join(&SEPARATOR),
            ..Polling::default()
        };
        for left in [2_usize, 1, 0] {
            assert_eq!(polling.take_payload(), packet);
            assert_eq!(
                polling.waiting.len(),
                left * 40_000 + left.saturating_sub(1)
            );
        }
        polling.waiting = vec![b'y'; PAYLOAD_MAX + 1];
        assert_eq!(polling.take_payload().len(), PAYLOAD_MAX + 1);
        assert!(polling.take_payload().is_empty());
    }

    #[test]
    fn a_handshake_names_its_session() {
        assert_eq!(sid(br#"0{"sid":"abc","upgrades":[]}"#), Some("abc"));
        assert_eq!(sid(b"0{}"), None);
    }
}
