//! Files that are too long, dead, or unfinished.

use std::path::Path;

use crate::workspace::Workspace;

/// Lines of one file of the product, without the tests at its end. Past it there is a second story
/// in it.
const LINES_MAX: usize = 600;
/// What is not to be left behind, in pieces so that this file does not hold it.
const UNFINISHED: [(&str, &str); 6] = [
    ("TO", "DO"),
    ("FIX", "ME"),
    ("todo", "!("),
    ("unimplemented", "!("),
    ("dbg", "!("),
    ("#[ig", "nore"),
];

/// Complains about each file in which something is wrong.
pub fn check(workspace: &Workspace) -> Result<Vec<String>, String> {
    let mut complaints = Vec::new();
    for (path, text) in workspace.rust() {
        let lines = text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .count();
        if lines > LINES_MAX && path.contains("/src/") {
            complaints.push(format!("{path}: {lines} lines, at most {LINES_MAX}"));
        }
        for (start, end) in UNFINISHED {
            let mark = format!("{start}{end}");
            if text.contains(&mark) {
                complaints.push(format!("{path}: {mark}"));
            }
        }
        if !is_reached(workspace, path) {
            complaints.push(format!("{path}: no module leads to it"));
        }
    }
    Ok(complaints)
}

/// Whether cargo builds the file as a root, or its parent module names it.
fn is_reached(workspace: &Workspace, path: &str) -> bool {
    let Some((folder, name)) = path.rsplit_once('/') else {
        return true;
    };
    let stem = name.trim_end_matches(".rs");
    let is_root = matches!(stem, "main" | "lib" | "build");
    let in_root_folder = ["tests", "examples", "benches", "bin", "fuzz_targets"]
        .iter()
        .any(|root| folder.ends_with(&format!("/{root}")));
    if is_root || (in_root_folder && stem != "mod") {
        return true;
    }
    // `a/mod.rs` is the module `a` of its folder's parent.
    let (folder, stem) = match (stem, folder.rsplit_once('/')) {
        ("mod", Some((parent, module))) => (parent, module),
        _ => (folder, stem),
    };
    let beside = format!("{folder}.rs");
    let within = ["mod.rs", "lib.rs", "main.rs"].map(|name| format!("{folder}/{name}"));
    let mut parents: Vec<&str> = vec![&beside];
    parents.extend(within.iter().map(String::as_str));
    let declares = |text: &str| text.contains(&format!("mod {stem};"));
    let by_path = format!("{stem}.rs\"");
    workspace.rust().any(|(other, text)| {
        let is_parent = parents.contains(&other)
            // In `tests`, every file is a root that may name a module of the folder.
            || Path::new(other).parent() == Some(Path::new(folder));
        (is_parent && declares(text)) || text.contains(&by_path)
    })
}
