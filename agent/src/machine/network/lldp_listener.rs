//! Listening for what switches send by LLDP.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::machine::network::interface;
use crate::machine::network::lldp::{self, LldpElement};
use crate::system::System;

/// Listens on all interfaces to hardware and answers the elements by the names of the
/// interfaces: none for those that heard nothing, and no entry for those that could not be
/// listened to. Blocks for `timeout` at most, however many there are.
#[must_use]
pub fn collect(system: &System, timeout: Duration) -> BTreeMap<String, Vec<LldpElement>> {
    let listed: Vec<String> = interface::probe(system)
        .into_iter()
        .map(|interface| interface.name)
        .collect();
    let links = system.network.links().unwrap_or_else(|error| {
        tracing::warn!(%error, "no interface is listened to: the kernel does not tell any");
        Vec::new()
    });
    let links: Vec<_> = links
        .into_iter()
        .filter(|link| listed.contains(&link.name))
        .collect();
    let frames = system.network.lldp_frames(&links, timeout);
    frames
        .into_iter()
        .filter_map(|(name, heard)| match heard {
            Ok(frame) => Some((name, frame.as_deref().map(lldp::parse).unwrap_or_default())),
            Err(error) => {
                tracing::warn!(interface = %name, %error, "it cannot be listened to for LLDP");
                None
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing::FakeMachine;
    use crate::system::network::NetworkLink;

    #[test]
    fn one_that_cannot_be_listened_to_takes_nothing_from_the_others() {
        let mut machine = FakeMachine::new();
        assert!(collect(&machine.system(), Duration::ZERO).is_empty());
        for (name, index) in [("eth0", 2), ("deaf", 3), ("silent", 4), ("lo", 1)] {
            let link = NetworkLink {
                index,
                name: name.into(),
                address: vec![2, 0, 0, 0, 0, u8::try_from(index).unwrap()],
                ..NetworkLink::default()
            };
            let slot = format!("0000:02:00.{index}");
            machine.interface(link, (name != "lo").then_some(slot.as_str()));
        }
        let heard = collect(&machine.system(), Duration::ZERO);
        assert_eq!(
            heard.into_iter().collect::<Vec<_>>(),
            [
                ("eth0".to_owned(), vec![(1, "02".to_owned())]),
                ("silent".to_owned(), Vec::new()),
            ]
        );
    }
}
