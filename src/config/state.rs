//! Which folder this program keeps its own files in. Names it only; what stands there is looked at
//! by `controller::state_folder`.
//!
//! With the embedded inventory in it, the folder decides what is built. So it follows from the
//! configuration, which every process of a host reads alike, and not from what a process happens to
//! be started in: a relative path of the file begins at the file's own folder, one of a variable is
//! refused, and a folder that systemd made for the service counts only where the configuration
//! names it too.

use std::path::{Path, PathBuf};

use crate::config::load::ProcessEnvironment;
use crate::config::raw::RawConfig;
use crate::config::refusal::Refusal;
use crate::config::values::path;

/// What systemd sets for a unit with `StateDirectory=`, and no shell has.
const OF_THE_SERVICE: &str = "STATE_DIRECTORY";

/// The state folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StateFolder {
    /// Itself.
    pub(super) path: PathBuf,
    /// The folder that has to be there already. What is missing below it is made.
    pub(super) above: PathBuf,
}

/// The paths of a file that name its own state, made independent of the folder that a process is
/// started in.
pub(super) fn from_the_files_folder(
    mut raw: RawConfig,
    file: &Path,
    around: &ProcessEnvironment,
) -> RawConfig {
    let folder = around.folder.join(file.parent().unwrap_or(Path::new("/")));
    let inventory = raw.inventory.as_mut();
    let paths = [raw.state_dir.as_mut(), inventory.and_then(|inventory| inventory.path.as_mut())];
    for path in paths.into_iter().flatten() {
        if !path.is_empty() && !path.starts_with(['~', '$']) {
            *path = folder.join(&*path).to_string_lossy().into_owned();
        }
    }
    raw
}

/// The folder that is meant, or why nobody can tell.
pub(super) fn state_folder(
    typed: Option<String>,
    around: &ProcessEnvironment,
) -> Result<StateFolder, Refusal> {
    let env = |name: &str| around.env.get(name).filter(|value| !value.is_empty());
    if let Some(path) = named("state_dir", typed, around)? {
        let above = path.parent().unwrap_or(Path::new("/")).to_owned();
        return Ok(StateFolder { path, above });
    }
    if let Some(folder) = env(OF_THE_SERVICE) {
        let first = folder.split(':').next().unwrap_or_default();
        return Err(Refusal::new("state_dir", format!(
            "the service's state folder is {first} ({OF_THE_SERVICE}), and the configuration names none: `status`, `cancel` and \
             `apply` in a shell would look at another, empty inventory"
        ))
        .hint(format!(
            "add `state_dir: {first}` to the configuration that both read, or set RECONCILER_STATE_DIR for both"
        )));
    }
    if let Some(folder) = env("XDG_STATE_HOME") {
        let folder = Path::new(folder);
        if !folder.is_absolute() {
            return Err(Refusal::new(
                "state_dir",
                format!("XDG_STATE_HOME is no absolute path: {}", folder.display()),
            )
            .hint("set it to a whole path, or name `state_dir` in the configuration"));
        }
        return Ok(StateFolder { path: folder.join("reconciler"), above: "/".into() });
    }
    env("HOME")
        .map(|home| StateFolder {
            path: Path::new(home).join(".local/state/reconciler"),
            above: home.into(),
        })
        .ok_or_else(|| {
            Refusal::new("state_dir", "no folder for the state is known: HOME is not set")
                .hint("set `state_dir` in the configuration, or RECONCILER_STATE_DIR")
        })
}

/// A path that is typed, and means the same to every process.
pub(super) fn named(
    key: &str,
    typed: Option<String>,
    around: &ProcessEnvironment,
) -> Result<Option<PathBuf>, Refusal> {
    if let Some(typed) = &typed
        && !typed.is_empty()
        && !typed.starts_with(['~', '$'])
        && !Path::new(typed).is_absolute()
    {
        let variable = key.to_uppercase().replace('.', "__");
        return Err(Refusal::new(
            key,
            format!("`{key}` is no absolute path: {typed:?} would be another place for each folder that a command is typed in"),
        )
        .hint(format!("write the whole path into RECONCILER_{variable}")));
    }
    path(key, typed, around)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw::RawInventory;

    fn around(env: &[(&str, &str)]) -> ProcessEnvironment {
        ProcessEnvironment {
            env: env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            folder: "/anywhere".into(),
        }
    }

    #[test]
    fn the_folder_of_the_service_counts_only_where_the_configuration_names_one() {
        let service = around(&[("STATE_DIRECTORY", "/var/lib/x:/var/lib/y"), ("HOME", "/h")]);
        let wrong = state_folder(None, &service).unwrap_err();
        assert!(wrong.said.message.contains("/var/lib/x ("), "{wrong:?}");
        assert!(wrong.said.hint.unwrap().contains("`state_dir: /var/lib/x`"), "what to do");
        let named = state_folder(Some("/srv/state".into()), &service).unwrap();
        assert_eq!(named.path, Path::new("/srv/state"));
        assert_eq!(named.above, Path::new("/srv"));
    }

    #[test]
    fn a_relative_path_begins_at_its_file_and_one_of_a_variable_is_refused() {
        let raw = |state: &str| RawConfig {
            state_dir: Some(state.to_owned()),
            inventory: Some(RawInventory {
                path: Some("i.sqlite".to_owned()),
                ..RawInventory::default()
            }),
            ..RawConfig::default()
        };
        let read = from_the_files_folder(raw("state"), Path::new("/etc/r/r.yaml"), &around(&[]));
        assert_eq!(read.state_dir.as_deref(), Some("/etc/r/state"));
        assert_eq!(read.inventory.unwrap().path.as_deref(), Some("/etc/r/i.sqlite"));
        let home = from_the_files_folder(raw("~/state"), Path::new("/etc/r/r.yaml"), &around(&[]));
        assert_eq!(home.state_dir.as_deref(), Some("~/state"));
        let wrong = state_folder(Some("state".into()), &around(&[])).unwrap_err();
        assert!(wrong.said.message.starts_with("`state_dir` is no absolute path"));
        let wrong = named("inventory.path", Some("i.sqlite".into()), &around(&[])).unwrap_err();
        assert!(wrong.said.message.starts_with("`inventory.path` is no absolute path"));
        let wrong = state_folder(None, &around(&[("XDG_STATE_HOME", "s"), ("HOME", "/h")]));
        assert!(wrong.unwrap_err().said.message.contains("XDG_STATE_HOME"));
    }

    #[test]
    fn by_default_it_is_below_the_users_home_which_has_to_be_there() {
        let found = state_folder(None, &around(&[("HOME", "/h")])).unwrap();
        assert_eq!(found.path, Path::new("/h/.local/state/reconciler"));
        assert_eq!(found.above, Path::new("/h"));
        let found = state_folder(None, &around(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]));
        assert_eq!(found.unwrap().path, Path::new("/s/reconciler"));
        assert!(state_folder(None, &around(&[])).is_err());
    }
}
