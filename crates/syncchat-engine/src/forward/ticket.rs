//! The header by which one node proves to another that it passes a request on, and for whom.
//!
//! ```text
//! x-syncchat-forwarded: v1 <unix second> <tag of the sender> <client address> <seconds to hold> <mac>
//! ```
//!
//! The mac (HMAC-SHA256, by a key that the fleet shares) covers all of that, the method, and the path
//! with its query, in which the `sid` stands and so the receiver. A ticket is good for
//! [`TICKET_AGE_MAX`], so nodes' clocks may differ by that much. Within it the same request could be
//! sent again by somebody who reads the fleet's own network, who holds the `sid` then and needs no
//! ticket.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Uri};
use sha2::Sha256;

use crate::id::NodeTag;
use crate::limits::{FORWARDED_POLL_HOLD, TICKET_AGE_MAX, TICKET_BYTES_MAX};

/// Where a ticket stands.
pub const TICKET: HeaderName = HeaderName::from_static("x-syncchat-forwarded");

const VERSION: &str = "v1";

/// What a good ticket says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The client's address, as the sender found it.
    pub client: IpAddr,
    /// Who passed it on.
    pub from: NodeTag,
    /// How long a poll may be held, as the sender waits for it.
    pub hold: Duration,
}

/// What is wrong with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTicket {
    /// Not of the form above.
    #[error("it cannot be read")]
    Form,
    /// Nobody who has one of the keys wrote it for this request.
    #[error("its signature is not the fleet's")]
    Signature,
    /// Older or newer than [`TICKET_AGE_MAX`].
    #[error("its time is too far from this node's clock")]
    Time,
}

/// Writes and reads tickets.
pub struct Tickets {
    node: NodeTag,
    /// By the first we sign.
    keys: Vec<Hmac<Sha256>>,
}

impl Tickets {
    /// Those of a node; by the first key it signs, and by each it verifies.
    pub fn new(node: NodeTag, keys: &[[u8; 32]]) -> Tickets {
        // HMAC takes keys of any length.
        let keys = keys.iter().filter_map(|key| Hmac::new_from_slice(key).ok());
        Tickets {
            node,
            keys: keys.collect(),
        }
    }

    /// A ticket for this request, from this node, now.
    pub fn issue(&self, method: &Method, uri: &Uri, client: IpAddr, hold: Duration) -> HeaderValue {
        let (now, hold) = (unix_seconds(), hold.as_secs());
        let claims = format!("{VERSION} {now} {} {client} {hold}", self.node);
        let mac = self.keys.first().map(|key| {
            let mac = covering(key, &claims, method, uri).finalize();
            URL_SAFE_NO_PAD.encode(mac.into_bytes())
        });
        let ticket = format!("{claims} {}", mac.unwrap_or_default());
        // Nothing in it that a header cannot hold.
        HeaderValue::try_from(ticket).unwrap_or(HeaderValue::from_static(""))
    }

    /// What a ticket says, if one of the fleet wrote it for this request, lately.
    ///
    /// # Errors
    /// It is none, was not signed by the fleet for this request, or is too old.
    pub fn verify(
        &self,
        ticket: &HeaderValue,
        method: &Method,
        uri: &Uri,
    ) -> Result<Ticket, BadTicket> {
        let text = ticket.to_str().map_err(|_| BadTicket::Form)?;
        if text.len() > TICKET_BYTES_MAX {
            return Err(BadTicket::Form);
        }
        let (claims, mac) = text.rsplit_once(' ').ok_or(BadTicket::Form)?;
        let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| BadTicket::Form)?;
        let is_signed = |key: &Hmac<Sha256>| {
            covering(key, claims, method, uri)
                .verify_slice(&mac)
                .is_ok()
        };
        if !self.keys.iter().any(is_signed) {
            return Err(BadTicket::Signature);
        }
        let fields: Vec<&str> = claims.split(' ').collect();
        let [VERSION, sent, from, client, hold] = fields[..] else {
            return Err(BadTicket::Form);
        };
        let sent: u64 = sent.parse().map_err(|_| BadTicket::Form)?;
        if sent.abs_diff(unix_seconds()) > TICKET_AGE_MAX.as_secs() {
            return Err(BadTicket::Time);
        }
        let hold = Duration::from_secs(hold.parse().map_err(|_| BadTicket::Form)?);
        Ok(Ticket {
            client: client.parse().map_err(|_| BadTicket::Form)?,
            from: from.parse().map_err(|_| BadTicket::Form)?,
            hold: hold.min(FORWARDED_POLL_HOLD),
        })
    }
}

/// A mac over all that a ticket is good for.
fn covering(key: &Hmac<Sha256>, claims: &str, method: &Method, uri: &Uri) -> Hmac<Sha256> {
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let mut mac = key.clone();
    // None of the parts can hold the separator.
    for part in [claims, method.as_str(), path] {
        mac.update(part.as_bytes());
        mac.update(b"\n");
    }
    mac
}

/// What the clock says; at worst nonsense, and then tickets are refused.
fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));
    const HOLD: Duration = Duration::from_secs(3);

    fn tickets(keys: &[[u8; 32]]) -> Tickets {
        Tickets::new(NodeTag::random().unwrap(), keys)
    }

    fn uri(text: &'static str) -> Uri {
        Uri::from_static(text)
    }

    #[test]
    fn a_ticket_is_good_for_its_request_alone() {
        let (here, there) = (tickets(&[[1; 32]]), tickets(&[[1; 32]]));
        let path = uri("/socket.io/?EIO=4&transport=polling&sid=x");
        let ticket = here.issue(&Method::GET, &path, CLIENT, HOLD);
        let said = there.verify(&ticket, &Method::GET, &path).unwrap();
        assert_eq!(
            said,
            Ticket {
                client: CLIENT,
                from: here.node,
                hold: HOLD
            }
        );
        let bad = Err(BadTicket::Signature);
        assert_eq!(there.verify(&ticket, &Method::POST, &path), bad);
        let other = uri("/socket.io/?EIO=4&transport=polling&sid=y");
        assert_eq!(there.verify(&ticket, &Method::GET, &other), bad);
        // The absolute form of the same, as a client of HTTP has it.
        let absolute = uri("http://10.0.0.1:80/socket.io/?EIO=4&transport=polling&sid=x");
        assert_eq!(there.verify(&ticket, &Method::GET, &absolute), Ok(said));
    }

    #[test]
    fn what_the_fleet_did_not_sign_is_refused() {
        let path = uri("/socket.io/?sid=x");
        let good = tickets(&[[1; 32]]);
        let verify = |ticket: &str| {
            let ticket = HeaderValue::from_str(ticket).unwrap();
            good.verify(&ticket, &Method::GET, &path)
        };
        let ticket = good.issue(&Method::GET, &path, CLIENT, HOLD);
        let ticket = ticket.to_str().unwrap();
        let other_client = ticket.replace("203.0.113.7", "203.0.113.8");
        assert_eq!(verify(&other_client), Err(BadTicket::Signature));
        assert_eq!(verify(""), Err(BadTicket::Form));
        assert_eq!(verify("v1 1 2 3 4 AAAA"), Err(BadTicket::Signature));
        assert_eq!(verify("v1 1 2 3 4 "), Err(BadTicket::Signature));
        assert_eq!(verify(&"a ".repeat(10_000)), Err(BadTicket::Form));
        let stranger = tickets(&[[2; 32]]).issue(&Method::GET, &path, CLIENT, HOLD);
        assert_eq!(
            verify(stranger.to_str().unwrap()),
            Err(BadTicket::Signature)
        );
        let nobody = tickets(&[]).issue(&Method::GET, &path, CLIENT, HOLD);
        assert_eq!(verify(nobody.to_str().unwrap()), Err(BadTicket::Signature));
    }

    #[test]
    fn keys_can_be_changed_one_node_after_the_other() {
        let path = uri("/socket.io/?sid=x");
        let (old, new) = (tickets(&[[1; 32], [2; 32]]), tickets(&[[2; 32], [1; 32]]));
        for (one, other) in [(&old, &new), (&new, &old)] {
            let ticket = one.issue(&Method::GET, &path, CLIENT, HOLD);
            assert!(other.verify(&ticket, &Method::GET, &path).is_ok());
        }
    }

    #[test]
    fn a_ticket_is_not_good_for_long() {
        let path = uri("/socket.io/?sid=x");
        let tickets = tickets(&[[1; 32]]);
        let at = |seconds: u64| {
            let claims = format!("v1 {seconds} {} {CLIENT} 3", tickets.node);
            let mac = covering(&tickets.keys[0], &claims, &Method::GET, &path).finalize();
            let mac = URL_SAFE_NO_PAD.encode(mac.into_bytes());
            let ticket = HeaderValue::try_from(format!("{claims} {mac}")).unwrap();
            tickets.verify(&ticket, &Method::GET, &path)
        };
        let (now, most) = (unix_seconds(), TICKET_AGE_MAX.as_secs());
        assert!(at(now - most + 5).is_ok() && at(now + most - 5).is_ok());
        assert_eq!(at(now - most - 5), Err(BadTicket::Time));
        assert_eq!(at(now + most + 5), Err(BadTicket::Time));
    }
}
