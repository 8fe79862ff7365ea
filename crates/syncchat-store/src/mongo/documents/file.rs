//! Files.

use mongodb::bson::DateTime;
use mongodb::bson::oid::ObjectId;
use serde::{Deserialize, Serialize};
use syncchat_core::model::{FileClaim, FileId, MessageId, StoredFile, UserId};

use super::{Id, count, date, int, timestamp};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::mongo) struct FileRecord {
    #[serde(rename = "_id")]
    id: ObjectId,
    owner: ObjectId,
    name: String,
    size: i64,
    content_type: String,
    created_at: DateTime,
    due_at: Option<DateTime>,
    claims: Vec<ClaimRecord>,
    doomed: bool,
    version: i64,
    /// Unique for the owner; gone once the file is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::mongo) request_key: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::mongo) struct ClaimRecord {
    message: ObjectId,
    at: DateTime,
}

impl From<&FileClaim> for ClaimRecord {
    fn from(claim: &FileClaim) -> ClaimRecord {
        ClaimRecord {
            message: claim.message.oid(),
            at: date(claim.at),
        }
    }
}

impl From<&StoredFile> for FileRecord {
    fn from(file: &StoredFile) -> FileRecord {
        FileRecord {
            id: file.id.oid(),
            owner: file.owner.oid(),
            name: file.name.clone(),
            size: int(file.size),
            content_type: file.content_type.clone(),
            created_at: date(file.created_at),
            due_at: file.due_at.map(date),
            claims: file.claims.iter().map(ClaimRecord::from).collect(),
            doomed: file.doomed,
            version: int(file.version),
            request_key: None,
        }
    }
}

impl From<FileRecord> for StoredFile {
    fn from(record: FileRecord) -> StoredFile {
        let claims = record.claims.into_iter().map(|claim| FileClaim {
            message: MessageId::from_bytes(claim.message.bytes()),
            at: timestamp(claim.at),
        });
        StoredFile {
            id: FileId::from_bytes(record.id.bytes()),
            owner: UserId::from_bytes(record.owner.bytes()),
            name: record.name,
            size: count(record.size),
            content_type: record.content_type,
            created_at: timestamp(record.created_at),
            due_at: record.due_at.map(timestamp),
            claims: claims.collect(),
            doomed: record.doomed,
            version: count(record.version),
        }
    }
}
