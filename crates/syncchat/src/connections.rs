//! How many connections there is room for, from the number of files this process may open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::{
    DESCRIPTORS_ASSUMED, DESCRIPTORS_OF_FORWARD, DESCRIPTORS_PER_FORWARD, DESCRIPTORS_PER_REQUEST,
    DESCRIPTORS_RESERVED,
};

/// Room for connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Sessions at once.
    pub sessions: usize,
    /// Connections at once that belong to no WebSocket, even when all sessions are taken.
    pub requests: usize,
    /// Polls and WebSockets of other nodes' sessions at once.
    pub forwards: usize,
}

impl Room {
    /// Connections at once.
    pub fn total(&self) -> usize {
        self.sessions + self.requests
    }

    /// Room in a process that may open `descriptors` files, with as many sessions as the operator
    /// says, else as fit; some of it for other nodes if there are any.
    pub fn new(descriptors: u64, sessions: Option<usize>, in_fleet: bool) -> Room {
        let free = descriptors.saturating_sub(DESCRIPTORS_RESERVED).max(2);
        let requests = (free / DESCRIPTORS_PER_REQUEST).max(1);
        let for_others = match in_fleet {
            true => free / DESCRIPTORS_PER_FORWARD,
            false => 0,
        };
        let as_size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Room {
            sessions: sessions.unwrap_or_else(|| as_size(free - requests - for_others)),
            requests: as_size(requests),
            forwards: as_size(for_others / DESCRIPTORS_OF_FORWARD),
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
        let room = Room::new(1_024, None, false);
        assert_eq!(
            room,
            Room {
                sessions: 672,
                requests: 96,
                forwards: 0
            }
        );
        assert!(room.total() as u64 + DESCRIPTORS_RESERVED <= 1_024);
        assert_eq!(Room::new(1_024, Some(10), false).sessions, 10);
        let one_of_many = Room::new(1_024, None, true);
        assert_eq!((one_of_many.sessions, one_of_many.forwards), (576, 48));
        let tiny = Room::new(0, None, true);
        assert!(tiny.sessions >= 1 && tiny.requests >= 1);
    }
}
