//! Addresses as configuration writes them: numbers of networks, masks, hardware addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP address without what a text may have around it: brackets (IPv6 in a kernel parameter).
pub(super) fn ip(text: &str) -> Option<IpAddr> {
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(text).parse().ok()
}

/// An address with the length of its network's prefix: `192.0.2.5/24`. The length may stand in
/// `mask` instead, as a number or as a netmask.
pub(super) fn ip_with_prefix(text: &str, mask: Option<&str>) -> Option<(IpAddr, Option<u8>)> {
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let text = inner.unwrap_or(text);
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address.parse().ok()?, Some(prefix(length, None)?)),
        None => (text.parse().ok()?, None),
    };
    let length = match (mask, length) {
        (_, Some(length)) => Some(length),
        (Some(mask), None) => Some(prefix(mask, Some(address))?),
        (None, None) => None,
    };
    let is_possible = length.is_none_or(|length| length <= longest_prefix(address));
    is_possible.then_some((address, length))
}

/// 32 or 128.
pub(super) fn longest_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The length of a prefix: a number, or a netmask of the family of `address`.
fn prefix(text: &str, address: Option<IpAddr>) -> Option<u8> {
    if let Ok(length) = text.parse::<u8>() {
        return Some(length);
    }
    let (bits, width) = match ip(text)? {
        IpAddr::V4(mask) => (u128::from(mask.to_bits()) << 96, 32),
        IpAddr::V6(mask) => (mask.to_bits(), 128),
    };
    let length = bits.leading_ones();
    let is_mask = bits.checked_shl(length).unwrap_or_default() == 0;
    let fits = address.is_none_or(|address| u32::from(longest_prefix(address)) == width);
    (is_mask && fits).then(|| u8::try_from(length).ok())?
}

/// Whether `other` is in the network of `address`.
pub(super) fn is_in_network(address: IpAddr, prefix: u8, other: IpAddr) -> bool {
    let bits = |address| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => Ipv6Addr::to_bits(address),
    };
    let free = u32::from(longest_prefix(address).saturating_sub(prefix));
    let differs = bits(address) ^ bits(other);
    address.is_ipv4() == other.is_ipv4() && differs.checked_shr(free).unwrap_or_default() == 0
}

/// The address of the network that an address is in.
pub(super) fn network(address: IpAddr, prefix: u8) -> IpAddr {
    let free = u32::from(longest_prefix(address).saturating_sub(prefix));
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(free).unwrap_or_default();
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(free).unwrap_or_default();
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

/// A hardware address in lower case with colons: six octets, eight or twenty (InfiniBand), with
/// colons or dashes.
pub(super) fn mac(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase().replace('-', ":");
    let is_octet = |octet: &str| octet.len() == 2 && octet.bytes().all(|b| b.is_ascii_hexdigit());
    let octets = text.split(':').count();
    let is_mac = [6, 8, 20].contains(&octets) && text.split(':').all(is_octet);
    is_mac.then_some(text)
}

/// Whether the kernel takes this as an interface's name.
pub(super) fn is_interface_name(text: &str) -> bool {
    let fits = (1..=15).contains(&text.len()) && ![".", ".."].contains(&text);
    // `ip` would take the first for an option, and the others are parts of paths.
    fits && !text.starts_with('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"/:%".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_has_no_bits_of_a_host() {
        for (written, prefix, expected) in [
            ("203.0.113.5", 24, "203.0.113.0"),
            ("203.0.113.5", 32, "203.0.113.5"),
            ("203.0.113.5", 0, "0.0.0.0"),
            ("2001:db8::5", 64, "2001:db8::"),
            ("2001:db8::5", 0, "::"),
        ] {
            assert_eq!(
                network(address(written), prefix),
                address(expected),
                "{written}/{prefix}"
            );
        }
    }

    #[test]
    fn lengths_of_prefixes_are_read_in_every_form() {
        for (text, mask, length) in [
            ("192.0.2.5", Some("255.255.255.0"), Some(24)),
            ("192.0.2.5", Some("24"), Some(24)),
            ("192.0.2.5/25", Some("255.255.255.0"), Some(25)),
            ("192.0.2.5", Some("0.0.0.0"), Some(0)),
            ("192.0.2.5", Some("255.255.255.255"), Some(32)),
            ("192.0.2.5", None, None),
            ("2001:db8::5", Some("ffff:ffff:ffff:ffff::"), Some(64)),
            ("[2001:db8::5/64]", None, Some(64)),
            ("2001:db8::5", Some("::"), Some(0)),
            (
                "2001:db8::5",
                Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
                Some(128),
            ),
        ] {
            let (_, found) = ip_with_prefix(text, mask).unwrap();
            assert_eq!(found, length, "{text} {mask:?}");
        }
        for (text, mask) in [
            ("192.0.2.5", Some("255.0.255.0")),
            ("192.0.2.5", Some("33")),
            ("192.0.2.5/33", None),
            ("192.0.2.5", Some("ffff::")),
            ("2001:db8::5", Some("255.255.0.0")),
            ("2001:db8::5/129", None),
            ("192.0.2", None),
            ("192.0.2.5/", None),
            ("192.0.2.5", Some("")),
            ("", None),
        ] {
            assert_eq!(ip_with_prefix(text, mask), None, "{text} {mask:?}");
        }
    }

    #[test]
    fn only_contiguous_masks_are_prefix_lengths() {
        for length in 0..=32_u32 {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or_default();
            let text = std::net::Ipv4Addr::from_bits(mask).to_string();
            let found = prefix(&text, Some(address("192.0.2.1"))).map(u32::from);
            assert_eq!(found, Some(length), "{text}");
        }
        for length in 0..=128_u32 {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or_default();
            let text = Ipv6Addr::from_bits(mask).to_string();
            let found = prefix(&text, Some(address("2001:db8::1"))).map(u32::from);
            assert_eq!(found, Some(length), "{text}");
        }
    }

    #[test]
    fn networks_hold_their_addresses() {
        for (one, prefix, other, expected) in [
            ("192.0.2.5", 24, "192.0.2.254", true),
            ("192.0.2.5", 24, "192.0.3.1", false),
            ("192.0.2.5", 32, "192.0.2.5", true),
            ("192.0.2.5", 32, "192.0.2.4", false),
            ("192.0.2.5", 0, "10.0.0.1", true),
            ("2001:db8::5", 64, "2001:db8::1", true),
            ("2001:db8::5", 64, "2001:db8:0:1::1", false),
            ("2001:db8::5", 0, "fe80::1", true),
            ("192.0.2.5", 0, "fe80::1", false),
        ] {
            let found = is_in_network(address(one), prefix, address(other));
            assert_eq!(found, expected, "{one}/{prefix} {other}");
        }
    }

    #[test]
    fn hardware_addresses_and_names_are_recognised() {
        let plain = Some("52:54:00:1a:b0:01".to_owned());
        assert_eq!(mac("52-54-00-1A-B0-01"), plain);
        assert_eq!(mac(" 52:54:00:1a:b0:01\n"), plain);
        for text in [
            "",
            "52:54:00:1a:b0",
            "52:54:00:1a:b0:0",
            "eth0",
            "52:54:00:1a:b0:zz",
        ] {
            assert_eq!(mac(text), None, "{text}");
        }
        for name in ["eth0", "bond0.100", "enp1s0f0np0", "vlan0005", "a"] {
            assert!(is_interface_name(name), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "-F",
            "a/b",
            "a b",
            "sixteen-letters-",
            "a:b",
            "ä",
            "a\n",
            "a%d",
        ] {
            assert!(!is_interface_name(name), "{name}");
        }
    }
}
