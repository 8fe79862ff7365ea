//! Messages as they are shown: with what the cursors of the others say of them.

use std::collections::HashMap;
use std::sync::Arc;

use super::Query;
use crate::deadline::read;
use crate::error::Result;
use crate::limits::READ_BY_MAX;
use crate::model::{ConversationId, Message, MessageStatus, MessageView, Seq};
use crate::ports::store::{Audience, Store};

impl Query {
    /// See [`of`].
    pub(super) async fn views(&self, lists: Vec<Vec<Message>>) -> Result<Vec<Vec<MessageView>>> {
        of(&*self.store, lists).await
    }
}

/// Shows lists of messages, each of one conversation and rising in `seq`. One call to the store,
/// whatever their number.
pub(super) async fn of(
    store: &dyn Store,
    lists: Vec<Vec<Message>>,
) -> Result<Vec<Vec<MessageView>>> {
    let first = |list: &Vec<Message>| list.first().map(|m| (m.conversation, m.seq));
    let wanted: Vec<(ConversationId, Seq)> = lists.iter().filter_map(first).collect();
    let audiences: HashMap<ConversationId, Audience> = if wanted.is_empty() {
        HashMap::new()
    } else {
        // One more than is shown, for the sender of a message is not among its readers.
        let answers = read(store.audiences(&wanted, READ_BY_MAX + 1)).await?;
        let ids = wanted.into_iter().map(|(id, _)| id);
        ids.zip(answers).collect()
    };
    let nobody = Audience::default();
    Ok(lists
        .into_iter()
        .map(|list| {
            let audience = list.first().and_then(|m| audiences.get(&m.conversation));
            let audience = audience.unwrap_or(&nobody);
            list.into_iter().map(|m| view(m, audience)).collect()
        })
        .collect())
}

fn view(message: Message, audience: &Audience) -> MessageView {
    let (seq, sender) = (message.seq, message.sender);
    let read_by: Vec<_> = audience
        .readers
        .iter()
        .filter(|reader| reader.read_seq >= seq && reader.user != sender)
        .map(|reader| reader.user)
        .take(READ_BY_MAX)
        .collect();
    let delivered = audience
        .delivered
        .iter()
        .any(|member| member.delivered_seq >= seq && member.user != sender);
    MessageView {
        message: Arc::new(message),
        status: match (read_by.is_empty(), delivered) {
            (false, _) => MessageStatus::Read,
            (true, true) => MessageStatus::Delivered,
            (true, false) => MessageStatus::Sent,
        },
        read_by,
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UserId;
    use crate::ports::store::Cursors;
    use crate::testing;

    #[test]
    fn the_sender_is_not_among_the_readers() {
        let [me, ann, bob] = [1, 2, 3].map(|n| UserId::from_bytes([n; 12]));
        let cursors = |user, read_seq, delivered_seq| Cursors {
            user,
            read_seq,
            delivered_seq,
        };
        let audience = Audience {
            readers: vec![cursors(me, 9, 9), cursors(ann, 5, 7)],
            delivered: vec![cursors(me, 9, 9), cursors(ann, 5, 7)],
        };
        let shown = |seq, sender| {
            let message = Message {
                seq,
                sender,
                ..testing::message(ConversationId::generate(), sender, "hi")
            };
            let view = view(message, &audience);
            (view.status, view.read_by)
        };
        assert_eq!(shown(5, me), (MessageStatus::Read, vec![ann]));
        assert_eq!(shown(6, me), (MessageStatus::Delivered, vec![]));
        assert_eq!(shown(8, me), (MessageStatus::Sent, vec![]));
        assert_eq!(shown(5, ann), (MessageStatus::Read, vec![me]));
        assert_eq!(shown(5, bob), (MessageStatus::Read, vec![me, ann]));
    }
}
