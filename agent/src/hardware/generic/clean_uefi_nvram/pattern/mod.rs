//! Python's regular expressions, in which operators write patterns for the Python agent. The
//! engine is `fancy-regex`, which has look-around and back-references; what Python spells
//! otherwise is translated.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

use fancy_regex::{Regex, RegexBuilder};
use thiserror::Error;

/// Why a pattern is not one of Python's, or cannot be used.
#[derive(Debug, Error)]
pub enum InvalidPattern {
    /// The engine refuses it.
    #[error("{pattern}: {source}")]
    Syntax {
        /// The pattern as it was given.
        pattern: String,
        /// What the engine says.
        source: Box<fancy_regex::Error>,
    },
    /// Python refuses it, or the engine has no such thing.
    #[error("{pattern}: {construct} is not supported")]
    Construct {
        /// The pattern as it was given.
        pattern: String,
        /// The part of the pattern.
        construct: UnsupportedConstruct,
    },
    /// Looking for it takes too long.
    #[error("{pattern}: looking for it takes too many steps; make it simpler")]
    TooSlow {
        /// The pattern as it was given.
        pattern: String,
    },
}

/// The part of a pattern that cannot be translated.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct UnsupportedConstruct(String);

impl From<&str> for UnsupportedConstruct {
    fn from(construct: &str) -> Self {
        Self(construct.to_owned())
    }
}

/// A pattern that is searched for without regard to case.
#[derive(Debug)]
pub(super) struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// It is not a regular expression.
    pub(super) fn new(pattern: &str) -> Result<Self, InvalidPattern> {
        let translated = Translator::new(pattern).translate();
        let translated = translated.map_err(|construct| InvalidPattern::Construct {
            pattern: pattern.to_owned(),
            construct,
        })?;
        let regex = RegexBuilder::new(&translated)
            .case_insensitive(true)
            .build();
        let regex = regex.map_err(|source| InvalidPattern::Syntax {
            pattern: pattern.to_owned(),
            source: Box::new(source),
        })?;
        Ok(Self {
            text: pattern.to_owned(),
            regex,
        })
    }

    /// Whether it is found anywhere in a text.
    ///
    /// # Errors
    /// Looking for it would take too long.
    pub(super) fn is_in(&self, text: &str) -> Result<bool, InvalidPattern> {
        self.regex
            .is_match(text)
            .map_err(|_| InvalidPattern::TooSlow {
                pattern: self.text.clone(),
            })
    }
}

/// Rewrites a pattern. Errors are the part that cannot be rewritten.
struct Translator<'a> {
    rest: Peekable<Chars<'a>>,
    result: String,
    /// Something stands before that a quantifier can repeat.
    can_repeat: bool,
}

impl<'a> Translator<'a> {
    fn new(pattern: &'a str) -> Self {
        Self {
            rest: pattern.chars().peekable(),
            result: String::with_capacity(pattern.len()),
            can_repeat: false,
        }
    }

    fn translate(mut self) -> Result<String, UnsupportedConstruct> {
        while let Some(letter) = self.rest.next() {
            let before = std::mem::replace(&mut self.can_repeat, true);
            match letter {
                '\\' => self.escape()?,
                '[' => self.set()?,
                '(' => {
                    self.can_repeat = false;
                    self.group()?;
                }
                '{' => self.brace(before)?,
                '}' | ']' => {
                    self.result.push('\\');
                    self.result.push(letter);
                }
                '|' | '^' => {
                    self.can_repeat = false;
                    self.result.push(letter);
                }
                _ => self.result.push(letter),
            }
        }
        Ok(self.result)
    }

    /// What stands next, if it is this.
    fn take(&mut self, letter: char) -> bool {
        self.rest.next_if_eq(&letter).is_some()
    }

    /// A repetition `{m,n}`, or a brace that stands for itself.
    fn brace(&mut self, can_repeat: bool) -> Result<(), UnsupportedConstruct> {
        let mut ahead = self.rest.clone();
        let body: String = ahead.by_ref().take_while(|letter| *letter != '}').collect();
        let is_closed = self.rest.clone().any(|letter| letter == '}');
        let is_count = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (least, most) = body.split_once(',').unwrap_or((&body, &body));
        let is_repetition = is_closed && !body.is_empty() && is_count(least) && is_count(most);
        if !(is_repetition && can_repeat) {
            self.result.push_str("\\{");
            return Ok(());
        }
        let number = |text: &str| text.parse::<u64>().ok();
        if number(least)
            .zip(number(most))
            .is_some_and(|(least, most)| least > most)
        {
            return Err(UnsupportedConstruct(format!("{{{body}}}")));
        }
        let least = if least.is_empty() { "0" } else { least };
        self.result.push('{');
        self.result.push_str(least);
        if body.contains(',') {
            self.result.push(',');
            self.result.push_str(most);
        }
        self.result.push('}');
        self.rest = ahead;
        Ok(())
    }

    /// What follows `(`.
    fn group(&mut self) -> Result<(), UnsupportedConstruct> {
        if !self.take('?') {
            self.result.push('(');
            return Ok(());
        }
        let mut ahead = self.rest.clone();
        match ahead.next() {
            // A comment.
            Some('#') => {
                let mut closed = self.rest.by_ref().skip_while(|letter| *letter != ')');
                closed.next().map(|_| ()).ok_or("(?# without an end")?;
                self.can_repeat = true;
                Ok(())
            }
            Some('P') => match ahead.next() {
                // A name, or a reference to one, spelled alike by the engine.
                Some('<' | '=') => self.copy_group_head(),
                other => Err(UnsupportedConstruct(format!(
                    "(?P{}",
                    other.map(String::from).unwrap_or_default()
                ))),
            },
            Some('<') => match ahead.next() {
                Some('=' | '!') => self.copy_group_head(),
                _ => Err("(?< without = or !".into()),
            },
            Some('(' | ':' | '=' | '!' | '>') => self.copy_group_head(),
            _ => self.flags(),
        }
    }

    fn copy_group_head(&mut self) -> Result<(), UnsupportedConstruct> {
        self.result.push_str("(?");
        // A condition `(?(1)...)` is copied to its closing parenthesis by the main loop.
        Ok(())
    }

    /// `(?i)`, `(?i-s:`: letters for modes, those that are Python's alone left out.
    fn flags(&mut self) -> Result<(), UnsupportedConstruct> {
        let mut kept = String::new();
        loop {
            match self.rest.next() {
                Some(letter @ ('i' | 'm' | 's' | 'x' | '-')) => kept.push(letter),
                // Patterns are of Unicode anyway.
                Some('u') => {}
                Some(')') => {
                    if !kept.is_empty() {
                        let _ = write!(self.result, "(?{kept})");
                    }
                    return Ok(());
                }
                Some(':') => {
                    let _ = write!(self.result, "(?{kept}:");
                    return Ok(());
                }
                other => {
                    return Err(UnsupportedConstruct(format!(
                        "(?{kept}{}",
                        other.map(String::from).unwrap_or_default()
                    )));
                }
            }
        }
    }

    /// What follows a backslash outside of a set.
    fn escape(&mut self) -> Result<(), UnsupportedConstruct> {
        let Some(letter) = self.rest.next() else {
            return Err("a backslash at the end".into());
        };
        match letter {
            'Z' => self.result.push_str("\\z"),
            'A' | 'b' | 'B' | 'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
                self.result.push('\\');
                self.result.push(letter);
            }
            '1'..='9' if !self.is_octal(letter) => {
                self.result.push('\\');
                self.result.push(letter);
                if let Some(second) = self.rest.next_if(char::is_ascii_digit) {
                    self.result.push(second);
                }
                // A digit after it is not part of the number.
                if self.rest.peek().is_some_and(char::is_ascii_digit) {
                    self.result.push_str("(?:)");
                }
            }
            _ => {
                let literal = self.character(letter)?;
                self.push_literal(literal);
            }
        }
        Ok(())
    }

    /// Whether a digit and what follows are three octal digits.
    fn is_octal(&self, first: char) -> bool {
        let mut ahead = self.rest.clone();
        let mut is_next = || ahead.next().is_some_and(|letter| letter.is_digit(8));
        ('0'..='3').contains(&first) && is_next() && is_next()
    }

    /// The character that an escape stands for, `letter` being what follows the backslash.
    fn character(&mut self, letter: char) -> Result<char, UnsupportedConstruct> {
        let digits = |count: usize, rest: &mut Peekable<Chars<'_>>| {
            let text: String = rest.by_ref().take(count).collect();
            let code = u32::from_str_radix(&text, 16)
                .ok()
                .filter(|_| text.len() == count);
            code.and_then(char::from_u32)
                .ok_or_else(|| UnsupportedConstruct(format!("\\{letter}{text}")))
        };
        Ok(match letter {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'f' => '\x0c',
            'v' => '\x0b',
            'a' => '\x07',
            'x' => digits(2, &mut self.rest)?,
            'u' => digits(4, &mut self.rest)?,
            'U' => digits(8, &mut self.rest)?,
            '0'..='7' => {
                let mut code = letter.to_digit(8).unwrap_or_default();
                for _ in 0..2 {
                    let next = self.rest.next_if(|next| next.is_digit(8));
                    let Some(digit) = next.and_then(|next| next.to_digit(8)) else {
                        break;
                    };
                    code = code * 8 + digit;
                }
                char::from_u32(code).ok_or_else(|| UnsupportedConstruct(format!("\\{letter}")))?
            }
            letter if letter.is_ascii_alphanumeric() => {
                return Err(UnsupportedConstruct(format!("\\{letter}")));
            }
            other => other,
        })
    }

    /// A character that stands for itself, in a set or outside.
    fn push_literal(&mut self, letter: char) {
        if letter.is_alphanumeric() || letter == '_' {
            self.result.push(letter);
        } else {
            let _ = write!(self.result, "\\x{{{:x}}}", u32::from(letter));
        }
    }

    /// A set `[...]`, in which the engine gives meanings to brackets and doubled signs that
    /// Python takes as they are.
    fn set(&mut self) -> Result<(), UnsupportedConstruct> {
        self.result.push('[');
        if self.take('^') {
            self.result.push('^');
        }
        let mut is_first = true;
        loop {
            let Some(letter) = self.rest.next() else {
                return Err("[ without an end".into());
            };
            if letter == ']' && !is_first {
                self.result.push(']');
                return Ok(());
            }
            is_first = false;
            let Some(low) = self.set_member(letter)? else {
                continue;
            };
            self.push_literal(low);
            let mut ahead = self.rest.clone();
            if ahead.next() == Some('-') && ahead.peek().is_some_and(|next| *next != ']') {
                self.rest.next();
                let next = self.rest.next().unwrap_or_default();
                let high = self.set_member(next)?;
                let Some(high) = high.filter(|high| low <= *high) else {
                    return Err(UnsupportedConstruct(format!("the range {low}-{next}")));
                };
                self.result.push('-');
                self.push_literal(high);
            }
        }
    }

    /// A member of a set: its character, or `None` for a class like `\d`, which is copied.
    fn set_member(&mut self, letter: char) -> Result<Option<char>, UnsupportedConstruct> {
        if letter != '\\' {
            return Ok(Some(letter));
        }
        let Some(letter) = self.rest.next() else {
            return Err("a backslash at the end".into());
        };
        match letter {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
                self.result.push('\\');
                self.result.push(letter);
                Ok(None)
            }
            'b' => Ok(Some('\x08')),
            other => self.character(other).map(Some),
        }
    }
}

#[cfg(test)]
mod tests;
