//! Which pages of the web may call: CORS for long polling, a check of our own for WebSockets, which
//! CORS does not guard.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use crate::answer::{self, Body};
use crate::config::Origins;

const METHODS: HeaderValue = HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE");

/// The CORS headers for the answers to one request.
#[derive(Debug, Default)]
pub(crate) struct Cors(Vec<(HeaderName, HeaderValue)>);

impl Cors {
    pub(crate) fn new(origins: &Origins, request: &HeaderMap) -> Cors {
        let mut headers = Vec::new();
        match (origins, request.get(header::ORIGIN)) {
            (Origins::Same, _) => {}
            (Origins::Any, _) => {
                let any = HeaderValue::from_static("*");
                headers.push((header::ACCESS_CONTROL_ALLOW_ORIGIN, any));
            }
            (Origins::List(list), origin) => {
                if let Some(origin) = origin.filter(|origin| is_listed(list, origin)) {
                    headers.push((header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
                }
                headers.push((header::VARY, HeaderValue::from_static("Origin")));
                let credentials = HeaderValue::from_static("true");
                headers.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials));
            }
        }
        Cors(headers)
    }

    /// Answers a preflight, for any session or none; `None` if CORS is off.
    pub(crate) fn preflight(&self, request: &HeaderMap) -> Option<Response<Body>> {
        if self.0.is_empty() {
            return None;
        }
        let mut response = answer::empty(StatusCode::NO_CONTENT);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, 0.into());
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        let varies = HeaderValue::from_static("Access-Control-Request-Headers");
        headers.append(header::VARY, varies);
        if let Some(asked) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        Some(response)
    }

    /// On every answer, errors too: a browser hides what lacks them.
    pub(crate) fn apply(self, response: &mut Response<Body>) {
        for (name, value) in self.0 {
            response.headers_mut().append(name, value);
        }
    }
}

/// Whether a page may open a WebSocket. What sends no `Origin` is no browser.
pub(crate) fn may_open_websocket(origins: &Origins, request: &HeaderMap) -> bool {
    let Some(origin) = request.get(header::ORIGIN) else {
        return true;
    };
    let is_allowed = match origins {
        Origins::Same => false,
        Origins::Any => true,
        Origins::List(list) => is_listed(list, origin),
    };
    is_allowed || is_same(origin, request.get(header::HOST))
}

fn is_listed(list: &[String], origin: &HeaderValue) -> bool {
    list.iter().any(|listed| {
        listed
            .trim_end_matches('/')
            .as_bytes()
            .eq_ignore_ascii_case(origin.as_bytes())
    })
}

/// Whether a page's origin is the host that was called. The scheme is not compared: a proxy may
/// have ended TLS before us.
fn is_same(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let (Ok(origin), Some(Ok(host))) = (origin.to_str(), host.map(HeaderValue::to_str)) else {
        return false;
    };
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |name: &str| {
        name.strip_suffix(default_port)
            .unwrap_or(name)
            .to_ascii_lowercase()
    };
    bare(authority) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(origin: &str, host: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        headers.insert(header::HOST, host.parse().unwrap());
        headers
    }

    #[test]
    fn websockets_open_from_the_same_host_and_from_listed_pages() {
        let list = Origins::List(vec!["https://app.example.org".to_owned()]);
        let cases = [
            (
                "http://chat.example.org:8080",
                "chat.example.org:8080",
                true,
                true,
            ),
            ("https://chat.example.org", "Chat.Example.org", true, true),
            (
                "https://chat.example.org:443",
                "chat.example.org",
                true,
                true,
            ),
            (
                "http://chat.example.org:8081",
                "chat.example.org:8080",
                false,
                false,
            ),
            ("https://app.example.org", "chat.example.org", false, true),
            (
                "https://app.example.org.evil.net",
                "chat.example.org",
                false,
                false,
            ),
            ("null", "chat.example.org", false, false),
            ("file://", "", false, false),
        ];
        for (origin, host, same, listed) in cases {
            let request = request(origin, host);
            assert_eq!(
                may_open_websocket(&Origins::Same, &request),
                same,
                "{origin} {host}"
            );
            assert_eq!(
                may_open_websocket(&list, &request),
                listed,
                "{origin} {host}"
            );
            assert!(may_open_websocket(&Origins::Any, &request));
        }
        assert!(may_open_websocket(&Origins::Same, &HeaderMap::new()));
    }
}
