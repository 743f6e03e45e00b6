//! Refuses HCL that Packer's reader and ours would take apart differently.
//!
//! What is looked at here must be what Packer reads, or whatever one reader takes for text could be
//! a block to the other. The two differ in where a heredoc ends: Packer's ends it at the first line
//! that is the marker once all white space, Unicode's too, is taken off both ends; ours at a line
//! that begins with it, and never at the first. So each heredoc is read again by Packer's rule, and
//! is refused where the two do not agree. Control characters are refused wherever they stand.
//! Whatever else one of them does not take at all is no danger: it is an error of one or of the
//! other. Pure.

use std::ops::Range;

use hcl_edit::Span as _;
use hcl_edit::structure::Body;
use hcl_edit::template::{HeredocTemplate, Template};
use hcl_edit::visit::{self, Visit};

use reconciler_model::diagnostic::Diagnostic;

/// The most that is read of one file. Nobody writes as much HCL, and what it costs to read some of
/// it grows with its square.
pub(super) const MOST_BYTES: usize = 256 * 1024;

/// Refuses what cannot be read to an end, or holds characters that are read in two ways. Asked
/// before the text is taken apart.
pub(super) fn readable(path: &str, text: &str) -> Result<(), Diagnostic> {
    if text.len() > MOST_BYTES {
        return Err(Diagnostic::new(format!(
            "has {} KiB; HCL above {} KiB is not read",
            text.len() / 1024,
            MOST_BYTES / 1024
        ))
        .in_file(path)
        .hint("put large texts into files of the step's folder, and read them with file()"));
    }
    let odd = text
        .char_indices()
        .find(|&(at, c)| is_odd(c) && !(c == '\r' && text[at + 1..].starts_with('\n')));
    match odd {
        Some((at, c)) => Err(Diagnostic::new(format!(
            "holds the control character U+{:04X}, which Packer may read as something else than it looks like",
            u32::from(c)
        ))
        .at(path, text, at..at + c.len_utf8())
        .hint("remove it, or write it as an escape within quotes")),
        None => Ok(()),
    }
}

/// Not a tab and not the end of a line.
fn is_odd(c: char) -> bool {
    c == '\u{feff}' || (c.is_control() && !matches!(c, '\t' | '\n'))
}

/// Refuses a file in which a heredoc ends elsewhere for Packer.
pub(super) fn body(path: &str, text: &str, body: &Body) -> Result<(), Diagnostic> {
    let mut ends = Ends { text, found: None };
    ends.visit_body(body);
    ends.told(path)
}

/// The same of a file that `templatefile` reads.
pub(super) fn template(path: &str, text: &str, template: &Template) -> Result<(), Diagnostic> {
    let mut ends = Ends { text, found: None };
    ends.visit_template(template);
    ends.told(path)
}

struct Ends<'a> {
    text: &'a str,
    found: Option<Range<usize>>,
}

impl Ends<'_> {
    fn told(self, path: &str) -> Result<(), Diagnostic> {
        let Some(at) = self.found else {
            return Ok(());
        };
        Err(
            Diagnostic::new("this heredoc ends elsewhere for Packer than it seems to")
                .at(path, self.text, at)
                .hint("put the marker alone on its line, what follows on the next one, and no other line that is the marker into the text"),
        )
    }

    /// Where Packer ends a heredoc that begins at `start`: the line of its end.
    fn packers(&self, start: usize, marker: &str) -> Option<Range<usize>> {
        let mut at = start + self.text.get(start..)?.find('\n')? + 1;
        for line in self.text[at..].split_inclusive('\n') {
            if line.trim() == marker {
                return Some(at..at + line.len());
            }
            at += line.len();
        }
        None
    }
}

impl Visit for Ends<'_> {
    fn visit_heredoc_template(&mut self, heredoc: &HeredocTemplate) {
        if self.found.is_some() {
            return;
        }
        let span = heredoc.span().unwrap_or(0..0);
        let marker = heredoc.delimiter.as_str();
        let agreed = self
            .packers(span.start, marker)
            .is_some_and(|line| line.start + marker.len() <= span.end && span.end <= line.end);
        // Seeded bug: heredocs-end-where-ours-does
        if !agreed {
            self.found = Some(span);
        }
        visit::visit_heredoc_template(self, heredoc);
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::time::Instant;

    use super::*;
    use crate::template::Template as Rendered;

    fn parse(name: &str, text: &str) -> Result<(), Diagnostic> {
        let rendered = Rendered::new([(name.to_owned(), text.to_owned())].into());
        rendered.files().map(drop)
    }

    #[track_caller]
    fn refused(text: &str, words: &str) {
        let wrong = parse("x.pkr.hcl", text).expect_err("is refused");
        assert!(wrong.message.contains(words), "{text:?}: {wrong:?}");
        assert!(wrong.line_column().is_some(), "{wrong:?}");
    }

    #[test]
    fn a_heredoc_that_ends_elsewhere_for_packer_is_refused() {
        let elsewhere = "this heredoc ends elsewhere";
        for between in ['\u{a0}', '\u{2003}', '\u{3000}', '\u{2028}'] {
            let text = format!("x = [<<EOT\n1\n{between}EOT\n]\ny = [<<EOT\nid\nEOT\n]\n");
            refused(&text, elsewhere);
            let text = format!("x = [<<EOT\n1\nEOT{between}\n]\ny = [<<EOT\nid\nEOT\n]\n");
            assert!(parse("x.pkr.hcl", &text).is_err(), "{text:?}");
        }
        // Packer goes on, ours has ended.
        for behind in [" # x", ",", "]", " /* x */", ")"] {
            let text = format!("x = [<<EOT\n1\nEOT{behind}\n2\nEOT\n]\n");
            assert!(parse("x.pkr.hcl", &text).is_err(), "{text:?}");
        }
        refused("x = <<EOT\n1\nEOT # x\n", elsewhere);
        // Packer has ended at once, ours goes on to the next.
        refused("x = <<EOT\nEOT\ny = 1\nz = <<EOT\n1\nEOT\n", elsewhere);
        refused("x = <<-EOT\n  EOT\ny = <<-EOT\n1\n  EOT\n", elsewhere);
        refused("x = \"${[<<EOT\n1\nEOT # x\n]}\"\n", elsewhere);
    }

    #[test]
    fn heredocs_that_both_read_alike_pass() {
        for text in [
            "x = <<EOT\n1\nEOT\n",
            "x = <<EOT\r\n1\r\nEOT\r\n",
            "x = <<-EOT\n  1\n\tEOT \ny = 2\n",
            "x = [<<A\n${<<B\n1\nB\n}\nA\n, 2]\n",
            "x = <<EOT\nEOT\n",
            "x = <<EOT\n1\nEOT",
            "x = <<EOT\nEOTX\n a EOT\n$\n%\nEOT\n",
            "x = \"\u{a0}\u{3000}\" # \u{2003}\n",
        ] {
            parse("x.pkr.hcl", text).unwrap_or_else(|why| panic!("{text:?}: {why}"));
        }
    }

    #[test]
    fn control_characters_are_refused_wherever_they_stand() {
        for odd in ['\u{b}', '\u{c}', '\r', '\u{85}', '\0', '\u{1b}', '\u{feff}'] {
            refused(&format!("x = \"a{odd}b\"\n"), "the control character");
            refused(&format!("# a{odd}b\n"), "the control character");
        }
        assert!(parse("x.pkr.hcl", "\u{feff}x = 1\r\n").is_ok());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test may measure")]
    fn hostile_texts_come_to_an_end() {
        let many = MOST_BYTES / 8;
        let texts = [
            "x = ".to_owned() + &"[".repeat(many),
            "x = ".to_owned() + &"(".repeat(many),
            "x = ".to_owned() + &"{a=".repeat(many),
            "x = ".to_owned() + &"\"${".repeat(many),
            "x = ".to_owned() + &"!".repeat(many),
            "x = ".to_owned() + &"-".repeat(many),
            "x = 1".to_owned() + &"+1".repeat(many),
            "x = a".to_owned() + &".b".repeat(many),
            "x = a".to_owned() + &"?b:c".repeat(many),
            "x = \"".to_owned() + &"%{ if a }".repeat(many / 2),
            "x = \"".to_owned() + &"%{ for a in b }".repeat(many / 2),
            "a {\n".repeat(many),
            "x = <<EOT\n".repeat(many / 2),
            "x = ".to_owned() + &"f(".repeat(many),
            "x = [for a in ".to_owned() + &"[for a in ".repeat(many / 2),
            "/*".repeat(many),
            (0..4096).fold("x = {".to_owned(), |mut all, at| {
                let _ = writeln!(all, "a{at}=1");
                all
            }) + "}\n",
        ];
        for text in texts {
            let begun = Instant::now();
            let _ = parse("x.pkr.hcl", &text);
            assert!(begun.elapsed().as_secs() < 60, "{}", &text[..20]);
        }
        let large = "#".repeat(MOST_BYTES + 1);
        assert!(parse("x", &large).unwrap_err().message.contains("is not read"));
    }
}
