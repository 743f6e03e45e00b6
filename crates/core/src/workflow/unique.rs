//! Workflow ids that are given out twice. Records, leases and journals go by the id, so two
//! workflows of one id would be taken for each other.

use std::collections::BTreeMap;

use crate::workflow::settings::{Family, SETTINGS};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::WorkflowId;

/// The file that gives a workflow its id.
const WORKFLOW_PARAM: &str = "workflow_param.json";

/// A folder that says to be a workflow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The workflow.
    pub id: WorkflowId,
    /// The repository's name in the configuration.
    pub repository: String,
    /// Where the repository is.
    pub place: String,
    /// The folder, from the repository's root.
    pub folder: String,
    /// The ids of its runs, if its settings say them.
    pub family: Option<Family>,
}

impl Claim {
    fn file(&self) -> String {
        let file = format!("{}/{WORKFLOW_PARAM}", self.folder);
        file.trim_start_matches('/').to_owned()
    }
}

/// The ids that more than one folder claims, as its own or as a run of its own, with what a person
/// is told.
#[must_use]
pub fn shared(claims: &[Claim]) -> BTreeMap<WorkflowId, Diagnostic> {
    let of_two_families = claims.iter().filter_map(|claim| {
        let family = claim.family.as_ref()?;
        let other = claims.iter().find(|other| other.id != claim.id && family.has(&other.id))?;
        Some((claim.id.clone(), shared_family_error(claim, family, other)))
    });
    let mut shared: BTreeMap<_, _> = of_two_families.collect();
    shared.extend(shared_ids(claims));
    shared
}

fn shared_family_error(claim: &Claim, family: &Family, other: &Claim) -> Diagnostic {
    let file = format!("{}/{SETTINGS}", claim.folder);
    Diagnostic::new(format!(
        "`family` {:?} names runs of workflow `{}`, and workflow `{}` of {} is one of them",
        family.as_str(),
        claim.id,
        other.id,
        other.file()
    ))
    .in_file(file.trim_start_matches('/').to_owned())
    .hint("two workflows that git has at once are none of one family: write one that has only the ids of this one")
}

fn shared_ids(claims: &[Claim]) -> impl Iterator<Item = (WorkflowId, Diagnostic)> {
    let mut of: BTreeMap<&WorkflowId, Vec<&Claim>> = BTreeMap::new();
    for claim in claims {
        let known = of.entry(&claim.id).or_default();
        // The same folder may have been looked at twice.
        if !known.iter().any(|one| one.repository == claim.repository && one.folder == claim.folder)
        {
            known.push(claim);
        }
    }
    of.into_iter()
        .filter(|(_, claims)| claims.len() > 1)
        .map(|(id, claims)| (id.clone(), shared_id_error(id, claims)))
}

fn shared_id_error(id: &WorkflowId, mut claims: Vec<&Claim>) -> Diagnostic {
    claims.sort();
    let of_one = claims.iter().all(|one| one.repository == claims[0].repository);
    let places: Vec<String> = claims
        .iter()
        .map(|one| {
            if of_one {
                one.file()
            } else {
                format!("{} of repository `{}`", one.file(), one.repository)
            }
        })
        .collect();
    let is_twice = |one: &&&Claim| {
        claims.iter().any(|other| {
            other.repository != one.repository && plain(&other.place) == plain(&one.place)
        })
    };
    let same: Vec<_> = claims.iter().filter(is_twice).collect();
    let hint = match same.first() {
        Some(first) => {
            let names: Vec<String> = same.iter().map(|one| format!("`{}`", one.repository)).collect();
            format!(
                "repositories {} are one repository, {}: remove one from the configuration, or give each its own `roots`",
                names.join(" and "),
                first.place
            )
        }
        None => "give each workflow an id of its own: under one id the records of one would be taken for the other's".to_owned(),
    };
    Diagnostic::new(format!(
        "workflow_id `{id}` is that of {}; none of them is acted on",
        places.join(" and of ")
    ))
    .hint(hint)
}

/// A repository's place without what may be written in more than one way.
fn plain(place: &str) -> &str {
    let place = place.strip_prefix("file://").unwrap_or(place);
    let place = place.trim_end_matches('/');
    let place = place.strip_suffix("/.git").unwrap_or(place);
    place.strip_suffix(".git").unwrap_or(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::settings::Settings;

    fn claim(id: &str, repository: &str, place: &str, folder: &str) -> Claim {
        Claim {
            id: WorkflowId::new(id),
            repository: repository.into(),
            place: place.into(),
            folder: folder.into(),
            family: None,
        }
    }

    fn said(claims: &[Claim]) -> Vec<String> {
        let shared = shared(claims).into_values();
        shared.map(|told| format!("{told} ({})", told.hint.clone().unwrap_or_default())).collect()
    }

    #[test]
    fn two_folders_of_one_id_are_both_named_and_others_are_not() {
        let told = said(&[
            claim("wf", "r", "/r", "w/linux"),
            claim("other", "r", "/r", "w/mac"),
            claim("wf", "r", "/r", "w/windows"),
        ]);
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with("workflow_id `wf` is that of w/linux/workflow_param.json and of w/windows/workflow_param.json;"),
            "{told:?}"
        );
        assert!(told[0].contains("an id of its own"), "{told:?}");
    }

    #[test]
    fn two_repositories_of_one_id_are_both_named() {
        let told = said(&[claim("wf", "a", "/a", ""), claim("wf", "b", "/b", "w")]);
        assert!(
            told[0].contains("workflow_param.json of repository `a` and of w/workflow_param.json of repository `b`"),
            "{told:?}"
        );
        assert!(told[0].contains("an id of its own"), "{told:?}");
    }

    #[test]
    fn one_repository_under_two_names_is_said_to_be_one() {
        for other in ["/srv/x", "file:///srv/x.git", "/srv/x.git/", "/srv/x/.git"] {
            let told = said(&[claim("wf", "a", "/srv/x", "w"), claim("wf", "b", other, "w")]);
            assert!(told[0].contains("`a` and `b` are one repository, /srv/x"), "{told:?}");
        }
    }

    #[test]
    fn a_folder_that_was_looked_at_twice_is_one() {
        let one = claim("wf", "a", "/a", "w");
        assert_eq!(said(&[one.clone(), one]), [""; 0]);
    }

    #[test]
    fn a_family_that_has_another_workflow_of_git_is_refused_where_it_is_said() {
        let workflow = WorkflowId::new("acore-ami-5");
        let text = br#"{"family": "acore-ami-*"}"#;
        let settings = Settings::read("five/reconciler.json", text, &workflow).unwrap();
        let five = Claim { family: settings.family, ..claim("acore-ami-5", "r", "/r", "five") };
        let alone = [five.clone(), claim("mysql-1", "r", "/r", "mysql")];
        assert_eq!(shared(&alone), BTreeMap::new());
        let both = shared(&[five, claim("acore-ami-6", "r", "/r", "six")]);
        let said: Vec<_> = both.iter().map(|(id, why)| format!("{id}: {why}")).collect();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("acore-ami-5: five/reconciler.json: `family`"), "{said:?}");
        assert!(said[0].contains("workflow `acore-ami-6` of six/workflow_param.json"), "{said:?}");
    }
}
