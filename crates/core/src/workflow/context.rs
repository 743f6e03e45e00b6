//! What templates see: three generations of names for the same values (docs/contract.md §3).

use std::fmt;

use minijinja::Value;
use reconciler_jinja::template_value;
use serde_json::{Map, Value as Json};

use crate::desired::secret_function;
use crate::secrets::secret_digests::SecretDigests;
use crate::workflow::{Step, WorkflowParams};

/// The names of images that a template may ask for.
#[derive(Clone, Copy, Debug)]
pub struct ImageNames<'a> {
    /// The image that the step starts from.
    pub source_ami_id: &'a str,
    /// Its name.
    pub source_ami_name: &'a str,
    /// The name of the image that is made.
    pub output_ami_name: &'a str,
}

/// The part that all steps of a workflow share, converted once.
#[derive(Clone)]
pub struct WorkflowContext {
    workflow_param: Value,
    secret: Value,
    values: Map<String, Json>,
}

/// Fields that the Python library's class has even where the file does not name them.
const DEFAULTS: [(&str, Json); 5] = [
    ("profile_name", Json::Null),
    ("region_name", Json::Null),
    ("aws_access_key_id", Json::Null),
    ("aws_secret_access_key", Json::Null),
    ("aws_session_token", Json::Null),
];

impl WorkflowContext {
    /// Takes in the workflow's parameters and the region that was resolved.
    #[must_use]
    pub fn new(params: &WorkflowParams, region: &str) -> Self {
        let mut values = params.values.clone();
        for (name, default) in DEFAULTS {
            values.entry(name).or_insert(default);
        }
        values.entry("aws_tags").or_insert_with(|| Json::Object(Map::new()));
        values.insert("aws_region".to_owned(), Json::String(region.to_owned()));
        Self {
            workflow_param: object(&values),
            secret: secret_function::function(&SecretDigests::default()),
            values,
        }
    }

    /// With the secrets that templates may ask for.
    #[must_use]
    pub fn with_secrets(mut self, sealed: &SecretDigests) -> Self {
        self.secret = secret_function::function(sealed);
        self
    }

    /// All names for one step.
    #[must_use]
    pub fn for_step(&self, step: &Step, names: &ImageNames<'_>) -> Value {
        let images = [
            ("source_ami_id", names.source_ami_id),
            ("source_ami_name", names.source_ami_name),
            ("output_ami_name", names.output_ami_name),
        ];
        let mut own = step.values.clone();
        own.entry("metadata").or_insert_with(|| Json::Object(Map::new()));
        let today = object(&own);
        for (name, value) in images {
            own.insert(name.to_owned(), Json::String(value.to_owned()));
        }
        let mut merged = self.values.clone();
        merged.extend(own.clone());
        let mut builder =
            vec![("workflow_param", self.workflow_param.clone()), ("step_param", today)];
        builder.extend(images.map(|(name, value)| (name, Value::from(value))));
        map([
            ("builder", map(builder)),
            ("workflow_param", self.workflow_param.clone()),
            ("step_param", object(&own)),
            ("params", object(&merged)),
            ("secret", self.secret.clone()),
        ])
    }
}

/// Shows no values: credentials may be among them.
impl fmt::Debug for WorkflowContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

fn object(values: &Map<String, Json>) -> Value {
    map(values.iter().map(|(key, value)| (key.as_str(), template_value(value))))
}

/// A template's map, in the order of the pairs.
fn map<'a>(pairs: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    Value::from_pairs(pairs)
}
