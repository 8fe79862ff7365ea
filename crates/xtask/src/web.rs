//! Builds the web client, which the binary then holds: only where there is a Node.js that can, and
//! only when something has changed.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use crate::workspace::run;

/// The oldest Node.js that builds it; `web/package.json` says the same.
const NODE_MIN: (u32, u32) = (20, 19);
/// What the build reads, in `web`.
const SOURCES: [&str; 6] = [
    "src",
    "public",
    "index.html",
    "package.json",
    "package-lock.json",
    "vite.config.ts",
];

/// Builds `web/dist` if need be, and says what was done. Packages that cannot be fetched are no
/// reason not to have a node.
///
/// # Errors
/// The build itself fails.
pub fn build() -> Result<String, String> {
    let web = Path::new("web");
    if !web.join("package.json").exists() {
        return Ok("web: there is none, the node will say so at /".into());
    }
    let Some(version) = node_version() else {
        return Ok("web: no Node.js here, the node will say so at /".into());
    };
    if version < NODE_MIN {
        let ((major, minor), (least, least_minor)) = (version, NODE_MIN);
        return Ok(format!(
            "web: Node.js {major}.{minor} is older than {least}.{least_minor}, the node will say so at /"
        ));
    }
    let built = modified(&web.join("dist/index.html"));
    let newest = SOURCES
        .iter()
        .filter_map(|name| newest(&web.join(name)))
        .max();
    if built.is_some() && built >= newest {
        return Ok("web: up to date".into());
    }
    // npm notes here when it last installed.
    let installed = modified(&web.join("node_modules/.package-lock.json"));
    if installed.is_none() || installed < modified(&web.join("package-lock.json")) {
        let installed = npm(web, &["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
        if let Err(problem) = installed {
            return Ok(format!("web: {problem}; the node will say so at /"));
        }
    }
    npm(web, &["run", "--silent", "build"])?;
    Ok("web: built".into())
}

fn node_version() -> Option<(u32, u32)> {
    let version = run("node", &["--version"]).ok()?;
    let mut parts = version.trim().trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn npm(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let status = Command::new("npm")
        .args(arguments)
        .current_dir(folder)
        .status()
        .map_err(|error| format!("npm: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("npm {}: {status}", arguments.join(" "))),
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|found| found.modified()).ok()
}

/// When the newest file at or below this path was changed.
fn newest(path: &Path) -> Option<SystemTime> {
    if !path.is_dir() {
        return modified(path);
    }
    let entries = fs::read_dir(path).ok()?;
    entries
        .filter_map(|entry| newest(&entry.ok()?.path()))
        .max()
}
