//! The repositories of a configuration: where each is, what of it is followed, and what is asked of
//! its commits.

use std::path::Path;
use std::time::Duration;

use crate::config::load::ProcessEnvironment;
use crate::config::patterns::{FOLDER_NAME, REMOTE, VARIABLE, fits};
use crate::config::raw::RawRepository;
use crate::config::refusal::Refusal;
use crate::config::values::{A_SECOND, duration, items, path, something, text};
use crate::config::{Location, RepositoryConfig, trust};

const PATH_OR_URL: &str = "`path` for a folder of this host, `url` for anything that is fetched";

pub(super) fn repositories(
    raw: Option<Vec<RawRepository>>,
    around: &ProcessEnvironment,
) -> Result<Vec<RepositoryConfig>, Refusal> {
    let raw = match raw {
        None => vec![RawRepository {
            path: Some(around.folder.display().to_string()),
            ..RawRepository::default()
        }],
        Some(list) if list.is_empty() => {
            return Err(Refusal::new("repositories", "`repositories` is empty")
                .hint("write one below it, `- path: FOLDER` or `- url: URL`; without the key it is the repository of the current folder"));
        }
        Some(list) => list,
    };
    let mut found: Vec<RepositoryConfig> = Vec::new();
    for (at, one) in raw.into_iter().enumerate() {
        let place = format!("repositories[{at}]");
        let repository = repository(&place, one, around)?;
        if found.iter().any(|other| other.name == repository.name) {
            return Err(Refusal::new(
                format!("{place}.name"),
                format!("two repositories are named `{}`", repository.name),
            )
            .hint("give each a `name`"));
        }
        found.push(repository);
    }
    Ok(found)
}

fn repository(
    place: &str,
    mut raw: RawRepository,
    around: &ProcessEnvironment,
) -> Result<RepositoryConfig, Refusal> {
    let key = |name: &str| format!("{place}.{name}");
    let trust = trust::check(&mut raw, place, around)?;
    let (location, last) = location(place, &mut raw, around)?;
    useless_keys(place, &raw, &location)?;
    let hint = "the name in output and for --repository";
    let name = something(&key("name"), raw.name, hint)?;
    let hint = "write the name of a branch or a tag";
    let reference = something(&key("reference"), raw.reference, hint)?;
    if let Some(wrong) = reference
        .as_ref()
        .filter(|name| !git2::Reference::is_valid_name(&format!("refs/heads/{name}")))
    {
        return Err(Refusal::new(
            key("reference"),
            format!("`reference` is no name of a branch or a tag: {wrong:?}"),
        )
        .hint(hint));
    }
    roots(place, raw.roots.as_deref())?;
    let hint = "write names, not paths: a folder of that name is left out wherever it is";
    let wrong = "what is no name of a folder";
    let exclude = raw.exclude.as_deref();
    items(&key("exclude"), exclude, FOLDER_NAME, wrong, hint)?;
    let hint = "name the variable that holds the token; the token itself does not belong in the configuration";
    if let Some(name) = &raw.token_env
        && !fits(VARIABLE, name)
    {
        // It is not quoted: it may be the token.
        return Err(Refusal::new(key("token_env"), "`token_env` is no name of a variable")
            .secret()
            .hint(hint));
    }
    let poll = raw.poll_interval.as_deref();
    let a_minute = Duration::from_mins(1);
    Ok(RepositoryConfig {
        name: name.unwrap_or(last),
        location,
        reference,
        poll_interval: duration(&key("poll_interval"), poll, a_minute, &A_SECOND)?,
        roots: raw
            .roots
            .unwrap_or_else(|| vec!["packer_workspaces".to_owned(), "workflow".to_owned()]),
        exclude: raw.exclude.unwrap_or_else(|| vec!["example".to_owned()]),
        ssh_key: path(&key("ssh_key"), raw.ssh_key, around)?,
        token_env: raw.token_env,
        trust,
    })
}

/// Where it is, and the last part of that, which is its name by default.
fn location(
    place: &str,
    raw: &mut RawRepository,
    around: &ProcessEnvironment,
) -> Result<(Location, String), Refusal> {
    let key = |name: &str| format!("{place}.{name}");
    let local = path(&key("path"), raw.path.take(), around)?;
    let hint = "for instance https://host/owner/name.git or git@host:owner/name.git; a folder of this host is a `path`";
    let remote = text(&key("url"), raw.url.take(), REMOTE, "no URL", hint)?;
    let (location, whole) = match (local, remote) {
        (Some(path), None) => {
            let whole = path.display().to_string();
            (Location::Local(path), whole)
        }
        (None, Some(url)) => (Location::Remote(url.clone()), url),
        (Some(_), Some(_)) => {
            return Err(Refusal::new(
                key("path"),
                "a repository has `path` and `url`, and takes one of them",
            )
            .hint(PATH_OR_URL));
        }
        (None, None) => {
            return Err(Refusal::new(place, "one of `repositories` has neither `path` nor `url`")
                .hint(PATH_OR_URL));
        }
    };
    let last = whole.trim_end_matches('/').rsplit(['/', ':']).next();
    let last = last.unwrap_or("repository").trim_end_matches(".git");
    Ok((location, last.to_owned()))
}

/// Keys that would be looked at for another kind of place only.
fn useless_keys(place: &str, raw: &RawRepository, location: &Location) -> Result<(), Refusal> {
    let (web, ssh) = match location {
        Location::Local(_) => (false, false),
        Location::Remote(url) => {
            let scheme = url.split_once("://").map(|(scheme, _)| scheme);
            let short = scheme.is_none() && !url.starts_with('/');
            (
                matches!(scheme, Some("http" | "https")),
                short || scheme.is_some_and(|scheme| scheme.contains("ssh")),
            )
        }
    };
    let useless = [
        ("token_env", raw.token_env.is_some() && !web, "https://"),
        ("ssh_key", raw.ssh_key.is_some() && !ssh, "ssh"),
    ];
    match useless.iter().find(|(_, is, _)| *is) {
        None => Ok(()),
        Some((name, _, needs)) => Err(Refusal::new(
            format!("{place}.{name}"),
            format!("`{name}` does nothing for this repository: it is for a `url` of {needs}"),
        )
        .hint("remove it, or give the repository such a URL")),
    }
}

fn roots(place: &str, roots: Option<&[String]>) -> Result<(), Refusal> {
    let key = format!("{place}.roots");
    let hint = "write folders from the repository's root, such as packer_workspaces; . is the root";
    if roots.is_some_and(<[String]>::is_empty) {
        return Err(Refusal::new(key, "`roots` is empty, so no workflow would be found").hint(hint));
    }
    for (at, root) in roots.into_iter().flatten().enumerate() {
        let key = format!("{key}[{at}]");
        if root.trim().is_empty() {
            return Err(Refusal::new(key, "`roots` names nothing: \"\"").hint(hint));
        }
        if Path::new(root).is_absolute() || root.split('/').any(|part| part == "..") {
            return Err(Refusal::new(
                key,
                format!("`roots` leads out of the repository: {root:?}"),
            )
            .hint(hint));
        }
    }
    Ok(())
}
