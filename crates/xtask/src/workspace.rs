//! The workspace as cargo and git see it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A package of the workspace.
pub struct Package {
    /// As in its manifest.
    pub name: String,
    /// The folder of its manifest.
    pub folder: PathBuf,
    /// What the product is built from: dependencies and build dependencies, by name.
    pub uses: BTreeSet<String>,
    /// What only its tests use.
    pub tests_use: BTreeSet<String>,
}

/// A file that belongs to the project.
pub struct File {
    /// From the root, with slashes.
    pub path: String,
    /// Its content, if it is UTF-8.
    pub text: Option<String>,
}

/// Everything that is checked.
pub struct Workspace {
    /// Its folder.
    pub root: PathBuf,
    /// Its packages.
    pub packages: Vec<Package>,
    /// Its files.
    pub files: Vec<File>,
}

impl Workspace {
    /// Asks cargo and git.
    ///
    /// # Errors
    /// One of them cannot be asked.
    pub fn read() -> Result<Workspace, String> {
        let metadata = run(
            "cargo",
            &["metadata", "--no-deps", "--format-version=1", "--offline"],
        )?;
        let metadata: Value = serde_json::from_str(&metadata).map_err(|e| e.to_string())?;
        let root = PathBuf::from(text(&metadata["workspace_root"]));
        let packages = list(&metadata["packages"]).iter().map(package).collect();
        let folder = root.to_string_lossy();
        // What git knows, and what is new and not to be ignored.
        let wanted = ["--cached", "--others", "--exclude-standard"];
        let listed = [&["-C", &folder, "ls-files", "-z"][..], &wanted].concat();
        let files = run("git", &listed)?
            .split('\0')
            .filter(|path| !path.is_empty())
            // A file that was deleted and not yet committed is gone all the same.
            .filter(|path| root.join(path).is_file())
            .map(|path| File {
                path: path.to_owned(),
                text: fs::read_to_string(root.join(path)).ok(),
            })
            .collect();
        Ok(Workspace {
            root,
            packages,
            files,
        })
    }

    /// The content of a file that must be there.
    ///
    /// # Errors
    /// It is not.
    pub fn text(&self, path: &str) -> Result<&str, String> {
        self.files
            .iter()
            .find(|file| file.path == path)
            .and_then(|file| file.text.as_deref())
            .ok_or_else(|| format!("{path}: is missing"))
    }

    /// The Rust files, with their text.
    pub fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|file| {
            let text = file.text.as_deref()?;
            file.path
                .ends_with(".rs")
                .then_some((file.path.as_str(), text))
        })
    }

    /// A package's folder, from the root, with slashes.
    pub fn folder(&self, package: &Package) -> String {
        let folder = package
            .folder
            .strip_prefix(&self.root)
            .unwrap_or(&package.folder);
        folder.to_string_lossy().into_owned()
    }
}

fn package(value: &Value) -> Package {
    let of_kind = |wanted: fn(&str) -> bool| {
        list(&value["dependencies"])
            .iter()
            .filter(|dependency| wanted(dependency["kind"].as_str().unwrap_or("normal")))
            .map(|dependency| text(&dependency["name"]))
            .collect()
    };
    let manifest = text(&value["manifest_path"]);
    Package {
        name: text(&value["name"]),
        folder: Path::new(&manifest)
            .parent()
            .unwrap_or(Path::new(""))
            .into(),
        uses: of_kind(|kind| kind != "dev"),
        tests_use: of_kind(|kind| kind == "dev"),
    }
}

/// A text of JSON; empty if it is none.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A list of JSON; empty if it is none.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// What a program prints.
///
/// # Errors
/// It cannot be started, or fails.
pub fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}
