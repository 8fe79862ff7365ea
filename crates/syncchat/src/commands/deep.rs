//! `syncchat check --deep`: what the data of the store should not hold.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use syncchat_core::ports::store::DeepFinding;

use super::Failure;
use crate::cli;
use crate::config::Config;

/// Prints a table; fails if something was found and is not mended.
///
/// # Errors
/// The store does not answer, or the table cannot be printed.
pub async fn run(config: Config, repair: bool) -> Result<ExitCode, Failure> {
    let url = config.store.expose();
    if let Some(path) = url.strip_prefix("sqlite:")
        && !Path::new(path).exists()
    {
        cli::say("there is no store yet: it is made by the first start")?;
        return Ok(ExitCode::SUCCESS);
    }
    let store = syncchat_store::open(url).await?;
    let findings = store.check_deep(repair).await?;
    cli::say(table(&findings))?;
    Ok(match findings.iter().all(is_fine) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn is_fine(finding: &DeepFinding) -> bool {
    finding.repaired >= finding.found
}

fn table(findings: &[DeepFinding]) -> String {
    let names = findings.iter().map(|finding| finding.flaw.as_str().len());
    let width = names.max().unwrap_or(0);
    let mut table = format!(
        "        {:width$}  {:>10}  {:>8}  {:>8}",
        "", "looked at", "found", "repaired"
    );
    for finding in findings {
        let mark = if is_fine(finding) { "ok    " } else { "FAILED" };
        let (name, looked_at) = (finding.flaw.as_str(), finding.looked_at);
        // Writing to a String cannot fail.
        let _ = write!(
            table,
            "\n{mark}  {name:width$}  {looked_at:>10}  {:>8}  {:>8}",
            finding.found, finding.repaired
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use syncchat_core::ports::store::Flaw;

    use super::*;

    #[test]
    fn what_is_not_mended_fails() {
        let finding = |flaw, found, repaired| DeepFinding {
            found,
            repaired,
            looked_at: 1_000,
            ..DeepFinding::new(flaw)
        };
        let findings = [
            finding(Flaw::HeadBehindLog, 2, 2),
            finding(Flaw::HeadBeyondLog, 1, 0),
        ];
        let lines: Vec<Vec<String>> = table(&findings)
            .lines()
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect();
        assert_eq!(lines[1].join(" "), "ok heads behind their logs 1000 2 2");
        assert_eq!(
            lines[2].join(" "),
            "FAILED heads beyond their logs 1000 1 0"
        );
    }
}
