//! A page of one log, of what a member may see ([`Visibility`]).
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
use crate::model::{ConversationId, Message, Seq, Timestamp, UserId, Visibility};
use crate::pipeline::heads::not_in_it;
use crate::ports::store::LogRange;

impl Query {
    /// A page, rising in `seq`. The log has no holes, so the visible ranges say whether there is more.
    pub(crate) async fn history(
        &self,
        user: UserId,
        conversation: ConversationId,
        page: PageRequest,
    ) -> Result<Page> {
        let place = self.membership(user, conversation).await?;
        let log = Log {
            query: self,
            conversation,
            visible: place.visible().ok_or_else(not_in_it)?,
        };
        let (messages, more) = match page.from {
            PageFrom::Newest => log.page_before(Seq::MAX, page.limit).await?,
            PageFrom::Before(seq) => log.page_before(seq, page.limit).await?,
            PageFrom::After(seq) => log.page_after(seq, page.limit).await?,
            PageFrom::Since(at) => log.page_since(at, page.limit).await?,
        };
        let messages = self.views(vec![messages]).await?.pop().unwrap_or_default();
        Ok(Page { messages, more })
    }
}

/// One log as one member sees it.
struct Log<'a> {
    query: &'a Query,
    conversation: ConversationId,
    visible: Visibility<'a>,
}

impl Log<'_> {
    async fn page_before(&self, before: Seq, limit: usize) -> Result<(Vec<Message>, bool)> {
        let mut falling: Vec<Message> = Vec::new();
        let mut spans = self.visible.before(before);
        while falling.len() < limit {
            let pieces: Vec<(Seq, Seq)> = spans.by_ref().take(SPANS_READ_MAX).collect();
            if pieces.is_empty() {
                break;
            }
            let ranges = pieces.iter().map(|(_, last)| LogRange::Before(last + 1));
            let lists = self.read(ranges, limit - falling.len()).await?;
            for ((first, _), list) in pieces.into_iter().zip(lists) {
                falling.extend(list.into_iter().rev().take_while(|m| m.seq >= first));
            }
            falling.truncate(limit);
        }
        let oldest = falling.last().map_or(0, |message| message.seq);
        let more = self.visible.before(oldest).next().is_some();
        falling.reverse();
        Ok((falling, more))
    }

    async fn page_after(&self, after: Seq, limit: usize) -> Result<(Vec<Message>, bool)> {
        let mut messages: Vec<Message> = Vec::new();
        let mut spans = self.visible.after(after);
        while messages.len() < limit {
            let pieces: Vec<(Seq, Seq)> = spans.by_ref().take(SPANS_READ_MAX).collect();
            if pieces.is_empty() {
                break;
            }
            let ranges = pieces.iter().map(|(first, _)| LogRange::After(first - 1));
            let lists = self.read(ranges, limit - messages.len()).await?;
            for ((_, last), list) in pieces.into_iter().zip(lists) {
                messages.extend(list.into_iter().take_while(|m| m.seq <= last));
            }
            messages.truncate(limit);
        }
        let newest = messages.last().map_or(after, |message| message.seq);
        Ok((messages, self.visible.count_after(newest) > 0))
    }

    async fn page_since(&self, at: Timestamp, limit: usize) -> Result<(Vec<Message>, bool)> {
        let mut lists = self
            .read(std::iter::once(LogRange::Since(at)), limit)
            .await?;
        let found = lists.pop().unwrap_or_default();
        let Some(first) = found.first().map(|message| message.seq) else {
            return Ok((found, false));
        };
        let shown = found.into_iter().take_while(|m| self.visible.shows(m.seq));
        let shown: Vec<Message> = shown.collect();
        let newest = shown.last().map_or(first - 1, |message| message.seq);
        let more = self.visible.count_after(newest) > 0;
        if more && shown.len() < limit {
            // The page crosses a time in which the member was away.
            return self.page_after(first - 1, limit).await;
        }
        Ok((shown, more))
    }

    async fn read(
        &self,
        ranges: impl Iterator<Item = LogRange>,
        limit: usize,
    ) -> Result<Vec<Vec<Message>>> {
        let ranges: Vec<_> = ranges.map(|range| (self.conversation, range)).collect();
        read(self.query.store.log(&ranges, limit)).await
    }
}
