//! The nouns: who, where, what was said, and who has seen it.

pub mod conversation;
pub mod digest;
pub mod epoch;
pub mod file;
pub mod idempotency;
pub mod ids;
pub mod membership;
pub mod message;
pub mod time;
pub mod user;

pub use conversation::{Conversation, ConversationKind, ConversationView};
pub use digest::Digest;
pub use epoch::{BadEpoch, EpochId, Lineage};
pub use file::{FileClaim, StoredFile};
pub use idempotency::IdempotencyKey;
pub use ids::{ConversationId, FileId, MessageId, UserId, hex_digits};
pub use membership::{Membership, SeqSpans, Visibility};
pub use message::{Attachment, Message, MessageKind, MessageStatus, MessageView, SystemEvent};
pub use time::Timestamp;
pub use user::{Account, PresenceStatus, User};

/// A message's place in its conversation: 1, 2, 3 … without holes. 0 is "before the first".
pub type Seq = u64;

/// A version, raised by the store in the write that changes something: [`FIRST_REV`] as it was made, higher
/// after each change.
pub type Rev = u64;

/// The version of what was never changed.
pub const FIRST_REV: Rev = 1;
