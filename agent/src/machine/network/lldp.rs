//! What switches say of themselves: the elements of LLDP frames (IEEE 802.1AB).

use serde_json::{Value, json};

/// One element: its type, and its value in hexadecimal.
pub type LldpElement = (u8, String);

const ETHERNET_HEADER: usize = 14;
/// A name of a VLAN: organisationally specific (127), IEEE 802.1 (00-80-c2), subtype 3.
const ORGANISATION: u8 = 127;
const VLAN_NAME: &str = "0080c203";

/// The elements of an Ethernet frame. The end mark stops nothing, and what is cut short is
/// kept as far as it goes: some switches put the mark first, and Ironic reads what there is.
#[must_use]
pub fn parse(frame: &[u8]) -> Vec<LldpElement> {
    let mut rest = frame.get(ETHERNET_HEADER..).unwrap_or_default();
    let mut elements = Vec::new();
    while let [first, second, tail @ ..] = rest {
        // Seven bits of type, nine bits of length.
        let length = usize::from(first & 1) << 8 | usize::from(*second);
        let value = tail.get(..length).unwrap_or(tail);
        elements.push((first >> 1, hex::encode(value)));
        rest = tail.get(length..).unwrap_or_default();
    }
    if !rest.is_empty() {
        tracing::warn!("one byte is left at the end of an LLDP frame");
    }
    elements
}

/// Elements as Ironic reads them: `[[1, "04885a92ec5459"], ...]`.
#[must_use]
pub fn to_json(elements: &[LldpElement]) -> Value {
    elements
        .iter()
        .map(|(kind, value)| json!([kind, value]))
        .collect()
}

/// The VLANs that a switch names, in its order.
#[must_use]
pub fn vlans(elements: &[LldpElement]) -> Vec<u16> {
    elements
        .iter()
        .filter(|(kind, _)| *kind == ORGANISATION)
        .filter_map(|(_, value)| {
            let number = value.strip_prefix(VLAN_NAME)?.get(..4)?;
            u16::from_str_radix(number, 16).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn elements(hex_text: &str) -> Vec<LldpElement> {
        let mut frame = vec![0; ETHERNET_HEADER];
        frame.extend(hex::decode(hex_text).unwrap());
        parse(&frame)
    }

    fn expected(items: &[(u8, &str)]) -> Vec<LldpElement> {
        let items = items.iter();
        items
            .map(|(kind, value)| (*kind, (*value).to_owned()))
            .collect()
    }

    #[test]
    fn reads_what_switches_send() {
        let cases: [(&str, &[(u8, &str)]); 4] = [
            (
                "0000020704885a92ec5459040d0545746865726e6574312f313806020078",
                &[
                    (0, ""),
                    (1, "04885a92ec5459"),
                    (2, "0545746865726e6574312f3138"),
                    (3, "0078"),
                ],
            ),
            ("0205aabbccddee0000ff", &[(1, "aabbccddee"), (0, "")]),
            ("02ffaa", &[(1, "aa")]),
            ("", &[]),
        ];
        for (text, items) in cases {
            assert_eq!(elements(text), expected(items), "{text}");
        }
        assert_eq!(parse(&[0; 4]), []);
        assert_eq!(parse(&[0; 15]), []);
    }

    #[test]
    fn finds_the_vlans() {
        let named = expected(&[
            (1, "0080c203006408766c616e2d313030"),
            (127, "0080c203006408766c616e2d313030"),
            (127, "0080c203006508766c616e2d313031"),
            (127, "0080c2010001"),
            (127, "0080c20300"),
        ]);
        assert_eq!(vlans(&named), [100, 101]);
    }

    proptest! {
        #[test]
        fn nonsense_is_survived(frame in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = vlans(&parse(&frame));
        }
    }
}
