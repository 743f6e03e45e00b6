//! `reconciler.json` beside `workflow_param.json`: what a person tells the reconciler about a
//! workflow and its steps.
//!
//! The Python library reads every key of `step_param.json` and stops at one that it does not know;
//! this file it never opens, so one repository serves both. It counts in no fingerprint and is laid
//! out for no build.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::name_pattern;
use crate::workflow::Switches;
use crate::workflow::jsonc::Document;
use crate::workflow::switches::{self, SWITCHES, unknown};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{StepId, WorkflowId};
use reconciler_model::suggest::nearest;

/// The file's name.
pub const SETTINGS: &str = "reconciler.json";

/// Its keys. `$schema` is for editors.
const KEYS: [&str; 3] = ["$schema", "family", "steps"];

/// What the file says; empty where there is none.
#[derive(Clone, Default)]
pub struct Settings {
    /// Which workflow ids are runs of this workflow.
    pub family: Option<Family>,
    document: Option<Arc<Document>>,
}

/// Shows which steps are named, and no values.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("family", &self.family)
            .field("steps", &self.steps().map(|(id, _)| id).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Which workflow ids are runs of one workflow: a text in which `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Family(String);

impl Family {
    /// Whether an id is one of them.
    #[must_use]
    pub fn has(&self, id: &WorkflowId) -> bool {
        let parts: Vec<String> = self.0.split('*').map(name_pattern::literal).collect();
        name_pattern::matches(&parts.join("*"), id.as_str())
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Settings {
    /// Reads the file of a workflow of this id.
    ///
    /// # Errors
    ///
    /// What is not understood, or cannot be true: at its place.
    pub fn read(path: &str, bytes: &[u8], workflow: &WorkflowId) -> Result<Self, Diagnostic> {
        let document = Document::parse(path, bytes)?;
        for (key, value) in &document.values {
            match (key.as_str(), value) {
                ("$schema" | "family", Value::String(_)) | ("steps", Value::Object(_)) => {}
                ("$schema" | "family", other) => {
                    return Err(document.wrong_type(key, "a string", other));
                }
                ("steps", other) => {
                    let form = "an object with a member for each step";
                    return Err(document.wrong_type(key, form, other));
                }
                _ => {
                    let wrong = document.wrong(key, format!("there is no key `{key}`"));
                    return Err(if SWITCHES.contains(&key.as_str()) {
                        wrong.hint(format!(
                            "it is a switch of a step: \"steps\": {{\"STEP\": {{\"{key}\": …}}}}"
                        ))
                    } else {
                        unknown(wrong, key, &KEYS)
                    });
                }
            }
        }
        let family = family(&document, workflow)?;
        let settings = Self { family, document: Some(Arc::new(document)) };
        settings.check_switches()?;
        Ok(settings)
    }

    fn check_switches(&self) -> Result<(), Diagnostic> {
        let Some(document) = &self.document else {
            return Ok(());
        };
        for (id, value) in self.steps() {
            let at = format!("steps.{id}");
            let Value::Object(keys) = value else {
                return Err(document.wrong_type(&at, "an object of switches", value));
            };
            // Where the step's folder is, only the step says.
            switches::read_into(&mut Switches::default(), document, &at, keys, "")?;
        }
        Ok(())
    }

    fn steps(&self) -> impl Iterator<Item = (&String, &Value)> {
        let document = self.document.as_deref();
        let steps = document.and_then(|document| document.values.get("steps")?.as_object());
        steps.into_iter().flatten()
    }

    fn step(&self, id: &str) -> Option<&Map<String, Value>> {
        self.document.as_deref()?.values.get("steps")?.get(id)?.as_object()
    }

    /// Reads the switches of a step into those that its own file has, which lies at a path and
    /// `sets` some.
    ///
    /// # Errors
    ///
    /// The same switch in both files.
    pub(super) fn read_into(
        &self,
        switches: &mut Switches,
        id: &str,
        folder: &str,
        (own, sets): (&str, &dyn Fn(&str) -> bool),
    ) -> Result<(), Diagnostic> {
        let (Some(document), Some(keys)) = (&self.document, self.step(id)) else {
            return Ok(());
        };
        let at = format!("steps.{id}");
        if let Some(key) = keys.keys().find(|key| sets(key)) {
            let at = format!("{at}.{key}");
            return Err(document
                .wrong(&at, format!("switch `{key}` of step `{id}` is set in {own} as well"))
                .hint(format!(
                    "remove it from {own}: the Python library does not understand it there"
                )));
        }
        switches::read_into(switches, document, &at, keys, folder)
    }

    /// What is wrong with it beside steps of these ids: a step that there is not. What it says
    /// might have kept one from being built.
    ///
    /// # Errors
    ///
    /// The first of them, at its place.
    pub fn check_steps(&self, known: &BTreeSet<&StepId>) -> Result<(), Diagnostic> {
        let Some(document) = &self.document else {
            return Ok(());
        };
        let is_unknown = |id: &&String| !known.contains(&StepId::new(id.as_str()));
        let Some(id) = self.steps().map(|(id, _)| id).find(is_unknown) else {
            return Ok(());
        };
        let wrong = document
            .wrong(&format!("steps.{id}"), format!("there is no step `{id}` at this commit"));
        Err(match nearest(id, known.iter().map(|id| id.as_str())) {
            Some(near) => wrong.hint(format!("did you mean `{near}`?")),
            None => wrong.hint("remove it, or name a step by its `step_id`"),
        })
    }
}

fn family(document: &Document, workflow: &WorkflowId) -> Result<Option<Family>, Diagnostic> {
    let Some(family) = document.optional_string("family")?.map(Family) else {
        return Ok(None);
    };
    if !family.as_str().chars().any(|one| one != '*') {
        return Err(document
            .wrong("family", "every workflow would be of this family")
            .hint("write what the ids have in common, for instance \"acore-ami-*\""));
    }
    if !family.has(workflow) {
        return Err(document
            .wrong("family", format!("the workflow's own id, `{workflow}`, is not of this family"))
            .hint("`*` stands for any characters; the rest has to be as in workflow_param.json"));
    }
    Ok(Some(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, Diagnostic> {
        Settings::read("w/reconciler.json", text.as_bytes(), &WorkflowId::new("acore-ami-5"))
    }

    /// An error with what is to be done.
    fn words(error: &Diagnostic) -> String {
        format!("{error} ({})", error.hint.as_deref().unwrap_or_default())
    }

    fn wrong(text: &str) -> String {
        words(&read(text).unwrap_err())
    }

    #[test]
    fn a_family_is_a_text_with_stars() {
        let has = |family: &str, id: &str| Family(family.into()).has(&WorkflowId::new(id));
        for (family, id, expected) in [
            ("acore-ami-*", "acore-ami-5", true),
            ("acore-ami-*", "acore-ami-", true),
            ("acore-ami-*", "acore-am-5", false),
            ("acore", "acore", true),
            ("acore", "acore-1", false),
            ("*-ami-*", "acore-ami-5", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
            ("*5", "acore-ami-5", true),
            ("acore-?", "acore-1", false),
            ("acore-?", "acore-?", true),
            ("a\\*", "a\\-1", true),
        ] {
            assert_eq!(has(family, id), expected, "{family} {id}");
        }
    }

    #[test]
    fn what_is_not_understood_is_said_at_its_place_with_the_nearest_key() {
        for (text, words) in [
            (r#"{"familly": "a"}"#, "did you mean `family`?"),
            (r#"{"suspend": true}"#, "it is a switch of a step"),
            (r#"{"family": 5}"#, "`family` must be a string"),
            (r#"{"family": "*"}"#, "every workflow would be of this family"),
            (r#"{"family": "other-*"}"#, "the workflow's own id, `acore-ami-5`"),
            (r#"{"steps": []}"#, "`steps` must be an object"),
            (r#"{"steps": {"a": true}}"#, "`steps.a` must be an object of switches"),
            (r#"{"steps": {"a": {"suspended": true}}}"#, "did you mean `suspend`?"),
            (r#"{"steps": {"a.b": {"timeout": "soon"}}}"#, "\"soon\" is no duration"),
            (r#"{"steps": {"a": {"manual": "yes"}}}"#, "`steps.a.manual` must be true or false"),
            (r#"{"steps": {"a": {"include": ["../x"]}}}"#, "paths from the repository's root"),
            (r#"{"steps": {"a": {}, "a": {}}}"#, "twice"),
        ] {
            let said = wrong(text);
            assert!(said.contains(words), "{text}\n{said}");
            assert!(said.contains("w/reconciler.json:1:"), "{said}");
        }
    }

    #[test]
    fn switches_of_both_files_are_taken_together_and_the_same_one_in_both_is_refused() {
        let settings = read(
            "{\n  // by a person, for a while\n  \"steps\": {\"mysql\": {\"suspend\": true, \"timeout\": \"90m\"}}\n}",
        )
        .unwrap();
        let own = |keys: &'static [&str]| {
            let mut switches = Switches { manual: true, ..Switches::default() };
            let sets = move |key: &str| keys.contains(&key);
            let path = "w/s02/step_param.json";
            settings.read_into(&mut switches, "mysql", "w/s02", (path, &sets)).map(|()| switches)
        };
        let both = own(&["manual"]).unwrap();
        assert!(both.manual && both.suspend && both.timeout.is_some());
        let said = own(&["suspend"]).unwrap_err().to_string();
        assert!(said.contains("switch `suspend` of step `mysql` is set in w/s02/step_param.json"));
        assert!(said.contains("w/reconciler.json:3:"), "{said}");
    }

    #[test]
    fn a_step_that_there_is_not_is_refused() {
        let settings = read(r#"{"steps": {"mysq": {"suspend": true}}}"#).unwrap();
        let (one, other) = (StepId::new("mysql"), StepId::new("mysq"));
        let said = words(&settings.check_steps(&BTreeSet::from([&one])).unwrap_err());
        assert!(said.contains("there is no step `mysq` at this commit"), "{said}");
        assert!(said.contains("did you mean `mysql`?"), "{said}");
        assert!(settings.check_steps(&BTreeSet::from([&one, &other])).is_ok());
        assert!(Settings::default().check_steps(&BTreeSet::new()).is_ok());
    }
}
