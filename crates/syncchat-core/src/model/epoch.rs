//! Which history a store holds.

use std::fmt;
use std::str::FromStr;

use super::ids::fill_random;

/// One epoch of a store's history: 16 random bytes, written as 32 hex digits. Clients keep it as an
/// opaque string.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EpochId([u8; 16]);

/// The text is not 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 32 hex digits")]
pub struct BadEpoch;

impl EpochId {
    /// Stands for the epoch of a store in which no node has begun one.
    pub const NONE: EpochId = EpochId([0; 16]);

    /// A new epoch.
    pub fn generate() -> EpochId {
        let mut bytes = [0; 16];
        fill_random(&mut bytes);
        EpochId(bytes)
    }

    /// The epoch that has these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> EpochId {
        EpochId(bytes)
    }

    /// The sixteen bytes.
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl FromStr for EpochId {
    type Err = BadEpoch;

    fn from_str(text: &str) -> Result<EpochId, BadEpoch> {
        let digits = text.as_bytes();
        let mut bytes = [0; 16];
        if digits.len() != 2 * bytes.len() {
            return Err(BadEpoch);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = (pair[0] as char).to_digit(16).ok_or(BadEpoch)?;
            let low = (pair[1] as char).to_digit(16).ok_or(BadEpoch)?;
            *byte = (high << 4 | low) as u8;
        }
        Ok(EpochId(bytes))
    }
}

impl fmt::Display for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The epochs that a store's history consists of, the newest first. Each start of a node adds one;
/// restoring a backup takes away those that were added after it, or, where the operator says so, all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lineage(Vec<EpochId>);

impl Lineage {
    /// The lineage of these epochs, the newest first.
    pub fn new(epochs: Vec<EpochId>) -> Lineage {
        Lineage(epochs)
    }

    /// The newest epoch; [`EpochId::NONE`] if none was begun.
    pub fn current(&self) -> EpochId {
        self.0.first().copied().unwrap_or(EpochId::NONE)
    }

    /// Whether this epoch belongs to the store's history.
    pub fn contains(&self, epoch: EpochId) -> bool {
        self.iter().any(|known| known == epoch)
    }

    /// The epochs, the newest first; [`EpochId::NONE`] if none was begun.
    pub fn iter(&self) -> impl Iterator<Item = EpochId> + '_ {
        let none = self.0.is_empty().then_some(EpochId::NONE);
        self.0.iter().copied().chain(none)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no node has begun an epoch yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_written_as_32_hex_digits() {
        let epoch = EpochId::generate();
        assert_eq!(epoch.to_string().len(), 32);
        assert_eq!(epoch.to_string().parse(), Ok(epoch));
        for bad in ["", "0", "zz", &"0".repeat(31), &"g".repeat(32)] {
            assert_eq!(bad.parse::<EpochId>(), Err(BadEpoch), "{bad}");
        }
        assert_ne!(EpochId::generate(), epoch);
    }

    #[test]
    fn a_lineage_without_an_epoch_has_none() {
        let (one, other) = (EpochId::generate(), EpochId::generate());
        let lineage = Lineage::new(vec![one, other]);
        assert_eq!(lineage.current(), one);
        assert!(lineage.contains(other) && !lineage.contains(EpochId::NONE));
        let empty = Lineage::default();
        assert_eq!(empty.current(), EpochId::NONE);
        assert!(empty.contains(EpochId::NONE) && !empty.contains(one));
    }
}
