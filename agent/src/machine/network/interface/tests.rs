use super::*;
use crate::machine::testing::{FakeMachine, Programs};

fn link(name: &str, last: u8, addresses: &[&str]) -> NetworkLink {
    NetworkLink {
        index: u32::from(last),
        name: name.into(),
        address: vec![0, 0x0c, 0x29, 0x8c, 0x11, last],
        ip_addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        ..NetworkLink::default()
    }
}

#[test]
fn hardware_vlans_and_bonds_are_listed() {
    let mut machine = FakeMachine::new();
    machine.interface(link("lo", 1, &["127.0.0.1"]), None);
    let eth0 = machine.interface(
        link(
            "eth0",
            2,
            &["192.168.1.2", "192.168.1.3", "fd00::101", "fe80::1"],
        ),
        Some("0000:02:00.0"),
    );
    machine
        .file(&format!("{eth0}/carrier"), "1")
        .file(&format!("{eth0}/speed"), "25000");
    let bond = machine.interface(link("bond0", 3, &[]), None);
    machine.directory(&format!("{bond}/bonding"));
    machine.interface(link("eth0.100", 4, &["fe80::2"]), None);
    machine.interface(link("eth0.1.2", 5, &[]), None);
    machine.interface(link("br0", 6, &[]), None);
    let interfaces = probe(&machine.system());
    let names: Vec<_> = interfaces.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["eth0", "bond0", "eth0.100"]);
    assert_eq!(
        interfaces[0].to_json(),
        json!({
            "name": "eth0", "mac_address": "00:0c:29:8c:11:02",
            "ipv4_address": "192.168.1.2", "ipv6_address": "fd00::101",
            "has_carrier": true, "lldp": null, "vendor": "0x8086", "product": "0x10d3",
            "client_id": null, "biosdevname": null, "speed_mbps": 100_000,
            "pci_address": "0000:02:00.0", "driver": "e1000e",
        })
    );
    assert!(!interfaces[1].has_carrier);
    assert_eq!(
        (interfaces[1].speed_mbps, &interfaces[1].driver),
        (None, &None)
    );
    assert_eq!(
        interfaces[2].ipv6_address().as_deref(),
        Some("fe80::2%eth0.100")
    );
}

#[test]
fn a_virtio_interface_has_the_name_of_its_bus_for_an_address() {
    let mut machine = FakeMachine::new();
    machine.interface(link("eth0", 2, &[]), Some("virtio2"));
    machine.file("sys/devices/pci0000:00/virtio2/vendor", "0x1af4");
    let found = probe(&machine.system()).remove(0).to_json();
    assert_eq!(
        [&found["pci_address"], &found["vendor"]],
        ["virtio2", "0x1af4"]
    );
}

#[test]
fn the_permanent_address_wins_unless_it_is_absent() {
    let cases = [
        (vec![0x52, 0x54, 0, 0xAB, 0, 1], Some("52:54:00:ab:00:01")),
        (vec![0; 6], Some("00:0c:29:8c:11:02")),
        (vec![], Some("00:0c:29:8c:11:02")),
    ];
    for (permanent, mac) in cases {
        let mut machine = FakeMachine::new();
        let link = NetworkLink {
            permanent_address: permanent,
            ..link("eth0", 2, &[])
        };
        machine.interface(link, Some("0000:02:00.0"));
        let interfaces = probe(&machine.system());
        assert_eq!(interfaces.first().map(|i| i.mac_address.as_str()), mac);
    }
    let mut machine = FakeMachine::new();
    let none = NetworkLink {
        address: vec![0; 6],
        ..link("eth0", 2, &[])
    };
    machine.interface(none, Some("0000:02:00.0"));
    assert_eq!(probe(&machine.system()), []);
}

#[test]
fn infiniband_ports_have_an_address_of_ethernet_and_a_client_identifier() {
    let address = "a0:00:00:27:fe:80:00:00:00:00:00:00:7c:fe:90:03:00:29:26:52";
    let expected = (
        "7c:fe:90:29:26:52".to_owned(),
        "ff:00:00:00:00:00:02:00:00:02:c9:00:7c:fe:90:03:00:29:26:52".to_owned(),
    );
    assert_eq!(infiniband(Some("0x15b3"), address), Some(expected));
    assert_eq!(infiniband(Some("0x8086"), address), None);
    assert_eq!(infiniband(Some("0x15b3"), "7c:fe:90:29:26:52"), None);

    let mut machine = FakeMachine::new();
    let octets = address.split(':').map(|text| u8::from_str_radix(text, 16));
    let port = machine.interface(
        NetworkLink {
            address: octets.collect::<Result<_, _>>().unwrap(),
            ..link("ib0", 2, &[])
        },
        Some("0000:02:00.0"),
    );
    machine.file(&format!("{port}/device/vendor"), "0x15b3");
    let found = probe(&machine.system()).remove(0);
    assert_eq!(found.mac_address, "7c:fe:90:29:26:52");
    assert!(found.client_id.unwrap().starts_with("ff:00:00:00:00:00:02"));
}

#[test]
fn any_interface_may_be_asked_for_its_address() {
    let mut machine = FakeMachine::new();
    machine.interface(link("br0", 2, &["fe80::1", "192.0.2.7", "192.0.2.8"]), None);
    machine.interface(link("veth0", 3, &["fe80::2"]), None);
    let system = machine.system();
    assert_eq!(probe(&system), []);
    let first = "192.0.2.7".parse().ok();
    assert_eq!(ipv4_address(&system, "br0"), first);
    assert_eq!(ipv4_address(&system, "veth0"), None);
    assert_eq!(ipv4_address(&system, "br1"), None);
}

/// The same with the kernel's own interfaces, in a network of the test's own.
#[test]
fn interfaces_of_every_kind_have_their_address() {
    const NAME: &str = "interfaces_of_every_kind_have_their_address";
    const WITHIN: &str = "IRONIC_TEST_IN_A_NETWORK_OF_ITS_OWN";
    const KINDS: [(&str, &str); 6] = [
        ("link0", "link0 type veth peer name link1"),
        ("br0", "br0 type bridge"),
        ("bond0", "bond0 type bond"),
        ("team0", "team0 type team"),
        ("link1.5", "link link1 name link1.5 type vlan id 5"),
        ("dummy0", "dummy0 type dummy"),
    ];
    let Some(programs) = Programs::find(NAME) else {
        return;
    };
    if std::env::var_os(WITHIN).is_none() {
        let status = programs
            .command("unshare")
            .args(["--map-root-user", "--net"])
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                &format!("machine::network::interface::tests::{NAME}"),
                "--nocapture",
            ])
            .env(WITHIN, "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let ip = |arguments: String| {
        let words: Vec<&str> = arguments.split_whitespace().collect();
        programs
            .command("ip")
            .args(words)
            .output()
            .unwrap()
            .status
            .success()
    };
    let mut made = Vec::new();
    for (index, (name, how)) in (1..).zip(KINDS) {
        if !ip(format!("link add {how}")) {
            eprintln!("this kernel has no {name}");
            continue;
        }
        assert!(
            ip(format!("address add 192.0.2.{index}/24 dev {name}")),
            "{name}"
        );
        let expected = format!("192.0.2.{index}").parse().ok();
        assert_eq!(ipv4_address(&System::linux(), name), expected, "{name}");
        made.push(name);
    }
    assert!(made.contains(&"br0") && made.contains(&"link0"), "{made:?}");
}

#[test]
fn only_on_usb_does_the_address_of_a_bmc_hide_an_interface() {
    let bmc = NetworkLink {
        address: vec![0xfa, 0x16, 0x3e, 0, 0, 1],
        ..link("eth0", 2, &[])
    };
    let mut machine = FakeMachine::new();
    machine.interface(bmc.clone(), Some("0000:02:00.0"));
    assert_eq!(probe(&machine.system()).len(), 1);
    let mut machine = FakeMachine::new();
    machine.interface(bmc, Some("0000:00:14.0/usb1/1-1/1-1:1.0"));
    assert_eq!(probe(&machine.system()), []);
}
