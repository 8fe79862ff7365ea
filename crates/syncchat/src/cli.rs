//! The command line: one flag for each of [`SETTINGS`], the commands, and nothing else.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, Write as _};

use clap::{Arg, ArgAction, ArgMatches, Command};
use syncchat_core::model::{MessageId, UserId};

use crate::config::settings::{SETTINGS, VARIABLE_PREFIX, variable};
use crate::config::sources::{CONFIG, ConfigError, Sources, known_names};

/// Bytes of a configuration file. Bigger: it is some other file, and an error.
const CONFIG_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What the program was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Run a node.
    Serve,
    /// Say what of the configuration answers.
    Check,
    /// Look through all data of the store.
    CheckDeep {
        /// Mend what can be mended.
        repair: bool,
    },
    /// Bring the store to this version's schema.
    Migrate,
    /// Note in the store that a backup was restored.
    Restored,
    /// Print an access token.
    Token {
        /// For whom.
        user: UserId,
    },
    /// Say what became of a message.
    Trace {
        /// Which.
        message: MessageId,
    },
}

/// A command line that was understood.
#[derive(Debug)]
pub struct Invocation {
    /// What to do.
    pub command: Task,
    /// The settings given as flags, by name.
    pub flags: BTreeMap<String, String>,
}

/// Reads the arguments, the program's name first.
///
/// # Errors
/// They cannot be understood, or ask for help or the version: clap's error prints and exits.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let matches = command().try_get_matches_from(args)?;
    let (name, own) = matches
        .subcommand()
        .ok_or_else(|| command().error(clap::error::ErrorKind::MissingSubcommand, "no command"))?;
    let id = |name: &str| {
        own.get_one::<String>(name)
            .map(String::as_str)
            .unwrap_or("")
    };
    let bad_id = |what: &str| {
        let text = format!("{what}: must be 24 hex digits");
        command().error(clap::error::ErrorKind::ValueValidation, text)
    };
    let task = match name {
        "serve" => Task::Serve,
        "check" if own.get_flag("deep") => Task::CheckDeep {
            repair: own.get_flag("repair"),
        },
        "check" => Task::Check,
        "migrate" => Task::Migrate,
        "restored" => Task::Restored,
        "token" => Task::Token {
            user: id("user").parse().map_err(|_| bad_id("--user"))?,
        },
        _ => Task::Trace {
            message: id("message").parse().map_err(|_| bad_id("MESSAGE_ID"))?,
        },
    };
    Ok(Invocation {
        command: task,
        flags: flags(own),
    })
}

/// Everything that was given: flags, environment, file.
///
/// # Errors
/// Something unknown was given, or the file cannot be read.
pub fn sources(invocation: &Invocation) -> Result<Sources, ConfigError> {
    let mut variables = Vec::new();
    for (name, text) in std::env::vars_os() {
        // A name that is no Unicode is not one of ours.
        let Ok(name) = name.into_string() else {
            continue;
        };
        match text.into_string() {
            Ok(text) => variables.push((name, text)),
            Err(_) if name.starts_with(VARIABLE_PREFIX) => {
                return Err(ConfigError::new(name, "must be UTF-8"));
            }
            Err(_) => {}
        }
    }
    let sources = Sources::default()
        .with_flags(invocation.flags.clone())
        .with_variables(variables)?;
    let Some(path) = sources.config_path() else {
        return Ok(sources);
    };
    let complain =
        |error: &dyn fmt::Display| ConfigError::new(&path.name, format!("{}: {error}", path.text));
    let size = fs::metadata(&path.text)
        .map_err(|error| complain(&error))?
        .len();
    if size > CONFIG_FILE_BYTES_MAX {
        return Err(complain(&format!(
            "has more than {CONFIG_FILE_BYTES_MAX} bytes"
        )));
    }
    let text = fs::read_to_string(&path.text).map_err(|error| complain(&error))?;
    sources.with_file(&path.text, &text)
}

/// Writes one line to standard output; that is where results go, and logs do not.
///
/// # Errors
/// Standard output is closed.
pub fn say(line: impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Writes why the program cannot go on to standard error.
pub fn complain(error: impl fmt::Display) {
    // If even this cannot be written there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "syncchat: {error}");
}

fn command() -> Command {
    Command::new("syncchat")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A chat backend people host themselves")
        .after_help(
            "Every setting is a flag, an environment variable (SYNCCHAT_ and the flag in upper \
             snake case) and a key of the file given by --config; the stronger one wins in this \
             order.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("serve").about("Run a node"))
        .subcommand(
            Command::new("check")
                .about("Connect to everything the settings name, and show what answered")
                .arg(
                    Arg::new("deep")
                        .long("deep")
                        .action(ArgAction::SetTrue)
                        .help("Look through all data of the store instead"),
                )
                .arg(
                    Arg::new("repair")
                        .long("repair")
                        .action(ArgAction::SetTrue)
                        .requires("deep")
                        .help("Mend what --deep finds and can be mended"),
                ),
        )
        .subcommand(
            Command::new("migrate")
                .about("Make or upgrade the store's tables, collections and indexes"),
        )
        .subcommand(
            Command::new("restored")
                .about("Note in the store that a backup was restored, so that clients begin anew"),
        )
        .subcommand(
            Command::new("token")
                .about("Print an access token for a user")
                .arg(
                    Arg::new("user")
                        .long("user")
                        .value_name("ID")
                        .required(true)
                        .help("The user's id, 24 hex digits"),
                ),
        )
        .subcommand(
            Command::new("trace")
                .about("Show what became of a message, on every node")
                .arg(
                    Arg::new("message")
                        .value_name("MESSAGE_ID")
                        .required(true)
                        .help("The message's id, 24 hex digits"),
                ),
        )
        .args(setting_args())
}

fn setting_args() -> Vec<Arg> {
    let mut args = vec![
        Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .help(format!(
                "A TOML file with settings [env: {}]",
                variable(CONFIG)
            )),
    ];
    for setting in SETTINGS {
        args.push(
            Arg::new(setting.name)
                .long(setting.name)
                .value_name(setting.value)
                .help(format!(
                    "{} [default: {}]",
                    setting.meaning,
                    setting.fallback.shown()
                )),
        );
        if let Some(name) = setting.file_name {
            args.push(
                Arg::new(name)
                    .long(name)
                    .value_name("PATH")
                    .help(format!("A file that holds --{}", setting.name)),
            );
        }
    }
    args.into_iter()
        // A value such as -1 is refused by its setting, which is then named.
        .map(|arg| {
            arg.global(true)
                .allow_hyphen_values(true)
                .help_heading("Settings")
        })
        .collect()
}

fn flags(matches: &ArgMatches) -> BTreeMap<String, String> {
    known_names()
        .filter_map(|name| {
            let text = matches.get_one::<String>(name)?.clone();
            Some((name.to_owned(), text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Invocation, clap::Error> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn clap_finds_no_contradiction() {
        command().debug_assert();
    }

    #[test]
    fn settings_stand_before_or_after_the_command() {
        for line in [
            "syncchat serve --listen 1.2.3.4:5 --jwt-secret-file x",
            "syncchat --listen 1.2.3.4:5 serve --jwt-secret-file=x",
        ] {
            let invocation = parse_line(line).unwrap();
            assert_eq!(invocation.command, Task::Serve);
            assert_eq!(invocation.flags["listen"], "1.2.3.4:5", "{line}");
            assert_eq!(invocation.flags["jwt-secret-file"], "x", "{line}");
            assert_eq!(invocation.flags.len(), 2);
        }
    }

    #[test]
    fn a_deep_check_repairs_only_if_it_is_told_to() {
        let task = |line| parse_line(line).unwrap().command;
        assert_eq!(task("syncchat check"), Task::Check);
        let deep = |repair| Task::CheckDeep { repair };
        assert_eq!(task("syncchat check --deep"), deep(false));
        assert_eq!(task("syncchat check --repair --deep"), deep(true));
    }

    #[test]
    fn a_value_with_a_dash_is_left_to_its_setting() {
        let invocation = parse_line("syncchat serve --drain -1s").unwrap();
        assert_eq!(invocation.flags["drain"], "-1s");
    }

    #[test]
    fn the_unknown_is_refused() {
        for line in [
            "syncchat",
            "syncchat dance",
            "syncchat serve --listn x",
            "syncchat serve --listen",
            "syncchat serve --listen a --listen b",
            "syncchat token",
            "syncchat token --user 12",
            "syncchat serve extra",
            "syncchat check --repair",
            "syncchat serve --deep",
        ] {
            assert!(parse_line(line).is_err(), "{line}");
        }
    }
}
