use super::*;
use crate::network::request::StaticAddress;

fn planned(addressing: Addressing) -> PlannedInterface {
    PlannedInterface {
        name: "eth0".to_owned(),
        kind: PlannedKind::Card,
        mac: None,
        sets_mac: false,
        mtu: None,
        addressing,
        metric: 203,
        static_metric: 103,
        is_preferred: false,
        reason: String::new(),
    }
}

#[test]
fn the_client_is_asked_for_what_the_plan_says() {
    for (dhcp4, ipv6, expected, file) in [
        (true, Ipv6Method::Automatic, "", "eth0"),
        (true, Ipv6Method::Off, "--ipv4only ", "eth0-4"),
        (false, Ipv6Method::Automatic, "--ipv6only ", "eth0-6"),
        (false, Ipv6Method::Slaac, "--ipv6only --nodhcp6 ", "eth0-6"),
        (
            false,
            Ipv6Method::Stateless,
            "--ipv6only --inform6 ",
            "eth0-6",
        ),
        (false, Ipv6Method::Stateful, "--ipv6only --ia_na ", "eth0-6"),
        (true, Ipv6Method::Stateful, "--ia_na ", "eth0"),
    ] {
        let addressing = Addressing {
            dhcp4,
            ipv6,
            ..Addressing::default()
        };
        let interface = planned(addressing);
        let command = client(&interface).to_string();
        let start = "dhcpcd --background --logfile /var/log/dhcp.log --metric 203";
        assert_eq!(command, format!("{start} {expected}eth0"));
        let expected = format!("/run/dhcpcd/{file}.pid");
        assert_eq!(client_pid_file(&interface), expected);
    }
}

#[test]
fn a_second_gateway_does_not_replace_the_first() {
    let route = |gateway: &str| StaticRoute {
        destination: StaticAddress {
            address: "0.0.0.0".parse().unwrap(),
            prefix: 0,
        },
        gateway: Some(gateway.parse().unwrap()),
    };
    let gateways = ["192.0.2.1", "192.0.2.2", "192.0.2.1"];
    let routes = gateways.map(route).to_vec();
    let interface = planned(Addressing {
        routes,
        ..Addressing::default()
    });
    let steps = set_up(&interface);
    let routes: Vec<_> = steps
        .iter()
        .filter_map(|step| match step {
            SetupStep::Run(cmd) => Some(cmd.to_string()).filter(|line| line.contains("route")),
            SetupStep::Write { .. } => None,
        })
        .collect();
    let start = "ip -4 route replace default via";
    let expected = [
        format!("{start} 192.0.2.1 dev eth0 onlink metric 103"),
        format!("{start} 192.0.2.2 dev eth0 onlink metric 104"),
    ];
    assert_eq!(routes, expected);
}

#[test]
fn a_member_is_left_to_its_bond() {
    let mut member = planned(Addressing::automatic());
    member.kind = PlannedKind::Member("bond0".to_owned());
    assert_eq!(set_up(&member), []);
}

#[test]
fn the_mode_of_a_bond_is_set_before_its_members_and_the_primary_after() {
    let mut bond = planned(Addressing::default());
    bond.name = "bond0".to_owned();
    let option = |name, value: &str| (name, value.to_owned());
    bond.kind = PlannedKind::Bond {
        members: vec!["eth0".to_owned(), "eth1".to_owned()],
        options: vec![
            option("mode", "active-backup"),
            option("primary", "eth1"),
            option("arp_ip_target", "192.0.2.1,192.0.2.2"),
        ],
    };
    let steps: Vec<_> = set_up(&bond)
        .into_iter()
        .map(|step| match step {
            SetupStep::Run(cmd) => cmd.to_string(),
            SetupStep::Write { path, value } => {
                let (_, file) = path.rsplit_once('/').unwrap();
                format!("{file}={value}")
            }
        })
        .collect();
    let expected = [
        "modprobe bonding max_bonds=0",
        "ip link add name bond0 type bond",
        "mode=active-backup",
        "arp_ip_target=+192.0.2.1",
        "arp_ip_target=+192.0.2.2",
        "accept_dad=0",
        "accept_ra=0",
        "ip link set dev eth0 down",
        "ip link set dev eth0 master bond0",
        "ip link set dev eth0 up",
        "ip link set dev eth1 down",
        "ip link set dev eth1 master bond0",
        "ip link set dev eth1 up",
        "primary=eth1",
        "ip link set dev bond0 up",
    ];
    assert_eq!(steps, expected);
}
