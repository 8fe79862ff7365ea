//! Names in Redis. Channels are spread over a fixed number of hash tags, so that a cluster spreads
//! them over its nodes, and thousands of subscriptions still go out in few commands.

use std::collections::BTreeMap;

use fred::util::redis_keyslot;
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

/// The channel of one hash tag that all nodes listen to.
pub(crate) fn of_nodes(tag: u32) -> String {
    format!("syncchat:{{{tag}}}:f")
}

/// The channel of one process.
pub(crate) fn of_process(process: u64) -> String {
    let tag = process % u64::from(TAGS);
    format!("syncchat:{{{tag}}}:n:{process:016x}")
}

/// A key by which a check tries what it may do, and which it deletes again.
pub(crate) fn of_check(process: u64) -> String {
    format!("syncchat:check:{process:016x}")
}

/// Whose channel this is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// People's, or a conversation's.
    Topic,
    /// That of all nodes, of this hash tag.
    Nodes(u32),
    /// One process's.
    Process,
}

/// Reads the name of a channel.
pub(crate) fn audience(channel: &str) -> Option<Audience> {
    let (tag, rest) = channel.strip_prefix("syncchat:{")?.split_once("}:")?;
    Some(match rest.split(':').next()? {
        "c" | "u" => Audience::Topic,
        "f" => Audience::Nodes(tag.parse().ok()?),
        "n" => Audience::Process,
        _ => return None,
    })
}

/// A hash tag for each of the servers that own some of them, as `owner` of a hash slot says.
pub(crate) fn tag_of_each<S: Ord>(owner: impl Fn(u16) -> Option<S>) -> Vec<u32> {
    let mut first: BTreeMap<S, u32> = BTreeMap::new();
    for tag in 0..TAGS {
        if let Some(server) = owner(redis_keyslot(of_nodes(tag).as_bytes())) {
            first.entry(server).or_insert(tag);
        }
    }
    first.into_values().collect()
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

    #[test]
    fn channels_tell_whose_they_are() {
        let id = ConversationId::generate();
        for (name, whose) in [
            (channel(Topic::Conversation(id)), Audience::Topic),
            (channel(Topic::User(UserId::generate())), Audience::Topic),
            (of_nodes(63), Audience::Nodes(63)),
            (of_process(u64::MAX), Audience::Process),
        ] {
            assert_eq!(audience(&name), Some(whose), "{name}");
        }
        for name in ["", "syncchat:{x}:f", "syncchat:{1}:z", "other:{1}:c:2"] {
            assert_eq!(audience(name), None, "{name}");
        }
    }

    #[test]
    fn each_server_gets_one_tag_of_its_own() {
        let tags = tag_of_each(|slot| Some(slot / 5_462));
        assert_eq!(tags.len(), 3);
        for (server, tag) in tags.iter().enumerate() {
            let slot = redis_keyslot(of_nodes(*tag).as_bytes());
            assert_eq!(usize::from(slot / 5_462), server);
        }
        assert_eq!(tag_of_each(|_| Some(())), [0]);
        assert!(tag_of_each(|_| None::<()>).is_empty());
    }
}
