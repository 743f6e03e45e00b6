//! Draws one text again and again in the same place of a terminal, on its other screen, and gives the terminal back as it was.

use std::io::{IsTerminal as _, Write as _};

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
    #[expect(
        clippy::unused_self,
        reason = "only who has taken the terminal may draw on it"
    )]
    pub(crate) fn draw(&self, text: &str) -> std::io::Result<()> {
        let out = std::io::stdout();
        // A terminal that nobody has sized yet says 0.
        let rows = rustix::termios::tcgetwinsize(&out)
            .ok()
            .map(|size| usize::from(size.ws_row))
            .filter(|rows| *rows > 0)
            .unwrap_or(24);
        let plain = anstream::AutoStream::choice(&out) == anstream::ColorChoice::Never;
        let text = if plain {
            anstream::adapter::strip_str(text).to_string()
        } else {
            text.to_owned()
        };
        let mut out = out.lock();
        out.write_all(frame(&text, rows).as_bytes())?;
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

/// From the top left corner, each line cleared behind its end, then everything below.
fn frame(text: &str, rows: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let shown = if lines.len() > rows {
        rows.saturating_sub(1)
    } else {
        lines.len()
    };
    let mut out = String::from("\x1b[H");
    for (at, line) in lines.iter().take(shown).enumerate() {
        out.push_str(if at == 0 { "" } else { "\r\n" });
        out.push_str(line);
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
        assert_eq!(frame("a\nb\n", 2), "\x1b[Ha\x1b[K\r\nb\x1b[K\x1b[J");
        let cut = frame("a\nb\nc\nd\n", 3);
        assert!(cut.contains("b\x1b[K\r\n… 2 more lines"), "{cut:?}");
        assert_eq!(cut.matches("\r\n").count(), 2);
    }
}
