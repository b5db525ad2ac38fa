//! JSON in Python's form: `", "` and `": "`, everything but printable ASCII escaped, floats
//! with a decimal point or an exponent of at least two digits.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// A document as text.
#[must_use]
pub fn text(document: &impl Serialize) -> Vec<u8> {
    let mut text = Vec::with_capacity(256);
    let mut serializer = Serializer::with_formatter(&mut text, Python);
    // A Vec takes every byte, and no document of ours has keys that are not strings.
    let written = document.serialize(&mut serializer);
    debug_assert!(written.is_ok(), "{written:?}");
    text
}

/// The separators, escapes and floats of Python's `json.dumps`.
struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut plain = 0;
        let bytes = fragment.as_bytes();
        while let Some(length) = bytes[plain..]
            .iter()
            .position(|byte| !(b' '..=b'~').contains(byte))
        {
            let odd = plain + length;
            out.write_all(&bytes[plain..odd])?;
            let Some(character) = fragment[odd..].chars().next() else {
                return Ok(());
            };
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            plain = odd + character.len_utf8();
        }
        out.write_all(&bytes[plain..])
    }

    fn write_f64<W: ?Sized + Write>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        out.write_all(float(value).as_bytes())
    }
}

/// A finite float as Python's `repr` writes it: the shortest digits that read back the same,
/// an exponent below 1e-4 and from 1e16 on.
fn float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    match exponent.parse::<i32>() {
        Ok(exponent) if (-4..16).contains(&exponent) => {
            let plain = format!("{value}");
            if plain.contains('.') {
                plain
            } else {
                plain + ".0"
            }
        }
        Ok(exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        Err(_) => scientific,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn writes_what_python_writes() {
        // The right column was printed by `json.dumps` of CPython 3.11.
        let cases = [
            (json!({}), "{}"),
            (json!([]), "[]"),
            (
                json!({"b": [1, 2, {"a": null}], "a": true}),
                r#"{"b": [1, 2, {"a": null}], "a": true}"#,
            ),
            (
                json!("\" \\ / \u{8}\u{c}\n\r\t \0\u{1f}\u{7f}"),
                r#""\" \\ / \b\f\n\r\t \u0000\u001f\u007f""#,
            ),
            (
                json!("Gr\u{fc}\u{df}e \u{20ac} \u{1f4be}!"),
                r#""Gr\u00fc\u00dfe \u20ac \ud83d\udcbe!""#,
            ),
            (json!({"\u{e9}": 1}), r#"{"\u00e9": 1}"#),
            (json!(1.0), "1.0"),
            (json!(-0.0), "-0.0"),
            (json!(0.1), "0.1"),
            (json!(1_795_387_963.190_422_3), "1795387963.1904223"),
            (json!(1e-4), "0.0001"),
            (json!(1e-5), "1e-05"),
            (json!(1.5e-7), "1.5e-07"),
            (json!(1e15), "1000000000000000.0"),
            (json!(1e16), "1e+16"),
            (json!(123_456_789_012_345_680.0), "1.2345678901234568e+17"),
            (json!(1e300), "1e+300"),
            (json!(5e-324), "5e-324"),
            (json!(9_007_199_254_740_992_u64), "9007199254740992"),
        ];
        for (document, expected) in cases {
            assert_eq!(String::from_utf8(text(&document)).unwrap(), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_ascii_and_reads_back(content: String) {
            let written = text(&content);
            proptest::prop_assert!(written.iter().all(|byte| (b' '..=b'~').contains(byte)));
            proptest::prop_assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), content);
        }

        #[test]
        fn any_float_reads_back(value in proptest::num::f64::NORMAL) {
            let written = float(value);
            proptest::prop_assert!(written.contains(['.', 'e']), "{}", written);
            proptest::prop_assert_eq!(written.parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }

    #[test]
    fn values_of_all_kinds_nest() {
        let document: Value = serde_json::from_str(r#"{"a":[{},[],"",0,false]}"#).unwrap();
        assert_eq!(text(&document), br#"{"a": [{}, [], "", 0, false]}"#);
    }
}
