//! Lines on standard error that are drawn again and again in their place.

use std::io::{self, Write as _};

use super::size;

/// A block of lines at the end of the terminal.
#[derive(Debug, Default)]
pub(crate) struct LiveLines {
    /// How many lines are drawn.
    drawn: usize,
}

impl LiveLines {
    /// How wide a line may be, and how many there is room for.
    pub(crate) fn room() -> (usize, usize) {
        let (columns, rows) = size(&io::stderr());
        // The last column would wrap on some terminals, the last row holds the cursor.
        (columns.saturating_sub(1), rows.saturating_sub(1).max(1))
    }

    /// Draws these lines in place of the earlier ones. Each fits its row.
    pub(crate) fn draw(&mut self, lines: &[String]) {
        self.show(&frame(self.drawn, lines));
        self.drawn = lines.len();
    }

    /// Removes the lines, so that others can be written.
    pub(crate) fn clear(&mut self) {
        self.show(&frame(self.drawn, &[]));
        self.drawn = 0;
    }

    /// Leaves the lines as they are, and begins below them.
    pub(crate) fn keep(&mut self) {
        self.drawn = 0;
    }

    fn show(&self, text: &str) {
        let mut error = io::stderr().lock();
        // Whether anybody looks changes nothing.
        let _ = error
            .write_all(text.as_bytes())
            .and_then(|()| error.flush());
    }
}

/// What replaces `drawn` lines by others, without flicker: each line is cleared behind its text.
fn frame(drawn: usize, lines: &[String]) -> String {
    let mut text = String::new();
    if drawn > 0 {
        text.push_str(&format!("\x1b[{drawn}A\r"));
    }
    for line in lines {
        text.push_str(line);
        text.push_str("\x1b[K\n");
    }
    if drawn > lines.len() {
        text.push_str("\x1b[J");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_replace_those_before_them() {
        let lines = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(frame(0, &lines(&["a", "b"])), "a\x1b[K\nb\x1b[K\n");
        assert_eq!(frame(2, &lines(&["c"])), "\x1b[2A\rc\x1b[K\n\x1b[J");
        assert_eq!(frame(0, &[]), "");
        assert_eq!(frame(1, &[]), "\x1b[1A\r\x1b[J");
    }
}
