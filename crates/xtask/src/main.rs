//! Chores, in Rust, so that they run wherever the product builds.
//!
//! - `cargo xtask tidy` checks what the compiler does not: that the crates use one another only as
//!   `docs/architecture.md` draws it, and that nothing lies about unused, unfinished or untrue;
//! - `cargo xtask web` builds the web client, where that is possible.

#![forbid(unsafe_code)]
// A program has no outside: `pub` here says what a module offers its neighbours.
#![allow(unreachable_pub)]

mod tidy;
mod web;
mod workspace;

use std::io::{self, Write as _};
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask tidy | web";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => tidy::run(),
        ["web"] => web::build(),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(done) => {
            let _ = writeln!(io::stdout(), "{done}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            let _ = writeln!(io::stderr(), "{problem}");
            ExitCode::FAILURE
        }
    }
}
