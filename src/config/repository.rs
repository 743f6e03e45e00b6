//! The repositories of a configuration: where each is, what of it is followed, and what is asked of its commits.

use std::path::Path;

use crate::config::load::Surroundings;
use crate::config::meant::{duration, expand};
use crate::config::raw::RawRepository;
use crate::config::{Location, RepositoryConfig, trust};
use crate::diagnostic::Diagnostic;

pub(super) fn repositories(
    raw: Option<Vec<RawRepository>>,
    around: &Surroundings,
) -> Result<Vec<RepositoryConfig>, Diagnostic> {
    let raw = match raw {
        None => vec![RawRepository {
            path: Some(around.folder.display().to_string()),
            ..RawRepository::default()
        }],
        Some(list) if list.is_empty() => {
            return Err(Diagnostic::new("`repositories` is empty")
                .hint("leave the key out to use the repository of the current folder"));
        }
        Some(list) => list,
    };
    let mut found: Vec<RepositoryConfig> = Vec::new();
    for one in raw {
        let repository = repository(one, around)?;
        if found.iter().any(|other| other.name == repository.name) {
            return Err(Diagnostic::new(format!(
                "two repositories are named `{}`",
                repository.name
            ))
            .hint("give each a `name`"));
        }
        found.push(repository);
    }
    Ok(found)
}

fn repository(
    mut raw: RawRepository,
    around: &Surroundings,
) -> Result<RepositoryConfig, Diagnostic> {
    let trust = trust::check(&mut raw, |path| expand(path, around))?;
    let (location, place) = match (raw.path, raw.url) {
        (Some(path), None) => {
            let path = expand(&path, around);
            let place = path.display().to_string();
            (Location::Local(path), place)
        }
        (None, Some(url)) => (Location::Remote(url.clone()), url),
        (Some(_), Some(_)) => {
            return Err(Diagnostic::new(
                "a repository has `path` and `url`, and takes one of them",
            )
            .hint("`path` for a folder of this host, `url` for anything that is fetched"));
        }
        (None, None) => {
            return Err(
                Diagnostic::new("one of `repositories` has neither `path` nor `url`")
                    .hint("`path` for a folder of this host, `url` for anything that is fetched"),
            );
        }
    };
    let last = place
        .trim_end_matches('/')
        .rsplit(['/', ':'])
        .next()
        .unwrap_or("repository");
    if let Some(root) = raw
        .roots
        .iter()
        .flatten()
        .find(|root| Path::new(root).is_absolute() || root.split('/').any(|part| part == ".."))
    {
        return Err(
            Diagnostic::new(format!("`roots` leads out of the repository: {root:?}"))
                .hint("write folders from the repository's root, such as packer_workspaces"),
        );
    }
    Ok(RepositoryConfig {
        name: raw
            .name
            .unwrap_or_else(|| last.trim_end_matches(".git").to_owned()),
        location,
        reference: raw.reference,
        poll_interval: duration("poll_interval", raw.poll_interval.as_deref(), 60)?,
        roots: raw
            .roots
            .unwrap_or_else(|| vec!["packer_workspaces".to_owned(), "workflow".to_owned()]),
        exclude: raw.exclude.unwrap_or_else(|| vec!["example".to_owned()]),
        ssh_key: raw.ssh_key.map(|path| expand(&path, around)),
        token_env: raw.token_env,
        trust,
    })
}
