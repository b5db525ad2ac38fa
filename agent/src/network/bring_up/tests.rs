use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::machine::testing::FakeMachine;
use crate::system::network::NetworkLink;
use crate::system::process::Script;
use crate::system::{Output, RunError};

fn card(machine: &mut FakeMachine, name: &str, index: u8, carrier: bool) {
    card_with(machine, name, index, carrier, &[]);
}

/// A card that has addresses already, as after a lease.
fn card_with(machine: &mut FakeMachine, name: &str, index: u8, carrier: bool, addresses: &[&str]) {
    let link = NetworkLink {
        ip_addresses: addresses
            .iter()
            .map(|address| address.parse().unwrap())
            .collect(),
        index: index.into(),
        name: name.to_owned(),
        address: vec![0x52, 0x54, 0, 0, 0, index],
        ..NetworkLink::default()
    };
    let path = machine.interface(link, Some(&format!("0000:00:{index:02x}.0")));
    machine
        .file(&format!("{path}/ifindex"), &index.to_string())
        .file(&format!("{path}/type"), "1")
        .file(&format!("{path}/carrier"), if carrier { "1" } else { "0" })
        .directory(&format!("proc/sys/net/ipv6/conf/{name}"));
}

async fn bring_up(machine: &FakeMachine, script: Arc<Script>, line: &str) -> BringUp {
    let path = machine.path().join("proc/cmdline");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, line).unwrap();
    let mut bring_up = BringUp::new(machine.system_with(script), Vec::new());
    bring_up.read_inputs().await;
    bring_up
}

fn refusal() -> Result<Output, RunError> {
    Err(RunError::Failed {
        program: "ip".to_owned(),
        command: "ip link set dev eth0 mtu 9000".to_owned(),
        status: 2,
        stderr: "ip: SIOCSIFMTU: Invalid argument\n".to_owned(),
    })
}

const CLIENT: &str = "dhcpcd --background --logfile /var/log/dhcp.log --metric";

#[tokio::test]
async fn a_client_is_started_where_a_carrier_is_and_once() {
    let mut machine = FakeMachine::new();
    card(&mut machine, "eth0", 2, true);
    card(&mut machine, "eth1", 3, false);
    let script = Arc::new(
        Script::new()
            .expect("ip link set dev eth0 up", "")
            .expect("ip link set dev eth1 up", "")
            .expect(&format!("{CLIENT} 1002100 eth0"), "")
            .expect(&format!("{CLIENT} 1003100 eth1"), ""),
    );
    let mut bring_up = bring_up(&machine, script.clone(), "quiet").await;
    bring_up.step().await;
    bring_up.step().await;
    let dad = machine
        .path()
        .join("proc/sys/net/ipv6/conf/eth0/accept_dad");
    assert_eq!(std::fs::read_to_string(dad).unwrap(), "0\n");
    machine.file("sys/class/net/eth1/carrier", "1");
    bring_up.step().await;
    bring_up.step().await;
    script.assert_done();
    assert!(bring_up.refused.is_empty());
}

/// Time passes, and nothing else.
async fn after(seconds: u64, bring_up: &mut BringUp) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
    bring_up.step().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_is_started_again_ever_more_slowly() {
    let mut machine = FakeMachine::new();
    card(&mut machine, "eth0", 2, true);
    let client = format!("{CLIENT} 1002100 eth0");
    let mut script = Script::new().expect("ip link set dev eth0 up", "");
    for _ in 0..4 {
        script = script.expect(&client, "");
    }
    let script = Arc::new(script);
    let mut bring_up = bring_up(&machine, script.clone(), "quiet").await;
    bring_up.step().await;
    let pid = "run/dhcpcd/eth0.pid";
    machine.file(pid, "77");
    machine.file("proc/77/stat", "77 (dhcpcd) S 1 77 77 0");
    after(600, &mut bring_up).await;
    // Its number, now that of another program; its remains.
    machine.file("proc/77/stat", "77 (dhcpcdx) S 1 77 77 0");
    after(1, &mut bring_up).await;
    machine.file("proc/77/stat", "77 (dhcpcd) Z 1 77 77 0");
    after(1, &mut bring_up).await;
    std::fs::remove_file(machine.path().join(pid)).unwrap();
    after(1, &mut bring_up).await;
    // 1, 2, 4 s after the start before; not sooner.
    after(1, &mut bring_up).await;
    script.assert_done();
    machine.file("sys/class/net/eth0/carrier", "0");
    after(600, &mut bring_up).await;
    assert!(bring_up.refused.is_empty(), "{:?}", bring_up.refused);
}

#[tokio::test]
async fn a_client_of_an_earlier_run_goes_on() {
    let mut machine = FakeMachine::new();
    card(&mut machine, "eth0", 2, true);
    machine.file("run/dhcpcd/eth0.pid", "77");
    machine.file("proc/77/stat", "77 (dhcpcd) S 1 77 77 0");
    let script = Arc::new(Script::new().expect("ip link set dev eth0 up", ""));
    let mut bring_up = bring_up(&machine, script.clone(), "quiet").await;
    bring_up.step().await;
    script.assert_done();
}

#[tokio::test]
async fn a_bond_and_a_vlan_on_it_are_made_and_take_members_that_come_late() {
    let mut machine = FakeMachine::new();
    card(&mut machine, "eth0", 2, true);
    for name in ["bond0", "bond0.7"] {
        machine
            .directory(&format!("sys/class/net/{name}/bonding"))
            .directory(&format!("proc/sys/net/ipv6/conf/{name}"))
            .file(&format!("sys/class/net/{name}/carrier"), "1");
    }
    let script = Arc::new(
        Script::new()
            .expect("modprobe bonding max_bonds=0", "")
            .expect("ip link add name bond0 type bond", "")
            .expect("ip link set dev eth0 down", "")
            .expect("ip link set dev eth0 master bond0", "")
            .expect("ip link set dev eth0 up", "")
            .expect("ip link set dev bond0 mtu 9000", "")
            .expect("ip link set dev bond0 up", "")
            .expect("ip link add link bond0 name bond0.7 type vlan id 7", "")
            .expect("ip link set dev bond0.7 address 52:54:00:00:00:77", "")
            .expect("ip link set dev bond0.7 up", "")
            .expect("ip addr add 192.0.2.5/24 dev bond0.7", "")
            .expect("ip addr add 2001:db8::5/64 dev bond0.7", "")
            .expect(
                "ip -4 route replace 203.0.113.0/24 dev bond0.7 metric 2110",
                "",
            )
            .expect(
                "ip -4 route replace 198.51.100.0/24 via 192.0.2.2 dev bond0.7 onlink metric 2110",
                "",
            )
            .expect(
                "ip -4 route replace default via 192.0.2.1 dev bond0.7 onlink metric 2110",
                "",
            )
            .expect(
                "ip -6 route replace default via 2001:db8::1 dev bond0.7 onlink metric 2110",
                "",
            )
            .expect(&format!("{CLIENT} 1002100 bond0"), "")
            // The second card came.
            .expect("ip link set dev eth1 down", "")
            .expect("ip link set dev eth1 master bond0", "")
            .expect("ip link set dev eth1 up", ""),
    );
    let line = "bond=bond0:eth0,eth1:mode=802.3ad:9000 vlan=bond0.7:bond0 ip=bond0:dhcp \
                ip=192.0.2.5::192.0.2.1:24::bond0.7:none::52-54-00-00-00-77 \
                ip=[2001:db8::5]::[2001:db8::1]:64::bond0.7:none \
                rd.route=198.51.100.0/24:192.0.2.2 rd.route=203.0.113.0/24::bond0.7";
    let mut bring_up = bring_up(&machine, script.clone(), line).await;
    bring_up.step().await;
    let mode = machine.path().join("sys/class/net/bond0/bonding/mode");
    assert_eq!(std::fs::read_to_string(mode).unwrap(), "802.3ad\n");
    let block = report::block(&bring_up.plan, &NetworkState::default(), &bring_up.refused);
    assert!(block.contains("PROBLEM: kernel parameter bond="), "{block}");
    assert!(block.contains("1 of 2 members are not there"), "{block}");
    card(&mut machine, "eth1", 3, true);
    bring_up.step().await;
    script.assert_done();
    assert!(!report::block(&bring_up.plan, &NetworkState::default(), &[]).contains("not there"));
}

/// The card goes, with all that the kernel says of it.
fn remove_card(machine: &FakeMachine, name: &str, index: u8) {
    let root = machine.path();
    let _ = std::fs::remove_file(root.join(format!("sys/class/net/{name}")));
    let device = format!("sys/devices/pci0000:00/0000:00:{index:02x}.0");
    std::fs::remove_dir_all(root.join(device)).unwrap();
}

#[tokio::test]
async fn a_card_that_comes_back_is_set_up_again_with_what_is_on_it() {
    let mut machine = FakeMachine::new();
    card(&mut machine, "eth0", 2, true);
    machine
        .directory("proc/sys/net/ipv6/conf/eth0.5")
        .file("sys/class/net/eth0.5/carrier", "1");
    let set_up = |script: Script, metric: u32| {
        script
            .expect("ip link set dev eth0 up", "")
            .expect("ip link add link eth0 name eth0.5 type vlan id 5", "")
            .expect("ip link set dev eth0.5 up", "")
            .expect(&format!("{CLIENT} {metric} eth0.5"), "")
    };
    let script = Arc::new(set_up(set_up(Script::new(), 1_002_110), 1_007_110));
    let line = "vlan=eth0.5:eth0 ip=eth0.5:dhcp";
    let mut bring_up = bring_up(&machine, script.clone(), line).await;
    bring_up.step().await;
    remove_card(&machine, "eth0", 2);
    bring_up.step().await;
    assert!(bring_up.made.is_empty(), "{:?}", bring_up.made);
    // The kernel counts on.
    card(&mut machine, "eth0", 7, true);
    bring_up.step().await;
    bring_up.step().await;
    script.assert_done();
}

#[tokio::test]
async fn a_member_that_comes_back_is_added_to_its_bond_again() {
    let mut machine = FakeMachine::new();
    card(&mut machine, "eth0", 2, true);
    card(&mut machine, "eth1", 3, true);
    for name in ["bond0", "bond0.7"] {
        machine
            .directory(&format!("sys/class/net/{name}/bonding"))
            .directory(&format!("proc/sys/net/ipv6/conf/{name}"));
    }
    let member = |script: Script, name: &str| {
        script
            .expect(&format!("ip link set dev {name} down"), "")
            .expect(&format!("ip link set dev {name} master bond0"), "")
            .expect(&format!("ip link set dev {name} up"), "")
    };
    let script = Script::new()
        .expect("modprobe bonding max_bonds=0", "")
        .expect("ip link add name bond0 type bond", "");
    let script = member(member(script, "eth0"), "eth1")
        .expect("ip link set dev bond0 up", "")
        .expect("ip link add link bond0 name bond0.7 type vlan id 7", "")
        .expect("ip link set dev bond0.7 up", "");
    let script = Arc::new(member(script, "eth0"));
    let line = "bond=bond0:eth0,eth1:mode=1,primary=eth0 vlan=bond0.7:bond0 ip=bond0.7:dhcp";
    let mut bring_up = bring_up(&machine, script.clone(), line).await;
    bring_up.step().await;
    remove_card(&machine, "eth0", 2);
    bring_up.step().await;
    card(&mut machine, "eth0", 9, true);
    bring_up.step().await;
    script.assert_done();
    let primary = machine.path().join("sys/class/net/bond0/bonding/primary");
    assert_eq!(std::fs::read_to_string(primary).unwrap(), "eth0\n");
    assert!(bring_up.refused.is_empty(), "{:?}", bring_up.refused);
}

#[tokio::test]
async fn refused_steps_are_reported_and_the_rest_is_done() {
    let mut machine = FakeMachine::new();
    card(&mut machine, "eth0", 2, true);
    let script = Arc::new(
        Script::new()
            .expect_result("ip link set dev eth0 mtu 9000", refusal())
            .expect("ip link set dev eth0 up", "")
            .expect(&format!("{CLIENT} 1002100 eth0"), ""),
    );
    let mut bring_up = bring_up(&machine, script.clone(), "ip=eth0:dhcp:9000").await;
    bring_up.step().await;
    script.assert_done();
    let block = report::block(&bring_up.plan, &NetworkState::default(), &bring_up.refused);
    let said = "PROBLEM: eth0: ip link set dev eth0 mtu 9000 ended with status 2: ip: SIOCSIFMTU: Invalid argument";
    assert!(block.contains(said), "{block}");
}

#[tokio::test]
async fn the_mtu_of_a_lease_is_taken_where_it_is_larger() {
    for (lease, mtu) in [
        ("interface_mtu=9000", Some(9000)),
        ("interface_mtu='9000'", Some(9000)),
        ("interface_mtu=1500", Some(1500)),
        ("interface_mtu=576", None),
        ("interface_mtu=99999", None),
        ("interface_mtu=9000; reboot", None),
        ("domain_name=interface_mtu=9000", None),
        ("", None),
    ] {
        assert_eq!(
            leased_mtu(&format!("reason=BOUND\n{lease}\n")),
            mtu,
            "{lease}"
        );
    }
    let mut machine = FakeMachine::new();
    card_with(&mut machine, "eth0", 2, true, &["192.0.2.10"]);
    machine.file("sys/class/net/eth0/mtu", "1500");
    let script = Arc::new(
        Script::new()
            .expect("ip link set dev eth0 up", "")
            .expect(&format!("{CLIENT} 1002100 eth0"), "")
            .expect("dhcpcd --ipv4only --dumplease eth0", "interface_mtu=9000\n")
            .expect("ip link set dev eth0 mtu 9000", ""),
    );
    let mut bring_up = bring_up(&machine, script.clone(), "").await;
    bring_up.step().await;
    bring_up.step().await;
    script.assert_done();
}

#[tokio::test]
async fn ports_of_infiniband_become_network_interfaces() {
    let mut machine = FakeMachine::new();
    machine.directory("sys/class/infiniband/mlx5_0");
    let script = Arc::new(Script::new().expect("modprobe ib_ipoib", ""));
    let mut bring_up = bring_up(&machine, script.clone(), "").await;
    bring_up.step().await;
    bring_up.step().await;
    script.assert_done();
}

/// The client of eth0 comes up a moment after it was started.
async fn client_comes_up(machine: &FakeMachine) {
    tokio::time::sleep(Duration::from_millis(1)).await;
    for (path, text) in [
        ("run/dhcpcd/eth0.pid", "77\n"),
        ("proc/77/stat", "77 (dhcpcd) S 1 77 77 0"),
    ] {
        let path = machine.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

async fn ready_after(machine: &FakeMachine, script: Script, line: &str) -> (u64, String) {
    let mut bring_up = bring_up(machine, Arc::new(script), line).await;
    let begin = Instant::now();
    let (ended, ()) = tokio::join!(bring_up.first(), client_comes_up(machine));
    ended.unwrap();
    std::fs::remove_file(machine.path().join("run/dhcpcd/eth0.pid")).unwrap();
    let ready = machine.path().join(READY.trim_start_matches('/'));
    let text = std::fs::read_to_string(&ready).unwrap();
    std::fs::remove_file(&ready).unwrap();
    assert!(!Path::new(&ready).exists());
    (begin.elapsed().as_secs(), text.trim_end().to_owned())
}

#[tokio::test(start_paused = true)]
async fn the_boot_goes_on_when_nothing_answers() {
    let mut machine = FakeMachine::new();
    let none = "NO ADDRESS after 30 s; starting anyway".to_owned();
    assert_eq!(
        ready_after(&machine, Script::new(), "").await,
        (30, none.clone())
    );
    card(&mut machine, "eth0", 2, true);
    let script = || {
        Script::new()
            .expect("ip link set dev eth0 up", "")
            .expect(&format!("{CLIENT} 1002100 eth0"), "")
    };
    assert_eq!(ready_after(&machine, script(), "").await, (30, none));
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_is_waited_for_a_while_and_nothing_else() {
    for (line, seconds) in [
        ("", 0),
        ("BOOTIF=01-52-54-00-00-00-02", 0),
        // The card that was booted from, and that which is asked for, are not there.
        ("BOOTIF=01-52-54-00-00-00-99", 5),
        ("ip=192.0.2.5:::24::52-54-00-00-00-99:none ip=dhcp", 5),
    ] {
        let mut machine = FakeMachine::new();
        card_with(&mut machine, "eth0", 2, true, &["2001:db8::5", "fe80::1"]);
        let metric = if line.ends_with("02") {
            1_000_100
        } else {
            1_002_100
        };
        let script = Script::new()
            .expect("ip link set dev eth0 up", "")
            .expect(&format!("{CLIENT} {metric} eth0"), "");
        let found = ready_after(&machine, script, line).await;
        assert_eq!(
            found,
            (seconds, "eth0 has 2001:db8::5".to_owned()),
            "{line}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_announced_medium_is_waited_for_while_links_come_up() {
    let mut machine = FakeMachine::new();
    card(&mut machine, "eth0", 2, true);
    let script = Arc::new(
        Script::new()
            .expect("ip link set dev eth0 up", "")
            .expect("ip link set dev eth0 up", "")
            .expect(&format!("{CLIENT} 1002100 eth0"), ""),
    );
    let begin = Instant::now();
    let mut bring_up = bring_up(&machine, script.clone(), "ir_pub_id=some-id").await;
    assert_eq!(begin.elapsed().as_secs(), 30);
    // Nor does the kernel take what routers advertise meanwhile.
    let settings = machine.path().join("proc/sys/net/ipv6/conf/eth0");
    for setting in ["accept_ra", "accept_dad"] {
        let value = std::fs::read_to_string(settings.join(setting));
        assert_eq!(value.unwrap(), "0\n", "{setting}");
    }
    bring_up.step().await;
    script.assert_done();
    let said = "ir_pub_id=some-id: no virtual medium with this publisher came in 30 s";
    assert!(bring_up.plan.problems[0].to_string().starts_with(said));
}

#[tokio::test]
async fn fixed_name_servers_come_before_those_of_leases() {
    let machine = FakeMachine::new();
    let bring_up = bring_up(&machine, Arc::new(Script::new()), "").await;
    bring_up.write_name_servers(&[]).unwrap();
    assert!(!machine.path().join("etc/resolv.conf").exists());
    let servers = ["192.0.2.53", "2001:db8::53"].map(|server| server.parse().unwrap());
    bring_up.write_name_servers(&servers).unwrap();
    for path in ["etc/resolv.conf", "etc/resolv.conf.head"] {
        let text = std::fs::read_to_string(machine.path().join(path)).unwrap();
        assert_eq!(text, "nameserver 192.0.2.53\nnameserver 2001:db8::53\n");
    }
}
