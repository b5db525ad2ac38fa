//! Python's regular expressions, in which operators write patterns for the Python agent. The
//! engine is `fancy-regex`, which has look-around and back-references; what Python spells
//! otherwise is translated.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

use fancy_regex::{Regex, RegexBuilder};
use thiserror::Error;

/// Why a pattern is none of Python's, or cannot be used.
#[derive(Debug, Error)]
pub(super) enum InvalidPattern {
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
        construct: String,
    },
    /// Looking for it takes too long.
    #[error("{pattern}: looking for it takes too many steps; make it simpler")]
    TooSlow {
        /// The pattern as it was given.
        pattern: String,
    },
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

    fn translate(mut self) -> Result<String, String> {
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
    fn brace(&mut self, can_repeat: bool) -> Result<(), String> {
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
            return Err(format!("{{{body}}}"));
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
    fn group(&mut self) -> Result<(), String> {
        if !self.take('?') {
            self.result.push('(');
            return Ok(());
        }
        let mut ahead = self.rest.clone();
        match ahead.next() {
            // A comment.
            Some('#') => {
                let mut closed = self.rest.by_ref().skip_while(|letter| *letter != ')');
                closed
                    .next()
                    .map(|_| ())
                    .ok_or_else(|| "(?# without an end".to_owned())?;
                self.can_repeat = true;
                Ok(())
            }
            Some('P') => match ahead.next() {
                // A name, or a reference to one, spelled alike by the engine.
                Some('<' | '=') => self.copy_group_head(),
                other => Err(format!(
                    "(?P{}",
                    other.map(String::from).unwrap_or_default()
                )),
            },
            Some('<') => match ahead.next() {
                Some('=' | '!') => self.copy_group_head(),
                _ => Err("(?< without = or !".to_owned()),
            },
            Some('(' | ':' | '=' | '!' | '>') => self.copy_group_head(),
            _ => self.flags(),
        }
    }

    fn copy_group_head(&mut self) -> Result<(), String> {
        self.result.push_str("(?");
        // A condition `(?(1)...)` is copied to its closing parenthesis by the main loop.
        Ok(())
    }

    /// `(?i)`, `(?i-s:`: letters for modes, those that are Python's alone left out.
    fn flags(&mut self) -> Result<(), String> {
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
                    return Err(format!(
                        "(?{kept}{}",
                        other.map(String::from).unwrap_or_default()
                    ));
                }
            }
        }
    }

    /// What follows a backslash outside of a set.
    fn escape(&mut self) -> Result<(), String> {
        let Some(letter) = self.rest.next() else {
            return Err("a backslash at the end".to_owned());
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
    fn character(&mut self, letter: char) -> Result<char, String> {
        let digits = |count: usize, rest: &mut Peekable<Chars<'_>>| {
            let text: String = rest.by_ref().take(count).collect();
            let code = u32::from_str_radix(&text, 16)
                .ok()
                .filter(|_| text.len() == count);
            code.and_then(char::from_u32)
                .ok_or_else(|| format!("\\{letter}{text}"))
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
                char::from_u32(code).ok_or_else(|| format!("\\{letter}"))?
            }
            letter if letter.is_ascii_alphanumeric() => return Err(format!("\\{letter}")),
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
    fn set(&mut self) -> Result<(), String> {
        self.result.push('[');
        if self.take('^') {
            self.result.push('^');
        }
        let mut is_first = true;
        loop {
            let Some(letter) = self.rest.next() else {
                return Err("[ without an end".to_owned());
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
                    return Err(format!("the range {low}-{next}"));
                };
                self.result.push('-');
                self.push_literal(high);
            }
        }
    }

    /// A member of a set: its character, or `None` for a class like `\d`, which is copied.
    fn set_member(&mut self, letter: char) -> Result<Option<char>, String> {
        if letter != '\\' {
            return Ok(Some(letter));
        }
        let Some(letter) = self.rest.next() else {
            return Err("a backslash at the end".to_owned());
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
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use serde_json::{Value, json};

    use super::*;

    /// What Python finds: one of `true`, `false` or null for a pattern that it refuses, for
    /// each pattern and text.
    const PYTHON: &str = "import json,re,sys,warnings\n\
        warnings.simplefilter('ignore')\n\
        patterns,texts=json.load(sys.stdin)\n\
        def ask(pattern):\n\
        \x20try: compiled=re.compile(pattern,re.IGNORECASE)\n\
        \x20except Exception: return None\n\
        \x20return [compiled.search(text) is not None for text in texts]\n\
        print(json.dumps([ask(pattern) for pattern in patterns]))\n";

    const TEXTS: [&str; 12] = [
        r"HD(1,GPT,34178504-2340-4fe0-8001-264372cf9b2d,0x800,0x64000)/File(\EFI\redhat\shimx64.efi)",
        r"PciRoot(0x0)/Pci(0x1c,0x0)/MAC(525400e2e001,0)/IPv4(0.0.0.00.0.0.0,0,0)",
        r"PciRoot(0x0)/Pci(0x2,0x1)/NVMe(0x1,00-25-38-5B-71-B0-00-00)/HD(2,MBR,0x0)/File(\EFI\BOOT\GRUBX64.EFI)",
        "VenHw(d6c0639f-c705-4eb9-aa4f-5802d8823de6)......A.....P.E.R.C.",
        "UsbClass(ffff,ffff,255,255)",
        "BBS(128,IBA GE Slot 0100 v1588,0x0)",
        "VenMsg(bc7838d2-0f82-4d60-8316-c068ee79d25b,91af625956)/Uri(https://download.example/x.iso)",
        "FvFile(3593a0d5-bd52-43a0-808e-cbff5ece2477)",
        "a{b}c{,3}d[e]f&&g--h~~i",
        "aa bb aab 11 Straße ÄÖ\u{e9}",
        "",
        "\u{1}\u{8}\u{c}\u{7}",
    ];

    /// Patterns of every construct, and such as are joined from two of them.
    fn patterns() -> Vec<String> {
        let simple = [
            r"^HD\(",
            r"shim.*\.efi",
            r"grub.*\.efi",
            r"(?<!redhat\\)shim",
            r"(?<=EFI\\)boot",
            r"File(?!.*grub)",
            r"(?=.*NVMe)(?=.*HD)",
            r"(ff)\1",
            r"(?P<d>[0-9a-f]{2}),?.*(?P=d)",
            r"(a)\1",
            r"(.)\1\1",
            r"[[]e[]]",
            r"[]e[]",
            r"a{b}c",
            r"\{b\}",
            r"c{,3}d",
            r"c{,3}",
            r"f{1,2}",
            r"f{2}",
            r"f{3,}",
            r"{",
            r"}",
            r"x{,}",
            r"x{}",
            r"{1}",
            r"^{2}",
            r"[&&]",
            r"[~~i]",
            r"[+--]",
            r"[a-f-]",
            r"[^\W\d_]{4}",
            r"[\w-]+\.efi",
            r"\d{3}",
            r"\Z",
            r"\A$",
            r"(?i)hd",
            r"(?i:HD)\(1",
            r"(?s).",
            r"(?x) H D  # comment",
            r"(?m)^Ven",
            r"(?u)hd",
            r"(?#comment)Usb",
            r"\x41",
            r"\101",
            r"\0",
            r"[\0-\x08]",
            r"[\b]",
            r"\a",
            r"\f",
            r"\u00e9",
            r"stra\u00dfe",
            r"ÄÖ",
            r"äö",
            r"\.\.\.\.A",
            r"\/File",
            r"\-",
            r"\ ",
            r"\&",
            r"(?:Pci|Usb)(?:Root|Class)",
            r"(a)?(?(1)a|b)b",
            r"(?>a+)b",
            r"a++b",
            r"(a|b)*?c",
            r"\bGE\b",
            r"\BE",
            r"MAC\(.*HD",
            r"[^)]*\)$",
            r"()",
            r"a||b",
            r"(?P<x>a)(?P=x)",
            // What Python refuses.
            r")oo(",
            r"(",
            r"[",
            r"[b-a]",
            r"*",
            r"a**",
            r"\q",
            r"\8",
            r"(?<name>a)",
            r"(?P>a)",
            r"(?P<1>a)",
            r"\xg1",
            r"(?z)",
            r"a{2,1}",
            r"(?<=a+)b",
            r"\1",
            r"(?P=none)",
            "\\",
        ];
        let mut all: Vec<String> = simple.iter().map(|text| (*text).to_owned()).collect();
        for (place, first) in simple.iter().enumerate() {
            let second = simple[(place * 7 + 3) % simple.len()];
            all.push(format!("{first}|{second}"));
            all.push(format!("(?:{first}).*(?:{second})"));
        }
        all
    }

    #[test]
    #[allow(
        clippy::disallowed_methods,
        reason = "Python is run beside the code, not by it"
    )]
    fn patterns_find_what_they_find_in_python() {
        let patterns = patterns();
        let mut python = Command::new("python3")
            .args(["-I", "-c", PYTHON])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = python.stdin.take().unwrap();
        input
            .write_all(json!([patterns, TEXTS]).to_string().as_bytes())
            .unwrap();
        drop(input);
        let output = python.wait_with_output().unwrap();
        let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let (mut compared, mut refused) = (0, 0);
        for (pattern, expected) in patterns.iter().zip(&answers) {
            let ours = Pattern::new(pattern);
            let Some(expected) = expected.as_array() else {
                refused += 1;
                continue;
            };
            let ours = ours.unwrap_or_else(|error| panic!("{error}"));
            for (text, expected) in TEXTS.iter().zip(expected) {
                let found = ours.is_in(text).unwrap();
                assert_eq!(json!(found), *expected, "{pattern:?} in {text:?}");
                compared += 1;
            }
        }
        assert!(
            compared > 1500,
            "{compared} compared, {refused} refused by Python"
        );
    }

    #[test]
    fn wrong_patterns_are_refused_as_in_python() {
        for pattern in [
            ")oo(",
            "(",
            "[",
            "[b-a]",
            "*",
            r"\q",
            "(?<name>a)",
            "(?P>a)",
            r"\xg1",
            "(?z)",
            "a{2,1}",
            r"\1",
            "(?P=none)",
            "\\",
            "(?#",
            "(?L)a",
        ] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_never_ends_is_an_error() {
        let pattern = Pattern::new(r"(?:(a*)\1)*b").unwrap();
        let error = pattern.is_in(&format!("{}c", "a".repeat(64))).unwrap_err();
        assert!(error.to_string().contains("too many steps"), "{error}");
    }
}
