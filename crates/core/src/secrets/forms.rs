//! The forms in which a secret may turn up in a log: whole, line by line, in base64, escaped.
//!
//! Not covered, for nobody can list them: hashes, hex, compressed or encrypted text, a value
//! spelled out letter by letter.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
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
    let lines = value.lines().map(str::trim);
    let lines = lines.filter(|line| line.len() >= SHORTEST_PART && *line != value);
    let plain: BTreeSet<&str> = lines.chain([value]).collect();
    for text in &plain {
        let shortest = if *text == value { SHORTEST_BASE64 } else { SHORTEST_PART };
        base64(text, shortest, &mut all);
    }
    for text in all.clone() {
        all.extend(escaped(&text));
        // Of what JSON writers escape base64 has this only.
        all.insert(text.replace('/', "\\/"));
    }
    for text in plain {
        all.insert(text.to_owned());
        all.extend(escaped(text));
        all.extend(JSON_STYLES.map(|style| style.write(text)));
    }
    for text in all.clone() {
        all.insert(machine_readable(&text));
    }
    all
}

/// The characters of its base64 that do not depend on what stands before and behind it, at each of
/// the three places in a group of three bytes where it may begin.
fn base64(value: &str, shortest: usize, all: &mut BTreeSet<String>) {
    for before in 0..3 {
        let bytes = [&[0; 2][..before], value.as_bytes()].concat();
        let encoded = BASE64.encode(&bytes);
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

/// As HCL, a shell's trace and URLs write it.
fn escaped(text: &str) -> Vec<String> {
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
        hcl,
        text.replace('\'', "'\\''"),
        percent(false, false),
        percent(true, false),
        percent(false, true),
    ]
}

/// How a JSON writer escapes what it need not.
#[derive(Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a habit of its own, and every writer has its mixture"
)]
struct JsonStyle {
    /// Characters that it writes as `\u….`.
    as_code: &'static str,
    /// Whether all that is not ASCII is written so.
    is_ascii: bool,
    /// Whether `/` is `\/`.
    slash: bool,
    /// Whether what has a short escape of its own, `\b` and `\f`, is a code all the same.
    control: bool,
    upper: bool,
}

const PLAIN: JsonStyle =
    JsonStyle { as_code: "", is_ascii: false, slash: false, control: false, upper: false };

const HTML: &str = "<>&\u{2028}\u{2029}";

/// How JSON is written by whoever writes it.
const JSON_STYLES: [JsonStyle; 11] = [
    // JavaScript, Rust
    PLAIN,
    JsonStyle { slash: true, ..PLAIN },
    // Go, before 1.22 and since; Rails
    JsonStyle { as_code: HTML, control: true, ..PLAIN },
    JsonStyle { as_code: HTML, ..PLAIN },
    JsonStyle { as_code: HTML, upper: true, ..PLAIN },
    JsonStyle { as_code: HTML, is_ascii: true, ..PLAIN },
    // Python
    JsonStyle { is_ascii: true, ..PLAIN },
    JsonStyle { is_ascii: true, upper: true, ..PLAIN },
    // PHP
    JsonStyle { is_ascii: true, slash: true, ..PLAIN },
    // Gson
    JsonStyle { as_code: "<>&='\u{2028}\u{2029}", ..PLAIN },
    // .NET
    JsonStyle { as_code: "<>&'+`\"", is_ascii: true, upper: true, ..PLAIN },
];

impl JsonStyle {
    fn write(self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            let is_code = self.as_code.contains(c)
                || (self.is_ascii && (!c.is_ascii() || c == '\u{7f}'))
                || (self.control && matches!(c, '\u{8}' | '\u{c}'));
            match c {
                c if is_code => self.code(c, &mut out),
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '/' if self.slash => out.push_str("\\/"),
                c if c < ' ' => self.code(c, &mut out),
                c => out.push(c),
            }
        }
        out
    }

    fn code(self, c: char, out: &mut String) {
        for unit in c.encode_utf16(&mut [0; 2]) {
            let code = if self.upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
            out.push_str(&code);
        }
    }
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
    text.replace(',', "%!(PACKER_COMMA)").replace('\n', "\\n").replace('\r', "\\r")
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
    fn a_value_is_known_as_every_json_writer_writes_it() {
        let all = forms("a<b>&\"c\"/é😀=+'\n");
        for form in [
            // serde_json, JavaScript
            "a<b>&\\\"c\\\"/é😀=+'",
            // Go
            "a\\u003cb\\u003e\\u0026\\\"c\\\"/é😀=+'",
            // Rails
            "a\\u003Cb\\u003E\\u0026\\\"c\\\"/é😀=+'",
            // Python
            "a<b>&\\\"c\\\"/\\u00e9\\ud83d\\ude00=+'",
            // PHP
            "a<b>&\\\"c\\\"\\/\\u00e9\\ud83d\\ude00=+'",
            // Gson
            "a\\u003cb\\u003e\\u0026\\\"c\\\"/é😀\\u003d+\\u0027",
            // .NET
            "a\\u003Cb\\u003E\\u0026\\u0022c\\u0022/\\u00E9\\uD83D\\uDE00=\\u002B\\u0027",
        ] {
            assert!(all.contains(form), "{form} in {all:#?}");
        }
        let key = forms("Aw/9+secret/Key");
        assert!(key.contains("Aw\\/9+secret\\/Key"));
        // printf '???>>>~~~abc' | base64, as PHP writes it
        let encoded = forms("???>>>~~~abc");
        assert!(encoded.contains("Pz8\\/Pj4+fn5+YWJj"), "{encoded:#?}");
    }

    #[test]
    fn a_long_value_has_forms_in_proportion() {
        let long: String = ('!'..='~').cycle().take(60_000).collect();
        let bytes: usize = forms(&long).iter().map(String::len).sum();
        assert!(bytes < 45 * long.len(), "{bytes}");
    }

    #[test]
    fn base64_is_known_wherever_the_value_begins_in_it() {
        let all = forms("correct horse");
        for before in ["", "u", "us", "user:", "user12:"] {
            let text = BASE64.encode(format!("{before}correct horse!"));
            assert!(all.iter().any(|form| text.contains(form.as_str())), "{text} in {all:#?}");
        }
    }

    #[test]
    fn long_base64_is_known_line_by_line() {
        let value: String = ('!'..='z').cycle().take(200).collect();
        let encoded = BASE64.encode(&value);
        let all = forms(&value);
        for wrap in WRAPS {
            for line in encoded.as_bytes().chunks(wrap).take(3) {
                let line = std::str::from_utf8(line).unwrap().trim_end_matches('=');
                assert!(all.iter().any(|form| line.contains(form.as_str())), "{line}");
            }
        }
    }

    #[test]
    fn a_value_that_anybody_guesses_is_not_looked_for() {
        assert!(forms("abc\n").is_empty());
        assert!(forms("abcd").contains("abcd"));
    }
}
