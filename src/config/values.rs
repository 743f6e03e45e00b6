//! Single values of the configuration: each is held against what can work, whatever else the
//! configuration says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::load::ProcessEnvironment;
use crate::config::patterns::{SOMETHING, fits};
use crate::config::refusal::Refusal;
use reconciler_core::secrets::shown_url::without_password;
use reconciler_model::duration;
use reconciler_model::duration::LONGEST;

/// What a duration has to be at least, and why.
pub(super) struct Least {
    /// This.
    pub(super) duration: Duration,
    /// What a shorter one would do.
    pub(super) why: &'static str,
}

/// A second, the smallest unit: zero is no time.
pub(super) const A_SECOND: Least =
    Least { duration: Duration::from_secs(1), why: "without any time nothing can happen in it" };

/// A duration that is typed, or the default.
pub(super) fn duration(
    key: &str,
    typed: Option<&str>,
    default: Duration,
    least: &Least,
) -> Result<Duration, Refusal> {
    let Some(typed) = typed else {
        return Ok(default);
    };
    let Some(parsed) = duration::parse(typed) else {
        return Err(Refusal::new(key, format!("`{}` is no duration: {typed:?}", shown(key)))
            .hint(format!("write {}", duration::HOW)));
    };
    if parsed < least.duration {
        return Err(Refusal::new(key, format!("`{}` is {typed}, which is too short", shown(key)))
            .hint(format!("{} or more: {}", duration::text(least.duration), least.why)));
    }
    if parsed > LONGEST {
        return Err(Refusal::new(key, format!("`{}` is {typed}, which is too long", shown(key)))
            .hint(format!("{} days or less", LONGEST.as_secs() / (24 * 3600))));
    }
    Ok(parsed)
}

/// A number that is typed, or the default, from 1 to `most`.
pub(super) fn count(
    key: &str,
    typed: Option<usize>,
    default: usize,
    most: usize,
    hint: &str,
) -> Result<usize, Refusal> {
    match typed {
        None => Ok(default),
        Some(typed) if (1..=most).contains(&typed) => Ok(typed),
        Some(typed) => Err(Refusal::new(key, format!("`{}` is {typed}", shown(key)))
            .hint(format!("1 to {most}: {hint}"))),
    }
}

/// A text of a form; `wrong` says what a text of another form is not, `hint` what to write.
pub(super) fn text(
    key: &str,
    typed: Option<String>,
    pattern: &str,
    wrong: &str,
    hint: &str,
) -> Result<Option<String>, Refusal> {
    let Some(typed) = something(key, typed, hint)? else {
        return Ok(None);
    };
    if fits(pattern, &typed) {
        return Ok(Some(typed));
    }
    let quoted = without_password(&typed);
    let refusal = Refusal::new(key, format!("`{}` is {wrong}: {quoted:?}", shown(key)));
    let refusal = if quoted == typed { refusal } else { refusal.secret() };
    Err(refusal.hint(hint))
}

/// A text of any form, but not an empty one.
pub(super) fn something(
    key: &str,
    typed: Option<String>,
    hint: &str,
) -> Result<Option<String>, Refusal> {
    match typed {
        Some(typed) if !fits(SOMETHING, &typed) => {
            Err(Refusal::new(key, format!("`{}` is empty", shown(key)))
                .hint(format!("{hint}; leave the key out to use its default")))
        }
        other => Ok(other),
    }
}

/// A list whose items have a form. Of `NAME=value` only the name is quoted: the value may be a
/// secret.
pub(super) fn items(
    key: &str,
    typed: Option<&[String]>,
    pattern: &str,
    wrong: &str,
    hint: &str,
) -> Result<(), Refusal> {
    for (at, item) in typed.into_iter().flatten().enumerate() {
        if !fits(pattern, item) {
            let (refused, quoted) = (format!("{key}[{at}]"), shown(key));
            return Err(match item.split_once('=') {
                Some((name, _)) => {
                    let said = format!("`{quoted}` names {wrong}: {name:?} with a value behind it");
                    Refusal::new(refused, said).secret()
                }
                None => Refusal::new(refused, format!("`{quoted}` names {wrong}: {item:?}")),
            }
            .hint(hint));
        }
    }
    Ok(())
}

/// A path that is typed, from the current folder; `~/` is the home folder.
pub(super) fn path(
    key: &str,
    typed: Option<String>,
    around: &ProcessEnvironment,
) -> Result<Option<PathBuf>, Refusal> {
    let Some(typed) = something(key, typed, "write a path")? else {
        return Ok(None);
    };
    expand(key, &typed, around).map(Some)
}

/// A path as it is typed, from the current folder.
pub(super) fn expand(
    key: &str,
    typed: &str,
    around: &ProcessEnvironment,
) -> Result<PathBuf, Refusal> {
    let wrong = |what: &str| {
        Refusal::new(key, format!("`{}` {what}: {typed:?}", shown(key)))
            .hint("write the path in full, or ~/ for this user's home folder")
    };
    if let Some(rest) = typed.strip_prefix("~/") {
        let home = around.env.get("HOME").filter(|home| !home.is_empty());
        let home = home.ok_or_else(|| wrong("begins with ~, and HOME is not set"))?;
        return Ok(Path::new(home).join(rest));
    }
    if typed.starts_with('~') {
        return Err(wrong("begins with the home folder of a user, which is not looked up"));
    }
    if typed.starts_with('$') {
        return Err(wrong("begins with a variable, which is not expanded"));
    }
    Ok(around.folder.join(typed))
}

/// A key as it is shown: which one of a list is meant the caret says.
pub(super) fn shown(key: &str) -> String {
    let mut shown = String::new();
    let mut inside = false;
    for c in key.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if !inside => shown.push(c),
            _ => {}
        }
    }
    match shown.strip_prefix("repositories.") {
        Some(rest) => rest.to_owned(),
        None => shown,
    }
}
