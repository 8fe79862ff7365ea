//! How many connections there is room for, from the number of files this process may open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::{DESCRIPTORS_ASSUMED, DESCRIPTORS_PER_REQUEST, DESCRIPTORS_RESERVED};

/// Room for connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Sessions at once.
    pub sessions: usize,
    /// Connections at once that belong to no WebSocket, even when all sessions are taken.
    pub requests: usize,
}

impl Room {
    /// Connections at once.
    pub fn total(&self) -> usize {
        self.sessions + self.requests
    }

    /// Room in a process that may open `descriptors` files, with as many sessions as the operator
    /// says, else as fit.
    pub fn new(descriptors: u64, sessions: Option<usize>) -> Room {
        let free = descriptors.saturating_sub(DESCRIPTORS_RESERVED).max(2);
        let requests = (free / DESCRIPTORS_PER_REQUEST).max(1);
        let as_size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Room {
            sessions: sessions.unwrap_or_else(|| as_size(free - requests)),
            requests: as_size(requests),
        }
    }
}

/// Raises the number of files this process may open as far as it may itself, and says how many
/// that are.
pub fn raise_descriptor_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    // No limit at all counts as what Linux allows one process by default.
    const UNLIMITED: u64 = 1 << 20;
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum.unwrap_or(UNLIMITED),
        Err(error) => {
            tracing::warn!(%error, "limit of open files cannot be raised");
            current.unwrap_or(DESCRIPTORS_ASSUMED)
        }
    }
}

/// What the process may open now, without raising it; for `check`.
pub fn descriptor_limit_max() -> u64 {
    getrlimit(Resource::Nofile)
        .maximum
        .unwrap_or(DESCRIPTORS_ASSUMED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_get_most_of_the_room_and_requests_some() {
        let room = Room::new(1_024, None);
        assert_eq!(
            room,
            Room {
                sessions: 672,
                requests: 96
            }
        );
        assert!(room.total() as u64 + DESCRIPTORS_RESERVED <= 1_024);
        assert_eq!(Room::new(1_024, Some(10)).sessions, 10);
        let tiny = Room::new(0, None);
        assert!(tiny.sessions >= 1 && tiny.requests >= 1);
    }
}
