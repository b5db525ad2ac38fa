//! Reads a request's body like Python's `json.loads`: what it takes, how it names an error
//! and where.
//!
//! Three things differ, all on purpose. Values that no agent can be sent (huge integers, NaN,
//! half surrogate pairs) are read, and the first of them is noted with its path, so that the
//! refusal can name it. Nesting is bounded by a number instead of by the stack. And a body
//! whose values would take many times its length in memory is refused before it is read.

use std::fmt;

use ironic_document::{DocumentError, EXACT, UnsupportedValue};
use serde_json::{Map, Number, Value};

use crate::weight::{self, TooHeavy};

/// How deep a body may be nested. A command's documents are bounded more tightly.
const MAX_DEPTH: usize = 200;

/// A body, and the values in it that cannot be carried any further. Those are null in
/// `value`.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedBody {
    /// What was read.
    pub value: Value,
    /// What could not be kept, with paths from the body's top: the first under each key there.
    pub unfit: Vec<DocumentError>,
}

/// Why a text is no JSON, in Python's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// The text breaks the grammar.
    Syntax {
        /// What was expected.
        what: &'static str,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// Characters before it.
        offset: usize,
    },
    /// The bytes are not UTF-8.
    Encoding {
        /// The first byte that makes no sense.
        byte: u8,
        /// Where it is.
        offset: usize,
        /// How many bytes make no sense together.
        length: usize,
        /// How it makes none.
        what: &'static str,
    },
    /// Beyond the nesting that is read.
    Depth,
    /// Beyond the memory that it is given.
    Weight(TooHeavy),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax {
                what,
                line,
                column,
                offset,
            } => write!(f, "{what}: line {line} column {column} (char {offset})"),
            Self::Encoding {
                byte,
                offset,
                length: 1,
                what,
            } => write!(
                f,
                "'utf-8' codec can't decode byte {byte:#04x} in position {offset}: {what}"
            ),
            Self::Encoding {
                offset,
                length,
                what,
                ..
            } => write!(
                f,
                "'utf-8' codec can't decode bytes in position {offset}-{}: {what}",
                offset + length - 1
            ),
            Self::Depth => write!(f, "nested deeper than {MAX_DEPTH} levels"),
            Self::Weight(heavy) => write!(f, "it {heavy}"),
        }
    }
}

impl std::error::Error for Malformed {}

/// Reads a body.
///
/// # Errors
/// Where and how it is no JSON.
pub fn body(bytes: &[u8]) -> Result<ParsedBody, Malformed> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| encoding(bytes, error))?;
    weight::weigh(bytes).map_err(Malformed::Weight)?;
    let mut reader = Reader {
        text,
        at: 0,
        depth: MAX_DEPTH,
        unfit: Vec::new(),
        settled: 0,
    };
    reader.whitespace();
    match reader.value().and_then(|value| {
        reader.whitespace();
        if reader.at == text.len() {
            Ok(value)
        } else {
            Err(Stop::At("Extra data", reader.at))
        }
    }) {
        Ok(value) => Ok(ParsedBody {
            value,
            unfit: reader.unfit,
        }),
        Err(Stop::At(what, at)) => Err(syntax(text, what, at)),
        Err(Stop::Depth) => Err(Malformed::Depth),
    }
}

fn syntax(text: &str, what: &'static str, at: usize) -> Malformed {
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Malformed::Syntax {
        what,
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        offset: before.chars().count(),
    }
}

fn encoding(bytes: &[u8], error: std::str::Utf8Error) -> Malformed {
    let offset = error.valid_up_to();
    let byte = bytes.get(offset).copied().unwrap_or_default();
    let what = match (error.error_len(), byte) {
        (None, _) => "unexpected end of data",
        (Some(_), 0xc2..=0xf4) => "invalid continuation byte",
        (Some(_), _) => "invalid start byte",
    };
    Malformed::Encoding {
        byte,
        offset,
        length: error.error_len().unwrap_or(bytes.len() - offset).max(1),
        what,
    }
}

/// Why reading stopped.
enum Stop {
    At(&'static str, usize),
    Depth,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    unfit: Vec<DocumentError>,
    /// How many of these belong to earlier keys of the top: one more may be noted.
    settled: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Result<Value, Stop> {
        let literals = [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
        ];
        match self.peek() {
            Some(b'"') => return Ok(Value::String(self.string()?)),
            Some(b'{') => return self.deeper(Self::object),
            Some(b'[') => return self.deeper(Self::array),
            Some(b'-' | b'0'..=b'9') => {}
            _ => {
                for (word, value) in literals {
                    if self.word(word) {
                        return Ok(value);
                    }
                }
            }
        }
        for word in ["NaN", "Infinity", "-Infinity"] {
            if self.word(word) {
                self.note(UnsupportedValue::NotFinite(word));
                return Ok(Value::Null);
            }
        }
        self.number()
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        if found {
            self.at += word.len();
        }
        found
    }

    fn deeper(&mut self, read: fn(&mut Self) -> Result<Value, Stop>) -> Result<Value, Stop> {
        self.depth = self.depth.checked_sub(1).ok_or(Stop::Depth)?;
        self.at += 1;
        self.whitespace();
        let value = read(self)?;
        self.depth += 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Value, Stop> {
        const NAME: &str = "Expecting property name enclosed in double quotes";
        let mut object = Map::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(object));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(Stop::At(NAME, self.at));
            }
            if self.depth + 1 == MAX_DEPTH {
                self.settled = self.unfit.len();
            }
            let noted = self.unfit.len();
            let key = self.string()?;
            self.whitespace();
            if self.peek() != Some(b':') {
                return Err(Stop::At("Expecting ':' delimiter", self.at));
            }
            self.at += 1;
            self.whitespace();
            let value = self.value()?;
            self.move_outwards(noted, |unfit| unfit.below(&key));
            // Of a repeated name the last value counts, in the place of the first.
            object.insert(key, value);
            if self.ends(b'}')? {
                return Ok(Value::Object(object));
            }
        }
    }

    fn array(&mut self) -> Result<Value, Stop> {
        let mut array = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(array));
        }
        loop {
            let noted = self.unfit.len();
            let value = self.value()?;
            let index = array.len();
            self.move_outwards(noted, |unfit| unfit.below(&format!("[{index}]")));
            array.push(value);
            if self.ends(b']')? {
                return Ok(Value::Array(array));
            }
        }
    }

    /// What follows a value in an object or array: its end, or a comma.
    fn ends(&mut self, end: u8) -> Result<bool, Stop> {
        self.whitespace();
        match self.peek() {
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(true)
            }
            Some(b',') => {
                self.at += 1;
                self.whitespace();
                Ok(false)
            }
            _ => Err(Stop::At("Expecting ',' delimiter", self.at)),
        }
    }

    /// Reads a string from its opening quote on.
    fn string(&mut self) -> Result<String, Stop> {
        let start = self.at;
        let unterminated = Err(Stop::At("Unterminated string starting at", start));
        let mut string = String::new();
        self.at += 1;
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let Some(length) = rest
                .iter()
                .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
            else {
                return unterminated;
            };
            string.push_str(&self.text[self.at..self.at + length]);
            self.at += length;
            match rest[length] {
                b'"' => {
                    self.at += 1;
                    return Ok(string);
                }
                b'\\' => {}
                _ => return Err(Stop::At("Invalid control character at", self.at)),
            }
            let Some(&escaped) = rest.get(length + 1) else {
                return unterminated;
            };
            if escaped == b'u' {
                self.code_units(&mut string)?;
                continue;
            }
            string.push(match escaped {
                b'"' | b'\\' | b'/' => char::from(escaped),
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                _ => return Err(Stop::At("Invalid \\escape", self.at)),
            });
            self.at += 2;
        }
    }

    /// Reads `\uXXXX`, with its other half if it is one half of a pair.
    fn code_units(&mut self, string: &mut String) -> Result<(), Stop> {
        let first = self.code_unit()?;
        let mut units = vec![first];
        let pair = (0xd800..0xdc00).contains(&first)
            && self.text.as_bytes()[self.at..].starts_with(b"\\u");
        if pair {
            let back = self.at;
            let second = self.code_unit()?;
            if (0xdc00..0xe000).contains(&second) {
                units.push(second);
            } else {
                self.at = back;
            }
        }
        match String::from_utf16(&units) {
            Ok(character) => string.push_str(&character),
            Err(_) => self.note(UnsupportedValue::Surrogate),
        }
        Ok(())
    }

    fn code_unit(&mut self) -> Result<u16, Stop> {
        let digits = self.text.as_bytes().get(self.at + 2..self.at + 6);
        // Python wants a character after the digits, which a string that ends has.
        let wrong = Err(Stop::At("Invalid \\uXXXX escape", self.at + 1));
        let Some(digits) = digits.filter(|_| self.at + 6 < self.text.len()) else {
            return wrong;
        };
        let mut unit = 0;
        for digit in digits {
            let Some(value) = char::from(*digit).to_digit(16) else {
                return wrong;
            };
            unit = unit << 4 | value;
        }
        self.at += 6;
        match u16::try_from(unit) {
            Ok(unit) => Ok(unit),
            Err(_) => wrong,
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Value, Stop> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => {
                self.digits();
            }
            _ => return Err(Stop::At("Expecting value", start)),
        }
        let integer_end = self.at;
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                self.at = integer_end;
            }
        }
        let fraction_end = self.at;
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                self.at = fraction_end;
            }
        }
        let whole: &'a str = self.text;
        let text = &whole[start..self.at];
        if self.at == integer_end {
            return Ok(self.integer(text));
        }
        let float = text.parse().ok().and_then(Number::from_f64);
        Ok(float.map_or_else(
            || {
                self.note(UnsupportedValue::NotFinite("Infinity"));
                Value::Null
            },
            Value::Number,
        ))
    }

    fn integer(&mut self, text: &str) -> Value {
        match text.parse::<i64>() {
            Ok(integer) if integer.unsigned_abs() <= EXACT => integer.into(),
            _ => {
                // The refusal quotes it: a line is enough.
                let shown = match text.char_indices().nth(40) {
                    Some((cut, _)) => format!("{}...", &text[..cut]),
                    None => text.to_owned(),
                };
                self.note(UnsupportedValue::Integer(shown));
                Value::Null
            }
        }
    }

    /// Notes what cannot be carried, unless something under the same key of the top was.
    fn note(&mut self, reason: UnsupportedValue) {
        if self.unfit.len() == self.settled {
            self.unfit.push(DocumentError {
                path: String::new(),
                reason,
            });
        }
    }

    /// Puts what was noted since then one level further out.
    fn move_outwards(
        &mut self,
        since: usize,
        outwards: impl FnOnce(DocumentError) -> DocumentError,
    ) {
        // One thing at most.
        if self.unfit.len() > since
            && let Some(unfit) = self.unfit.pop()
        {
            self.unfit.push(outwards(unfit));
        }
    }
}

#[cfg(test)]
mod tests;
