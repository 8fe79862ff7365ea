//! The settings of a node, checked. Libraries get plain structs from here and never read the
//! environment themselves.

pub mod network;
pub mod secrets;
pub mod settings;
pub mod sources;
pub mod values;

use std::net::SocketAddr;
use std::time::Duration;

use syncchat_core::files::FileRules;
use syncchat_core::ports::limiter::LimiterRates;
use syncchat_files::{Address, S3Keys};
use syncchat_identity::limits::{BCRYPT_COST_MAX, BCRYPT_COST_MIN};
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};

use network::Network;
use secrets::{SecretUrl, SigningSecrets};
use settings::{Fallback, SETTINGS};
use sources::{ConfigError, Sources};
use values::Parsed;

/// Where a generated signing secret is kept, from the working directory.
const GENERATED_SECRET: &str = "data/jwt-secret";

/// Everything an operator can decide. See [`SETTINGS`] for the meanings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Sockets, REST and the page.
    pub listen: SocketAddr,
    /// Metrics and health; `None`: nowhere.
    pub admin_listen: Option<SocketAddr>,
    /// Where other nodes reach it; `None`: at `listen`.
    pub advertise: Option<SocketAddr>,
    /// This node's name.
    pub node_id: String,
    /// Which store.
    pub store: SecretUrl,
    /// What joins nodes into a fleet.
    pub backplane: SecretUrl,
    /// Where uploads are kept.
    pub files: FileSettings,
    /// What signs access tokens.
    pub signing: SigningSecrets,
    /// Life of an access token.
    pub access_ttl: Duration,
    /// Life of a refresh token.
    pub refresh_ttl: Duration,
    /// Foreign origins that may call.
    pub cors_origins: AllowedOrigins,
    /// Proxies whose word about the client counts.
    pub trusted_proxies: Vec<Network>,
    /// Engine.IO's ping.
    pub ping_interval: Duration,
    /// Engine.IO's pong.
    pub ping_timeout: Duration,
    /// Bytes of one Engine.IO message.
    pub max_payload: usize,
    /// Sessions at once; `None`: as many as there are file descriptors for.
    pub max_connections: Option<usize>,
    /// Bytes queued for one socket.
    pub outbound_limit: usize,
    /// How long a socket may take nothing.
    pub slow_timeout: Duration,
    /// Rate limits.
    pub rates: LimiterRates,
    /// bcrypt's cost.
    pub bcrypt_cost: u32,
    /// How long goodbyes are spread.
    pub drain: Duration,
    /// How logs look; `None`: as fits the place they go to.
    pub log_format: Option<LogFormat>,
    /// Which logs.
    pub log_level: Targets,
    /// Variables that look like settings, and are what Kubernetes tells of Services.
    pub passed_over: Vec<String>,
}

/// Everything about uploads.
#[derive(Debug, Clone)]
pub struct FileSettings {
    /// As it was set.
    pub url: SecretUrl,
    /// What that names.
    pub address: Address,
    /// The key to a bucket, if it was given.
    pub s3_keys: Option<S3Keys>,
    /// Which files may come, and when they go.
    pub rules: FileRules,
}

/// From which pages of the web a browser may call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AllowedOrigins {
    /// Our own.
    #[default]
    Same,
    /// Any.
    Any,
    /// These, besides our own.
    List(Vec<String>),
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people, with colours.
    Pretty,
    /// For programs, one JSON object a line.
    Json,
}

impl Config {
    /// Whether there may be other nodes.
    pub fn is_fleet(&self) -> bool {
        self.backplane.expose() != "local"
    }

    /// Reads and checks every setting. Touches no network; reads the files that secrets were
    /// given by.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn read(sources: &Sources) -> Result<Config, ConfigError> {
        let reader = Reader { sources };
        reader.only("roles", &["all"])?;
        reader.only("events", &["none"])?;
        let second_to = |most| values::duration_in("1s", most);
        let tick_to_hour = || values::duration_in("100ms", "1h");
        Ok(Config {
            listen: reader.value("listen", values::address)?,
            admin_listen: reader.value("admin-listen", values::address_or_off)?,
            advertise: reader.optional("advertise", values::reachable_address)?,
            node_id: reader
                .optional("node-id", values::node_id)?
                .unwrap_or_else(generated_node_id),
            store: SecretUrl::new(reader.value("store", store_url)?),
            backplane: SecretUrl::new(reader.value("backplane", backplane_url)?),
            files: reader.files()?,
            signing: secrets::signing_secrets(sources, "jwt-secret", GENERATED_SECRET.into())?,
            access_ttl: reader.value("access-ttl", second_to("30d"))?,
            refresh_ttl: reader.value("refresh-ttl", second_to("3650d"))?,
            cors_origins: reader
                .optional("cors-origins", values::origins)?
                .unwrap_or_default(),
            trusted_proxies: reader.value("trusted-proxies", values::networks)?,
            ping_interval: reader.value("ping-interval", tick_to_hour())?,
            ping_timeout: reader.value("ping-timeout", tick_to_hour())?,
            max_payload: reader.value("max-payload", values::size_in("128", "64MiB"))?,
            max_connections: reader
                .optional("max-connections", values::number_in(1, 10_000_000))?
                .map(|number| number as usize),
            outbound_limit: reader.value("outbound-limit", values::size_in("1KiB", "1GiB"))?,
            slow_timeout: reader.value("slow-timeout", tick_to_hour())?,
            rates: LimiterRates {
                messages: reader.value("rate-messages", values::rate)?,
                requests: reader.value("rate-requests", values::rate)?,
                handshakes: reader.value("rate-handshakes", values::rate)?,
                registrations: reader.value("rate-registrations", values::rate)?,
                logins: reader.value("rate-logins", values::rate)?,
            },
            bcrypt_cost: reader.value(
                "bcrypt-cost",
                values::number_in(BCRYPT_COST_MIN, BCRYPT_COST_MAX),
            )?,
            drain: reader.value("drain", values::duration_in("0s", "1h"))?,
            log_format: reader.optional("log-format", log_format)?,
            log_level: reader.value("log-level", log_level)?,
            passed_over: reader.sources.passed_over().to_vec(),
        })
    }
}

/// Reads settings one by one, and says of a bad one how it was named.
struct Reader<'a> {
    sources: &'a Sources,
}

impl Reader<'_> {
    /// A setting that has a literal default.
    fn value<T>(&self, name: &str, parse: impl Fn(&str) -> Parsed<T>) -> Result<T, ConfigError> {
        if let Some(value) = self.optional(name, &parse)? {
            return Ok(value);
        }
        let fallback = SETTINGS.iter().find(|setting| setting.name == name);
        match fallback.map(|setting| setting.fallback) {
            Some(Fallback::Value(text)) => {
                parse(text).map_err(|why| ConfigError::new(format!("default of {name}"), why))
            }
            _ => Err(ConfigError::new(name, "must be given")),
        }
    }

    fn files(&self) -> Result<FileSettings, ConfigError> {
        let (url, address) = self.value("files", files_address)?;
        let access = self.optional("s3-access-key", not_empty)?;
        let secret = self.optional("s3-secret-key", not_empty)?;
        let s3_keys = match (access, secret) {
            (None, None) => None,
            (Some(access_key_id), Some(secret_access_key)) => Some(S3Keys {
                access_key_id,
                secret_access_key,
            }),
            (Some(_), None) => return Err(ConfigError::new("--s3-secret-key", "is missing")),
            (None, Some(_)) => return Err(ConfigError::new("--s3-access-key", "is missing")),
        };
        let max_bytes = self.value("max-file-size", values::size_in("1", "5GB"))?;
        Ok(FileSettings {
            url,
            address,
            s3_keys,
            rules: FileRules {
                max_bytes: max_bytes as u64,
                types: self.value("file-types", values::content_types)?,
                unsent_span: self.value("unsent-file-ttl", values::duration_in("1s", "30d"))?,
                link_span: self.value("file-link-ttl", values::duration_in("1s", "7d"))?,
            },
        })
    }

    /// A setting, if it was given.
    fn optional<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Parsed<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((text, named)) = secrets::secret_text(self.sources, name)? else {
            return Ok(None);
        };
        parse(&text)
            .map(Some)
            .map_err(|why| ConfigError::new(named, why))
    }

    /// A setting of which this version knows only these values.
    fn only(&self, name: &str, known: &[&str]) -> Result<(), ConfigError> {
        self.optional(name, |text| match known.contains(&text) {
            true => Ok(()),
            false => Err(format!("this version knows only {}", known.join(", "))),
        })
        .map(|_| ())
    }
}

fn store_url(text: &str) -> Parsed<String> {
    if cfg!(feature = "memory-store") && text == "memory:" {
        return Ok(text.to_owned());
    }
    let path = text.strip_prefix("sqlite:");
    let mongodb = ["mongodb://", "mongodb+srv://"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    match mongodb || path.is_some_and(|path| !path.is_empty()) {
        true => Ok(text.to_owned()),
        false => Err("must be sqlite:PATH or mongodb://…".into()),
    }
}

fn backplane_url(text: &str) -> Parsed<String> {
    let redis = [
        "redis://",
        "rediss://",
        "redis-cluster://",
        "redis-sentinel://",
    ]
    .iter()
    .any(|scheme| text.starts_with(scheme));
    match redis || text == "local" {
        true => Ok(text.to_owned()),
        false => Err(
            "must be local, redis://…, rediss://…, redis-cluster://… or redis-sentinel://…".into(),
        ),
    }
}

fn files_address(text: &str) -> Parsed<(SecretUrl, Address)> {
    let address = Address::parse(text).map_err(|error| error.to_string())?;
    Ok((SecretUrl::new(text.to_owned()), address))
}

fn not_empty(text: &str) -> Parsed<String> {
    match text.is_empty() {
        true => Err("must not be empty".into()),
        false => Ok(text.to_owned()),
    }
}

fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "pretty" => Ok(LogFormat::Pretty),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be pretty or json".into()),
    }
}

/// What may be named in `--log-level`: our crates, and those below them that log.
const LOG_TARGETS: [&str; 21] = [
    "syncchat",
    "syncchat_api",
    "syncchat_backplane",
    "syncchat_contract",
    "syncchat_core",
    "syncchat_delivery",
    "syncchat_engine",
    "syncchat_files",
    "syncchat_gateway",
    "syncchat_identity",
    "syncchat_protocol",
    "syncchat_store",
    "axum",
    "fred",
    "hyper",
    "hyper_util",
    "mongodb",
    "object_store",
    "rustls",
    "tower_http",
    "tungstenite",
];

/// A level, or directives `TARGET=LEVEL`. A word that is neither would be taken for a target, and turn all other
/// logs off.
fn log_level(text: &str) -> Parsed<Targets> {
    for directive in text.split(',').map(str::trim) {
        match directive.split_once('=') {
            None if directive.parse::<LevelFilter>().is_err() => {
                return Err(format!(
                    "{directive:?} is no level: error, warn, info, debug, trace or off"
                ));
            }
            Some((target, _)) if !is_log_target(target.trim()) => {
                return Err(format!("{target:?} is nothing that logs"));
            }
            _ => {}
        }
    }
    text.parse().map_err(|error: ParseError| error.to_string())
}

/// Whether this is one of [`LOG_TARGETS`], or a module in it.
fn is_log_target(name: &str) -> bool {
    let name = name.split_once("::").map_or(name, |(name, _)| name);
    LOG_TARGETS.contains(&name)
}

/// The host's name and eight random hex digits, so that a restarted node is another node.
fn generated_node_id() -> String {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let host: String = host
        .chars()
        .filter(|c| u8::try_from(*c).is_ok_and(values::node_id_byte))
        .take(40)
        .collect();
    let mut random = [0; 4];
    if getrandom::fill(&mut random).is_err() {
        random = std::process::id().to_be_bytes();
    }
    let host = if host.is_empty() { "node" } else { &host };
    format!("{host}-{:08x}", u32::from_be_bytes(random))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let flags = pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        Config::read(&Sources::default().with_flags(flags)).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = read(&[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(
            config.admin_listen.map(|a| a.to_string()).as_deref(),
            Some("127.0.0.1:9090")
        );
        assert_eq!(config.store.expose(), "sqlite:data/syncchat.db");
        assert_eq!(config.files.address, Address::Folder("data/files".into()));
        assert_eq!(config.files.rules.max_bytes, 100 << 20);
        assert_eq!(
            config.signing,
            SigningSecrets::Generated("data/jwt-secret".into())
        );
        assert_eq!(config.access_ttl, Duration::from_secs(900));
        assert_eq!(config.refresh_ttl, Duration::from_secs(30 * 86_400));
        assert_eq!(config.max_payload, 100_000);
        assert_eq!(config.max_connections, None);
        assert_eq!(config.outbound_limit, 1 << 20);
        assert_eq!(config.rates, LimiterRates::default());
        assert_eq!(config.bcrypt_cost, 12);
        assert!(values::node_id(&config.node_id).is_ok());
        assert_ne!(read(&[]).unwrap().node_id, config.node_id);
    }

    #[test]
    fn bad_values_name_the_setting() {
        let cases = [
            ("listen", "8080", "--listen: must be IP:PORT"),
            (
                "store",
                "postgres://x",
                "--store: must be sqlite:PATH or mongodb://…",
            ),
            ("store", "sqlite:", "--store: must be"),
            (
                "backplane",
                "nats://h",
                "--backplane: must be local, redis://…",
            ),
            (
                "events",
                "amqp://h",
                "--events: this version knows only none",
            ),
            (
                "files",
                "s3://bucket?key=secret",
                "--files: s3: knows the parameters endpoint",
            ),
            (
                "roles",
                "gateway,api",
                "--roles: this version knows only all",
            ),
            (
                "jwt-secret",
                "short",
                "--jwt-secret: must have at least 32 bytes",
            ),
            (
                "jwt-secret-file",
                "/nonexistent",
                "--jwt-secret-file: /nonexistent: ",
            ),
            (
                "bcrypt-cost",
                "16",
                "--bcrypt-cost: must be a whole number from 4 to 15",
            ),
            ("max-connections", "0", "--max-connections: must be"),
            ("access-ttl", "0s", "--access-ttl: must be from 1s to 30d"),
            ("cors-origins", "https://a/b", "--cors-origins: must be"),
            ("log-format", "xml", "--log-format: must be pretty or json"),
            ("log-level", "loud=x=y", "--log-level: "),
            ("log-level", "wran", "--log-level: \"wran\" is no level"),
            (
                "log-level",
                "info,wran",
                "--log-level: \"wran\" is no level",
            ),
            (
                "log-level",
                "info,syncchat_engin=debug",
                "--log-level: \"syncchat_engin\" is nothing",
            ),
        ];
        for (name, text, expected) in cases {
            let error = read(&[(name, text)]).expect_err(name);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = "correct horse battery staple forty-two";
        let config = read(&[
            ("jwt-secret", secret),
            ("store", "mongodb://user:hunter2@localhost/db"),
            ("backplane", "redis://user:hunter2@localhost"),
        ])
        .unwrap();
        let shown = format!("{config:?}");
        assert!(
            !shown.contains("horse") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn a_store_can_be_given_by_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        std::fs::write(&path, "sqlite:elsewhere.db\n").unwrap();
        let config = read(&[("store-file", path.to_str().unwrap())]).unwrap();
        assert_eq!(config.store.expose(), "sqlite:elsewhere.db");
    }
}
