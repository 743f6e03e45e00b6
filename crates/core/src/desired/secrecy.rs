//! How the secrets of one step count, and where they must not stand. Pure.
//!
//! A secret of `secret("name")` counts by its digest under the fingerprint key; the rendered files
//! hold only what stands for it. A secret parameter, or a literal that Packer is told is
//! `sensitive`, stands in a rendered file in clear: then that file's digest is put under the key.
//! Without a key in the configuration the digests of files are plain, and secret parameters of a
//! step count by their names only.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::desired::inputs::value_digest;
use crate::secrets::forms::SHORTEST;
use crate::secrets::placeholder::{Use, places, uses};
use crate::secrets::secret_digests::SecretDigests;
use crate::workflow::{Step, WorkflowParams};
use reconciler_hcl::Template;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::digest::Digest;
use reconciler_model::secret_text::SecretText;
use reconciler_model::secret_text::is_telling;

/// The secrets of one step.
pub(super) struct Secrecy<'a> {
    sealed: &'a SecretDigests,
    params: &'a WorkflowParams,
    step: &'a Step,
    template: &'a Template,
    marked: Vec<SecretText>,
    uses: BTreeSet<Use>,
}

impl<'a> Secrecy<'a> {
    pub(super) fn new(
        sealed: &'a SecretDigests,
        params: &'a WorkflowParams,
        step: &'a Step,
        template: &'a Template,
    ) -> Self {
        let mut marked = sealed.marks.values_of(&params.values);
        marked.extend(sealed.marks.values_of(&step.values));
        let uses = uses(template.texts().values());
        Self { sealed, params, step, template, marked, uses }
    }

    /// The digest of every secret that the rendered files ask for.
    pub(super) fn secret_digests(&self) -> Result<BTreeMap<String, Digest>, Diagnostic> {
        let asked_by_name = self.sealed.names();
        let known = self.uses.iter().filter(|one| asked_by_name.contains(&one.name));
        self.sealed.digests(known)
    }

    /// The digests of a step's parameters, those of secret ones under the key.
    pub(super) fn param_digests(
        &self,
        mut plain: BTreeMap<String, Digest>,
    ) -> Result<BTreeMap<String, Digest>, Diagnostic> {
        for (name, value) in &self.step.values {
            if !self.sealed.marks.concerns(name, value) {
                continue;
            }
            let Some(digest) = plain.get_mut(name) else {
                continue;
            };
            *digest = if self.sealed.has_key() {
                self.sealed.seal(name, *digest)?
            } else {
                value_digest(&self.sealed.marks.masked_one(name, value))
            };
        }
        Ok(plain)
    }

    /// The digests of the rendered files, those with a secret in clear under the key.
    pub(super) fn template_digests(&self) -> Result<BTreeMap<String, Digest>, Diagnostic> {
        let mut values: Vec<&str> = Vec::new();
        if self.sealed.has_key() {
            values.extend(self.marked.iter().map(SecretText::expose));
            values.extend(self.template.sensitive().values.iter().map(String::as_str));
        }
        let digests = self.template.texts().iter().map(|(name, text)| {
            let plain = Digest::of(text.as_bytes());
            let in_clear = values.iter().any(|value| text.contains(value));
            let digest = if in_clear { self.sealed.seal("rendered", plain)? } else { plain };
            Ok((name.clone(), digest))
        });
        digests.collect()
    }

    /// Tags, metadata and descriptions are read by people who must not know a secret.
    pub(super) fn refuse_what_shows_them(&self) -> Result<(), Diagnostic> {
        let step_file = || format!("{}/step_param.json", self.step.folder);
        if !self.marked.is_empty() {
            for (tag, value) in &self.params.aws_tags {
                if self.sealed.marks.is_secret(tag) || self.holds(value) {
                    return Err(Diagnostic::new(format!(
                        "the tag `{tag}` of `aws_tags` would show a secret parameter"
                    ))
                    .hint("everybody who may describe images reads tags: take it out"));
                }
            }
            if let Some(metadata) = self.step.values.get("metadata")
                && (self.sealed.marks.concerns("metadata", metadata)
                    || self.any_text_holds(metadata))
            {
                return Err(Diagnostic::new(
                    "`metadata` holds a secret parameter, and stands on the record",
                )
                .in_file(step_file())
                .hint("everybody who may read the inventory reads it: take it out"));
            }
        }
        if !self.may_have_secrets() {
            return Ok(());
        }
        self.template.refuse_shown(&|text| !places(text).is_empty() || self.holds(text))
    }

    /// Whether it is worth while to read the files as HCL: most steps have no secret.
    fn may_have_secrets(&self) -> bool {
        let declares = |text: &String| {
            let mut named = text.split("variable \"").skip(1);
            text.contains("sensitive")
                || text.contains("env(")
                || named.any(|rest| is_telling(rest.split('"').next().unwrap_or_default()))
        };
        !self.uses.is_empty()
            || !self.marked.is_empty()
            || self.template.texts().values().any(declares)
    }

    fn holds(&self, text: &str) -> bool {
        let mut values = self.marked.iter().map(SecretText::expose);
        values.any(|value| value.len() >= SHORTEST && text.contains(value))
    }

    fn any_text_holds(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.holds(text),
            Value::Array(items) => items.iter().any(|item| self.any_text_holds(item)),
            Value::Object(map) => map.values().any(|item| self.any_text_holds(item)),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::secrets::secret_names::SecretNames;
    use crate::workflow::settings::Settings;
    use crate::workflow::{RootBase, Switches};
    use reconciler_model::ids::{AmiId, StepId, WorkflowId};

    fn params(values: &Value) -> WorkflowParams {
        WorkflowParams {
            workflow_id: WorkflowId::new("wf"),
            profile: None,
            region: None,
            root_base: RootBase::Image { id: AmiId::new("ami-1"), name: "base".into() },
            aws_tags: BTreeMap::from([("env".into(), "test-hunter2-x".into())]),
            values: values.as_object().unwrap().clone(),
            settings: Settings::default(),
        }
    }

    fn step(values: &Value) -> Step {
        Step {
            id: StepId::new("s"),
            folder: "w/s".into(),
            parent: None,
            values: values.as_object().unwrap().clone(),
            switches: Switches::default(),
            written: None,
        }
    }

    fn sealed(key: &str) -> SecretDigests {
        let marks = SecretNames::new(&["*_password".to_owned()]).unwrap();
        SecretDigests::new(marks, Some(Ok(key.into())), &BTreeMap::new())
    }

    #[test]
    fn what_a_secret_could_be_guessed_from_counts_under_the_key() {
        let (params, step) =
            (params(&json!({})), step(&json!({ "db_password": "abc", "open": 1 })));
        let rendered = BTreeMap::from([
            ("a.pkr.hcl".to_owned(), "x = \"abc\"".to_owned()),
            (
                "b.pkr.hcl".to_owned(),
                "variable \"t\" {\n  default = \"of packer\"\n  sensitive = true\n}\n".to_owned(),
            ),
            ("c.pkr.hcl".to_owned(), "x = 1\n".to_owned()),
        ]);
        let template = Template::new(rendered.clone());
        let plain = BTreeMap::from([
            ("db_password".to_owned(), Digest::of(b"p")),
            ("open".to_owned(), Digest::of(b"o")),
        ]);
        let digests = |key: &str| {
            let sealed = sealed(key);
            let secrecy = Secrecy::new(&sealed, &params, &step, &template);
            let params = secrecy.param_digests(plain.clone()).unwrap();
            (params, secrecy.template_digests().unwrap())
        };
        let ((params_1, files_1), (params_2, files_2)) = (digests("one"), digests("two"));
        assert_eq!(params_1["open"], plain["open"]);
        assert_ne!(params_1["db_password"], plain["db_password"]);
        assert_ne!(params_1["db_password"], params_2["db_password"]);
        for (name, sealed) in [("a.pkr.hcl", true), ("b.pkr.hcl", true), ("c.pkr.hcl", false)] {
            let plain = Digest::of(rendered[name].as_bytes());
            assert_eq!(files_1[name] != plain, sealed, "{name}");
            assert_eq!(files_1[name] != files_2[name], sealed, "{name}");
        }
    }

    #[test]
    fn tags_and_metadata_that_would_show_a_secret_are_refused() {
        let sealed = sealed("key");
        let refused = |params: &WorkflowParams, step: &Step| {
            let template = Template::new(BTreeMap::new());
            let refused = Secrecy::new(&sealed, params, step, &template).refuse_what_shows_them();
            refused.map_err(|why| why.message)
        };
        let clean = params(&json!({}));
        assert_eq!(refused(&clean, &step(&json!({}))), Ok(()));
        let why = refused(&params(&json!({ "db_password": "hunter2" })), &step(&json!({})));
        assert!(why.unwrap_err().contains("`env`"));
        let why = refused(&clean, &step(&json!({ "metadata": { "a_password": "x" } })));
        assert!(why.unwrap_err().contains("metadata"));
    }

    #[test]
    fn a_secret_that_a_source_shows_is_refused_whichever_kind_of_secret_it_is() {
        let sealed = sealed("key");
        let open = params(&json!({}));
        for (before, value, step_values) in [
            ("", "\"b-[reconciler-secret:x]\"", json!({})),
            ("", "\"b-secret parameter\"", json!({ "a_password": "secret parameter" })),
            ("variable \"x\" {\n  sensitive = true\n}\n", "var.x", json!({})),
            ("variable \"app_token\" {}\n", "var.app_token", json!({})),
            ("", "env(\"APP_TOKEN\")", json!({})),
        ] {
            let text =
                format!("{before}source \"amazon-ebs\" \"x\" {{\n  tags = {{ a = {value} }}\n}}\n");
            let template = Template::new(BTreeMap::from([("x.pkr.hcl".to_owned(), text)]));
            let step = step(&step_values);
            let why = Secrecy::new(&sealed, &open, &step, &template).refuse_what_shows_them();
            assert!(why.unwrap_err().message.contains("`tags`"), "{value}");
        }
    }
}
