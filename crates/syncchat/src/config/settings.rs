//! Every setting, once: the flags, the environment variables, the keys of the file and the help
//! are made from [`SETTINGS`], and the README's table is checked against it.

/// What our environment variables begin with.
pub const VARIABLE_PREFIX: &str = "SYNCCHAT_";

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// As a flag, without the dashes; as a key of the file.
    pub name: &'static str,
    /// What stands for the value in the help.
    pub value: &'static str,
    /// What holds when it is not given.
    pub fallback: Fallback,
    /// What it means, with its unit and bounds.
    pub meaning: &'static str,
    /// For what is, or may contain, a secret: the name, `…-file`, under which the path of a file
    /// that holds it can be given instead.
    pub file_name: Option<&'static str>,
}

/// What holds when a setting is not given.
#[derive(Debug, Clone, Copy)]
pub enum Fallback {
    /// This value, read like any other.
    Value(&'static str),
    /// Something worked out at the start; described here.
    Worked(&'static str),
}

impl Fallback {
    /// For the help and the table.
    pub const fn shown(self) -> &'static str {
        match self {
            Fallback::Value(text) | Fallback::Worked(text) => text,
        }
    }
}

/// The environment variable of a setting.
pub fn variable(name: &str) -> String {
    format!(
        "{VARIABLE_PREFIX}{}",
        name.replace('-', "_").to_ascii_uppercase()
    )
}

/// A setting with a literal default.
const fn plain(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Setting {
    Setting {
        name,
        value,
        fallback: Fallback::Value(default),
        meaning,
        file_name: None,
    }
}

/// A setting whose default is worked out.
const fn worked(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Setting {
    Setting {
        fallback: Fallback::Worked(default),
        ..plain(name, value, default, meaning)
    }
}

/// A setting that can also be given by a file.
const fn secret(file_name: &'static str, setting: Setting) -> Setting {
    Setting {
        file_name: Some(file_name),
        ..setting
    }
}

/// All settings, in the order of the help.
pub const SETTINGS: &[Setting] = &[
    plain(
        "listen",
        "IP:PORT",
        "127.0.0.1:8080",
        "sockets, REST and the web client",
    ),
    plain(
        "admin-listen",
        "IP:PORT",
        "127.0.0.1:9090",
        "/metrics, /healthz and /readyz; `off` for none",
    ),
    worked(
        "node-id",
        "NAME",
        "host name + random",
        "this node's name in metrics, logs and presence: 1 to 64 of A-Z a-z 0-9 _ . -",
    ),
    worked(
        "advertise",
        "IP:PORT",
        "--listen",
        "where other nodes of a fleet reach --listen; 0.0.0.0 or [::] stands for this host's address towards Redis",
    ),
    secret(
        "store-file",
        plain(
            "store",
            "URL",
            "sqlite:data/syncchat.db",
            "sqlite:PATH, or mongodb://… (a replica set)",
        ),
    ),
    secret(
        "backplane-file",
        plain(
            "backplane",
            "URL",
            "local",
            "what joins nodes into a fleet: `local`, one node; or redis://…, rediss://…, redis-cluster://…, redis-sentinel://…",
        ),
    ),
    secret(
        "files-file",
        plain(
            "files",
            "URL",
            "file:data/files",
            "where uploads are kept: file:PATH, a folder all nodes share, or s3://BUCKET[/PREFIX]?endpoint=…&region=…",
        ),
    ),
    secret(
        "s3-access-key-file",
        worked(
            "s3-access-key",
            "TEXT",
            "from the AWS_… variables",
            "the public half of the key to the bucket",
        ),
    ),
    secret(
        "s3-secret-key-file",
        worked(
            "s3-secret-key",
            "TEXT",
            "from the AWS_… variables",
            "the secret half",
        ),
    ),
    plain(
        "max-file-size",
        "SIZE",
        "100MiB",
        "bytes of one upload, from 1 to 5GB",
    ),
    plain(
        "file-types",
        "LIST",
        "*",
        "content types of uploads, such as image/*,application/pdf; * for any",
    ),
    plain(
        "unsent-file-ttl",
        "DURATION",
        "24h",
        "after so long an upload that no message shows is deleted, from 1s to 30d",
    ),
    plain(
        "file-link-ttl",
        "DURATION",
        "5m",
        "for how long a link to download a file is good, from 1s to 7d",
    ),
    secret(
        "events-file",
        plain(
            "events",
            "URL",
            "none",
            "where events for other programs go; this version knows `none`",
        ),
    ),
    plain(
        "roles",
        "LIST",
        "all",
        "what this process does; this version knows `all`",
    ),
    secret(
        "jwt-secret-file",
        worked(
            "jwt-secret",
            "TEXT",
            "generated, kept in data/jwt-secret",
            "signs access tokens (HS256), 32 bytes at least; several lines: the first signs, all verify",
        ),
    ),
    plain(
        "access-ttl",
        "DURATION",
        "15m",
        "life of an access token, from 1s to 30d",
    ),
    plain(
        "refresh-ttl",
        "DURATION",
        "30d",
        "life of a refresh token, from 1s to 3650d",
    ),
    worked(
        "cors-origins",
        "LIST",
        "same origin only",
        "origins that may call REST and open sockets: scheme://host[:port], or * for any",
    ),
    plain(
        "trusted-proxies",
        "LIST",
        "none",
        "networks whose X-Forwarded-For is believed: addresses or CIDR",
    ),
    plain(
        "ping-interval",
        "DURATION",
        "25s",
        "Engine.IO heartbeat: a ping so often, from 100ms to 1h",
    ),
    plain(
        "ping-timeout",
        "DURATION",
        "20s",
        "how long its pong may take, from 100ms to 1h",
    ),
    plain(
        "max-payload",
        "SIZE",
        "100000",
        "bytes of one Engine.IO message, from 128 to 64MiB",
    ),
    worked(
        "max-connections",
        "NUMBER",
        "from the fd limit",
        "sessions at once; above it handshakes get 503 with Retry-After",
    ),
    plain(
        "outbound-limit",
        "SIZE",
        "1MiB",
        "bytes queued for one socket, from 1KiB to 1GiB; past it the socket is refilled from the store",
    ),
    plain(
        "slow-timeout",
        "DURATION",
        "30s",
        "a socket that takes nothing for so long is closed, from 100ms to 1h",
    ),
    plain(
        "rate-messages",
        "RATE",
        "20/s:100",
        "messages sent by one user: RATE[:BURST] with /s or /m, or `off`",
    ),
    plain(
        "rate-requests",
        "RATE",
        "50/s:200",
        "REST calls of one user",
    ),
    plain(
        "rate-handshakes",
        "RATE",
        "50/s:500",
        "handshakes from one address",
    ),
    plain(
        "rate-registrations",
        "RATE",
        "1/s:50",
        "registrations from one address",
    ),
    plain(
        "rate-logins",
        "RATE",
        "10/m:10",
        "failed log-ins from one address, and to one account",
    ),
    plain(
        "bcrypt-cost",
        "NUMBER",
        "12",
        "cost of a password's hash, 4 to 15",
    ),
    plain(
        "drain",
        "DURATION",
        "20s",
        "how long a node told to stop spreads its goodbyes, up to 1h",
    ),
    worked(
        "log-format",
        "FORMAT",
        "pretty on a terminal, else json",
        "pretty or json",
    ),
    plain(
        "log-level",
        "FILTER",
        "info",
        "error, warn, info, debug, trace or off; or a filter such as info,syncchat_engine=debug",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kebab_case_and_occur_once() {
        let mut names: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        for name in &names {
            assert!(
                name.bytes()
                    .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            );
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SETTINGS.len());
        for setting in SETTINGS {
            let expected = format!("{}-file", setting.name);
            assert!(setting.file_name.is_none_or(|name| name == expected));
        }
        assert_eq!(variable("jwt-secret-file"), "SYNCCHAT_JWT_SECRET_FILE");
    }

    #[test]
    fn the_readme_has_them_all() {
        let readme = include_str!("../../../../README.md");
        let mut rows = readme.lines().filter(|line| line.starts_with("| `--"));
        for setting in SETTINGS {
            let secret = if setting.file_name.is_some() {
                " *"
            } else {
                ""
            };
            let default = match setting.fallback {
                Fallback::Value(text) => format!("`{text}`"),
                Fallback::Worked(text) => text.to_owned(),
            };
            let row = format!(
                "| `--{}`{secret} | {default} | {} |",
                setting.name, setting.meaning
            );
            assert_eq!(rows.next(), Some(row.as_str()));
        }
        assert_eq!(rows.next(), None);
    }
}
