//! A share of the conversations: one task, one delivery machine, and all that can wake it.

use std::sync::Arc;
use std::time::Instant;

use syncchat_core::Chat;
use syncchat_core::model::{ConversationId, FIRST_REV, Message, Rev, Seq, SeqSpans, UserId};
use syncchat_core::ports::fleet::{Change, Fleet, FleetEvent};
use syncchat_core::ports::store::Mark;
use syncchat_delivery::{Config, Input, Machine, Millis};
use syncchat_protocol::Frame;

use crate::desk::{About, Desk, tell_if_possible};
use crate::feed::tell_joined;
use crate::frames::{self, Entry, KeptJson, Shared};
use crate::hub::{Joined, Reader};
use crate::limits::{COMMANDS_PER_TURN, DELIVERIES_PER_TURN, RIGHTS_ASKED_AGAIN_MAX};
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
    /// Reads of missing changes.
    pub(crate) fetching_changes: usize,
    pub(crate) changes: Changes,
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
            fetching_changes: 0,
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
            Command::RightsFailed(user) => self.desk.rights.answered(user),
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
            Command::Fetched(pages, moment) => self.fetched(pages, moment),
            Command::FetchFailed(rooms) => {
                self.fetching -= 1;
                for room in rooms {
                    self.input(Input::FetchFailed { room });
                }
            }
            Command::ChangesFetched(found) => self.changes_fetched(found),
            Command::ChangesFailed(rooms) => {
                self.fetching_changes -= 1;
                for room in rooms {
                    self.input(Input::ChangesFailed { room });
                }
            }
            Command::Marks(marks) => self.compared(&marks),
            Command::CompareFailed => self.input(Input::CompareFailed),
            Command::Doubt => self.input(Input::Doubt),
        }
    }

    fn input(&mut self, input: Input<'_, ConversationId, Reader, Shared>) {
        let now = self.now();
        self.machine.handle(now, input, &mut self.desk);
        self.desk.count();
        let changed = std::mem::take(&mut self.desk.changed);
        // All are known before any is told: what was delivered since may be the later one of two.
        for frame in &changed {
            self.changes.remember(&frame.0.message);
        }
        for frame in &changed {
            self.tell_change(&frame.0.message);
        }
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
            let head = place.change_seq;
            self.input(Input::Changes { room, head });
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
        let head = joined.conversation.change_seq;
        self.input(Input::Changes { room, head });
    }

    fn know_rights(&mut self, user: UserId, rights: &[(ConversationId, SeqSpans)]) {
        self.desk.rights.answered(user);
        if self.desk.readers_of(user).is_empty() {
            return;
        }
        for message in self.desk.rights.know(user, rights) {
            self.tell_kept_change(user, &message);
        }
    }

    /// Tells a person's sockets of a change that was kept until it was known whether they may see the message.
    fn tell_kept_change(&mut self, user: UserId, message: &Arc<Message>) {
        let message = Arc::clone(self.changes.latest(message));
        let (room, seq) = (message.conversation, message.seq);
        if !self.desk.rights.may_see(user, room, seq) {
            return;
        }
        let change = change_of(&message);
        let frame = frames::msg_changed(&message, change);
        for reader in self.desk.readers_of(user).to_vec() {
            let next = self.machine.position(room, &reader);
            if next.is_some_and(|next| seq < next) {
                let (about, name) = (About::Message(message.id), frames::change_name(change));
                self.desk.tell(&reader, about, name, &frame);
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
            FleetEvent::Changed { message, .. } => self.changed(&message),
            FleetEvent::Cursor {
                conversation,
                user,
                kind,
                seq,
            } => {
                let frame = || frames::msg_status(conversation, user, kind, seq);
                let actor = self.desk.actor(Act::Cursor(conversation, user, kind));
                let about = About::Cursor(conversation, user, kind);
                self.notify(conversation, about, "msg_status", frame, |_, r| {
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
                let id = conversation.id;
                if self.machine.knows(id) && self.desk.titles.tell(id, conversation.rev) {
                    let frame = || frames::conversation_updated(&conversation);
                    let about = About::Title(id);
                    self.notify(id, about, "conversation_updated", frame, |_, _| true);
                }
            }
            // These concern people, not conversations: the feed sees to them.
            FleetEvent::Joined { .. }
            | FleetEvent::Presence { .. }
            | FleetEvent::Revoked { .. } => {}
        }
    }

    fn changed(&mut self, message: &Arc<Message>) {
        let (room, seq) = (message.conversation, message.seq);
        let frame = self.version(message);
        self.input(Input::Changed { room, seq, frame });
    }

    /// Tells the readers of a conversation that a message was changed, unless some have a later version
    /// already: all but the socket that changes it, and readers that may not see the message.
    fn tell_change(&mut self, message: &Arc<Message>) {
        if self.changes.latest(message).supersedes(message) {
            return;
        }
        self.desk.rights.keep_change(message);
        let change = change_of(message);
        let (room, seq) = (message.conversation, message.seq);
        let actor = self.desk.actor(Act::Change(message.id, change));
        let frame = || frames::msg_changed(message, change);
        let (about, name) = (About::Message(message.id), frames::change_name(change));
        self.notify(room, about, name, frame, |shard, reader| {
            // A socket that has not come to the message gets it as it is now, unless the person was
            // removed before it: only the log tells.
            let has_it = |next| seq < next;
            let may_see = |user| shard.desk.rights.may_see(user, room, seq);
            Some(reader) != actor.as_ref()
                && shard.machine.position(room, reader).is_some_and(has_it)
                && reader.user().is_some_and(may_see)
        });
    }

    fn changes_fetched(&mut self, found: Vec<(ConversationId, Rev, Vec<Arc<Message>>)>) {
        self.fetching_changes -= 1;
        for (room, after, messages) in found {
            metrics::changes_read(messages.len());
            let changed = |message: &Arc<Message>| (message.seq, self.version(message));
            let changes: Vec<_> = messages.iter().map(changed).collect();
            self.input(Input::ChangesFetched {
                room,
                after,
                changes: &changes,
            });
        }
    }

    /// How far logs have come, as the store says.
    fn compared(&mut self, marks: &[Mark]) {
        let head = |mark: &Mark| (mark.conversation, mark.last_seq, mark.change_seq);
        let heads: Vec<_> = marks.iter().map(head).collect();
        self.input(Input::Heads { heads: &heads });
        // The store answers: it may say now what it did not say before.
        for user in self.desk.rights.to_ask(RIGHTS_ASKED_AGAIN_MAX) {
            self.ask_rights(user);
        }
        for mark in marks {
            if self.desk.titles.are_due(mark.conversation) {
                self.ask_title(mark.conversation);
            }
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

    fn fetched(&mut self, pages: Vec<(ConversationId, Seq, Vec<Arc<Message>>)>, moment: u64) {
        self.fetching -= 1;
        if !self.changes.reach_back_to(moment) {
            // So much was changed meanwhile that it is not known what of this is as it is now.
            for (room, ..) in pages {
                self.input(Input::FetchFailed { room });
            }
            return;
        }
        let now = Instant::now();
        for (room, after, messages) in pages {
            metrics::backfilled(messages.len());
            for message in &messages {
                // Changed since the last change that was told: those before it are not told any more.
                if message.rev > FIRST_REV && !self.machine.knows_change(room, message.rev) {
                    self.changes.remember(message);
                }
            }
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

    /// A message in this version, whatever else is known of it.
    fn version(&self, message: &Arc<Message>) -> Shared {
        let mut origin = self.desk.origin(message.id);
        if let Some(origin) = &mut origin {
            // The ack says what was committed, this something else.
            origin.json = KeptJson::none();
        }
        let now = self.chat.clock().estimate();
        Shared(Arc::new(Entry::new(message, origin, Instant::now(), now)))
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
        about: About,
        name: &'static str,
        frame: impl FnOnce() -> Frame,
        is_for: impl Fn(&Shard, &Reader) -> bool,
    ) {
        let shard = &*self;
        let readers = shard.machine.readers(room).filter(|r| is_for(shard, r));
        let readers: Vec<Reader> = readers.cloned().collect();
        if readers.is_empty() {
            return;
        }
        let frame = frame();
        for reader in &readers {
            self.desk.tell(reader, about, name, &frame);
        }
    }
}

/// What became of a message that was changed.
fn change_of(message: &Message) -> Change {
    match message.deleted {
        true => Change::Deleted,
        false => Change::Edited,
    }
}
