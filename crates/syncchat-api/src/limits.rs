//! Every bound of this crate, with its unit, its reason and what happens at it. What is refused
//! here is counted by its status in [`crate::metrics::HTTP_REQUESTS_TOTAL`].

use std::time::Duration;

/// Bytes of a request's body. More: 413.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes beyond [`BODY_BYTES_MAX`] that are read and dropped, so that a client that is still
/// writing gets to read its 413. More: the connection ends with the answer unread.
pub const BODY_DROPPED_BYTES_MAX: usize = 8 << 20;
/// From the last byte of the head to the last of the body. Then: 408.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// From the last byte of the head to the answer; of a call with a body, [`BODY_TIMEOUT`] more, so
/// that one which came slowly leaves the call its time. Then: 503.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes from which on an answer is compressed: smaller ones fit a packet anyway.
pub const COMPRESSED_BYTES_MIN: u64 = 1_024;
/// Bytes of an `x-request-id` that is taken over. Longer: it is replaced.
pub const REQUEST_ID_BYTES_MAX: usize = 64;
/// How long a browser may remember what CORS allows.
pub const CORS_MAX_AGE: Duration = Duration::from_secs(600);
/// `Retry-After` of an answer that may be tried again, where nobody knows better.
pub const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// Participants up to which a conversation comes with its members' profiles. More: ids only.
pub const MEMBERS_SHOWN_MAX: usize = 100;
/// Profiles looked up for one page of conversations. The conversations further down the page come
/// with ids only.
pub const PROFILES_PER_PAGE_MAX: usize = 1_000;
