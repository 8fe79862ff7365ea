//! Deleting what nothing shows.

use std::time::Duration;

use super::{Files, within};
use crate::deadline::{read, write};
use crate::error::Result;
use crate::limits::{FILE_CLAIM_SPAN, FILE_SWEEP_BATCH, FILE_SWEEP_RETRY};
use crate::metrics;
use crate::model::{FileClaim, Message, MessageId, StoredFile, Timestamp};
use crate::ports::store::FileChange;

/// What a look at a file leads to.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// A message shows it.
    Shown,
    /// A message may come to show it, or it is still young.
    LookAgain(Timestamp),
    /// It was sent, and taken back.
    TakenBack,
    /// Nobody has sent it in time.
    Unsent,
}

impl Files {
    /// Looks at a batch of the files that are due, and deletes what nothing shows; says how many
    /// it looked at. Any number of nodes may do so at once. While this node does not know the time, or
    /// has just seen it jump ahead, nothing is looked at.
    ///
    /// # Errors
    /// `unavailable`, if the store does not answer. A storage that does not is only logged, and
    /// tried again later.
    pub async fn sweep(&self) -> Result<usize> {
        let Ok(now) = self.clock.sweep_now() else {
            return Ok(0);
        };
        let due = read(self.store.due_files(now, FILE_SWEEP_BATCH)).await?;
        let claims = due.iter().flat_map(|file| &file.claims);
        let claimed: Vec<MessageId> = claims.map(|claim| claim.message).collect();
        // After the records: what was claimed and landed before is found here.
        let messages = match claimed.is_empty() {
            true => Vec::new(),
            false => read(self.store.messages(&claimed)).await?,
        };
        for file in &due {
            match look(file, &messages, now, self.rules.unsent_span) {
                Finding::Shown => self.note(file, &messages, now, None).await?,
                Finding::LookAgain(at) => self.note(file, &messages, now, Some(at)).await?,
                Finding::TakenBack => self.give_up(file, now, "taken_back").await?,
                Finding::Unsent => self.give_up(file, now, "unsent").await?,
            }
        }
        Ok(due.len())
    }

    /// Keeps a file; claims that came to nothing are forgotten.
    async fn note(
        &self,
        file: &StoredFile,
        messages: &[Message],
        now: Timestamp,
        due_at: Option<Timestamp>,
    ) -> Result<()> {
        let means_something = |claim: &&FileClaim| {
            protects(claim, now) || messages.iter().any(|m| m.id == claim.message)
        };
        let change = FileChange {
            due_at,
            claims: file
                .claims
                .iter()
                .filter(means_something)
                .copied()
                .collect(),
            doomed: false,
        };
        // If it was changed meanwhile it is due again, or soon.
        write(self.store.change_file(file.id, file.version, &change))
            .await
            .map(drop)
    }

    /// Dooms a file, then deletes its bytes, then its record: whatever dies in between, the next
    /// sweep goes on.
    async fn give_up(&self, file: &StoredFile, now: Timestamp, reason: &'static str) -> Result<()> {
        let doom = FileChange {
            // If the bytes cannot be deleted now, others have their turn first.
            due_at: Some(now.plus(FILE_SWEEP_RETRY)),
            claims: file.claims.clone(),
            doomed: true,
        };
        if !write(self.store.change_file(file.id, file.version, &doom)).await? {
            return Ok(());
        }
        if within(self.storage.delete(file.id)).await.is_ok() {
            write(self.store.remove_file(file.id)).await?;
            metrics::file_swept(reason);
            tracing::debug!(file = %file.id, reason, "file swept");
        }
        Ok(())
    }
}

/// Decides by the log, of which `messages` has all that claim the file and are in it.
fn look(file: &StoredFile, messages: &[Message], now: Timestamp, unsent_span: Duration) -> Finding {
    let found = |claim: &FileClaim| messages.iter().find(|m| m.id == claim.message);
    let sent = file.claims.iter().any(|claim| found(claim).is_some());
    if file.doomed {
        return match sent {
            true => Finding::TakenBack,
            false => Finding::Unsent,
        };
    }
    let mut committed = file.claims.iter().filter_map(found);
    if committed.any(|message| file.is_shown_by(message)) {
        return Finding::Shown;
    }
    let open = file.claims.iter().filter(|claim| found(claim).is_none());
    let protected = open.filter(|claim| protects(claim, now));
    if let Some(last) = protected.map(|claim| claim.at).max() {
        return Finding::LookAgain(last.plus(FILE_CLAIM_SPAN));
    }
    let end = file.created_at.plus(unsent_span);
    match sent {
        true => Finding::TakenBack,
        false if end > now => Finding::LookAgain(end),
        false => Finding::Unsent,
    }
}

/// Whether the message of this claim may still come to the log.
fn protects(claim: &FileClaim, now: Timestamp) -> bool {
    claim.at.plus(FILE_CLAIM_SPAN) > now
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ConversationId, FileId, UserId};
    use crate::testing;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn before(span: Duration) -> Timestamp {
        Timestamp::from_millis(NOW.millis() - span.as_millis() as i64)
    }

    fn file(age: Duration, claims: &[(MessageId, Duration)]) -> StoredFile {
        StoredFile {
            id: FileId::from_bytes([1; 12]),
            owner: UserId::from_bytes([2; 12]),
            name: "a".into(),
            size: 1,
            content_type: "text/plain".into(),
            created_at: before(age),
            due_at: Some(NOW),
            claims: claims
                .iter()
                .map(|&(message, ago)| FileClaim {
                    message,
                    at: before(ago),
                })
                .collect(),
            doomed: false,
            version: 0,
        }
    }

    fn message(file: &StoredFile) -> Message {
        let owner = file.owner;
        let mut message = testing::message(ConversationId::generate(), owner, "");
        message.attachments = vec![file.attachment()];
        message
    }

    #[test]
    fn the_log_decides() {
        let ids = [MessageId::generate(), MessageId::generate()];
        let claims = [(ids[0], DAY), (ids[1], Duration::from_secs(10))];
        let both = file(DAY * 9, &claims);
        let mut shown = message(&both);
        shown.id = ids[0];
        let look = |file: &StoredFile, log: &[Message]| super::look(file, log, NOW, DAY);
        assert_eq!(look(&both, std::slice::from_ref(&shown)), Finding::Shown);

        // Taken back, but the other message may still come.
        let mut gone = shown.clone();
        gone.deleted = true;
        gone.attachments.clear();
        let again = Finding::LookAgain(before(Duration::from_secs(10)).plus(FILE_CLAIM_SPAN));
        assert_eq!(look(&both, std::slice::from_ref(&gone)), again);
        assert_eq!(look(&both, &[]), again);

        let old = file(DAY * 9, &claims[..1]);
        assert_eq!(look(&old, &[gone]), Finding::TakenBack);
        assert_eq!(look(&old, &[]), Finding::Unsent);
        let young = file(DAY / 2, &claims[..1]);
        assert_eq!(look(&young, &[]), Finding::LookAgain(NOW.plus(DAY / 2)));
        // Nothing brings back what is doomed.
        let doomed = StoredFile {
            doomed: true,
            ..both
        };
        assert_eq!(look(&doomed, &[shown]), Finding::TakenBack);
    }
}
