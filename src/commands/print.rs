//! Prints: results to standard output, errors to standard error, coloured only on a terminal and
//! never with `NO_COLOR`.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use reconciler_core::plan::progress::Medium;
use reconciler_model::diagnostic::Diagnostic;
use serde_json::Value;

use super::CommandError;
use crate::cli::Loudness;

/// What stands in the last line of the terminal and is not of the result: drawn again below all
/// that is printed.
static LIVE: Mutex<String> = Mutex::new(String::new());

/// Takes the live line away while something is printed, and draws it again when dropped.
struct AboveLive(MutexGuard<'static, String>);

impl AboveLive {
    fn begin() -> Self {
        let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        if !live.is_empty() {
            draw("");
        }
        Self(live)
    }
}

impl Drop for AboveLive {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            draw(&self.0);
        }
    }
}

fn draw(line: &str) {
    let mut out = std::io::stdout().lock();
    // A terminal that went away shows nothing anyway.
    let _ = write!(out, "\r\x1b[K{line}").and_then(|()| out.flush());
}

/// Draws the live line anew; an empty one takes it away. For terminals only.
pub(crate) fn live(line: String) {
    let mut shown = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    if *shown != line {
        draw(&line);
        *shown = line;
    }
}

/// Prints text whose styles are taken off where they are not wanted. A reader that went away ends
/// the program quietly.
pub(crate) fn text(text: &str) -> Result<(), CommandError> {
    let _above = AboveLive::begin();
    let out = std::io::stdout();
    // Taken off here and not by anstream's stream, which would make a system call for each line.
    let text = match anstream::AutoStream::choice(&out) {
        anstream::ColorChoice::Never => Cow::Owned(anstream::adapter::strip_str(text).to_string()),
        _ => Cow::Borrowed(text),
    };
    let mut out = out.lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Where standard output is read.
pub(crate) fn medium() -> Medium {
    if std::io::stdout().is_terminal() { Medium::Terminal } else { Medium::Plain }
}

/// Whether only results and errors are printed.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// From now on as quiet as this.
pub(crate) fn be(loudness: Loudness) {
    IS_QUIET.store(loudness == Loudness::Quiet, Ordering::Relaxed);
}

/// Whether only results and errors are printed.
pub(crate) fn is_quiet() -> bool {
    IS_QUIET.load(Ordering::Relaxed)
}

/// Prints a line about what is going on to standard error.
pub(crate) fn note(line: &str) {
    if is_quiet() {
        return;
    }
    let _above = AboveLive::begin();
    let mut out = anstream::stderr().lock();
    // There is nowhere else to say it.
    let _ = writeln!(out, "{line}");
}

/// Whether there is a person who can be asked: one who reads and answers on a terminal.
pub(crate) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks a person on the terminal; anything but `y` or `yes` is a no.
pub(crate) fn confirmed(question: &str) -> Result<bool, CommandError> {
    let mut told = anstream::stderr();
    write!(told, "{question} [y/N] ")?;
    told.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// Prints JSON with a line feed.
pub(crate) fn json(value: &Value) -> Result<(), CommandError> {
    text(&format!("{value:#}\n"))
}

/// Prints a diagnostic to standard error.
pub(crate) fn diagnostic(diagnostic: &Diagnostic) {
    let _above = AboveLive::begin();
    let mut out = anstream::stderr().lock();
    // There is nowhere else to say it.
    let _ = writeln!(out, "{}", diagnostic.render(true));
}

/// Prints a warning to standard error, in one line and its hint.
pub(crate) fn warning(warning: &Diagnostic) {
    if is_quiet() {
        return;
    }
    let _above = AboveLive::begin();
    let mut out = anstream::stderr().lock();
    let hint = warning.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
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
