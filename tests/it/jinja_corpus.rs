//! The corpus of templates, rendered by this program and by the real Jinja2 of PyPI in one run, compared byte for byte.
//!
//! What differs on purpose or cannot be helped stands in `docs/jinja-differences.md` and in `tests/jinja/differences.jsonl`; a
//! listed difference that is none any more fails too, so the list stays true.

use std::io::Write as _;
use std::process::{Command, Stdio};

use reconciler::desired::jinja::{Engine, TemplateSource};
use reconciler::workflow::context::template_value;
use serde_json::{Value, json};

use crate::harness::emulator::python;

fn folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jinja")
}

fn lines(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn context() -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder().join("context.json")).unwrap()).unwrap()
}

/// What Jinja2 makes of each; none where it refuses.
fn by_python(templates: &[String]) -> Vec<Option<String>> {
    let mut child = Command::new(python())
        .arg(folder().join("render.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python for the tests is there: run `make tools`");
    let asked = json!({ "context": context(), "templates": templates }).to_string();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(asked.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "render.py failed");
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    answers
        .iter()
        .map(|answer| answer["ok"].as_str().map(str::to_owned))
        .collect()
}

fn by_us(templates: &[String]) -> Vec<Result<String, String>> {
    let engine = Engine::new();
    let context = template_value(&context());
    templates
        .iter()
        .map(|text| {
            let template = TemplateSource { path: "case", text };
            engine
                .render(&template, &context)
                .map_err(|error| error.message)
        })
        .collect()
}

fn differences(templates: &[String]) -> Vec<String> {
    let (theirs, ours) = (by_python(templates), by_us(templates));
    let mut wrong = Vec::new();
    for ((text, theirs), ours) in templates.iter().zip(theirs).zip(ours) {
        let same = match (&theirs, &ours) {
            (Some(theirs), Ok(ours)) => theirs == ours,
            (None, Err(_)) => true,
            _ => false,
        };
        if !same {
            wrong.push(format!(
                "{text:?}\n    python {theirs:?}\n    ours   {ours:?}"
            ));
        }
    }
    wrong
}

#[test]
fn every_case_renders_as_jinja2_does() {
    let mut templates: Vec<String> = lines("cases.jsonl")
        .iter()
        .map(|line| line.as_str().unwrap().to_owned())
        .collect();
    let mut files: Vec<_> = std::fs::read_dir(folder().join("templates"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(
        files.len() >= 5,
        "the HCL templates of the corpus are there"
    );
    templates.extend(
        files
            .iter()
            .map(|path| std::fs::read_to_string(path).unwrap()),
    );
    let wrong = differences(&templates);
    assert!(
        wrong.is_empty(),
        "{} of {} templates differ:\n{}",
        wrong.len(),
        templates.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_listed_difference_is_one() {
    let listed = lines("differences.jsonl");
    let templates: Vec<String> = listed
        .iter()
        .map(|line| line["template"].as_str().unwrap().to_owned())
        .collect();
    let wrong = differences(&templates);
    assert_eq!(
        wrong.len(),
        templates.len(),
        "some listed differences are none any more; these are left:\n{}",
        wrong.join("\n")
    );
}
