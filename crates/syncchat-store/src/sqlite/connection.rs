//! How a connection to the file is set up.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::limits::{
    SQLITE_BUSY_TIMEOUT, SQLITE_CHECKPOINT_PAGES, SQLITE_LOG_BYTES_MAX, SQLITE_STATEMENTS_CACHED,
};

/// Makes the file and its folder if they are missing, and has their names on the disk. The file holds
/// password hashes: only its owner may read it, and SQLite gives its companions the same mode.
pub(super) fn prepare_file(path: &Path) -> io::Result<()> {
    prepare(path, sync_folder)
}

/// SQLite syncs the folder with the first sync of a log, but not the folders above it. Without that, a
/// power cut can take a new folder away with everything that was acknowledged in it.
fn prepare(path: &Path, sync: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing = folder.ancestors().take_while(is_missing).count();
    fs::create_dir_all(folder)?;
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?;
    // One above the folder even if it was there: its maker may have died before this.
    folder
        .ancestors()
        .take(1 + missing.max(1))
        .map(|folder| match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        })
        .try_for_each(sync)
}

/// Puts the names in a folder on the disk.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // A folder that may be passed through but not read, or a system that syncs none.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::InvalidInput | ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

/// The one connection that writes: a commit returns when the log is on the disk.
pub(super) fn open_writer(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", SQLITE_CHECKPOINT_PAGES as i64)?;
    connection.pragma_update(None, "journal_size_limit", SQLITE_LOG_BYTES_MAX as i64)?;
    Ok(connection)
}

/// A connection that only reads. It sees a commit when the writer has synced it.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    // Without SQLITE_OPEN_CREATE: a file that vanished must not come back empty. Without
    // SQLITE_OPEN_URI: a path is only a path.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // Otherwise SQLite looks at the values of `LIMIT ?`, and parses and plans a kept statement anew each
    // time it is given them.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.busy_timeout(SQLITE_BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(SQLITE_STATEMENTS_CACHED);
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_new_folders_are_synced() {
        let dir = tempfile::tempdir().unwrap();
        let above = dir.path().parent().unwrap();
        let synced_for = |path: &str| {
            let mut synced = Vec::new();
            let note = |folder: &Path| {
                // The file is there before its name is synced.
                assert!(dir.path().join(path).exists());
                synced.push(folder.strip_prefix(above).unwrap().to_owned());
                sync_folder(folder)
            };
            prepare(&dir.path().join(path), note).unwrap();
            let name = dir.path().strip_prefix(above).unwrap();
            let names = synced.iter().map(|folder| folder.strip_prefix(name));
            let names =
                names.map(|name| name.map_or("..".into(), |name| name.display().to_string()));
            names.collect::<Vec<_>>()
        };
        assert_eq!(synced_for("a/b/c.db"), ["a/b", "a", ""]);
        assert_eq!(synced_for("a/b/c.db"), ["a/b", "a"]);
        assert_eq!(synced_for("c.db"), ["", ".."]);
    }

    #[test]
    fn a_folder_that_cannot_be_synced_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let failing = |_: &Path| Err(io::Error::from(ErrorKind::StorageFull));
        assert!(prepare(&dir.path().join("c.db"), failing).is_err());
    }
}
