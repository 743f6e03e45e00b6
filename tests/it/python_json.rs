//! Parameter files, as this program reads them and as Python does: the real `json` of Python, after
//! the comment rule of the contract and after the Python library's own.

use std::io::Write as _;
use std::process::{Command, Stdio};

use reconciler_core::workflow::jsonc::Document;
use serde_json::Value;

use crate::harness::emulator::python;
use crate::harness::random_source::Dice;

fn by_python(texts: &[String]) -> Vec<Value> {
    let script =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/read_params.py");
    let mut child = Command::new(python())
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python for the tests is there: run `make tools`");
    let asked = serde_json::to_vec(texts).unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&asked));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "read_params.py failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Numbers are kept as they are written here.
fn is_same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(ours), Value::Number(theirs)) => {
            // Plus nothing: so that nothing has no sign.
            let of = |number: &serde_json::Number| {
                let number = number.to_string().parse::<f64>().unwrap() + 0.0;
                number.to_bits()
            };
            of(ours) == of(theirs)
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(ours), Value::Object(theirs)) => {
            let same = |(key, value): (&String, &Value)| {
                theirs.get(key).is_some_and(|other| is_same(value, other))
            };
            ours.len() == theirs.len() && ours.iter().all(same)
        }
        (ours, theirs) => ours == theirs,
    }
}

/// What is wrong with our reading of a text.
fn wrong(text: &str, answers: &Value) -> Option<String> {
    let ours = Document::parse("p", text.as_bytes()).map(|document| Value::Object(document.values));
    let contract = &answers["contract"];
    if contract["stricter"] == "infinite" {
        return None;
    }
    let is_object = contract["ok"].is_object();
    let problem = match &ours {
        Ok(ours) if !contract["ok"].is_null() && is_same(ours, &contract["ok"]) => {
            // Where the library reads it at all, it reads the same: its rule for comments knows
            // less.
            let library = answers["library"].as_array().unwrap();
            let differs =
                library.iter().any(|one| !one["ok"].is_null() && !is_same(ours, &one["ok"]));
            differs.then_some("the library reads another value")
        }
        Ok(_) => Some("taken here, and not by Python, or as something else"),
        Err(_) if is_object && !text.contains("/*") => Some("refused here only"),
        Err(_) => None,
    };
    problem.map(|problem| {
        let ours = ours.map_err(|why| why.one_line());
        format!("{text:?}: {problem}\n    ours   {ours:?}\n    python {answers}")
    })
}

const PARTS: [&str; 44] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\\\"",
    "\\\\",
    "\\n",
    "\\/",
    "\\u0041",
    "\\ud83d\\ude00",
    "\\x",
    "#",
    "//",
    "/",
    "\n",
    "\r\n",
    "\r",
    "\t",
    " ",
    "\u{b}",
    "\u{85}",
    "\u{2028}",
    "\u{7f}",
    "\u{1}",
    "\u{a0}",
    "\u{feff}",
    "é",
    "0",
    "12",
    "-1",
    "1.50",
    "1e3",
    "01",
    "true",
    "null",
    "NaN",
    "# a \"b\n",
    "// c: \"\n",
    "\"# x\"",
    "\"a\"",
];

fn one<'a>(random_source: &mut Dice, of: &[&'a str]) -> &'a str {
    of[random_source.below(of.len())]
}

fn value(random_source: &mut Dice, depth: usize) -> String {
    let word = |random_source: &mut Dice| {
        let inner: String = (0..random_source.below(4))
            .map(|_| one(random_source, &["a", "#", "//", " ", "\\\"", "\\\\", "é", "\\n", "/"]))
            .collect();
        format!("\"{inner}\"")
    };
    let between = |random_source: &mut Dice| {
        one(random_source, &["", " ", "\n", " # x\n", " // \"y\n", "\r\n", "\t"]).to_owned()
    };
    match random_source.below(if depth == 0 { 4 } else { 6 }) {
        0 | 1 => word(random_source),
        2 => one(random_source, &["0", "-12", "3.50", "1e3", "1E-2", "true", "false", "null"])
            .to_owned(),
        3 => one(random_source, &["[]", "{}", "\"\""]).to_owned(),
        4 => {
            let items: Vec<_> = (0..random_source.below(3))
                .map(|_| value(random_source, depth - 1) + &between(random_source))
                .collect();
            format!("[{}{}]", between(random_source), items.join(","))
        }
        _ => object(random_source, depth - 1),
    }
}

fn object(random_source: &mut Dice, depth: usize) -> String {
    let pairs: Vec<_> = (0..random_source.below(4))
        .map(|at| {
            format!(" \"k{at}\" : {} ", value(random_source, depth))
                + one(random_source, &["", "\n", "# x\n", "// \"\n"])
        })
        .collect();
    format!("{{{}}}", pairs.join(","))
}

#[test]
fn parameter_files_are_read_as_pythons_json_reads_them() {
    let seed = Dice::seed("RECONCILER_TEST_SEED");
    let mut random_source = Dice::new(seed);
    let mut texts: Vec<String> = Vec::new();
    for _ in 0..3000 {
        let mut text: Vec<char> = object(&mut random_source, 3).chars().collect();
        for _ in 0..random_source.below(4) {
            let at = random_source.below(text.len() + 1);
            let until = (at + random_source.below(3)).min(text.len());
            let part = one(&mut random_source, &PARTS);
            text.splice(at..until, part.chars());
        }
        texts.push(text.into_iter().collect());
    }
    texts.extend((0..1000).map(|_| {
        let middle: String =
            (0..random_source.below(9)).map(|_| one(&mut random_source, &PARTS)).collect();
        format!("{{\"a\": {middle}}}")
    }));
    let answers = by_python(&texts);
    let sound = answers.iter().filter(|answer| answer["contract"]["ok"].is_object()).count();
    assert!(sound > 500, "only {sound} are JSON, seed {seed}");
    let wrong: Vec<_> =
        texts.iter().zip(&answers).filter_map(|(text, answer)| wrong(text, answer)).collect();
    assert!(
        wrong.is_empty(),
        "{} of {}, RECONCILER_TEST_SEED={seed} repeats them:\n{}",
        wrong.len(),
        texts.len(),
        wrong.into_iter().take(12).collect::<Vec<_>>().join("\n")
    );
}
