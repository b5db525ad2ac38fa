use super::*;
use crate::network::card::NetworkCard;
use crate::network::kernel_parameters;
use crate::network::plan::{PlanInputs, plan};
use crate::network::state::InterfaceState;

fn planned(line: &str) -> NetworkPlan {
    let card = |number: u32| NetworkCard {
        name: format!("eth{number}"),
        index: number + 2,
        mac: format!("52:54:00:00:00:{number:02x}"),
        is_infiniband: false,
    };
    let inputs = PlanInputs {
        kernel: kernel_parameters::parse(line),
        boot_card: kernel_parameters::boot_card(line),
        has_ipv6: true,
        ..PlanInputs::default()
    };
    plan(&inputs, &[card(0), card(1), card(2)])
}

fn with(states: &[(&str, bool, &[&str])]) -> NetworkState {
    let state = |(name, has_carrier, addresses): &(&str, bool, &[&str])| {
        let state = InterfaceState {
            has_carrier: *has_carrier,
            addresses: addresses
                .iter()
                .map(|address| address.parse().unwrap())
                .collect(),
            gateways: Vec::new(),
        };
        ((*name).to_owned(), state)
    };
    NetworkState {
        interfaces: states.iter().map(state).collect(),
        name_servers: Vec::new(),
    }
}

#[test]
fn the_block_says_what_every_interface_has_and_why() {
    let line = "bond=bond0:eth0,eth1:mode=1 vlan=bond0.7:bond0 ip=bond0:dhcp ip=192.0.2.5:::24::bond0.7:none ip=eth9:dhcp";
    let mut state = with(&[
        ("eth0", true, &[]),
        ("bond0", true, &[]),
        ("bond0.7", true, &["192.0.2.5"]),
    ]);
    state.name_servers = vec!["192.0.2.53".to_owned()];
    state.interfaces.get_mut("bond0.7").unwrap().gateways = vec!["192.0.2.1".parse().unwrap()];
    let text = block(
        &planned(line),
        &state,
        &["eth0: refused\u{1b}[2J".to_owned()],
    );
    let expected = [
        "network: what every interface has, and why",
        "network:   eth0 52:54:00:00:00:00, member of bond0 (kernel parameter bond=bond0:eth0,eth1:mode=1)",
        "network:   eth1 52:54:00:00:00:01, member of bond0: no carrier (kernel parameter bond=bond0:eth0,eth1:mode=1)",
        "network:   bond0, bond active-backup of eth0 and eth1: NO ADDRESS yet (DHCPv4, IPv6 as routers advertise; kernel \
         parameter bond=bond0:eth0,eth1:mode=1)",
        "network:   bond0.7, VLAN 7 on bond0: 192.0.2.5, gateway 192.0.2.1 (static; kernel parameter vlan=bond0.7:bond0)",
        "network:   eth2 52:54:00:00:00:02: no carrier (no addresses; ip= names other interfaces)",
        "network:   name servers: 192.0.2.53",
        "network:   PROBLEM: kernel parameter ip=eth9:dhcp: there is no card eth9; there are eth0 (52:54:00:00:00:00), \
         eth1 (52:54:00:00:00:01), eth2 (52:54:00:00:00:02)",
    ];
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..expected.len()], expected, "{text}");
    assert!(!text.contains('\u{1b}'));
    let nothing = block(&NetworkPlan::default(), &NetworkState::default(), &[]);
    assert!(nothing.contains("there is no card that this ramdisk has a driver for"));
    assert!(nothing.contains("name servers: none"));
    let many: Vec<_> = (0..100).map(|number| format!("problem {number}")).collect();
    let text = block(&NetworkPlan::default(), &NetworkState::default(), &many);
    assert!(text.ends_with("PROBLEM: and 68 more\n"), "{text}");
}

#[test]
fn the_first_address_is_that_of_the_card_that_was_booted_from() {
    let both = with(&[
        ("eth0", true, &["192.0.2.5"]),
        ("eth1", true, &["192.0.2.6", "2001:db8::6"]),
    ]);
    let first = |line: &str, state: &NetworkState| first_address(&planned(line), state);
    assert_eq!(first("", &both).as_deref(), Some("eth0 has 192.0.2.5"));
    let boot = "BOOTIF=01-52-54-00-00-00-01";
    assert_eq!(
        first(boot, &both).as_deref(),
        Some("eth1 has 192.0.2.6, 2001:db8::6")
    );
    // An address cannot be used without a carrier.
    let unplugged = with(&[("eth0", false, &["192.0.2.5"])]);
    assert_eq!(first("", &unplugged), None);
}
