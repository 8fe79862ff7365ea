//! Files that people upload, and how it is known whether anything shows them.

use super::{Attachment, FileId, Message, MessageId, Timestamp, UserId};

/// What is known of a file; its bytes lie in the file storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Which.
    pub id: FileId,
    /// Who announced it; nobody else may send it.
    pub owner: UserId,
    /// As its owner calls it. Never used as a path.
    pub name: String,
    /// Bytes, exactly.
    pub size: u64,
    /// MIME type as declared, its type and subtype in lower case.
    pub content_type: String,
    /// When it was announced.
    pub created_at: Timestamp,
    /// When to look whether anything shows it; `None`: something does, and nothing has happened
    /// since that was seen.
    pub due_at: Option<Timestamp>,
    /// Messages that show it, or may come to.
    pub claims: Vec<FileClaim>,
    /// Given up: nothing can show it any more, and its bytes and this record are being deleted.
    pub doomed: bool,
    /// Raised by every change but the first.
    pub version: u64,
}

/// A message that is about to show a file. It may never be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileClaim {
    /// Which.
    pub message: MessageId,
    /// When it was about to.
    pub at: Timestamp,
}

impl StoredFile {
    /// As a message shows it.
    pub fn attachment(&self) -> Attachment {
        Attachment {
            file: self.id,
            name: self.name.clone(),
            size: self.size,
            content_type: self.content_type.clone(),
        }
    }

    /// Whether this message, as it is in the log now, shows the file.
    pub fn is_shown_by(&self, message: &Message) -> bool {
        !message.deleted && message.attachments.iter().any(|a| a.file == self.id)
    }
}
