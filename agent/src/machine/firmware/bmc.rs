//! The machine's management controller, as Ironic looks nodes up by: what its LAN channels
//! are configured to (IPMI 2.0, sections 22.24 and 23.2).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::system::System;
use crate::system::ipmi::IpmiController;

/// Addresses of the management controller. `None` is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bmc {
    /// IPv4 address; `0.0.0.0` when it has none.
    pub address: Option<String>,
    /// IPv6 address; `::/0`, Ironic's word for it, when it has none.
    pub v6address: Option<String>,
    /// Hardware address of a port that has an address.
    pub mac: Option<String>,
}

/// Channels that may lead to a network; others have fixed meanings.
const CHANNELS: std::ops::RangeInclusive<u8> = 1..=11;

/// Asks the controller for its addresses, unless the node says that they need not be known.
/// A machine without an IPMI device has nothing to ask. Blocks for milliseconds, or seconds
/// with a controller that does not answer.
#[must_use]
pub fn probe(system: &System, skip: bool) -> Bmc {
    let controller = system.controller.as_ref();
    if skip || !controller.exists() {
        return Bmc::default();
    }
    Lan { controller }.read()
}

/// What is found on the channels so far.
#[derive(Debug, Default)]
struct LanAddresses {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
    mac: Option<String>,
}

/// Channels with a question that was not answered, after which no other is asked: each costs
/// seconds.
const MAX_FAILED_CHANNELS: u32 = 2;

struct Lan<'a> {
    controller: &'a dyn IpmiController,
}

// Parameters of the LAN configuration.
const IP_ADDRESS: u8 = 3;
const MAC_ADDRESS: u8 = 5;
const IPV6_ENABLES: u8 = 51;
const IPV6_STATUS: u8 = 55;
const IPV6_STATIC: u8 = 56;
const IPV6_DYNAMIC: u8 = 59;

impl Lan<'_> {
    /// A question without an answer makes only that unknown which is not found elsewhere.
    fn read(&self) -> Bmc {
        let mut found = LanAddresses::default();
        let mut failed = 0;
        for channel in CHANNELS {
            if let Err(error) = self.ask(channel, &mut found) {
                tracing::warn!(channel, %error, "the BMC does not tell its addresses");
                failed += 1;
            }
            let is_all = found.v4.is_some() && found.v6.is_some() && found.mac.is_some();
            if is_all || failed == MAX_FAILED_CHANNELS {
                break;
            }
        }
        // If a query failed, a missing address is unknown, not absent.
        let none = |text: &str| (failed == 0).then(|| text.to_owned());
        Bmc {
            address: found
                .v4
                .map(|address| address.to_string())
                .or_else(|| none("0.0.0.0")),
            v6address: found
                .v6
                .map(|address| address.to_string())
                .or_else(|| none("::/0")),
            mac: found.mac,
        }
    }

    /// Adds what a channel has. Of several questions the others are asked when one fails.
    fn ask(&self, channel: u8, found: &mut LanAddresses) -> io::Result<()> {
        if !self.is_lan(channel)? {
            return Ok(());
        }
        let (v4, v6) = (self.v4(channel), self.v6(channel));
        let own_v4 = v4.as_ref().ok().copied().flatten();
        let own_v6 = v6.as_ref().ok().copied().flatten();
        found.v4 = found.v4.or(own_v4);
        found.v6 = found.v6.or(own_v6);
        if found.mac.is_none() && (own_v4.is_some() || own_v6.is_some()) {
            found.mac = self.mac(channel)?;
        }
        v4?;
        v6?;
        Ok(())
    }

    /// Whether a channel exists and is an Ethernet port: `Get Channel Info`.
    fn is_lan(&self, channel: u8) -> io::Result<bool> {
        const APPLICATION: u8 = 0x06;
        const CHANNEL_INFO: u8 = 0x42;
        const ETHERNET: u8 = 4;
        let answer = self.controller.ask(APPLICATION, CHANNEL_INFO, &[channel])?;
        Ok(match answer.as_slice() {
            [0, _, medium, ..] => medium & 0x7f == ETHERNET,
            _ => false,
        })
    }

    /// A parameter, without completion code and revision; `None` when the controller has none
    /// such.
    fn parameter(&self, channel: u8, parameter: u8, set: u8) -> io::Result<Option<Vec<u8>>> {
        const TRANSPORT: u8 = 0x0c;
        const GET_LAN: u8 = 0x02;
        let question = [channel, parameter, set, 0];
        let answer = self.controller.ask(TRANSPORT, GET_LAN, &question)?;
        Ok(match answer.as_slice() {
            [0, _revision, data @ ..] => Some(data.to_vec()),
            _ => None,
        })
    }

    fn v4(&self, channel: u8) -> io::Result<Option<Ipv4Addr>> {
        let data = self.parameter(channel, IP_ADDRESS, 0)?;
        let address = data.and_then(|data| Some(Ipv4Addr::from(*data.first_chunk::<4>()?)));
        Ok(address.filter(|address| !address.is_unspecified()))
    }

    fn mac(&self, channel: u8) -> io::Result<Option<String>> {
        let data = self.parameter(channel, MAC_ADDRESS, 0)?;
        let octets = data.and_then(|data| data.first_chunk::<6>().copied());
        Ok(octets.filter(|octets| octets != &[0; 6]).map(|octets| {
            let octets: Vec<_> = octets.iter().map(|byte| format!("{byte:02x}")).collect();
            octets.join(":")
        }))
    }

    /// The first active address that others can reach, dynamic ones before static ones.
    fn v6(&self, channel: u8) -> io::Result<Option<Ipv6Addr>> {
        const IPV4_ONLY: u8 = 0;
        match self.parameter(channel, IPV6_ENABLES, 0)?.as_deref() {
            None | Some([] | [IPV4_ONLY, ..]) => return Ok(None),
            Some(_) => {}
        }
        let counts = self.parameter(channel, IPV6_STATUS, 0)?;
        let (statics, dynamics) = match counts.as_deref() {
            Some([statics, dynamics, ..]) => (*statics, *dynamics),
            _ => (1, 1),
        };
        for (parameter, count) in [(IPV6_DYNAMIC, dynamics), (IPV6_STATIC, statics)] {
            for set in 0..count.min(16) {
                let data = self.parameter(channel, parameter, set)?;
                let address = data.and_then(|data| usable(parameter, &data));
                if address.is_some() {
                    return Ok(address);
                }
            }
        }
        Ok(None)
    }
}

/// The address in a set of a static or dynamic address: set, source, address, prefix length,
/// status.
fn usable(parameter: u8, data: &[u8]) -> Option<Ipv6Addr> {
    const ACTIVE: u8 = 0;
    const ENABLED: u8 = 0x80;
    const SLAAC: u8 = 1;
    const DHCPV6: u8 = 2;
    let source = *data.get(1)?;
    let address = Ipv6Addr::from(*data.get(2..)?.first_chunk::<16>()?);
    let is_on = match parameter {
        IPV6_STATIC => source & ENABLED != 0,
        _ => matches!(source & 0x0f, SLAAC | DHCPV6),
    };
    let active = *data.get(19)? == ACTIVE;
    let reachable = !address.is_unspecified() && !address.is_unicast_link_local();
    (is_on && active && reachable).then_some(address)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::machine::testing::FakeMachine;

    /// Answers by channel, parameter and set. Channels that are named are LAN.
    #[derive(Debug, Default)]
    struct Fake {
        parameters: BTreeMap<(u8, u8, u8), Vec<u8>>,
        mute: bool,
        /// The question that gets no answer, counted from 0.
        unanswered: Option<usize>,
        asked: AtomicUsize,
    }

    impl Fake {
        fn with(mut self, channel: u8, parameter: u8, set: u8, data: &[u8]) -> Self {
            self.parameters
                .insert((channel, parameter, set), data.to_vec());
            self
        }

        fn probe(self) -> Bmc {
            let system = System {
                controller: Arc::new(self),
                ..FakeMachine::new().system()
            };
            assert_eq!(probe(&system, true), Bmc::default());
            probe(&system, false)
        }
    }

    impl IpmiController for Fake {
        fn exists(&self) -> bool {
            true
        }

        fn ask(&self, network_function: u8, command: u8, data: &[u8]) -> io::Result<Vec<u8>> {
            let number = self.asked.fetch_add(1, Ordering::Relaxed);
            if self.mute || self.unanswered == Some(number) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let channel = data[0];
            Ok(match (network_function, command) {
                (0x06, 0x42) => {
                    let known = self
                        .parameters
                        .keys()
                        .any(|(known, _, _)| *known == channel);
                    // What does not exist is "invalid data field in request".
                    if known {
                        vec![0, channel, 4]
                    } else {
                        vec![0xcc]
                    }
                }
                (0x0c, 0x02) => match self.parameters.get(&(channel, data[1], data[2])) {
                    Some(data) => [&[0, 0x11][..], data].concat(),
                    None => vec![0x80],
                },
                _ => vec![0xc1],
            })
        }
    }

    fn v6(source: u8, address: &str, status: u8) -> Vec<u8> {
        let address: Ipv6Addr = address.parse().unwrap();
        [&[0, source][..], &address.octets(), &[64, status]].concat()
    }

    fn expected(address: &str, v6address: &str, mac: Option<&str>) -> Bmc {
        Bmc {
            address: Some(address.to_owned()),
            v6address: Some(v6address.to_owned()),
            mac: mac.map(str::to_owned),
        }
    }

    const MAC: [u8; 6] = [1, 2, 3, 4, 5, 0xa6];
    const MAC_TEXT: Option<&str> = Some("01:02:03:04:05:a6");

    #[test]
    fn the_first_channel_with_an_address_counts() {
        let fake = Fake::default()
            .with(1, IP_ADDRESS, 0, &[0; 4])
            .with(1, MAC_ADDRESS, 0, &[9; 6])
            .with(7, IP_ADDRESS, 0, &[192, 1, 2, 3])
            .with(7, MAC_ADDRESS, 0, &MAC);
        assert_eq!(fake.probe(), expected("192.1.2.3", "::/0", MAC_TEXT));
    }

    #[test]
    fn a_missing_address_is_reported_as_ironic_expects() {
        assert_eq!(Fake::default().probe(), expected("0.0.0.0", "::/0", None));
        let zero = Fake::default()
            .with(1, IP_ADDRESS, 0, &[192, 1, 2, 3])
            .with(1, MAC_ADDRESS, 0, &[0; 6]);
        assert_eq!(zero.probe(), expected("192.1.2.3", "::/0", None));
        let mute = Fake {
            mute: true,
            ..Fake::default()
        };
        assert_eq!(mute.probe(), Bmc::default());
    }

    /// Whichever question gets no answer, what the others tell is kept, and nothing is said to
    /// be missing.
    #[test]
    fn an_unanswered_question_loses_only_its_own_answer() {
        let unanswered = |unanswered| {
            let fake = Fake {
                unanswered,
                ..Fake::default()
            };
            fake.with(1, IP_ADDRESS, 0, &[0; 4])
                .with(7, IP_ADDRESS, 0, &[192, 1, 2, 3])
                .with(7, MAC_ADDRESS, 0, &MAC)
                .with(7, IPV6_ENABLES, 0, &[2])
                .with(7, IPV6_STATUS, 0, &[0, 1])
                .with(7, IPV6_DYNAMIC, 0, &v6(2, "2001:1234::1", 0))
                .probe()
        };
        let whole = unanswered(None);
        assert_eq!(whole, expected("192.1.2.3", "2001:1234::1", MAC_TEXT));
        // Channel 1 takes the first three, those that do not exist one each.
        let first = 3 + 5;
        for number in 0..first + 7 {
            let lost = |questions: &[usize]| questions.contains(&number);
            let (channel, v4, mac) = (first, first + 1, first + 5);
            let v6 = [first + 2, first + 3, first + 4];
            let keep = |field: &Option<String>, is_lost: bool| {
                if is_lost { None } else { field.clone() }
            };
            let expected = Bmc {
                address: keep(&whole.address, lost(&[channel, v4])),
                v6address: keep(&whole.v6address, lost(&[channel]) || lost(&v6)),
                mac: keep(&whole.mac, lost(&[channel, mac])),
            };
            assert_eq!(unanswered(Some(number)), expected, "question {number}");
        }
    }

    #[test]
    fn ipv6_dynamic_before_static_active_and_reachable() {
        let both = || {
            Fake::default()
                .with(1, IP_ADDRESS, 0, &[0; 4])
                .with(1, MAC_ADDRESS, 0, &MAC)
                .with(1, IPV6_ENABLES, 0, &[2])
                .with(1, IPV6_STATUS, 0, &[1, 2])
        };
        let fake = both()
            .with(1, IPV6_DYNAMIC, 0, &v6(2, "fe80::1", 0))
            .with(1, IPV6_DYNAMIC, 1, &v6(2, "2001:1234::1", 0))
            .with(1, IPV6_STATIC, 0, &v6(0x80, "2001:5678::1", 0));
        assert_eq!(fake.probe(), expected("0.0.0.0", "2001:1234::1", MAC_TEXT));
        let fake = both()
            .with(1, IPV6_DYNAMIC, 0, &v6(2, "2001:1234::1", 1))
            .with(1, IPV6_STATIC, 0, &v6(0x80, "2001:5678::1", 0));
        assert_eq!(fake.probe(), expected("0.0.0.0", "2001:5678::1", MAC_TEXT));
        let fake = both().with(1, IPV6_STATIC, 0, &v6(0, "2001:5678::1", 0));
        assert_eq!(fake.probe(), expected("0.0.0.0", "::/0", None));
        let v4_only = both().with(1, IPV6_ENABLES, 0, &[0]).with(
            1,
            IPV6_DYNAMIC,
            0,
            &v6(2, "2001:1234::1", 0),
        );
        assert_eq!(v4_only.probe(), expected("0.0.0.0", "::/0", None));
    }
}
