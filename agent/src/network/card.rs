//! The cards that are there: interfaces to hardware, Ethernet and InfiniBand.

use crate::system::PathPrefix;

use super::address;
use super::request::CardSelector;

/// Where the kernel lists its interfaces.
pub(super) const INTERFACES: &str = "/sys/class/net";
/// `ARPHRD_ETHER` and `ARPHRD_INFINIBAND` of `linux/if_arp.h`.
const ETHERNET: &str = "1";
const INFINIBAND: &str = "32";

/// A card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NetworkCard {
    /// The kernel's name.
    pub(super) name: String,
    /// The kernel's number, which grows in the order in which it found them.
    pub(super) index: u32,
    /// Its hardware address, in lower case with colons.
    pub(super) mac: String,
    /// Whether it is a port of InfiniBand (IPoIB).
    pub(super) is_infiniband: bool,
}

impl NetworkCard {
    /// Whether a selector means this card, `Boot` excepted.
    pub(super) fn is(&self, selector: &CardSelector) -> bool {
        match selector {
            CardSelector::Name(name) => *name == self.name,
            CardSelector::Mac(mac) => *mac == self.mac || Some(mac) == self.short_mac().as_ref(),
            CardSelector::Boot => false,
        }
    }

    /// The address like Ethernet's by which Ironic knows a port of InfiniBand: of the eight octets
    /// of its GUID the first three and the last three.
    fn short_mac(&self) -> Option<String> {
        let octets: Vec<&str> = self.mac.split(':').collect();
        let guid = (self.is_infiniband && octets.len() == 20).then(|| octets.get(12..))??;
        Some([guid.get(..3)?, guid.get(5..)?].concat().join(":"))
    }
}

/// All cards, in the kernel's order. `names`, where given, are the interfaces that count as cards.
pub(super) fn probe(root: &PathPrefix, names: &[String]) -> Vec<NetworkCard> {
    let all = root.names(INTERFACES);
    let mut cards: Vec<_> = all
        .iter()
        .filter(|name| match names {
            // Of the virtual ones none leads to a device.
            [] => root.exists(format!("{INTERFACES}/{name}/device")),
            names => names.contains(name),
        })
        .filter_map(|name| read(root, name))
        .collect();
    cards.sort_by_key(|card| card.index);
    cards
}

fn read(root: &PathPrefix, name: &str) -> Option<NetworkCard> {
    let attribute = |attribute| root.read_optional(format!("{INTERFACES}/{name}/{attribute}"));
    let kind = attribute("type")?;
    if ![ETHERNET, INFINIBAND].contains(&kind.as_str()) {
        return None;
    }
    // A member of a bond has the bond's address; this is its own.
    let own = attribute("bonding_slave/perm_hwaddr").or_else(|| attribute("address"))?;
    Some(NetworkCard {
        name: name.to_owned(),
        index: attribute("ifindex")?.parse().ok()?,
        mac: address::mac(&own)?,
        is_infiniband: kind == INFINIBAND,
    })
}

/// Whether an interface has a signal on the wire; reading fails while it is down.
pub(super) fn has_carrier(root: &PathPrefix, name: &str) -> bool {
    let carrier = root.read_optional(format!("{INTERFACES}/{name}/carrier"));
    carrier.as_deref() == Some("1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing::FakeMachine;

    fn add(machine: &mut FakeMachine, name: &str, index: u32, kind: &str, mac: &str) {
        let path = format!("sys/class/net/{name}");
        machine
            .file(&format!("{path}/ifindex"), &index.to_string())
            .file(&format!("{path}/type"), kind)
            .file(&format!("{path}/address"), mac);
    }

    #[test]
    fn cards_are_what_leads_to_a_device() {
        let mut machine = FakeMachine::new();
        add(&mut machine, "eth1", 2, ETHERNET, "52:54:00:00:00:02");
        add(&mut machine, "eth0", 3, ETHERNET, "52:54:00:00:00:01");
        add(&mut machine, "bond0", 4, ETHERNET, "52:54:00:00:00:01");
        add(&mut machine, "ppp0", 5, "512", "");
        let guid = "80:00:02:08:fe:80:00:00:00:00:00:00:7c:fe:90:03:00:29:26:52";
        add(&mut machine, "ib0", 6, INFINIBAND, guid);
        for name in ["eth0", "eth1", "ppp0", "ib0"] {
            machine.directory(&format!("sys/class/net/{name}/device"));
        }
        machine.file(
            "sys/class/net/eth1/bonding_slave/perm_hwaddr",
            "52:54:00:00:00:aa",
        );
        machine.file("sys/class/net/eth0/carrier", "1");
        let root = machine.system().root;
        let cards = probe(&root, &[]);
        let names: Vec<_> = cards.iter().map(|card| card.name.as_str()).collect();
        assert_eq!(names, ["eth1", "eth0", "ib0"]);
        assert_eq!(cards[0].mac, "52:54:00:00:00:aa");
        assert!(cards[2].is(&CardSelector::Mac("7c:fe:90:29:26:52".to_owned())));
        assert!(cards[2].is(&CardSelector::Mac(guid.to_owned())));
        assert!(cards[1].is(&CardSelector::Name("eth0".to_owned())));
        assert!(!cards[1].is(&CardSelector::Boot));
        assert!(has_carrier(&root, "eth0") && !has_carrier(&root, "eth1"));
        let named = probe(&root, &["bond0".to_owned()]);
        assert_eq!(named[0].name, "bond0");
    }
}
