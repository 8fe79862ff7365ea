//! Who may use whom: the drawing in `docs/architecture.md` is the rule, cargo says how it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::workspace::Workspace;

const DRAWING: &str = "docs/architecture.md";
/// How our crates' names begin; the drawing leaves it out.
const PREFIX: &str = "syncchat-";
/// What "must not touch" means for crates that are not ours, where a manifest can break it.
const BANS: [(&str, &[&str]); 6] = [
    (
        "protocol",
        &["tokio", "getrandom", "rand", "hyper", "tokio-tungstenite"],
    ),
    (
        "core",
        &[
            "serde",
            "mongodb",
            "rusqlite",
            "hyper",
            "axum",
            "http",
            "tokio-tungstenite",
        ],
    ),
    (
        "delivery",
        &[
            "tokio",
            "futures-util",
            "async-trait",
            "getrandom",
            "rand",
            "bytes",
        ],
    ),
    ("contract", &["tokio", "hyper", "axum"]),
    (
        "identity",
        &[
            "hyper",
            "axum",
            "http",
            "tokio-tungstenite",
            "mongodb",
            "rusqlite",
        ],
    ),
    ("engine", &["mongodb", "rusqlite", "jsonwebtoken", "bcrypt"]),
];

/// What each crate may use, by short name.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// Complains about every arrow that is not drawn, and every crate that is not there.
pub fn check(workspace: &Workspace) -> Result<Vec<String>, String> {
    let drawn = parse(workspace.text(DRAWING)?)?;
    let mut complaints = Vec::new();
    for package in &workspace.packages {
        let Some(name) = short(&package.name) else {
            continue;
        };
        // The load test and the chores stand beside the product.
        if !workspace.folder(package).starts_with("crates/") {
            continue;
        }
        let Some(may_use) = drawn.get(name) else {
            complaints.push(format!("{name} is missing in {DRAWING}"));
            continue;
        };
        for used in package.uses.iter().filter_map(|used| short(used)) {
            if !may_use.contains(used) {
                complaints.push(format!("{name} → {used} is not drawn in {DRAWING}"));
            }
        }
        let bans = BANS.iter().filter(|(banned_in, _)| *banned_in == name);
        for banned in bans.flat_map(|(_, banned)| *banned) {
            if package.uses.contains(*banned) {
                complaints.push(format!("{name} must not use {banned}"));
            }
        }
    }
    let there = |name: &String| {
        workspace
            .packages
            .iter()
            .any(|p| short(&p.name) == Some(name))
    };
    for name in drawn.keys().filter(|name| !there(name)) {
        complaints.push(format!("{name} is drawn in {DRAWING} and does not exist"));
    }
    Ok(complaints)
}

/// `gateway` for `syncchat-gateway`; the program is `syncchat` in both.
fn short(name: &str) -> Option<&str> {
    match name {
        "syncchat" => Some(name),
        _ => name.strip_prefix(PREFIX),
    }
}

/// Reads the drawing: the block whose first line is about everything below. A line holds one or
/// more of `a → b, c`, or names of crates that use nothing; what is in brackets is a remark.
fn parse(document: &str) -> Result<Arrows, String> {
    let mut lines = document
        .lines()
        .skip_while(|line| !line.contains("→ everything below"));
    let mut arrows = Arrows::new();
    let top = lines
        .next()
        .and_then(|line| line.split_whitespace().next())
        .ok_or_else(|| format!("{DRAWING}: no drawing of the crates"))?;
    for line in lines.take_while(|line| !line.starts_with("```")) {
        let line = line.split('(').next().unwrap_or_default();
        let cells = line
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty());
        for cell in cells {
            let (name, used) = cell.split_once('→').unwrap_or((cell, ""));
            let used = used
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty());
            let name = name.trim_matches(|c: char| c == '─' || c.is_whitespace());
            arrows.insert(name.to_owned(), used.map(str::to_owned).collect());
        }
    }
    let all = arrows.keys().cloned().collect();
    arrows.insert(top.to_owned(), all);
    Ok(arrows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_drawing() {
        let drawing = "
```
top ──→ everything below      (a remark)
  a ─→ b, c
    b → c          d ─→ c
      c        e        (use nothing)
```
";
        let arrows = parse(drawing).unwrap();
        let used = |name: &str| arrows[name].iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(used("top"), ["a", "b", "c", "d", "e"]);
        assert_eq!(used("a"), ["b", "c"]);
        assert_eq!(used("d"), ["c"]);
        assert!(used("e").is_empty());
        assert!(parse("no drawing").is_err());
    }
}
