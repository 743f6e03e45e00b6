//! Whether a path stays inside of what belongs to a step: its folder, and what it includes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use hcl_edit::expr::Expression;

use crate::host_access::values::Values;

/// What a step's templates may read.
pub(super) struct Reach<'a> {
    /// The step's folder, from the repository's root.
    pub(super) folder: &'a str,
    /// Every file that is laid out beside the rendered ones, by its path from the root.
    pub(super) others: &'a BTreeMap<String, &'a [u8]>,
    /// Variables and locals.
    pub(super) values: &'a Values<'a>,
    /// Template files that were looked through.
    pub(super) looked: &'a RefCell<BTreeSet<String>>,
}

impl<'a> Reach<'a> {
    /// The same reach.
    pub(super) fn again(&self) -> Reach<'a> {
        Reach { ..*self }
    }

    /// Whether a template file was not looked through before.
    pub(super) fn first_look(&self, path: &str) -> bool {
        self.looked.borrow_mut().insert(path.to_owned())
    }

    /// The paths that an expression may stand for, from the repository's root, if each is inside;
    /// otherwise why not.
    pub(super) fn inside(&self, expression: &Expression) -> Result<Vec<String>, String> {
        let texts =
            self.values.texts(expression).ok_or("the path cannot be told before Packer runs")?;
        texts.iter().filter(|text| !text.is_empty()).map(|text| self.resolve(text)).collect()
    }

    fn resolve(&self, path: &str) -> Result<String, String> {
        if path.contains("{{") {
            return Err("the path cannot be told before Packer runs".to_owned());
        }
        if path.starts_with(['/', '~']) || path.contains('\0') {
            return Err(format!("`{path}` is outside of the step"));
        }
        let mut parts: Vec<&str> = self.folder.split('/').filter(|part| !part.is_empty()).collect();
        for part in path.split('/') {
            if part.trim() != part {
                return Err(format!("`{path}` has white space around a name"));
            }
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop().ok_or_else(|| format!("`{path}` is outside of the repository"))?;
                }
                name => parts.push(name),
            }
        }
        let whole = parts.join("/");
        let below = |folder: &str| {
            folder.is_empty()
                || whole
                    .strip_prefix(folder)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        // A folder that is named is read with all that is in it, and only what belongs to the step
        // is laid out.
        let included = || {
            let folder = format!("{whole}/");
            self.others.keys().any(|other| *other == whole || other.starts_with(&folder))
        };
        if below(self.folder) || included() {
            Ok(whole)
        } else {
            Err(format!("`{path}` is outside of the step, and the step does not include it"))
        }
    }
}
