//! Every bound of this crate, with its unit, its reason and what happens at it. What is refused is
//! counted in [`crate::metrics::TRANSFERS`].

use std::time::Duration;

/// Uploads to a folder at once, for each holds a file open and a chunk in memory. More: 503.
pub const UPLOADS_MAX: usize = 256;
/// Bytes gathered before they are written: fewer make more calls, more hold more memory.
pub const UPLOAD_CHUNK_BYTES: usize = 256 << 10;
/// Bytes read from a file at once.
pub const DOWNLOAD_CHUNK_BYTES: usize = 64 << 10;
/// How long an upload may bring nothing. Then: 408, and nothing is kept.
pub const UPLOAD_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an upload may take in all. Then the same.
pub const UPLOAD_TIMEOUT: Duration = Duration::from_secs(3_600);
/// Bytes of a refused upload that are read and dropped, so that a client that is still writing gets
/// to read the answer. More: the connection ends with the answer unread.
pub const DROPPED_BYTES_MAX: u64 = 8 << 20;
/// How long a refused upload is read for, at most.
pub const DROPPED_TIMEOUT: Duration = Duration::from_secs(5);
/// When a client may come back that found no room.
pub const RETRY_AFTER: Duration = Duration::from_secs(2);
/// One request to S3, the first byte of the answer included. The core waits no longer for all.
pub const S3_REQUEST_TIMEOUT: Duration = Duration::from_secs(4);
/// A connection to S3.
pub const S3_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an answer of S3: errors are short documents, and files never pass through a node. More:
/// the request has failed.
pub const S3_ANSWER_BYTES_MAX: usize = 1 << 20;
/// Idle connections to one host that are kept for the next request. More are closed.
pub const S3_IDLE_CONNECTIONS_MAX: usize = 8;
/// How long a connection is kept that nothing uses: shorter than servers keep theirs.
pub const S3_IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// Tries after the first one that S3 did not answer.
pub const S3_RETRIES_MAX: usize = 1;
