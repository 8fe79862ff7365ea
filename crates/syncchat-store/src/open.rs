//! From an address to a store.

use std::path::PathBuf;
use std::sync::Arc;

use syncchat_core::ports::store::{Store, StoreError};

use crate::mongo::MongoStore;
use crate::sqlite::SqliteStore;

/// Why an address did not give a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address begins with something else than `sqlite:` or `mongodb:`.
    #[error("unknown kind of store `{0}`: must be sqlite or mongodb")]
    UnknownScheme(String),
    /// The rest of the address cannot be read. Says why, without what it holds.
    #[error("store address: {0}")]
    BadAddress(String),
    /// The file was written by a newer release.
    #[error("store has schema version {found}, this release knows {known}: use a newer release")]
    Newer {
        /// What the file says.
        found: i64,
        /// What this release can read.
        known: i64,
    },
    /// The store is there and cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens the store at `sqlite:PATH` or `mongodb://…`; with the feature `memory` also `memory:`,
/// which keeps everything in memory, forgets it at the end, and is bounded by nothing.
///
/// A SQLite file is made if it is missing, its folder too, and brought to this release's schema.
/// MongoDB is not waited for: calls say `unavailable` until it answers, so that a node can start
/// before its store.
///
/// # Errors
/// [`OpenError`]; its text never holds what may be a password.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, OpenError> {
    #[cfg(feature = "memory")]
    if url == "memory:" {
        return Ok(Arc::new(syncchat_core::testing::MemoryStore::new(0)));
    }
    match parse(url)? {
        Address::Sqlite(path) => Ok(Arc::new(SqliteStore::open(path).await?)),
        Address::Mongo(url) => Ok(Arc::new(MongoStore::open(&url).await?)),
    }
}

/// What an address names.
#[derive(Debug, PartialEq, Eq)]
enum Address {
    /// A file.
    Sqlite(PathBuf),
    /// A connection string, whole.
    Mongo(String),
}

fn parse(url: &str) -> Result<Address, OpenError> {
    // Without a colon the whole text could be anything, a pasted password too: it is not repeated.
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(OpenError::BadAddress(
            "must be sqlite:PATH or mongodb://HOSTS/DATABASE".into(),
        ));
    };
    match scheme {
        "sqlite" if rest.is_empty() => Err(OpenError::BadAddress("sqlite: needs a path".into())),
        "sqlite" => Ok(Address::Sqlite(PathBuf::from(rest))),
        "mongodb" | "mongodb+srv" => Ok(Address::Mongo(url.into())),
        other => Err(OpenError::UnknownScheme(other.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_scheme_and_never_the_rest() {
        let error = parse("postgres://me:secret@host/db")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("postgres") && !error.contains("secret"),
            "{error}"
        );
        let error = parse("secret").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
        assert!(parse("sqlite:").is_err());
        assert_eq!(
            parse("sqlite:data/x.db").unwrap(),
            Address::Sqlite("data/x.db".into())
        );
    }
}
