//! Names in Redis. Channels are spread over a fixed number of hash tags, so that a cluster spreads
//! them over its nodes, and thousands of subscriptions still go out in few commands.

use syncchat_core::ports::fleet::Topic;

/// Hash tags. A command names channels of one tag only; more tags spread better, fewer batch
/// better. Fixed: nodes that disagree do not hear each other.
const TAGS: u32 = 64;

/// Which hash tag a topic belongs to.
pub(crate) fn tag(topic: Topic) -> u32 {
    let bytes = match topic {
        Topic::Conversation(id) => id.bytes(),
        Topic::User(id) => id.bytes(),
    };
    // FNV-1a: the ids of one second differ in their last bytes only.
    let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    hash % TAGS
}

/// The channel of a topic.
pub(crate) fn channel(topic: Topic) -> String {
    match topic {
        Topic::Conversation(id) => format!("syncchat:{{{}}}:c:{id}", tag(topic)),
        Topic::User(id) => format!("syncchat:{{{}}}:u:{id}", tag(topic)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use syncchat_core::model::{ConversationId, UserId};

    use super::*;

    #[test]
    fn channels_differ_by_topic_and_are_spread() {
        let id = ConversationId::generate();
        let same_bytes = UserId::from_bytes(id.bytes());
        assert_ne!(
            channel(Topic::Conversation(id)),
            channel(Topic::User(same_bytes))
        );
        let tags: HashSet<u32> = (0..1_000)
            .map(|_| tag(Topic::User(UserId::generate())))
            .collect();
        assert!(tags.len() > 50, "{}", tags.len());
    }
}
