//! Why a fingerprint differs, by component and by name.

use std::collections::BTreeMap;

use crate::plan::decision::{Change, Reason};
use reconciler_model::components::Components;
use reconciler_model::digest::Digest;

/// The reasons that turn `recorded` into `desired`; empty only if they are equal.
#[must_use]
pub fn reasons(recorded: &Components, desired: &Components) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if recorded.source_ami != desired.source_ami {
        reasons.push(Reason::SourceImageChanged {
            from: recorded.source_ami.clone(),
            to: desired.source_ami.clone(),
        });
    }
    if recorded.identity != desired.identity {
        reasons.push(Reason::IdentityChanged);
    }
    for (name, change) in changes(&recorded.params, &desired.params) {
        reasons.push(Reason::ParamChanged { name, change });
    }
    for (path, change) in changes(&recorded.files, &desired.files) {
        reasons.push(Reason::FileChanged { path, change });
    }
    for (name, change) in changes(&recorded.templates, &desired.templates) {
        reasons.push(Reason::TemplateChanged { name, change });
    }
    for (name, change) in changes(&recorded.secrets, &desired.secrets) {
        reasons.push(Reason::SecretChanged { name, change });
    }
    // A template that names its source image differs whenever that does; saying so again is noise.
    let by_source = matches!(reasons.first(), Some(Reason::SourceImageChanged { .. }))
        && reasons[1..].iter().all(|r| {
            matches!(r, Reason::TemplateChanged { name, change: Change::Changed } if name.ends_with("pkrvars.hcl"))
        });
    if by_source {
        reasons.truncate(1);
    }
    reasons
}

fn changes(
    old: &BTreeMap<String, Digest>,
    new: &BTreeMap<String, Digest>,
) -> Vec<(String, Change)> {
    let mut changes: Vec<_> = old
        .iter()
        .filter_map(|(name, digest)| match new.get(name) {
            None => Some((name.clone(), Change::Removed)),
            Some(other) if other != digest => Some((name.clone(), Change::Changed)),
            Some(_) => None,
        })
        .collect();
    changes.extend(
        new.keys()
            .filter(|name| !old.contains_key(*name))
            .map(|name| (name.clone(), Change::Added)),
    );
    changes.sort();
    changes
}
