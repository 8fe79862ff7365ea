//! Secrets: read from a file, kept from being shown, made when there is none.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use syncchat_identity::Secret;
use syncchat_identity::limits::{SECRET_BYTES_MIN, SECRETS_MAX};

use super::sources::{ConfigError, GivenSecret, Sources};

/// Bytes of a file that holds a secret. Bigger: it is some other file, and an error.
const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Random bytes of a generated secret; it is written as twice as many hex digits.
const GENERATED_BYTES: usize = 48;

/// The address of a service, which may hold a password. Shown without it, even by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// This address.
    pub fn new(url: String) -> SecretUrl {
        SecretUrl(url)
    }

    /// All of it, for the driver.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return f.write_str(&self.0);
        };
        // Options may hold secrets too, and a password may hold an @ that should have been encoded.
        let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
        match rest.rsplit_once('@') {
            Some((_, rest)) => write!(f, "{scheme}://…@{rest}"),
            None => write!(f, "{scheme}://{rest}"),
        }
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What signs access tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SigningSecrets {
    /// As given; the first signs, all verify. Never empty.
    Given(Vec<Secret>),
    /// In this file, which is made when it is missing.
    Generated(PathBuf),
}

impl SigningSecrets {
    /// The secrets; makes the file if need be. The only side effect of reading settings, and so
    /// only called when a command has to sign or verify.
    ///
    /// # Errors
    /// The file cannot be read or made, or holds no secret.
    pub fn load(&self) -> Result<Vec<Secret>, ConfigError> {
        match self {
            SigningSecrets::Given(secrets) => Ok(secrets.clone()),
            SigningSecrets::Generated(path) => {
                let text = read_or_generate(path)
                    .map_err(|error| ConfigError::new(path.display(), error))?;
                parse_secrets(&text).map_err(|why| ConfigError::new(path.display(), why))
            }
        }
    }
}

/// The signing secrets among the settings.
///
/// # Errors
/// They are given twice, cannot be read, or are too short or too many.
pub fn signing_secrets(
    sources: &Sources,
    name: &str,
    generated: PathBuf,
) -> Result<SigningSecrets, ConfigError> {
    let Some((text, name)) = secret_text(sources, name)? else {
        return Ok(SigningSecrets::Generated(generated));
    };
    parse_secrets(&text)
        .map(SigningSecrets::Given)
        .map_err(|why| ConfigError::new(name, why))
}

/// A secret itself, and how it was named; from its file if that is how it was given, without the
/// line's end.
///
/// # Errors
/// It is given twice, or its file cannot be read.
pub fn secret_text(sources: &Sources, name: &str) -> Result<Option<(String, String)>, ConfigError> {
    Ok(match sources.secret(name)? {
        None => None,
        Some(GivenSecret::Text(given)) => Some((given.text, given.name)),
        Some(GivenSecret::File(given)) => {
            let text = read_bounded(Path::new(&given.text)).map_err(|error| {
                ConfigError::new(&given.name, format!("{}: {error}", given.text))
            })?;
            Some((text.trim_end_matches(['\r', '\n']).to_owned(), given.name))
        }
    })
}

fn parse_secrets(text: &str) -> Result<Vec<Secret>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let secrets: Option<Vec<Secret>> = lines.map(Secret::new).collect();
    match secrets {
        Some(secrets) if (1..=SECRETS_MAX).contains(&secrets.len()) => Ok(secrets),
        Some(secrets) if secrets.is_empty() => Err("must not be empty".into()),
        Some(_) => Err(format!("must be at most {SECRETS_MAX} secrets")),
        None => Err(format!("must have at least {SECRET_BYTES_MIN} bytes")),
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let size = fs::metadata(path)?.len();
    if size > SECRET_FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "has more than {SECRET_FILE_BYTES_MAX} bytes"
        )));
    }
    fs::read_to_string(path)
}

/// Reads the file, or makes it, whole and readable by its owner only, or not at all. When several
/// processes make it at once, all use the one that was first.
fn read_or_generate(path: &Path) -> io::Result<String> {
    match read_bounded(path) {
        Ok(text) => {
            if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
                fs::set_permissions(path, Permissions::from_mode(0o600))?;
            }
            return Ok(text);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let made = write_draft(&draft).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    // The draft is only a second name of what was made, or a leftover.
    let _ = fs::remove_file(&draft);
    made?;
    File::open(folder)?.sync_all()?;
    read_bounded(path)
}

fn write_draft(path: &Path) -> io::Result<()> {
    let mut bytes = [0; GENERATED_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(file, "{text}")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_secret_is_private_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/jwt-secret");
        let secrets = SigningSecrets::Generated(path.clone());
        let first = secrets.load().unwrap();
        assert_eq!(first.len(), 1);
        assert_eq!(secrets.load().unwrap(), first);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(secrets.load().unwrap(), first);
        assert_eq!(mode(&path), 0o600);

        fs::write(&path, "short").unwrap();
        let error = secrets.load().unwrap_err().to_string();
        assert!(error.contains("at least 32 bytes"), "{error}");
    }

    #[test]
    fn racing_processes_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwt-secret");
        fs::write(&path, format!("{}\n", "x".repeat(40))).unwrap();
        // Another process has made the file between our look and our link.
        let draft = path.with_extension("draft");
        write_draft(&draft).unwrap();
        assert_eq!(
            fs::hard_link(&draft, &path).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(read_or_generate(&path).unwrap().trim(), "x".repeat(40));
    }

    #[test]
    fn secrets_are_bounded() {
        let good = "a".repeat(32);
        assert_eq!(
            parse_secrets(&format!("{good}\r\n\n{good}b\n"))
                .unwrap()
                .len(),
            2
        );
        assert!(parse_secrets("").is_err());
        assert!(parse_secrets(&format!("{good}\nshort")).is_err());
        assert!(parse_secrets(&format!("{good}\n").repeat(SECRETS_MAX + 1)).is_err());
    }

    #[test]
    fn urls_are_shown_without_their_secrets() {
        let cases = [
            ("sqlite:data/syncchat.db", "sqlite:data/syncchat.db"),
            ("mongodb://a:b@h1,h2/db?x=y", "mongodb://…@h1,h2/db"),
            ("mongodb://a:p@ss@h/db", "mongodb://…@h/db"),
            ("mongodb://h:27017/?replicaSet=rs0", "mongodb://h:27017/"),
        ];
        for (url, shown) in cases {
            let url = SecretUrl::new(url.to_owned());
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
    }
}
