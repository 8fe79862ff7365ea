//! What waits for a shard. Never blocks who puts something in.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use syncchat_core::command::CursorKind;
use syncchat_core::model::{ConversationId, Message, MessageId, Rev, Seq, SeqSpans, UserId};
use syncchat_core::ports::fleet::{Change, FleetEvent};
use syncchat_core::ports::store::Mark;
use tokio::sync::Notify;

use crate::frames::Json;
use crate::hub::{Joined, Reader};
use crate::limits::EVENTS_WAITING_MAX;
use crate::metrics;

/// What can wake a shard.
pub(crate) enum Command {
    /// Something was said in the fleet about one of the shard's conversations, at this moment.
    Heard(FleetEvent, Instant),
    /// A socket will enter: it gets nothing before it has.
    Hold(Reader, UserId),
    /// A socket enters, with its conversations.
    Enter(Reader, UserId, Vec<Place>),
    /// A socket has left.
    Gone(Reader, UserId),
    /// A socket that was full has room again.
    Drained(Reader),
    /// The fleet says that a person was added; perhaps it is known here.
    Joined(UserId, Joined),
    /// The store says so.
    Found(UserId, Joined),
    /// A socket is about to send the message with this id, whose JSON will be this.
    Sending(Reader, MessageId, Json),
    /// It was committed.
    Sent(Reader, Arc<Message>),
    /// It was not, or was before, under another id.
    Unsent(MessageId),
    /// A socket is about to do something the others in the conversation hear of, but not itself.
    Acting(Act, Reader),
    /// It is done.
    Acted(Act),
    /// These conversations are heard of now.
    Subscribed(Vec<ConversationId>),
    /// Messages that were missing: each list follows this `seq`. They were asked for at this moment, by
    /// [`Changes::now`](crate::rights::Changes::now).
    Fetched(Vec<(ConversationId, Seq, Vec<Arc<Message>>)>, u64),
    /// Messages could not be read.
    FetchFailed(Vec<ConversationId>),
    /// Messages that were changed after this change.
    ChangesFetched(Vec<(ConversationId, Rev, Vec<Arc<Message>>)>),
    /// Changes could not be read.
    ChangesFailed(Vec<ConversationId>),
    /// What a person may see of some conversations.
    Rights(UserId, Vec<(ConversationId, SeqSpans)>),
    /// The store did not say what a person may see.
    RightsFailed(UserId),
    /// How far conversations have come.
    Marks(Vec<Mark>),
    /// Heads could not be read.
    CompareFailed,
    /// Anything may have been lost.
    Doubt,
}

/// A conversation of a person who enters.
pub(crate) struct Place {
    pub(crate) conversation: ConversationId,
    /// Where the person goes on.
    pub(crate) after: Seq,
    /// What lies before was taken by an earlier connection.
    pub(crate) resumed: bool,
    /// Where later spans of theirs begin.
    pub(crate) returns: Vec<Seq>,
    /// Where the log ended when that was read.
    pub(crate) head: Seq,
    /// The newest change then.
    pub(crate) change_seq: Rev,
    /// What the person may see of it.
    pub(crate) spans: SeqSpans,
}

/// What a socket does that is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    /// It edits or deletes a message.
    Change(MessageId, Change),
    /// It raises its person's cursor.
    Cursor(ConversationId, UserId, CursorKind),
}

/// Commands for one shard, in order.
pub(crate) struct Mailbox {
    inbox: Mutex<Inbox>,
    filled: Notify,
}

#[derive(Default)]
struct Inbox {
    commands: Vec<Command>,
    /// How many of them are events of the fleet.
    events: usize,
    /// An event found no room.
    overflowed: bool,
}

impl Mailbox {
    pub(crate) fn new() -> Mailbox {
        Mailbox {
            inbox: Mutex::default(),
            filled: Notify::new(),
        }
    }

    /// Puts a command in. Bounded by what it is about: each socket, and each question to the store,
    /// has few under way.
    pub(crate) fn post(&self, command: Command) {
        self.inbox.lock().commands.push(command);
        self.filled.notify_one();
    }

    /// Puts an event of the fleet in. Beyond [`EVENTS_WAITING_MAX`] it is dropped, and the shard
    /// will compare its conversations with their logs.
    pub(crate) fn post_event(&self, event: FleetEvent, at: Instant) {
        {
            let mut inbox = self.inbox.lock();
            if inbox.events < EVENTS_WAITING_MAX {
                inbox.events += 1;
                inbox.commands.push(Command::Heard(event, at));
            } else {
                inbox.overflowed = true;
                metrics::feed_dropped();
            }
        }
        self.filled.notify_one();
    }

    /// Takes everything. True if an event was dropped since the last time.
    pub(crate) fn take(&self, into: &mut Vec<Command>) -> bool {
        let mut inbox = self.inbox.lock();
        std::mem::swap(&mut inbox.commands, into);
        inbox.events = 0;
        std::mem::take(&mut inbox.overflowed)
    }

    /// Waits until something was put in since the last call. For one task.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_beyond_the_bound_are_dropped_and_commands_are_not() {
        let mailbox = Mailbox::new();
        let conversation = ConversationId::from_bytes([0; 12]);
        for head in 0..EVENTS_WAITING_MAX as Seq + 1 {
            let event = FleetEvent::Head { conversation, head };
            mailbox.post_event(event, Instant::now());
        }
        mailbox.post(Command::Doubt);
        let mut taken = Vec::new();
        assert!(mailbox.take(&mut taken));
        assert_eq!(taken.len(), EVENTS_WAITING_MAX + 1);
        assert!(matches!(taken.last(), Some(Command::Doubt)));
        taken.clear();
        assert!(!mailbox.take(&mut taken) && taken.is_empty());
    }
}
