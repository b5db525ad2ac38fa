use proptest::prelude::*;

use super::*;
use crate::network::request::Ipv6Method;
use crate::network::{kernel_parameters, network_data};

fn cards(count: u32) -> Vec<NetworkCard> {
    let card = |number| NetworkCard {
        name: format!("eth{number}"),
        index: number + 2,
        mac: format!("52:54:00:00:00:{:02x}", number + 1),
        is_infiniband: false,
    };
    (0..count).map(card).collect()
}

fn inputs(network_data: &serde_json::Value, line: &str) -> PlanInputs {
    PlanInputs {
        network_data: network_data::parse(&network_data.to_string()),
        kernel: kernel_parameters::parse(line),
        boot_card: kernel_parameters::boot_card(line),
        has_ipv6: true,
    }
}

/// `name kind: addressing` of every interface.
fn shown(plan: &NetworkPlan) -> Vec<String> {
    let interfaces = plan.interfaces.iter();
    interfaces
        .map(|interface| {
            let kind = match &interface.kind {
                PlannedKind::Card => "card".to_owned(),
                PlannedKind::Member(bond) => format!("of {bond}"),
                PlannedKind::Bond { members, .. } => format!("bond of {}", members.join("+")),
                PlannedKind::Vlan { parent, number } => format!("vlan {number} on {parent}"),
            };
            format!("{} {kind}: {}", interface.name, interface.addressing)
        })
        .collect()
}

fn said(plan: &NetworkPlan) -> String {
    let problems: Vec<_> = plan.problems.iter().map(ToString::to_string).collect();
    problems.join("\n")
}

const BOTH: &str = "DHCPv4, IPv6 as routers advertise";

#[test]
fn unnamed_cards_ask_for_both_families() {
    let plan = plan(&inputs(&json(""), "quiet"), &cards(2));
    assert_eq!(
        shown(&plan),
        [format!("eth0 card: {BOTH}"), format!("eth1 card: {BOTH}")]
    );
    assert_eq!(said(&plan), "");
    assert!(!plan.interfaces[0].is_preferred);
}

/// A document of links `a`, `b` (`eth0`, `eth1`), with these networks: `link type;...`.
fn json(networks: &str) -> serde_json::Value {
    let link = |id: &str, last: u8| serde_json::json!({"id": id, "type": "phy", "ethernet_mac_address": format!("52:54:00:00:00:{last:02x}")});
    let networks: Vec<_> = networks
        .split_terminator(';')
        .filter_map(|network| network.split_once(' '))
        .map(|(link, kind)| serde_json::json!({"link": link, "type": kind}))
        .collect();
    if networks.is_empty() {
        return serde_json::json!({});
    }
    serde_json::json!({"links": [link("a", 1), link("b", 2)], "networks": networks})
}

#[test]
fn network_data_comes_before_the_kernel_command_line() {
    let inputs = inputs(&json("a ipv4_dhcp"), "ip=eth0:dhcp6 ip=eth2:auto6");
    let plan = plan(&inputs, &cards(4));
    let expected = [
        "eth0 card: DHCPv4",
        "eth1 card: no addresses",
        "eth2 card: SLAAC",
        "eth3 card: no addresses",
    ];
    assert_eq!(shown(&plan), expected);
    assert_eq!(
        said(&plan),
        "kernel parameter ip=eth0:dhcp6: eth0 is used by network_data.json: link \"a\" already; it is left out"
    );
}

#[test]
fn bonds_take_the_addresses_of_their_members() {
    let mut document = json("a ipv4_dhcp;bond ipv4_dhcp;v ipv6_slaac");
    let links = document["links"].as_array_mut().unwrap();
    links.push(serde_json::json!({"id": "v", "type": "vlan", "vlan_link": "bond", "vlan_id": 7}));
    links.push(serde_json::json!({"id": "bond", "type": "bond", "bond_mode": "1", "bond_links": ["a", "b", "c"]}));
    links.push(
        serde_json::json!({"id": "c", "type": "phy", "ethernet_mac_address": "52:54:00:00:00:99"}),
    );
    let inputs = inputs(&document, "");
    let found = plan(&inputs, &cards(3));
    let expected = [
        "eth0 of bond0: no addresses",
        "eth1 of bond0: no addresses",
        "bond0 bond of eth0+eth1: DHCPv4",
        "bond0.7 vlan 7 on bond0: SLAAC",
        "eth2 card: DHCPv4, IPv6 as routers advertise",
    ];
    assert_eq!(shown(&found), expected);
    let text = said(&found);
    for part in [
        "link \"c\": there is no card 52:54:00:00:00:99; there are eth0 (52:54:00:00:00:01), eth1",
        "link \"a\": eth0 is a member of a bond and gets no address of its own",
        "link \"bond\": 1 of 3 members are not there",
    ] {
        assert!(text.contains(part), "{text}");
    }
    // The card that came late is the third member.
    let mut more = cards(3);
    more[2].mac = "52:54:00:00:00:99".to_owned();
    let found = plan(&inputs, &more);
    assert_eq!(shown(&found)[3], "bond0 bond of eth0+eth1+eth2: DHCPv4");
    // Without any there is no bond, and the VLAN says so.
    let text = said(&plan(&inputs, &[]));
    assert!(text.contains("3 of 3 members are not there"), "{text}");
    assert!(
        text.contains("link \"v\": \"bond\", which it is on, is not there"),
        "{text}"
    );
}

#[test]
fn the_primary_of_a_bond_is_a_member_that_is_there() {
    let primary = |plan: &NetworkPlan| {
        let interfaces = plan.interfaces.iter();
        let mut options = interfaces.filter_map(|interface| match &interface.kind {
            PlannedKind::Bond { options, .. } => Some(options),
            _ => None,
        });
        let found = options
            .next()?
            .iter()
            .find(|(name, _)| *name == "primary")?;
        Some(found.1.clone())
    };
    let mut document = json("a ipv4_dhcp");
    let links = document["links"].as_array_mut().unwrap();
    links.push(serde_json::json!({"id": "bond", "type": "bond", "bond_mode": "1", "bond_links": ["a", "b"], "bond_primary": "b"}));
    let data = inputs(&document, "");
    assert_eq!(primary(&plan(&data, &cards(1))), None);
    assert_eq!(primary(&plan(&data, &cards(2))).as_deref(), Some("eth1"));
    let line = "bond=bond0:eth0,52-54-00-00-00-02:mode=1,primary=";
    for written in ["eth1", "52-54-00-00-00-02"] {
        let found = plan(&inputs(&json(""), &format!("{line}{written}")), &cards(2));
        assert_eq!(primary(&found).as_deref(), Some("eth1"), "{written}");
    }
    let found = plan(&inputs(&json(""), &format!("{line}eth2")), &cards(3));
    assert_eq!(primary(&found), None);
    assert!(said(&found).contains("primary is \"eth2\", expected a member of the bond"));
}

#[test]
fn names_are_taken_once() {
    let found = plan(&inputs(&json(""), "bond=eth1:eth0 ip=eth1:dhcp"), &cards(2));
    assert!(
        said(&found).contains("eth1 is used by a card already"),
        "{}",
        said(&found)
    );
    let line = "bond=bond0:eth0:mode=1 bond=bond1:eth0,eth1:mode=1";
    let found = plan(&inputs(&json(""), line), &cards(2));
    assert_eq!(
        shown(&found)[2..],
        [
            format!("bond0 bond of eth0: {BOTH}"),
            format!("bond1 bond of eth1: {BOTH}")
        ]
    );
    assert!(
        said(&found).contains("eth0 is used by another bond already"),
        "{}",
        said(&found)
    );
}

#[test]
fn names_do_not_depend_on_which_cards_are_there() {
    let mut document = json("a ipv4_dhcp");
    let links = document["links"].as_array_mut().unwrap();
    for (id, member) in [("first", "a"), ("second", "b")] {
        links.push(
            serde_json::json!({"id": id, "type": "bond", "bond_mode": "1", "bond_links": [member]}),
        );
    }
    let mut two = cards(2);
    for (card, name) in two.iter_mut().zip(["enp129s0f0np0", "enp129s0f1np1"]) {
        card.name = name.to_owned();
    }
    let inputs = inputs(&document, "");
    for cards in [&two[..1], &two[1..], &two[..]] {
        let found = plan(&inputs, cards);
        let bonds = found.interfaces.iter();
        let bonds = bonds.filter_map(|interface| match &interface.kind {
            PlannedKind::Bond { members, .. } => {
                Some((interface.name.as_str(), members.as_slice()))
            }
            _ => None,
        });
        for (name, members) in bonds {
            let expected = if name == "bond0" {
                "enp129s0f0np0"
            } else {
                "enp129s0f1np1"
            };
            assert_eq!(members, [expected], "{name}");
        }
    }
    // The same holds for VLANs whose cards have long names.
    let mut document = json("a ipv4_dhcp");
    let links = document["links"].as_array_mut().unwrap();
    for (id, on) in [("v", "a"), ("w", "b")] {
        links.push(serde_json::json!({"id": id, "type": "vlan", "vlan_link": on, "vlan_id": 100}));
    }
    let inputs = PlanInputs {
        network_data: network_data::parse(&document.to_string()),
        ..inputs
    };
    for cards in [&two[..1], &two[1..], &two[..]] {
        for interface in &plan(&inputs, cards).interfaces {
            if let PlannedKind::Vlan { parent, .. } = &interface.kind {
                let expected = if parent == "enp129s0f0np0" {
                    "vlan100"
                } else {
                    "v100-1"
                };
                assert_eq!(interface.name, expected);
            }
        }
    }
}

#[test]
fn what_two_parameters_say_of_one_card_counts_together() {
    let line = "vlan=eth0.5:eth0 ip=eth1:dhcp6 ip=52-54-00-00-00-01:dhcp:1400:52:54:00:00:00:09 \
                ip=52-54-00-00-00-02:dhcp";
    let found = plan(&inputs(&json(""), line), &cards(2));
    let card = &found.interfaces[0];
    assert_eq!((card.name.as_str(), card.mtu), ("eth0", Some(1400)));
    assert_eq!(card.mac.as_deref(), Some("52:54:00:00:00:09"));
    assert!(card.sets_mac && card.is_preferred);
    assert_eq!(
        shown(&found)[1],
        "eth1 card: DHCPv4, IPv6 as routers advertise"
    );
}

#[test]
fn bonds_and_vlans_without_an_address_ask_for_a_lease() {
    let bond = "bond=bond0:eth0,eth1:mode=1";
    for (line, expected) in [
        (
            bond.to_owned(),
            vec![format!("bond0 bond of eth0+eth1: {BOTH}")],
        ),
        (
            format!("{bond} ip=dhcp6"),
            vec!["bond0 bond of eth0+eth1: DHCPv6".to_owned()],
        ),
        (
            format!("{bond} ip=dhcp vlan=v5:bond0"),
            vec![
                "bond0 bond of eth0+eth1: no addresses".to_owned(),
                format!("v5 vlan 5 on bond0: {BOTH}"),
            ],
        ),
        // An interface that is named is the one that is meant.
        (
            format!("{bond} vlan=v5:bond0 ip=bond0:dhcp"),
            vec![
                format!("bond0 bond of eth0+eth1: {BOTH}"),
                "v5 vlan 5 on bond0: no addresses".to_owned(),
            ],
        ),
    ] {
        let found = plan(&inputs(&json(""), &line), &cards(2));
        assert_eq!(shown(&found)[2..], expected, "{line}");
    }
}

#[test]
fn a_route_switches_no_lease_off() {
    let route = "rd.route=198.51.100.0/24:192.0.2.2";
    for line in [
        route.to_owned(),
        format!("ip=dhcp {route}"),
        format!("{route}:eth0"),
    ] {
        let mut inputs = inputs(&json(""), &line);
        let found = plan(&inputs, &cards(2));
        let all = [format!("eth0 card: {BOTH}"), format!("eth1 card: {BOTH}")];
        assert_eq!(shown(&found), all, "{line}");
        assert_eq!(found.interfaces[0].addressing.routes.len(), 1, "{line}");
        // Nor does it ask for IPv6.
        inputs.has_ipv6 = false;
        assert_eq!(said(&plan(&inputs, &cards(2))), "", "{line}");
    }
    let found = plan(
        &inputs(&json(""), &format!("ip=eth1:dhcp {route}")),
        &cards(2),
    );
    assert_eq!(
        shown(&found),
        [
            format!("eth1 card: {BOTH}"),
            "eth0 card: no addresses".to_owned()
        ]
    );
    assert_eq!(found.interfaces[0].addressing.routes.len(), 1);
}

#[test]
fn long_names_of_vlans_are_made_short() {
    let mut long = cards(1);
    long[0].name = "enp129s0f0np0".to_owned();
    let mut document = json("a ipv4_dhcp");
    let links = document["links"].as_array_mut().unwrap();
    links.push(serde_json::json!({"id": "v", "type": "vlan", "vlan_link": "a", "vlan_id": 100}));
    links.push(serde_json::json!({"id": "w", "type": "vlan", "vlan_link": "v", "vlan_id": 100}));
    let found = plan(&inputs(&document, ""), &long);
    let names: Vec<_> = found.interfaces.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["enp129s0f0np0", "vlan100", "vlan100.100"]);
}

#[test]
fn the_card_that_was_booted_from_comes_first() {
    let line = "BOOTIF=01-52-54-00-00-00-02";
    let found = plan(&inputs(&json(""), line), &cards(3));
    let metrics: Vec<_> = found
        .interfaces
        .iter()
        .map(|i| (i.metric, i.is_preferred))
        .collect();
    assert_eq!(
        metrics,
        [(1_002_100, false), (1_000_100, true), (1_004_100, false)]
    );
    assert!(
        found.interfaces[1]
            .reason
            .ends_with("the machine was booted from it")
    );
    // Also as a member of a bond below a VLAN.
    let line =
        "BOOTIF=01-52-54-00-00-00-02 bond=bond0:eth0,eth1 vlan=bond0.5:bond0 ip=bond0.5:dhcp";
    let found = plan(&inputs(&json(""), line), &cards(3));
    let vlan = found
        .interfaces
        .iter()
        .find(|i| i.name == "bond0.5")
        .unwrap();
    assert_eq!((vlan.metric, vlan.static_metric), (1_000_110, 110));
    // An address without an interface is that card's, and nobody's as long as it is not there.
    let line = "BOOTIF=01-52-54-00-00-00-02 ip=192.0.2.5:::24:::none";
    let found = plan(&inputs(&json(""), line), &cards(3));
    assert_eq!(shown(&found)[0], "eth1 card: static");
    let found = plan(&inputs(&json(""), line), &cards(1));
    assert_eq!(shown(&found), ["eth0 card: no addresses"]);
    let found = plan(&inputs(&json(""), "ip=192.0.2.5:::24:::none"), &cards(2));
    assert_eq!(shown(&found)[0], "eth0 card: static");
}

#[test]
fn without_ipv6_in_the_kernel_nothing_asks_for_it() {
    let mut inputs = inputs(&json("a ipv6_slaac"), "");
    inputs.has_ipv6 = false;
    let found = plan(&inputs, &cards(3));
    assert_eq!(
        shown(&found),
        [
            "eth0 card: no addresses",
            "eth1 card: no addresses",
            "eth2 card: DHCPv4"
        ]
    );
    assert!(
        said(&found).contains("link \"a\": IPv6 is asked for"),
        "{}",
        said(&found)
    );
    assert_eq!(found.problems.len(), 1);
    assert_eq!(found.interfaces[2].addressing.ipv6, Ipv6Method::Off);
}

#[test]
fn a_vlan_has_a_metric_after_that_of_what_it_is_on() {
    let line = "bond=bond0:eth0,eth1:mode=1 vlan=bond0.5:bond0 vlan=bond0.6:bond0 vlan=v7:bond0.6 \
                vlan=eth2.5:eth2 ip=eth2:dhcp";
    let metrics = |plan: &NetworkPlan| -> BTreeMap<String, u32> {
        let interfaces = plan.interfaces.iter();
        interfaces
            .map(|interface| (interface.name.clone(), interface.static_metric))
            .collect()
    };
    let inputs = inputs(&json(""), line);
    let all = metrics(&plan(&inputs, &cards(3)));
    for (name, expected) in [
        ("bond0", 2_100),
        ("bond0.5", 2_110),
        ("bond0.6", 2_120),
        ("v7", 2_130),
        ("eth2", 4_100),
        ("eth2.5", 4_110),
    ] {
        assert_eq!(all[name], expected, "{name}: {all:?}");
    }
    // Nor does it change when another member of the bond comes, or another card.
    for count in 1..5 {
        let some = metrics(&plan(&inputs, &cards(count)));
        for (name, metric) in &some {
            assert_eq!(all.get(name).unwrap_or(metric), metric, "{name}: {some:?}");
        }
    }
}

/// Some of these words, in any order: bonds and VLANs on the same cards, and their addresses.
fn any_sound_line() -> impl Strategy<Value = String> {
    let words = vec![
        "bond=bond0:eth0,eth1:mode=1",
        "bond=bond1:eth2,eth1:mode=1",
        "vlan=v5:bond0",
        "vlan=v6:bond0",
        "vlan=v7:v6",
        "vlan=v8:bond1",
        "vlan=eth0.5:eth0",
        "vlan=eth2.5:eth2",
        "vlan=eth2.6:eth2",
        "ip=dhcp",
        "ip=bond0:dhcp",
        "ip=eth2:dhcp6",
        "ip=192.0.2.5::192.0.2.1:24::v5:none",
        "ip=192.0.2.6::192.0.2.1:24::v7:none",
        "BOOTIF=01-52-54-00-00-00-02",
        "rd.route=198.51.100.0/24:192.0.2.2",
    ];
    let some = proptest::sample::subsequence(words.clone(), 0..=words.len());
    some.prop_shuffle().prop_map(|words| words.join(" "))
}

proptest! {
    /// Whatever is asked for and whichever cards are there, the plan can be carried out.
    #[test]
    fn any_plan_holds_together(
        document in network_data::tests::any_document(),
        line in prop_oneof![kernel_parameters::tests::any_line(), any_sound_line()],
        count in 0..4_u32,
    ) {
        let cards = cards(count);
        let found = plan(&inputs(&document, &line), &cards);
        let mut names: Vec<&str> = Vec::new();
        for interface in &found.interfaces {
            prop_assert!(!names.contains(&interface.name.as_str()), "twice: {found:?}");
            names.push(&interface.name);
            match &interface.kind {
                PlannedKind::Bond { members, .. } => {
                    prop_assert!(!members.is_empty());
                    for member in members {
                        let kind = found.interfaces.iter().find(|i| i.name == *member).map(|i| &i.kind);
                        prop_assert_eq!(kind, Some(&PlannedKind::Member(interface.name.clone())));
                    }
                }
                PlannedKind::Vlan { parent, .. } => prop_assert!(names.contains(&parent.as_str())),
                PlannedKind::Member(_) => {
                    prop_assert_eq!(&interface.addressing, &Addressing::default());
                }
                PlannedKind::Card => {}
            }
            prop_assert!(interface.static_metric < interface.metric);
        }
        // Or a default route would replace that of another interface.
        let mut metrics: BTreeSet<u32> = BTreeSet::new();
        let is_member = |kind: &PlannedKind| matches!(kind, PlannedKind::Member(_));
        for interface in found.interfaces.iter().filter(|i| !is_member(&i.kind)) {
            for metric in [interface.static_metric, interface.metric] {
                prop_assert!(metrics.insert(metric), "{metric} twice: {found:?}");
            }
        }
        // Every card is in it, once.
        for card in &cards {
            prop_assert!(names.contains(&card.name.as_str()));
        }
    }
}
