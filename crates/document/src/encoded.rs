//! How many values a Struct has, counted in its encoded form before anything is made of it: a
//! value of four bytes takes more than a hundred once it is decoded and read.

/// The depth at which decoders of protocol buffers give up.
const MAX_MESSAGE_DEPTH: u32 = 100;

/// What an encoded document holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EncodedCount {
    /// At least its values, as far as they were counted.
    pub values: usize,
    /// Objects that are not empty.
    pub objects: usize,
}

/// The messages that a document consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageKind {
    /// A message that has Structs in a field with this number, and else nothing of interest.
    Around(u64),
    Struct,
    Entry,
    Value,
    List,
}

impl MessageKind {
    /// The message within a field of this one.
    fn child(self, number: u64) -> Option<Self> {
        match (self, number) {
            (Self::Around(field), number) if field == number => Some(Self::Struct),
            (Self::Struct, 1) => Some(Self::Entry),
            (Self::Entry, 2) | (Self::List, 1) => Some(Self::Value),
            (Self::Value, 5) => Some(Self::Struct),
            (Self::Value, 6) => Some(Self::List),
            _ => None,
        }
    }
}

/// Counts the values of the Structs in the field `field` of an encoded message, as far as `most`
/// of them. Whether it can be decoded does not matter: what cannot is found by the decoder, and
/// has at most what was counted until there.
#[must_use]
pub fn count_encoded(message: &[u8], field: u32, most: usize) -> EncodedCount {
    let mut counter = Counter {
        counted: EncodedCount::default(),
        most,
    };
    // Where it is damaged, the decoder says so.
    let _ = counter.message(message, MessageKind::Around(field.into()), 0);
    counter.counted
}

struct Counter {
    counted: EncodedCount,
    most: usize,
}

impl Counter {
    /// Counts what a message holds; nothing when the rest need not be looked at.
    fn message(&mut self, mut bytes: &[u8], kind: MessageKind, depth: u32) -> Option<()> {
        if depth > MAX_MESSAGE_DEPTH {
            return None;
        }
        while !bytes.is_empty() {
            let tag = varint(&mut bytes)?;
            let (number, wire_type) = (tag >> 3, tag & 7);
            match wire_type {
                0 => {
                    varint(&mut bytes)?;
                }
                1 => {
                    take(&mut bytes, 8)?;
                }
                5 => {
                    take(&mut bytes, 4)?;
                }
                2 => {
                    let length = usize::try_from(varint(&mut bytes)?).ok()?;
                    let inner = take(&mut bytes, length)?;
                    if let Some(child) = kind.child(number) {
                        self.note(kind, child, inner)?;
                        self.message(inner, child, depth + 1)?;
                    }
                }
                // Groups are nowhere in a document.
                _ => return None,
            }
        }
        Some(())
    }

    /// Counts a message in another one; nothing if there are enough.
    fn note(&mut self, outer: MessageKind, inner: MessageKind, bytes: &[u8]) -> Option<()> {
        let counted = &mut self.counted;
        match (outer, inner) {
            // An entry has a value, also when none is written.
            (_, MessageKind::Entry) | (MessageKind::List, MessageKind::Value) => {
                counted.values += 1;
            }
            (_, MessageKind::Struct) if !bytes.is_empty() => counted.objects += 1,
            _ => {}
        }
        (counted.values <= self.most).then_some(())
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;
    use serde_json::{Value, json};

    use super::*;

    /// A message with the document in a field, between others.
    fn around(document: &Value, field: u8) -> Vec<u8> {
        let document = document.as_object().unwrap().clone();
        let document = crate::to_struct(document, "").unwrap().encode_to_vec();
        let mut bytes = vec![0x10, 0x96, 0x01, 0x1d, 1, 2, 3, 4, 0x22, 1, 7];
        bytes.push(field << 3 | 2);
        prost::encode_length_delimiter(document.len(), &mut bytes).unwrap();
        bytes.extend(document);
        bytes.extend([0x29, 1, 2, 3, 4, 5, 6, 7, 8]);
        bytes
    }

    fn counted(values: usize, objects: usize) -> EncodedCount {
        EncodedCount { values, objects }
    }

    #[test]
    fn values_and_objects_are_counted_where_the_document_is() {
        for (document, values, objects) in [
            (json!({}), 0, 0),
            (json!({"a": null}), 1, 1),
            (json!({"a": [1, [], {}, "text"], "b": {"c": true}}), 7, 2),
        ] {
            let bytes = around(&document, 1);
            assert_eq!(count_encoded(&bytes, 1, 100), counted(values, objects));
            assert_eq!(count_encoded(&bytes, 9, 100), counted(0, 0));
        }
        let many = around(&json!({"a": vec![0; 1000]}), 1);
        assert_eq!(count_encoded(&many, 1, 10).values, 11);
        // Values and entries of two bytes, in which nothing is written.
        let lists = [0x0a, 11, 0x0a, 9, 0x12, 7, 0x32, 5, 0x0a, 0, 0x0a, 0, 0x0a];
        assert_eq!(count_encoded(&lists[..12], 1, 100).values, 0, "it is cut");
        let entries = [0x0a, 4, 0x0a, 0, 0x0a, 0];
        assert_eq!(count_encoded(&entries, 1, 100), counted(2, 1));
    }

    fn values_of(value: &Value) -> usize {
        match value {
            Value::Array(items) => items.iter().map(|item| 1 + values_of(item)).sum(),
            Value::Object(fields) => fields.values().map(|item| 1 + values_of(item)).sum(),
            _ => 0,
        }
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            ".{0,200}".prop_map(Value::from),
        ];
        let nested = leaf.prop_recursive(5, 200, 10, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..10).prop_map(Value::from),
                proptest::collection::btree_map(".{0,9}", inner, 0..10)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        });
        nested.prop_map(|value| json!({"document": value}))
    }

    proptest! {
        #[test]
        fn every_document_has_as_many_values_as_are_counted(document in documents()) {
            let bytes = around(&document, 3);
            prop_assert_eq!(count_encoded(&bytes, 3, usize::MAX).values, values_of(&document));
        }

        #[test]
        fn any_bytes_are_counted(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = count_encoded(&bytes, 1, 100);
        }
    }
}
