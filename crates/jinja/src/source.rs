//! A template's text as the engine gets it: line ends normalised, string literals with Python's
//! escapes; and where each place of it stood.
//!
//! It is gone through once, by the engine's own rules: text, comments, `raw`, and what stands
//! between braces. So this also knows what is opened and never closed, of which the engine only
//! says that the file has ended.

use std::borrow::Cow;
use std::ops::Range;

use crate::escapes::{for_the_engine, unescape};

/// What is opened in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// `{#`
    Comment,
    /// `{% raw %}`
    Raw,
    /// `{{`
    Expression,
    /// `{%`
    Tag,
    /// `{% if … %}` and the others that a tag of their own ends.
    Block(&'static str),
}

/// A template, prepared. All places are those of `text`.
pub(super) struct Source<'a> {
    /// What the engine compiles.
    pub(super) text: Cow<'a, str>,
    /// The innermost that is opened and never closed.
    pub(super) open: Option<(Opened, Range<usize>)>,
    /// The first literal that cannot be read.
    pub(super) bad: Option<(&'static str, Range<usize>)>,
    /// What stands between braces.
    pub(super) inside: Vec<Range<usize>>,
    literals: Moved,
    lines: Moved,
}

/// Tags that another tag ends.
const BLOCKS: [&str; 8] = ["if", "for", "macro", "call", "filter", "block", "with", "autoescape"];

/// Where parts of a text stood before it was changed: begins, here and there, in order. Within a
/// part the distance stays the same.
#[derive(Default)]
struct Moved(Vec<(usize, usize)>);

impl Moved {
    fn before(&self, offset: usize) -> usize {
        let after = self.0.partition_point(|(here, _)| *here <= offset);
        let (here, there) = match after.checked_sub(1) {
            Some(at) => self.0[at],
            None => (0, 0),
        };
        let far = there + (offset - here);
        // What was put in may be longer than what it stands for.
        self.0.get(after).map_or(far, |(_, next)| far.min(*next))
    }
}

impl<'a> Source<'a> {
    /// Prepares a template.
    pub(super) fn new(original: &'a str) -> Self {
        let (normal, lines) = normalised(original);
        let mut scan = Scan {
            text: &normal,
            at: 0,
            copied: 0,
            out: None,
            open: None,
            bad: None,
            blocks: Vec::new(),
            inside: Vec::new(),
            literals: Moved::default(),
        };
        scan.all();
        let Scan { open, bad, blocks, inside, literals, copied, out, .. } = scan;
        let open = open.or_else(|| {
            let (block, place) = blocks.into_iter().next_back()?;
            Some((Opened::Block(block), place))
        });
        let changed = out.map(|out| out + &normal[copied..]);
        Self { text: changed.map_or(normal, Cow::Owned), open, bad, inside, literals, lines }
    }

    /// The same place in the file.
    pub(super) fn original(&self, place: &Range<usize>) -> Range<usize> {
        let original = |offset| self.lines.before(self.literals.before(offset));
        original(place.start)..original(place.end)
    }
}

/// `\r\n` and `\r` as `\n`.
fn normalised(original: &str) -> (Cow<'_, str>, Moved) {
    let mut moved = Moved::default();
    if !original.contains('\r') {
        return (Cow::Borrowed(original), moved);
    }
    let mut text = String::with_capacity(original.len());
    let mut chars = original.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        text.push(if c == '\r' { '\n' } else { c });
        if c == '\r' && chars.next_if(|(_, next)| *next == '\n').is_some() {
            moved.0.push((text.len(), at + 2));
        }
    }
    (Cow::Owned(text), moved)
}

/// One way through a text.
struct Scan<'t> {
    text: &'t str,
    at: usize,
    /// What was written so far, if anything had to be changed, and up to where of the text.
    out: Option<String>,
    copied: usize,
    open: Option<(Opened, Range<usize>)>,
    bad: Option<(&'static str, Range<usize>)>,
    blocks: Vec<(&'static str, Range<usize>)>,
    inside: Vec<Range<usize>>,
    literals: Moved,
}

impl<'t> Scan<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// A place of the text that is written.
    fn written(&self, place: Range<usize>) -> Range<usize> {
        let far = match &self.out {
            Some(out) => out.len().wrapping_sub(self.copied),
            None => 0,
        };
        place.start.wrapping_add(far)..place.end.wrapping_add(far)
    }

    fn all(&mut self) {
        while self.open.is_none() {
            let Some(brace) = self.rest().find('{') else {
                return;
            };
            let start = self.at + brace;
            self.at = start + 1;
            let marker = self.rest().bytes().next();
            if !matches!(marker, Some(b'{' | b'%' | b'#')) {
                continue;
            }
            self.at += 1;
            let sign = usize::from(self.rest().starts_with(['-', '+']));
            let behind = self.at + sign;
            match marker {
                Some(b'#') => match self.text[behind..].find("#}") {
                    Some(end) => self.at = behind + end + 2,
                    None => self.opened(Opened::Comment, start..start + 2),
                },
                Some(b'%') => match tag(&self.text[behind..], "raw", false) {
                    Some(length) => self.raw(start, behind + length),
                    None => self.braces(start, behind, "%}", Opened::Tag),
                },
                _ => self.braces(start, behind, "}}", Opened::Expression),
            }
        }
    }

    fn opened(&mut self, what: Opened, place: Range<usize>) {
        let place = self.written(place);
        self.open.get_or_insert((what, place));
    }

    fn raw(&mut self, start: usize, begin: usize) {
        let mut at = begin;
        while let Some(next) = self.text[at..].find("{%") {
            at += next + 2;
            if let Some(length) = tag(&self.text[at..], "endraw", true) {
                self.at = at + length;
                return;
            }
        }
        self.opened(Opened::Raw, start..begin);
    }

    /// What stands between braces, up to their end.
    fn braces(&mut self, start: usize, begin: usize, end: &str, what: Opened) {
        self.at = begin;
        // Before anything within is written longer.
        let opening = self.written(start..start + 2);
        let inside = self.written(begin..begin).start;
        let mut depth = 0_i32;
        while let Some(c) = self.rest().chars().next() {
            if depth == 0 && self.rest().starts_with(end) {
                let place = opening.start..self.written(self.at..self.at + 2).end;
                self.inside.push(inside..place.end - 2);
                if what == Opened::Tag {
                    self.block(&self.text[begin..self.at], place);
                }
                self.at += 2;
                return;
            }
            match c {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth -= 1,
                '\'' | '"' => {
                    if !self.literal(c) {
                        break;
                    }
                    continue;
                }
                _ => {}
            }
            self.at += c.len_utf8();
        }
        self.open.get_or_insert((what, opening));
    }

    /// A string literal; whether it ends.
    fn literal(&mut self, quote: char) -> bool {
        let begin = self.at + 1;
        let mut escaped = false;
        let end = self.text[begin..].find(|c: char| {
            let ends = !escaped && c == quote;
            escaped = !escaped && c == '\\';
            ends
        });
        let Some(length) = end else {
            return false;
        };
        let body = &self.text[begin..begin + length];
        let place = self.at..begin + length + 1;
        self.at = place.end;
        if !body.contains('\\') {
            return true;
        }
        match unescape(body) {
            Ok(said) => {
                let written = for_the_engine(&said, quote);
                let mut out = self.out.take().unwrap_or_default();
                out.push_str(&self.text[self.copied..place.start]);
                self.literals.0.push((out.len(), place.start));
                out.push_str(&written);
                self.literals.0.push((out.len(), place.end));
                self.out = Some(out);
                self.copied = place.end;
            }
            Err(bad) => {
                let at = begin + bad.at;
                let place = self.written(at..at + 2.min(place.end - at));
                self.bad.get_or_insert((bad.message, place));
            }
        }
        true
    }

    /// Opens or closes a block, by the words of a tag.
    fn block(&mut self, tag: &str, place: Range<usize>) {
        let tag = tag.trim_start();
        let length = tag.find(|c: char| !c.is_alphanumeric() && c != '_');
        let (word, rest) = tag.split_at(length.unwrap_or(tag.len()));
        let opens = BLOCKS.into_iter().find(|block| *block == word);
        // `{% set x %}…{% endset %}`
        let opens = opens.or((word == "set" && !rest.contains('=')).then_some("set"));
        if let Some(block) = opens {
            self.blocks.push((block, place));
        } else if let Some(ended) = word.strip_prefix("end")
            && self.blocks.last().is_some_and(|(block, _)| *block == ended)
        {
            self.blocks.pop();
        }
    }
}

/// How long a tag without anything but its name is, with what ends it.
fn tag(text: &str, name: &str, signed: bool) -> Option<usize> {
    let space = |text: &str| -> usize { text.len() - text.trim_ascii_start().len() };
    let mut at = usize::from(signed && text.starts_with(['-', '+']));
    at += space(&text[at..]);
    at += text[at..].starts_with(name).then_some(name.len())?;
    at += space(&text[at..]);
    at += usize::from(text[at..].starts_with(['-', '+']));
    text[at..].starts_with("%}").then_some(at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_put_as_the_engine_reads_them_and_nothing_else_is_changed() {
        for text in [
            "a \\/ {{ x }} \"\\/\" {% raw %}{{ \"\\/\" }}{% endraw %}{# \"\\/\" #}",
            "{% if a %}'{{ b }}'{% endif %}",
            "",
            "{",
        ] {
            let source = Source::new(text);
            assert_eq!((&*source.text, source.open), (text, None));
        }
        let source = Source::new("\r\n{{ \"\\/é\" ~ x }}\r\n{{ y }}");
        assert_eq!(source.text, "\n{{ \"\\\\/é\" ~ x }}\n{{ y }}");
        let there = |name: &str| {
            let at = source.text.find(name).unwrap();
            source.original(&(at..at + 1)).start
        };
        assert_eq!((there("x"), there("y")), (14, 23));
    }

    #[test]
    fn what_is_never_closed_is_told_by_its_place() {
        for (text, opened, place) in [
            ("a\n${#b[@]}", Opened::Comment, 3..5),
            ("{% raw %}{{", Opened::Raw, 0..9),
            ("{{ a", Opened::Expression, 0..2),
            ("{{ {'a': {'b': 1}}", Opened::Expression, 0..2),
            ("{{ 'a }}", Opened::Expression, 0..2),
            ("{% if a", Opened::Tag, 0..2),
            ("{% if a %}{% for b in c %}{% endfor %}", Opened::Block("if"), 0..10),
            ("{% set a = 1 %}{% set b %}", Opened::Block("set"), 15..26),
            ("{{ '\\/' }}{#", Opened::Comment, 11..13),
        ] {
            assert_eq!(Source::new(text).open, Some((opened, place)), "{text}");
        }
        let closed = "{% if a %}{% set b = 1 %}{% else %}{% endif %}{#- x -#}{%- raw -%}{#{%- endraw +%}{{ {'}}': {1: 2}} }}";
        assert_eq!(Source::new(closed).open, None);
    }

    #[test]
    fn an_escape_that_cannot_be_read_is_told_by_its_place() {
        let source = Source::new("{{ '\\/' ~ '\\xg' }}");
        let (_, place) = source.bad.clone().unwrap();
        assert_eq!(source.original(&place), 11..13);
    }
}
