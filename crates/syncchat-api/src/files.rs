//! `/api/files`: where to put files, and where to get them. The bytes go to the file storage and
//! come from there, by links that need no token.

use axum::extract::State;
use axum::http::header::{HOST, LOCATION, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use syncchat_contract::rest::{FileAnswer, Link, LinkAnswer, NewFile};
use syncchat_contract::scalar::Id;
use syncchat_core::model::FileId;
use syncchat_core::{Error, ErrorCode};

use crate::error::Answer;
use crate::extract::{Body, Caller, Key, PathId, json_response};
use crate::openapi::{AnyCall, BodyNeeded, CallerNeeded, Contradiction, ThingNeeded};
use crate::router::Api;

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Announces a file; the answer says where to put its bytes. Then messages can show it. Again under the same
/// `Idempotency-Key`: the file that the first call announced, with a fresh link.
#[utoipa::path(
    post,
    path = "/api/files",
    tag = "files",
    security(("bearer" = [])),
    request_body = NewFile,
    responses(
        (status = 201, description = "where the bytes go", body = FileAnswer<'static>),
        BodyNeeded, Contradiction, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn post_file(
    State(api): State<Api>,
    Caller(me): Caller,
    headers: HeaderMap,
    Key(key): Key,
    Body(body): Body<NewFile>,
) -> Answer {
    let (file, link) = api.files.announce(me, body.command()?.keyed(key)).await?;
    let url = absolute(&link.url, &headers);
    json_response(StatusCode::CREATED, &FileAnswer::new(file.id, &link, &url))
}

/// Leads to a file, for members of a conversation that shows it.
#[utoipa::path(
    get,
    path = "/api/files/{id}",
    tag = "files",
    security(("bearer" = [])),
    params(("id" = Id, Path, description = "the file")),
    responses(
        (
            status = 302,
            description = "a link that is good for some minutes",
            headers(("Location" = String, description = "where the file is"))
        ),
        ThingNeeded, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn get_file(
    State(api): State<Api>,
    Caller(me): Caller,
    PathId(id): PathId<FileId>,
) -> Answer {
    let link = api.files.download(me, id).await?;
    let location = HeaderValue::try_from(link.url).map_err(|error| {
        tracing::error!(%error, "a link is no address");
        Error::new(ErrorCode::Internal, "internal error")
    })?;
    Ok((StatusCode::FOUND, [(LOCATION, location)]).into_response())
}

/// The same link in the body, for pages: a script is not told where a redirect leads.
#[utoipa::path(
    get,
    path = "/api/files/{id}/link",
    tag = "files",
    security(("bearer" = [])),
    params(("id" = Id, Path, description = "the file")),
    responses(
        (status = 200, description = "the link", body = LinkAnswer<'static>),
        ThingNeeded, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn get_file_link(
    State(api): State<Api>,
    Caller(me): Caller,
    headers: HeaderMap,
    PathId(id): PathId<FileId>,
) -> Answer {
    let link = api.files.download(me, id).await?;
    let answer = LinkAnswer {
        link: Link {
            url: &absolute(&link.url, &headers),
            expires_at: link.expires_at.into(),
        },
    };
    json_response(StatusCode::OK, &answer)
}

/// A path of this server as the caller reaches it. What stands in front of the server may speak
/// another protocol than it does: a browser's own word is best, then the proxy's. Whoever lies
/// misleads nobody but themselves.
fn absolute(url: &str, headers: &HeaderMap) -> String {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if !url.starts_with('/') {
        return url.to_owned();
    }
    let Some(host) = text(HOST) else {
        return url.to_owned();
    };
    let origin = text(ORIGIN).filter(|origin| {
        let rest = origin.split_once("://").map(|(_, rest)| rest);
        rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host))
    });
    let scheme = match text(X_FORWARDED_PROTO) {
        Some("https") => "https",
        _ => "http",
    };
    match origin {
        Some(origin) => format!("{origin}{url}"),
        None => format!("{scheme}://{host}{url}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_where_the_caller_called() {
        let cases: [(&[(&str, &str)], &str); 5] = [
            (&[], "/a"),
            (&[("host", "h:1")], "http://h:1/a"),
            (
                &[("host", "h"), ("x-forwarded-proto", "https")],
                "https://h/a",
            ),
            (&[("host", "h"), ("origin", "https://H")], "https://H/a"),
            (&[("host", "h"), ("origin", "https://other")], "http://h/a"),
        ];
        for (given, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in given {
                let name = HeaderName::from_static(name);
                headers.insert(name, HeaderValue::from_static(value));
            }
            assert_eq!(absolute("/a", &headers), expected, "{given:?}");
        }
        let elsewhere = "https://s3.example/a";
        assert_eq!(absolute(elsewhere, &HeaderMap::new()), elsewhere);
    }
}
