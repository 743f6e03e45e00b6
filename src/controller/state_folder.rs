//! Whether the place of this program's own files can be, before it is looked for there: what cannot
//! be read because it cannot exist is not an empty inventory.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::config::{Config, InventoryConfig};
use reconciler_model::diagnostic::Diagnostic;

/// Refuses a state folder, and a file of the embedded inventory, that nobody can make. Makes
/// nothing.
pub fn check(config: &Config) -> Result<(), Diagnostic> {
    folder(&config.state_dir, &config.state_above, "name another `state_dir`")?;
    if let InventoryConfig::Sqlite { path } = &config.inventory
        && let Some(parent) = path.parent()
        && !parent.starts_with(&config.state_dir)
    {
        folder(parent, parent, "name another `inventory.path`")?;
    }
    if let InventoryConfig::Sqlite { path } = &config.inventory
        && fs::metadata(path).is_ok_and(|found| !found.is_file())
    {
        return Err(Diagnostic::new("is no file, and the inventory has to be one")
            .in_file(path.display().to_string())
            .hint("name another `inventory.path`"));
    }
    Ok(())
}

/// `folder` is there, or can be made below `above`, which is.
fn folder(folder: &Path, above: &Path, otherwise: &str) -> Result<(), Diagnostic> {
    for (place, must_be) in [(folder, false), (above, true)] {
        let wrong = |what: String| {
            Err(Diagnostic::new(what)
                .in_file(place.display().to_string())
                .hint(format!("make the folder, or {otherwise}")))
        };
        match fs::metadata(place) {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => return wrong("is a file, not a folder".to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // A link that leads nowhere is not made by making folders. What is no link was made
                // a moment ago, by a daemon that starts.
                if fs::symlink_metadata(place).is_ok_and(|found| found.is_symlink()) {
                    return wrong("is a link to what is not there".to_owned());
                }
                if must_be {
                    return wrong(format!(
                        "there is no such folder, and nobody makes it: {} is to be below it",
                        folder.display()
                    ));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                return wrong("cannot be: a part of the path is a file".to_owned());
            }
            Err(error) => return wrong(format!("cannot be looked at: {error}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_place_is_there_or_can_be_made_and_all_else_is_told() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir(at("there")).unwrap();
        fs::write(at("file"), "").unwrap();
        symlink(at("nowhere"), at("link")).unwrap();
        let told = |place: &str, above: &str| {
            folder(&at(place), &at(above), "x").err().map(|wrong| wrong.message)
        };
        assert_eq!(told("there", ""), None);
        assert_eq!(told("new", ""), None);
        assert_eq!(told("there/new/deep", "there"), None, "below what is there");
        for (place, above, what) in [
            ("file", "", "is a file, not a folder"),
            ("file/state", "file", "a part of the path is a file"),
            ("missing/state", "missing", "there is no such folder"),
            ("link", "", "is a link to what is not there"),
        ] {
            let told = told(place, above).unwrap();
            assert!(told.contains(what), "{place}: {told}");
        }
    }
}
