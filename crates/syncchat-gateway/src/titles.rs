//! Titles: the log says that a conversation was renamed, and apart from it all members are sent the
//! conversation as it is then. Such announcements may be lost, and may overtake each other.

use std::collections::HashMap;

use syncchat_core::model::{ConversationId, Rev};

/// Of the conversations here that were renamed: which version was told, and which is to be.
#[derive(Default)]
pub(crate) struct Titles {
    of: HashMap<ConversationId, Title>,
}

#[derive(Default)]
struct Title {
    told: Rev,
    /// The log has come to the message that made it so.
    due: Rev,
}

impl Titles {
    /// Takes a version of the conversation. True if its readers are to be told, because it is later than
    /// the one they were told of.
    pub(crate) fn tell(&mut self, conversation: ConversationId, rev: Rev) -> bool {
        let title = self.of.entry(conversation).or_default();
        let is_news = rev > title.told;
        title.told = title.told.max(rev);
        is_news
    }

    /// The log has come to a message that gives it another title, in this version.
    pub(crate) fn renamed(&mut self, conversation: ConversationId, rev: Rev) {
        let title = self.of.entry(conversation).or_default();
        title.due = title.due.max(rev);
    }

    /// Whether the readers have not been told yet what the log says.
    pub(crate) fn are_due(&self, conversation: ConversationId) -> bool {
        let title = self.of.get(&conversation);
        title.is_some_and(|title| title.told < title.due)
    }

    /// Forgets a conversation that has no readers here.
    pub(crate) fn forget(&mut self, conversation: ConversationId) {
        self.of.remove(&conversation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_title_is_not_told_after_a_later_one_and_a_lost_one_is_missed() {
        let id = ConversationId::from_bytes([1; 12]);
        let mut titles = Titles::default();
        assert!(!titles.are_due(id));
        titles.renamed(id, 6);
        assert!(titles.are_due(id));
        titles.renamed(id, 9);
        assert!(titles.tell(id, 9) && !titles.tell(id, 6) && !titles.tell(id, 9));
        assert!(!titles.are_due(id));
        titles.forget(id);
        assert!(titles.tell(id, 9));
    }
}
