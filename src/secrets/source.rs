//! Where a secret's value comes from: a variable of this program's environment, or a file of this
//! host.

use std::fmt;
use std::path::PathBuf;

use reconciler_core::secrets::forms::SHORTEST;
use reconciler_model::secret_text::SecretText;

/// More would be a file that was named by mistake.
const LONGEST: usize = 64 * 1024;

/// `env:NAME` or `file:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A variable of the environment.
    Env(String),
    /// A file; one line feed at its end is not part of the value.
    File(PathBuf),
}

impl SecretSource {
    /// Reads the value; says why there is none, without quoting anything of it.
    pub fn read(&self) -> Result<SecretText, String> {
        let mut text = match self {
            Self::Env(name) => match std::env::var(name) {
                Ok(text) => text,
                Err(std::env::VarError::NotPresent) => {
                    return Err(format!("the environment variable {name} is not set"));
                }
                Err(std::env::VarError::NotUnicode(_)) => {
                    return Err(format!("the environment variable {name} is not UTF-8"));
                }
            },
            Self::File(path) => {
                let bytes = std::fs::read(path)
                    .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
                let mut text = String::from_utf8(bytes)
                    .map_err(|_| format!("{} is not UTF-8", path.display()))?;
                if text.ends_with('\n') {
                    text.pop();
                    if text.ends_with('\r') {
                        text.pop();
                    }
                }
                text
            }
        };
        let wrong = if text.len() < SHORTEST {
            Some(format!(
                "{self} holds fewer than {SHORTEST} bytes, which nothing can keep out of a log"
            ))
        } else if text.len() > LONGEST {
            Some(format!("{self} holds more than {LONGEST} bytes"))
        } else if text.contains('\0') {
            Some(format!("{self} holds a NUL byte"))
        } else {
            None
        };
        match wrong {
            None => Ok(SecretText::from(std::mem::take(&mut text))),
            Some(why) => Err(why),
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_last_line_feed_is_no_part_of_its_value_and_a_short_value_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let of = |content: &str| {
            let path = folder.path().join("secret");
            std::fs::write(&path, content).unwrap();
            SecretSource::File(path).read()
        };
        assert_eq!(of("one\ntwo\n").unwrap().expose(), "one\ntwo");
        assert!(of("abc\n").unwrap_err().contains("fewer than 4 bytes"));
        assert!(!of("abc\n").unwrap_err().contains("abc"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let said = SecretSource::Env("NO_SUCH_VARIABLE_HERE".into()).read();
        assert_eq!(said.unwrap_err(), "the environment variable NO_SUCH_VARIABLE_HERE is not set");
    }
}
