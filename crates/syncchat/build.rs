//! Puts the built web client, if there is one in `web/dist`, inside the binary: writes a table of
//! its files that `src/page.rs` includes. Without one the table is empty.

use std::collections::hash_map::DefaultHasher;
use std::error::Error;
use std::fmt::Write as _;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let built = here.join("../../web/dist");
    // Cargo runs this anew each time while a path it watches is missing: make it, empty.
    let _ = fs::create_dir_all(&built);
    println!("cargo::rerun-if-changed={}", built.display());

    let mut files = Vec::new();
    if built.join("index.html").exists() {
        collect(&built.canonicalize()?, "", &mut files)?;
        files.sort();
    }
    // Copied, so that what is compiled is what was listed, even if the client is built again
    // meanwhile.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut table = String::from("&[\n");
    for (place, (name, path)) in files.iter().enumerate() {
        let bytes = fs::read(path)?;
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let tag = format!("W/\"{:016x}\"", hasher.finish());
        let copy = out.join(format!("page-{place}"));
        fs::write(&copy, bytes)?;
        writeln!(
            table,
            "    File {{ name: {name:?}, tag: {tag:?}, bytes: include_bytes!({copy:?}) }},"
        )?;
    }
    table.push(']');
    fs::write(out.join("page.rs"), table)?;
    Ok(())
}

/// Adds the files of a folder, by their path below the first one, with slashes.
fn collect(
    folder: &Path,
    prefix: &str,
    files: &mut Vec<(String, PathBuf)>,
) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let name = format!("{prefix}/{name}");
        if path.is_dir() {
            collect(&path, &name, files)?;
        } else {
            files.push((name, path));
        }
    }
    Ok(())
}
