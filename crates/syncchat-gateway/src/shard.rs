//! A share of the conversations: one task, one delivery machine, and all that can wake it.

use std::sync::Arc;
use std::time::Instant;

use syncchat_core::Chat;
use syncchat_core::model::{ConversationId, Message, Seq, SeqSpans, UserId};
use syncchat_core::ports::fleet::{Change, Fleet, FleetEvent};
use syncchat_delivery::{Config, Input, Machine, Millis};
use syncchat_protocol::Frame;

use crate::desk::{Desk, deliver_notice, tell_if_possible};
use crate::feed::tell_joined;
use crate::frames::{self, Entry, KeptJson, Shared};
use crate::hub::{Joined, Reader};
use crate::limits::{COMMANDS_PER_TURN, DELIVERIES_PER_TURN};
use crate::mailbox::{Act, Command, Mailbox, Place};
use crate::metrics;
use crate::rights::Changes;
use crate::traces::Source;

pub(crate) struct Shard {
    machine: Machine<ConversationId, Reader, Shared>,
    pub(crate) desk: Desk,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) chat: Arc<Chat>,
    pub(crate) fleet: Arc<dyn Fleet>,
    began: Instant,
    /// Reads of missing messages under way.
    pub(crate) fetching: usize,
    changes: Changes,
    /// Entries of the message being handled; kept to reuse its memory.
    entries: Vec<Shared>,
}

impl Shard {
    pub(crate) fn new(
        config: Config,
        desk: Desk,
        mailbox: Arc<Mailbox>,
        chat: Arc<Chat>,
        fleet: Arc<dyn Fleet>,
    ) -> Shard {
        Shard {
            machine: Machine::new(config),
            desk,
            mailbox,
            chat,
            fleet,
            began: Instant::now(),
            fetching: 0,
            changes: Changes::default(),
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
                    obeyed = 0;
                    self.end_turn().await;
                }
            }
            if self.machine.wakes_at().is_some_and(|at| at <= self.now()) {
                self.input(Input::Tick);
            }
            self.end_turn().await;
            self.sleep().await;
        }
    }

    /// Asks what is to be asked, and lets others run: those who write to sockets among them.
    async fn end_turn(&mut self) {
        self.ask();
        self.desk.delivered = 0;
        tokio::task::yield_now().await;
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
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Heard(event, at) => self.heard(event, at),
            Command::Hold(reader, user) => self.hold(reader, user),
            Command::Enter(reader, user, places) => self.enter(reader, user, places),
            Command::Gone(reader, user) => self.gone(reader, user),
            Command::Drained(reader) => self.drained(reader),
            Command::Joined(user, joined) => self.joined(user, &joined, Source::Fleet),
            Command::Found(user, joined) => self.joined(user, &joined, Source::Store),
            Command::Rights(user, rights) => self.know_rights(user, &rights),
            Command::Sending(reader, message, json) => self.desk.sending(reader, message, json),
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
        self.desk.hold(&reader, user);
        self.input(Input::Hold { reader });
    }

    fn enter(&mut self, reader: Reader, user: UserId, places: Vec<Place>) {
        self.hold(reader.clone(), user);
        for place in places {
            let room = place.conversation;
            self.desk.rights.set(user, room, &place.spans);
            let (reader, after) = (reader.clone(), place.after);
            if let Some(&(begin, _)) = place.spans.parts().last()
                && (after + 1..=place.head).contains(&begin)
            {
                self.desk.untold.listed(user, room, begin);
            }
            match place.resumed {
                true => self.input(Input::Resume {
                    room,
                    reader: reader.clone(),
                    after,
                }),
                false => self.join(room, reader.clone(), after),
            }
            for first in place.returns {
                self.join(room, reader.clone(), first - 1);
            }
            let head = place.head;
            self.input(Input::Head { room, head });
        }
        self.desk.release(&reader);
        self.drained(reader);
    }

    fn drained(&mut self, reader: Reader) {
        // One that is still coming is let go by entering, not before.
        if !self.desk.is_held(&reader) {
            self.input(Input::Drained {
                reader: reader.clone(),
            });
            self.desk.catch_up(&reader);
        }
    }

    /// A person was added, as the fleet or the store says. Both may say so late, and again: only the
    /// sockets that do not know it are told, and join. Sockets that are just coming read for themselves
    /// what the store has.
    fn joined(&mut self, user: UserId, joined: &Joined, by: Source) {
        let (room, seq) = (joined.conversation.id, joined.seq);
        let was_told = self.desk.untold.was_told(user, room, seq);
        let is_untold = self.desk.untold.is_untold(user, room, seq);
        let is_news = |reader: &&Reader| {
            if by == Source::Store && self.desk.is_held(reader) {
                return false;
            }
            match self.machine.position(room, reader) {
                None => !self.machine.has_left(room, reader, seq.max(1)),
                // In an earlier span, or not come to this one yet.
                Some(next) if next <= seq => !was_told,
                Some(_) => is_untold,
            }
        };
        let readers = self.desk.readers_of(user).iter().filter(is_news);
        let readers: Vec<Reader> = readers.cloned().collect();
        if readers.is_empty() {
            return;
        }
        if by == Source::Store {
            metrics::addition_found();
        }
        if seq > 0 {
            self.desk.untold.told(user, room, seq);
            self.desk.rights.added(user, room, seq);
            self.ask_rights(user);
        }
        let frame = frames::conversation_created(&joined.conversation, seq);
        for reader in readers {
            tell_joined(&reader.0, joined, &frame);
            if self
                .machine
                .position(room, &reader)
                .is_none_or(|next| next <= seq)
            {
                self.join(room, reader, seq.saturating_sub(1));
            }
        }
    }

    fn know_rights(&mut self, user: UserId, rights: &[(ConversationId, SeqSpans)]) {
        if !self.desk.readers_of(user).is_empty() {
            for (room, spans) in rights {
                self.desk.rights.set(user, *room, spans);
            }
        }
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
            FleetEvent::Changed { message, change } => self.changed(&message, change),
            FleetEvent::Cursor {
                conversation,
                user,
                kind,
                seq,
            } => {
                let frame = || frames::msg_status(conversation, user, kind, seq);
                let actor = self.desk.actor(Act::Cursor(conversation, user, kind));
                self.notify(conversation, "msg_status", frame, |_, r| {
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
                    let missed = tell_if_possible(others.map(|reader| &reader.0), &frame);
                    metrics::ephemeral_dropped("typing", missed);
                }
            }
            FleetEvent::Updated { conversation } => {
                let frame = || frames::conversation_updated(&conversation);
                self.notify(conversation.id, "conversation_updated", frame, |_, _| true);
            }
            // These concern people, not conversations: the feed sees to them.
            FleetEvent::Joined { .. }
            | FleetEvent::Presence { .. }
            | FleetEvent::Revoked { .. } => {}
        }
    }

    fn changed(&mut self, message: &Arc<Message>, change: Change) {
        self.changes.remember(message);
        let (room, seq) = (message.conversation, message.seq);
        let frame = self.entry(message, Instant::now(), false);
        self.input(Input::Changed { room, seq, frame });
        let actor = self.desk.actor(Act::Change(message.id, change));
        let frame = || frames::msg_changed(message, change);
        self.notify(room, frames::change_name(change), frame, |shard, reader| {
            // A socket that has not come to the message gets it as it is now, unless the person was
            // removed before it: only the log tells.
            let has_it = |next| seq < next;
            let may_see = |user| shard.desk.rights.may_see(user, room, seq);
            Some(reader) != actor.as_ref()
                && shard.machine.position(room, reader).is_some_and(has_it)
                && reader.user().is_some_and(may_see)
        });
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
        let come = |message| self.come(message, Source::Fleet, at);
        entries.extend(messages.iter().map(come));
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
            let come = |message| self.come(message, Source::Store, now);
            let frames: Vec<_> = messages.iter().map(come).collect();
            self.input(Input::Fetched {
                room,
                after,
                frames: &frames,
            });
        }
    }

    /// A message comes to this node's readers.
    fn come(&self, message: &Arc<Message>, from: Source, at: Instant) -> Shared {
        self.desk.traces.seen(message.id, from);
        self.entry(message, at, from == Source::Fleet)
    }

    /// `is_new`: as it was committed, unless a change of it is known already.
    fn entry(&self, message: &Arc<Message>, at: Instant, is_new: bool) -> Shared {
        let mut origin = self.desk.origin(message.id);
        let latest = self.changes.latest(message);
        if let Some(origin) = &mut origin
            && !(is_new && Arc::ptr_eq(latest, message))
        {
            // The ack says what was committed, this something else.
            origin.json = KeptJson::none();
        }
        let now = self.chat.clock().estimate();
        Shared(Arc::new(Entry::new(latest, origin, at, now)))
    }

    /// Tells those in a conversation that it is for something that has no place in the log.
    fn notify(
        &mut self,
        room: ConversationId,
        name: &'static str,
        frame: impl FnOnce() -> Frame,
        is_for: impl Fn(&Shard, &Reader) -> bool,
    ) {
        let shard = &*self;
        let readers = shard.machine.readers(room);
        let mut readers = readers.filter(|r| is_for(shard, r)).peekable();
        if readers.peek().is_none() {
            return;
        }
        let frame = frame();
        let refused = readers.filter(|reader| !deliver_notice(reader, &frame));
        for reader in refused.cloned().collect::<Vec<_>>() {
            self.desk.keep_notice(reader, name, frame.clone());
        }
    }
}
