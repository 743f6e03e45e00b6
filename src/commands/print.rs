//! Prints: results to standard output, errors to standard error, coloured only on a terminal and never with `NO_COLOR`.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use reconciler::diagnostic::Diagnostic;
use reconciler::plan::progress::Medium;
use serde_json::Value;

use super::CommandError;

/// Prints text whose styles are taken off where they are not wanted. A reader that went away ends the program quietly.
pub(crate) fn text(text: &str) -> Result<(), CommandError> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Where standard output is read.
pub(crate) fn medium() -> Medium {
    if std::io::stdout().is_terminal() {
        Medium::Terminal
    } else {
        Medium::Plain
    }
}

/// Prints JSON with a line feed.
pub(crate) fn json(value: &Value) -> Result<(), CommandError> {
    text(&format!("{value:#}\n"))
}

/// Prints a diagnostic to standard error.
pub(crate) fn diagnostic(diagnostic: &Diagnostic) {
    let mut out = anstream::stderr().lock();
    // There is nowhere else to say it.
    let _ = writeln!(out, "{}", diagnostic.render(true));
}

/// Prints a warning to standard error, in one line and its hint.
pub(crate) fn warning(warning: &Diagnostic) {
    let mut out = anstream::stderr().lock();
    let hint = warning
        .hint
        .as_ref()
        .map(|hint| format!(" ({hint})"))
        .unwrap_or_default();
    let _ = writeln!(out, "warning: {}{hint}", warning.one_line());
}

/// Prints what stopped a command; its exit code.
pub(crate) fn failure(error: &CommandError) -> ExitCode {
    match error {
        CommandError::Pass(error) => diagnostic(&error.diagnostic()),
        CommandError::Io(error) => diagnostic(&Diagnostic::new(error.to_string())),
    }
    ExitCode::FAILURE
}
