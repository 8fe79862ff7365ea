//! `syncchat check`: what of the configuration answers.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use syncchat_core::Clock;
use syncchat_files::Address;
use syncchat_identity::Secret;
use syncchat_identity::limits::SECRET_BYTES_MIN;
use tokio::time::timeout;

use super::Failure;
use crate::cli;
use crate::config::Config;
use crate::config::secrets::SigningSecrets;
use crate::connections::{Room, descriptor_limit_max};
use crate::wiring;

/// For one dependency to answer. Then it counts as failed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// One line of the table.
struct Row {
    what: &'static str,
    /// As set, without secrets.
    setting: String,
    /// What it said, or why it said nothing.
    answer: Result<String, String>,
}

/// Connects to everything, prints a table; fails if anything did not answer.
///
/// # Errors
/// The table cannot be printed.
pub async fn run(config: Config) -> Result<ExitCode, Failure> {
    let rows = [
        Row {
            what: "signing secret",
            setting: signing_setting(&config.signing),
            answer: signing(&config.signing),
        },
        Row {
            what: "store",
            setting: config.store.to_string(),
            answer: store(&config).await,
        },
        Row {
            what: "backplane",
            setting: config.backplane.to_string(),
            answer: backplane(&config).await,
        },
        Row {
            what: "files",
            setting: config.files.url.to_string(),
            answer: files(&config).await,
        },
        Row {
            what: "events",
            setting: "none".into(),
            answer: Ok("nothing to connect to".into()),
        },
        Row {
            what: "connections",
            setting: sessions_setting(&config),
            answer: connections(&config),
        },
    ];
    cli::say(table(&rows))?;
    Ok(match rows.iter().all(|row| row.answer.is_ok()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn table(rows: &[Row]) -> String {
    let width = |cell: fn(&Row) -> usize| rows.iter().map(cell).max().unwrap_or(0);
    let (what, setting) = (width(|row| row.what.len()), width(|row| row.setting.len()));
    let mut table = String::new();
    for row in rows {
        let (mark, answer) = match &row.answer {
            Ok(answer) => ("ok    ", answer),
            Err(answer) => ("FAILED", answer),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "{mark}  {:what$}  {:setting$}  {answer}",
            row.what, row.setting
        );
    }
    table.trim_end().to_owned()
}

fn signing_setting(signing: &SigningSecrets) -> String {
    match signing {
        SigningSecrets::Given(_) => "given".into(),
        SigningSecrets::Generated(path) => path.display().to_string(),
    }
}

fn signing(signing: &SigningSecrets) -> Result<String, String> {
    match signing {
        SigningSecrets::Generated(path) if !path.exists() => Ok("made by the first start".into()),
        _ => match signing.load() {
            Ok(secrets) => Ok(format!("{} to verify with", secrets.len())),
            Err(error) => Err(error.to_string()),
        },
    }
}

async fn store(config: &Config) -> Result<String, String> {
    // Opening an embedded store would make it, and a check changes nothing.
    let url = config.store.expose();
    if url
        .strip_prefix("sqlite:")
        .is_some_and(|path| !Path::new(path).exists())
    {
        return Ok("made by the first start".into());
    }
    let asked = async {
        let store = syncchat_store::open(url)
            .await
            .map_err(|error| error.to_string())?;
        let answer = store.check().await.map_err(|error| error.to_string())?;
        let found = Clock::system().compare(&*store).await;
        let found = found.map_err(|error| error.to_string())?;
        let apart = format!("its clock and this one {} ms apart", found.offset.abs());
        if found.is_wrong() {
            return Err(format!("{answer}, {apart}: a node would not be ready"));
        }
        let lineage = store.lineage().await.map_err(|error| error.to_string())?;
        let epoch = match lineage.is_empty() {
            true => "no epoch before the first start".to_owned(),
            false => format!("epoch {}", lineage.current()),
        };
        Ok(format!("{answer}, {apart}, {epoch}"))
    };
    answered(timeout(ANSWER_TIMEOUT, asked).await)
}

async fn backplane(config: &Config) -> Result<String, String> {
    let asked = async {
        let found =
            syncchat_backplane::connect(config.backplane.expose(), config.rates, &config.node_id)
                .await
                .map_err(|error| error.to_string())?;
        let answer = found.fleet.check().await;
        // Nodes that heard this one would miss it otherwise.
        found.fleet.close().await;
        answer
    };
    answered(timeout(ANSWER_TIMEOUT, asked).await)
}

fn answered<E>(answer: Result<Result<String, String>, E>) -> Result<String, String> {
    answer.unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())))
}

async fn files(config: &Config) -> Result<String, String> {
    // As with the store: a check makes no folder, and no secret.
    if matches!(&config.files.address, Address::Folder(path) if !path.exists()) {
        return Ok("made by the first start".into());
    }
    let asked = async {
        // Nothing is signed here that anybody would verify.
        let secrets: Vec<_> = Secret::new([0; SECRET_BYTES_MIN]).into_iter().collect();
        wiring::open_files(config, &secrets)
            .await
            .map_err(|error| error.to_string())?
            .storage
            .check()
            .await
            .map_err(|error| error.to_string())
    };
    answered(timeout(ANSWER_TIMEOUT, asked).await)
}

fn sessions_setting(config: &Config) -> String {
    match config.max_connections {
        Some(number) => number.to_string(),
        None => "from the fd limit".into(),
    }
}

fn connections(config: &Config) -> Result<String, String> {
    let descriptors = descriptor_limit_max();
    let fit = Room::new(descriptors, None, config.is_fleet()).sessions;
    let wanted = Room::new(descriptors, config.max_connections, config.is_fleet()).sessions;
    match wanted <= fit {
        true => Ok(format!("{wanted} sessions, {descriptors} file descriptors")),
        false => Err(format!(
            "{descriptors} file descriptors hold {fit} sessions"
        )),
    }
}
