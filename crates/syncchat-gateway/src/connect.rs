//! How a socket comes to belong to somebody: by a token with CONNECT, or by `authenticate` later.
//!
//! With CONNECT, everything is looked up before the answer, so that a client is in all its
//! conversations from its `connect` on. The person is listened to first and the memberships are
//! read after that: what changes in between is heard, and kept until the socket is there.
//!
//! Later, the socket is there already: it enters the shards on hold first, so that what is heard of
//! single conversations cannot overtake the list of all of them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use syncchat_contract::error::{AUTHENTICATION_ERROR, ConnectErrorData};
use syncchat_contract::payload::{Authenticate, ClosingReason};
use syncchat_core::model::{Membership, User, UserId};
use syncchat_core::{Error, ErrorCode, Result};
use syncchat_engine::{Class, ConnectError, DisconnectReason};
use syncchat_identity::Claims;
use tokio::time::{Instant, sleep};

use crate::frames;
use crate::gateway::Gateway;
use crate::hub::{Arriving, Client, Joined, Reader};
use crate::limits::{ENTRANCE_RETRY, ENTRANCE_WAIT, RETURN_AFTER_FAILURE};
use crate::mailbox::{Command, Place};
use crate::metrics;
use crate::session::{Session, say_goodbye};

/// What came of a token presented with CONNECT.
pub(crate) enum Entrance {
    /// All is known.
    Ready(Box<Ready>),
    /// The token is good, and the store is away.
    Waiting(Claims),
}

/// What is known of a person who is about to be let in.
pub(crate) struct Ready {
    claims: Claims,
    user: User,
    memberships: Vec<Membership>,
    arriving: Arriving,
}

impl Gateway {
    /// Looks at what came with CONNECT. No token: the socket may still authenticate.
    pub(crate) async fn receive(&self, auth: Option<&RawValue>) -> Result<Session, ConnectError> {
        let token = Authenticate::read_connect(auth).map_err(|error| refusal(&error))?;
        let Some(Authenticate { token }) = token else {
            return Ok(Session::new(None));
        };
        let identity = &self.parts.identity;
        let claims = identity.verify(&token).map_err(|error| refusal(&error))?;
        match self.look_up(claims).await {
            Ok(ready) => Ok(Session::new(Some(Entrance::Ready(Box::new(ready))))),
            // Official clients give up after a refusal: a store that is away is no reason for one.
            Err(error) if error.code == ErrorCode::Unavailable => {
                Ok(Session::new(Some(Entrance::Waiting(claims))))
            }
            Err(error) => Err(refusal(&error)),
        }
    }

    /// The socket is there.
    pub(crate) fn let_in(&self, socket: &Client) {
        if let Some(claims) = socket.data().awaited() {
            if let Some(gateway) = self.me.upgrade() {
                tokio::spawn(gateway.let_in_later(socket.clone(), claims));
            }
            return;
        }
        match socket.data().take_entrance() {
            Some(Entrance::Ready(ready)) => self.let_in_at_once(socket, &ready),
            _ => self.await_token(socket),
        }
    }

    fn let_in_at_once(&self, socket: &Client, ready: &Ready) {
        let (user, claims) = (&ready.user, &ready.claims);
        socket.data().belongs_to(user.id);
        self.greet(socket, user, claims);
        let places = places(&ready.memberships);
        let entered = self
            .hub
            .enter(user.id, socket, Some(&ready.arriving), |heard| {
                self.enter_shards(socket, user.id, places, heard);
            });
        if entered {
            self.has_entered(socket, user.id, claims);
        }
    }

    /// Lets in a socket whose token came while the store was away, once it is back.
    async fn let_in_later(self: Arc<Gateway>, socket: Client, claims: Claims) {
        let until = Instant::now() + ENTRANCE_WAIT;
        while socket.is_connected() {
            match self.enter(&socket, claims).await {
                Ok(_) => {
                    socket.data().take_entrance();
                    return;
                }
                Err(error) if error.code != ErrorCode::Unavailable => {
                    say_goodbye(&socket, ClosingReason::Kicked, Duration::ZERO);
                    return socket.kick();
                }
                Err(_) if Instant::now() >= until => {
                    say_goodbye(&socket, ClosingReason::Draining, RETURN_AFTER_FAILURE);
                    return socket.close(DisconnectReason::ServerClose);
                }
                Err(_) => sleep(ENTRANCE_RETRY).await,
            }
        }
    }

    /// Lets a socket in that is there already.
    ///
    /// # Errors
    /// `unauthorized` if there is no such person; `unavailable`: it may try again.
    pub(crate) async fn enter(&self, socket: &Client, claims: Claims) -> Result<User> {
        let user = claims.user;
        let entered = self.hub.enter(user, socket, None, |_| {
            let reader = Reader(socket.clone());
            self.feed.post_all(|| Command::Hold(reader.clone(), user));
        });
        if !entered {
            return Err(Error::unavailable("the socket has left"));
        }
        let read = async {
            self.hub.listen_for(user).await;
            self.read(user).await
        };
        match read.await {
            Ok((profile, memberships)) => {
                socket.data().belongs_to(user);
                self.greet(socket, &profile, &claims);
                let places = places(&memberships);
                let entered = self.hub.if_here(user, socket, || {
                    self.enter_shards(socket, user, places, Vec::new());
                });
                if entered {
                    self.has_entered(socket, user, &claims);
                }
                Ok(profile)
            }
            Err(error) => {
                if socket.data().unregister().is_some() {
                    self.forget(socket, user);
                }
                Err(error)
            }
        }
    }

    async fn look_up(&self, claims: Claims) -> Result<Ready> {
        let arriving = self.hub.arrive(claims.user);
        self.hub.listen_for(claims.user).await;
        let (user, memberships) = self.read(claims.user).await?;
        Ok(Ready {
            claims,
            user,
            memberships,
            arriving,
        })
    }

    async fn read(&self, user: UserId) -> Result<(User, Vec<Membership>)> {
        let profile = self.parts.people.profile(user);
        let memberships = self.parts.chat.memberships(user);
        let (profile, memberships) = tokio::join!(profile, memberships);
        let profile = profile.map_err(|error| match error.code {
            ErrorCode::NotFound => Error::new(ErrorCode::Unauthorized, "nobody has this token"),
            _ => error,
        })?;
        Ok((profile, memberships?))
    }

    /// Says whose the socket is.
    pub(crate) fn greet(&self, socket: &Client, user: &User, claims: &Claims) {
        let frame = frames::authenticated(user, &self.config.node_id, claims.expires_at);
        let _ = socket.emit(&frame, Class::Essential);
    }

    fn enter_shards(&self, socket: &Client, user: UserId, places: Vec<Place>, heard: Vec<Joined>) {
        let shards = self.feed.shards();
        let mut shares: Vec<_> = shards.iter().map(|_| Vec::new()).collect();
        for place in places {
            shares[self.feed.shard_index(place.conversation)].push(place);
        }
        socket.data().set_entered();
        for (mailbox, share) in shards.iter().zip(shares) {
            mailbox.post(Command::Enter(Reader(socket.clone()), user, share));
        }
        for joined in &heard {
            self.feed
                .tell_joined(user, joined, std::slice::from_ref(socket));
        }
    }

    fn has_entered(&self, socket: &Client, user: UserId, claims: &Claims) {
        self.begin_lease(socket, user, claims);
        self.presence.has_come(user);
        metrics::authenticated(1.0);
        tracing::debug!(socket = socket.id(), %user, "socket authenticated");
    }
}

/// The person's conversations.
fn places(memberships: &[Membership]) -> Vec<Place> {
    let open = memberships.iter().filter(|m| m.spans.is_open());
    open.map(|m| Place {
        conversation: m.conversation,
        after: m.last_seq,
        spans: m.spans.clone(),
    })
    .collect()
}

fn refusal(error: &Error) -> ConnectError {
    let code = match error.code {
        ErrorCode::TokenExpired | ErrorCode::Internal => error.code,
        _ => ErrorCode::Unauthorized,
    };
    let data = ConnectErrorData {
        code: code.as_str(),
    };
    ConnectError {
        message: AUTHENTICATION_ERROR.into(),
        data: serde_json::value::to_raw_value(&data).ok(),
    }
}
