//! Draws one text again and again in the same place of a terminal, on its other screen, and gives
//! the terminal back as it was.

use std::io::{IsTerminal as _, Write as _};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr};

/// The other screen, without a cursor and without wrapping long lines.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// A terminal that is drawn on. Leaves it when dropped.
pub(crate) struct Screen;

impl Screen {
    /// Takes the terminal that standard output is; none if it is none.
    pub(crate) fn enter() -> std::io::Result<Option<Self>> {
        let mut out = std::io::stdout().lock();
        let dumb = std::env::var_os("TERM").is_none_or(|kind| kind == "dumb");
        if !out.is_terminal() || dumb {
            return Ok(None);
        }
        out.write_all(ENTER.as_bytes())?;
        out.flush()?;
        Ok(Some(Self))
    }

    /// Draws a text over the one before; what does not fit is counted.
    #[expect(clippy::unused_self, reason = "only who has taken the terminal may draw on it")]
    pub(crate) fn draw(&self, text: impl FnOnce(usize) -> String) -> std::io::Result<()> {
        let out = std::io::stdout();
        let (rows, columns) = size();
        let text = text(rows);
        let plain = anstream::AutoStream::choice(&out) == anstream::ColorChoice::Never;
        let text = if plain { anstream::adapter::strip_str(&text).to_string() } else { text };
        let mut out = out.lock();
        out.write_all(frame(&text, rows, columns).as_bytes())?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = std::io::stdout().lock();
        // A terminal that is gone needs no restoring.
        let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
    }
}

/// How many columns standard output has, where it is a terminal.
pub(crate) fn width() -> usize {
    size().1
}

/// Rows and columns. A terminal that nobody has sized yet says 0.
fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    let or = |size: Option<u16>, usual| {
        let size = size.map(usize::from);
        size.filter(|size| *size > 0).unwrap_or(usual)
    };
    (or(size.map(|size| size.ws_row), 24), or(size.map(|size| size.ws_col), 80))
}

/// A line of so many columns at most, cut with `…`. Styles take no room, and end with the line.
pub(crate) fn cut(line: &str, columns: usize) -> String {
    let plain = anstream::adapter::strip_str(line).to_string();
    if UnicodeWidthStr::width(plain.as_str()) <= columns {
        return line.to_owned();
    }
    let room = columns.saturating_sub(1);
    let (mut out, mut used, mut styled) = (String::new(), 0, false);
    let mut rest = line.chars();
    while let Some(one) = rest.next() {
        if one == '\x1b' {
            styled = true;
            out.push(one);
            // `ESC [ … letter`: the only kind that is ever in these texts.
            for part in rest.by_ref() {
                out.push(part);
                if part.is_ascii_alphabetic() {
                    break;
                }
            }
            continue;
        }
        let wide = one.width().unwrap_or(0);
        if used + wide > room {
            break;
        }
        used += wide;
        out.push(one);
    }
    if columns > 0 {
        out.push('…');
    }
    if styled {
        out.push_str("\x1b[0m");
    }
    out
}

/// From the top left corner, each line cleared behind its end, then everything below.
fn frame(text: &str, rows: usize, columns: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let shown = if lines.len() > rows { rows.saturating_sub(1) } else { lines.len() };
    let mut out = String::from("\x1b[H");
    for (at, line) in lines.iter().take(shown).enumerate() {
        out.push_str(if at == 0 { "" } else { "\r\n" });
        out.push_str(&cut(line, columns));
        out.push_str("\x1b[K");
    }
    if shown < lines.len() {
        out.push_str(&format!("\r\n… {} more lines\x1b[K", lines.len() - shown));
    }
    out + "\x1b[J"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_never_scrolls() {
        assert_eq!(frame("a\nb\n", 2, 80), "\x1b[Ha\x1b[K\r\nb\x1b[K\x1b[J");
        let cut = frame("a\nb\nc\nd\n", 3, 80);
        assert!(cut.contains("b\x1b[K\r\n… 2 more lines"), "{cut:?}");
        assert_eq!(cut.matches("\r\n").count(), 2);
    }

    #[test]
    fn a_line_is_cut_by_the_columns_that_it_takes_and_its_style_ends_with_it() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 5), "abcd…");
        assert_eq!(cut("数据库基础", 10), "数据库基础");
        assert_eq!(cut("数据库基础", 9), "数据库基…");
        assert_eq!(cut("数据库基础", 8), "数据库…", "half of a wide one is none");
        assert_eq!(cut("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}…");
        let styled = "\x1b[31mabcdef\x1b[0m";
        assert_eq!(cut(styled, 6), styled);
        assert_eq!(cut(styled, 4), "\x1b[31mabc…\x1b[0m");
        for columns in 0..=12 {
            let shown = anstream::adapter::strip_str(&cut(styled, columns)).to_string();
            assert!(shown.chars().count() <= columns, "{columns}: {shown:?}");
        }
    }
}
