use proptest::prelude::*;

use super::*;

fn clean(line: &str) -> NetworkRequest {
    let request = parse(line);
    assert_eq!(request.problems, [], "{line}");
    request
}

/// `id: addressing; addresses; routes` of every interface that is asked for.
fn shown(request: &NetworkRequest) -> Vec<String> {
    let interfaces = request.interfaces.iter();
    interfaces
        .map(|interface| {
            let all = interface.all_addressing();
            let (addressing, how) = match &interface.addressing {
                Some(addressing) => (&all, addressing.to_string()),
                None => (&all, "-".to_owned()),
            };
            let addresses: Vec<_> = addressing
                .addresses
                .iter()
                .map(ToString::to_string)
                .collect();
            let routes = addressing.routes.iter().map(|route| match route.gateway {
                Some(gateway) => format!("{} via {gateway}", route.destination),
                None => route.destination.to_string(),
            });
            let routes: Vec<_> = routes.collect();
            format!(
                "{}: {how}; {}; {}",
                interface.id,
                addresses.join(" "),
                routes.join(" ")
            )
        })
        .collect()
}

#[test]
fn methods_hold_for_all_cards() {
    for (line, dhcp4, ipv6) in [
        ("ip=dhcp", true, Ipv6Method::Automatic),
        ("ip=on", true, Ipv6Method::Automatic),
        ("ip=any", true, Ipv6Method::Automatic),
        ("ip=single-dhcp", true, Ipv6Method::Automatic),
        ("ip=dhcp6", false, Ipv6Method::Stateful),
        ("ip=auto6", false, Ipv6Method::Slaac),
        ("ip=either6", false, Ipv6Method::Automatic),
        ("ip=link6", false, Ipv6Method::Off),
        ("ip=dhcp ip=dhcp6", true, Ipv6Method::Stateful),
    ] {
        let all = clean(line).other_cards.unwrap();
        assert_eq!((all.dhcp4, all.ipv6), (dhcp4, ipv6), "{line}");
    }
    assert_eq!(clean("quiet console=ttyS0").other_cards, None);
}

#[test]
fn interfaces_are_named_by_name_or_hardware_address() {
    let request = clean("ip=eth0:dhcp:1400:52:54:00:00:00:09 ip=52-54-00-00-00-01:auto6 quiet");
    assert_eq!(
        shown(&request),
        [
            "eth0: DHCPv4, IPv6 as routers advertise; ; ",
            "52-54-00-00-00-01: SLAAC; ; "
        ]
    );
    assert_eq!(request.interfaces[0].mtu, Some(1400));
    assert_eq!(
        request.interfaces[0].mac.as_deref(),
        Some("52:54:00:00:00:09")
    );
    let mac = CardSelector::Mac("52:54:00:00:00:01".to_owned());
    assert_eq!(request.interfaces[1].kind, RequestedKind::Card(mac));
    // A command line that names some means no others.
    assert_eq!(request.other_cards, Some(Addressing::default()));
}

#[test]
fn fixed_addresses_are_read_in_both_families() {
    for (line, expected) in [
        (
            "ip=192.0.2.5::192.0.2.1:255.255.255.0:name:eth0:none",
            "eth0: static; 192.0.2.5/24; 0.0.0.0/0 via 192.0.2.1",
        ),
        (
            "ip=192.0.2.5:::24::eth0:off",
            "eth0: static; 192.0.2.5/24; ",
        ),
        (
            "ip=192.0.2.5/24::192.0.2.1:::eth0:",
            "eth0: static; 192.0.2.5/24; 0.0.0.0/0 via 192.0.2.1",
        ),
        (
            "ip=[2001:db8::5]::[2001:db8::1]:64::eth0:none",
            "eth0: static; 2001:db8::5/64; ::/0 via 2001:db8::1",
        ),
        (
            "ip=[2001:db8::5/64]:::::eth0:none",
            "eth0: static; 2001:db8::5/64; ",
        ),
        ("ip=192.0.2.5:::24:::none", ": static; 192.0.2.5/24; "),
        (
            "ip=:::::eth0:dhcp",
            "eth0: DHCPv4, IPv6 as routers advertise; ; ",
        ),
        (
            "ip=192.0.2.5:::24::eth0:none ip=[2001:db8::5]:::64::eth0:none",
            "eth0: static; 192.0.2.5/24 2001:db8::5/64; ",
        ),
    ] {
        assert_eq!(shown(&clean(line)), [expected], "{line}");
    }
    let request =
        clean("ip=192.0.2.5:::24::eth0:none:192.0.2.53:[2001:db8::53] nameserver=192.0.2.54");
    let servers: Vec<_> = request
        .name_servers
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(servers, ["192.0.2.53", "2001:db8::53", "192.0.2.54"]);
    let request = clean("ip=192.0.2.5:::24::eth0:none:9000:52-54-00-00-00-09");
    assert_eq!(request.interfaces[0].mtu, Some(9000));
    assert_eq!(
        request.interfaces[0].mac.as_deref(),
        Some("52:54:00:00:00:09")
    );
}

#[test]
fn bonds_and_vlans_carry_what_is_asked_of_them() {
    let line = "ip=bond0.100:dhcp vlan=bond0.100:bond0 \
                bond=bond0:eth0,52-54-00-00-00-02:mode=802.3ad,lacp_rate=fast:9000";
    let request = clean(line);
    let of = |id: &str| {
        request
            .interfaces
            .iter()
            .find(|wanted| wanted.id == id)
            .unwrap()
    };
    let bond = RequestedBond {
        members: vec!["eth0".to_owned(), "52-54-00-00-00-02".to_owned()],
        options: vec![
            ("mode", "802.3ad".to_owned()),
            ("miimon", "100".to_owned()),
            ("lacp_rate", "fast".to_owned()),
        ],
    };
    let vlan = RequestedKind::Vlan {
        parent: "bond0".to_owned(),
        number: 100,
    };
    assert_eq!(of("bond0").kind, RequestedKind::Bond(bond));
    assert_eq!(of("bond0.100").kind, vlan);
    assert_eq!(of("bond0").mtu, Some(9000));
    assert!(
        of("bond0.100")
            .addressing
            .as_ref()
            .is_some_and(|all| all.dhcp4)
    );
    for (name, number) in [
        ("vlan0005", 5),
        ("vlan5", 5),
        ("eth0.0005", 5),
        ("eth0.5", 5),
        ("eth0.4094", 4094),
    ] {
        let request = clean(&format!("vlan={name}:eth0"));
        let vlan = RequestedKind::Vlan {
            parent: "eth0".to_owned(),
            number,
        };
        assert_eq!(request.interfaces[1].kind, vlan, "{name}");
    }
    let request = clean("bond=bond0");
    let RequestedKind::Bond(found) = &request.interfaces[2].kind else {
        panic!("no bond: {request:?}");
    };
    assert_eq!(found.members, ["eth0", "eth1"]);
    assert_eq!(found.options[0], ("mode", "balance-rr".to_owned()));
    let request = clean("bond=b:eth0:mode=1,arp_interval=100,arp_ip_target=192.0.2.1;192.0.2.2");
    let RequestedKind::Bond(found) = &request.interfaces[1].kind else {
        panic!("no bond: {request:?}");
    };
    assert_eq!(
        found.options[2],
        ("arp_ip_target", "192.0.2.1,192.0.2.2".to_owned())
    );
}

#[test]
fn a_bond_is_made_without_an_option_that_is_none() {
    let line = "bond=b:eth0:mode=802.3ad,speed=9,ad_actor_system=02-00-00-00-00-01,resend_igmp=1,lp_interval";
    let request = parse(line);
    let RequestedKind::Bond(found) = &request.interfaces[1].kind else {
        panic!("no bond: {request:?}");
    };
    let expected = [
        ("mode", "802.3ad"),
        ("miimon", "100"),
        ("ad_actor_system", "02:00:00:00:00:01"),
        ("resend_igmp", "1"),
    ];
    let expected = expected.map(|(name, value)| (name, value.to_owned()));
    assert_eq!(found.options, expected);
    let said: Vec<_> = request.problems.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].contains("\"speed=9\" is no option of a bond"),
        "{said:?}"
    );
    assert!(
        said[1].contains("\"lp_interval\" is no option of a bond"),
        "{said:?}"
    );
}

#[test]
fn routes_go_to_the_interface_whose_network_has_the_gateway() {
    let line = "rd.route=198.51.100.0/24:192.0.2.2 rd.route=[2001:db8:3::/48]:[2001:db8::2]:eth1 \
                rd.route=203.0.113.0/24::eth1 ip=10.0.0.5:::24::eth1:none ip=192.0.2.5:::24::eth0:none";
    let expected = [
        "eth1: static; 10.0.0.5/24; 2001:db8:3::/48 via 2001:db8::2 203.0.113.0/24",
        "eth0: static; 192.0.2.5/24; 198.51.100.0/24 via 192.0.2.2",
    ];
    assert_eq!(shown(&clean(line)), expected);
}

#[test]
fn a_route_to_an_address_leads_to_its_network() {
    let request = parse("rd.route=203.0.113.5/24:192.0.2.2:eth0");
    assert_eq!(shown(&request), ["eth0: -; ; 203.0.113.0/24 via 192.0.2.2"]);
    let said = request.problems[0].to_string();
    assert!(
        said.ends_with("203.0.113.5/24 is no network; the route leads to 203.0.113.0/24"),
        "{said}"
    );
}

#[test]
fn a_route_alone_says_nothing_of_addresses() {
    let route = "rd.route=198.51.100.0/24:192.0.2.2";
    for (line, expected, others) in [
        (
            route.to_owned(),
            ": -; ; 198.51.100.0/24 via 192.0.2.2",
            None,
        ),
        (
            format!("ip=dhcp {route}"),
            ": -; ; 198.51.100.0/24 via 192.0.2.2",
            Some(Addressing::automatic()),
        ),
        (
            format!("{route}:eth1"),
            "eth1: -; ; 198.51.100.0/24 via 192.0.2.2",
            None,
        ),
        (
            format!("ip=eth1:dhcp {route}"),
            "eth1: DHCPv4, IPv6 as routers advertise; ; 198.51.100.0/24 via 192.0.2.2",
            Some(Addressing::default()),
        ),
    ] {
        let request = clean(&line);
        assert_eq!(shown(&request), [expected], "{line}");
        assert_eq!(request.other_cards, others, "{line}");
    }
}

#[test]
fn what_is_not_understood_is_named() {
    for line in [
        "ip=",
        "ip=x",
        "ip=ibft",
        "ip=eth0:ibft",
        "ip=eth0:dhcp:big",
        "ip=eth0:dhcp:1500:xx",
        "ip=e/h0:dhcp",
        "ip=192.0.2.5::192.0.2.1:::eth0:none",
        "ip=192.0.2.5::192.0.2.1:255.0.255.0::eth0:none",
        "ip=192.0.2.300:::24::eth0:none",
        "ip=192.0.2.5:192.0.2.9::24::eth0:none",
        "ip=2001:db8::5:::64::eth0:none",
        "ip=192.0.2.5:::24::eth0:maybe",
        "vlan=",
        "vlan=eth0",
        "vlan=blue:eth0",
        "vlan=eth0.0:eth0",
        "vlan=eth0.4095:eth0",
        "vlan=eth0.5:",
        "vlan=eth0.5:eth0.5",
        "bond=b:eth0:mode=9",
        "bond=b:eth0:speed=9",
        "bond=b:eth0:mode",
        "bond=b:e/0",
        "bond=b:eth0:mode=1:0",
        "bond=../b:eth0",
        "bond=b:eth0:primary=../x",
        "nameserver=x",
        "nameserver=",
        "rd.route=x",
        "rd.route=192.0.2.0:192.0.2.1",
        "rd.route=192.0.2.0/24:",
        "rd.route=192.0.2.0/24:192.0.2.1:a/b",
        "team=team0:eth0,eth1",
        "bridge=br0:eth0",
        "ifname=boot:52:54:00:00:00:01",
    ] {
        let request = parse(line);
        assert_eq!(request.problems.len(), 1, "{line}: {:?}", request.problems);
        let value = line.split_once('=').unwrap().1;
        assert!(
            request.problems[0].to_string().contains(value),
            "{:?}",
            request.problems
        );
    }
}

#[test]
fn the_card_that_was_booted_from_is_found_in_every_form() {
    let mac = |text: &str| Some(CardSelector::Mac(text.to_owned()));
    let plain = mac("52:54:00:00:00:01");
    for (line, expected) in [
        ("BOOTIF=01-52-54-00-00-00-01", plain.clone()),
        ("BOOTIF=52:54:00:00:00:01", plain.clone()),
        ("BOOTIF=01-52-54-00-00-00-AA", mac("52:54:00:00:00:aa")),
        (
            "BOOTIF=01-aa-aa-aa-aa-aa-aa BOOTIF=01-52-54-00-00-00-01",
            plain,
        ),
        ("BOOTIF=01-52-54-00-00-00-01 rd.bootif=0", None),
        ("BOOTIF=${mac}", None),
        ("bootdev=eth1", Some(CardSelector::Name("eth1".to_owned()))),
        ("quiet", None),
    ] {
        assert_eq!(boot_card(line), expected, "{line}");
    }
}

/// Words of the form of the parameters that are read, most of them wrong.
pub(crate) fn any_line() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        Just("ip="),
        Just("vlan="),
        Just("bond="),
        Just("nameserver="),
        Just("rd.route="),
        Just("BOOTIF="),
        Just("x=")
    ];
    let part = prop_oneof![
        Just("eth0"),
        Just("eth1"),
        Just("eth0.5"),
        Just("bond0"),
        Just("dhcp"),
        Just("dhcp6"),
        Just("none"),
        Just("192.0.2.5"),
        Just("[2001:db8::5]"),
        Just("192.0.2.0/24"),
        Just("255.255.255.0"),
        Just("64"),
        Just("1500"),
        Just("mode=1"),
        Just("52-54-00-00-00-01"),
        Just("52:54:00:00:00:02"),
        Just(""),
        Just("["),
        Just("eth0,eth1"),
        Just("ä")
    ];
    let word = (key, proptest::collection::vec(part, 0..9));
    let word = word.prop_map(|(key, parts)| format!("{key}{}", parts.join(":")));
    proptest::collection::vec(word, 0..8).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn any_line_is_read_to_its_end(line in any_line()) {
        let request = parse(&line);
        for interface in &request.interfaces {
            if let RequestedKind::Card(CardSelector::Name(name)) = &interface.kind {
                prop_assert!(address::is_interface_name(name), "{name:?}");
            }
        }
        boot_card(&line);
    }

    #[test]
    fn any_text_is_read_to_its_end(text in ".{0,200}") {
        parse(&text);
        boot_card(&text);
    }
}
