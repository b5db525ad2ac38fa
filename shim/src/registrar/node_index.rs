//! Which node a machine is, by what its firmware and its cards say. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use super::node_file::{FileLocation, NodeDescription, normal_mac};

/// Places that a finding names.
const MAX_NAMED_LOCATIONS: usize = 4;

/// What a machine says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineIdentity {
    /// MAC addresses of its cards.
    pub macs: Vec<String>,
    /// The UUID that its firmware says; may be empty.
    pub system_uuid: String,
    /// The serial number that its firmware says; may be empty.
    pub serial_number: String,
}

impl fmt::Display for MachineIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |text: &str| {
            if text.is_empty() {
                "none".to_owned()
            } else {
                format!("{text:?}")
            }
        };
        write!(
            f,
            "MAC addresses {}, system UUID {}, serial number {}",
            or_none(&self.macs.join(", ")),
            or_none(&self.system_uuid),
            or_none(&self.serial_number)
        )
    }
}

/// The node of a machine.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeMatch {
    /// It is this one.
    One(Arc<NodeDescription>),
    /// It could be any of these, which is a fault of the files.
    Several(Vec<Arc<NodeDescription>>),
    /// No description fits.
    Unknown,
}

/// Something that two nodes have of which there can be one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SharedIdentity {
    /// What it is, for example `MAC address`.
    pub what: &'static str,
    /// Its value.
    pub value: String,
    /// Where it is said.
    pub locations: Vec<FileLocation>,
}

impl fmt::Display for SharedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let locations = self.locations.iter().take(MAX_NAMED_LOCATIONS);
        let locations: Vec<_> = locations.map(ToString::to_string).collect();
        let (what, value, locations) = (self.what, &self.value, locations.join(", "));
        write!(f, "several nodes have the {what} {value}: {locations}")
    }
}

/// The nodes that are described, and what identifies them.
#[derive(Debug, Default)]
pub struct NodeIndex {
    nodes: BTreeMap<String, Arc<NodeDescription>>,
    by_mac: HashMap<String, Vec<String>>,
    by_system_uuid: HashMap<String, Vec<String>>,
    by_serial_number: HashMap<String, Vec<String>>,
}

impl NodeIndex {
    /// Indexes descriptions. Of two with one UUID the first counts. Also answers what several of
    /// them share.
    #[must_use]
    pub fn new(
        descriptions: impl IntoIterator<Item = NodeDescription>,
    ) -> (Self, Vec<SharedIdentity>) {
        let mut index = Self::default();
        let mut shared: BTreeMap<(&'static str, String), Vec<FileLocation>> = BTreeMap::new();
        for node in descriptions {
            let mut note = |what, value: &str| {
                if !value.is_empty() {
                    let locations = shared.entry((what, value.to_owned())).or_default();
                    locations.push(node.location.clone());
                }
            };
            note("UUID", &node.uuid);
            if index.nodes.contains_key(&node.uuid) {
                continue;
            }
            note("name", &node.name);
            note("system UUID", &node.system_uuid);
            note("serial number", &node.serial_number);
            for mac in node.macs.iter().collect::<BTreeSet<_>>() {
                note("MAC address", mac);
            }
            index.insert(node);
        }
        let shared = shared
            .into_iter()
            .filter(|(_, locations)| locations.len() > 1);
        let shared = shared.map(|((what, value), locations)| SharedIdentity {
            what,
            value,
            locations,
        });
        (index, shared.collect())
    }

    fn insert(&mut self, node: NodeDescription) {
        let add = |map: &mut HashMap<String, Vec<String>>, key: &str| {
            if !key.is_empty() {
                let uuids = map.entry(key.to_owned()).or_default();
                uuids.push(node.uuid.clone());
            }
        };
        for mac in &node.macs {
            add(&mut self.by_mac, mac);
        }
        add(&mut self.by_system_uuid, &node.system_uuid);
        add(&mut self.by_serial_number, &node.serial_number);
        self.nodes.insert(node.uuid.clone(), Arc::new(node));
    }

    /// The nodes by UUID.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<NodeDescription>> {
        self.nodes.values()
    }

    /// The node with a UUID.
    #[must_use]
    pub fn get(&self, uuid: &str) -> Option<&Arc<NodeDescription>> {
        self.nodes.get(uuid)
    }

    /// The node of a machine: the one that shares something with it.
    #[must_use]
    pub fn find(&self, machine: &MachineIdentity) -> NodeMatch {
        let macs = machine.macs.iter().filter_map(|mac| normal_mac(mac));
        let by_mac = macs.filter_map(|mac| self.by_mac.get(&mac));
        let system_uuid = machine.system_uuid.trim().to_ascii_lowercase();
        let by_system = self.by_system_uuid.get(&system_uuid);
        let by_serial = self.by_serial_number.get(machine.serial_number.trim());
        let uuids: BTreeSet<&String> = by_mac.chain(by_system).chain(by_serial).flatten().collect();
        let mut found: Vec<_> = uuids
            .into_iter()
            .filter_map(|uuid| self.nodes.get(uuid).cloned())
            .collect();
        match found.len() {
            0 => NodeMatch::Unknown,
            1 => NodeMatch::One(found.remove(0)),
            _ => NodeMatch::Several(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;
    use serde_json::Map;

    use super::*;

    fn node(number: u8, macs: &[u8], system: u8, serial: u8) -> NodeDescription {
        let some = |number: u8, text: String| if number == 0 { String::new() } else { text };
        NodeDescription {
            uuid: format!("{number:08}-0000-4000-8000-000000000000"),
            name: some(number % 3, format!("n{}", number % 3)),
            macs: macs.iter().copied().map(mac).collect(),
            system_uuid: some(system, format!("{system:08}-0000-4000-9000-000000000000")),
            serial_number: some(serial, serial.to_string()),
            labels: HashMap::new(),
            properties: Map::new(),
            location: FileLocation {
                path: Arc::new(PathBuf::from("n.yaml")),
                line: u64::from(number),
            },
        }
    }

    fn mac(number: u8) -> String {
        format!("52:54:00:00:00:{number:02x}")
    }

    #[test]
    fn a_machine_is_known_by_any_of_what_it_says() {
        let (index, shared) = NodeIndex::new([node(1, &[1, 2], 0, 0), node(2, &[], 2, 2)]);
        assert_eq!(shared, []);
        let is = |machine: MachineIdentity| match index.find(&machine) {
            NodeMatch::One(node) => node.location.line,
            NodeMatch::Several(_) => 99,
            NodeMatch::Unknown => 0,
        };
        let macs = |numbers: &[u8]| MachineIdentity {
            macs: numbers
                .iter()
                .map(|number| mac(*number).to_uppercase())
                .collect(),
            ..MachineIdentity::default()
        };
        assert_eq!(is(macs(&[7, 2])), 1);
        assert_eq!(is(macs(&[7])), 0);
        assert_eq!(is(MachineIdentity::default()), 0);
        let serial = |number: &str| MachineIdentity {
            serial_number: format!(" {number} "),
            ..macs(&[1])
        };
        assert_eq!(is(serial("7")), 1);
        assert_eq!(is(serial("2")), 99);
    }

    #[test]
    fn what_two_nodes_share_is_named_with_both_places() {
        let (index, shared) = NodeIndex::new([
            node(1, &[1, 1], 0, 5),
            node(4, &[1], 0, 0),
            node(1, &[9], 0, 0),
        ]);
        let texts: Vec<_> = shared.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "several nodes have the MAC address 52:54:00:00:00:01: n.yaml:1, n.yaml:4",
                "several nodes have the UUID 00000001-0000-4000-8000-000000000000: n.yaml:1, n.yaml:1",
                "several nodes have the name n1: n.yaml:1, n.yaml:4",
            ]
        );
        assert_eq!(index.nodes().count(), 2);
    }

    proptest! {
        /// Against the plain search through all descriptions.
        #[test]
        fn the_index_finds_what_a_search_finds(
            nodes in prop::collection::vec(
                (0..9_u8, prop::collection::vec(0..6_u8, 0..3), 0..4_u8, 0..4_u8), 0..8),
            machine_macs in prop::collection::vec(0..6_u8, 0..3),
            system in 0..4_u8,
            serial in 0..4_u8,
        ) {
            let nodes: Vec<_> = nodes.iter().map(|(n, macs, s, r)| node(*n, macs, *s, *r)).collect();
            let model = node(0, &machine_macs, system, serial);
            let machine = MachineIdentity {
                macs: model.macs,
                system_uuid: model.system_uuid,
                serial_number: model.serial_number,
            };
            let (index, _) = NodeIndex::new(nodes.clone());
            let mut seen = BTreeSet::new();
            let counted = nodes.iter().filter(|node| seen.insert(node.uuid.clone()));
            let expected: BTreeSet<_> = counted
                .filter(|node| {
                    node.macs.iter().any(|mac| machine.macs.contains(mac))
                        || (!machine.system_uuid.is_empty() && node.system_uuid == machine.system_uuid)
                        || (!machine.serial_number.is_empty() && node.serial_number == machine.serial_number)
                })
                .map(|node| node.uuid.clone())
                .collect();
            let found: BTreeSet<_> = match index.find(&machine) {
                NodeMatch::Unknown => BTreeSet::new(),
                NodeMatch::One(node) => [node.uuid.clone()].into(),
                NodeMatch::Several(nodes) => nodes.iter().map(|node| node.uuid.clone()).collect(),
            };
            prop_assert_eq!(found, expected);
        }
    }
}
