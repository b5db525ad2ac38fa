"""What networks there are, and what a machine must have in each. A case is a function of a world."""

import json
import os
import signal

from world import MAC, SECOND_MAC

# The address of SLAAC that belongs to the card's hardware address (EUI-64).
SLAAC = "2001:db8::5054:ff:fe00:1/64"
LEASES = ("--dhcp-range=192.0.2.10,192.0.2.20", "--dhcp-option=option:dns-server,192.0.2.53", "--domain=example.org")
# A network that answers makes no machine wait. Far below the 30 s of one that does not, and far above
# what it takes on a busy machine.
SOON = 10.0


def soon(world):
    seconds, line = world.ready()
    world.expect(seconds < SOON, f"it took {seconds:.1f} s")
    return seconds, line


def lease(world, name="eth0", family="192.0.2."):
    return any(address.startswith(family) for address in world.addresses(name))


def outlive(world):
    """Waits until a second card has a lease of DHCPv6: what the first one asked for beside its own address has come by then."""
    world.plug("eth1", SECOND_MAC)
    world.wait("a lease of the second card", lambda: lease(world, "eth1", "2001:db8::1"))


def dhcp4(world):
    """DHCPv4 alone: address, gateway, resolver, by type and address of the hardware; no wait for IPv6."""
    world.dnsmasq(*LEASES)
    world.start()
    seconds, line = soon(world)
    world.expect(line.startswith("eth0 has 192.0.2.1"), f"ready says {line!r}")
    clients = world.wait("the server wrote the lease down", world.clients)
    world.expect(list(clients.values()) == [f"01:{MAC}"], f"clients: {clients}")
    world.wait("a resolver", lambda: "nameserver 192.0.2.53" in world.resolver())
    world.expect("default via 192.0.2.1 dev eth0" in world.routes(), "no default route")
    world.expect("DHCPv4" in world.said() and "gateway 192.0.2.1" in world.said(), "the block does not say it")
    return seconds


def slaac(world):
    """IPv6 alone, from router advertisements of radvd, with its name server."""
    world.radvd("interface br0 { AdvSendAdvert on; prefix 2001:db8::/64 { AdvOnLink on; AdvAutonomous on; }; "
                "RDNSS 2001:db8::53 {}; DNSSL example.org {}; };\n")
    world.start()
    seconds, line = soon(world)
    world.expect(world.addresses("eth0") == [SLAAC], f"addresses: {world.addresses('eth0')}")
    world.expect("2001:db8::5054:ff:fe00:1" in line, f"ready says {line!r}")
    world.wait("a resolver", lambda: "nameserver 2001:db8::53" in world.resolver())
    world.wait("a default route", lambda: "default via fe80:" in world.routes("-6"))
    return seconds


def dhcp6_stateful(world):
    """IPv6 alone, addresses by DHCPv6: routers say so."""
    world.dnsmasq("--dhcp-range=2001:db8::10,2001:db8::20,64", "--enable-ra",
                  "--dhcp-option=option6:dns-server,[2001:db8::53]")
    world.start()
    seconds, _ = soon(world)
    found = world.addresses("eth0")
    world.expect(any(address.startswith("2001:db8::1") for address in found), f"addresses: {found}")
    world.wait("a resolver", lambda: "nameserver 2001:db8::53" in world.resolver())
    return seconds


def dhcp6_stateless(world):
    """IPv6 alone, addresses of SLAAC, the rest by DHCPv6."""
    world.dnsmasq("--dhcp-range=2001:db8::,ra-stateless,64", "--enable-ra",
                  "--dhcp-option=option6:dns-server,[2001:db8::53]")
    world.start()
    seconds, _ = soon(world)
    world.expect(world.addresses("eth0") == [SLAAC], f"addresses: {world.addresses('eth0')}")
    world.wait("a resolver", lambda: "nameserver 2001:db8::53" in world.resolver())
    return seconds


def dual_stack(world):
    """Both families at once."""
    world.dnsmasq(*LEASES, "--dhcp-range=2001:db8::,ra-only,64", "--enable-ra")
    world.start()
    soon(world)
    world.wait("addresses of both families", lambda: lease(world) and SLAAC in world.addresses("eth0"))
    world.wait("the block has both", lambda: "2001:db8::5054:ff:fe00:1" in world.said() and "192.0.2.1" in world.said())


def kernel_dhcp6(world):
    """ip=dhcp6: no DHCPv4, though there is a server."""
    world.dnsmasq(*LEASES, "--dhcp-range=2001:db8::10,2001:db8::20,64", "--enable-ra")
    world.start("ip=dhcp6", cards=("eth0", "eth1"))
    soon(world)
    outlive(world)
    world.expect(not lease(world), f"it took a lease of DHCPv4: {world.addresses('eth0')}")
    world.expect("DHCPDISCOVER" not in (world.directory / "dnsmasq.log").read_text(), "a server of DHCPv4 was asked")


def kernel_auto6(world):
    """ip=eth0:auto6: SLAAC, though routers offer DHCPv6."""
    world.dnsmasq("--dhcp-range=2001:db8::10,2001:db8::20,slaac,64", "--enable-ra")
    world.start("ip=eth0:auto6 ip=eth1:dhcp6", cards=("eth0", "eth1"))
    soon(world)
    outlive(world)
    world.expect(world.addresses("eth0") == [SLAAC], f"addresses: {world.addresses('eth0')}")


def kernel_static(world):
    """A fixed IPv4 address of the kernel command line; no server is asked."""
    world.dnsmasq(*LEASES)
    world.start("ip=192.0.2.100::192.0.2.1:255.255.255.0::eth0:none:1400 nameserver=192.0.2.54")
    seconds, _ = soon(world)
    world.expect(world.addresses("eth0") == ["192.0.2.100/24"], f"addresses: {world.addresses('eth0')}")
    world.expect("default via 192.0.2.1 dev eth0" in world.routes(), "no default route")
    world.expect(world.resolver() == ["nameserver 192.0.2.54"], f"resolver: {world.resolver()}")
    world.expect(world.mtu("eth0") == 1400, f"MTU {world.mtu('eth0')}")
    world.expect(world.answers("192.0.2.100"), "it does not answer")
    world.expect("DHCPDISCOVER" not in (world.directory / "dnsmasq.log").read_text(), "a server was asked")
    return seconds


def kernel_static6(world):
    """A fixed IPv6 address, the card named by its hardware address."""
    world.start(f"ip=[2001:db8::100]::[2001:db8::1]:64::{MAC.replace(':', '-')}:none nameserver=[2001:db8::54]")
    seconds, _ = soon(world)
    world.expect(world.addresses("eth0") == ["2001:db8::100/64"], f"addresses: {world.addresses('eth0')}")
    world.expect("default via 2001:db8::1 dev eth0" in world.routes("-6"), "no default route")
    world.expect(world.resolver() == ["nameserver 2001:db8::54"], f"resolver: {world.resolver()}")
    world.expect(world.answers("2001:db8::100"), "it does not answer")
    return seconds


def no_answer(world):
    """A server that never answers: the boot goes on after 30 s, and the console says it."""
    world.start()
    seconds, line = world.ready()
    world.expect(25 < seconds < 50, f"it took {seconds:.1f} s")
    world.expect("NO ADDRESS after 30 s" in line, f"ready says {line!r}")
    world.expect("eth0 52:54:00:00:00:01: NO ADDRESS yet (DHCPv4" in world.said(), "the block does not say it")
    world.dnsmasq(*LEASES)
    world.wait("a lease, now that there is a server", lambda: lease(world), 90)
    world.wait("the console says it", lambda: "gateway 192.0.2.1" in world.said())


def no_name_server(world):
    """A lease without DNS is named."""
    world.dnsmasq("--dhcp-range=192.0.2.10,192.0.2.20", "--dhcp-option=option:dns-server")
    world.start()
    soon(world)
    world.expect("name servers: none" in world.said(), "the block does not say it")


def hostile_names(world):
    """Names that a server makes up write nothing into a file but names, and run nothing."""
    world.dnsmasq("--dhcp-range=192.0.2.10,192.0.2.20", "--dhcp-option-force=15,a;reboot$(touch /tmp/x)`touch /tmp/x`",
                  "--dhcp-option-force=12,-F", "--dhcp-option=option:dns-server,192.0.2.53")
    world.start()
    soon(world)
    world.wait("a resolver", lambda: "nameserver 192.0.2.53" in world.resolver())
    text = (world.tree / "etc/resolv.conf").read_text()
    world.expect("reboot" not in text and "touch" not in text, f"resolv.conf: {text!r}")
    world.expect(not (world.tree / "tmp/x").exists(), "a command of the server was run")


def larger_mtu(world):
    """An MTU of a lease that is larger than the card's is set."""
    world.dnsmasq(*LEASES, "--dhcp-option=option:mtu,9000")
    world.start()
    soon(world)
    world.wait("the MTU", lambda: world.mtu("eth0") == 9000)


def smaller_mtu(world):
    """A smaller one holds for the lease's routes, and leaves IPv6 alone."""
    world.dnsmasq(*LEASES, "--dhcp-option=option:mtu,600")
    world.start()
    soon(world)
    world.expect("mtu 600" in world.routes(), "the routes do not have it")
    world.expect(world.mtu("eth0") == 1500, f"MTU {world.mtu('eth0')}")


def impossible_mtu(world):
    """An MTU that no card can have is named, and the others ask for leases as they would without it."""
    world.dnsmasq(*LEASES)
    world.start("ip=eth0:dhcp:70000")
    soon(world)
    world.expect("PROBLEM: kernel command line: ip is \"eth0:dhcp:70000\"" in world.said(), "nothing is said")


def late_card(world):
    """A second card that comes late gets a lease, too, and the console says it."""
    world.dnsmasq(*LEASES)
    world.start(cards=("eth0", "eth1"))
    soon(world)
    world.plug("eth1", SECOND_MAC)
    world.wait("a lease of the second card", lambda: lease(world, "eth1"))
    world.wait("the console says it", lambda: "network:   eth1 52:54:00:00:00:02: 192.0.2." in world.said())


def lost_client(world):
    """A DHCP client that is lost is started again, and its lease is renewed; one that goes on is left alone."""
    world.dnsmasq(*LEASES)
    world.start("ip=eth0:dhcp ip=eth1:auto6", cards=("eth0", "eth1"))
    world.plug("eth1", SECOND_MAC)
    soon(world)
    files = [world.tree / "run/dhcpcd" / name for name in ("eth0.pid", "eth1-6.pid")]
    world.wait("two clients", lambda: all(file.exists() for file in files))
    first, other = (file.read_text() for file in files)
    log = world.tree / "var/log/dhcp.log"
    leases = log.read_text().count("leased")
    os.kill(int(first), signal.SIGKILL)
    world.wait("the console says it", lambda: "eth0: THE DHCP CLIENT HAS ENDED" in world.said())
    world.wait("another lease", lambda: log.read_text().count("leased") > leases)
    world.expect(files[0].read_text() != first, "it has the same process")
    world.expect(files[1].read_text() == other and "eth1: THE" not in world.said(), "the other one was started again, too")
    world.expect(world.said().count("THE DHCP CLIENT HAS ENDED") == 1, "it was started more than once")


def unplugged_card(world):
    """A card without a cable makes nobody wait."""
    world.plug("eth1", SECOND_MAC, bridged=False)
    world.dnsmasq(*LEASES)
    world.start(cards=("eth0", "eth1"))
    seconds, _ = soon(world)
    world.expect("eth1 52:54:00:00:00:02: no carrier" in world.said(), "the block does not say it")
    return seconds


def boot_card(world):
    """The card that the machine was booted from has the first default route, whatever its number."""
    world.plug("eth1", SECOND_MAC)
    world.dnsmasq(*LEASES)
    world.start(f"BOOTIF=01-{SECOND_MAC.replace(':', '-')}", cards=("eth0", "eth1"))
    _, line = soon(world)
    world.expect(line.startswith("eth1 has"), f"ready says {line!r}")
    world.wait("two leases", lambda: lease(world) and lease(world, "eth1"))
    world.wait("two default routes", lambda: world.routes().count("default") == 2)
    world.expect(" dev eth1 " in world.routes().splitlines()[0], "the other card's route comes first")


def missing_name(world):
    """A card that is not there is named, with those that are; they are left alone, as was asked."""
    world.dnsmasq(*LEASES)
    world.start("ip=enp1s0:dhcp")
    _, line = world.ready()
    world.expect("NO ADDRESS" in line, f"ready says {line!r}")
    said = "there is no card enp1s0; there are eth0 (52:54:00:00:00:01)"
    world.expect(said in world.said(), "the block does not say it")


def media(world, files, publisher="", label="config-2"):
    """A drive as a BMC plays it. This kernel mounts no ISO 9660: `mount` copies what is on it."""
    image = bytearray(64 << 10)
    image[32768:32774] = b"\x01CD001"
    image[32808:32840] = label.encode().ljust(32)
    image[32768 + 318:32768 + 446] = publisher.encode().ljust(128)
    world.hide_disks()
    drive = world.tree / "sys/block/sr0"
    (drive / "device").mkdir(parents=True)
    (drive / "size").write_text(f"{len(image) // 512}\n")
    (drive / "device/type").write_text("5\n")
    (drive / "device/model").write_text("DRIVE\n")
    (world.tree / "dev/sr0").write_bytes(image)
    for path, content in files.items():
        place = world.tree / "media" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    for name, script in (("mount", 'eval "place=\\${$#}"; cp -r /media/. "$place"'), ("umount", "exit 0")):
        program = world.tree / "usr/sbin" / name
        program.unlink(missing_ok=True)
        program.write_text(f"#!/bin/busybox sh\n{script}\n")
        program.chmod(0o755)


IDENTITY = "3f2a9c1e-8d6b-4c5e-9f70-000000000001"
STATIC = {
    "links": [{"id": "port-1", "type": "phy", "ethernet_mac_address": MAC.upper(), "mtu": 1450}],
    "networks": [
        {"id": "four", "type": "ipv4", "link": "port-1", "network_id": "n", "ip_address": "192.0.2.101",
         "netmask": "255.255.255.0",
         "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"},
                    {"network": "198.51.100.0", "netmask": "255.255.255.0", "gateway": "192.0.2.2"}]},
        {"id": "six", "type": "ipv6", "link": "port-1", "network_id": "n", "ip_address": "2001:db8::101",
         "netmask": "ffff:ffff:ffff:ffff::",
         "routes": [{"network": "::", "netmask": "::", "gateway": "2001:db8::1"}]},
    ],
    "services": [{"type": "dns", "address": "192.0.2.54"}, {"type": "dns", "address": "2001:db8::54"}],
}
NETWORK_DATA = "openstack/latest/network_data.json"


def network_data(world):
    """Fixed addresses of both families from network_data.json on virtual media; other cards ask for leases."""
    media(world, {NETWORK_DATA: json.dumps(STATIC)}, publisher=IDENTITY.upper())
    world.plug("eth1", SECOND_MAC)
    world.dnsmasq(*LEASES)
    world.start(f"boot_method=vmedia ir_pub_id={IDENTITY}", cards=("eth0", "eth1"))
    soon(world)
    found = world.addresses("eth0")
    world.expect(found == ["192.0.2.101/24", "2001:db8::101/64"], f"addresses: {found}")
    world.expect("198.51.100.0/24 via 192.0.2.2 dev eth0" in world.routes(), "a route is missing")
    world.expect(world.mtu("eth0") == 1450, f"MTU {world.mtu('eth0')}")
    world.wait("a lease of the other card", lambda: lease(world, "eth1"))
    world.wait("fixed name servers come first", lambda: world.resolver()[:2] == ["nameserver 192.0.2.54", "nameserver 2001:db8::54"])
    world.wait("two default routes", lambda: world.routes().count("default") == 2)
    world.expect(" dev eth0 " in world.routes().splitlines()[0], "the leased route comes first")
    world.expect('network_data.json: link "port-1"' in world.said(), "the block does not say why")


def foreign_config_drive(world):
    """A config drive that is not this boot's is not read; nor is any after a boot from the network."""
    media(world, {NETWORK_DATA: json.dumps(STATIC)}, publisher="another")
    world.dnsmasq(*LEASES)
    world.start(f"BOOTIF=01-{MAC.replace(':', '-')}")
    soon(world)
    world.expect(lease(world) and "192.0.2.101/24" not in world.addresses("eth0"), f"addresses: {world.addresses('eth0')}")


def no_config_drive(world):
    """An announced medium that does not come: after 30 s the boot goes on with leases, and the console says it."""
    media(world, {NETWORK_DATA: json.dumps(STATIC)}, publisher="another")
    world.dnsmasq(*LEASES)
    world.start(f"boot_method=vmedia ir_pub_id={IDENTITY}")
    seconds, _ = world.ready()
    world.expect(25 < seconds < 50, f"it took {seconds:.1f} s")
    world.expect(lease(world), "no lease")
    world.expect(f"PROBLEM: ir_pub_id={IDENTITY}: no virtual medium" in world.said(), "the block does not say it")


def contradictory(world):
    """What contradicts itself is left out and named; the rest holds."""
    bad = json.loads(json.dumps(STATIC))
    bad["links"] += [
        {"id": "port-1", "type": "phy", "ethernet_mac_address": SECOND_MAC},
        {"id": "absent", "type": "phy", "ethernet_mac_address": "52:54:00:00:00:99"},
        {"id": "v", "type": "vlan", "vlan_link": "nowhere", "vlan_id": 5, "vlan_mac_address": MAC},
        {"id": "w", "type": "vlan", "vlan_link": "port-1", "vlan_id": 4095, "vlan_mac_address": MAC},
        {"id": "b", "type": "bond", "bond_mode": "fastest", "bond_links": ["port-1"], "ethernet_mac_address": MAC},
    ]
    bad["networks"] += [{"id": "n", "type": "ipv4", "link": "port-1", "ip_address": "192.0.2.300", "netmask": "24"}]
    media(world, {NETWORK_DATA: json.dumps(bad)}, publisher=IDENTITY)
    world.start(f"ir_pub_id={IDENTITY}")
    soon(world)
    world.expect("192.0.2.101/24" in world.addresses("eth0"), f"addresses: {world.addresses('eth0')}")
    for problem in (
        'link "port-1": there is one with the same id',
        'link "absent": there is no card 52:54:00:00:00:99; there are eth0 (52:54:00:00:00:01)',
        'link "v": vlan_link names "nowhere", and there is no such link',
        'link "w": vlan_id is "4095", expected a number from 1 to 4094',
        'link "b": bond_mode is "fastest", expected balance-rr',
        'network "n": ip_address is "192.0.2.300"',
    ):
        world.expect(f"PROBLEM: network_data.json: {problem}" in world.said(), f"nothing says {problem!r}")


CASES = (
    dhcp4, slaac, dhcp6_stateful, dhcp6_stateless, dual_stack, kernel_dhcp6, kernel_auto6, kernel_static,
    kernel_static6, no_answer, no_name_server, hostile_names, larger_mtu, smaller_mtu, impossible_mtu, late_card,
    lost_client, unplugged_card, boot_card, missing_name, network_data, foreign_config_drive, no_config_drive, contradictory,
)
