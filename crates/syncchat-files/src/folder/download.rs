//! What goes out: whole or a range of it, streamed from the disk.

use std::io::SeekFrom;
use std::ops::Range;

use axum::body::Body;
use futures_util::TryStreamExt as _;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use object_store::{GetOptions, GetResultPayload, ObjectStore as _};
use syncchat_core::model::{FileId, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::{Folder, Refusal, whole};
use crate::headers::disposition;
use crate::limits::DOWNLOAD_CHUNK_BYTES;
use crate::links::{BadLink, Permit};
use crate::metrics::{Direction, moved};

impl Folder {
    /// Gives a file out, as its link says.
    pub(super) async fn deliver(
        &self,
        id: FileId,
        request: Request<Body>,
    ) -> Result<Response<Body>, Refusal> {
        let query = request.uri().query().unwrap_or_default();
        let now = Timestamp::now();
        let (permit, expires_at) = self.keys.verify_get(id, query, now)?;
        let Permit::Get { name, content_type } = permit else {
            return Err(BadLink::Forged.into());
        };
        let found = self.store.get_opts(&whole(id), GetOptions::new()).await;
        let found = match found {
            Err(object_store::Error::NotFound { .. }) => return Err(Refusal::no_such_file()),
            found => found.map_err(|error| Refusal::broken(&error))?,
        };
        let size = found.meta.size;
        // A file never changes once it is there.
        let tag = format!("\"{id}\"");
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        let age = expires_at.since(now).as_secs();
        put(headers, ACCEPT_RANGES, "bytes");
        put(headers, ETAG, &tag);
        put(headers, CACHE_CONTROL, &format!("private, max-age={age}"));
        if has_it(request.headers(), &tag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
        put(headers, CONTENT_TYPE, &content_type);
        put(
            headers,
            CONTENT_DISPOSITION,
            &disposition(&name, &content_type),
        );
        let range = match wanted(request.headers(), &tag, size) {
            Wanted::Whole => 0..size,
            Wanted::Part(range) => {
                let text = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                put(headers, CONTENT_RANGE, &text);
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                range
            }
            Wanted::Nothing => {
                let mut refused: Response<Body> = Refusal::new(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    "invalid",
                    "the file has no such range",
                )
                .into();
                put(
                    refused.headers_mut(),
                    CONTENT_RANGE,
                    &format!("bytes */{size}"),
                );
                return Ok(refused);
            }
        };
        let length = range.end - range.start;
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        if request.method() != Method::HEAD {
            let opened = open(found.payload, range).await;
            *response.body_mut() = opened.map_err(|error| Refusal::broken(&error))?;
        }
        Ok(response)
    }
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    Part(Range<u64>),
    Nothing,
}

/// Several ranges at once are answered with the whole, as RFC 9110 allows; so is what is no range.
fn wanted(headers: &HeaderMap, tag: &str, size: u64) -> Wanted {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(range) = text(RANGE) else {
        return Wanted::Whole;
    };
    if text(IF_RANGE).is_some_and(|known| known != tag) {
        return Wanted::Whole;
    }
    let Ok(ranges) = http_range_header::parse_range_header(range) else {
        return Wanted::Whole;
    };
    if ranges.ranges.len() > 1 {
        return Wanted::Whole;
    }
    match ranges
        .validate(size)
        .ok()
        .and_then(|mut ranges| ranges.pop())
    {
        Some(range) => Wanted::Part(*range.start()..range.end() + 1),
        None => Wanted::Nothing,
    }
}

fn has_it(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| matches!(known.trim().trim_start_matches("W/"), "*") || known.trim() == tag)
}

async fn open(payload: GetResultPayload, range: Range<u64>) -> std::io::Result<Body> {
    let length = range.end - range.start;
    let GetResultPayload::File(file, _) = payload else {
        return Err(std::io::Error::other("a folder holds files"));
    };
    let mut file = tokio::fs::File::from_std(file);
    file.seek(SeekFrom::Start(range.start)).await?;
    let chunks = ReaderStream::with_capacity(file.take(length), DOWNLOAD_CHUNK_BYTES);
    Ok(Body::from_stream(chunks.inspect_ok(|chunk| {
        moved(Direction::Down, chunk.len());
    })))
}

/// Sets a header, if its text can be one.
fn put(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
