//! The filter `wordwrap`: Python's `textwrap` with the settings that Jinja2 gives it.

use minijinja::{Error, Value};

use crate::arguments::{bounded, flag, needed, text, width};
use crate::repr::python_str;
use crate::strings::split_lines;

/// `wordwrap(width, break_long_words, wrapstring, break_on_hyphens)`
pub(super) fn wordwrap(
    [value, wide, long, between, hyphens]: [Option<Value>; 5],
) -> Result<Value, Error> {
    let value = python_str(&needed(value)?)?;
    let between = text(between)?.unwrap_or_else(|| "\n".to_owned());
    let style = Style {
        width: width(wide, 79)?.max(1),
        break_long: flag(long, true),
        break_hyphens: flag(hyphens, true),
    };
    let lines: Vec<String> = split_lines(&value, false)
        .into_iter()
        .flat_map(|line| {
            let wrapped = style.wrap(line);
            // An empty line is a line.
            if wrapped.is_empty() { vec![String::new()] } else { wrapped }
        })
        .collect();
    bounded(lines.len().saturating_mul(between.len()), "wordwrap")?;
    Ok(Value::from(lines.join(&between)))
}

struct Style {
    width: usize,
    break_long: bool,
    break_hyphens: bool,
}

impl Style {
    fn wrap(&self, line: &str) -> Vec<String> {
        let mut chunks: std::collections::VecDeque<Vec<char>> = self.chunks(line).into();
        let mut lines: Vec<String> = Vec::new();
        while !chunks.is_empty() {
            if !lines.is_empty() && chunks.front().is_some_and(|chunk| is_blank(chunk)) {
                chunks.pop_front();
            }
            let mut current: Vec<Vec<char>> = Vec::new();
            let mut used = 0;
            while let Some(chunk) = chunks.pop_front_if(|chunk| used + chunk.len() <= self.width) {
                used += chunk.len();
                current.push(chunk);
            }
            if let Some(chunk) = chunks.front_mut().filter(|chunk| chunk.len() > self.width) {
                if self.break_long {
                    let end = self.cut(chunk, self.width - used);
                    current.push(chunk.drain(..end).collect());
                } else if current.is_empty() {
                    current.extend(chunks.pop_front());
                }
            }
            if current.last().is_some_and(|chunk| is_blank(chunk)) {
                current.pop();
            }
            if !current.is_empty() {
                lines.push(current.into_iter().flatten().collect());
            }
        }
        lines
    }

    /// Where a word that is too long is cut: behind its last hyphen that still fits, or at the
    /// edge.
    fn cut(&self, chunk: &[char], room: usize) -> usize {
        let hyphen = chunk[..room].iter().rposition(|c| *c == '-');
        match hyphen {
            Some(at) if self.break_hyphens && chunk[..at].iter().any(|c| *c != '-') => at + 1,
            _ => room,
        }
    }

    /// Runs of white space, and words, which may end at a hyphen between letters.
    fn chunks(&self, line: &str) -> Vec<Vec<char>> {
        let chars: Vec<char> = line.chars().collect();
        let mut chunks: Vec<Vec<char>> = Vec::new();
        let mut start = 0;
        for at in 1..=chars.len() {
            let ends = at == chars.len()
                || is_space(chars[at]) != is_space(chars[at - 1])
                || (self.break_hyphens && breaks_behind_hyphen(&chars[start..], at - start));
            if ends {
                chunks.push(chars[start..at].to_vec());
                start = at;
            }
        }
        chunks
    }
}

fn breaks_behind_hyphen(chars: &[char], at: usize) -> bool {
    let letter = |at: Option<usize>| {
        at.and_then(|at| chars.get(at)).is_some_and(|c| c.is_alphabetic() || *c == '_')
    };
    let is = |at: Option<usize>, wanted: char| at.and_then(|at| chars.get(at)) == Some(&wanted);
    let back = |by: usize| at.checked_sub(by);
    let before = letter(back(2)) && (letter(back(3)) || (is(back(3), '-') && letter(back(4))));
    let after = letter(Some(at))
        && (letter(Some(at + 1)) || (is(Some(at + 1), '-') && letter(Some(at + 2))));
    is(back(1), '-') && before && after
}

fn is_space(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

fn is_blank(chunk: &[char]) -> bool {
    chunk.iter().all(|c| c.is_whitespace())
}
