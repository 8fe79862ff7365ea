//! Where settings come from, strongest first: flags, environment variables, the file. Nothing here
//! reads the environment or the disk, so a test passes maps.

use std::collections::BTreeMap;
use std::fmt;

use super::settings::{SETTINGS, VARIABLE_PREFIX, variable};

/// A setting that cannot be used, and why; names it as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    /// `name: why`.
    pub fn new(name: impl fmt::Display, why: impl fmt::Display) -> ConfigError {
        ConfigError(format!("{name}: {why}"))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// The name of a setting → its value.
type Layer = BTreeMap<String, String>;

/// What was given, in layers.
#[derive(Default)]
pub struct Sources {
    flags: Layer,
    variables: Layer,
    file: Layer,
    file_path: String,
    passed_over: Vec<String>,
}

/// A value as it was given.
pub struct Given {
    /// The text. May be a secret: never shown.
    pub text: String,
    /// Its name as the operator wrote it: `--listen`, `SYNCCHAT_LISTEN`, `listen in FILE`.
    pub name: String,
}

/// How a secret was given.
pub enum GivenSecret {
    /// Itself.
    Text(Given),
    /// In the file at this path.
    File(Given),
}

impl Sources {
    /// Flags by name; they were checked against the settings when the command line was read.
    pub fn with_flags(mut self, flags: BTreeMap<String, String>) -> Sources {
        self.flags = flags;
        self
    }

    /// All environment variables; those that do not begin with `SYNCCHAT_` are not ours, nor are those that
    /// Kubernetes gives every container of a namespace that has a Service named `syncchat` or `syncchat-…`.
    ///
    /// # Errors
    /// One of ours is no setting.
    pub fn with_variables(
        mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Sources, ConfigError> {
        let known: BTreeMap<String, &str> =
            known_names().map(|name| (variable(name), name)).collect();
        for (variable, text) in variables {
            if !variable.starts_with(VARIABLE_PREFIX) {
                continue;
            }
            match known.get(&variable) {
                Some(name) => drop(self.variables.insert((*name).to_owned(), text)),
                None if is_service_link(&variable) => self.passed_over.push(variable),
                None => return Err(ConfigError::new(variable, "no such setting")),
            }
        }
        Ok(self)
    }

    /// The text of a TOML file: the settings as keys, in kebab or snake case. Lists may be arrays.
    ///
    /// # Errors
    /// It is no TOML, or a key is no setting, or occurs in both spellings, or has a value that is
    /// no text, number or list.
    pub fn with_file(mut self, path: &str, text: &str) -> Result<Sources, ConfigError> {
        // The error's own text would quote the line, which may hold a secret.
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(0, |span| {
                1 + text.as_bytes()[..span.start.min(text.len())]
                    .iter()
                    .filter(|byte| **byte == b'\n')
                    .count()
            });
            ConfigError::new(path, format!("line {line}: {}", error.message()))
        })?;
        self.file_path = path.to_owned();
        for (key, value) in table {
            let named = format!("{key} in {path}");
            let name = key.replace('_', "-");
            if name == CONFIG || !known_names().any(|known| known == name) {
                return Err(ConfigError::new(named, "no such setting"));
            }
            let text = match file_value(value) {
                Some(text) => text,
                None => {
                    return Err(ConfigError::new(
                        named,
                        "must be a text, a number or a list of texts",
                    ));
                }
            };
            if self.file.insert(name, text).is_some() {
                return Err(ConfigError::new(named, "is there twice"));
            }
        }
        Ok(self)
    }

    /// Variables that look like ours and are Kubernetes'.
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// The path of the file, by flag or variable.
    pub fn config_path(&self) -> Option<Given> {
        self.get(CONFIG)
    }

    /// The strongest value of a setting.
    pub fn get(&self, name: &str) -> Option<Given> {
        self.layers().find_map(|layer| layer.get(name))
    }

    /// The strongest value of a secret, itself or by its file's path.
    ///
    /// # Errors
    /// Both ways are used at the same place.
    pub fn secret(&self, name: &str) -> Result<Option<GivenSecret>, ConfigError> {
        let file_name = format!("{name}-file");
        for layer in self.layers() {
            match (layer.get(name), layer.get(&file_name)) {
                (None, None) => {}
                (Some(text), None) => return Ok(Some(GivenSecret::Text(text))),
                (None, Some(path)) => return Ok(Some(GivenSecret::File(path))),
                (Some(text), Some(path)) => {
                    return Err(ConfigError::new(
                        text.name,
                        format!("contradicts {}: give one of them", path.name),
                    ));
                }
            }
        }
        Ok(None)
    }

    fn layers(&self) -> impl Iterator<Item = NamedLayer<'_>> {
        [
            (&self.flags, Origin::Flag),
            (&self.variables, Origin::Variable),
            (&self.file, Origin::File(&self.file_path)),
        ]
        .into_iter()
        .map(|(values, origin)| NamedLayer { values, origin })
    }
}

/// The flag that names the file; it is no key of the file.
pub const CONFIG: &str = "config";

/// Every name by which something can be given: settings, secrets' files, and `config`.
pub fn known_names() -> impl Iterator<Item = &'static str> {
    SETTINGS
        .iter()
        .flat_map(|setting| std::iter::once(setting.name).chain(setting.file_name))
        .chain([CONFIG])
}

struct NamedLayer<'a> {
    values: &'a Layer,
    origin: Origin<'a>,
}

enum Origin<'a> {
    Flag,
    Variable,
    File(&'a str),
}

impl NamedLayer<'_> {
    fn get(&self, name: &str) -> Option<Given> {
        let text = self.values.get(name)?.clone();
        let name = match self.origin {
            Origin::Flag => format!("--{name}"),
            Origin::Variable => variable(name),
            Origin::File(path) => format!("{name} in {path}"),
        };
        Some(Given { text, name })
    }
}

/// A TOML value as it would be written on the command line.
fn file_value(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Array(items) => {
            let items: Option<Vec<String>> = items
                .into_iter()
                .map(|item| match item {
                    toml::Value::String(text) => Some(text),
                    _ => None,
                })
                .collect();
            items.map(|items| items.join(","))
        }
        _ => None,
    }
}

/// Whether a variable has one of the forms in which Kubernetes tells containers of a Service
/// (`NAME_SERVICE_HOST`, `NAME_SERVICE_PORT[_PORTNAME]`, `NAME_PORT`, `NAME_PORT_8080_TCP[_PROTO|_PORT|_ADDR]`) whose
/// name begins as ours do.
fn is_service_link(variable: &str) -> bool {
    let fits = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    let is_name = |name: &str| name.bytes().all(fits);
    let Some(rest) = variable
        .strip_prefix("SYNCCHAT")
        .filter(|rest| is_name(rest))
    else {
        return false;
    };
    let ends = rest.ends_with("_SERVICE_HOST") || rest.ends_with("_PORT");
    ends || rest.contains("_SERVICE_PORT_") || names_a_port(rest)
}

/// Whether this ends with `_PORT_8080_TCP`, and perhaps one part more.
fn names_a_port(text: &str) -> bool {
    let parts: Vec<&str> = text.split('_').collect();
    let parts = match parts.as_slice() {
        [before @ .., "PROTO" | "PORT" | "ADDR"] => before,
        all => all,
    };
    match parts {
        [.., "PORT", number, "TCP" | "UDP" | "SCTP"] => {
            !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn flag_beats_variable_beats_file() -> Result<(), ConfigError> {
        let sources = Sources::default()
            .with_flags(map(&[("listen", "flag")]))
            .with_variables(map(&[
                ("SYNCCHAT_LISTEN", "variable"),
                ("SYNCCHAT_DRAIN", "variable"),
                ("HOME", "/"),
            ]))?
            .with_file("f.toml", "listen = 'file'\ndrain = 'file'\nbcrypt_cost = 4")?;
        let get = |name| sources.get(name).map(|given| (given.text, given.name));
        assert_eq!(get("listen"), Some(("flag".into(), "--listen".into())));
        assert_eq!(
            get("drain"),
            Some(("variable".into(), "SYNCCHAT_DRAIN".into()))
        );
        assert_eq!(
            get("bcrypt-cost"),
            Some(("4".into(), "bcrypt-cost in f.toml".into()))
        );
        assert_eq!(get("store"), None);
        Ok(())
    }

    #[test]
    fn what_kubernetes_tells_of_services_is_no_setting() {
        let variables = |name| Sources::default().with_variables(map(&[(name, "x")])).err();
        for told in [
            "SYNCCHAT_SERVICE_HOST",
            "SYNCCHAT_SERVICE_PORT",
            "SYNCCHAT_SERVICE_PORT_HTTP",
            "SYNCCHAT_PORT",
            "SYNCCHAT_PORT_8080_TCP",
            "SYNCCHAT_PORT_8080_TCP_PROTO",
            "SYNCCHAT_PORT_8080_TCP_PORT",
            "SYNCCHAT_PORT_8080_TCP_ADDR",
            "SYNCCHAT_PORT_53_UDP_ADDR",
            "SYNCCHAT_ADMIN_SERVICE_HOST",
            "SYNCCHAT_ADMIN_2_PORT_9090_TCP",
        ] {
            assert_eq!(variables(told), None, "{told}");
        }
        for mistaken in [
            "SYNCCHAT_SERVICE",
            "SYNCCHAT_HOST",
            "SYNCCHAT_PORTS",
            "SYNCCHAT_PORT_8080",
            "SYNCCHAT_PORT_X_TCP",
            "SYNCCHAT_PORT_8080_TCP_HOST",
            "SYNCCHAT_listen_PORT",
        ] {
            assert!(variables(mistaken).is_some(), "{mistaken}");
        }
    }

    #[test]
    fn what_is_unknown_is_named() {
        let variables = |name| Sources::default().with_variables(map(&[(name, "x")])).err();
        assert_eq!(
            variables("SYNCCHAT_LISTN").map(|error| error.to_string()),
            Some("SYNCCHAT_LISTN: no such setting".into())
        );
        assert_eq!(variables("SYNCCHAT_JWT_SECRET_FILE"), None);
        assert_eq!(variables("SYNCCHAT_CONFIG"), None);

        let file = |text| {
            Sources::default()
                .with_file("f.toml", text)
                .err()
                .map(|error| error.to_string())
        };
        assert_eq!(file("jwt_secret_file = 'p'\nlog-level = 'info'"), None);
        assert_eq!(
            file("listn = 'x'"),
            Some("listn in f.toml: no such setting".into())
        );
        assert_eq!(
            file("config = 'x'"),
            Some("config in f.toml: no such setting".into())
        );
        assert!(file("[listen]\na = 1").is_some_and(|error| error.contains("listen in f.toml")));
        assert!(file("drain = true").is_some_and(|error| error.contains("drain in f.toml")));
        assert!(
            file("access-ttl = '1s'\naccess_ttl = '2s'")
                .is_some_and(|error| error.contains("is there twice"))
        );
        let broken = file("listen = 'x'\njwt-secret = 'hunter2").unwrap_or_default();
        assert!(broken.contains("f.toml: line 2"), "{broken}");
        assert!(!broken.contains("hunter2"), "{broken}");
    }

    #[test]
    fn a_list_may_be_an_array() -> Result<(), ConfigError> {
        let sources =
            Sources::default().with_file("f", "trusted-proxies = ['::1', '10.0.0.0/8']")?;
        let given = sources.get("trusted-proxies").map(|given| given.text);
        assert_eq!(given.as_deref(), Some("::1,10.0.0.0/8"));
        Ok(())
    }

    #[test]
    fn a_secret_is_given_one_way_at_each_place() -> Result<(), ConfigError> {
        let both = Sources::default()
            .with_flags(map(&[("jwt-secret", "x"), ("jwt-secret-file", "y")]))
            .secret("jwt-secret")
            .err()
            .map(|error| error.to_string());
        assert_eq!(
            both.as_deref(),
            Some("--jwt-secret: contradicts --jwt-secret-file: give one of them")
        );
        let stronger = Sources::default()
            .with_flags(map(&[("jwt-secret-file", "y")]))
            .with_variables(map(&[("SYNCCHAT_JWT_SECRET", "x")]))?
            .secret("jwt-secret")?;
        assert!(matches!(stronger, Some(GivenSecret::File(given)) if given.text == "y"));
        Ok(())
    }
}
