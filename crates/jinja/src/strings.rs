//! What Python's `str` does with a text, whoever asks: a method or a filter.

use minijinja::{Error, Value};

use crate::arguments;

/// White space of Python's `str`: that of Unicode and four separators of ASCII.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `str.strip(chars)` on one side or both.
pub(super) fn strip<'a>(text: &'a str, chars: Option<&str>, left: bool, right: bool) -> &'a str {
    let goes = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    let text = if left { text.trim_start_matches(goes) } else { text };
    if right { text.trim_end_matches(goes) } else { text }
}

/// `str.replace`; what it makes is bounded, so that no template fills the memory.
pub(super) fn replace(
    text: &str,
    old: &str,
    new: &str,
    count: Option<Value>,
) -> Result<Value, Error> {
    let count = count.filter(|count| !count.is_none()).map_or(Ok(-1), i64::try_from)?;
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let matches = text.matches(old).take(most).count();
    arguments::bounded(matches.saturating_mul(new.len()), "replace")?;
    Ok(Value::from(text.replacen(old, new, most)))
}

/// `str.splitlines`: at every kind of line end that Python knows.
pub(super) fn split_lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let ends = [
        '\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}',
        '\u{2029}',
    ];
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(ends) {
        let end = match rest[at..].chars().next() {
            Some('\r') if rest[at..].starts_with("\r\n") => at + 2,
            Some(c) => at + c.len_utf8(),
            None => at,
        };
        lines.push(&rest[..if keep_ends { end } else { at }]);
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

pub(super) fn padding(text: &str, width: usize, fill: char) -> String {
    std::iter::repeat_n(fill, width.saturating_sub(text.chars().count())).collect()
}

/// Python puts the odd one to the left if the width is odd as well.
pub(super) fn center(text: &str, width: usize, fill: char) -> String {
    let room = width.saturating_sub(text.chars().count());
    let left = room / 2 + (room & width & 1);
    let fills = |n: usize| std::iter::repeat_n(fill, n).collect::<String>();
    format!("{}{text}{}", fills(left), fills(room - left))
}

pub(super) fn swap_case(c: char) -> Vec<char> {
    if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect() }
}

/// `str.title`: a letter after anything that is no letter is upper case.
pub(super) fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_word = false;
    for c in text.chars() {
        if in_word {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        in_word = c.is_alphabetic();
    }
    out
}

/// Jinja2's filter of that name: a letter after one of `-`, white space or an opening bracket is
/// upper case.
pub(super) fn filter_title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at_start = true;
    for c in text.chars() {
        if at_start {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        at_start = c.is_whitespace() || "-({[<".contains(c);
    }
    out
}

pub(super) fn is_title(text: &str) -> bool {
    let mut in_word = false;
    let mut any = false;
    for c in text.chars() {
        if c.is_uppercase() && in_word || c.is_lowercase() && !in_word {
            return false;
        }
        in_word = c.is_alphabetic();
        any |= in_word;
    }
    any
}

pub(super) fn expand_tabs(text: &str, size: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for c in text.chars() {
        match c {
            '\t' if size > 0 => {
                let spaces = size - column % size;
                out.push_str(&" ".repeat(spaces));
                column += spaces;
            }
            '\t' => {}
            '\n' | '\r' => {
                out.push(c);
                column = 0;
            }
            c => {
                out.push(c);
                column += 1;
            }
        }
    }
    out
}
