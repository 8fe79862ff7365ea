//! Where a delivery machine's output becomes writes to sockets and questions to the store.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use syncchat_core::command::CursorKind;
use syncchat_core::model::{ConversationId, Message, MessageId, Rev, Seq, UserId};
use syncchat_delivery::{Outlet, Reason, Verdict};
use syncchat_engine::{Class, Pushed};
use syncchat_protocol::Frame;

use crate::frames::{self, Entry, Json, KeptJson, Shared};
use crate::hub::{Client, Reader};
use crate::limits::NOTICES_KEPT_MAX;
use crate::mailbox::Act;
use crate::metrics::{self, Deliveries};
use crate::rights::Rights;
use crate::titles::Titles;
use crate::traces::Traces;
use crate::untold::Untold;

/// One shard's outlet, and what it has to remember for it.
pub(crate) struct Desk {
    /// Who reads on this node, as far as this shard was told.
    here: HashMap<UserId, Vec<Reader>>,
    /// Messages that sockets of this node are sending.
    origins: HashMap<MessageId, Origin, RandomState>,
    /// What sockets are doing besides.
    acts: HashMap<Act, Reader>,
    /// Sockets that are coming, and get nothing before they have entered.
    held: HashSet<Reader>,
    /// What sockets that are behind are to be told besides messages, once they have room.
    notices: HashMap<Reader, Vec<Notice>>,
    pub(crate) rights: Rights,
    /// Who was added to a conversation, and may not have been told.
    pub(crate) untold: Untold,
    pub(crate) titles: Titles,
    /// Changed messages that the readers of their conversations are to be told of.
    pub(crate) changed: Vec<Shared>,
    /// Places to read from, each conversation once.
    pub(crate) fetches: VecDeque<(ConversationId, Seq, usize)>,
    /// Changes to read what follows, each conversation once.
    pub(crate) change_fetches: VecDeque<(ConversationId, Rev, usize)>,
    /// Conversations to compare with their logs.
    pub(crate) comparison: Option<Vec<ConversationId>>,
    pub(crate) subscriptions: Vec<ConversationId>,
    pub(crate) unsubscriptions: Vec<ConversationId>,
    /// Deliveries since the shard last let others run.
    pub(crate) delivered: usize,
    deliveries: Deliveries,
    pub(crate) traces: Arc<Traces>,
    /// The message that is being delivered, and to how many so far.
    counting: Option<(Shared, usize)>,
}

/// An event that is no message, and its name.
struct Notice {
    about: About,
    name: &'static str,
    frame: Frame,
}

/// What an event says that is no message. A later one about the same takes the place of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// How a message is now.
    Message(MessageId),
    /// How far a person has come.
    Cursor(ConversationId, UserId, CursorKind),
    /// What a conversation is called.
    Title(ConversationId),
    /// Something that happened once.
    Happening,
}

/// A message on its way up from a socket of this node.
struct Origin {
    reader: Reader,
    json: Json,
    fate: Fate,
}

#[derive(PartialEq)]
enum Fate {
    /// It is being committed.
    Sending,
    /// The socket was told, in the message's place.
    Told,
    /// It was committed, and the socket will be told in the message's place.
    Due,
}

impl Desk {
    pub(crate) fn new(traces: Arc<Traces>) -> Desk {
        Desk {
            here: HashMap::new(),
            origins: HashMap::default(),
            acts: HashMap::new(),
            held: HashSet::new(),
            notices: HashMap::new(),
            rights: Rights::default(),
            untold: Untold::default(),
            titles: Titles::default(),
            changed: Vec::new(),
            fetches: VecDeque::new(),
            change_fetches: VecDeque::new(),
            comparison: None,
            subscriptions: Vec::new(),
            unsubscriptions: Vec::new(),
            delivered: 0,
            deliveries: Deliveries::new(),
            traces,
            counting: None,
        }
    }

    /// A socket is coming.
    pub(crate) fn hold(&mut self, reader: &Reader, user: UserId) {
        self.held.insert(reader.clone());
        let readers = self.here.entry(user).or_default();
        if !readers.contains(reader) {
            readers.push(reader.clone());
        }
    }

    /// It has entered.
    pub(crate) fn release(&mut self, reader: &Reader) {
        self.held.remove(reader);
    }

    pub(crate) fn is_held(&self, reader: &Reader) -> bool {
        self.held.contains(reader)
    }

    /// A socket is gone.
    pub(crate) fn forget(&mut self, reader: &Reader, user: UserId) {
        if let Some(readers) = self.here.get_mut(&user) {
            readers.retain(|other| other != reader);
            if readers.is_empty() {
                self.here.remove(&user);
                self.rights.forget(user);
            }
        }
        self.held.remove(reader);
        self.notices.remove(reader);
        self.origins.retain(|_, origin| origin.reader != *reader);
        self.acts.retain(|_, other| other != reader);
    }

    /// Tells a socket something besides messages: behind what it is still to be told of that kind, if it is
    /// behind, so that nothing overtakes what came before.
    pub(crate) fn tell(
        &mut self,
        reader: &Reader,
        about: About,
        name: &'static str,
        frame: &Frame,
    ) {
        if self.notices.contains_key(reader) || !deliver_notice(reader, frame) {
            let frame = frame.clone();
            self.keep_notice(reader.clone(), Notice { about, name, frame });
        }
    }

    /// Keeps what a socket that is behind is to be told besides messages.
    fn keep_notice(&mut self, reader: Reader, notice: Notice) {
        let waiting = self.notices.entry(reader).or_default();
        let replaces =
            |former: &Notice| former.about == notice.about && notice.about != About::Happening;
        match waiting.iter().position(replaces) {
            Some(former) => waiting[former] = notice,
            None if waiting.len() < NOTICES_KEPT_MAX => waiting.push(notice),
            None => metrics::notice_lost(notice.name),
        }
    }

    /// A socket has room again, and has got what messages there were.
    pub(crate) fn catch_up(&mut self, reader: &Reader) {
        let Some(waiting) = self.notices.remove(reader) else {
            return;
        };
        let mut waiting = waiting.into_iter();
        let refused = waiting.find(|notice| !deliver_notice(reader, &notice.frame));
        if let Some(refused) = refused {
            let rest = std::iter::once(refused).chain(waiting);
            self.notices.insert(reader.clone(), rest.collect());
        }
    }

    pub(crate) fn readers_of(&self, user: UserId) -> &[Reader] {
        self.here.get(&user).map_or(&[], Vec::as_slice)
    }

    /// A socket is about to send this.
    pub(crate) fn sending(&mut self, reader: Reader, message: MessageId, json: Json) {
        let fate = Fate::Sending;
        self.origins.insert(message, Origin { reader, json, fate });
    }

    /// The socket this was sent from.
    pub(crate) fn origin(&self, message: MessageId) -> Option<frames::Origin> {
        let origin = self.origins.get(&message)?;
        Some(frames::Origin {
            number: origin.reader.number(),
            json: KeptJson::of(&origin.json),
        })
    }

    /// It was not committed, or not under this id.
    pub(crate) fn unsent(&mut self, message: MessageId) {
        self.origins.remove(&message);
    }

    /// It was committed. `next` is what the socket is owed next in the conversation, if it is in
    /// it: it is told of the message in the message's place, or now if it is past that.
    pub(crate) fn sent(&mut self, message: &Message, next: Option<Seq>) {
        let Some(origin) = self.origins.get_mut(&message.id) else {
            return;
        };
        if origin.fate == Fate::Sending && next.is_some_and(|next| next <= message.seq) {
            origin.fate = Fate::Due;
            return;
        }
        if origin.fate == Fate::Sending {
            let frame = frames::msg_sent(message, &origin.json);
            let _ = origin.reader.0.emit(&frame, Class::Essential);
        }
        self.origins.remove(&message.id);
    }

    fn told(&mut self, message: MessageId) {
        if let Some(origin) = self.origins.get_mut(&message) {
            match origin.fate {
                Fate::Sending => origin.fate = Fate::Told,
                Fate::Told => {}
                Fate::Due => {
                    self.origins.remove(&message);
                }
            }
        }
    }

    /// A socket is about to do this.
    pub(crate) fn acting(&mut self, act: Act, reader: Reader) {
        self.acts.insert(act, reader);
    }

    pub(crate) fn acted(&mut self, act: Act) {
        self.acts.remove(&act);
    }

    /// Who does this just now, if it is a socket of this node.
    pub(crate) fn actor(&self, act: Act) -> Option<Reader> {
        self.acts.get(&act).cloned()
    }

    /// Counts what was delivered of the last message.
    pub(crate) fn count(&mut self) {
        if let Some((frame, count)) = self.counting.take() {
            self.deliveries.made(count, frame.0.age());
            self.traces.written(frame.0.message.id, count);
        }
    }

    fn delivered(&mut self, frame: &Shared) {
        self.delivered += 1;
        match &mut self.counting {
            Some((other, count)) if Arc::ptr_eq(&other.0, &frame.0) => *count += 1,
            _ => {
                self.count();
                self.counting = Some((frame.clone(), 1));
            }
        }
    }
}

impl Outlet<ConversationId, Reader, Shared> for Desk {
    fn deliver(
        &mut self,
        reader: &Reader,
        _conversation: ConversationId,
        _seq: Seq,
        frame: &Shared,
    ) -> Verdict {
        let entry = &frame.0;
        let own = entry.sent_by(reader.number());
        let pushed = emit_message(reader, entry, own.as_ref().unwrap_or(&entry.received));
        match pushed {
            Pushed::Behind => return Verdict::Full,
            Pushed::Queued => self.delivered(frame),
            // It is about to be gone.
            Pushed::Closed | Pushed::Dropped => {}
        }
        if own.is_some() {
            self.told(entry.message.id);
        }
        if let Some(aside) = &entry.aside {
            self.tell(reader, About::Happening, "member", aside);
        }
        match entry.removed() {
            Some(user) if reader.user() == Some(user) => Verdict::Last,
            _ => Verdict::Taken,
        }
    }

    fn passed(
        &mut self,
        conversation: ConversationId,
        seq: Seq,
        frame: &Shared,
        added: &mut Vec<Reader>,
    ) {
        if let Some(user) = frame.0.added()
            && let Some(readers) = self.here.get(&user)
        {
            self.rights.added(user, conversation, seq);
            self.untold.seated(user, conversation, seq);
            added.extend_from_slice(readers);
        }
        if frame.0.renames() {
            self.titles.renamed(conversation, seq + 1);
        }
    }

    fn fetch(&mut self, conversation: ConversationId, after: Seq, limit: usize, reason: Reason) {
        metrics::fetching(reason);
        self.fetches.push_back((conversation, after, limit));
    }

    fn changed(&mut self, _conversation: ConversationId, _seq: Seq, frame: &Shared) {
        self.changed.push(frame.clone());
    }

    fn fetch_changes(&mut self, conversation: ConversationId, after: Rev, limit: usize) {
        self.change_fetches.push_back((conversation, after, limit));
    }

    fn compare(&mut self, conversations: Vec<ConversationId>) {
        self.comparison = Some(conversations);
    }

    fn subscribe(&mut self, conversation: ConversationId) {
        metrics::rooms(1.0);
        self.subscriptions.push(conversation);
    }

    fn unsubscribe(&mut self, conversation: ConversationId) {
        metrics::rooms(-1.0);
        self.unsubscriptions.push(conversation);
        self.titles.forget(conversation);
    }
}

/// Emits a message in one of its forms, with an offset for who understands that.
fn emit_message(reader: &Reader, entry: &Entry, frame: &Frame) -> Pushed {
    let Some(recoverable) = reader.0.data().recoverable() else {
        return reader.0.emit(frame, Class::Reliable);
    };
    recoverable.with_track(|track| {
        let Some(track) = track else {
            return reader.0.emit(frame, Class::Reliable);
        };
        let undo = track.advance(entry.step(reader.user()));
        let pushed = reader.0.emit(&track.stamp(frame), Class::Reliable);
        match pushed {
            Pushed::Behind => track.take_back(undo),
            _ => track.settle(entry.message.created_at, entry.is_fresh()),
        }
        pushed
    })
}

/// Emits what is no message. False if the socket is behind.
fn deliver_notice(reader: &Reader, frame: &Frame) -> bool {
    reader.0.emit(frame, Class::Reliable) != Pushed::Behind
}

/// Emits what may be lost. Returns how many sockets missed it.
pub(crate) fn tell_if_possible<'a>(
    sockets: impl Iterator<Item = &'a Client>,
    frame: &Frame,
) -> usize {
    sockets
        .filter(|socket| socket.emit(frame, Class::Droppable) == Pushed::Dropped)
        .count()
}
