//! Who is in a conversation, from which `seq` to which: the one rule of what a person may see.

use super::{ConversationId, Seq, UserId};

/// The ranges of `seq` a person may see: rising, disjoint, at most the last one open.
///
/// Somebody who was there from the start, or was added for the first time, sees the whole log.
/// Somebody who was removed by message 41 sees up to 41. Added again by message 50, they also
/// see from 50 on, and never what was said in between.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct SeqSpans(Vec<(Seq, Option<Seq>)>);

impl SeqSpans {
    /// Everything, from the first message on.
    pub fn all() -> SeqSpans {
        SeqSpans(vec![(1, None)])
    }

    /// Spans as they were stored, `(first, last)`, `None` while open.
    pub fn from_parts(parts: Vec<(Seq, Option<Seq>)>) -> SeqSpans {
        SeqSpans(parts)
    }

    /// The spans, `(first, last)`, `None` while open.
    pub fn parts(&self) -> &[(Seq, Option<Seq>)] {
        &self.0
    }

    /// Whether the person is a member now.
    pub fn is_open(&self) -> bool {
        matches!(self.0.last(), Some((_, None)))
    }

    /// Whether the person may see this message.
    pub fn contains(&self, seq: Seq) -> bool {
        self.0
            .iter()
            .any(|&(first, last)| first <= seq && last.is_none_or(|last| seq <= last))
    }

    /// The person was added by message `seq`.
    pub fn open_at(&mut self, seq: Seq) {
        if !self.is_open() {
            let first = if self.0.is_empty() { 1 } else { seq };
            self.0.push((first, None));
        }
    }

    /// The person was removed by message `seq`, which they still see.
    pub fn close_at(&mut self, seq: Seq) {
        if let Some((_, last @ None)) = self.0.last_mut() {
            *last = Some(seq);
        }
    }
}

/// One person's place in one conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Where.
    pub conversation: ConversationId,
    /// Who.
    pub user: UserId,
    /// What they may see.
    pub spans: SeqSpans,
    /// Read up to here; never falls.
    pub read_seq: Seq,
    /// Delivered up to here; never falls, never below `read_seq`.
    pub delivered_seq: Seq,
    /// The conversation's newest `seq` when this was read.
    pub last_seq: Seq,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_at_41_never_sees_42() {
        let mut spans = SeqSpans::all();
        spans.close_at(41);
        assert!(spans.contains(41) && !spans.contains(42) && !spans.is_open());
        spans.open_at(50);
        assert!(!spans.contains(49) && spans.contains(50) && spans.contains(1) && spans.is_open());
    }

    #[test]
    fn added_for_the_first_time_sees_everything() {
        let mut spans = SeqSpans::default();
        spans.open_at(7);
        assert!(spans.contains(1) && spans.contains(7));
    }
}
