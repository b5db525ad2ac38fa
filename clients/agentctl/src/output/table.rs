//! Tables that fit the terminal: columns that matter less are left out first, then texts are cut.

use ironic_text::printable;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Blanks between two columns.
const GAP: usize = 2;
/// No column that is shown becomes narrower than this.
const NARROWEST: usize = 6;

/// A table.
#[derive(Debug)]
pub(crate) struct TextTable {
    columns: Vec<TableColumn>,
    rows: Vec<Vec<String>>,
}

/// A column of a table.
#[derive(Debug)]
struct TableColumn {
    title: &'static str,
    /// Where there is no room, the column with the greatest number goes first; 0 stays.
    rank: u8,
}

impl TextTable {
    /// A table with these columns: title, and rank. Where there is no room, the column with the
    /// greatest rank is left out first; one with rank 0 stays.
    pub(crate) fn new(columns: &[(&'static str, u8)]) -> Self {
        let columns = columns.iter();
        Self {
            columns: columns
                .map(|(title, rank)| TableColumn { title, rank: *rank })
                .collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. What others have written is made fit for a terminal.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter();
        self.rows
            .push(cells.map(|cell| printable(&cell).into_owned()).collect());
    }

    /// The table in lines of at most `width` columns; `None` is as wide as it gets.
    pub(crate) fn render(&self, width: Option<usize>) -> String {
        let natural: Vec<usize> = (0..self.columns.len()).map(|at| self.natural(at)).collect();
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let total = |shown: &[usize], widths: &[usize]| {
            let texts: usize = shown.iter().map(|at| widths[*at]).sum();
            texts + GAP * shown.len().saturating_sub(1)
        };
        let mut widths = natural;
        if let Some(width) = width {
            while total(&shown, &widths) > width {
                let last = shown
                    .iter()
                    .copied()
                    .max_by_key(|at| self.columns[*at].rank);
                match last {
                    Some(at) if self.columns[at].rank > 0 => shown.retain(|other| *other != at),
                    _ => break,
                }
            }
            while total(&shown, &widths) > width {
                let widest = shown.iter().copied().max_by_key(|at| widths[*at]);
                match widest {
                    Some(at) if widths[at] > NARROWEST => widths[at] -= 1,
                    _ => break,
                }
            }
        }
        let titles = self.columns.iter().map(|column| column.title.to_owned());
        let titles: Vec<String> = titles.collect();
        let mut text = String::new();
        for row in std::iter::once(&titles).chain(&self.rows) {
            line(&mut text, row, &shown, &widths);
        }
        text
    }

    /// The width that a column would have.
    fn natural(&self, at: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(at));
        let widest = cells.map(|cell| cell.width()).max().unwrap_or(0);
        widest.max(self.columns[at].title.width())
    }
}

fn line(text: &mut String, row: &[String], shown: &[usize], widths: &[usize]) {
    let mut blanks = 0;
    for at in shown {
        text.extend(std::iter::repeat_n(' ', blanks));
        let cell = row.get(*at).map_or("", String::as_str);
        let cell = cut(cell, widths[*at]);
        blanks = widths[*at].saturating_sub(cell.width()) + GAP;
        text.push_str(&cell);
    }
    // Empty cells at the end.
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
}

/// A text in at most `width` columns; one that is cut ends in `…`.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut shown = String::new();
    let mut used = 0;
    for character in text.chars() {
        let wide = character.width().unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        shown.push(character);
    }
    if width > 0 {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> TextTable {
        let mut table = TextTable::new(&[("NAME", 0), ("UUID", 2), ("STATE", 1), ("COMMAND", 0)]);
        let uuid = "1be26c0b-03f2-4d2e-ae87-c02d7f33c781";
        table.row(["rack1-1", uuid, "attached", "standby.prepare_image"].map(str::to_owned));
        table.row(["日本", uuid, "away", "a\u{1b}[2J"].map(str::to_owned));
        table
    }

    #[test]
    fn without_a_terminal_everything_is_shown() {
        let text = table().render(None);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[1],
            "rack1-1  1be26c0b-03f2-4d2e-ae87-c02d7f33c781  attached  standby.prepare_image"
        );
        assert_eq!(
            lines[2],
            "日本     1be26c0b-03f2-4d2e-ae87-c02d7f33c781  away      a\\x1b[2J"
        );
    }

    #[test]
    fn every_width_is_kept() {
        for width in 14..100 {
            let text = table().render(Some(width));
            for line in text.lines() {
                assert!(line.width() <= width, "{width}: {line:?}");
                assert_eq!(line, line.trim_end(), "{width}");
            }
        }
        let narrow = table().render(Some(40));
        assert!(narrow.contains("standby.prepare_image"), "{narrow}");
        assert!(!narrow.contains("1be26c0b"), "{narrow}");
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 0), "");
    }
}
