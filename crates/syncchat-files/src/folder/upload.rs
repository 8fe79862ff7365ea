//! What comes in: streamed to the disk, exactly as much as was promised, or nothing.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, ETAG, EXPECT, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use object_store::{MultipartUpload, ObjectStoreExt as _, PutPayload};
use syncchat_core::model::{FileId, Timestamp};
use tokio::time::timeout;

use super::{Folder, LEVELS, Refusal, home, whole};
use crate::limits::{
    DROPPED_BYTES_MAX, DROPPED_TIMEOUT, UPLOAD_CHUNK_BYTES, UPLOAD_IDLE_TIMEOUT, UPLOAD_TIMEOUT,
};
use crate::metrics::{Direction, Upload, moved};

impl Folder {
    /// Takes a file in. It is there, on the disk, when this answers 200; any other answer means
    /// that nothing was kept.
    pub(super) async fn receive(
        &self,
        id: FileId,
        request: Request<Body>,
    ) -> Result<Response<Body>, Refusal> {
        let (parts, mut body) = request.into_parts();
        let declared = parts
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let received = self
            .receive_body(
                id,
                parts.uri.query().unwrap_or_default(),
                declared,
                &mut body,
            )
            .await;
        let too_much = declared.is_some_and(|declared| declared > DROPPED_BYTES_MAX);
        if received.is_err() && !too_much && !parts.headers.contains_key(EXPECT) {
            let _ = timeout(DROPPED_TIMEOUT, drop_rest(body)).await;
        }
        received
    }

    async fn receive_body(
        &self,
        id: FileId,
        query: &str,
        declared: Option<u64>,
        body: &mut Body,
    ) -> Result<Response<Body>, Refusal> {
        let size = self.keys.verify_put(id, query, Timestamp::now())?;
        match declared {
            Some(declared) if declared > size => return Err(too_large()),
            Some(declared) if declared < size => return Err(too_small()),
            _ => {}
        }
        let Ok(_slot) = self.uploads.try_acquire() else {
            return Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "too many uploads at once",
            ));
        };
        let _counted = Upload::begin();
        if self.store.head(&whole(id)).await.is_ok() {
            return Err(was_uploaded());
        }
        // Under a name of its own, so that two at once do not mix.
        let part = home(id).join(FileId::generate().to_string());
        let upload = self.store.put_multipart(&part).await;
        let mut upload = upload.map_err(|error| Refusal::broken(&error))?;
        let written = match timeout(UPLOAD_TIMEOUT, write(&mut *upload, body, size)).await {
            Ok(written) => written,
            Err(_) => Err(too_slow()),
        };
        if let Err(refusal) = written {
            if let Err(error) = upload.abort().await {
                tracing::warn!(%error, "a broken upload was not removed");
            }
            return Err(refusal);
        }
        let put = upload.complete().await;
        let put = put.map_err(|error| Refusal::broken(&error))?;
        match self.store.rename_if_not_exists(&part, &whole(id)).await {
            Ok(()) => {}
            Err(object_store::Error::AlreadyExists { .. }) => {
                if let Err(error) = self.store.delete(&part).await {
                    tracing::warn!(%error, "a second upload was not removed");
                }
                return Err(was_uploaded());
            }
            Err(error) => return Err(Refusal::broken(&error)),
        }
        let synced = self.sync_names(id, LEVELS).await;
        synced.map_err(|error| Refusal::broken(&error))?;
        let mut response = Response::new(Body::empty());
        let tag = put
            .e_tag
            .map(|tag| format!("\"{}\"", tag.trim_matches('"')));
        if let Some(Ok(tag)) = tag.map(HeaderValue::try_from) {
            response.headers_mut().insert(ETAG, tag);
        }
        Ok(response)
    }
}

/// Writes chunk by chunk; the next is read when the last is with the system.
async fn write(
    upload: &mut dyn MultipartUpload,
    body: &mut Body,
    size: u64,
) -> Result<(), Refusal> {
    let (mut seen, mut chunk) = (0_u64, BytesMut::new());
    loop {
        let frame = timeout(UPLOAD_IDLE_TIMEOUT, body.frame());
        let Some(frame) = frame.await.map_err(|_| too_slow())? else {
            break;
        };
        let Ok(data) = frame.map_err(|_| cut_off())?.into_data() else {
            continue;
        };
        seen = seen.saturating_add(data.len() as u64);
        if seen > size {
            return Err(too_large());
        }
        moved(Direction::Up, data.len());
        chunk.extend_from_slice(&data);
        if chunk.len() >= UPLOAD_CHUNK_BYTES {
            flush(upload, chunk.split().freeze()).await?;
        }
    }
    if seen < size {
        return Err(too_small());
    }
    flush(upload, chunk.freeze()).await
}

async fn flush(upload: &mut dyn MultipartUpload, chunk: Bytes) -> Result<(), Refusal> {
    if chunk.is_empty() {
        return Ok(());
    }
    upload
        .put_part(PutPayload::from_bytes(chunk))
        .await
        .map_err(|error| Refusal::broken(&error))
}

/// Reads what a client still sends, up to a bound, so that it comes to read its answer.
async fn drop_rest(mut body: Body) {
    let mut dropped = 0;
    while dropped < DROPPED_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        dropped += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
}

fn too_large() -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        "more bytes than were announced",
    )
}

fn too_small() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "invalid",
        "fewer bytes than were announced",
    )
}

fn cut_off() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "invalid",
        "the file did not arrive whole",
    )
}

fn too_slow() -> Refusal {
    Refusal::new(
        StatusCode::REQUEST_TIMEOUT,
        "invalid",
        "the upload took too long",
    )
}

fn was_uploaded() -> Refusal {
    Refusal::new(
        StatusCode::CONFLICT,
        "conflict",
        "this file was uploaded before",
    )
}
