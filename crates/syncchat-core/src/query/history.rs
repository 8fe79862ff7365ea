//! A page of one log, of what a member may see.
//!
//! Costs four reads: the member's place, the page, and who has come how far (two, or one where the
//! store can). Somebody who was away in between has several spans; a page that crosses them costs
//! one read more for every [`SPANS_READ_MAX`].

use super::Query;
use crate::chat::Page;
use crate::command::{PageFrom, PageRequest};
use crate::deadline::read;
use crate::error::Result;
use crate::limits::SPANS_READ_MAX;
use crate::model::{ConversationId, Membership, Message, Seq, Timestamp, UserId};
use crate::ports::store::LogRange;

impl Query {
    /// A page, rising in `seq`. The log has no holes, so the spans say whether there is more.
    pub(crate) async fn history(
        &self,
        user: UserId,
        conversation: ConversationId,
        page: PageRequest,
    ) -> Result<Page> {
        let place = self.membership(user, conversation).await?;
        let (messages, more) = match page.from {
            PageFrom::Newest => self.page_before(&place, Seq::MAX, page.limit).await?,
            PageFrom::Before(seq) => self.page_before(&place, seq, page.limit).await?,
            PageFrom::After(seq) => self.page_after(&place, seq, page.limit).await?,
            PageFrom::Since(at) => self.page_since(&place, at, page.limit).await?,
        };
        let messages = self.views(vec![messages]).await?.pop().unwrap_or_default();
        Ok(Page { messages, more })
    }

    async fn page_before(
        &self,
        place: &Membership,
        before: Seq,
        limit: usize,
    ) -> Result<(Vec<Message>, bool)> {
        // Whatever lies beyond the head is the newest.
        let before = if before > place.last_seq {
            Seq::MAX
        } else {
            before
        };
        let mut falling: Vec<Message> = Vec::new();
        let mut spans = place.spans.below(before);
        while falling.len() < limit {
            let pieces: Vec<(Seq, Seq)> = spans.by_ref().take(SPANS_READ_MAX).collect();
            if pieces.is_empty() {
                break;
            }
            let ranges = pieces.iter().map(|(_, last)| LogRange::Before(last + 1));
            let wanted = limit - falling.len();
            let lists = self.log(place, ranges, wanted).await?;
            for ((first, _), list) in pieces.into_iter().zip(lists) {
                let visible = list.into_iter().rev().take_while(|m| m.seq >= first);
                falling.extend(visible);
            }
            falling.truncate(limit);
        }
        let oldest = falling.last().map_or(0, |message| message.seq);
        let more = place.spans.below(oldest).next().is_some();
        falling.reverse();
        Ok((falling, more))
    }

    async fn page_after(
        &self,
        place: &Membership,
        after: Seq,
        limit: usize,
    ) -> Result<(Vec<Message>, bool)> {
        if place.spans.count(after, place.last_seq) == 0 {
            return Ok((Vec::new(), false));
        }
        let mut messages: Vec<Message> = Vec::new();
        let mut spans = place.spans.beyond(after);
        while messages.len() < limit {
            let pieces: Vec<(Seq, Option<Seq>)> = spans.by_ref().take(SPANS_READ_MAX).collect();
            if pieces.is_empty() {
                break;
            }
            let ranges = pieces.iter().map(|(first, _)| LogRange::After(first - 1));
            let wanted = limit - messages.len();
            let lists = self.log(place, ranges, wanted).await?;
            for ((_, last), list) in pieces.into_iter().zip(lists) {
                let visible = list.into_iter();
                messages.extend(visible.take_while(|m| last.is_none_or(|last| m.seq <= last)));
            }
            messages.truncate(limit);
        }
        let newest = messages.last().map_or(after, |message| message.seq);
        let more = place.spans.count(newest, place.last_seq) > 0;
        Ok((messages, more))
    }

    async fn page_since(
        &self,
        place: &Membership,
        at: Timestamp,
        limit: usize,
    ) -> Result<(Vec<Message>, bool)> {
        let ranges = std::iter::once(LogRange::Since(at));
        let mut lists = self.log(place, ranges, limit).await?;
        let messages = lists.pop().unwrap_or_default();
        let Some(first) = messages.first().map(|message| message.seq) else {
            return Ok((messages, false));
        };
        if messages.iter().all(|m| place.spans.contains(m.seq)) {
            let newest = messages.last().map_or(first, |message| message.seq);
            let more = place.spans.count(newest, place.last_seq) > 0;
            return Ok((messages, more));
        }
        self.page_after(place, first - 1, limit).await
    }

    async fn log(
        &self,
        place: &Membership,
        ranges: impl Iterator<Item = LogRange>,
        limit: usize,
    ) -> Result<Vec<Vec<Message>>> {
        let ranges: Vec<_> = ranges.map(|range| (place.conversation, range)).collect();
        read(self.store.log(&ranges, limit)).await
    }
}
