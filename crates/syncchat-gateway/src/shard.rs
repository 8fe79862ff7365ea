//! A share of the conversations: one task, one delivery machine, and all that can wake it.

use std::sync::Arc;
use std::time::Instant;

use syncchat_core::Chat;
use syncchat_core::chat::Backfill;
use syncchat_core::model::{ConversationId, Message, Seq, UserId};
use syncchat_core::ports::fleet::{Fleet, FleetEvent, Topic};
use syncchat_delivery::{Config, Input, Machine, Millis};
use syncchat_engine::Class;

use crate::desk::{Desk, tell};
use crate::frames::{self, Entry, Shared};
use crate::hub::Reader;
use crate::limits::{COMMANDS_PER_TURN, DELIVERIES_PER_TURN, FETCH_ROOMS, FETCHES_AT_ONCE};
use crate::mailbox::{Act, Command, Mailbox};
use crate::metrics;

pub(crate) struct Shard {
    machine: Machine<ConversationId, Reader, Shared>,
    desk: Desk,
    mailbox: Arc<Mailbox>,
    chat: Arc<Chat>,
    fleet: Arc<dyn Fleet>,
    began: Instant,
    /// Reads of missing messages under way.
    fetching: usize,
    /// Entries of the message being handled; kept to reuse its memory.
    entries: Vec<Shared>,
}

impl Shard {
    pub(crate) fn new(
        config: Config,
        mailbox: Arc<Mailbox>,
        chat: Arc<Chat>,
        fleet: Arc<dyn Fleet>,
    ) -> Shard {
        Shard {
            machine: Machine::new(config),
            desk: Desk::new(),
            mailbox,
            chat,
            fleet,
            began: Instant::now(),
            fetching: 0,
            entries: Vec::new(),
        }
    }

    /// Does what comes into the mailbox, for ever.
    pub(crate) async fn run(mut self) {
        let mut commands = Vec::new();
        loop {
            if self.mailbox.take(&mut commands) {
                self.input(Input::Doubt);
            }
            let mut obeyed = 0;
            for command in commands.drain(..) {
                self.obey(command);
                obeyed += 1;
                if obeyed >= COMMANDS_PER_TURN || self.desk.delivered >= DELIVERIES_PER_TURN {
                    (obeyed, self.desk.delivered) = (0, 0);
                    self.ask();
                    // Those who write to sockets get their turn.
                    tokio::task::yield_now().await;
                }
            }
            if self.machine.wakes_at().is_some_and(|at| at <= self.now()) {
                self.input(Input::Tick);
            }
            self.ask();
            self.sleep().await;
        }
    }

    /// Waits for a command, or until the machine wants a tick.
    async fn sleep(&mut self) {
        let filled = self.mailbox.filled();
        match self.machine.wakes_at() {
            Some(at) => {
                let at = self.began + std::time::Duration::from_millis(at);
                tokio::select! {
                    () = filled => {}
                    () = tokio::time::sleep_until(at.into()) => {}
                }
            }
            None => filled.await,
        }
        self.desk.delivered = 0;
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Heard(event, at) => self.heard(event, at),
            Command::Hold(reader, user) => self.hold(reader, user),
            Command::Enter(reader, user, places) => self.enter(reader, user, places),
            Command::Gone(reader, user) => self.gone(reader, user),
            Command::Drained(reader) => self.input(Input::Drained { reader }),
            Command::Joined(user, room, after) => {
                for reader in self.desk.readers_of(user).to_vec() {
                    self.join(room, reader, after);
                }
            }
            Command::Sending(reader, message) => self.desk.sending(reader, message),
            Command::Sent(reader, message) => self.sent(&reader, &message),
            Command::Unsent(message) => self.desk.unsent(message),
            Command::Acting(act, reader) => self.desk.acting(act, reader),
            Command::Acted(act) => self.desk.acted(act),
            Command::Subscribed(rooms) => {
                for room in rooms {
                    self.input(Input::Subscribed { room });
                }
            }
            Command::Fetched(pages) => self.fetched(pages),
            Command::FetchFailed(rooms) => {
                self.fetching -= 1;
                for room in rooms {
                    self.input(Input::FetchFailed { room });
                }
            }
            Command::Heads(heads) => self.input(Input::Heads { heads: &heads }),
            Command::CompareFailed => self.input(Input::CompareFailed),
            Command::Doubt => self.input(Input::Doubt),
        }
    }

    fn input(&mut self, input: Input<'_, ConversationId, Reader, Shared>) {
        let now = self.now();
        self.machine.handle(now, input, &mut self.desk);
        self.desk.count();
    }

    fn now(&self) -> Millis {
        self.began.elapsed().as_millis() as Millis
    }
}

/// Sockets come and go.
impl Shard {
    fn hold(&mut self, reader: Reader, user: UserId) {
        self.desk.welcome(&reader, user);
        self.input(Input::Hold { reader });
    }

    fn enter(&mut self, reader: Reader, user: UserId, places: Vec<(ConversationId, Seq)>) {
        self.hold(reader.clone(), user);
        for (room, after) in places {
            self.join(room, reader.clone(), after);
        }
        self.input(Input::Drained { reader });
    }

    fn gone(&mut self, reader: Reader, user: UserId) {
        self.desk.forget(&reader, user);
        self.input(Input::Gone { reader });
    }

    fn join(&mut self, room: ConversationId, reader: Reader, after: Seq) {
        self.input(Input::Join {
            room,
            reader,
            after,
        });
    }

    fn sent(&mut self, reader: &Reader, message: &Message) {
        let (room, head) = (message.conversation, message.seq);
        // What was acknowledged exists: should its announcement be lost, it is missed at once.
        self.input(Input::Head { room, head });
        let next = self.machine.position(room, reader);
        self.desk.sent(message, next);
    }
}

/// What the fleet says, and what the store answers.
impl Shard {
    fn heard(&mut self, event: FleetEvent, at: Instant) {
        match event {
            FleetEvent::Committed { messages } => self.committed(&messages, at),
            FleetEvent::Head { conversation, head } => self.input(Input::Head {
                room: conversation,
                head,
            }),
            FleetEvent::Parted {
                user,
                conversation,
                seq,
                ..
            } => {
                for reader in self.desk.readers_of(user).to_vec() {
                    self.input(Input::Leave {
                        room: conversation,
                        reader,
                        last: seq,
                    });
                }
            }
            FleetEvent::Changed { message, change } => {
                let frame = || frames::msg_changed(&message, change);
                let actor = self.desk.actor(Act::Change(message.id, change));
                let name = frames::change_name(change);
                self.tell(message.conversation, name, frame, |r| {
                    Some(r) != actor.as_ref()
                });
            }
            FleetEvent::Cursor {
                conversation,
                user,
                kind,
                seq,
            } => {
                let frame = || frames::msg_status(conversation, user, kind, seq);
                let actor = self.desk.actor(Act::Cursor(conversation, user, kind));
                self.tell(conversation, "msg_status", frame, |r| {
                    Some(r) != actor.as_ref()
                });
            }
            FleetEvent::Typing {
                conversation,
                user,
                typing,
            } => {
                let readers = self.machine.readers(conversation);
                let mut others = readers.filter(|r| r.user() != Some(user)).peekable();
                if others.peek().is_some() {
                    let frame = frames::typing(conversation, user, typing);
                    let missed = tell(others, &frame, Class::Droppable);
                    metrics::ephemeral_dropped("typing", missed);
                }
            }
            FleetEvent::Updated { conversation } => {
                let frame = || frames::conversation_updated(&conversation);
                self.tell(conversation.id, "conversation_updated", frame, |_| true);
            }
            // These concern people, not conversations: the feed sees to them.
            FleetEvent::Joined { .. }
            | FleetEvent::Presence { .. }
            | FleetEvent::Revoked { .. } => {}
        }
    }

    fn committed(&mut self, messages: &[Arc<Message>], at: Instant) {
        let Some(first) = messages.first() else {
            return;
        };
        let (room, first) = (first.conversation, first.seq);
        if !self.machine.knows(room) {
            return;
        }
        let mut entries = std::mem::take(&mut self.entries);
        entries.extend(messages.iter().map(|message| self.entry(message, at)));
        self.input(Input::Committed {
            room,
            first,
            frames: &entries,
        });
        entries.clear();
        self.entries = entries;
    }

    fn fetched(&mut self, pages: Vec<(ConversationId, Seq, Vec<Arc<Message>>)>) {
        self.fetching -= 1;
        let now = Instant::now();
        for (room, after, messages) in pages {
            metrics::backfilled(messages.len());
            let frames: Vec<_> = messages.iter().map(|m| self.entry(m, now)).collect();
            self.input(Input::Fetched {
                room,
                after,
                frames: &frames,
            });
        }
    }

    fn entry(&self, message: &Arc<Message>, at: Instant) -> Shared {
        let origin = self.desk.origin(message.id);
        Shared(Arc::new(Entry::new(message, origin, at)))
    }

    /// Emits what has no place in the log to those in a conversation that it is for.
    fn tell(
        &self,
        room: ConversationId,
        name: &'static str,
        frame: impl FnOnce() -> syncchat_protocol::Frame,
        is_for: impl Fn(&Reader) -> bool,
    ) {
        let mut readers = self.machine.readers(room).filter(|r| is_for(r)).peekable();
        if readers.peek().is_some() {
            let missed = tell(readers, &frame(), Class::Reliable);
            metrics::notices_lost(name, missed);
        }
    }
}

/// Questions to the store and the fleet: each in a task of its own, which puts the answer into the
/// mailbox.
impl Shard {
    fn ask(&mut self) {
        if !self.desk.unsubscriptions.is_empty() {
            let topics = topics(&std::mem::take(&mut self.desk.unsubscriptions));
            self.fleet.unsubscribe(topics);
        }
        if !self.desk.subscriptions.is_empty() {
            self.subscribe();
        }
        if let Some(rooms) = self.desk.comparison.take() {
            self.compare(rooms);
        }
        while self.fetching < FETCHES_AT_ONCE && !self.desk.fetches.is_empty() {
            self.fetch();
        }
    }

    fn subscribe(&mut self) {
        let rooms = std::mem::take(&mut self.desk.subscriptions);
        let (fleet, mailbox) = (Arc::clone(&self.fleet), Arc::clone(&self.mailbox));
        tokio::spawn(async move {
            fleet.subscribe(topics(&rooms)).await;
            mailbox.post(Command::Subscribed(rooms));
        });
    }

    fn compare(&self, rooms: Vec<ConversationId>) {
        let (chat, mailbox) = (Arc::clone(&self.chat), Arc::clone(&self.mailbox));
        tokio::spawn(async move {
            mailbox.post(match chat.heads(&rooms).await {
                Ok(heads) => Command::Heads(heads),
                Err(error) => {
                    tracing::debug!(%error, rooms = rooms.len(), "heads cannot be compared");
                    Command::CompareFailed
                }
            });
        });
    }

    fn fetch(&mut self) {
        let count = self.desk.fetches.len().min(FETCH_ROOMS);
        let wanted: Vec<_> = self.desk.fetches.drain(..count).collect();
        let limit = wanted.iter().map(|&(_, _, limit)| limit).max().unwrap_or(1);
        let (chat, mailbox) = (Arc::clone(&self.chat), Arc::clone(&self.mailbox));
        self.fetching += 1;
        tokio::spawn(async move {
            let places: Vec<_> = wanted
                .iter()
                .map(|&(room, after, _)| (room, after))
                .collect();
            mailbox.post(match chat.backfill(&places, limit).await {
                Ok(found) => Command::Fetched(pages(places, found)),
                Err(error) => {
                    metrics::backfill_failed();
                    tracing::debug!(%error, rooms = places.len(), "missing messages cannot be read");
                    Command::FetchFailed(places.into_iter().map(|(room, _)| room).collect())
                }
            });
        });
    }
}

/// An answer for each place that was asked for, found or not.
fn pages(
    places: Vec<(ConversationId, Seq)>,
    mut found: Vec<Backfill>,
) -> Vec<(ConversationId, Seq, Vec<Arc<Message>>)> {
    let page = |(room, after)| {
        let page = found.iter_mut().find(|page| page.conversation == room);
        let messages = page.map_or_else(Vec::new, |page| std::mem::take(&mut page.messages));
        (room, after, messages)
    };
    places.into_iter().map(page).collect()
}

fn topics(rooms: &[ConversationId]) -> Vec<Topic> {
    rooms
        .iter()
        .map(|&room| Topic::Conversation(room))
        .collect()
}
