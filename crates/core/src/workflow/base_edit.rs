//! Writes another base image into `workflow_param.json`: id and name, and not a byte elsewhere.
//!
//! The file is a person's: comments, order, indentation and line ends stay. A result that does not
//! read back as the old file with these two values is refused, so nothing is lost by a form that
//! nobody thought of. Pure: bytes go in, bytes come out.

use serde_json::{Map, Value};

use crate::workflow::jsonc::{Document, start_of_key};
use crate::workflow::{RootBase, params};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, AmiName};

const ID: &str = "root_base_ami_id";
const NAME: &str = "root_base_ami_name";

/// The file's bytes with this image as the base. Where the file names its base by pattern, the id
/// comes before the name.
pub fn with_base_image(
    path: &str,
    bytes: &[u8],
    id: &AmiId,
    name: &AmiName,
) -> Result<Vec<u8>, Diagnostic> {
    let before = Document::parse(path, bytes)?;
    params::read(path, bytes)?;
    let lost = || {
        before
            .wrong(NAME, format!("{id} cannot be written here without a change of anything else"))
            .hint(format!(
                "write it by hand: \"{ID}\": \"{id}\", \"{NAME}\": {}",
                quoted(name.as_str())
            ))
    };
    let text = std::str::from_utf8(bytes).map_err(|_| lost())?;
    let mut edits = vec![(before.span(NAME), quoted(name.as_str()))];
    if before.values.contains_key(ID) {
        edits.push((before.span(ID), quoted(id.as_str())));
    } else {
        let at = start_of_key(text, NAME).ok_or_else(lost)?;
        edits.push((at..at, format!("\"{ID}\": {},{}", quoted(id.as_str()), gap_before(text, at))));
    }
    // From the end, so that every place stays what it was.
    edits.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
    let mut edited = text.to_owned();
    for (place, by) in edits {
        edited.replace_range(place, &by);
    }
    let meant = RootBase::Image { id: id.clone(), name: name.to_string() };
    let reads_back = Document::parse(path, edited.as_bytes())
        .is_ok_and(|after| others(&after.values) == others(&before.values))
        && params::read(path, edited.as_bytes()).is_ok_and(|(params, _)| params.root_base == meant);
    // Seeded bug: an-edit-is-not-read-back
    if !reads_back {
        return Err(lost());
    }
    Ok(edited.into_bytes())
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// What stands between two keys where the one at `at` begins: the line end and the indentation of
/// its line, or a space where something else stands before it.
fn gap_before(text: &str, at: usize) -> &str {
    let line_start = text[..at].rfind(['\n', '\r']).map_or(0, |end| end + 1);
    if line_start == 0 || !text[line_start..at].trim().is_empty() {
        return " ";
    }
    let end = if text[..line_start].ends_with("\r\n") { 2 } else { 1 };
    &text[line_start - end..at]
}

/// The values that are none of the two.
fn others(values: &Map<String, Value>) -> Vec<(&String, &Value)> {
    values.iter().filter(|(key, _)| *key != ID && *key != NAME).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str =
        "{\n  // this run\n  \"workflow_id\": \"wf\",   # its id\n  \"list\": [1,\n    2.50],\n";

    fn edited(text: &str) -> Result<String, Diagnostic> {
        let (id, name) = (AmiId::new("ami-2"), AmiName::new("ubuntu-2"));
        with_base_image("w/workflow_param.json", text.as_bytes(), &id, &name)
            .map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn id_and_name_are_replaced_where_they_stand() {
        let base = "  \"root_base_ami_name\": \"ubuntu-1\", // by Canonical: \"root_base_ami_id\"\n  \"root_base_ami_id\":\"ami-1\"\n}\n";
        assert_eq!(
            edited(&format!("{FILE}{base}")).unwrap(),
            format!("{FILE}{}", base.replace("ubuntu-1", "ubuntu-2").replace("ami-1", "ami-2"))
        );
    }

    #[test]
    fn the_id_comes_before_the_name_where_there_was_a_pattern_only() {
        let pattern = "  \"root_base_ami_name\": \"ubuntu-*\", // the newest\n  \"root_base_ami_owner_account_id\": \"099720109477\"\n}\n";
        let wanted = "  \"root_base_ami_id\": \"ami-2\",\n  \"root_base_ami_name\": \"ubuntu-2\", // the newest\n  \"root_base_ami_owner_account_id\": \"099720109477\"\n}\n";
        assert_eq!(edited(&format!("{FILE}{pattern}")).unwrap(), format!("{FILE}{wanted}"));
        let windows = |text: &str| text.replace('\n', "\r\n");
        assert_eq!(
            edited(&windows(&format!("{FILE}{pattern}"))).unwrap(),
            windows(&format!("{FILE}{wanted}"))
        );
        let line = r#"{"workflow_id": "wf", "root_base_ami_owner_account_id": 1, "root_base_ami_name": "u-*"}"#;
        assert_eq!(
            edited(line).unwrap(),
            r#"{"workflow_id": "wf", "root_base_ami_owner_account_id": 1, "root_base_ami_id": "ami-2", "root_base_ami_name": "ubuntu-2"}"#
        );
        let null = r#"{"workflow_id": "wf", "root_base_ami_id": null, "root_base_ami_owner_account_id": "1", "root_base_ami_name": "u-*"}"#;
        assert!(edited(null).unwrap().contains(r#""root_base_ami_id": "ami-2","#));
    }

    #[test]
    fn a_file_that_cannot_be_read_or_would_not_read_back_is_left_alone() {
        let text = format!("{FILE}  \"root_base_ami_name\": \"u\"\n}}\n");
        assert!(edited(&text).unwrap_err().message.contains("by name only"));
        assert!(edited("{\"workflow_id\": 1}").is_err());
        let text = text.replace("\"u\"", "\"u\", \"root_base_ami_id\": \"ami-1\"");
        let odd = AmiName::new("line\u{2028}end");
        let wrong = with_base_image("w.json", text.as_bytes(), &AmiId::new("ami-2"), &odd);
        assert!(wrong.unwrap_err().hint.unwrap().contains("by hand"));
        let no_id =
            with_base_image("w.json", text.as_bytes(), &AmiId::new("x"), &AmiName::new("u"));
        assert!(no_id.is_err(), "an id that is none is not written");
    }

    /// What may stand between two tokens of a file.
    fn between() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(String::new()),
            Just(" ".to_owned()),
            Just("\n\t".to_owned()),
            Just("\r\n  ".to_owned()),
            Just(" // \"root_base_ami_name\": { # x\n".to_owned()),
            Just("# \"root_base_ami_id\": \"ami-9\", \u{e9}\n    ".to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn nothing_but_the_two_values_changes(
            gaps in proptest::collection::vec(between(), 24),
            has_id in any::<bool>(),
            order in 0_usize..6,
        ) {
            let mut keys = vec![
                ("workflow_id", "\"wf # no comment\""),
                ("root_base_ami_name", "\"NAME\""),
                ("root_base_ami_owner_account_id", "\"099720109477\""),
                ("more", "{\"root_base_ami_name\": [\"\\\"//\", 1e3]}"),
            ];
            if has_id {
                keys.push(("root_base_ami_id", "\"ami-OLD\""));
            }
            let count = keys.len();
            keys.rotate_left(order % count);
            let mut gap = gaps.iter();
            let mut next = || gap.next().unwrap().as_str();
            let mut text = format!("{}{{", next());
            for (at, (key, value)) in keys.iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                text += &format!("{comma}{}\"{key}\"{}:{}{value}{}", next(), next(), next(), next());
            }
            text += &format!("}}{}", next());
            let edited = edited(&text).unwrap();
            let values = Document::parse("w", edited.as_bytes()).unwrap().values;
            prop_assert_eq!(&values[ID], "ami-2");
            prop_assert_eq!(&values[NAME], "ubuntu-2");
            let mut back = edited.replacen("\"ubuntu-2\"", "\"NAME\"", 1);
            if has_id {
                back = back.replacen("\"ami-2\"", "\"ami-OLD\"", 1);
                prop_assert_eq!(back, text);
            } else {
                let inserted = back.find("\"root_base_ami_id\": \"ami-2\",").unwrap();
                let end = start_of_key(&back, NAME).unwrap();
                back.replace_range(inserted..end, "");
                prop_assert_eq!(back, text);
            }
        }
    }
}
