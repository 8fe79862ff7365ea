//! Socket.IO 5: the packets inside Engine.IO messages.

mod binary;
mod decode;
pub(crate) mod encode;
mod packet;
mod placeholder;

pub use binary::Assembler;
pub use decode::{Decoded, decode};
pub use encode::EventHead;
pub use packet::{Body, EventName, MAIN_NAMESPACE, Namespace, Packet, is_reserved};
