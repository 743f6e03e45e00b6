//! The way of the configuration, from the file to what is meant: found, read (`yaml`), overridden
//! (`environment`), checked (`validate`).
//!
//! The environment and the current folder are arguments; only the configuration file itself is
//! read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::config::environment::overridden;
use crate::config::place::{Source, placed};
use crate::config::raw::RawConfig;
use crate::config::state::from_the_files_folder;
use crate::config::validate::meant;
use crate::config::yaml::parse;
use reconciler_model::diagnostic::Diagnostic;

/// What the process was started in.
#[derive(Clone, Debug, Default)]
pub struct ProcessEnvironment {
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// The current folder.
    pub folder: PathBuf,
}

/// Loads the configuration. `named` is what `--config` says.
pub fn load(named: Option<&Path>, around: &ProcessEnvironment) -> Result<Config, Diagnostic> {
    let Some(path) = find(named, around)? else {
        let raw = overridden(RawConfig::default(), around)?;
        return meant(raw, around).map_err(|refusal| placed(refusal, None, around));
    };
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Diagnostic::new(format!("cannot be read: {error}")).in_file(path.display().to_string())
    })?;
    let raw = parse(&path.display().to_string(), &text)?;
    let raw = overridden(from_the_files_folder(raw, &path, around), around)?;
    let source = Source { path: &path, text: &text };
    meant(raw, around).map_err(|refusal| placed(refusal, Some(source), around))
}

fn find(named: Option<&Path>, around: &ProcessEnvironment) -> Result<Option<PathBuf>, Diagnostic> {
    let named = named
        .map(Path::to_owned)
        .or_else(|| around.env.get("RECONCILER_CONFIG").map(PathBuf::from));
    if let Some(path) = named {
        let path = around.folder.join(path);
        if !path.is_file() {
            return Err(Diagnostic::new("there is no such configuration file")
                .in_file(path.display().to_string())
                .hint("see config/reconciler.yaml for an example"));
        }
        return Ok(Some(path));
    }
    let home = around
        .env
        .get("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| around.env.get("HOME").map(|home| Path::new(home).join(".config")));
    let places = [
        home.map(|home| home.join("reconciler/reconciler.yaml")),
        Some(PathBuf::from("/etc/reconciler/reconciler.yaml")),
    ];
    Ok(places.into_iter().flatten().find(|path| path.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::environment::KEYS;
    use crate::config::validate::check;
    use crate::config::{InventoryConfig, Location};

    fn around(env: &[(&str, &str)]) -> ProcessEnvironment {
        let mut all: BTreeMap<_, _> =
            env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        all.insert("HOME".into(), "/nowhere".into());
        ProcessEnvironment { env: all, folder: "/repo".into() }
    }

    #[test]
    fn no_configuration_means_the_repository_here_and_the_embedded_inventory() {
        let config = load(None, &around(&[])).unwrap();
        assert_eq!(config.repositories[0].location, Location::Local("/repo".into()));
        assert_eq!(
            config.inventory,
            InventoryConfig::Sqlite {
                path: "/nowhere/.local/state/reconciler/inventory.sqlite".into()
            }
        );
    }

    #[test]
    fn an_unknown_key_is_shown_with_a_suggestion() {
        let wrong =
            parse("c.yaml", "max_concurrent_builds: 3\ninventry:\n  table: x\n").unwrap_err();
        let hint = wrong.hint.as_deref();
        assert_eq!(
            hint.map(|hint| hint.starts_with("did you mean `inventory`? there are: ")),
            Some(true),
            "{wrong:?}"
        );
        assert!(
            wrong.one_line().starts_with("c.yaml:2:1: unknown field `inventry`"),
            "{}",
            wrong.one_line()
        );
    }

    #[test]
    fn a_variable_overrides_one_key_and_an_unknown_one_is_refused() {
        let env = [
            ("RECONCILER_AWS__ENDPOINT_URL", "http://x"),
            ("RECONCILER_INVENTORY__TABLE", "images"),
            ("RECONCILER_MAX_CONCURRENT_BUILDS", "7"),
            ("RECONCILER_TEST_X", "1"),
        ];
        let config = load(None, &around(&env)).unwrap();
        assert_eq!(config.aws.endpoint_url.as_deref(), Some("http://x"));
        assert_eq!(config.max_concurrent_builds, 7);
        let wrong = load(None, &around(&[("RECONCILER_AWS__ENDPOINT", "x")])).unwrap_err();
        assert_eq!(wrong.hint.as_deref(), Some("did you mean RECONCILER_AWS__ENDPOINT_URL?"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = |env: &[(&str, &str)]| load(None, &around(env)).unwrap_err().message;
        assert!(refused(&[("RECONCILER_INTERVAL", "soon")]).contains("`interval` is no duration"));
        assert!(refused(&[("RECONCILER_AMI_NAME", "{step_id}")]).contains("{fingerprint}"));
        assert!(
            refused(&[("RECONCILER_MAX_CONCURRENT_BUILDS", "many")])
                .contains("RECONCILER_MAX_CONCURRENT_BUILDS must be a whole number, not \"many\"")
        );
        assert!(
            !refused(&[("RECONCILER_REPOSITORIES", "[{url: https://token@host}")])
                .contains("token")
        );
        assert!(
            refused(&[("RECONCILER_REPOSITORIES", r#"[{"path": "/r", "roots": ["../x"]}]"#)])
                .contains("`roots` leads out")
        );
        assert!(
            load(Some(Path::new("no.yaml")), &around(&[]))
                .unwrap_err()
                .message
                .contains("no such configuration file")
        );
    }

    #[test]
    fn the_example_names_every_key_and_means_the_defaults() {
        let text = include_str!("../../config/reconciler.yaml");
        for (key, _) in KEYS.iter().filter(|(key, _)| *key != "repository") {
            let last = key.rsplit('.').next().unwrap();
            assert!(text.contains(&format!("{last}:")), "{key} is not in config/reconciler.yaml");
        }
        let uncommented: String = text
            .lines()
            .map(|line| {
                line.strip_prefix("# ")
                    .filter(|l| {
                        // For editors.
                        !l.starts_with("yaml-language-server")
                            && (l.contains(": ")
                                || l.ends_with(':')
                                || l.trim_start().starts_with("- "))
                    })
                    .unwrap_or(if line.starts_with('#') { "" } else { line })
            })
            .fold(String::new(), |all, line| all + line + "\n");
        let config =
            check(parse("config/reconciler.yaml", &uncommented).unwrap(), &around(&[])).unwrap();
        assert_eq!(config.max_concurrent_builds, 2);
    }
}
