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
/// has at most what was counted until there. A message with a group, which no document has, counts
/// as one with more than `most`: decoders pass over groups and make values of what follows.
#[must_use]
pub fn count_encoded(mut message: &[u8], field: u32, most: usize) -> EncodedCount {
    let mut counter = Counter {
        counted: EncodedCount::default(),
        most,
    };
    // Where it is damaged, the decoder says so.
    let around = MessageKind::Around(field.into());
    let _ = counter.message(&mut message, 0, around, 0);
    counter.counted
}

struct Counter {
    counted: EncodedCount,
    most: usize,
}

impl Counter {
    /// Counts what a message holds, whose end has `after` bytes behind it; nothing when the rest
    /// need not be looked at. As the decoder does, it reads on where a field is longer than the
    /// message around it: that is found only when all of the field has been decoded.
    fn message(
        &mut self,
        bytes: &mut &[u8],
        after: usize,
        kind: MessageKind,
        depth: u32,
    ) -> Option<()> {
        if depth > MAX_MESSAGE_DEPTH {
            return None;
        }
        while bytes.len() > after {
            let tag = varint(bytes)?;
            let (number, wire_type) = (tag >> 3, tag & 7);
            match wire_type {
                0 => {
                    varint(bytes)?;
                }
                1 => {
                    take(bytes, 8)?;
                }
                5 => {
                    take(bytes, 4)?;
                }
                2 => {
                    let length = usize::try_from(varint(bytes)?).ok()?;
                    let after = bytes.len().checked_sub(length)?;
                    if let Some(child) = kind.child(number) {
                        self.note(kind, child, length)?;
                        self.message(bytes, after, child, depth + 1)?;
                    } else {
                        take(bytes, length)?;
                    }
                }
                // Groups are nowhere in a document.
                3 => {
                    self.counted.values = self.most.saturating_add(1);
                    return None;
                }
                _ => return None,
            }
        }
        (bytes.len() == after).then_some(())
    }

    /// Counts a message of `length` bytes in another one; nothing if there are enough.
    fn note(&mut self, outer: MessageKind, inner: MessageKind, length: usize) -> Option<()> {
        let counted = &mut self.counted;
        match (outer, inner) {
            // An entry has a value, also when none is written.
            (_, MessageKind::Entry) | (MessageKind::List, MessageKind::Value) => {
                counted.values += 1;
            }
            (_, MessageKind::Struct) if length > 0 => counted.objects += 1,
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
    use prost_types::value::Kind;
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

    /// A message in a field of another one.
    fn within(number: u8, message: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        prost::encode_length_delimiter(message.len(), &mut bytes).unwrap();
        bytes.extend(message);
        bytes
    }

    #[test]
    fn a_group_counts_as_more_than_the_most() {
        let nulls = [0x0a_u8, 0].repeat(1000);
        let value = within(2, &within(6, &nulls));
        let document = within(1, &value);
        assert_eq!(count_encoded(&within(1, &document), 1, 10_000).values, 1001);
        // Field 15 as a group, in front of the document and within it.
        let group = [0x7b_u8, 0x7c];
        let outside = [&group[..], &within(1, &document)].concat();
        let inside = within(1, &[&group[..], &document].concat());
        let deeper = within(1, &within(1, &[&group[..], &value].concat()));
        for bytes in [outside, inside, deeper] {
            assert_eq!(count_encoded(&bytes, 1, 10_000).values, 10_001);
            assert_eq!(count_encoded(&bytes, 1, usize::MAX).values, usize::MAX);
        }
    }

    #[test]
    fn what_is_longer_than_the_message_around_it_is_counted() {
        let nulls = [0x0a_u8, 0].repeat(1000);
        let document = within(1, &within(2, &within(6, &nulls)));
        // The document says that it ends behind the key of its first field.
        let bytes = [&[0x0a, 1][..], &document].concat();
        assert_eq!(count_encoded(&bytes, 1, 10_000), counted(1001, 1));
    }

    /// As [`values_of`], of what was decoded.
    fn decoded_values(value: &prost_types::Value) -> usize {
        match &value.kind {
            Some(Kind::ListValue(list)) => list
                .values
                .iter()
                .map(|item| 1 + decoded_values(item))
                .sum(),
            Some(Kind::StructValue(document)) => document
                .fields
                .values()
                .map(|item| 1 + decoded_values(item))
                .sum(),
            _ => 0,
        }
    }

    /// Fields that no message of a document has, in each encoding that there is; groups seldom,
    /// so that also what has none of them is tried.
    fn unknown_fields() -> impl Strategy<Value = Vec<u8>> {
        let plain = |number: u8| {
            prop_oneof![
                Just(vec![number << 3, 0x96, 0x01]),
                Just([&[number << 3 | 1][..], &[0x0a; 8]].concat()),
                Just([&[number << 3 | 5][..], &[0x0a; 4]].concat()),
                Just(within(number, &[0x0a, 0])),
            ]
        };
        let field = (7..16_u8).prop_flat_map(move |number| {
            prop_oneof![
                40 => Just(Vec::<u8>::new()),
                8 => plain(number),
                1 => plain(15).prop_map(move |inner| {
                    [&[number << 3 | 3][..], &inner, &[number << 3 | 4]].concat()
                }),
            ]
        });
        proptest::collection::vec(field, 0..3).prop_map(|fields| fields.concat())
    }

    /// Encoded values with unknown fields in all their messages.
    fn encoded_values() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop_oneof![
            Just(Vec::<u8>::new()),
            Just(vec![0x08, 0]),
            Just(within(3, b"text")),
            Just(within(5, &[])),
        ];
        leaf.prop_recursive(4, 60, 5, |inner| {
            let items = proptest::collection::vec((unknown_fields(), inner), 0..5);
            (any::<bool>(), unknown_fields(), items).prop_map(|(is_list, unknown, items)| {
                let mut bytes: Vec<u8> = Vec::new();
                for (index, (unknown, value)) in items.iter().enumerate() {
                    bytes.extend(unknown);
                    let item = if is_list {
                        value.clone()
                    } else {
                        let key = within(1, index.to_string().as_bytes());
                        [key, unknown.clone(), within(2, value)].concat()
                    };
                    bytes.extend(within(1, &item));
                }
                let field = if is_list { 6 } else { 5 };
                [unknown, within(field, &bytes)].concat()
            })
        })
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
        fn what_is_decoded_was_counted_or_is_refused(
            value in encoded_values(),
            before in unknown_fields(),
            damage in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            // A Value has Structs in its field 5.
            let document = within(1, &[within(1, b"key"), within(2, &value)].concat());
            let mut bytes = [before, within(5, &document)].concat();
            if let Some((at, byte)) = damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let counted = count_encoded(&bytes, 5, 10_000).values;
            if let Ok(decoded) = prost_types::Value::decode(&bytes[..])
                && matches!(decoded.kind, Some(Kind::StructValue(_)))
            {
                let values = decoded_values(&decoded);
                prop_assert!(counted >= values, "{counted} of {values} values");
            }
        }

        #[test]
        fn any_bytes_are_counted(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = count_encoded(&bytes, 1, 100);
        }
    }
}
