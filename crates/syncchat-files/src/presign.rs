//! AWS Signature Version 4 in a query: a link to one object, with the headers that have to come
//! with it. The storage's own client signs links too, but never the length of an upload.

use std::fmt::Write as _;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};
use syncchat_core::model::Timestamp;

/// What is signed.
pub(crate) struct Presign<'a> {
    pub(crate) method: &'a str,
    /// `http(s)://host[:port]`
    pub(crate) origin: &'a str,
    /// From the first slash, not encoded.
    pub(crate) path: &'a str,
    pub(crate) region: &'a str,
    pub(crate) key_id: &'a str,
    pub(crate) secret: &'a str,
    /// Of credentials that end.
    pub(crate) token: Option<&'a str>,
    pub(crate) at: Timestamp,
    pub(crate) span: Duration,
    /// Besides `host`; names in lower case.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) query: &'a [(&'a str, &'a str)],
}

impl Presign<'_> {
    /// The whole address.
    pub(crate) fn url(&self) -> String {
        let time = self.time();
        let day = time.split('T').next().unwrap_or_default();
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let host = self.origin.split_once("://").map_or("", |(_, host)| host);
        let mut headers = self.headers.to_vec();
        headers.push(("host", host));
        headers.sort_unstable();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");

        let credential = format!("{}/{scope}", self.key_id);
        let seconds = self.span.as_secs().to_string();
        let mut query = self.query.to_vec();
        query.extend([
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Date", &time),
            ("X-Amz-Expires", &seconds),
            ("X-Amz-SignedHeaders", &names),
        ]);
        query.extend(self.token.map(|token| ("X-Amz-Security-Token", token)));
        let mut pairs: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name, ""), encode(value, "")))
            .collect();
        pairs.sort_unstable();
        let query = pairs.join("&");
        let path = encode(self.path, "/");

        let mut canonical = format!("{}\n{path}\n{query}\n", self.method);
        for (name, value) in &headers {
            // Writing to a String cannot fail.
            let _ = writeln!(canonical, "{name}:{}", value.trim());
        }
        let _ = write!(canonical, "\n{names}\nUNSIGNED-PAYLOAD");
        let digest = hex(&Sha256::digest(canonical.as_bytes()));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");

        let mut key = mac(format!("AWS4{}", self.secret).as_bytes(), day);
        for part in [self.region, "s3", "aws4_request"] {
            key = mac(&key, part);
        }
        let signature = hex(&mac(&key, &text));
        format!("{}{path}?{query}&X-Amz-Signature={signature}", self.origin)
    }

    /// `20260131T081530Z`
    fn time(&self) -> String {
        let whole: String = self.at.rfc3339().chars().take(19).collect();
        format!("{}Z", whole.replace(['-', ':'], ""))
    }
}

/// HMAC-SHA256, whose keys may have any length.
fn mac(key: &[u8], text: &str) -> [u8; 32] {
    let mut block = [0; 64];
    if key.len() <= block.len() {
        block[..key.len()].copy_from_slice(key);
    } else {
        block[..32].copy_from_slice(&Sha256::digest(key));
    }
    let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

/// Percent-encodes all but RFC 3986's unreserved characters, and these.
fn encode(text: &str, kept: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if plain || kept.as_bytes().contains(&byte) {
            encoded.push(byte as char);
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in Amazon's description of the method.
    #[test]
    fn the_known_example_is_signed_as_known() {
        let url = Presign {
            method: "GET",
            origin: "https://examplebucket.s3.amazonaws.com",
            path: "/test.txt",
            region: "us-east-1",
            key_id: "AKIAIOSFODNN7EXAMPLE",
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            token: None,
            at: Timestamp::from_millis(1_369_353_600_000),
            span: Duration::from_secs(86_400),
            headers: &[],
            query: &[],
        }
        .url();
        let signature = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        assert!(url.ends_with(signature), "{url}");
        assert!(url.starts_with(
            "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&"
        ));
    }
}
