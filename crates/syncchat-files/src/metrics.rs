//! Names, units and help of what this crate measures.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

/// Up- and downloads served from a folder, by direction and status.
pub const TRANSFERS: &str = "syncchat_file_transfers_total";
/// Bytes that came or went.
pub const BYTES: &str = "syncchat_file_bytes_total";
/// Uploads under way.
pub const UPLOADS: &str = "syncchat_file_uploads";

/// Which way.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Direction {
    Up,
    Down,
}

impl Direction {
    fn as_str(self) -> &'static str {
        match self {
            Direction::Up => "up",
            Direction::Down => "down",
        }
    }
}

/// Tells the recorder what the names mean.
pub(crate) fn describe() {
    describe_counter!(
        TRANSFERS,
        Unit::Count,
        "up- and downloads served from a folder, by direction and status"
    );
    describe_counter!(BYTES, Unit::Bytes, "bytes of files that came or went");
    describe_gauge!(UPLOADS, Unit::Count, "uploads under way");
}

pub(crate) fn transferred(direction: Direction, status: u16) {
    counter!(TRANSFERS, "direction" => direction.as_str(), "status" => status.to_string())
        .increment(1);
}

pub(crate) fn moved(direction: Direction, bytes: usize) {
    counter!(BYTES, "direction" => direction.as_str()).increment(bytes as u64);
}

/// Counts as an upload under way as long as it lives.
pub(crate) struct Upload;

impl Upload {
    pub(crate) fn begin() -> Upload {
        gauge!(UPLOADS).increment(1.0);
        Upload
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        gauge!(UPLOADS).decrement(1.0);
    }
}
