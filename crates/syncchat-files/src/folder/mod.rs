//! Files in a folder of this machine, or of a network that all nodes share.
//!
//! A file lies in a folder of its own, named by its id and never by what its owner calls it. What is
//! uploaded gets its place when all of it is there and on the disk, and only if nothing is there
//! yet: nobody sees half of a file, and nobody can change one that was sent.

mod download;
mod upload;

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    RETRY_AFTER, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{Method, Request, Response, StatusCode};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use syncchat_core::model::{FileId, StoredFile, Timestamp};
use syncchat_core::ports::files::{FileLink, FileStorage, StorageError, StorageResult};
use tokio::sync::Semaphore;

use crate::OpenError;
use crate::limits::{self, UPLOADS_MAX};
use crate::links::{BadLink, LinkKeys, Permit};
use crate::metrics::{Direction, transferred};

/// What the paths of links begin with.
pub const PREFIX: &str = "/files";

/// The name of the whole file in its folder.
const WHOLE: &str = "bytes";

/// Folders that hold a name on the way to a file: its own, the one that it shares with others, and the
/// root.
const LEVELS: usize = 3;

/// A folder of files.
pub struct Folder {
    root: PathBuf,
    store: LocalFileSystem,
    keys: LinkKeys,
    uploads: Semaphore,
    /// Puts the names in a folder on the disk.
    sync: SyncFolder,
}

type SyncFolder = fn(&FsPath) -> io::Result<()>;

fn sync_folder(folder: &FsPath) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

impl Folder {
    /// Opens a folder; makes it, for its owner only, if it is missing.
    ///
    /// # Errors
    /// It cannot be made, or is none.
    pub async fn open(path: &FsPath, keys: LinkKeys) -> Result<Folder, OpenError> {
        let failed = |cause| OpenError::Folder {
            path: path.display().to_string(),
            cause,
        };
        let root = path.to_owned();
        let made = tokio::task::spawn_blocking(move || {
            let is_missing = |folder: &&FsPath| !folder.as_os_str().is_empty() && !folder.exists();
            let missing = root.ancestors().take_while(is_missing).count();
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&root)?;
            let root = root.canonicalize()?;
            // The names of the folders that were made, so that a power cut does not take them away.
            let holders = root.ancestors().skip(1).take(missing);
            holders.into_iter().try_for_each(sync_folder)?;
            Ok(root)
        });
        let root = made.await.map_err(std::io::Error::other);
        let root = root.flatten().map_err(failed)?;
        let store = LocalFileSystem::new_with_prefix(&root)
            .map_err(|error| failed(std::io::Error::other(error)))?
            .with_fsync(true);
        Ok(Folder {
            root,
            store,
            keys,
            uploads: Semaphore::new(UPLOADS_MAX),
            sync: sync_folder,
        })
    }

    /// Has the name of a file on the disk, and the names of the folders on the way to it: `so_many` of
    /// [`LEVELS`], from the root on. Another upload may have made one of them and not synced it yet, or
    /// its node may have died before it did.
    async fn sync_names(&self, id: FileId, so_many: usize) -> io::Result<()> {
        let (home, sync) = (self.root.join(home(id).as_ref()), self.sync);
        let synced = tokio::task::spawn_blocking(move || {
            let folders = home.ancestors().take(LEVELS);
            folders.skip(LEVELS - so_many).try_for_each(sync)
        });
        synced.await.map_err(io::Error::other)?
    }

    fn link(&self, id: FileId, permit: &Permit, span: Duration) -> FileLink {
        let expires_at = Timestamp::now().plus(span);
        FileLink {
            url: format!("{PREFIX}/{id}?{}", self.keys.sign(id, permit, expires_at)),
            headers: Vec::new(),
            expires_at,
        }
    }
}

/// The folder of a file: 256 of them share a folder's folder, by the fastest digits of the id.
fn home(id: FileId) -> Path {
    let id = id.to_string();
    let shelf = id[id.len() - 2..].to_owned();
    Path::from_iter([shelf, id])
}

fn whole(id: FileId) -> Path {
    home(id).join(WHOLE)
}

fn storage_error(error: object_store::Error) -> StorageError {
    StorageError(error.to_string())
}

#[async_trait]
impl FileStorage for Folder {
    async fn upload_link(&self, file: &StoredFile, span: Duration) -> StorageResult<FileLink> {
        Ok(self.link(file.id, &Permit::Put { size: file.size }, span))
    }

    async fn download_link(&self, file: &StoredFile, span: Duration) -> StorageResult<FileLink> {
        let permit = Permit::Get {
            name: file.name.clone(),
            content_type: file.content_type.clone(),
        };
        Ok(self.link(file.id, &permit, span))
    }

    async fn size(&self, id: FileId) -> StorageResult<Option<u64>> {
        let size = match self.store.head(&whole(id)).await {
            Ok(meta) => meta.size,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(storage_error(error)),
        };
        // What is said here is taken for stored, and the upload may have ended before its last sync.
        match self.sync_names(id, LEVELS).await {
            Ok(()) => Ok(Some(size)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError(error.to_string())),
        }
    }

    async fn delete(&self, id: FileId) -> StorageResult<()> {
        // The whole folder of the file, for it also holds what is left of uploads that were cut off.
        let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let removed = tokio::fs::remove_dir_all(self.root.join(home(id).as_ref())).await;
        let synced = match removed {
            Err(error) if !missing(&error) => Err(error),
            // Also if it was gone, for that may not be on the disk: a power cut would bring it back when
            // nothing is left that deletes it.
            _ => self.sync_names(id, LEVELS - 1).await,
        };
        match synced {
            Err(error) if !missing(&error) => Err(StorageError(error.to_string())),
            _ => Ok(()),
        }
    }

    async fn check(&self) -> StorageResult<String> {
        let probe = home(FileId::generate()).join("probe");
        let put = self.store.put(&probe, PutPayload::from_static(b"probe"));
        put.await.map_err(storage_error)?;
        let folder = self.root.join(probe.as_ref());
        let removed = match folder.parent() {
            Some(folder) => tokio::fs::remove_dir_all(folder).await,
            None => Ok(()),
        };
        removed.map_err(|error| StorageError(error.to_string()))?;
        Ok("a folder that can be written".into())
    }
}

/// Why a transfer was refused: a status, and the contract's code and words.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: &'static str) -> Refusal {
        Refusal {
            status,
            code,
            message,
        }
    }

    fn no_such_file() -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, "not_found", "no such file")
    }

    /// The disk does not do what it should.
    fn broken(error: &dyn std::error::Error) -> Refusal {
        tracing::error!(%error, "the folder of files cannot be used");
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "the file storage does not answer",
        )
    }
}

impl From<BadLink> for Refusal {
    fn from(bad: BadLink) -> Refusal {
        let message = match bad {
            BadLink::Forged => "this link is not good",
            BadLink::Expired => "this link has ended: ask for a new one",
        };
        Refusal::new(StatusCode::FORBIDDEN, "forbidden", message)
    }
}

impl From<Refusal> for Response<Body> {
    fn from(refusal: Refusal) -> Response<Body> {
        let Refusal {
            status,
            code,
            message,
        } = refusal;
        // Both are words of ours, without anything to escape.
        let body = format!("{{\"error\":{{\"code\":\"{code}\",\"message\":\"{message}\"}}}}");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, limits::RETRY_AFTER.as_secs().into());
        }
        response
    }
}

/// Serves the links of a folder under [`PREFIX`]. Any other path answers 404.
pub fn router(folder: Arc<Folder>) -> Router {
    Router::new()
        .route(
            &format!("{PREFIX}/{{id}}"),
            get(serve).put(serve).fallback(async || -> Response<Body> {
                let method = StatusCode::METHOD_NOT_ALLOWED;
                Refusal::new(method, "invalid", "this method is not allowed here").into()
            }),
        )
        .fallback(async || -> Response<Body> { Refusal::no_such_file().into() })
        .with_state(folder)
}

/// Whatever lies in the file: it is not to be guessed at, framed, or run. A browser that is led to sound, film or a
/// picture makes a document of its own around it, which loads the file once more: that it may.
const HARDENED: [(HeaderName, &str); 4] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; \
         frame-ancestors 'none'; sandbox",
    ),
];

async fn serve(
    State(folder): State<Arc<Folder>>,
    UrlPath(id): UrlPath<String>,
    request: Request<Body>,
) -> Response<Body> {
    let (direction, answer) = match (id.parse(), request.method() == Method::PUT) {
        (Err(_), _) => (Direction::Down, Err(Refusal::no_such_file())),
        (Ok(id), true) => (Direction::Up, folder.receive(id, request).await),
        (Ok(id), false) => (Direction::Down, folder.deliver(id, request).await),
    };
    let mut response = answer.unwrap_or_else(Response::from);
    transferred(direction, response.status().as_u16());
    for (name, value) in HARDENED {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Mutex;

    use super::*;

    static SYNCED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

    fn keys() -> LinkKeys {
        LinkKeys::new(vec![[1; 32]]).unwrap()
    }

    async fn upload(folder: &Folder, id: FileId) -> StatusCode {
        let later = Timestamp::now().plus(Duration::from_secs(60));
        let query = keys().sign(id, &Permit::Put { size: 5 }, later);
        let request = Request::put(format!("{PREFIX}/{id}?{query}")).body("bytes".into());
        match folder.receive(id, request.unwrap()).await {
            Ok(response) => response.status(),
            Err(refusal) => refusal.status,
        }
    }

    #[tokio::test]
    async fn every_name_on_the_way_to_a_file_is_synced() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(&dir.path().join("a/b"), keys()).await.unwrap();
        folder.sync = |folder| {
            SYNCED.lock().unwrap().push(folder.to_owned());
            sync_folder(folder)
        };
        let id = FileId::generate();
        let home = folder.root.join(home(id).as_ref());
        let shelf = home.parent().unwrap().to_owned();
        // As another upload makes them that has not come to its sync.
        fs::create_dir_all(&home).unwrap();
        let synced = || std::mem::take(&mut *SYNCED.lock().unwrap());
        let way = vec![home, shelf, folder.root.clone()];
        assert_eq!(upload(&folder, id).await, StatusCode::OK);
        assert_eq!(synced(), way);
        assert_eq!(folder.size(id).await.unwrap(), Some(5));
        assert_eq!(synced(), way);
        folder.delete(id).await.unwrap();
        assert_eq!(synced(), way[1..]);
        assert_eq!(folder.size(id).await.unwrap(), None);
        folder.delete(id).await.unwrap();
    }

    #[tokio::test]
    async fn what_cannot_be_synced_is_not_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(dir.path(), keys()).await.unwrap();
        folder.sync = |_| Err(io::ErrorKind::StorageFull.into());
        let id = FileId::generate();
        assert_eq!(upload(&folder, id).await, StatusCode::SERVICE_UNAVAILABLE);
        assert!(folder.size(id).await.is_err());
        assert!(folder.delete(id).await.is_err());
        assert!(folder.delete(id).await.is_err(), "the next try syncs too");
    }
}
