use proptest::prelude::*;
use serde_json::json;

use super::*;

/// The document's request; without problems.
fn clean(document: &Value) -> NetworkRequest {
    let request = parse(&document.to_string());
    assert_eq!(request.problems, [], "{document}");
    request
}

fn problems(document: &Value) -> Vec<String> {
    let request = parse(&document.to_string());
    request.problems.iter().map(ToString::to_string).collect()
}

fn phy(id: &str, last: u8) -> Value {
    let mac = format!("52:54:00:00:00:{last:02X}");
    json!({"id": id, "type": "phy", "ethernet_mac_address": mac})
}

fn with_networks(networks: &Value) -> Value {
    json!({"links": [phy("a", 1)], "networks": networks, "services": []})
}

/// What the link `a` gets from these networks.
fn addressing(networks: &Value) -> Addressing {
    let request = clean(&with_networks(networks));
    request.interfaces[0].addressing.clone().unwrap()
}

#[test]
fn every_kind_of_network_is_known() {
    for (kind, dhcp4, ipv6) in [
        ("ipv4_dhcp", true, Ipv6Method::Off),
        ("ipv6_slaac", false, Ipv6Method::Slaac),
        ("ipv6_dhcp", false, Ipv6Method::Stateful),
        ("ipv6_dhcpv6-stateful", false, Ipv6Method::Stateful),
        ("ipv6_dhcpv6-stateless", false, Ipv6Method::Stateless),
        ("manual", false, Ipv6Method::Off),
    ] {
        let found = addressing(&json!([{"id": "n", "type": kind, "link": "a"}]));
        assert_eq!((found.dhcp4, found.ipv6), (dhcp4, ipv6), "{kind}");
    }
    let both = json!([
        {"type": "ipv4_dhcp", "link": "a"},
        {"type": "ipv6_slaac", "link": "a"},
    ]);
    let found = addressing(&both);
    assert!(found.dhcp4 && found.ipv6 == Ipv6Method::Slaac);
}

#[test]
fn fixed_addresses_have_routes_and_name_servers() {
    let document = json!({
        "links": [{"id": "a", "type": "ovs", "ethernet_mac_address": "52-54-00-00-00-01", "mtu": 1450}],
        "networks": [
            {"id": "n", "type": "ipv4", "link": "a", "ip_address": "192.0.2.5", "netmask": "255.255.255.128",
             "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1",
                         "services": [{"type": "dns", "address": "192.0.2.53"}]}],
             "services": [{"type": "dns", "address": "192.0.2.54"}]},
            {"id": "m", "type": "ipv6", "link": "a", "ip_address": "2001:db8::5/64",
             "routes": [{"network": "::", "netmask": "::", "gateway": "fe80::1"}]},
        ],
        "services": [{"type": "dns", "address": "192.0.2.53"}, {"type": "dns", "address": "2001:db8::53"},
                     {"type": "ntp", "address": "192.0.2.123"}],
    });
    let request = clean(&document);
    let interface = &request.interfaces[0];
    let mac = "52:54:00:00:00:01".to_owned();
    assert_eq!(interface.kind, RequestedKind::Card(CardSelector::Mac(mac)));
    assert_eq!(interface.mtu, Some(1450));
    let addressing = interface.addressing.as_ref().unwrap();
    let addresses: Vec<_> = addressing
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(addresses, ["192.0.2.5/25", "2001:db8::5/64"]);
    let routes: Vec<_> = addressing
        .routes
        .iter()
        .map(|route| format!("{} {}", route.destination, route.gateway.unwrap()))
        .collect();
    assert_eq!(routes, ["0.0.0.0/0 192.0.2.1", "::/0 fe80::1"]);
    let servers: Vec<_> = request
        .name_servers
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(servers, ["192.0.2.53", "192.0.2.54", "2001:db8::53"]);
}

fn bond(mode: &Value) -> Value {
    json!({"id": "b", "type": "bond", "bond_links": ["a", "c"], "bond_mode": mode, "ethernet_mac_address": ""})
}

#[test]
fn the_mode_of_a_bond_is_a_name_or_a_number() {
    for written in [json!("802.3ad"), json!(4), json!("4")] {
        let request = clean(&json!({"links": [phy("a", 1), phy("c", 2), bond(&written)]}));
        let RequestedKind::Bond(found) = &request.interfaces[2].kind else {
            panic!("{written} is no bond");
        };
        assert_eq!(found.options[0], ("mode", "802.3ad".to_owned()));
        assert_eq!(found.options[1], ("miimon", "100".to_owned()));
        assert_eq!(found.members, ["a", "c"]);
    }
}

#[test]
fn options_of_a_bond_reach_the_driver_under_its_own_names() {
    let mut link = bond(&json!("802.3ad"));
    link["bond_miimon"] = json!(50);
    link["bond_xmit_hash_policy"] = json!("layer3+4");
    link["bond_lacp_rate"] = json!("fast");
    let request = clean(&json!({"links": [phy("a", 1), phy("c", 2), link]}));
    let RequestedKind::Bond(found) = &request.interfaces[2].kind else {
        panic!("no bond");
    };
    let expected = [
        ("mode", "802.3ad"),
        ("miimon", "50"),
        ("lacp_rate", "fast"),
        ("xmit_hash_policy", "layer3+4"),
    ];
    assert_eq!(
        found.options,
        expected.map(|(name, value)| (name, value.to_owned()))
    );
}

#[test]
fn options_of_a_bond_that_are_none_are_named_and_the_bond_is_kept() {
    let mut link = bond(&json!("active-backup"));
    for (key, value) in [
        ("bond_primary", json!("c")),
        ("bond_downdelay", json!(200)),
        ("bond_tlb_dynamic_lb", json!(false)),
        ("bond_all_slaves_active", json!(true)),
        ("bond_resend_igmp", json!(3)),
        ("bond_arp_ip_target", json!(["192.0.2.1", "192.0.2.2"])),
        ("bond_min_links", json!(null)),
        ("bond_speed", json!(9)),
        ("bond_lacp_rate", json!({})),
    ] {
        link[key] = value;
    }
    let document = json!({"links": [phy("a", 1), phy("c", 2), link]});
    let request = parse(&document.to_string());
    let RequestedKind::Bond(found) = &request.interfaces[2].kind else {
        panic!("no bond");
    };
    let expected = [
        ("mode", "active-backup"),
        ("miimon", "100"),
        ("downdelay", "200"),
        ("arp_ip_target", "192.0.2.1,192.0.2.2"),
        ("all_slaves_active", "1"),
        ("resend_igmp", "3"),
        ("tlb_dynamic_lb", "0"),
        ("primary", "c"),
    ];
    let expected = expected.map(|(name, value)| (name, value.to_owned()));
    assert_eq!(found.options, expected);
    let mut said = problems(&document);
    said.sort();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].contains("\"bond_speed\" is no option of a bond"),
        "{said:?}"
    );
    assert!(said[1].contains("lacp_rate is \"{}\""), "{said:?}");
    // The primary must be one of the members.
    let mut link = bond(&json!("active-backup"));
    link["bond_primary"] = json!("eth0");
    let said = problems(&json!({"links": [phy("a", 1), phy("c", 2), link]}));
    assert!(
        said[0].contains("primary is \"eth0\", expected one of bond_links"),
        "{said:?}"
    );
}

#[test]
fn vlans_lie_on_links_and_on_bonds() {
    let document = json!({"links": [
        {"id": "v", "type": "vlan", "vlan_link": "b", "vlan_id": "100", "vlan_mac_address": "52:54:00:00:00:09"},
        phy("a", 1), phy("c", 2), bond(&json!("active-backup")),
    ]});
    let request = clean(&document);
    let vlan = &request.interfaces[0];
    assert_eq!(
        vlan.kind,
        RequestedKind::Vlan {
            parent: "b".to_owned(),
            number: 100
        }
    );
    assert_eq!(vlan.mac.as_deref(), Some("52:54:00:00:00:09"));
}

#[test]
fn what_contradicts_itself_is_named_and_left_out() {
    let address = |extra: Value| {
        let mut network = json!({"id": "n", "type": "ipv4", "link": "a", "ip_address": "192.0.2.5", "netmask": "24"});
        for (key, value) in extra.as_object().unwrap() {
            network[key] = value.clone();
        }
        with_networks(&json!([network]))
    };
    let links = |links: Value| json!({"links": links});
    let vlan = |parent: &str, number: Value| json!({"id": "v", "type": "vlan", "vlan_link": parent, "vlan_id": number});
    let mut lone = bond(&json!("active-backup"));
    lone["bond_links"] = json!([]);
    for (document, expected) in [
        (json!([]), "it is not a JSON object"),
        (json!({"links": 5}), "links is \"5\", expected a list"),
        (
            links(json!(["a"])),
            "link 0: links is \"a\", expected an object",
        ),
        (
            links(json!([{"type": "phy"}])),
            "id is \"\", expected a text",
        ),
        (
            links(json!([{"id": "a"}])),
            "type is \"\", expected a kind of link",
        ),
        (
            links(json!([{"id": "a", "type": "phy"}])),
            "ethernet_mac_address is \"\", expected a hardware address",
        ),
        (
            links(json!([{"id": "a", "type": "phy", "ethernet_mac_address": "x"}])),
            "ethernet_mac_address is \"x\"",
        ),
        (
            links(json!([phy("a", 1), phy("a", 2)])),
            "one with the same id",
        ),
        (
            links(json!([phy("a", 1), phy("b", 1)])),
            "one with the same ethernet_mac_address",
        ),
        (links(json!([lone])), "bond_links is \"[]\""),
        (
            links(json!([phy("a", 1), bond(&json!("fastest"))])),
            "bond_mode is \"fastest\"",
        ),
        (
            links(json!([phy("a", 1), bond(&json!("0"))])),
            "bond_links names \"c\", and there is no such link",
        ),
        (
            links(json!([phy("a", 1), vlan("a", json!(4095))])),
            "vlan_id is \"4095\", expected a number from 1 to 4094",
        ),
        (
            links(json!([phy("a", 1), vlan("a", json!(0))])),
            "vlan_id is \"0\"",
        ),
        (
            links(json!([vlan("a", json!(5))])),
            "vlan_link names \"a\", and there is no such link",
        ),
        (links(json!([vlan("v", json!(5))])), "vlan_link names \"v\""),
        (
            address(json!({"link": "x"})),
            "link names \"x\", and there is no such link",
        ),
        (
            address(json!({"type": "ipv5"})),
            "type is \"ipv5\", expected ipv4, ",
        ),
        (
            address(json!({"ip_address": "192.0.2.300"})),
            "ip_address is \"192.0.2.300\"",
        ),
        (
            address(json!({"ip_address": "2001:db8::1"})),
            "ip_address is \"2001:db8::1\"",
        ),
        (
            address(json!({"netmask": "255.0.255.0"})),
            "ip_address is \"192.0.2.5\"",
        ),
        (
            address(json!({"netmask": null})),
            "netmask is \"null\", expected a netmask",
        ),
        (
            address(json!({"routes": [{"network": "x"}]})),
            "network is \"x\", expected a network and its netmask",
        ),
        (
            address(
                json!({"routes": [{"network": "::", "netmask": "::", "gateway": "192.0.2.1"}]}),
            ),
            "gateway is \"192.0.2.1\", expected an address of the route's family",
        ),
        (
            address(
                json!({"routes": [{"network": "0.0.0.0", "netmask": "0", "gateway": "192.0.3.1"}]}),
            ),
            "the gateway 192.0.3.1 is in none of the interface's networks; it is used all the same",
        ),
        (
            address(json!({"routes": [{"network": "203.0.113.5/24", "gateway": "192.0.2.1"}]})),
            "203.0.113.5/24 is no network; the route leads to 203.0.113.0/24",
        ),
        (
            address(json!({"services": [{"type": "dns", "address": "x"}]})),
            "address is \"x\", expected an IP address",
        ),
    ] {
        let found = problems(&document);
        assert_eq!(found.len(), 1, "{document}: {found:?}");
        assert!(found[0].contains(expected), "{document}: {found:?}");
        assert!(found[0].starts_with("network_data.json"), "{found:?}");
    }
    let found = parse("{");
    assert!(
        found.problems[0]
            .to_string()
            .contains("cannot be read: EOF"),
        "{found:?}"
    );
}

#[test]
fn an_mtu_is_one_that_a_link_can_have() {
    for (mtu, expected) in [
        (json!(1500), Some(1500)),
        (json!("9000"), Some(9000)),
        (json!(1500.0), Some(1500)),
        (json!(null), None),
    ] {
        let mut link = phy("a", 1);
        link["mtu"] = mtu;
        assert_eq!(clean(&json!({"links": [link]})).interfaces[0].mtu, expected);
    }
    for mtu in [
        json!(0),
        json!(67),
        json!(65536),
        json!(-1),
        json!("big"),
        json!(1e300),
    ] {
        let mut link = phy("a", 1);
        link["mtu"] = mtu;
        let found = problems(&json!({"links": [link]}));
        assert!(found[0].contains("mtu is"), "{found:?}");
    }
}

/// Values that a field may have, most of them wrong.
pub(crate) fn any_field() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        any::<i32>().prop_map(Value::from),
        prop_oneof![
            Just("a"),
            Just("b"),
            Just("c"),
            Just("phy"),
            Just("bond"),
            Just("vlan"),
            Just("ipv4"),
            Just("ipv6"),
            Just("ipv4_dhcp"),
            Just("ipv6_slaac"),
            Just("dns"),
            Just("192.0.2.5"),
            Just("255.255.255.0"),
            Just("2001:db8::1"),
            Just("64"),
            Just("100"),
            Just("802.3ad"),
            Just("52:54:00:00:00:01"),
            Just("52:54:00:00:00:02"),
            Just("")
        ]
        .prop_map(Value::from),
        Just(json!(["a", "b"])),
    ]
}

/// A document with the right fields and any values.
pub(crate) fn any_document() -> impl Strategy<Value = Value> {
    let item = |keys: &'static [&'static str]| {
        proptest::collection::vec(any_field(), keys.len()).prop_map(move |values| {
            let pairs = keys.iter().map(|key| (*key).to_owned()).zip(values);
            Value::Object(pairs.collect())
        })
    };
    let link = item(&[
        "id",
        "type",
        "ethernet_mac_address",
        "bond_links",
        "bond_mode",
        "vlan_link",
        "vlan_id",
        "vlan_mac_address",
        "mtu",
    ]);
    let network = item(&[
        "id",
        "type",
        "link",
        "ip_address",
        "netmask",
        "routes",
        "services",
    ]);
    let lists = (
        proptest::collection::vec(link, 0..6),
        proptest::collection::vec(network, 0..6),
    );
    lists.prop_map(|(links, networks)| json!({"links": links, "networks": networks}))
}

proptest! {
    #[test]
    fn any_document_is_read_to_its_end(document in any_document()) {
        let request = parse(&document.to_string());
        let links = document["links"].as_array().unwrap().len();
        prop_assert!(request.interfaces.len() <= links);
        // What is left holds together.
        for interface in &request.interfaces {
            match &interface.kind {
                RequestedKind::Vlan { parent, .. } => {
                    prop_assert!(ids(&request.interfaces).contains(parent));
                }
                RequestedKind::Bond(bond) => {
                    prop_assert!(!bond.members.is_empty());
                    prop_assert!(bond.members.iter().all(|id| is_card(&request.interfaces, id)));
                }
                RequestedKind::Card(_) => {}
            }
        }
    }

    #[test]
    fn any_text_is_read_to_its_end(text in ".{0,200}") {
        parse(&text);
    }
}
