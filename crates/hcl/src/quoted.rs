//! Where a rendered file holds texts: whoever puts a value into one of them has to write it as that
//! text is written. Pure.

use std::ops::Range;

use hcl_edit::Span as _;
use hcl_edit::expr::Expression;
use hcl_edit::visit::{Visit, visit_expr};

use crate::template::{MARK, Template};
use reconciler_model::diagnostic::Diagnostic;

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quotes {
    /// In quotes.
    String,
    /// As a heredoc, which knows no escapes.
    Heredoc,
}

/// A text of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// The bytes of the file that it takes, with its quotes or markers.
    pub place: Range<usize>,
    /// How it is written.
    pub quotes: Quotes,
}

impl Template {
    /// The texts of a file; texts within interpolations are among them. None of a file that is not
    /// there.
    pub fn quoted(&self, name: &str) -> Result<Vec<Quoted>, Diagnostic> {
        let (Some(text), Some((_, parsed))) =
            (self.texts().get(name), self.bodies().find(|(other, _)| *other == name))
        else {
            return Ok(Vec::new());
        };
        let shift = if text.starts_with(MARK) { MARK.len_utf8() } else { 0 };
        let mut search = Search { shift, found: Vec::new() };
        search.visit_body(parsed.as_ref().map_err(Clone::clone)?);
        Ok(search.found)
    }
}

struct Search {
    shift: usize,
    found: Vec<Quoted>,
}

impl Visit for Search {
    fn visit_expr(&mut self, node: &Expression) {
        let quotes = match node {
            Expression::String(_) | Expression::StringTemplate(_) => Some(Quotes::String),
            Expression::HeredocTemplate(_) => Some(Quotes::Heredoc),
            _ => None,
        };
        if let (Some(span), Some(quotes)) = (node.span(), quotes) {
            let place = span.start + self.shift..span.end + self.shift;
            self.found.push(Quoted { place, quotes });
        }
        visit_expr(self, node);
    }
}
