//! Where a server is, and whom to believe that it is the one.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::Failure;

/// A server, as a URL names it: `http://HOST[:PORT]`, or `https://` where TLS is spoken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    /// A name or an address; one of IPv6 in brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// https and wss.
    pub(crate) secure: bool,
}

impl FromStr for Address {
    type Err = Failure;

    fn from_str(url: &str) -> Result<Address, Failure> {
        let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("{url}: must begin with http:// or https://").into()),
        };
        if uri.path_and_query().is_some_and(|rest| rest != "/") {
            return Err(format!("{url}: a server has no path").into());
        }
        let host = uri.host().ok_or_else(|| format!("{url}: no host"))?;
        Ok(Address {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            secure,
        })
    }
}

/// As TCP and the Host header name it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Address {
    /// What paths of REST follow.
    pub(crate) fn url(&self) -> String {
        match self.secure {
            true => format!("https://{self}"),
            false => format!("http://{self}"),
        }
    }

    /// The name or address that its certificate must hold.
    pub(crate) fn name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// Whose word is taken for certificates: those of `--ca`, else those of this system.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Trust {
    /// Certificates of authorities, PEM.
    pub(crate) ca: Option<String>,
}

impl Trust {
    /// For sockets.
    ///
    /// # Errors
    /// There is no certificate to start from.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>, Failure> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate)?;
        }
        let config = ClientConfig::builder().with_root_certificates(roots);
        Ok(Arc::new(config.with_no_client_auth()))
    }

    /// For REST.
    ///
    /// # Errors
    /// As for sockets.
    pub(crate) fn rest(&self) -> Result<TlsConfig, Failure> {
        let certificates = self.certificates()?;
        let certificates: Vec<Certificate<'static>> = certificates
            .iter()
            .map(|der| Certificate::from_der(der).to_owned())
            .collect();
        let roots = RootCerts::Specific(Arc::new(certificates));
        Ok(TlsConfig::builder().root_certs(roots).build())
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Failure> {
        let certificates = match &self.ca {
            Some(pem) => CertificateDer::pem_slice_iter(pem.as_bytes())
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| format!("--ca: {error}"))?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        match certificates.is_empty() {
            true => {
                Err("no certificate of an authority: name a file that has one with --ca".into())
            }
            false => Ok(certificates),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_where_a_server_is() {
        let read = |url: &str| url.parse::<Address>();
        let plain = read("http://127.0.0.1:8080").unwrap();
        assert_eq!(plain.to_string(), "127.0.0.1:8080");
        assert_eq!(plain.url(), "http://127.0.0.1:8080");
        assert!(!plain.secure);
        let secure = read("https://chat.example/").unwrap();
        assert_eq!(secure.to_string(), "chat.example:443");
        assert!(secure.secure);
        let six = read("https://[::1]:8443").unwrap();
        assert_eq!(
            (six.to_string().as_str(), six.name()),
            ("[::1]:8443", "::1")
        );
        assert_eq!(read("http://chat.example").unwrap().port, 80);
    }

    #[test]
    fn says_what_is_no_server() {
        for url in [
            "127.0.0.1:8080",
            "ws://a:1",
            "http://a/chat",
            "http://a?b",
            "http://",
            "",
        ] {
            assert!(url.parse::<Address>().is_err(), "{url}");
        }
    }

    #[test]
    fn an_authority_is_needed_where_one_is_named() {
        let trust = Trust {
            ca: Some("nothing".to_owned()),
        };
        assert!(trust.client().unwrap_err().to_string().contains("--ca"));
    }
}
