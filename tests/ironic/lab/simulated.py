"""Simulated machines: the real agent, in a process of its own for each, with a card and a disk that are files.

Ironic turns them on and off by its power interface `fake`, which only notes what it is asked for. The processes follow what it notes.
"""

import contextlib
import struct
import threading

from . import places
from .errors import LabError
from .ironic import call
from .process import Service

SECTOR, MIB = 512, 1 << 20
INTERFACES = {"power": "fake", "management": "noop", "boot": "ipxe", "deploy": "direct", "network": "noop", "storage": "noop",
              **{kind: f"no-{kind}" for kind in ("bios", "console", "firmware", "inspect", "raid", "rescue", "vendor")}}


def image(size=8 * MIB):
    """A disk with one active partition, and content that is not zeros."""
    partition = struct.pack("<8BII", 0x80, 0, 2, 0, 0x83, 0, 2, 0, 2048, size // SECTOR - 2048)
    table = bytes(446) + partition + bytes(48) + b"\x55\xaa"
    return table + (bytes(range(251)) * (size // 251 + 1))[SECTOR:size]


class SimulatedMachine:
    """A machine without firmware: it starts the system on its disk, or else the agent."""

    def __init__(self, number):
        self.number, self.uuid, self.is_on = number, "", False
        self.directory = places.RUN / "simulated" / str(number)
        self.service = Service(f"machine {number}", self.directory / "agent.log")

    @property
    def mac(self):
        """As the example `fleet` gives it to the machine of this number."""
        return "52:54:" + self.number.to_bytes(4, "big").hex(":")

    @property
    def disk(self):
        """The file of the last start; each start has an empty disk."""
        disks = sorted(self.directory.glob("*/*/disks/sda"), key=lambda path: path.stat().st_ctime_ns)
        return disks[-1] if disks else None

    def has_system(self):
        if self.disk is None:
            return False
        with open(self.disk, "rb") as disk:
            return disk.read(SECTOR)[-2:] == b"\x55\xaa"

    def node_document(self):
        """What an operator would enrol. A power-off by the agent would be one of the process."""
        return {f"{kind}_interface": value for kind, value in INTERFACES.items()} | {
            "name": f"simulated-{self.number}", "driver": "manual-management",
            "driver_info": {"deploy_forces_oob_reboot": True, "deploy_kernel": f"file://{places.RAMDISK / 'kernel'}",
                            "deploy_ramdisk": f"file://{places.RAMDISK / 'initramfs'}"},
            "properties": {"cpu_arch": "x86_64", "capabilities": "boot_mode:bios"},
        }

    def enrol(self):
        self.uuid = call("POST", "/v1/nodes", self.node_document())["uuid"]
        call("POST", "/v1/ports", {"node_uuid": self.uuid, "address": self.mac})

    def turn_on(self, conductor, credentials):
        self.is_on = True
        if self.has_system():
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        self.service.start([
            str(places.FLEET), "--agents", "1", "--first", str(self.number), "--conductor", conductor,
            "--ca-file", str(credentials / "ca.crt"), "--cert-file", str(credentials / "agent.crt"),
            "--key-file", str(credentials / "agent.key")], {"TMPDIR": str(self.directory)})

    def turn_off(self):
        self.is_on = False
        self.service.kill()


class Rack:
    """Machines that are turned on and off as Ironic notes it."""

    def __init__(self, count, conductor, credentials):
        self.machines = [SimulatedMachine(number) for number in range(count)]
        self.conductor, self.credentials = conductor, credentials
        self.problem: BaseException | None = None
        self.end = threading.Event()
        self.thread = threading.Thread(target=self.follow, daemon=True)

    def start(self):
        if not places.FLEET.is_file():
            raise LabError(f"there is no {places.FLEET}: run `cargo build --release -p ironic-agent --example fleet` first")
        self.thread.start()

    def stop(self):
        self.end.set()
        if self.thread.is_alive():
            self.thread.join()
        for machine in self.machines:
            machine.turn_off()

    def nodes(self):
        """What Ironic says of each machine, by UUID."""
        if self.problem:
            raise LabError(f"the machines do not follow Ironic any more: {self.problem}") from self.problem
        fields = "uuid,name,power_state,provision_state,target_provision_state,reservation,maintenance,last_error,maintenance_reason"
        return {node["uuid"]: node for node in call("GET", f"/v1/nodes?fields={fields}")["nodes"]}

    def follow(self):
        """Until the end. Ironic is asked often, because it turns a machine on again soon after it has turned it off."""
        try:
            while not self.end.wait(0.3):
                nodes = self.nodes()
                for machine in self.machines:
                    wanted = nodes.get(machine.uuid, {}).get("power_state") == "power on"
                    if wanted and not machine.is_on:
                        machine.turn_on(self.conductor, self.credentials)
                    elif machine.is_on and not wanted:
                        machine.turn_off()
        except (LabError, OSError) as error:
            self.problem = error

    def holds(self, content):
        """The machines whose disks hold this, behind the partition table, which the agent fits to the disk."""
        found = []
        for machine in self.machines:
            with contextlib.suppress(OSError, TypeError), open(machine.disk, "rb") as disk:
                if disk.read(len(content))[SECTOR:] == content[SECTOR:]:
                    found.append(machine.number)
        return found
