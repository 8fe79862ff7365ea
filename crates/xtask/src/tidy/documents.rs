//! Documents that speak of what is not there.

use std::path::Path;

use crate::workspace::Workspace;

/// Complains about links to files that do not exist, about targets of `make` that are not in the
/// Makefile, and about crates that the architecture leaves out.
pub fn check(workspace: &Workspace) -> Result<Vec<String>, String> {
    let mut complaints = Vec::new();
    let makefile = workspace.text("Makefile")?;
    for file in workspace
        .files
        .iter()
        .filter(|file| file.path.ends_with(".md"))
    {
        let Some(text) = &file.text else {
            complaints.push(format!("{}: is no UTF-8", file.path));
            continue;
        };
        let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
        for link in links(text) {
            if !workspace.root.join(folder).join(link).exists() {
                complaints.push(format!("{}: {link} does not exist", file.path));
            }
        }
        for target in make_targets(text) {
            if !makefile
                .lines()
                .any(|line| line.starts_with(&format!("{target}:")))
            {
                complaints.push(format!("{}: make {target} does not exist", file.path));
            }
        }
    }
    let architecture = workspace.text("docs/architecture.md")?;
    for package in &workspace.packages {
        let short = package.name.trim_start_matches("syncchat-");
        let is_ours = workspace.folder(package).starts_with("crates/syncchat");
        if is_ours && !architecture.contains(&format!("| `{short}` |")) {
            complaints.push(format!("docs/architecture.md: no row for {short}"));
        }
    }
    Ok(complaints)
}

/// The targets of Markdown links that lead to files, without their anchors.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| {
        let link = rest.split([')', ' ', '#']).next()?;
        let leads_away = link.contains("://") || link.starts_with("mailto:");
        (!link.is_empty() && !leads_away).then_some(link)
    })
}

/// What stands after "make" in code.
fn make_targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("`make ").skip(1).filter_map(|rest| {
        let target = rest
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
            .next()?;
        (!target.is_empty()).then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_document_promises() {
        let text = "[a](docs/a.md#x), [b](https://b) `make run` and `make test FOO=1`";
        assert_eq!(links(text).collect::<Vec<_>>(), ["docs/a.md"]);
        assert_eq!(make_targets(text).collect::<Vec<_>>(), ["run", "test"]);
    }
}
