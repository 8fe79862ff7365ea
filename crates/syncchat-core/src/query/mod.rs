//! Reads, paged and bounded.
