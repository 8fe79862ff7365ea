//! Seals on what a client keeps for connection state recovery: that it comes from this fleet, and
//! from this person's connection.
//!
//! A `pid` is random and says nothing. The offsets of its connection are sealed with a key that is
//! made of the secret, the epoch of the store's history, the pid and the person, so none of them
//! works with another one, and any node can tell. An offset is no secret and no permission: who presents one has to authenticate all the same.

use std::fmt;
use std::hash::Hasher;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use siphasher::sip::SipHasher24;
use syncchat_core::error::Result;
use syncchat_core::model::{EpochId, UserId};

use crate::limits::PID_BYTES_MAX;
use crate::tokens::{Secret, no_randomness};

/// Bytes of a tag.
pub const TAG_BYTES: usize = 8;
/// Keeps these keys apart from whatever else is made of the secret.
const PURPOSE: &str = "connection state recovery 2";

/// A new `pid`: 20 characters of URL-safe base64.
///
/// # Errors
/// `internal`, if the system has no random bytes.
pub fn new_pid() -> Result<String> {
    let mut bytes = [0; 15];
    getrandom::fill(&mut bytes).map_err(|_| no_randomness())?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Seals the offsets of one connection of one person. Made for every message that is delivered, so
/// it has to be fast: SipHash-2-4, whose key nobody outside knows.
#[derive(Clone, Copy)]
pub struct Seal([u8; 16]);

impl Seal {
    /// The seal with this key.
    pub const fn new(key: [u8; 16]) -> Seal {
        Seal(key)
    }

    /// The tag of these bytes.
    pub fn tag(&self, bytes: &[u8]) -> [u8; TAG_BYTES] {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(bytes);
        hasher.finish().to_le_bytes()
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(…)")
    }
}

/// Makes seals: the first secret's for what is given out, all secrets' for what comes back.
pub(crate) struct Seals(Vec<Hmac<Sha256>>);

impl Seals {
    pub(crate) fn new(first: &Secret, others: &[Secret]) -> Seals {
        let secrets = std::iter::once(first).chain(others);
        let keys = secrets.map(|secret| secret.derive(PURPOSE));
        // HMAC takes keys of any length.
        Seals(
            keys.filter_map(|key| Hmac::new_from_slice(&key).ok())
                .collect(),
        )
    }

    /// The seals of a connection in one epoch, the one to use first; none if this cannot be a pid.
    pub(crate) fn of<'a>(
        &'a self,
        pid: &'a str,
        user: UserId,
        epoch: EpochId,
    ) -> impl Iterator<Item = Seal> + 'a {
        let is_pid = pid.len() <= PID_BYTES_MAX;
        self.0.iter().filter(move |_| is_pid).map(move |mac| {
            let mut mac = mac.clone();
            mac.update(&epoch.bytes());
            mac.update(&user.bytes());
            mac.update(pid.as_bytes());
            let digest = mac.finalize().into_bytes();
            let mut key = [0; 16];
            key.copy_from_slice(&digest[..16]);
            Seal(key)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(fill: u8) -> Secret {
        Secret::new([fill; 32]).unwrap()
    }

    #[test]
    fn a_seal_belongs_to_one_pid_of_one_person_in_one_epoch_under_one_secret() {
        let [ann, bob] = [1, 2].map(|n| UserId::from_bytes([n; 12]));
        let seals = Seals::new(&secret(1), &[]);
        let [now, before] = [EpochId::from_bytes([1; 16]), EpochId::NONE];
        let seal = |seals: &Seals, pid, user, epoch| seals.of(pid, user, epoch).next().unwrap();
        let tag = |seals: &Seals, pid, user| seal(seals, pid, user, now).tag(b"here");
        let first = tag(&seals, "pid", ann);
        assert_eq!(first, tag(&seals, "pid", ann));
        let others = [
            tag(&seals, "piD", ann),
            tag(&seals, "pid", bob),
            tag(&Seals::new(&secret(2), &[]), "pid", ann),
            seal(&seals, "pid", ann, before).tag(b"here"),
            seal(&seals, "pid", ann, now).tag(b"there"),
        ];
        assert!(others.iter().all(|other| *other != first));
    }

    #[test]
    fn former_secrets_are_known() {
        let ann = UserId::from_bytes([1; 12]);
        let before = Seals::new(&secret(1), &[]);
        let rotated = Seals::new(&secret(2), &[secret(1)]);
        let epoch = EpochId::from_bytes([1; 16]);
        let old = before.of("pid", ann, epoch).next().unwrap().tag(b"x");
        let mut seals = rotated.of("pid", ann, epoch);
        assert!(seals.any(|seal| seal.tag(b"x") == old));
        let too_long = "p".repeat(PID_BYTES_MAX + 1);
        assert_eq!(rotated.of(&too_long, ann, epoch).count(), 0);
    }

    #[test]
    fn pids_are_random_and_short() {
        let (one, other) = (new_pid().unwrap(), new_pid().unwrap());
        assert!(one != other && one.len() == 20);
    }
}
