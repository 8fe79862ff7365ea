//! Files in a bucket of S3, or of anything that speaks its protocol. Clients put and get the bytes
//! there; this node only signs, asks and deletes.
//!
//! The link to upload signs length and type with the rest, so that the bucket refuses another
//! length. It also signs `If-None-Match: *`: a bucket that knows it refuses to change a file that is
//! there; one that does not lets the holder of the link change it until the link ends.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStoreExt as _, PutPayload, RetryConfig};
use syncchat_core::model::{FileId, StoredFile, Timestamp};
use syncchat_core::ports::files::{FileLink, FileStorage, StorageError, StorageResult};

use crate::OpenError;
use crate::headers::disposition;
use crate::limits::{S3_REQUEST_TIMEOUT, S3_RETRIES_MAX};
use crate::presign::Presign;
use crate::s3_transport::Transport;

/// Which bucket, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Before every key; may be empty.
    pub prefix: String,
    /// Where requests go; `None`: to Amazon.
    pub endpoint: Option<String>,
    /// Where clients find it, if that differs.
    pub public_endpoint: Option<String>,
    /// Its region.
    pub region: Option<String>,
    /// Whether the bucket's name is part of the host's, not of the path.
    pub virtual_hosted: bool,
}

/// Which account; `None` of these: what the usual `AWS_…` variables and roles give.
#[derive(Clone)]
pub struct S3Keys {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: String,
}

impl fmt::Debug for S3Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("S3Keys(…)")
    }
}

const REGION_DEFAULT: &str = "us-east-1";

impl Bucket {
    /// Reads `BUCKET[/PREFIX][?endpoint=…&region=…&public-endpoint=…&virtual-hosted=true]`.
    pub(crate) fn parse(text: &str) -> Result<Bucket, OpenError> {
        let bad = |why: &str| Err(OpenError::BadAddress(format!("s3: {why}")));
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
        let fits = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
        if !(3..=255).contains(&name.len()) || !name.bytes().all(fits) {
            return bad("needs the name of a bucket");
        }
        let mut bucket = Bucket {
            name: name.into(),
            prefix: prefix.trim_matches('/').into(),
            ..Bucket::default()
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match name.as_ref() {
                "endpoint" => bucket.endpoint = Some(endpoint(&value)?),
                "public-endpoint" => bucket.public_endpoint = Some(endpoint(&value)?),
                "region" if !value.is_empty() => bucket.region = Some(value),
                "virtual-hosted" if ["true", "false"].contains(&value.as_str()) => {
                    bucket.virtual_hosted = value == "true";
                }
                "region" | "virtual-hosted" => {
                    return bad("a parameter has a value it cannot have");
                }
                _ => {
                    return bad(
                        "knows the parameters endpoint, region, public-endpoint and virtual-hosted",
                    );
                }
            }
        }
        Ok(bucket)
    }

    /// Where a browser is led, as a content security policy names it.
    pub fn origin(&self) -> String {
        let endpoint = self.public_endpoint.as_ref().or(self.endpoint.as_ref());
        let region = self.region();
        match endpoint {
            Some(endpoint) => endpoint.clone(),
            None if self.virtual_hosted => {
                format!("https://{}.s3.{region}.amazonaws.com", self.name)
            }
            None => format!("https://s3.{region}.amazonaws.com"),
        }
    }

    fn region(&self) -> &str {
        self.region.as_deref().unwrap_or(REGION_DEFAULT)
    }

    /// Whether requests to it go over TLS.
    fn needs_tls(&self) -> bool {
        self.endpoint
            .as_ref()
            .is_none_or(|url| url.starts_with("https://"))
    }

    fn client(&self, keys: Option<&S3Keys>, transport: Transport) -> AmazonS3Builder {
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&self.name)
            .with_region(self.region())
            .with_virtual_hosted_style_request(self.virtual_hosted)
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(100),
                    max_backoff: Duration::from_millis(500),
                    base: 2.0,
                },
                max_retries: S3_RETRIES_MAX,
                retry_timeout: S3_REQUEST_TIMEOUT,
            })
            .with_http_connector(transport)
            .with_client_options(ClientOptions::new().with_allow_http(!self.needs_tls()));
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(keys) = keys {
            builder = builder
                .with_access_key_id(&keys.access_key_id)
                .with_secret_access_key(&keys.secret_access_key);
        }
        builder
    }
}

/// `http(s)://host[:port]`, nothing else: it goes into a content security policy.
fn endpoint(text: &str) -> Result<String, OpenError> {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .map(|host| host.trim_end_matches('/'));
    let fits = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    match host {
        Some(host) if !host.is_empty() && host.bytes().all(fits) => {
            Ok(text.trim_end_matches('/').to_ascii_lowercase())
        }
        _ => Err(OpenError::BadAddress(
            "s3: endpoint must be http(s)://host[:port]".into(),
        )),
    }
}

/// A bucket of files.
pub struct S3 {
    bucket: Bucket,
    client: AmazonS3,
}

impl S3 {
    /// Makes the clients; no request is sent.
    ///
    /// # Errors
    /// The settings contradict one another.
    pub fn open(bucket: &Bucket, keys: Option<S3Keys>) -> Result<S3, OpenError> {
        // If a provider is there already, it is this one: the program has no other.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let transport = Transport::new(bucket.needs_tls())?;
        let client = bucket
            .client(keys.as_ref(), transport)
            .build()
            .map_err(|error| OpenError::S3(error.to_string()))?;
        Ok(S3 {
            bucket: bucket.clone(),
            client,
        })
    }

    fn key(&self, name: &str) -> Path {
        let prefix = self
            .bucket
            .prefix
            .split('/')
            .filter(|part| !part.is_empty());
        Path::from_iter(prefix.chain([name]))
    }

    /// A link to the bytes of a file.
    async fn sign(
        &self,
        method: &str,
        id: FileId,
        span: Duration,
        headers: &[(&str, &str)],
        query: &[(&str, &str)],
    ) -> StorageResult<FileLink> {
        let credentials = self.client.credentials().get_credential().await;
        let credentials = credentials.map_err(storage_error)?;
        let at = Timestamp::now();
        let key = self.key(&id.to_string());
        let path = match self.bucket.virtual_hosted {
            true => format!("/{key}"),
            false => format!("/{}/{key}", self.bucket.name),
        };
        let presign = Presign {
            method,
            origin: &self.bucket.origin(),
            path: &path,
            region: self.bucket.region(),
            key_id: &credentials.key_id,
            secret: &credentials.secret_key,
            token: credentials.token.as_deref(),
            at,
            span,
            headers,
            query,
        };
        Ok(FileLink {
            url: presign.url(),
            headers: Vec::new(),
            expires_at: at.plus(span),
        })
    }
}

fn storage_error(error: object_store::Error) -> StorageError {
    // The whole chain of causes, for an operator; links and keys are in none of them.
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    StorageError(text)
}

#[async_trait]
impl FileStorage for S3 {
    async fn upload_link(&self, file: &StoredFile, span: Duration) -> StorageResult<FileLink> {
        let size = file.size.to_string();
        let signed = [
            ("content-length", size.as_str()),
            ("content-type", file.content_type.as_str()),
            ("if-none-match", "*"),
        ];
        let link = self.sign("PUT", file.id, span, &signed, &[]).await?;
        Ok(FileLink {
            // Every client sends the length of its own accord; a browser lets nobody set it.
            headers: vec![
                ("Content-Type".into(), file.content_type.clone()),
                ("If-None-Match".into(), "*".into()),
            ],
            ..link
        })
    }

    async fn download_link(&self, file: &StoredFile, span: Duration) -> StorageResult<FileLink> {
        let disposition = disposition(&file.name, &file.content_type);
        let query = [
            ("response-content-type", file.content_type.as_str()),
            ("response-content-disposition", disposition.as_str()),
        ];
        self.sign("GET", file.id, span, &[], &query).await
    }

    async fn size(&self, id: FileId) -> StorageResult<Option<u64>> {
        match self.client.head(&self.key(&id.to_string())).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(storage_error(error)),
        }
    }

    async fn delete(&self, id: FileId) -> StorageResult<()> {
        match self.client.delete(&self.key(&id.to_string())).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(storage_error(error)),
        }
    }

    async fn check(&self) -> StorageResult<String> {
        let probe = self.key(&format!("probe-{}", FileId::generate()));
        let put = self.client.put(&probe, PutPayload::from_static(b"probe"));
        put.await.map_err(storage_error)?;
        self.client.delete(&probe).await.map_err(storage_error)?;
        Ok(format!("bucket {} can be written", self.bucket.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_nothing_is_ignored() {
        let full = Bucket::parse(
            "chat/a/b?endpoint=http%3A%2F%2F127.0.0.1:4570/&region=eu-1&virtual-hosted=false",
        );
        let full = full.unwrap();
        assert_eq!(full.endpoint.as_deref(), Some("http://127.0.0.1:4570"));
        assert_eq!((full.name.as_str(), full.prefix.as_str()), ("chat", "a/b"));
        assert_eq!(full.origin(), "http://127.0.0.1:4570");
        let bare = Bucket::parse("chat?region=eu-1").unwrap();
        assert_eq!(bare.origin(), "https://s3.eu-1.amazonaws.com");
        for bad in [
            "",
            "a",
            "a b c",
            "chat?endpoint=ftp://x",
            "chat?endpoint=http://x/y",
            "chat?endpoint=http://x;script-src",
            "chat?key=secret",
            "chat?virtual-hosted=perhaps",
            "chat?region=",
        ] {
            let error = Bucket::parse(bad).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
