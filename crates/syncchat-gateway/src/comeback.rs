//! A client comes back: its offset is turned into places to go on from, or it begins anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use syncchat_contract::payload::{ClosingReason, Comeback};
use syncchat_core::ErrorCode;
use syncchat_core::model::{
    Conversation, ConversationId, Membership, Message, Seq, SystemEvent, UserId,
};
use syncchat_engine::{Class, DisconnectReason};
use syncchat_identity::Seal;
use tokio::time::{Instant, sleep};

use crate::frames;
use crate::gateway::Gateway;
use crate::hub::Client;
use crate::limits::{ENTRANCE_RETRY, PAST_PAGE};
use crate::mailbox::Place;
use crate::recovery::{self, Came, Found, Lost, Offset, Recoverable, Start, Track};
use crate::session::say_goodbye;

/// What a client has shown of an earlier connection of its person.
pub(crate) struct Claim {
    pid: String,
    offset: Offset,
}

/// Where a socket begins.
pub(crate) struct Beginning {
    pub(crate) places: Vec<Place>,
    pub(crate) recoverable: Option<Recoverable>,
    /// Conversations made for it while it was away; only for who was recovered.
    pub(crate) new: Vec<Arc<Conversation>>,
}

impl Gateway {
    /// Reads what a client shows of its last connection; `None` if it shows nothing.
    pub(crate) async fn claim(
        &self,
        comeback: Comeback,
        user: UserId,
    ) -> Option<Result<Claim, Lost>> {
        let offset = self.read_offset(&comeback, user).await;
        let pid = comeback.pid?;
        Some(offset.map(|offset| Claim { pid, offset }))
    }

    async fn read_offset(&self, comeback: &Comeback, user: UserId) -> Result<Offset, Lost> {
        let (identity, epochs) = (&self.parts.identity, self.parts.chat.epochs());
        let known = epochs.lineage();
        if let Some(offset) = recovery::read(identity, &known, comeback, user) {
            return Ok(offset);
        }
        if comeback.pid.is_none() || comeback.offset.is_none() {
            return Err(Lost::Invalid);
        }
        // It may be of an epoch that another node began a moment ago.
        let lineage = epochs.refresh().await.map_err(|_| Lost::Unavailable)?;
        if *lineage == *known {
            return Err(Lost::Invalid);
        }
        let offset = recovery::read(identity, &lineage, comeback, user);
        offset.ok_or(Lost::Invalid)
    }

    /// The seal of what a connection is told from now on.
    fn seal(&self, pid: &str, user: UserId) -> Option<Seal> {
        let epoch = self.parts.chat.epochs().current();
        self.parts.identity.seals(pid, user, epoch).next()
    }

    /// Goes on where that connection was.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) async fn go_on(
        &self,
        claim: Claim,
        user: UserId,
        memberships: &[Membership],
        until: Instant,
    ) -> Result<Beginning, Lost> {
        let Claim { pid, offset } = claim;
        let found = self.find(&offset, memberships, until).await;
        if let Err(Lost::Rewound(room, seq, head)) = found {
            self.parts.chat.epochs().found_rewound(room, seq, head);
        }
        let mut found = found?;
        let mut new = Vec::new();
        for &(room, came) in &found.new {
            new.extend(self.inspect(room, until).await?);
            if came == Came::Joined
                && let Some(start) = found.starts.get_mut(&room)
            {
                start.after = self.addition(room, start.after, user, until).await? - 1;
            }
        }
        let seal = self.seal(&pid, user);
        let (sums, recent) = recovery::goes_on(&offset, memberships, &found);
        let track = Track::resume(seal.ok_or(Lost::Invalid)?, sums, recent);
        let starts = found.starts;
        let place = |m: &Membership| {
            let start = starts.get(&m.conversation).cloned();
            place(m, start.unwrap_or_else(|| Start::at_head(m)))
        };
        Ok(Beginning {
            places: memberships.iter().map(place).collect(),
            recoverable: Some(Recoverable::new(pid, Some(track))),
            new,
        })
    }

    async fn find(
        &self,
        offset: &Offset,
        memberships: &[Membership],
        until: Instant,
    ) -> Result<Found, Lost> {
        let unknown = recovery::unknown(offset, memberships);
        let heads: Vec<_> = unknown
            .iter()
            .map(|m| (m.conversation, m.last_seq))
            .collect();
        let at_watermark = loop {
            match self.past.newest_at(heads.clone(), offset.watermark).await {
                Ok(found) => break found.ok_or(Lost::TooMuch)?,
                Err(error) => retry(error.code, until).await?,
            }
        };
        let empty = at_watermark.iter().filter(|&(_, seq)| *seq == 0);
        let mut made = HashMap::new();
        for (&room, _) in empty {
            let conversation = self.inspect(room, until).await?;
            made.extend(conversation.map(|c| (room, c.created_at)));
        }
        recovery::resolve(offset, memberships, &at_watermark, &made)
    }

    /// The message by which the person was added, the first such one after this.
    async fn addition(
        &self,
        room: ConversationId,
        after: Seq,
        user: UserId,
        until: Instant,
    ) -> Result<Seq, Lost> {
        let pages = loop {
            match self.parts.chat.backfill(&[(room, after)], PAST_PAGE).await {
                Ok(pages) => break pages,
                Err(error) => retry(error.code, until).await?,
            }
        };
        let is_it = |message: &Message| match message.event {
            Some(SystemEvent::Added { user: added, .. }) => added == user,
            _ => false,
        };
        let mut messages = pages.iter().flat_map(|page| &page.messages);
        let found = messages.find(|message| is_it(message));
        found.map(|message| message.seq).ok_or(Lost::Membership)
    }

    async fn inspect(
        &self,
        room: ConversationId,
        until: Instant,
    ) -> Result<Option<Arc<Conversation>>, Lost> {
        loop {
            match self.parts.chat.inspect(room).await {
                Ok(conversation) => return Ok(conversation),
                Err(error) => retry(error.code, until).await?,
            }
        }
    }

    /// Begins at the ends of the logs.
    pub(crate) fn begin(
        &self,
        user: UserId,
        memberships: &[Membership],
        recoverable: Option<Recoverable>,
    ) -> Beginning {
        if let Some(recoverable) = &recoverable {
            self.begin_track(recoverable, user, memberships);
        }
        let place = |m: &Membership| place(m, Start::at_head(m));
        Beginning {
            places: memberships.iter().map(place).collect(),
            recoverable,
            new: Vec::new(),
        }
    }

    /// The socket begins at the ends of these logs.
    pub(crate) fn begin_track(
        &self,
        recoverable: &Recoverable,
        user: UserId,
        memberships: &[Membership],
    ) {
        if let Some(seal) = self.seal(recoverable.pid(), user) {
            let now = self.parts.chat.clock().estimate();
            recoverable.set_track(Track::begin(seal, memberships, now));
        }
    }

    /// Tells a socket that goes on of conversations that are new to it, and ends what is left of its
    /// last connection here.
    pub(crate) fn welcome_back(&self, socket: &Client, user: UserId, new: &[Arc<Conversation>]) {
        for conversation in new {
            // Without a claim to know what of it was read: the client asks for that as usual.
            let frame = frames::conversation_created(conversation, 0);
            let _ = socket.emit(&frame, Class::Essential);
        }
        let pid = |socket: &Client| socket.data().recoverable().map(|r| r.pid().to_owned());
        let mine = pid(socket);
        for other in self.hub.sockets_of(user) {
            if other.data().number() != socket.data().number() && pid(&other) == mine {
                say_goodbye(&other, ClosingReason::Replaced, Duration::ZERO);
                other.close(DisconnectReason::ServerClose);
            }
        }
    }
}

/// Waits a moment if that may help.
async fn retry(code: ErrorCode, until: Instant) -> Result<(), Lost> {
    if code != ErrorCode::Unavailable || Instant::now() >= until {
        return Err(Lost::Unavailable);
    }
    sleep(ENTRANCE_RETRY).await;
    Ok(())
}

fn place(membership: &Membership, start: Start) -> Place {
    Place {
        conversation: membership.conversation,
        after: start.after,
        resumed: start.resumed,
        returns: start.returns,
        head: membership.last_seq,
        change_seq: membership.change_seq,
        spans: membership.spans.clone(),
    }
}
