//! What every store must do, written once and run against each of them.
//!
//! `behaviour_suite!(open)` makes a test of each case below. `open` gives a prepared, empty store
//! and whatever must live as long as it. Cases share nothing, so they may run side by side.

// A case reports by panicking, as tests do, and its name says what it shows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

pub mod accounts;
pub mod changes;
pub mod conversations;
pub mod files;
pub mod history;
pub mod log;
pub mod members;
pub mod pages;
pub mod requests;
pub mod times;
pub mod tokens;
pub mod unread;

use std::collections::BTreeSet;
use std::sync::Arc;

use syncchat_core::model::{
    Conversation, ConversationId, ConversationKind, FIRST_REV, Membership, Message, MessageId,
    MessageKind, SystemEvent, Timestamp, UserId,
};
use syncchat_core::ports::store::{
    Append, Appended, ConversationChange, CreatedConversation, LogRange, NewConversation, Store,
};

/// Makes a test of each case.
#[macro_export]
macro_rules! behaviour_suite {
    ($open:path) => {
        $crate::behaviour_suite! { @ $open:
            accounts::names_are_unique_without_case,
            accounts::log_in_by_name_or_address,
            accounts::profiles_change,
            accounts::search_is_by_prefix,
            accounts::presence_is_kept,
            accounts::preparing_twice_changes_nothing,
            conversations::a_pair_has_one_conversation,
            conversations::groups_are_many,
            conversations::lists_are_paged_newest_first,
            conversations::contacts_share_a_conversation,
            conversations::contacts_of_many_who_share_rooms,
            files::a_file_is_kept_as_it_was,
            files::claims_are_the_owners,
            files::a_look_holds_only_if_nothing_came_between,
            files::one_of_a_claim_and_a_doom_wins,
            files::the_longest_due_come_first,
            history::epochs_are_kept_newest_first,
            history::nodes_that_begin_at_once_all_have_an_epoch,
            history::the_oldest_epochs_are_forgotten,
            history::a_membership_says_what_may_be_shown_whenever_the_log_is_read,
            history::no_race_shows_what_was_said_after_a_removal,
            log::append_is_compare_and_set,
            log::appends_of_one_batch_are_independent,
            log::a_resend_is_a_duplicate,
            log::racers_leave_no_hole,
            log::racing_batches_leave_no_hole,
            log::who_goes_behind_leaves_no_hole,
            log::what_exists_is_not_written_behind,
            log::everything_of_a_message_is_kept,
            log::pages_lie_where_they_were_asked_for,
            times::a_time_finds_its_place,
            times::a_time_that_is_ahead_is_taken_back,
            times::the_time_of_the_store_is_told,
            log::edits_and_deletions,
            changes::changes_have_an_order_of_their_own,
            changes::an_edit_and_a_deletion_at_once_end_deleted,
            changes::changes_become_visible_in_the_order_of_their_numbers,
            log::unknown_things_are_not_found,
            requests::a_repeated_creation_finds_what_it_made,
            requests::of_two_creations_at_once_one_finds_the_other,
            requests::a_repeated_file_is_found_until_it_is_given_up,
            requests::what_was_edited_is_known_as_what_it_was_sent,
            pages::pages_are_spans_of_each_log,
            members::changes_come_with_their_message,
            members::each_change_is_a_version_of_its_own,
            members::additions_of_late_are_found,
            members::places_of_many_are_their_own,
            members::who_comes_back_missed_what_was_said,
            members::a_removal_beats_a_message,
            members::cursors_never_fall,
            members::cursors_race_upwards,
            members::cursors_of_others_do_not_exist,
            members::the_furthest_come_first,
            members::the_furthest_of_a_crowd_come_first,
            tokens::a_token_is_good_once,
            tokens::a_used_token_is_repeated_until_its_successor_is_used,
            tokens::a_repetition_does_not_prolong,
            tokens::a_token_used_after_its_successor_ends_its_family,
            tokens::of_two_at_once_one_repeats_the_other,
            tokens::a_revocation_between_two_tries_is_final,
            tokens::revoked_and_expired_tokens_are_unknown,
            tokens::what_expired_is_deleted,
            unread::counts_others_after_the_cursor,
            unread::counts_however_much_does_not_count,
            unread::counts_up_to_where_the_place_ends,
            unread::is_what_counting_gives,
        }
    };
    (@ $open:path: $($module:ident::$case:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let (store, _alive) = $open().await;
            $crate::suite::$module::$case($crate::suite::World::new(store)).await;
        }
    )*};
}

/// A store, and the few moves that cases are made of.
#[derive(Clone)]
pub struct World {
    /// The store under test.
    pub store: Arc<dyn Store>,
}

impl World {
    /// Wraps a store.
    pub fn new(store: Arc<dyn Store>) -> World {
        World { store }
    }

    /// A group of these people.
    pub async fn group(&self, people: &[UserId]) -> ConversationId {
        let new = new_conversation(ConversationKind::Group, people);
        match self.store.create_conversation(new).await.unwrap() {
            CreatedConversation::New(conversation) => conversation.id,
            other => panic!("{other:?}"),
        }
    }

    /// The conversation as stored.
    pub async fn conversation(&self, id: ConversationId) -> Conversation {
        let mut found = self.store.conversations(&[id]).await.unwrap();
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    /// Appends what `make` says, again with a fresh head as long as others are faster.
    pub async fn append(
        &self,
        id: ConversationId,
        make: impl Fn(&Conversation) -> Append,
    ) -> Appended {
        for _ in 0..1_000 {
            let append = make(&self.conversation(id).await);
            let appended = self.store.append(vec![append]).await.unwrap();
            match appended.as_slice() {
                [Appended::Moved] => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
                [appended] => return appended.clone(),
                other => panic!("{other:?}"),
            }
        }
        panic!("moved 1,000 times");
    }

    /// Says something, and gives it back as stored.
    pub async fn say(&self, id: ConversationId, sender: UserId, content: &str) -> Message {
        let appended = self
            .append(id, |head| one(text(head, 1, sender, content)))
            .await;
        assert_eq!(appended, Appended::Committed);
        self.log(id, LogRange::Before(u64::MAX))
            .await
            .into_iter()
            .rev()
            .find(|message| message.content == content && message.sender == sender)
            .unwrap()
    }

    /// Changes who is in it, with the system message that tells of it.
    pub async fn change(&self, id: ConversationId, by: UserId, event: SystemEvent) {
        let appended = self
            .append(id, |head| system(head, by, event.clone()))
            .await;
        assert_eq!(appended, Appended::Committed);
    }

    /// Where this person is now.
    pub async fn places(&self, user: UserId) -> Vec<Membership> {
        let mut places = self.store.memberships_of(&[user]).await.unwrap();
        assert_eq!(places.len(), 1);
        places.remove(0)
    }

    /// What this person has not read in each of these, as they are now.
    pub async fn unread(&self, user: UserId, ids: &[ConversationId]) -> Vec<u64> {
        let places = self.store.memberships(user, ids).await.unwrap();
        let counts = self.store.unread(&places).await.unwrap();
        assert_eq!(counts.len(), places.len());
        let of = |id: &ConversationId| {
            let found = places.iter().position(|place| place.conversation == *id);
            found.map_or(0, |place| counts[place])
        };
        ids.iter().map(of).collect()
    }

    /// A page of up to 1,000.
    pub async fn log(&self, id: ConversationId, range: LogRange) -> Vec<Message> {
        let mut pages = self.store.log(&[(id, range)], 1_000).await.unwrap();
        assert_eq!(pages.len(), 1);
        pages.remove(0)
    }
}

/// Ids of people; they need no account.
pub fn people<const N: usize>() -> [UserId; N] {
    std::array::from_fn(|_| UserId::generate())
}

/// A conversation to be made now.
pub fn new_conversation(kind: ConversationKind, people: &[UserId]) -> NewConversation {
    NewConversation {
        id: ConversationId::generate(),
        kind,
        title: (kind == ConversationKind::Group).then(|| "title".into()),
        participants: people.iter().copied().collect::<BTreeSet<_>>(),
        created_at: Timestamp::from_millis(1_000_000),
        request: None,
    }
}

/// The `nth` text after this head, counted from 1. Times rise with `seq`.
pub fn text(head: &Conversation, nth: u64, sender: UserId, content: &str) -> Message {
    let seq = head.last_seq + nth;
    let at = Timestamp::from_millis(head.updated_at.millis() + 1_000 * nth as i64);
    Message {
        id: MessageId::generate(),
        conversation: head.id,
        seq,
        ordinal: head.last_ordinal + nth,
        sender,
        content: content.into(),
        kind: MessageKind::Text,
        event: None,
        attachments: Vec::new(),
        reply_to: None,
        client_msg_id: None,
        edited: false,
        deleted: false,
        created_at: at,
        updated_at: at,
        rev: FIRST_REV,
    }
}

/// A text with the sender's own name for it.
pub fn named(message: Message, client_msg_id: &str) -> Message {
    Message {
        client_msg_id: Some(client_msg_id.into()),
        ..message
    }
}

/// An append of one message.
pub fn one(message: Message) -> Append {
    Append {
        conversation: message.conversation,
        expected_seq: message.seq - 1,
        messages: vec![message.into()],
        changes: Vec::new(),
    }
}

/// An append of the system message for this event, and what changes with it.
pub fn system(head: &Conversation, by: UserId, event: SystemEvent) -> Append {
    let mut message = text(head, 1, by, "");
    message.kind = MessageKind::System;
    message.ordinal = head.last_ordinal;
    message.event = Some(event.clone());
    let seq = message.seq;
    let change = match event {
        SystemEvent::Added { user, .. } => ConversationChange::Add { user, seq },
        SystemEvent::Removed { user, .. } | SystemEvent::Left { user } => {
            ConversationChange::Remove { user, seq }
        }
        SystemEvent::Renamed { title, .. } => ConversationChange::Rename { title },
    };
    Append {
        changes: vec![change],
        ..one(message)
    }
}
