//! What libgit2 says, turned into what a person is told: who has to act, and how.
//!
//! It decides by libgit2's codes and classes; its wording only where no code exists. It never sees
//! a password: the place that it is given is already without one.

use std::path::Path;

use git2::{ErrorClass, ErrorCode};

use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::host_cause::HostCause;
use reconciler_model::source::SourceError;

/// How like two names must be for one to be offered in place of the other (Jaro-Winkler).
const LIKENESS: f64 = 0.8;

/// How many names an error lists.
const LISTED: usize = 20;

/// A repository that could not be opened.
pub(super) fn refused(place: &str, path: &Path, error: &git2::Error) -> SourceError {
    let said = error.message();
    if let Some(cause) = HostCause::of(said) {
        return SourceError::Host { place: place.to_owned(), cause, detail: said.to_owned() };
    }
    let wrong = match error.code() {
        ErrorCode::Owner => Diagnostic::new(format!(
            "{place} belongs to another user, so git does not trust it"
        ))
        .hint(format!(
            "if you do: git config --global --add safe.directory {place}"
        )),
        ErrorCode::NotFound if !path.exists() => Diagnostic::new(format!("{place} does not exist"))
            .hint("`path` under `repositories` in the configuration names the folder of a git repository"),
        ErrorCode::NotFound => Diagnostic::new(format!("{place} is not a git repository"))
            .hint("run in a folder of one, or name it under `repositories` in the configuration"),
        _ if said.contains("extensions.refstorage") => reftable(place),
        _ if said.contains("object format") || said.contains("objectformat") => Diagnostic::new(
            format!("{place} names its objects by SHA-256, which is not supported"),
        )
        .hint("push it to a repository made with `git init --object-format=sha1`"),
        _ if said.contains("extensions.partialclone") => partial(place),
        _ if said.contains("unsupported extension") => Diagnostic::new(format!(
            "{place} uses a git format that is not supported: {said}"
        ))
        .hint("follow a plain clone of it instead"),
        _ if denied(error) => may_not_read(place, said),
        _ => Diagnostic::new(format!("{place} cannot be opened: {said}"))
            .hint("`git fsck` in it says what is damaged"),
    };
    SourceError::Person(wrong)
}

/// References in a format that libgit2 does not read.
pub(super) fn reftable(place: &str) -> Diagnostic {
    Diagnostic::new(format!(
        "{place} keeps its references in the reftable format, which is not supported"
    ))
    .hint("convert it with `git refs migrate --ref-format=files`")
}

fn partial(place: &str) -> Diagnostic {
    Diagnostic::new(format!(
        "{place} is a partial clone: it does not hold every object, and nothing is fetched while a plan is made"
    ))
    .hint(
        "make it whole: git fetch --refetch --no-filter, then git config --unset extensions.partialClone; or follow its remote URL",
    )
}

fn may_not_read(place: &str, said: &str) -> Diagnostic {
    Diagnostic::new(format!("{place} may not be read: {said}"))
        .hint("give the user that the reconciler runs as read access to the whole repository")
}

/// An object that could not be read. `what` names it for a person
/// (`the tree of packer_workspaces`).
pub(super) fn unreadable(place: &str, what: &str, error: &git2::Error) -> SourceError {
    let said = error.message();
    if let Some(cause) = HostCause::of(said) {
        return SourceError::Host { place: place.to_owned(), cause, detail: said.to_owned() };
    }
    match (error.code(), error.class()) {
        (ErrorCode::NotFound, _) => SourceError::Damaged(
            Diagnostic::new(format!("{what} is missing from {place}: {said}")).hint(
                "the repository is a partial, shallow or damaged clone: try `git fetch --refetch`, then `git fsck`",
            ),
        ),
        _ if denied(error) => SourceError::Person(may_not_read(place, said)),
        (ErrorCode::Locked, _) | (_, ErrorClass::Os) => SourceError::Transient {
            place: place.to_owned(),
            detail: said.to_owned(),
        },
        _ => SourceError::Damaged(
            Diagnostic::new(format!("{what} cannot be read from {place}: {said}"))
                .hint("the repository is damaged: `git fsck` says where"),
        ),
    }
}

/// A commit that a caller names. Where it is not there, nothing is damaged: no reference may lead
/// to it any more.
pub(super) fn no_commit(place: &str, what: &str, error: &git2::Error) -> SourceError {
    match unreadable(place, what, error) {
        wrong if error.code() == ErrorCode::NotFound => wrong.final_word(),
        wrong => wrong,
    }
}

fn denied(error: &git2::Error) -> bool {
    error.class() == ErrorClass::Os && error.message().contains("ermission denied")
}

/// A branch, tag or other revision that does not exist; `names` are the branches and tags that do.
pub(super) fn no_such(place: &str, kind: &str, name: &str, names: &[String]) -> Diagnostic {
    let wrong = Diagnostic::new(format!("{place} has no {kind} `{name}`"));
    if names.is_empty() {
        return wrong.hint("it has no commit yet");
    }
    let near = names
        .iter()
        .map(|known| (strsim::jaro_winkler(known, name), known))
        .filter(|(likeness, _)| *likeness > LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let meant = near.map_or_else(String::new, |(_, near)| format!("did you mean `{near}`? "));
    wrong.hint(format!("{meant}there are: {}", listed(names)))
}

/// Names for a sentence, cut where nobody would read on.
pub(super) fn listed(names: &[String]) -> String {
    let shown = names.get(..LISTED).unwrap_or(names).join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
