//! Compressed answers to polls, for browsers far away: what chat repeats most is its own JSON.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::{HeaderMap, HeaderValue, header};

use crate::limits::{COMPRESSED_BYTES_MAX, COMPRESSED_BYTES_MIN};

/// A body as a client takes it, and the name of its encoding if it has one.
pub(crate) fn encode(body: Bytes, request: &HeaderMap) -> (Bytes, Option<HeaderValue>) {
    if !(COMPRESSED_BYTES_MIN..=COMPRESSED_BYTES_MAX).contains(&body.len()) {
        return (body, None);
    }
    let compressed = if accepts(request, "gzip") {
        gzip(&body).map(|compressed| (compressed, HeaderValue::from_static("gzip")))
    } else if accepts(request, "deflate") {
        zlib(&body).map(|compressed| (compressed, HeaderValue::from_static("deflate")))
    } else {
        return (body, None);
    };
    match compressed {
        Ok((compressed, name)) => (compressed.into(), Some(name)),
        // Writing to memory does not fail; if it did, the body is good as it is.
        Err(_) => (body, None),
    }
}

fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 2), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

/// What HTTP calls deflate is the zlib format.
fn zlib(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(body.len() / 2), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

/// Whether an encoding is named, and not by `q=0`.
fn accepts(request: &HeaderMap, name: &str) -> bool {
    request
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .any(|value| {
            value.to_str().unwrap_or_default().split(',').any(|item| {
                let (coding, weight) = item.split_once(';').unwrap_or((item, ""));
                let weight = weight
                    .trim()
                    .strip_prefix("q=")
                    .and_then(|q| q.trim().parse().ok());
                coding.trim().eq_ignore_ascii_case(name) && weight.unwrap_or(1.0_f32) > 0.0
            })
        })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::{GzDecoder, ZlibDecoder};

    use super::*;

    fn request(accepted: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
        headers
    }

    #[test]
    fn long_bodies_are_compressed_as_asked() {
        let body = Bytes::from("chat ".repeat(COMPRESSED_BYTES_MIN));
        let (gzip, name) = encode(body.clone(), &request("br, deflate;q=0.5, gzip"));
        assert_eq!(name, Some(HeaderValue::from_static("gzip")));
        assert!(gzip.len() < body.len() / 4);
        let mut plain = Vec::new();
        GzDecoder::new(&*gzip).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, body);

        let (zlib, name) = encode(body.clone(), &request("gzip;q=0, deflate"));
        assert_eq!(name, Some(HeaderValue::from_static("deflate")));
        plain.clear();
        ZlibDecoder::new(&*zlib).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, body);
    }

    #[test]
    fn what_is_short_or_huge_or_not_asked_for_stays_as_it_is() {
        let long = "x".repeat(COMPRESSED_BYTES_MIN);
        let cases = [
            (long[1..].to_owned(), request("gzip")),
            ("x".repeat(COMPRESSED_BYTES_MAX + 1), request("gzip")),
            (long.clone(), request("br")),
            (long, HeaderMap::new()),
        ];
        for (body, request) in cases {
            let body = Bytes::from(body);
            assert_eq!(encode(body.clone(), &request), (body, None));
        }
    }
}
