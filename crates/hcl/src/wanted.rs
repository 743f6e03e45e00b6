//! Whether the source that a step builds makes the image that is asked for: of this name, on this
//! image, in this region. Pure.
//!
//! An image of another name costs a whole build before that is told, and one that is built on
//! something else is taken for a child of its parent. What only Packer can work out is left to it.

use hcl_edit::Span as _;
use hcl_edit::structure::Body;

use crate::known::{Flag, Known, Value};
use crate::template::File;
use reconciler_model::diagnostic::Diagnostic;

/// What the image has to be, as far as it is known where one asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Its name.
    pub ami_name: Option<&'a str>,
    /// The image that it starts from.
    pub source_ami: Option<&'a str>,
    /// Where it is made.
    pub region: Option<&'a str>,
}

/// Holds a source to what is wanted; what is worth a word is given back. Of several bodies a later
/// one counts more: that of the `build` block stands above that of the source.
pub(super) fn agree(
    bodies: &[(&File<'_>, &Body)],
    known: &Known<'_>,
    wanted: &Wanted<'_>,
) -> Result<Vec<Diagnostic>, Diagnostic> {
    let rules = [
        (
            "ami_name",
            wanted.ami_name,
            "the image has to have the name",
            "write `ami_name = \"{{ builder.output_ami_name }}\"`",
        ),
        (
            "source_ami",
            wanted.source_ami,
            "the step starts from",
            "write `source_ami = \"{{ builder.source_ami_id }}\"`",
        ),
        (
            "region",
            wanted.region,
            "the workflow's region is",
            "write `region = \"{{ builder.workflow_param.aws_region }}\"`, or change `region_name` of workflow_param.json",
        ),
    ];
    for (key, wanted, what, hint) in rules {
        let Some(wanted) = wanted else {
            continue;
        };
        let set =
            bodies.iter().rev().find_map(|(file, body)| Some((file, body.get_attribute(key)?)));
        let Some((file, attribute)) = set else {
            continue;
        };
        let value = known.value(&attribute.value);
        // What Packer fills in itself is not known.
        let Some(text) = value.text().filter(|text| !text.contains("{{")) else {
            continue;
        };
        // Seeded bug: a-fixed-source-passes
        if text != wanted {
            let message = format!("`{key}` is {text:?}, and {what} {wanted:?}");
            return Err(file.wrong(message, attribute.value.span()).hint(hint));
        }
    }
    Ok(apart(bodies, known).into_iter().collect())
}

/// A source that looks for its image by itself.
fn apart(bodies: &[(&File<'_>, &Body)], known: &Known<'_>) -> Option<Diagnostic> {
    let is_set =
        |key: &str| bodies.iter().any(|(_, body)| known.attribute(body, key) != Value::Null);
    if is_set("source_ami") {
        return None;
    }
    let hint = "nothing says that the image is built on its parent: write `source_ami = \"{{ builder.source_ami_id }}\"`";
    bodies.iter().find_map(|(file, body)| {
        if let Some(filter) = body.get_blocks("source_ami_filter").next() {
            let message =
                "`source_ami_filter` lets Packer look for the image that the step starts from";
            return Some(file.wrong(message.to_owned(), filter.ident.span()).hint(hint));
        }
        let attribute = ["source_ami_filter", "from_scratch"]
            .into_iter()
            .filter_map(|key| body.get_attribute(key))
            .find(|attribute| known.value(&attribute.value).flag() != Flag::Off)?;
        let key = attribute.key.as_str();
        let message = format!("`{key}`: the step does not start from its parent's image");
        Some(file.wrong(message, attribute.key.span()).hint(hint))
    })
}
