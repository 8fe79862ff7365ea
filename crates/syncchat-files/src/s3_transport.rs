//! HTTP/1.1 to S3, by the HTTP and TLS libraries that the rest of the program is built on.
//!
//! `object_store` knows S3's protocol and takes the transport from outside. Its own transport is a
//! second HTTP client with HTTP/2, for six packages more to compile. Nodes send S3 only questions and
//! deletions, a few a second, so one pool of HTTP/1.1 connections is enough. No proxy of the
//! environment is used.

use std::error::Error;

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as Tcp;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpService,
};
use rustls::{ClientConfig, RootCertStore};

use crate::OpenError;
use crate::limits::{
    S3_ANSWER_BYTES_MAX, S3_CONNECT_TIMEOUT, S3_IDLE_CONNECTIONS_MAX, S3_IDLE_TIMEOUT,
    S3_REQUEST_TIMEOUT,
};

/// A pool of connections. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    client: Client<HttpsConnector<Tcp>, HttpRequestBody>,
}

impl Transport {
    /// A transport that trusts the authorities of this system; no connection is made yet.
    ///
    /// # Errors
    /// The system has no authority, and `needs_tls` says that one will be needed.
    pub(crate) fn new(needs_tls: bool) -> Result<Transport, OpenError> {
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls(needs_tls)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp());
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(S3_IDLE_TIMEOUT)
            .pool_max_idle_per_host(S3_IDLE_CONNECTIONS_MAX)
            .build(https);
        Ok(Transport { client })
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.client.request(request).await.map_err(|error| {
            let kind = match error.is_connect() {
                true => HttpErrorKind::Connect,
                false => kind_of(&error),
            };
            HttpError::new(kind, error)
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, S3_ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| HttpError::new_boxed(HttpErrorKind::Interrupted, error))?;
        Ok(HttpResponse::from_parts(head, body.to_bytes().into()))
    }
}

fn tcp() -> Tcp {
    let mut tcp = Tcp::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(S3_CONNECT_TIMEOUT));
    tcp.set_nodelay(true);
    tcp
}

fn tls(needed: bool) -> Result<ClientConfig, OpenError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if needed && added == 0 {
        let why = found.errors.first().map(ToString::to_string);
        return Err(OpenError::S3(format!(
            "https needs certificate authorities, and this system has none: {}",
            why.unwrap_or_else(|| "none was found".into())
        )));
    }
    Ok(ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// What went wrong after the connection stood, as `object_store` decides on retries.
fn kind_of(error: &(dyn Error + 'static)) -> HttpErrorKind {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_timeout() {
                return HttpErrorKind::Timeout;
            }
            if error.is_closed() || error.is_incomplete_message() || error.is_body_write_aborted() {
                return HttpErrorKind::Request;
            }
        }
        if error.is::<std::io::Error>() {
            return HttpErrorKind::Interrupted;
        }
        cause = error.source();
    }
    HttpErrorKind::Unknown
}

#[async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        match tokio::time::timeout(S3_REQUEST_TIMEOUT, self.exchange(request)).await {
            Ok(outcome) => outcome,
            Err(late) => Err(HttpError::new(HttpErrorKind::Timeout, late)),
        }
    }
}

impl HttpConnector for Transport {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}
