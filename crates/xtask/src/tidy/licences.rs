//! What comes into the build from outside: from where, and under which licence. The rules stand in
//! `.deny.toml`, for `cargo deny` too where it is installed; this needs neither it nor a network.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::workspace::{Workspace, list, run, text};

const RULES: &str = ".deny.toml";
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Complains about packages from elsewhere than the registry, and about licences not allowed.
pub fn check(workspace: &Workspace) -> Result<Vec<String>, String> {
    let allowed = allowed(workspace.text(RULES)?);
    let arguments = [
        "metadata",
        "--format-version=1",
        "--offline",
        "--locked",
        "--filter-platform=x86_64-unknown-linux-gnu",
    ];
    let metadata: Value = serde_json::from_str(&run("cargo", &arguments)?)
        .map_err(|error| format!("cargo metadata: {error}"))?;
    // Packages that are only in the lock file, for other systems, are no part of the build.
    let built: BTreeSet<String> = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| text(&node["id"]))
        .collect();
    let mut complaints = Vec::new();
    for package in list(&metadata["packages"]) {
        if !built.contains(&text(&package["id"])) || package["source"].is_null() {
            continue;
        }
        let (name, source) = (text(&package["name"]), text(&package["source"]));
        if source != REGISTRY {
            complaints.push(format!("{name} comes from {source}"));
        }
        let licence = text(&package["license"]);
        if !permits(&licence, &allowed) {
            complaints.push(format!(
                "{name} is under {licence:?}, which {RULES} does not allow"
            ));
        }
    }
    Ok(complaints)
}

/// The list `allow` of the section `licenses`.
fn allowed(rules: &str) -> BTreeSet<String> {
    let (_, section) = rules.split_once("[licenses]").unwrap_or_default();
    let (_, list) = section.split_once("allow = [").unwrap_or_default();
    let list = list.split(']').next().unwrap_or_default();
    list.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Whether an SPDX expression (or the older `A/B`) can be met with licences that are allowed.
fn permits(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = any_of(&mut rest, allowed);
    met && rest.is_empty() && !words.is_empty()
}

fn any_of(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = all_of(words, allowed);
    while take(words, "OR") {
        met |= all_of(words, allowed);
    }
    met
}

fn all_of(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = licence(words, allowed);
    while take(words, "AND") {
        met &= licence(words, allowed);
    }
    met
}

fn licence(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    if take(words, "(") {
        return any_of(words, allowed) && take(words, ")");
    }
    let Some((name, rest)) = words.split_first() else {
        return false;
    };
    *words = rest;
    // An exception only gives more than the licence itself.
    if take(words, "WITH") {
        *words = words.get(1..).unwrap_or_default();
    }
    allowed.contains(*name)
}

fn take(words: &mut &[&str], wanted: &str) -> bool {
    match words.split_first() {
        Some((word, rest)) if *word == wanted => {
            *words = rest;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_met_or_not() {
        let rules =
            "[other]\nallow = [\"X\"]\n[licenses]\nallow = [\n \"MIT\",\n \"Apache-2.0\",\n]";
        let allowed = allowed(rules);
        assert_eq!(allowed.len(), 2);
        let cases = [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("Unlicense/MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("(MIT OR GPL-3.0) AND Apache-2.0", true),
            ("(GPL-3.0 AND MIT) OR GPL-2.0", false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
            ("MIT MIT", false),
            ("(MIT", false),
            ("", false),
        ];
        for (expression, expected) in cases {
            assert_eq!(permits(expression, &allowed), expected, "{expression}");
        }
    }
}
