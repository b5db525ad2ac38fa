"""Networks other than the one that gives everybody a lease. `tests/network` tries most of what there is
without a machine; here are those that need a kernel with bonds and VLANs, or Ironic's own medium."""

from ..ironic import call
from ..process import wait_for
from .base import Scenario, expect


class StaticNetwork(Scenario):
    """Ironic's `network_data` over virtual media: the machine's card in a bond whose other member is not there, a VLAN
    on the bond, and no lease."""

    title = "a fixed address on a bond, from network_data.json on virtual media"
    MACHINE = "mixed"
    images = ("media-loader.raw",)
    VLAN, ABSENT = 100, "52:54:00:1a:b0:fe"

    def run(self):
        self.ready("manageable")
        begin = self.console_log.stat().st_size if self.console_log.exists() else 0
        with self.step("inspect: the agent comes by the fixed address"):
            self.node.set(boot_interface="redfish-virtual-media", network_data=self.network_data())
            self.operation("inspect", "inspect")
        with self.step("the console says what every interface has, and why"):
            self.check_console(begin)
        with self.step("inspect: the inventory has the bond's address"):
            interfaces = {interface["name"]: interface for interface in call("GET", f"{self.node.path}/inventory")["inventory"]["interfaces"]}
            expect(interfaces["bond0"]["ipv4_address"] == self.machine.address, f"interfaces: {interfaces}", self.console_log)

    def network_data(self):
        machine = self.machine
        links = [{"id": name, "type": "phy", "ethernet_mac_address": mac} for name, mac in (("nic", machine.mac), ("absent", self.ABSENT))]
        links += [
            {"id": "pair", "type": "bond", "bond_mode": "active-backup", "bond_links": ["nic", "absent"],
             "ethernet_mac_address": machine.mac, "mtu": 1450},
            {"id": "tagged", "type": "vlan", "vlan_link": "pair", "vlan_id": self.VLAN, "vlan_mac_address": machine.mac},
        ]
        default = {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": f"{machine.network}.2"}
        networks = [
            {"id": "provisioning", "type": "ipv4", "link": "pair", "network_id": "provisioning", "ip_address": machine.address,
             "netmask": "255.255.255.0", "routes": [default]},
            {"id": "other", "type": "ipv6", "link": "tagged", "network_id": "other", "ip_address": "2001:db8::15",
             "netmask": "ffff:ffff:ffff:ffff::"},
        ]
        return {"links": links, "networks": networks, "services": [{"type": "dns", "address": f"{machine.network}.3"}]}

    def check_console(self, begin):
        def said():
            with open(self.console_log, "rb") as file:
                file.seek(begin)
                return file.read().decode(errors="replace")

        for line in (
            f"bond0 {self.machine.mac}, bond active-backup of eth0: {self.machine.address}, gateway {self.machine.network}.2, MTU 1450 (static;",
            f"bond0.{self.VLAN} {self.machine.mac}, VLAN {self.VLAN} on bond0: 2001:db8::15 (static;",
            f"there is no card {self.ABSENT}; there are eth0 ({self.machine.mac})",
            'network_data.json: link "pair": 1 of 2 members are not there',
        ):
            wait_for(f"`{line}` on the console", lambda line=line: line in said(), 10, self.console_log)
        expect("asking for addresses" not in said(), "a lease was asked for", self.console_log)

    def tidy(self):
        self.node.remove("network_data")
        self.node.set(boot_interface="ipxe")
