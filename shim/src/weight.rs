//! How much memory a JSON text or an encoded Struct takes once it is read, estimated from its bytes
//! before anything of it is kept.
//!
//! A list of two bytes becomes a value of a hundred: a body of 40 MB could take gigabytes.
//! So what was not written by ourselves is weighed first, in one pass and without memory of
//! its own, and refused when it is out of proportion. Texts are in proportion: a config drive
//! of 64 MiB weighs what it is long.

use ironic_document::EncodedCount;
use thiserror::Error;

/// Bytes for a value and its share in the list or object that holds it, in both forms that
/// it takes here: of JSON and of protocol buffers.
const VALUE: usize = 120;

/// Bytes for an object that is not empty: both of its forms have room for several keys.
const OBJECT: usize = 900;

/// What any text may weigh besides its own length: more than a node document of
/// 700 KB, also if it consists of small objects.
const SMALL: usize = 24 * 1024 * 1024;

/// A text that would take too much memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "holds about {values} values in {bytes} bytes, which would take more memory than is given to them: send fewer and larger values"
)]
pub struct TooHeavy {
    /// How many values it has, as far as it was counted.
    pub values: usize,
    /// How long it is.
    pub bytes: usize,
}

/// Weighs a text. Whether it is JSON does not matter: what is not is found by its reader, and
/// weighs less than what is counted here.
///
/// # Errors
/// Its values would take more than twice its length and more than 24 MiB. With the text
/// itself and the copy of its strings, that is four times the text.
pub fn weigh(text: &[u8]) -> Result<(), TooHeavy> {
    let Counted { values, objects } = count(text, most_values(text.len()));
    judge(values, objects, text.len())
}

/// The same for a document in protocol buffers, in the field `field` of an encoded message.
///
/// # Errors
/// As [`weigh`].
pub fn weigh_encoded(message: &[u8], field: u32) -> Result<(), TooHeavy> {
    let EncodedCount { values, objects } =
        ironic_document::count_encoded(message, field, most_values(message.len()));
    judge(values, objects, message.len())
}

/// What a text of this length may weigh.
fn most(bytes: usize) -> usize {
    SMALL.max(bytes.saturating_mul(2))
}

fn most_values(bytes: usize) -> usize {
    most(bytes) / VALUE
}

fn judge(values: usize, objects: usize, bytes: usize) -> Result<(), TooHeavy> {
    let weight = values.saturating_mul(VALUE) + objects.saturating_mul(OBJECT);
    if weight <= most(bytes) {
        return Ok(());
    }
    Err(TooHeavy { values, bytes })
}

/// What a text holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    /// At least its values.
    values: usize,
    /// Its objects that are not empty.
    objects: usize,
}

/// Counts values, as far as `most` of them.
fn count(text: &[u8], most: usize) -> Counted {
    let mut bytes = text.iter();
    let mut values = 1;
    let mut objects = 0;
    // Whether an object was opened and nothing of it was seen.
    let mut is_new = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            // A comma is followed by a value, and so is a bracket unless it is closed at once.
            b',' | b'[' | b'{' => values += 1,
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
        objects += usize::from(is_new && *byte != b'}');
        is_new = *byte == b'{';
        if values > most {
            break;
        }
    }
    Counted { values, objects }
}

/// Skips to the end of a string whose opening quote was taken.
fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(unit: &str, length: usize) -> Vec<u8> {
        let mut text = b"[".to_vec();
        while text.len() + unit.len() < length {
            text.extend(unit.as_bytes());
        }
        text.extend(b"0]");
        text
    }

    #[test]
    fn many_small_values_are_refused_in_any_form() {
        for unit in [
            "[],",
            "0,",
            "{},",
            "\"\",",
            "{\"a\":1},",
            "[[0]],",
            "NaN,",
            "[ ] ,\n",
        ] {
            let text = repeated(unit, 8 * 1024 * 1024);
            assert!(weigh(&text).is_err(), "{unit}");
        }
    }

    #[test]
    fn what_ironic_sends_passes() {
        // A config drive.
        let drive = format!("{{\"configdrive\": \"{}\"}}", "H".repeat(90_000_000));
        assert_eq!(weigh(drive.as_bytes()), Ok(()));
        // A node document of many small objects, and one that is dense with numbers.
        let ports = repeated("{\"mac\": \"52:54:00:00:00:00\", \"pxe\": true},", 700_000);
        assert_eq!(weigh(&ports), Ok(()));
        assert_eq!(weigh(&repeated("1, ", 500_000)), Ok(()));
        // Commas and brackets in a text are text, also behind an escaped quote.
        let text = format!("\"\\\\\\\"{}\"", "[{,".repeat(3_000_000));
        assert_eq!(weigh(text.as_bytes()), Ok(()));
    }

    #[test]
    fn values_and_objects_are_counted() {
        for (text, values, objects) in [
            ("", 1, 0),
            ("5", 1, 0),
            ("[]", 2, 0),
            ("[1, 2]", 3, 0),
            ("{ }", 2, 0),
            (r#"{"a": 1}"#, 2, 1),
            (r#"{"a": {"b": {}, "c,[{": "\"{,"}}"#, 5, 2),
            ("{{", 3, 1),
        ] {
            let counted = Counted { values, objects };
            assert_eq!(count(text.as_bytes(), 1000), counted, "{text}");
        }
        assert_eq!(count(b"[,,,,,,,,,,", 4).values, 5);
    }
}
