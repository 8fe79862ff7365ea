//! The way up: validate → authorise → commit → announce.
