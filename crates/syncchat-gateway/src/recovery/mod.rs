//! Socket.IO's connection state recovery, on any node, of any age.
//!
//! A client that lost its connection comes with the `pid` it was given and the offset of the last
//! message it got. The offset says where the connection was in all its conversations (`offset`,
//! written by `track`); with the logs that is worked out exactly, or not at all (`resolve`, `past`).
//! Then the client's new socket begins there, as any other reader who is behind. No node keeps
//! anything for who is away.

mod offset;
mod past;
mod resolve;
mod track;

use parking_lot::Mutex;
use syncchat_contract::payload::Comeback;
use syncchat_core::model::{Lineage, UserId};
use syncchat_engine::Handshake;
use syncchat_identity::{Identity, recovery};
use syncchat_protocol::Frame;

use crate::limits::EPOCHS_TRIED_MAX;

pub(crate) use offset::{Offset, Scratch};
pub(crate) use past::Past;
pub(crate) use resolve::{Came, Found, Lost, Start, goes_on, resolve, unknown};
pub(crate) use track::{Step, Track, Turn};

/// How the official JavaScript client is known, in browsers and elsewhere.
const CLIENTS: [&str; 4] = ["Mozilla/", "node-XMLHttpRequest", "Bun/", "Deno/"];

/// What is kept with a socket that can be recovered.
pub(crate) struct Recoverable {
    pid: String,
    /// Where it is; `None` until it has been let in.
    track: Mutex<Option<Track>>,
}

impl Recoverable {
    pub(crate) fn new(pid: String, track: Option<Track>) -> Recoverable {
        Recoverable {
            pid,
            track: Mutex::new(track),
        }
    }

    /// One under a new pid. `None` if there is no randomness for it.
    pub(crate) fn fresh() -> Option<Recoverable> {
        let pid = recovery::new_pid();
        let pid = pid.inspect_err(|error| tracing::error!(%error, "no recovery"));
        Some(Recoverable::new(pid.ok()?, None))
    }

    pub(crate) fn pid(&self) -> &str {
        &self.pid
    }

    pub(crate) fn set_track(&self, track: Track) {
        *self.track.lock() = Some(track);
    }

    /// Does something with where it is, and nothing is queued meanwhile that tells of it.
    pub(crate) fn with_track<T>(&self, then: impl FnOnce(Option<&mut Track>) -> T) -> T {
        then(self.track.lock().as_mut())
    }
}

impl Track {
    /// This event, with where the connection is once it is queued.
    pub(crate) fn stamp(&self, frame: &Frame) -> Frame {
        frame.with_offset(self.offset(&mut Scratch::new()))
    }
}

/// Whether a client gets offsets. They are one more argument of its events, which many clients'
/// handlers would choke on (those of Python and Dart among them), and nobody says that they are
/// wanted: so who says so gets them, who shows that it knows them by coming with a pid, and who
/// looks like the official JavaScript client.
pub(crate) fn is_wanted(handshake: &Handshake, comeback: &Comeback) -> bool {
    if let Some(wanted) = comeback.recovery {
        return wanted;
    }
    if comeback.pid.is_some() {
        return true;
    }
    match handshake.headers.get("user-agent") {
        Some(agent) => {
            let agent = agent.as_bytes();
            let mut known = CLIENTS.iter().map(|client| client.as_bytes());
            known.any(|known| agent.starts_with(known))
        }
        // Its WebSocket in Node names nothing; others that name no agent name an origin.
        None => !handshake.headers.contains_key("origin"),
    }
}

/// What the client shows of its last connection, if that was in one of the newest
/// [`EPOCHS_TRIED_MAX`] of these epochs.
pub(crate) fn read(
    identity: &Identity,
    lineage: &Lineage,
    comeback: &Comeback,
    user: UserId,
) -> Option<Offset> {
    let (pid, offset) = (comeback.pid.as_deref()?, comeback.offset.as_deref()?);
    let epochs = lineage.iter().take(EPOCHS_TRIED_MAX);
    let seals = epochs.flat_map(|epoch| identity.seals(pid, user, epoch));
    Offset::read(offset, seals)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod testing {
    use syncchat_identity::Seal;

    /// A seal for each name.
    pub(super) fn seal(name: &str) -> Seal {
        Seal::new(std::array::from_fn(|i| name.as_bytes()[i % name.len()]))
    }
}
