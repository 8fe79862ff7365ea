//! Dependencies that nobody uses, and manifests that go their own way.

use crate::workspace::{Package, Workspace};

/// Complains about dependencies that the code does not name, and about manifests without the
/// workspace's lints.
pub fn check(workspace: &Workspace) -> Result<Vec<String>, String> {
    let mut complaints = Vec::new();
    for package in &workspace.packages {
        let folder = workspace.folder(package);
        let manifest = workspace.text(&format!("{folder}/Cargo.toml"))?;
        if !manifest.contains("[lints]\nworkspace = true") {
            complaints.push(format!("{folder} does not use the workspace's lints"));
        }
        complaints.extend(unused(workspace, package, &folder));
    }
    Ok(complaints)
}

fn unused(workspace: &Workspace, package: &Package, folder: &str) -> Vec<String> {
    let product = [format!("{folder}/src/"), format!("{folder}/build.rs")];
    let everything = [format!("{folder}/")];
    let named_in = |name: &String, places: &[String]| {
        let module = name.replace('-', "_");
        workspace.rust().any(|(path, text)| {
            places.iter().any(|place| path.starts_with(place)) && mentions(text, &module)
        })
    };
    let for_product = package.uses.iter().filter(|name| !named_in(name, &product));
    let for_tests = package
        .tests_use
        .iter()
        .filter(|name| !named_in(name, &everything));
    for_product
        .chain(for_tests)
        .map(|name| format!("{folder} does not use {name}"))
        .collect()
}

/// Whether the code has this module's name, whole, followed by `::` or taken in by `use`.
fn mentions(code: &str, module: &str) -> bool {
    code.match_indices(module).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + module.len()..];
        let whole = !before.is_some_and(|c| c.is_alphanumeric() || c == '_');
        whole && (after.starts_with("::") || after.starts_with(';') || after.starts_with(" as "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_when_it_is_whole_and_used() {
        assert!(mentions("use http::Request;", "http"));
        assert!(mentions("#[tokio::test]", "tokio"));
        assert!(mentions("use time;", "time"));
        assert!(!mentions("use axum_http::x; // http", "http"));
        assert!(!mentions("let time = 1", "time"));
    }
}
