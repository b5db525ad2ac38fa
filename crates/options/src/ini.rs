//! Configuration files as oslo.config reads them.
//!
//! Every assignment keeps its line, because an error has to name it; that is why this is not
//! a general INI library (those also expand backslashes, which oslo leaves alone).
//! `$name` in a value is not replaced.

use thiserror::Error;

/// One `key = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// The group in lower case; empty for `[DEFAULT]`.
    pub(crate) group: String,
    /// The key as written.
    pub(crate) key: String,
    /// The value; lines of a continued value are joined by line breaks.
    pub(crate) value: String,
    /// The line of the key, from 1.
    pub(crate) line: usize,
}

/// What is wrong with a line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SyntaxError {
    /// `[group` without an end, or without a name.
    #[error("a group is written as [name]")]
    Group,
    /// A key before the first group.
    #[error("this stands before the first group: put [DEFAULT] above it")]
    NoGroup,
    /// Neither group, comment nor assignment.
    #[error("an option is written as name = value, a comment begins with #")]
    NoAssignment,
    /// An indented line with nothing to continue.
    #[error("an indented line continues the value above it, and there is none")]
    Continuation,
}

/// Reads a file's text.
///
/// # Errors
/// The first line that is wrong, from 1, and what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Vec<Assignment>, (usize, SyntaxError)> {
    let mut assignments: Vec<Assignment> = Vec::new();
    let mut group: Option<String> = None;
    // Whether the last assignment may still be continued.
    let mut open = false;

    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_end();
        let wrong = |error| (number, error);
        if line.starts_with([' ', '\t']) {
            let last = assignments.last_mut().filter(|_| open);
            let last = last.ok_or_else(|| wrong(SyntaxError::Continuation))?;
            last.value.push('\n');
            last.value.push_str(line.trim_start());
            continue;
        }
        open = false;
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.strip_suffix(']').filter(|name| !name.is_empty());
            group = Some(normal_group(name.ok_or_else(|| wrong(SyntaxError::Group))?));
            continue;
        }
        let (key, value) = line
            .split_once(['=', ':'])
            .filter(|(key, _)| !key.trim().is_empty())
            .ok_or_else(|| wrong(SyntaxError::NoAssignment))?;
        assignments.push(Assignment {
            group: group.clone().ok_or_else(|| wrong(SyntaxError::NoGroup))?,
            key: key.trim().to_owned(),
            value: unquote(value.trim()).to_owned(),
            line: number,
        });
        open = true;
    }
    Ok(assignments)
}

fn normal_group(name: &str) -> String {
    if name.eq_ignore_ascii_case("DEFAULT") {
        String::new()
    } else {
        name.to_ascii_lowercase()
    }
}

/// Takes one pair of equal quotes off.
fn unquote(value: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_oslo_reads() {
        let text = "# comment\n\
                    [DEFAULT]\n\
                    a = 1\n\
                    a=2\r\n\
                    b : x=y\n\
                    ; comment\n\
                    path = C:\\temp\\new # stays\n\
                    quoted = \" with space \"\n\
                    half = \"open\n\
                    \n\
                    [Disk_Utils]\n\
                    list = one,\n\
                    \x20 two\n\
                    \tthree\n\
                    empty =\n";
        let read: Vec<_> = parse(text)
            .unwrap()
            .into_iter()
            .map(|a| (a.line, a.group, a.key, a.value))
            .collect();
        let expected = [
            (3, "", "a", "1"),
            (4, "", "a", "2"),
            (5, "", "b", "x=y"),
            (7, "", "path", "C:\\temp\\new # stays"),
            (8, "", "quoted", " with space "),
            (9, "", "half", "\"open"),
            (12, "disk_utils", "list", "one,\ntwo\nthree"),
            (15, "disk_utils", "empty", ""),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(line, group, key, value)| {
                (*line, (*group).into(), (*key).into(), (*value).into())
            })
            .collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn names_the_line_that_is_wrong() {
        let cases = [
            ("a = 1\n", (1, SyntaxError::NoGroup)),
            ("[DEFAULT]\n\nnonsense\n", (3, SyntaxError::NoAssignment)),
            ("[DEFAULT]\n= 1\n", (2, SyntaxError::NoAssignment)),
            ("[DEFAULT\n", (1, SyntaxError::Group)),
            ("[]\n", (1, SyntaxError::Group)),
            ("[DEFAULT]\n  a = 1\n", (2, SyntaxError::Continuation)),
            ("[DEFAULT]\na = 1\n\n  b\n", (4, SyntaxError::Continuation)),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }
}
