//! Text that was written by others, made fit for a terminal and a log.
//!
//! Servers, nodes and images choose names and messages. A terminal obeys control characters
//! among them: it moves the cursor over earlier lines, changes its title, answers as if keys
//! had been pressed. Characters that reverse the direction of writing, or show nothing, make
//! a line say what it does not. All of them are shown by their escapes.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` with every character escaped that does something else than stand in its place.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_active) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        push(&mut escaped, character);
    }
    Cow::Owned(escaped)
}

/// As [`printable`], with line breaks as they are: for texts of several lines of our own.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    lines.join("\n")
}

/// Appends a character, or its escape.
fn push(text: &mut String, character: char) {
    match character {
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        '\0'..='\u{1f}' | '\u{7f}' => {
            // A String takes every text.
            let _ = write!(text, "\\x{:02x}", u32::from(character));
        }
        active if is_active(active) => {
            let _ = write!(text, "\\u{{{:x}}}", u32::from(active));
        }
        plain => text.push(plain),
    }
}

/// Whether a character is a control character (C0, DEL, C1), a separator of lines, or one
/// that changes how its neighbours look: direction, joining, variation, tags, or nothing.
fn is_active(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        let cases = [
            ("plain Grüße 日本 💾", "plain Grüße 日本 💾"),
            ("\u{1b}[2J\u{7}", "\\x1b[2J\\x07"),
            ("a\nb\r\tc\0\u{7f}", "a\\nb\\r\\tc\\x00\\x7f"),
            ("\u{9b}31m\u{85}", "\\u{9b}31m\\u{85}"),
            ("abc\u{202e}txt.exe", "abc\\u{202e}txt.exe"),
            (
                "\u{2066}x\u{2069}\u{200b}\u{feff}",
                "\\u{2066}x\\u{2069}\\u{200b}\\u{feff}",
            ),
            ("\u{2028}\u{e0041}", "\\u{2028}\\u{e0041}"),
        ];
        for (text, shown) in cases {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(printable_lines("a\u{1b}\nb"), "a\\x1b\nb");
    }

    proptest::proptest! {
        #[test]
        fn nothing_active_is_left(text: String) {
            let shown = printable(&text);
            proptest::prop_assert!(!shown.chars().any(is_active));
            proptest::prop_assert_eq!(printable(&shown), shown.clone());
        }
    }
}
