//! Who is in a conversation, from which `seq` to which: the one rule of what a person may see.

use super::{ConversationId, Seq, Timestamp, UserId};

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

    /// The spans that reach beyond `after`, cut to what lies beyond it, from the first on.
    pub fn beyond(&self, after: Seq) -> impl Iterator<Item = (Seq, Option<Seq>)> + '_ {
        self.0
            .iter()
            .filter(move |(_, last)| last.is_none_or(|last| last > after))
            .map(move |&(first, last)| (first.max(after.saturating_add(1)), last))
    }

    /// The spans that begin below `before`, cut to what lies below it, from the last on.
    pub fn below(&self, before: Seq) -> impl Iterator<Item = (Seq, Seq)> + '_ {
        self.0
            .iter()
            .rev()
            .filter(move |&&(first, _)| first < before)
            .map(move |&(first, last)| (first, last.unwrap_or(Seq::MAX).min(before - 1)))
    }

    /// How many places beyond `after` and up to `head` the person may see.
    pub fn count(&self, after: Seq, head: Seq) -> u64 {
        self.beyond(after)
            .map(|(first, last)| (last.unwrap_or(head).min(head) + 1).saturating_sub(first))
            .sum()
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
    /// The `ordinal` of message `read_seq`.
    pub read_ordinal: u64,
    /// Delivered up to here; never falls, never below `read_seq`.
    pub delivered_seq: Seq,
    /// The conversation's newest `seq` when this was read.
    pub last_seq: Seq,
    /// The `ordinal` of that message.
    pub last_ordinal: u64,
    /// When that message was written; when the conversation was made, if there is none.
    pub updated_at: Timestamp,
}

impl Membership {
    /// Messages between the read cursor and the end that are no system messages: so many are unread, but
    /// for one's own and deleted ones. 0 for who is no member.
    pub fn unread_at_most(&self) -> u64 {
        match self.spans.is_open() {
            true => self.last_ordinal.saturating_sub(self.read_ordinal),
            false => 0,
        }
    }
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
    fn spans_can_be_walked_both_ways_and_counted() {
        let spans = SeqSpans::from_parts(vec![(1, Some(41)), (50, Some(60)), (70, None)]);
        let beyond: Vec<_> = spans.beyond(41).collect();
        assert_eq!(beyond, [(50, Some(60)), (70, None)]);
        assert_eq!(spans.beyond(55).next(), Some((56, Some(60))));
        assert_eq!(spans.beyond(0).next(), Some((1, Some(41))));
        let below: Vec<_> = spans.below(55).collect();
        assert_eq!(below, [(50, 54), (1, 41)]);
        assert_eq!(spans.below(Seq::MAX).next(), Some((70, Seq::MAX - 1)));
        assert_eq!(spans.below(1).next(), None);
        for (after, head) in [
            (0, 80),
            (41, 80),
            (45, 75),
            (60, 69),
            (72, 71),
            (0, 0),
            (80, 80),
        ] {
            let counted = (after + 1..=head)
                .filter(|seq| spans.contains(*seq))
                .count();
            assert_eq!(spans.count(after, head), counted as u64, "{after} {head}");
        }
        assert_eq!(spans.count(Seq::MAX, 80), 0);
    }

    #[test]
    fn added_for_the_first_time_sees_everything() {
        let mut spans = SeqSpans::default();
        spans.open_at(7);
        assert!(spans.contains(1) && spans.contains(7));
    }
}
