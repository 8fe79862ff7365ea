//! What the fleet says, given to whom it concerns on this node.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Weak};
use std::time::Instant;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use syncchat_core::model::{ConversationId, PresenceStatus, Timestamp, UserId};
use syncchat_core::ports::fleet::{Fleet, FleetEvent, FleetListener, Topic};
use syncchat_engine::Class;
use syncchat_protocol::Frame;

use crate::additions::Additions;
use crate::desk::tell_if_possible;
use crate::frames;
use crate::gateway::Gateway;
use crate::hub::{Client, Hub, Joined};
use crate::limits::{DEAF_COMPARE_INTERVAL, PRESENCE_SAID_MAX, PRESENCE_TIMES_MAX};
use crate::mailbox::{Command, Mailbox};
use crate::metrics;
use crate::recovery::Track;
use crate::revocations::Revocations;

/// The mailboxes of all shards, and who is here.
pub(crate) struct Feed {
    mailboxes: Vec<Arc<Mailbox>>,
    hub: Arc<Hub>,
    additions: Arc<Additions>,
    revocations: Arc<Revocations>,
    /// When the newest was said that a person here was told of another's presence.
    presence: Mutex<HashMap<(UserId, UserId), Timestamp, RandomState>>,
    /// What was said last of people's presence: it is said to each of their contacts.
    said: Mutex<HashMap<UserId, Said, RandomState>>,
    gateway: Weak<Gateway>,
}

/// One person's presence, as it is sent.
struct Said {
    status: PresenceStatus,
    at: Timestamp,
    frame: Frame,
}

impl Feed {
    pub(crate) fn new(
        mailboxes: Vec<Arc<Mailbox>>,
        hub: Arc<Hub>,
        additions: Arc<Additions>,
        revocations: Arc<Revocations>,
        gateway: Weak<Gateway>,
    ) -> Feed {
        Feed {
            mailboxes,
            hub,
            additions,
            revocations,
            presence: Mutex::default(),
            said: Mutex::default(),
            gateway,
        }
    }

    /// The shard of a conversation.
    pub(crate) fn shard(&self, conversation: ConversationId) -> &Mailbox {
        &self.mailboxes[self.shard_index(conversation)]
    }

    /// Which shard a conversation belongs to: ids made one after the other are spread evenly.
    pub(crate) fn shard_index(&self, conversation: ConversationId) -> usize {
        let bytes = conversation.bytes();
        let tail = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        tail as usize % self.mailboxes.len()
    }

    pub(crate) fn shards(&self) -> &[Arc<Mailbox>] {
        &self.mailboxes
    }

    /// Tells every shard.
    pub(crate) fn post_all(&self, command: impl Fn() -> Command) {
        for mailbox in &self.mailboxes {
            mailbox.post(command());
        }
    }

    /// Whether a person was not told this of another's presence yet, nor anything later: what is told
    /// again, because it may have been missed, may be older than what was heard meanwhile. Beyond
    /// [`PRESENCE_TIMES_MAX`] all is forgotten, and believed.
    fn is_news(&self, watcher: UserId, user: UserId, at: Timestamp) -> bool {
        let mut told = self.presence.lock();
        if told.len() >= PRESENCE_TIMES_MAX && !told.contains_key(&(watcher, user)) {
            told.clear();
        }
        match told.entry((watcher, user)) {
            Entry::Occupied(known) if at <= *known.get() => false,
            entry => {
                entry.insert_entry(at);
                true
            }
        }
    }

    /// The event that says so, encoded once for all who are told.
    fn presence_frame(&self, user: UserId, status: PresenceStatus, at: Timestamp) -> Frame {
        let mut said = self.said.lock();
        if let Some(known) = said.get(&user)
            && known.status == status
            && known.at == at
        {
            return known.frame.clone();
        }
        if said.len() >= PRESENCE_SAID_MAX {
            said.clear();
        }
        let frame = frames::presence(user, status, at);
        let known = Said {
            status,
            at,
            frame: frame.clone(),
        };
        said.insert(user, known);
        frame
    }

    /// While other nodes cannot be heard, the heads of all conversations and the log-ins of all
    /// sockets are compared, and memberships looked for.
    pub(crate) async fn compare_while_deaf(self: Arc<Feed>, fleet: Arc<dyn Fleet>) {
        let mut interval = tokio::time::interval(DEAF_COMPARE_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            if !fleet.connected() {
                self.on_doubt();
            }
        }
    }

    /// A person was added somewhere. Sockets of theirs are in the shards already: the conversation's
    /// own tells those that do not know it.
    pub(crate) fn joined(&self, user: UserId, joined: &Joined) {
        let shard = self.shard(joined.conversation.id);
        shard.post(Command::Joined(user, joined.clone()));
    }
}

/// Tells a socket of a conversation its person has come to. From then on it is owed what follows: of a
/// new one, all messages.
pub(crate) fn tell_joined(socket: &Client, joined: &Joined, frame: &Frame) {
    let Joined { conversation, seq } = joined;
    let stamped = |track: Option<&mut Track>| {
        let track = track.filter(|_| *seq == 0)?;
        track.is_new(conversation.id, conversation.created_at);
        Some(track.stamp(frame))
    };
    let emit = |frame: &Frame| socket.emit(frame, Class::Essential);
    let _ = match socket.data().recoverable() {
        Some(recoverable) => {
            recoverable.with_track(|track| emit(stamped(track).as_ref().unwrap_or(frame)))
        }
        None => emit(frame),
    };
}

impl FleetListener for Feed {
    fn on_event(&self, event: &FleetEvent) {
        match event {
            FleetEvent::Joined {
                user,
                conversation,
                seq,
                ..
            } => {
                let (conversation, seq) = (Arc::clone(conversation), *seq);
                let joined = Joined { conversation, seq };
                self.hub.joined(*user, &joined, |sockets| {
                    if !sockets.is_empty() {
                        self.joined(*user, &joined);
                    }
                });
            }
            FleetEvent::Presence {
                watcher,
                user,
                status,
                last_seen,
            } => {
                self.hub.with_sockets(*watcher, |sockets| {
                    if self.is_news(*watcher, *user, *last_seen) {
                        let frame = self.presence_frame(*user, *status, *last_seen);
                        let missed = tell_if_possible(sockets.iter(), &frame);
                        metrics::ephemeral_dropped("presence", missed);
                    }
                });
            }
            FleetEvent::Revoked { user, family } => {
                if let Some(gateway) = self.gateway.upgrade() {
                    gateway.revoke(*user, *family);
                }
            }
            // A removal is told to its person, and belongs into the conversation's shard.
            FleetEvent::Parted { conversation, .. } => {
                self.shard(*conversation)
                    .post_event(event.clone(), Instant::now());
            }
            _ => {
                if let Topic::Conversation(conversation) = event.topic() {
                    self.shard(conversation)
                        .post_event(event.clone(), Instant::now());
                }
            }
        }
    }

    fn on_doubt(&self) {
        self.post_all(|| Command::Doubt);
        self.additions.doubt();
        self.revocations.doubt();
    }
}
