//! Link-local IPv6 addresses that name their interface (RFC 6874): `[fe80::1%25eth0]`, and
//! `[fe80::1%eth0]` as curl and people write it. URLs cannot hold a zone, so it is taken out
//! before they are parsed, and the connection is bound to the interface.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use percent_encoding::percent_decode_str;
use thiserror::Error;

use crate::system::network;

/// The zone of a URL's host cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum InvalidZone {
    /// It is not an interface's name.
    #[error("the zone of the host's address is not the name of a network interface: {0:?}")]
    Name(String),
    /// Only these addresses have zones.
    #[error("the address {0} has a zone, but it is not link-local (fe80::/10)")]
    NotLinkLocal(String),
}

/// A URL without the zone of its host, and the interface that the zone names.
pub(super) fn split(url: &str) -> Result<(Cow<'_, str>, Option<String>), InvalidZone> {
    let plain = || Ok((Cow::Borrowed(url), None));
    let Some(start) = url.find("://").map(|at| at + 3) else {
        return plain();
    };
    let end = url[start..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |length| start + length);
    let authority = &url[start..end];
    let host = authority.rfind('@').map_or(0, |at| at + 1);
    let Some(address) = authority[host..].strip_prefix('[') else {
        return plain();
    };
    let Some((address, zone)) = address
        .split_once(']')
        .and_then(|(address, _)| address.split_once('%'))
    else {
        return plain();
    };
    let is_link_local = address
        .parse()
        .is_ok_and(|address: Ipv6Addr| address.is_unicast_link_local());
    if !is_link_local {
        return Err(InvalidZone::NotLinkLocal(address.to_owned()));
    }
    let name = percent_decode_str(zone.strip_prefix("25").unwrap_or(zone)).decode_utf8_lossy();
    let interface = interface(&name).ok_or_else(|| InvalidZone::Name(name.into_owned()))?;
    let from = start + host + 1 + address.len();
    let until = from + 1 + zone.len();
    Ok((
        Cow::Owned(format!("{}{}", &url[..from], &url[until..])),
        Some(interface),
    ))
}

/// An interface by its name, or by its number where no name is that number.
fn interface(zone: &str) -> Option<String> {
    let is_name = !zone.is_empty()
        && zone.len() < 16
        && !zone.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control());
    if !is_name {
        return None;
    }
    match zone.parse() {
        Ok(index) => network::interface_by_index(index),
        Err(_) => Some(zone.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_taken_out_of_the_host_and_nothing_else() {
        for (url, plain, interface) in [
            ("http://[fe80::1%25eth0]/a", "http://[fe80::1]/a", "eth0"),
            (
                "http://[fe80::1%eth0]:80/a%20b",
                "http://[fe80::1]:80/a%20b",
                "eth0",
            ),
            (
                "https://u:p@[fe80::a:b%25en%2Dp.7]?x",
                "https://u:p@[fe80::a:b]?x",
                "en-p.7",
            ),
            ("http://[FE80::1%25br0]#f", "http://[FE80::1]#f", "br0"),
            ("http://[fe80::1%1]", "http://[fe80::1]", "lo"),
        ] {
            let expected = Ok((Cow::Owned(plain.to_owned()), Some(interface.to_owned())));
            assert_eq!(split(url), expected, "{url}");
        }
        for url in [
            "http://host/[fe80::1%25eth0]",
            "http://[2001:db8::1]/",
            "http://[fe80::1]/a%25b",
            "http://host/?u=http://[fe80::1%25eth0]",
            "oci://host/a",
            "file:///a",
            "",
        ] {
            assert_eq!(split(url), Ok((Cow::Borrowed(url), None)));
        }
    }

    #[test]
    fn a_zone_that_cannot_be_is_named() {
        for url in [
            "http://[fe80::1%25]/",
            "http://[fe80::1%25an interface's name]/",
            "http://[fe80::1%254294967295]/",
        ] {
            assert!(split(url).is_err(), "{url}");
        }
        let refused = split("http://[2001:db8::1%25eth0]/").unwrap_err();
        assert_eq!(refused, InvalidZone::NotLinkLocal("2001:db8::1".into()));
    }
}
