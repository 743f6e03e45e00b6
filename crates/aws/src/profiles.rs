//! Which profiles this host has: their names, as they stand in the two files of AWS. What is in
//! them the SDK reads.

use std::collections::BTreeSet;
use std::path::PathBuf;

use reconciler_model::diagnostic::Diagnostic;

/// The two files, and the names in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profiles {
    names: BTreeSet<String>,
    files: Vec<PathBuf>,
}

impl Profiles {
    /// Those of this process's environment: `AWS_CONFIG_FILE` and `AWS_SHARED_CREDENTIALS_FILE`, or
    /// what is below the home folder.
    #[must_use]
    pub fn of_this_host() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = variable("HOME").map(PathBuf::from);
        let place = |name: &str, below_home: &str| {
            let named = variable(name).map(PathBuf::from);
            named.or_else(|| Some(home.as_ref()?.join(below_home)))
        };
        let mut found = Self::default();
        for (file, is_config) in [
            (place("AWS_CONFIG_FILE", ".aws/config"), true),
            (place("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"), false),
        ] {
            let Some(file) = file else { continue };
            if let Ok(bytes) = std::fs::read(&file) {
                let text = String::from_utf8_lossy(&bytes);
                found.names.extend(names_in(&text, is_config));
            }
            found.files.push(file);
        }
        found
    }

    /// Why a profile cannot be used, if it is not there.
    pub fn check(&self, name: &str) -> Result<(), Diagnostic> {
        if self.names.contains(name) {
            return Ok(());
        }
        let files: Vec<_> = self.files.iter().map(|file| file.display().to_string()).collect();
        let files = files.join(" and ");
        let known: Vec<_> = self.names.iter().map(String::as_str).collect();
        let hint = if files.is_empty() {
            "there is no home folder to look for the files of AWS in; set AWS_CONFIG_FILE"
                .to_owned()
        } else if known.is_empty() {
            format!("no profile stands in {files}")
        } else {
            format!("{files} have: {}", known.join(", "))
        };
        Err(Diagnostic::new(format!("the AWS profile `{name}` does not exist")).hint(hint))
    }
}

/// `[profile ops]` in one file, `[ops]` in the other; `[default]` in both.
fn names_in(text: &str, is_config: bool) -> BTreeSet<String> {
    let headings = text.lines().filter_map(|line| {
        let inner = line.strip_prefix('[')?;
        let (inner, _) = inner.split_once(']')?;
        Some(inner.trim())
    });
    let named = headings.filter_map(|heading| {
        let name = match heading.strip_prefix("profile") {
            Some(name) if name.starts_with([' ', '\t']) => name.trim(),
            _ if is_config && heading != "default" => return None,
            _ => heading,
        };
        let name = name.trim_matches(['"', '\'']);
        (!name.is_empty()).then(|| name.to_owned())
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_the_headings_of_both_files() {
        let config = "[default]\nregion = us-east-1\n[profile ops]\n; [profile not]\n[ profile  \"two words\" ]\n[sso-session one]\n[services two]\n[plain]\n";
        let names: Vec<_> = names_in(config, true).into_iter().collect();
        assert_eq!(names, ["default", "ops", "two words"]);
        let credentials =
            "[default]\naws_access_key_id = A\n[ops]  # of us\n[profile dev]\n#[not]\n";
        let names: Vec<_> = names_in(credentials, false).into_iter().collect();
        assert_eq!(names, ["default", "dev", "ops"]);
    }

    #[test]
    fn a_profile_that_is_not_there_is_said_with_those_that_are() {
        let profiles = |names: &[&str]| Profiles {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            files: vec!["/h/.aws/config".into(), "/h/.aws/credentials".into()],
        };
        assert!(profiles(&["ops"]).check("ops").is_ok());
        let said = profiles(&["default", "ops"]).check("opps").unwrap_err();
        assert_eq!(said.message, "the AWS profile `opps` does not exist");
        let hint = said.hint.unwrap();
        assert_eq!(hint, "/h/.aws/config and /h/.aws/credentials have: default, ops");
        let hint = profiles(&[]).check("ops").unwrap_err().hint.unwrap();
        assert!(hint.starts_with("no profile stands in /h/"), "{hint}");
    }
}
