//! Networks of trusted proxies, and what they may tell about the client.

use std::net::IpAddr;
use std::str::FromStr;

/// An address, or all that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// Bits that must agree.
    prefix: u8,
}

impl Network {
    /// Whether the address lies in it. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(address)) => agree(
                net.to_bits().into(),
                address.to_bits().into(),
                32,
                self.prefix,
            ),
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                agree(net.to_bits(), address.to_bits(), 128, self.prefix)
            }
            _ => false,
        }
    }
}

/// Whether the first `prefix` of `width` bits are the same.
fn agree(one: u128, other: u128, width: u32, prefix: u8) -> bool {
    let free = width.saturating_sub(u32::from(prefix));
    // A shift by all 128 bits would overflow; it means that nothing has to agree.
    (one ^ other).checked_shr(free).unwrap_or(0) == 0
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let bad = || format!("{text} is no address or network such as 10.0.0.0/8");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|p| *p <= width)
                .ok_or_else(bad)?,
            None => width,
        };
        Ok(Network { address, prefix })
    }
}

/// Who is really calling: the peer itself, or, if the peer is a trusted proxy, the last address in
/// `X-Forwarded-For` that is no trusted proxy. What stands before that address was written by the
/// client and proves nothing; an entry that is no address ends the search.
pub fn client_address<'a>(
    peer: IpAddr,
    forwarded_for: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &[Network],
) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    let hops = forwarded_for.flat_map(|line| line.split(',')).rev();
    for hop in hops {
        if !is_trusted(client) {
            break;
        }
        match parse_hop(hop.trim()) {
            Some(address) => client = address.to_canonical(),
            None => break,
        }
    }
    client
}

/// An address, with the port that some proxies add.
fn parse_hop(text: &str) -> Option<IpAddr> {
    text.parse()
        .ok()
        .or_else(|| text.parse().ok().map(|at: std::net::SocketAddr| at.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_begins_alike() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "fe80::1", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe00::1", false),
        ];
        for (network, address, expected) in cases {
            let network: Network = network.parse().unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                expected,
                "{network:?} {address}"
            );
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "10.0.0.0/-1",
            "host",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted: Vec<Network> = vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        let check = |peer: &str, header: &[&str], expected: &str| {
            let client = client_address(peer.parse().unwrap(), header.iter().copied(), &trusted);
            assert_eq!(
                client,
                expected.parse::<IpAddr>().unwrap(),
                "{peer} {header:?}"
            );
        };
        check("1.1.1.1", &["2.2.2.2"], "1.1.1.1");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["2.2.2.2"], "2.2.2.2");
        check("10.0.0.1", &["6.6.6.6, 2.2.2.2"], "2.2.2.2");
        check("10.0.0.1", &["6.6.6.6", "2.2.2.2, 10.0.0.9"], "2.2.2.2");
        check("10.0.0.1", &["2.2.2.2, junk"], "10.0.0.1");
        check("10.0.0.1", &["10.0.0.7"], "10.0.0.7");
        check("::1", &["[fe80::5]:443"], "fe80::5");
        check("10.0.0.1", &["2.2.2.2:1234"], "2.2.2.2");
    }
}
