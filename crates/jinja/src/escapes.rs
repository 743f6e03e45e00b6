//! Escapes of string literals as Jinja2 reads them: those of Python's `unicode-escape`, of a text
//! whose other characters were written as such escapes before. Pure.

/// What is wrong with an escape, and where it begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadEscape {
    pub(super) at: usize,
    pub(super) message: &'static str,
}

/// What a literal says; `body` is what stands between its quotes.
pub(super) fn unescape(body: &str) -> Result<String, BadEscape> {
    let mut out = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let begin = body.len() - rest.len() + at;
        let wrong = |message| BadEscape { at: begin, message };
        rest = &rest[at + 1..];
        let Some(c) = rest.chars().next() else {
            return Err(wrong("an escape is cut off"));
        };
        rest = &rest[c.len_utf8()..];
        let simple = match c {
            '\n' => "",
            '\\' => "\\",
            '\'' => "'",
            '"' => "\"",
            'a' => "\u{7}",
            'b' => "\u{8}",
            'f' => "\u{c}",
            'n' => "\n",
            'r' => "\r",
            't' => "\t",
            'v' => "\u{b}",
            '0'..='7' => {
                let more = rest.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b));
                let digits = more.count();
                let code = u32::from_str_radix(&format!("{c}{}", &rest[..digits]), 8);
                out.extend(code.ok().and_then(char::from_u32));
                rest = &rest[digits..];
                continue;
            }
            'x' | 'u' | 'U' => {
                let (length, message) = match c {
                    'x' => (2, "two hexadecimal digits follow \\x"),
                    'u' => (4, "four hexadecimal digits follow \\u"),
                    _ => (8, "eight hexadecimal digits follow \\U"),
                };
                let digits = rest
                    .get(..length)
                    .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
                let digits = digits.ok_or_else(|| wrong(message))?;
                let code = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                out.push(code.ok_or_else(|| {
                    wrong("this is no character that can be written to a file (a surrogate, or beyond U+10FFFF)")
                })?);
                rest = &rest[length..];
                continue;
            }
            'N' => {
                return Err(wrong(
                    "a character by its name, \\N{…}, is not known here: write \\u and its four digits",
                ));
            }
            // Kept as they are. What is not ASCII was an escape itself by now, whose backslash this
            // one takes away.
            c => {
                out.push('\\');
                match u32::from(c) {
                    0..=0x7f => out.push(c),
                    code @ 0x80..=0xff => out.push_str(&format!("x{code:02x}")),
                    code @ 0x100..=0xffff => out.push_str(&format!("u{code:04x}")),
                    code => out.push_str(&format!("U{code:08x}")),
                }
                continue;
            }
        };
        out.push_str(simple);
    }
    out.push_str(rest);
    Ok(out)
}

/// The same text for the engine, which knows fewer escapes: on one line, so that the lines that it
/// counts stay those of the file.
pub(super) fn for_the_engine(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_escapes_stay_and_known_ones_are_read() {
        for (body, text) in [
            (r"\/", r"\/"),
            (r"\d\.\é", "\\d\\.\\xe9"),
            (r"\☃\😀", "\\u2603\\U0001f600"),
            ("a\\\nb", "ab"),
            (r"\a\b\f\v\0\r\t", "\u{7}\u{8}\u{c}\u{b}\0\r\t"),
            (r"\101\1018\777\8", "AA8\u{1ff}\\8"),
            (r"\x41\u2603\U0001f600", "A☃😀"),
            (r#"\\\'\""#, r#"\'""#),
        ] {
            assert_eq!(unescape(body).unwrap(), text, "{body}");
        }
        for body in [r"a\x4", r"a\u12g4", r"a\U00110000", r"a\ud800", r"a\N{BULLET}", r"a\x4é"] {
            assert_eq!(unescape(body).unwrap_err().at, 1, "{body}");
        }
    }
}
