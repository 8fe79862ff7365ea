//! What a migration tells of itself.

use crate::limits::MIGRATION_NOTES_MAX;

/// Lines for people, a bounded number of them.
#[derive(Default)]
pub(in super::super) struct Report {
    lines: Vec<String>,
    notes: usize,
}

impl Report {
    /// Something was done.
    pub(in super::super) fn did(&mut self, line: String) {
        self.lines.push(line);
    }

    /// Something about one document needs to be known. What is more than the bound is logged.
    pub(super) fn note(&mut self, line: String) {
        self.notes += 1;
        if self.notes <= MIGRATION_NOTES_MAX {
            self.lines.push(line);
        } else {
            tracing::warn!(%line, "migration note");
        }
    }

    /// The lines.
    pub(super) fn into_lines(mut self) -> Vec<String> {
        if self.notes > MIGRATION_NOTES_MAX {
            let more = self.notes - MIGRATION_NOTES_MAX;
            self.lines
                .push(format!("{more} further notes are in the log"));
        }
        self.lines
    }
}
