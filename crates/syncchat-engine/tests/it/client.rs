//! Clients that write bytes, so that they can also write wrong ones.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use test_speed::scaled;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than anything takes that is to happen at all.
pub(crate) static PATIENCE: LazyLock<Duration> = LazyLock::new(|| scaled(Duration::from_secs(5)));

/// An answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (other, value) = line.split_once(':')?;
            other.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// One request on a connection of its own.
pub(crate) async fn request(
    address: SocketAddr,
    method: &str,
    query: &str,
    headers: &str,
    body: &[u8],
) -> Answer {
    let mut stream = send(address, method, query, headers, body).await;
    answer(&mut stream).await
}

/// Sends a request, and leaves its answer for later.
pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    query: &str,
    headers: &str,
    body: &[u8],
) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = match (method, body.len()) {
        ("GET" | "OPTIONS" | "HEAD", 0) => String::new(),
        (_, length) => format!("Content-Length: {length}\r\n"),
    };
    let head = format!(
        "{method} /socket.io/?{query} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{length}\
         {headers}\r\n"
    );
    stream
        .write_all(&[head.as_bytes(), body].concat())
        .await
        .unwrap();
    stream
}

/// Reads an answer to its end.
pub(crate) async fn answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A connection that is cut behind its answer is as good.
    let _ = timeout(*PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .expect("an answer");
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// A session on long polling.
#[derive(Clone)]
pub(crate) struct Poller {
    pub(crate) address: SocketAddr,
    pub(crate) sid: String,
}

impl Poller {
    /// The handshake.
    pub(crate) async fn open(address: SocketAddr) -> Poller {
        let answer = request(address, "GET", "EIO=4&transport=polling", "", b"").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Poller {
            address,
            sid: sid(&answer.body),
        }
    }

    /// The handshake, and CONNECT to `/`.
    pub(crate) async fn connect(address: SocketAddr) -> Poller {
        let poller = Poller::open(address).await;
        assert_eq!(poller.post("40").await.body, "ok");
        let answer = poller.poll().await;
        assert!(answer.body.starts_with(r#"40{"sid":""#), "{answer:?}");
        poller
    }

    pub(crate) fn query(&self) -> String {
        format!("EIO=4&transport=polling&sid={}", self.sid)
    }

    pub(crate) async fn poll(&self) -> Answer {
        request(self.address, "GET", &self.query(), "", b"").await
    }

    pub(crate) async fn post(&self, body: &str) -> Answer {
        request(self.address, "POST", &self.query(), "", body.as_bytes()).await
    }

    /// Sends a poll; its answer is read from what it returns.
    pub(crate) async fn begin_poll(&self) -> TcpStream {
        let stream = send(self.address, "GET", &self.query(), "", b"").await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        stream
    }

    /// A WebSocket for this session.
    pub(crate) async fn candidate(&self) -> Ws {
        let query = format!("EIO=4&transport=websocket&sid={}", self.sid);
        Ws::open(self.address, &query, "").await.unwrap()
    }
}

/// The secret id in an open packet.
pub(crate) fn sid(open: &str) -> String {
    let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
    open["sid"].as_str().unwrap().to_owned()
}

/// A raw WebSocket.
#[derive(Debug)]
pub(crate) struct Ws {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came on a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Got {
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    /// The TCP connection ended.
    End,
}

pub(crate) fn text(text: &str) -> Got {
    Got::Text(text.to_owned())
}

impl Ws {
    /// The opening handshake alone, or the answer that refused it.
    pub(crate) async fn open(
        address: SocketAddr,
        query: &str,
        headers: &str,
    ) -> Result<Ws, Answer> {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "GET /socket.io/?{query} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match timeout(*PATIENCE, stream.read_u8())
                .await
                .expect("an answer")
            {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        let head = String::from_utf8(head).unwrap();
        if head.starts_with("HTTP/1.1 101") {
            assert!(
                head.to_lowercase().contains("s3pplmbitxaq9kygzzhzrbk+xoo="),
                "{head}"
            );
            assert!(!head.to_lowercase().contains("extensions"), "{head}");
            return Ok(Ws {
                stream,
                buffer: Vec::new(),
            });
        }
        let mut body = Vec::new();
        let _ = timeout(*PATIENCE, stream.read_to_end(&mut body))
            .await
            .expect("a body");
        let body = String::from_utf8(body).unwrap();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        Err(Answer { status, head, body })
    }

    /// A session on this WebSocket.
    pub(crate) async fn session(address: SocketAddr) -> Ws {
        let mut ws = Ws::open(address, "EIO=4&transport=websocket", "")
            .await
            .unwrap();
        let Got::Text(open) = ws.next().await else {
            panic!("no open packet")
        };
        assert!(
            open.starts_with('0') && open.contains(r#""upgrades":[]"#),
            "{open}"
        );
        ws
    }

    /// A session that has joined `/`.
    pub(crate) async fn connect(address: SocketAddr) -> Ws {
        let mut ws = Ws::session(address).await;
        ws.text("40").await;
        let Got::Text(connect) = ws.next().await else {
            panic!("no CONNECT")
        };
        assert!(connect.starts_with(r#"40{"sid":""#), "{connect}");
        ws
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.frame(0x81, text.as_bytes()).await;
    }

    pub(crate) async fn binary(&mut self, data: &[u8]) {
        self.frame(0x82, data).await;
    }

    /// A masked frame with this first byte.
    pub(crate) async fn frame(&mut self, first: u8, payload: &[u8]) {
        self.stream
            .write_all(&masked(first, payload))
            .await
            .unwrap();
    }

    /// What comes next; text frames that are heartbeats are answered and left out.
    pub(crate) async fn next(&mut self) -> Got {
        loop {
            let got = self.next_raw().await;
            if got != text("2") {
                return got;
            }
            self.text("3").await;
        }
    }

    /// What comes next.
    pub(crate) async fn next_raw(&mut self) -> Got {
        timeout(*PATIENCE, self.read()).await.expect("a frame")
    }

    /// Reads on to the end of the connection; returns the close frame's code.
    pub(crate) async fn closed(&mut self) -> Option<Option<u16>> {
        let mut close = None;
        loop {
            match self.next_raw().await {
                Got::Close(code) => close = Some(code),
                Got::End => return close,
                _ => {}
            }
        }
    }

    async fn read(&mut self) -> Got {
        loop {
            if let Some((got, size)) = parse(&self.buffer) {
                self.buffer.drain(..size);
                return got;
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return Got::End,
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
            }
        }
    }
}

/// A client's frame.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        size @ 0..=125 => frame.push(0x80 | size as u8),
        size @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(size as u16).to_be_bytes());
        }
        size => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    frame.extend_from_slice(&mask);
    frame.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

/// A server's frame: whole messages, unmasked.
fn parse(bytes: &[u8]) -> Option<(Got, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let (&second, rest) = rest.split_first()?;
    assert!(second < 0x80, "a masked frame from a server");
    let (size, header) = match second {
        126 => (
            u16::from_be_bytes(rest.get(..2)?.try_into().unwrap()) as usize,
            4,
        ),
        127 => (
            u64::from_be_bytes(rest.get(..8)?.try_into().unwrap()) as usize,
            10,
        ),
        size => (size as usize, 2),
    };
    let payload = bytes.get(header..header + size)?.to_vec();
    let got = match first {
        0x81 => Got::Text(String::from_utf8(payload).unwrap()),
        0x82 => Got::Binary(payload),
        0x8a => Got::Pong(payload),
        0x88 => Got::Close(
            payload
                .get(..2)
                .map(|code| u16::from_be_bytes([code[0], code[1]])),
        ),
        other => panic!("frame begins with {other:#x}"),
    };
    Some((got, header + size))
}
