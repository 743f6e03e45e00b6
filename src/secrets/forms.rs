//! The forms in which a secret may turn up in a log: whole, line by line, in base64, escaped.
//!
//! Not covered, for nobody can list them: hashes, hex, compressed or encrypted text, a value spelled out letter by letter.

use std::collections::BTreeSet;

/// A shorter value is guessed at once, and would tear holes into every line: it is not looked for.
pub const SHORTEST: usize = 4;

/// A shorter part of a value (one of its lines) is no secret by itself.
const SHORTEST_PART: usize = 8;

/// Less base64 than this says nothing.
const SHORTEST_BASE64: usize = 5;

/// Where `base64` and `openssl base64` break their lines.
const WRAPS: [usize; 2] = [76, 64];

/// Every form of a value that is looked for; none for a value that is too short.
#[must_use]
pub fn forms(value: &str) -> BTreeSet<String> {
    let value = value.trim_matches(['\r', '\n']);
    let mut all = BTreeSet::new();
    if value.len() < SHORTEST {
        return all;
    }
    all.insert(value.to_owned());
    base64(value, SHORTEST_BASE64, &mut all);
    for line in value.lines().map(str::trim) {
        if line.len() >= SHORTEST_PART && line != value {
            all.insert(line.to_owned());
            base64(line, SHORTEST_PART, &mut all);
        }
    }
    for text in all.clone() {
        all.extend(escaped(&text));
    }
    for text in all.clone() {
        all.insert(machine_readable(&text));
    }
    all
}

/// The characters of its base64 that do not depend on what stands before and behind it, at each of the three places in a group of
/// three bytes where it may begin.
fn base64(value: &str, shortest: usize, all: &mut BTreeSet<String>) {
    for before in 0..3 {
        let bytes = [&[0; 2][..before], value.as_bytes()].concat();
        let encoded = aws_smithy_types::base64::encode(&bytes);
        let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        let certain = &encoded[first..end];
        if certain.len() < shortest {
            continue;
        }
        all.insert(certain.to_owned());
        all.insert(certain.replace('+', "-").replace('/', "_"));
        if before == 0 {
            for wrap in WRAPS {
                let lines = certain.as_bytes().chunks(wrap);
                let lines = lines.filter(|line| line.len() >= SHORTEST_PART);
                all.extend(lines.map(|line| String::from_utf8_lossy(line).into_owned()));
            }
        }
    }
}

/// As JSON, HCL, a shell's trace and URLs write it.
fn escaped(text: &str) -> Vec<String> {
    let json = serde_json::Value::from(text).to_string();
    let json = json[1..json.len() - 1].to_owned();
    let hcl = hcl_quoted(text);
    let percent = |lower: bool, plus: bool| {
        text.bytes().fold(String::new(), |mut out, byte| {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    out.push(char::from(byte));
                }
                b' ' if plus => out.push('+'),
                _ if lower => out.push_str(&format!("%{byte:02x}")),
                _ => out.push_str(&format!("%{byte:02X}")),
            }
            out
        })
    };
    vec![
        json,
        hcl,
        text.replace('\'', "'\\''"),
        percent(false, false),
        percent(true, false),
        percent(false, true),
    ]
}

/// As it stands between the quotes of an HCL string.
#[must_use]
pub fn hcl_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    hcl_template(&out)
}

/// As it stands in an HCL heredoc, which knows no escapes but these.
#[must_use]
pub fn hcl_template(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

/// As Packer's `-machine-readable` writes it.
fn machine_readable(text: &str) -> String {
    text.replace(',', "%!(PACKER_COMMA)")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_known_by_its_lines_its_base64_and_its_escaped_forms() {
        let all = forms("first line of it\nsecond, \"line\"\n");
        for form in [
            "first line of it",
            "second, \"line\"",
            "second%!(PACKER_COMMA) \"line\"",
            "first line of it\\nsecond, \\\"line\\\"",
            "first%20line%20of%20it",
            "first+line+of+it",
            // printf 'first line of it' | base64
            "Zmlyc3QgbGluZSBvZiBpd",
            // printf 'first line of it\nsecond, "line"' | base64
            "Zmlyc3QgbGluZSBvZiBpdApzZWNvbmQsICJsaW5lI",
        ] {
            assert!(all.contains(form), "{form} in {all:#?}");
        }
    }

    #[test]
    fn base64_is_known_wherever_the_value_begins_in_it() {
        let all = forms("correct horse");
        for before in ["", "u", "us", "user:", "user12:"] {
            let text = aws_smithy_types::base64::encode(format!("{before}correct horse!"));
            assert!(
                all.iter().any(|form| text.contains(form.as_str())),
                "{text} in {all:#?}"
            );
        }
    }

    #[test]
    fn long_base64_is_known_line_by_line() {
        let value: String = ('!'..='z').cycle().take(200).collect();
        let encoded = aws_smithy_types::base64::encode(&value);
        let all = forms(&value);
        for wrap in WRAPS {
            for line in encoded.as_bytes().chunks(wrap).take(3) {
                let line = std::str::from_utf8(line).unwrap().trim_end_matches('=');
                assert!(
                    all.iter().any(|form| line.contains(form.as_str())),
                    "{line}"
                );
            }
        }
    }

    #[test]
    fn a_value_that_anybody_guesses_is_not_looked_for() {
        assert!(forms("abc\n").is_empty());
        assert!(forms("abcd").contains("abcd"));
    }
}
