//! HTTP/1.1 answers, as far as a client of long polling needs them.

use memchr::memmem;

/// Bytes of an answer's head.
const HEAD_MAX: usize = 16 << 10;

/// What separates packets in one payload.
pub(crate) const SEPARATOR: u8 = 0x1e;

/// A whole answer at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    /// Its first line.
    pub(crate) line: &'a str,
    /// The first cookie it sets, as it is sent back.
    pub(crate) cookie: Option<&'a str>,
    /// Its body.
    pub(crate) body: &'a [u8],
    /// Where the next one begins.
    pub(crate) end: usize,
}

impl Answer<'_> {
    /// Whether it is a 200.
    pub(crate) fn is_ok(&self) -> bool {
        self.line.split(' ').nth(1) == Some("200")
    }
}

/// The first answer of `bytes`; `None` if it is not complete.
///
/// # Errors
/// It is none, or one that does not say how long it is.
pub(crate) fn first(bytes: &[u8]) -> Result<Option<Answer<'_>>, &'static str> {
    let Some(head_ends) = memmem::find(bytes, b"\r\n\r\n") else {
        return match bytes.len() > HEAD_MAX {
            true => Err("an endless HTTP answer"),
            false => Ok(None),
        };
    };
    let head = std::str::from_utf8(&bytes[..head_ends]).map_err(|_| "an HTTP head of no text")?;
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    if !line.starts_with("HTTP/1.1 ") {
        return Err("no HTTP answer");
    }
    let (mut length, mut cookie) = (None, None);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse::<usize>().ok();
        } else if name.eq_ignore_ascii_case("set-cookie") && cookie.is_none() {
            cookie = value.split(';').next().map(str::trim);
        }
    }
    let start = head_ends + 4;
    let end = start + length.ok_or("an HTTP answer without Content-Length")?;
    let answer = bytes.get(start..end).map(|body| Answer {
        line,
        cookie,
        body,
        end,
    });
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_whole_answers_only() {
        let bytes =
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\ncontent-length: 2\r\n\r\nokHTTP";
        let answer = first(bytes).unwrap().unwrap();
        assert!(answer.is_ok());
        assert_eq!((answer.cookie, answer.body), (Some("a=1"), &b"ok"[..]));
        assert_eq!(&bytes[answer.end..], b"HTTP");
        for shorter in 0..answer.end {
            assert_eq!(first(&bytes[..shorter]), Ok(None));
        }
    }

    #[test]
    fn says_what_it_cannot_read() {
        assert!(first(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(first(b"SSH-2.0\r\n\r\n").is_err());
        assert!(first(&[b'x'; HEAD_MAX + 1]).is_err());
        let refused = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        assert!(!first(refused).unwrap().unwrap().is_ok());
    }
}
