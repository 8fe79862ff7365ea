//! Who is in a conversation, from which `seq` to which, and [`Visibility`]: the one rule of what a
//! person may be shown of its log.

use super::{ConversationId, Rev, Seq, Timestamp, UserId};

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

    /// Whether this place lies in the spans. Whether its message may be shown is for
    /// [`Visibility::shows`] to say.
    pub fn contains(&self, seq: Seq) -> bool {
        self.0
            .iter()
            .any(|&(first, last)| first <= seq && last.is_none_or(|last| seq <= last))
    }

    /// The spans that reach beyond `after`, cut to what lies beyond it, from the first on.
    fn beyond(&self, after: Seq) -> impl Iterator<Item = (Seq, Option<Seq>)> + '_ {
        self.0
            .iter()
            .filter(move |(_, last)| last.is_none_or(|last| last > after))
            .map(move |&(first, last)| (first.max(after.saturating_add(1)), last))
    }

    /// The spans that begin below `before`, cut to what lies below it, from the last on.
    fn below(&self, before: Seq) -> impl Iterator<Item = (Seq, Seq)> + '_ {
        self.0
            .iter()
            .rev()
            .filter(move |&&(first, _)| first < before)
            .map(move |&(first, last)| (first, last.unwrap_or(Seq::MAX).min(before - 1)))
    }

    /// How many places beyond `after` and up to `head` lie in the spans.
    fn count(&self, after: Seq, head: Seq) -> u64 {
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
    /// The conversation's newest `seq` when this was read, or a moment before: `spans` knows every
    /// change of membership up to it ([`Visibility`] relies on that).
    pub last_seq: Seq,
    /// The `ordinal` of that message.
    pub last_ordinal: u64,
    /// When that message was written; when the conversation was made, if there is none.
    pub updated_at: Timestamp,
    /// The number of the conversation's newest edit or deletion when this was read.
    pub change_seq: Rev,
}

/// What a member may be shown of a log. Every read of a log goes by it: history, `sync`, recovery,
/// the newest message in lists, edits, replies and downloads.
///
/// A message is shown if it lies in the member's spans, and not beyond the head that was read with
/// them.
///
/// # Why it is exact, however long after the membership the log is read
/// A change of membership is a message of the log and takes effect by its `seq`. A store reads a
/// membership with a head that is not newer than the spans ([`Membership::last_seq`]), so the spans
/// know every change up to that head. A later change has a higher `seq`, and never alters what the
/// spans say of lower ones. What they say of a `seq` up to the head is therefore final. Beyond the
/// head they say nothing: an open span has no end there because a removal was not known yet, not
/// because there is none. A message beyond the head belongs to the next read.
#[derive(Debug, Clone, Copy)]
pub struct Visibility<'a> {
    spans: &'a SeqSpans,
    head: Seq,
}

impl<'a> Visibility<'a> {
    /// Whether the message at this place may be shown.
    pub fn shows(&self, seq: Seq) -> bool {
        seq <= self.head && self.spans.contains(seq)
    }

    /// The visible ranges beyond `after`, `(first, last)`, both ends included; rising.
    pub fn after(&self, after: Seq) -> impl Iterator<Item = (Seq, Seq)> + use<'a> {
        let (spans, head) = (self.spans, self.head);
        spans
            .beyond(after)
            .map(move |(first, last)| (first, last.unwrap_or(head).min(head)))
            .filter(|(first, last)| first <= last)
    }

    /// The visible ranges below `before`, `(first, last)`, both ends included; falling.
    pub fn before(&self, before: Seq) -> impl Iterator<Item = (Seq, Seq)> + use<'a> {
        self.spans.below(before.min(self.head.saturating_add(1)))
    }

    /// The newest visible place that is not beyond `seq`.
    pub fn newest_up_to(&self, seq: Seq) -> Option<Seq> {
        let mut ranges = self.before(seq.saturating_add(1));
        ranges.next().map(|(_, last)| last)
    }

    /// How many messages beyond `after` are visible.
    pub fn count_after(&self, after: Seq) -> u64 {
        self.spans.count(after, self.head)
    }
}

impl Membership {
    /// What the person may be shown of the log; `None` for who is not a member now, who is shown
    /// nothing.
    pub fn visible(&self) -> Option<Visibility<'_>> {
        self.spans.is_open().then_some(Visibility {
            spans: &self.spans,
            head: self.last_seq,
        })
    }

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

    fn membership(parts: Vec<(Seq, Option<Seq>)>, last_seq: Seq) -> Membership {
        Membership {
            conversation: ConversationId::from_bytes([1; 12]),
            user: UserId::from_bytes([2; 12]),
            spans: SeqSpans::from_parts(parts),
            read_seq: 0,
            read_ordinal: 0,
            delivered_seq: 0,
            last_seq,
            last_ordinal: 0,
            updated_at: Timestamp::from_millis(0),
            change_seq: 1,
        }
    }

    #[test]
    fn nothing_beyond_the_head_that_was_read_is_visible() {
        // The second one came back by message 50, of which the head does not know yet.
        for (parts, head) in [
            (vec![(1, None)], 44),
            (vec![(1, Some(41)), (50, None)], 45),
            (vec![(1, Some(41)), (43, None)], 60),
            (vec![(1, None)], 0),
        ] {
            let membership = membership(parts, head);
            let visible = membership.visible().unwrap();
            let shown = |seq: Seq| seq <= head && membership.spans.contains(seq);
            for at in 0..=70 {
                assert_eq!(visible.shows(at), shown(at), "{at}");
                let walked: Vec<Seq> = visible.after(at).flat_map(|(a, b)| a..=b).collect();
                let expected: Vec<Seq> = (at + 1..=70).filter(|seq| shown(*seq)).collect();
                assert_eq!(walked, expected, "after {at}");
                assert_eq!(visible.count_after(at), expected.len() as u64);
                let mut walked: Vec<Seq> = visible.before(at).flat_map(|(a, b)| a..=b).collect();
                walked.sort_unstable();
                let expected: Vec<Seq> = (1..at).filter(|seq| shown(*seq)).collect();
                assert_eq!(walked, expected, "before {at}");
                let newest = (1..=at).rev().find(|seq| shown(*seq));
                assert_eq!(visible.newest_up_to(at), newest, "up to {at}");
            }
            let all: u64 = visible.before(Seq::MAX).map(|(a, b)| b - a + 1).sum();
            assert_eq!(all, visible.count_after(0));
            assert_eq!(visible.after(Seq::MAX).next(), None);
        }
    }

    #[test]
    fn who_is_no_member_sees_nothing() {
        assert!(membership(vec![(1, Some(41))], 60).visible().is_none());
        assert!(membership(vec![], 60).visible().is_none());
    }

    #[test]
    fn added_for_the_first_time_sees_everything() {
        let mut spans = SeqSpans::default();
        spans.open_at(7);
        assert!(spans.contains(1) && spans.contains(7));
    }
}
