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
use syncchat_contract::payload::{Authenticate, ClosingReason, Comeback};
use syncchat_core::model::{Membership, User, UserId};
use syncchat_core::{Error, ErrorCode, Result};
use syncchat_engine::{Class, ConnectError, DisconnectReason, Handshake};
use syncchat_identity::Claims;
use tokio::time::{Instant, sleep};

use crate::comeback::{Beginning, Claim};
use crate::frames;
use crate::gateway::Gateway;
use crate::hub::{Arriving, Client, Joined, Reader};
use crate::limits::{ENTRANCE_RETRY, ENTRANCE_WAIT, RECOVERY_WAIT, RETURN_AFTER_FAILURE};
use crate::mailbox::{Command, Place};
use crate::metrics;
use crate::recovery::{self, Lost, Recoverable};
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
    beginning: Beginning,
    /// It goes on where an earlier connection was.
    recovered: bool,
    arriving: Arriving,
}

/// What the store says of a person, and who hears of changes since.
struct Known {
    user: User,
    memberships: Vec<Membership>,
    arriving: Arriving,
}

impl Gateway {
    /// Looks at what came with CONNECT. No token: the socket may still authenticate.
    pub(crate) async fn receive(
        &self,
        handshake: &Handshake,
        auth: Option<&RawValue>,
    ) -> Result<Session, ConnectError> {
        let token = Authenticate::read_connect(auth).map_err(|error| refusal(&error))?;
        let comeback = Comeback::read_connect(auth);
        let recoverable = recovery::is_wanted(handshake, &comeback).then(Recoverable::fresh);
        let recoverable = recoverable.flatten();
        let Some(Authenticate { token }) = token else {
            return Ok(Session::new(None, recoverable));
        };
        let identity = &self.parts.identity;
        let claims = identity.verify(&token).map_err(|error| refusal(&error))?;
        let claim = match self.claim(comeback, claims.user).await {
            Some(Err(lost)) => {
                metrics::recovery(lost.as_str());
                None
            }
            claim => claim.and_then(Result::ok),
        };
        self.look_up(claims, claim, recoverable).await
    }

    /// Finds out all that is needed to let somebody in.
    async fn look_up(
        &self,
        claims: Claims,
        claim: Option<Claim>,
        fresh: Option<Recoverable>,
    ) -> Result<Session, ConnectError> {
        let wait = claim.as_ref().map_or(Duration::ZERO, |_| RECOVERY_WAIT);
        let until = Instant::now() + wait;
        let known = loop {
            match self.know_in_turn(claims.user).await {
                Ok(known) => break known,
                Err(error) if error.code != ErrorCode::Unavailable => return Err(refusal(&error)),
                Err(_) if Instant::now() < until => sleep(ENTRANCE_RETRY).await,
                // Official clients give up after a refusal: a store that is away is no reason for one.
                Err(_) => {
                    if claim.is_some() {
                        metrics::recovery(Lost::Unavailable.as_str());
                    }
                    return Ok(Session::new(Some(Entrance::Waiting(claims)), fresh));
                }
            }
        };
        let Known {
            user,
            memberships,
            arriving,
        } = known;
        let went_on = match claim {
            Some(claim) => Some(self.go_on(claim, user.id, &memberships, until).await),
            None => None,
        };
        if let Some(went_on) = &went_on {
            let result = went_on
                .as_ref()
                .map_or_else(|lost| lost.as_str(), |_| "recovered");
            metrics::recovery(result);
            tracing::debug!(user = %user.id, result, "a client has come back");
        }
        let went_on = went_on.and_then(Result::ok);
        let recovered = went_on.is_some();
        let mut beginning = went_on.unwrap_or_else(|| self.begin(user.id, &memberships, fresh));
        let recoverable = beginning.recoverable.take();
        let ready = Ready {
            claims,
            user,
            beginning,
            recovered,
            arriving,
        };
        Ok(Session::new(
            Some(Entrance::Ready(Box::new(ready))),
            recoverable,
        ))
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
            Some(Entrance::Ready(ready)) => self.let_in_at_once(socket, *ready),
            _ => self.await_token(socket),
        }
    }

    fn let_in_at_once(&self, socket: &Client, ready: Ready) {
        let (user, claims) = (&ready.user, &ready.claims);
        socket.data().belongs_to(user.id);
        if ready.recovered {
            self.welcome_back(socket, user.id, &ready.beginning.new);
        }
        self.greet(socket, user, claims);
        let places = ready.beginning.places;
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
                Err(_) if Instant::now() >= until || self.is_draining() => {
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
            let turn = self.arrivals.turn().await;
            let _turn = turn.ok_or_else(|| Error::unavailable("too many come at once"))?;
            self.hub.listen_for(user).await;
            self.arrivals.read(user).await
        };
        match read.await {
            Ok((profile, memberships)) => {
                socket.data().belongs_to(user);
                let session = socket.data();
                if let Some(recoverable) = session.recoverable() {
                    self.begin_track(recoverable, user, &memberships);
                }
                self.greet(socket, &profile, &claims);
                let places = self.begin(user, &memberships, None).places;
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

    async fn know_in_turn(&self, user: UserId) -> Result<Known> {
        match self.arrivals.turn().await {
            Some(_turn) => self.know(user).await,
            None => Err(Error::unavailable("too many come at once")),
        }
    }

    async fn know(&self, user: UserId) -> Result<Known> {
        let arriving = self.hub.arrive(user);
        self.hub.listen_for(user).await;
        let (user, memberships) = self.arrivals.read(user).await?;
        Ok(Known {
            user,
            memberships,
            arriving,
        })
    }

    /// Says whose the socket is, and where it begins, for who understands that.
    pub(crate) fn greet(&self, socket: &Client, user: &User, claims: &Claims) {
        let here = (
            self.config.node_id.as_str(),
            self.parts.chat.epochs().current(),
        );
        let frame = frames::authenticated(user, here, claims.expires_at);
        let _ = match socket.data().recoverable() {
            Some(recoverable) => recoverable.with_track(|track| match track {
                Some(track) => socket.emit(&track.stamp(&frame), Class::Essential),
                None => socket.emit(&frame, Class::Essential),
            }),
            None => socket.emit(&frame, Class::Essential),
        };
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
            self.feed.joined(user, joined);
        }
    }

    fn has_entered(&self, socket: &Client, user: UserId, claims: &Claims) {
        self.begin_lease(socket, user, claims);
        self.presence.has_come(user);
        metrics::authenticated(1.0);
        tracing::debug!(socket = socket.id(), %user, "socket authenticated");
    }
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
