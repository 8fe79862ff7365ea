//! Who may begin a session at all.

use std::net::IpAddr;

use syncchat_core::ports::limiter::LimitKind;
use syncchat_engine::{Handshake, Refusal};

use crate::gateway::Gateway;
use crate::limits::DRAIN_RETRY_AFTER;

impl Gateway {
    /// Handshakes are limited by address; none is let in while the node drains.
    pub(crate) async fn may_begin(&self, handshake: &Handshake) -> Result<(), Refusal> {
        if self.is_draining() {
            return Err(Refusal::Busy {
                retry_after: DRAIN_RETRY_AFTER,
            });
        }
        let key = address_key(handshake.remote);
        let taken = self.parts.limiter.take(LimitKind::Handshakes, &key).await;
        taken.map_err(|retry_after| Refusal::RateLimited { retry_after })
    }
}

/// One key for one client: of an IPv6 address its network, as a single customer has all of it.
fn address_key(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_client_share_a_key() {
        let key = |text: &str| address_key(text.parse().unwrap());
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:3:4:5:6"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
