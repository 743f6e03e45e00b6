//! What is another in a build than in the last good one of its step: its inputs, by what the journal
//! says of both, and the commits and lines that git has. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::plan::decision::{Change, Reason};
use crate::plan::reasons::reasons;
use crate::plan::sentences::{LineCounts, reason_words, reasons_in_short};
use reconciler_model::components::Components;
use reconciler_model::ids::{BuildId, Revision, StepId};
use reconciler_model::inventory::journal::{BuildEvent, Intent};

/// What is another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// Which inputs, as `plan` names the reasons of a build; null where the journal does not say.
    pub reasons: Option<Vec<Value>>,
    /// The same in words.
    pub reason_texts: Vec<String>,
    /// The commits that touched what the step is made of, newest first.
    pub commits: Vec<CommitLine>,
    /// Parameters, rendered files and scripts, as `diff` shows them.
    pub changes: Vec<ChangedFile>,
    /// Why commits and lines are not known, if they are not.
    pub unread: Option<String>,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitLine {
    /// Its id.
    pub revision: Revision,
    /// Who made it.
    pub author: String,
    /// When.
    pub time: Timestamp,
    /// The first line of its message.
    pub subject: String,
}

/// A file, or all parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedFile {
    /// As `diff` names it.
    pub name: String,
    /// The unified diff.
    pub diff: String,
}

impl ChangedFile {
    /// How many lines came and went.
    #[must_use]
    pub fn line_counts(&self) -> (usize, usize) {
        // The two lines of its header begin as its others do.
        let lines = self.diff.lines().skip_while(|line| !line.starts_with("@@"));
        lines.fold((0, 0), |(added, removed), line| match line.as_bytes().first() {
            Some(b'+') => (added + 1, removed),
            Some(b'-') => (added, removed + 1),
            _ => (added, removed),
        })
    }
}

/// The intent of a build among events.
#[must_use]
pub fn intent_of<'a>(events: &'a [BuildEvent], build: &BuildId) -> Option<&'a Intent> {
    let mut own = events.iter().filter(|event| event.build_id == *build);
    own.find_map(|event| event.stage.intent())
}

/// Which inputs are others, in short.
#[must_use]
pub fn changed_in_short(step: &StepId, good: &Components, failed: &Components) -> String {
    match reasons(good, failed).as_slice() {
        [] => "nothing".to_owned(),
        found => reasons_in_short(step, found, None),
    }
}

impl Changed {
    /// What turns the inputs of one build of a step into those of another, by their intents;
    /// `changes` are the lines, and the commits come from git.
    #[must_use]
    pub fn between(
        step: &StepId,
        (good, failed): (&Intent, &Intent),
        commits: Vec<CommitLine>,
        changes: Vec<ChangedFile>,
    ) -> Self {
        let components =
            |intent: &Intent| intent.promise.as_ref().map(|promise| promise.components.clone());
        let known = components(good).zip(components(failed));
        let known = known.map(|(good, failed)| reasons(&good, &failed));
        let found = known.clone().unwrap_or_else(|| {
            let (from, to) = (&good.source_ami, &failed.source_ami);
            let moved = Reason::SourceImageChanged { from: from.clone(), to: to.clone() };
            let moved = (from != to).then_some(moved);
            moved.into_iter().chain(changes.iter().map(by_name)).collect()
        });
        let counts: LineCounts = changes
            .iter()
            .map(|change| ((step.clone(), change.name.clone()), change.line_counts()))
            .collect();
        let lines = |reason: &Reason| {
            let mut reason = reason.clone();
            if let Reason::FileChanged { path, .. } = &mut reason {
                *path = path.trim_start_matches('/').to_owned();
            }
            reason_words(step, &reason, Some(&counts))
        };
        Self {
            reason_texts: found.iter().map(lines).collect(),
            reasons: known.map(|known| known.iter().map(|reason| json!(reason)).collect()),
            commits,
            changes,
            unread: None,
        }
    }
}

/// What changed, by what `diff` calls it.
fn by_name(change: &ChangedFile) -> Reason {
    match change.name.strip_prefix("rendered/") {
        Some(name) => Reason::TemplateChanged { name: name.to_owned(), change: Change::Changed },
        None if change.name == "parameters" => {
            Reason::ParamChanged { name: "one or more".to_owned(), change: Change::Changed }
        }
        None => Reason::FileChanged { path: change.name.clone(), change: Change::Changed },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::history::tests::build;
    use reconciler_model::digest::Digest;
    use reconciler_model::ids::{AmiId, AmiName};
    use reconciler_model::inventory::journal::RecordDraft;

    /// The intent of a build of these files on this image.
    fn intent(source: &str, files: &[(&str, &str)]) -> Intent {
        let mut events = build("1", "a", 0, vec![]);
        let mut intent = events.remove(0).stage.intent().unwrap().clone();
        let digest = |text: &str| Digest::of(text.as_bytes());
        intent.source_ami = AmiId::new(source);
        intent.promise = Some(Box::new(RecordDraft {
            source_ami_name: AmiName::new("base"),
            root_base_ami_id: AmiId::new("ami-0"),
            root_base_ami_name: AmiName::new("base"),
            components: Components {
                identity: digest("identity"),
                params: [].into(),
                templates: [].into(),
                files: files
                    .iter()
                    .map(|(path, text)| ((*path).to_owned(), digest(text)))
                    .collect(),
                source_ami: AmiId::new(source),
                secrets: [].into(),
            },
            aws_tags: [].into(),
            metadata: "{}".to_owned(),
            metadata_digest: digest("{}"),
        }));
        intent
    }

    fn diff(name: &str) -> ChangedFile {
        let text = format!("--- a/{name}\n+++ b/{name}\n@@ -1,2 +1,3 @@\n a\n-b\n+c\n+d\n");
        ChangedFile { name: name.to_owned(), diff: text }
    }

    #[test]
    fn what_changed_is_told_by_input_with_its_lines_and_the_source_image() {
        let good = intent("ami-1", &[("install.sh", "1"), ("/lib/x.sh", "1"), ("same", "1")]);
        let failed = intent("ami-2", &[("install.sh", "2"), ("/lib/x.sh", "2"), ("same", "1")]);
        let step = StepId::new("a");
        let changes = vec![diff("install.sh"), diff("lib/x.sh")];
        let told = Changed::between(&step, (&good, &failed), vec![], changes.clone());
        let texts = [
            "source image changed: ami-1 -> ami-2",
            "file changed: lib/x.sh (+2 \u{2212}1)",
            "file changed: install.sh (+2 \u{2212}1)",
        ];
        assert_eq!(told.reason_texts, texts);
        assert_eq!(told.reasons.unwrap()[0]["to"], "ami-2");
        let components = |intent: &Intent| intent.promise.clone().unwrap().components;
        let short = |other| changed_in_short(&step, &components(&good), &components(other));
        assert_eq!(short(&good), "nothing");
        assert!(short(&failed).starts_with("source image changed: "), "{}", short(&failed));
        let none = Changed::between(&step, (&good, &good), vec![], vec![]);
        assert_eq!(none.reasons, Some(vec![]), "its inputs are the same");
        // Of an image that a person adopted, nothing is written down but where it came from.
        let adopted = Intent { promise: None, ..good };
        let told = Changed::between(&step, (&adopted, &failed), vec![], changes);
        assert_eq!(told.reasons, None);
        assert_eq!(told.reason_texts, [texts[0], texts[2], texts[1]]);
    }
}
