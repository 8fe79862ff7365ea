//! What a client that was away has missed, in all its conversations at once.
//!
//! Costs four or five reads whatever the number of conversations: places, unread counts, messages,
//! and who has come how far.

use std::collections::BTreeMap;

use super::Query;
use crate::chat::SyncedConversation;
use crate::command::SyncRequest;
use crate::deadline::read;
use crate::error::Result;
use crate::limits::{PAGE_DEFAULT, SYNC_MESSAGES_MAX};
use crate::model::{ConversationId, Membership, Message, Seq, UserId};
use crate::ports::store::LogRange;

/// What one conversation has for the client, and how much of it is given now.
struct Share<'a> {
    place: &'a Membership,
    cursor: Seq,
    /// What is read for it, if anything.
    span: Option<(Seq, Option<Seq>)>,
    /// Messages at most.
    given: usize,
}

impl Query {
    pub(crate) async fn sync(
        &self,
        user: UserId,
        request: SyncRequest,
    ) -> Result<Vec<SyncedConversation>> {
        let places = self.synced_places(user, &request).await?;
        let shares = shares(&places, &request.cursors);
        let (unread, lists) =
            tokio::try_join!(self.unread(user, &places), self.missed_messages(&shares))?;
        let views = self.views(lists).await?;
        Ok(shares
            .iter()
            .zip(views)
            .map(|(share, messages)| {
                let place = share.place;
                let newest = messages.last().map(|view| view.message.seq);
                let held = newest.unwrap_or(share.cursor);
                SyncedConversation {
                    id: place.conversation,
                    messages,
                    more: place.spans.count(held, place.last_seq) > 0,
                    last_seq: place.last_seq.max(newest.unwrap_or(0)),
                    read_seq: place.read_seq,
                    delivered_seq: place.delivered_seq,
                    unread: unread.get(&place.conversation).copied().unwrap_or(0),
                }
            })
            .collect())
    }

    /// Where the user is a member now, of what is asked for; in order of id.
    async fn synced_places(&self, user: UserId, request: &SyncRequest) -> Result<Vec<Membership>> {
        let mut places = if request.all {
            self.memberships(user).await?
        } else if request.cursors.is_empty() {
            Vec::new()
        } else {
            let named: Vec<ConversationId> = request.cursors.keys().copied().collect();
            read(self.store.memberships(user, &named)).await?
        };
        places.retain(|place| place.spans.is_open());
        places.sort_unstable_by_key(|place| place.conversation);
        Ok(places)
    }

    /// The messages of each share, in one read. Of somebody who was away in between, as far as the
    /// span in which the first of them lies.
    async fn missed_messages(&self, shares: &[Share<'_>]) -> Result<Vec<Vec<Message>>> {
        let ranges: Vec<(ConversationId, LogRange)> = shares
            .iter()
            .filter_map(|share| {
                let (first, _) = share.span?;
                Some((share.place.conversation, LogRange::After(first - 1)))
            })
            .collect();
        let mut lists = if ranges.is_empty() {
            Vec::new().into_iter()
        } else {
            let lists = read(self.store.log(&ranges, PAGE_DEFAULT)).await?;
            lists.into_iter()
        };
        Ok(shares
            .iter()
            .map(|share| {
                let Some((_, last)) = share.span else {
                    return Vec::new();
                };
                let list = lists.next().unwrap_or_default().into_iter();
                list.take_while(|m| last.is_none_or(|last| m.seq <= last))
                    .take(share.given)
                    .collect()
            })
            .collect())
    }
}

/// Divides [`SYNC_MESSAGES_MAX`] messages: those who missed least come first, so that most
/// conversations are complete after one round trip.
fn shares<'a>(places: &'a [Membership], cursors: &BTreeMap<ConversationId, Seq>) -> Vec<Share<'a>> {
    let mut shares: Vec<Share<'a>> = places
        .iter()
        .map(|place| {
            let cursor = cursors.get(&place.conversation).copied().unwrap_or(0);
            Share {
                place,
                cursor,
                span: None,
                given: 0,
            }
        })
        .collect();
    let missed = |share: &Share<'_>| share.place.spans.count(share.cursor, share.place.last_seq);
    let mut by_missed: Vec<(u64, usize)> = shares.iter().map(missed).zip(0..).collect();
    by_missed.sort_unstable();
    let mut left = SYNC_MESSAGES_MAX;
    for (missed, number) in by_missed {
        let share = &mut shares[number];
        share.given = left
            .min(PAGE_DEFAULT)
            .min(usize::try_from(missed).unwrap_or(usize::MAX));
        left -= share.given;
        if share.given > 0 {
            share.span = share.place.spans.beyond(share.cursor).next();
        }
    }
    shares
}
