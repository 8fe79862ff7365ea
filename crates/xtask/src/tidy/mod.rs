//! Tidiness as a test: each check gives its complaints, all are shown.

mod arrows;
mod dependencies;
mod documents;
mod files;
mod licences;

use crate::workspace::Workspace;

/// A check by name.
type Check = (&'static str, fn(&Workspace) -> Result<Vec<String>, String>);

const CHECKS: [Check; 5] = [
    ("arrows", arrows::check),
    ("dependencies", dependencies::check),
    ("files", files::check),
    ("documents", documents::check),
    ("licences", licences::check),
];

/// Runs every check.
///
/// # Errors
/// All complaints, one a line.
pub fn run() -> Result<String, String> {
    let workspace = Workspace::read()?;
    let mut complaints = Vec::new();
    for (name, check) in CHECKS {
        let found = check(&workspace).unwrap_or_else(|problem| vec![problem]);
        complaints.extend(found.iter().map(|complaint| format!("{name}: {complaint}")));
    }
    match complaints.is_empty() {
        true => Ok(format!(
            "tidy: {} crates, {} files",
            workspace.packages.len(),
            workspace.files.len()
        )),
        false => Err(complaints.join("\n")),
    }
}
