//! What a client that was away has missed, in all its conversations at once.
//!
//! Costs four or five reads whatever the number of conversations: places, unread counts, messages,
//! and who has come how far; two more where messages were changed that the client holds. A crowd that
//! asks at once shares all of them but the unread counts: each page of a log is read once for all who
//! wait for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Query, views};
use crate::chat::SyncedConversation;
use crate::command::SyncRequest;
use crate::deadline::read;
use crate::error::{Error, Result};
use crate::limits::{PAGE_DEFAULT, READ_TIMEOUT, SYNC_CHANGED_MAX, SYNC_MESSAGES_MAX};
use crate::model::{
    ConversationId, FIRST_REV, Membership, MessageView, Rev, Seq, UserId, Visibility,
};
use crate::ports::store::{LogRange, Store};

/// What one conversation has for the client, and how much of it is given now.
struct Share<'a> {
    place: &'a Membership,
    visible: Visibility<'a>,
    cursor: Seq,
    /// The client's own cursor was beyond the end of the log.
    reset: bool,
    /// What is read for it, if anything: the first visible range beyond the cursor.
    range: Option<(Seq, Seq)>,
    /// Messages at most.
    given: usize,
}

/// What was changed of one conversation.
struct Changes {
    /// Rising in `rev`.
    messages: Vec<MessageView>,
    /// All changes up to this one are known with it.
    up_to: Rev,
}

impl Changes {
    fn none(up_to: Rev) -> Changes {
        Changes {
            messages: Vec::new(),
            up_to,
        }
    }
}

impl Query {
    pub(crate) async fn sync(
        &self,
        user: UserId,
        mut request: SyncRequest,
        reset: bool,
    ) -> Result<Vec<SyncedConversation>> {
        if reset {
            request.cursors.values_mut().for_each(|seq| *seq = 0);
        }
        let places = self.synced_places(user, &request).await?;
        let shares = shares(&places, &request.cursors);
        let (unread, views, changes) = tokio::try_join!(
            self.unread(&places),
            self.missed_messages(&shares),
            self.missed_changes(&shares, &request.changes)
        )?;
        Ok(shares
            .iter()
            .zip(views)
            .zip(changes)
            .map(|((share, messages), changes)| {
                let place = share.place;
                let newest = messages.last().map(|view| view.message.seq);
                let held = newest.unwrap_or(share.cursor);
                SyncedConversation {
                    id: place.conversation,
                    reset: share.reset,
                    messages,
                    more: share.visible.count_after(held) > 0 || changes.up_to < place.change_seq,
                    last_seq: place.last_seq,
                    read_seq: place.read_seq,
                    delivered_seq: place.delivered_seq,
                    unread: unread.get(&place.conversation).copied().unwrap_or(0),
                    changes: changes.messages,
                    change_seq: changes.up_to,
                }
            })
            .collect())
    }

    /// Where the user is a member now, of what is asked for; in order of id.
    async fn synced_places(&self, user: UserId, request: &SyncRequest) -> Result<Vec<Membership>> {
        let mut places = if request.all {
            in_time(self.places.get(user)).await?
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

    /// What was changed of what the client holds, after the change that it knows, for each share. The place
    /// was read before: all changes up to its number are found.
    async fn missed_changes(
        &self,
        shares: &[Share<'_>],
        known: &BTreeMap<ConversationId, Rev>,
    ) -> Result<Vec<Changes>> {
        let after = |share: &Share<'_>| {
            let known = *known.get(&share.place.conversation)?;
            (known < share.place.change_seq).then_some(known.max(FIRST_REV))
        };
        // Of what the client does not hold, it gets what is there now.
        let holds_some = |share: &Share<'_>| share.cursor > 0;
        let wanted: Vec<(ConversationId, Rev)> = shares
            .iter()
            .filter(|share| holds_some(share))
            .filter_map(|share| Some((share.place.conversation, after(share)?)))
            .take(SYNC_CHANGED_MAX)
            .collect();
        let pages = in_time(self.changes.get_all(&wanted)).await?;
        let mut found = wanted.into_iter().zip(pages).peekable();
        Ok(shares
            .iter()
            .map(|share| {
                let place = share.place;
                let page = found.next_if(|((id, _), _)| *id == place.conversation);
                let (Some(after), true) = (after(share), holds_some(share)) else {
                    return Changes::none(place.change_seq);
                };
                let Some((_, page)) = page else {
                    return Changes::none(after);
                };
                let is_held = |view: &&MessageView| {
                    view.message.seq <= share.cursor && place.spans.contains(view.message.seq)
                };
                let last = page.last().filter(|_| page.len() >= PAGE_DEFAULT);
                Changes {
                    messages: page.iter().filter(is_held).cloned().collect(),
                    up_to: last.map_or(place.change_seq, |last| {
                        last.message.rev.min(place.change_seq)
                    }),
                }
            })
            .collect())
    }

    /// The messages of each share. Of somebody who was away in between, as far as the span in which
    /// the first of them lies.
    async fn missed_messages(&self, shares: &[Share<'_>]) -> Result<Vec<Vec<MessageView>>> {
        let after: Vec<(ConversationId, Seq)> = shares
            .iter()
            .filter_map(|share| {
                let (first, _) = share.range?;
                Some((share.place.conversation, first - 1))
            })
            .collect();
        let mut pages = in_time(self.pages.get_all(&after)).await?.into_iter();
        Ok(shares
            .iter()
            .map(|share| {
                let Some((_, last)) = share.range else {
                    return Vec::new();
                };
                let page = pages.next().unwrap_or_default();
                page.iter()
                    .take_while(|view| view.message.seq <= last)
                    .take(share.given)
                    .cloned()
                    .collect()
            })
            .collect())
    }
}

/// What follows each of these places, as it is shown; in the order asked.
pub(super) async fn pages(
    store: &dyn Store,
    after: &[(ConversationId, Seq)],
) -> Result<Vec<Arc<Vec<MessageView>>>> {
    let ranges: Vec<(ConversationId, LogRange)> = after
        .iter()
        .map(|&(conversation, seq)| (conversation, LogRange::After(seq)))
        .collect();
    let lists = read(store.log(&ranges, PAGE_DEFAULT)).await?;
    let views = views::of(store, lists).await?;
    Ok(views.into_iter().map(Arc::new).collect())
}

/// What was changed after each of these changes, as it is shown; in the order asked.
pub(super) async fn changes(
    store: &dyn Store,
    after: &[(ConversationId, Rev)],
) -> Result<Vec<Arc<Vec<MessageView>>>> {
    let mut lists = read(store.changes(after, PAGE_DEFAULT)).await?;
    for list in &mut lists {
        list.sort_unstable_by_key(|message| message.seq);
    }
    let mut views = views::of(store, lists).await?;
    for list in &mut views {
        list.sort_unstable_by_key(|view| view.message.rev);
    }
    Ok(views.into_iter().map(Arc::new).collect())
}

/// Reads that others are waiting for as well have a turn of their own before them.
async fn in_time<T>(read: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(2 * READ_TIMEOUT, read).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::unavailable("too many wait for the store")),
    }
}

/// Divides [`SYNC_MESSAGES_MAX`] messages: those who missed least come first, so that most
/// conversations are complete after one round trip.
fn shares<'a>(places: &'a [Membership], cursors: &BTreeMap<ConversationId, Seq>) -> Vec<Share<'a>> {
    let mut shares: Vec<Share<'a>> = places
        .iter()
        .filter_map(|place| {
            let visible = place.visible()?;
            let told = cursors.get(&place.conversation).copied().unwrap_or(0);
            // What was acknowledged is never beyond the head, unless the store was restored.
            let reset = told > place.last_seq;
            let cursor = if reset { 0 } else { told };
            Some(Share {
                place,
                visible,
                cursor,
                reset,
                range: None,
                given: 0,
            })
        })
        .collect();
    let missed = |share: &Share<'_>| share.visible.count_after(share.cursor);
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
            share.range = share.visible.after(share.cursor).next();
        }
    }
    shares
}
