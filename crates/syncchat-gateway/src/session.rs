//! Who a socket belongs to, and until when.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use syncchat_contract::payload::ClosingReason;
use syncchat_core::model::{Timestamp, UserId};
use syncchat_core::{Error, ErrorCode, Result};
use syncchat_engine::{Class, DisconnectReason};
use syncchat_identity::Claims;
use tokio::time::Instant;

use crate::connect::Entrance;
use crate::frames;
use crate::gateway::Gateway;
use crate::hub::Client;
use crate::limits::{AUTHENTICATE_WAIT, TOKEN_WARNING};
use crate::recovery::Recoverable;
use crate::timers::TimerKey;

/// What the gateway keeps with each socket.
pub struct Session {
    number: u64,
    /// Set once, when it has been let in; a socket never changes hands.
    user: OnceLock<UserId>,
    lease: Mutex<Lease>,
    /// What `connect` found out, until the socket is there.
    entrance: Mutex<Option<Entrance>>,
    place: Mutex<Place>,
    /// For who understands offsets.
    recoverable: Option<Recoverable>,
    /// Keeps what has to happen in the order of the client's events in that order, although it
    /// waits for something: sending, and authenticating.
    pub(crate) order: tokio::sync::Mutex<()>,
}

/// Where the gateway keeps it.
#[derive(Default)]
struct Place {
    /// It has left: nobody may put it anywhere any more.
    left: bool,
    /// Under whom it is in the hub and in the shards.
    registered: Option<UserId>,
    /// The shards know all its conversations.
    entered: bool,
}

/// How long its token is good, and what comes next on that account.
#[derive(Default)]
struct Lease {
    expires_at: Timestamp,
    family: Option<[u8; 16]>,
    timer: Option<TimerKey>,
}

/// What is due for a socket.
pub(crate) enum Deadline {
    /// It should have authenticated by now.
    Authenticate(Client),
    /// Its token ends soon.
    Warn(UserId, u64),
    /// Its token has ended.
    Expire(UserId, u64),
}

impl Session {
    pub(crate) fn new(entrance: Option<Entrance>, recoverable: Option<Recoverable>) -> Session {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        Session {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            user: OnceLock::new(),
            lease: Mutex::default(),
            entrance: Mutex::new(entrance),
            place: Mutex::default(),
            recoverable,
            order: tokio::sync::Mutex::new(()),
        }
    }

    /// Unique in this process, for ever.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whose it is; `None` until it has been let in.
    pub(crate) fn user(&self) -> Option<UserId> {
        self.user.get().copied()
    }

    /// It belongs to this person now. False if it belongs to somebody else.
    pub(crate) fn belongs_to(&self, user: UserId) -> bool {
        *self.user.get_or_init(|| user) == user
    }

    /// The log-in it comes from.
    pub(crate) fn family(&self) -> Option<[u8; 16]> {
        self.lease.lock().family
    }

    pub(crate) fn take_entrance(&self) -> Option<Entrance> {
        self.entrance.lock().take()
    }

    /// The good token that was presented, and waits for the store.
    pub(crate) fn awaited(&self) -> Option<Claims> {
        match *self.entrance.lock() {
            Some(Entrance::Waiting(claims)) => Some(claims),
            _ => None,
        }
    }

    /// What connection state recovery needs, if it understands that.
    pub(crate) fn recoverable(&self) -> Option<&Recoverable> {
        self.recoverable.as_ref()
    }

    /// It is put into the hub under this person. False if it has left already.
    pub(crate) fn register(&self, user: UserId) -> bool {
        let mut place = self.place.lock();
        if !place.left {
            place.registered = Some(user);
        }
        !place.left
    }

    /// The shards know all its conversations.
    pub(crate) fn set_entered(&self) {
        self.place.lock().entered = true;
    }

    pub(crate) fn has_entered(&self) -> bool {
        self.place.lock().entered
    }

    /// It could not be let in. Under whom it has to be taken out of the hub, if it still is there.
    pub(crate) fn unregister(&self) -> Option<UserId> {
        self.place.lock().registered.take()
    }

    /// It has left. Under whom it has to be taken out of the hub, if it is there.
    pub(crate) fn leave(&self) -> Option<UserId> {
        let mut place = self.place.lock();
        place.left = true;
        place.registered.take()
    }

    fn has_left(&self) -> bool {
        self.place.lock().left
    }
}

impl Gateway {
    /// The socket has to authenticate in time, and not here if the node is about to end.
    pub(crate) fn await_token(&self, socket: &Client) {
        if self.is_draining() {
            say_goodbye(socket, ClosingReason::Draining, Duration::ZERO);
            return socket.close(DisconnectReason::ServerClose);
        }
        let at = Instant::now() + AUTHENTICATE_WAIT;
        self.set_deadline(socket, at, Deadline::Authenticate(socket.clone()));
    }

    /// The socket may stay as long as these claims are good.
    pub(crate) fn begin_lease(&self, socket: &Client, user: UserId, claims: &Claims) {
        let session = socket.data();
        let left = claims.expires_at.since(self.parts.chat.clock().estimate());
        let is_renewal;
        {
            let mut lease = session.lease.lock();
            is_renewal = lease.expires_at > Timestamp::default();
            lease.expires_at = claims.expires_at;
            lease.family = claims.family;
        }
        // A client that answers each warning with a new token of a short life must not be warned at once again.
        let warning = match is_renewal {
            true => TOKEN_WARNING.min(left / 3),
            false => TOKEN_WARNING,
        };
        let at = Instant::now() + left.saturating_sub(warning);
        self.set_deadline(socket, at, Deadline::Warn(user, session.number()));
    }

    /// Nothing is due for the socket any more.
    pub(crate) fn end_lease(&self, socket: &Client) {
        if let Some(timer) = socket.data().lease.lock().timer.take() {
            self.deadlines.cancel(timer);
        }
    }

    fn set_deadline(&self, socket: &Client, at: Instant, deadline: Deadline) {
        let session = socket.data();
        let mut lease = session.lease.lock();
        if let Some(timer) = lease.timer.take() {
            self.deadlines.cancel(timer);
        }
        if !session.has_left() {
            lease.timer = Some(self.deadlines.set(at, deadline));
        }
    }

    /// A deadline has come.
    pub(crate) fn is_due(&self, deadline: Deadline) {
        match deadline {
            Deadline::Authenticate(socket) => {
                if socket.data().user().is_none() {
                    let error = Error::new(ErrorCode::Unauthorized, "no token in time");
                    let frame = frames::error_msg(&error, "authenticate", None);
                    let _ = socket.emit(&frame, Class::Essential);
                    socket.kick();
                }
            }
            Deadline::Warn(user, number) => {
                if let Some(socket) = self.hub.find(user, number) {
                    self.warn(&socket, user);
                }
            }
            Deadline::Expire(user, number) => {
                if let Some(socket) = self.hub.find(user, number) {
                    say_goodbye(&socket, ClosingReason::TokenExpired, Duration::ZERO);
                    socket.kick();
                }
            }
        }
    }

    fn warn(&self, socket: &Client, user: UserId) {
        let session = socket.data();
        let expires_at = session.lease.lock().expires_at;
        let frame = frames::token_expiring(expires_at);
        let _ = socket.emit(&frame, Class::Essential);
        let left = expires_at.since(self.parts.chat.clock().estimate());
        let at = Instant::now() + left;
        self.set_deadline(socket, at, Deadline::Expire(user, session.number()));
    }

    /// Closes the sockets of these log-ins of a person: of one family, or of all. Says how many.
    pub(crate) fn revoke(&self, user: UserId, family: Option<[u8; 16]>) -> usize {
        let mut sockets = self.hub.sockets_of(user);
        sockets.retain(|socket| family.is_none() || socket.data().family() == family);
        for socket in &sockets {
            say_goodbye(socket, ClosingReason::Kicked, Duration::ZERO);
            socket.kick();
        }
        sockets.len()
    }
}

/// Tells a socket why it is about to be closed.
pub(crate) fn say_goodbye(socket: &Client, reason: ClosingReason, reconnect_in: Duration) {
    let frame = frames::server_closing(reason, reconnect_in);
    let _ = socket.emit(&frame, Class::Essential);
}

/// Whose socket this is.
///
/// # Errors
/// `unauthorized` if nobody's; `unavailable` while its token waits for the store.
pub(crate) fn owner(socket: &Client) -> Result<UserId> {
    let session = socket.data();
    session.user().ok_or_else(|| match session.awaited() {
        Some(_) => Error::unavailable("still being let in"),
        None => Error::new(ErrorCode::Unauthorized, "authenticate first"),
    })
}
