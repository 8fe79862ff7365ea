//! Where the bytes of files lie: a folder, whose links this node serves itself, or a bucket of S3,
//! whose links lead there. Both behind the core's [`FileStorage`].
//!
//! A link is a capability: whoever holds it may put or get one file until it ends, and no token is
//! asked for. Who is given one is the core's to decide. Links to a folder are signed with keys
//! derived from the fleet's secret ([`links`]), so that any node verifies what another signed; all
//! nodes must then see the same folder.
//!
//! Bytes are streamed in both directions: a transfer takes the memory of one chunk, whatever the
//! size of the file.
//!
//! Read in this order: [`open()`], [`links`], [`folder`], [`mod@s3`].

pub mod folder;
pub mod limits;
pub mod links;
pub mod metrics;
pub mod s3;

mod headers;
mod presign;
mod s3_transport;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use syncchat_core::ports::files::FileStorage;

pub use crate::links::LinkKeys;
pub use crate::s3::S3Keys;

/// An opened storage.
pub struct OpenFiles {
    /// For the core.
    pub storage: Arc<dyn FileStorage>,
    /// What answers under [`folder::PREFIX`]; `None` if links lead elsewhere.
    pub router: Option<Router>,
    /// Where links lead, for the page's content security policy; `None`: to this server.
    pub origin: Option<String>,
}

/// Why an address did not give a storage.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address cannot be read. Says why, without what it holds.
    #[error("{0}")]
    BadAddress(String),
    /// The folder cannot be made or used.
    #[error("{path}: {cause}")]
    Folder {
        /// Which.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// The client of S3 cannot be made.
    #[error("{0}")]
    S3(String),
}

/// What an address names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `file:PATH`
    Folder(PathBuf),
    /// `s3://BUCKET?…`
    S3(s3::Bucket),
}

impl Address {
    /// Reads `file:PATH` or `s3://BUCKET?endpoint=…&region=…`.
    ///
    /// # Errors
    /// Says what was wrong, without repeating what may be a secret.
    pub fn parse(text: &str) -> Result<Address, OpenError> {
        if let Some(path) = text.strip_prefix("file:") {
            return match path.is_empty() {
                true => Err(OpenError::BadAddress("file: needs a path".into())),
                false => Ok(Address::Folder(path.into())),
            };
        }
        match text.strip_prefix("s3://") {
            Some(rest) => s3::Bucket::parse(rest).map(Address::S3),
            None => Err(OpenError::BadAddress(
                "must be file:PATH or s3://BUCKET?endpoint=…&region=…".into(),
            )),
        }
    }
}

/// Opens a storage. A folder is made if it is missing; S3 is not asked for anything yet, so that a
/// node can start before it.
///
/// # Errors
/// [`OpenError`].
pub async fn open(
    address: &Address,
    keys: LinkKeys,
    s3_keys: Option<S3Keys>,
) -> Result<OpenFiles, OpenError> {
    metrics::describe();
    match address {
        Address::Folder(path) => {
            let folder = Arc::new(folder::Folder::open(path, keys).await?);
            Ok(OpenFiles {
                router: Some(folder::router(Arc::clone(&folder))),
                storage: folder,
                origin: None,
            })
        }
        Address::S3(bucket) => Ok(OpenFiles {
            storage: Arc::new(s3::S3::open(bucket, s3_keys)?),
            router: None,
            origin: Some(bucket.origin()),
        }),
    }
}
