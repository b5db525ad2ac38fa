"""The machines of the laboratory: what stands in the rack."""

import uuid

from . import places

GIB = 1 << 30
MIB = 1 << 20
UEFI, BIOS = "UEFI", "Legacy"  # as Redfish calls them


class Disk:
    """A disk of a machine; the buses are those of bmc.py."""

    def __init__(self, bus, size):
        self.bus, self.size = bus, size
        self.serial = self.path = None


class Machine:
    """A virtual machine with a network of its own, so that agents on the same port do not meet."""

    MEMORY_MIB = 512
    PROCESSORS = 2

    def __init__(self, name, number, firmware, *disks, arch="x86_64"):
        self.name, self.number, self.firmware, self.disks, self.arch = name, number, firmware, disks, arch
        # Where images go. A BIOS starts the first disk that has a signature: there it must be that one.
        self.target = disks[-1] if firmware == UEFI else disks[0]
        self.directory = places.RUN / "vm" / name
        self.console_log = self.directory / "console.log"
        self.mac = f"52:54:00:1a:b0:{number + 1:02x}"
        self.uuid = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"lab-machine-{name}"))
        self.network = f"10.0.{2 + number}"
        self.address = f"{self.network}.15"
        self.cable = 17100 + number  # UDP port of the other end, see switch.py
        for disk in disks:
            disk.serial = f"LAB-{disk.bus.upper()}"
            disk.path = self.directory / f"{disk.bus}.disk"

    @property
    def ramdisk(self):
        """The directory of the ramdisk that it boots."""
        return places.RAMDISK if self.arch == "x86_64" else places.RAMDISK_AARCH64

    def disk(self, bus):
        return next(disk for disk in self.disks if disk.bus == bus)

    def settings(self):
        """What the BMC needs to know."""
        return {
            "uuid": self.uuid, "name": f"lab-{self.name}", "mac": self.mac, "directory": str(self.directory),
            "memory": self.MEMORY_MIB, "processors": self.PROCESSORS, "firmware": self.firmware, "arch": self.arch,
            "network": self.network, "cable": self.cable,
            "forwards": [[f"{self.address}:{port}", port] for port in (places.AGENT_PORT, places.SSH_PORT)],
            "disks": [{"path": str(disk.path), "bus": disk.bus, "serial": disk.serial} for disk in self.disks],
        }

    def node_document(self):
        """What an operator would enrol."""
        ramdisk = {
            f"{purpose}_{part}": f"file://{self.ramdisk / file}"
            for purpose in ("deploy", "rescue")
            for part, file in (("kernel", "kernel"), ("ramdisk", "initramfs"))
        }
        document = {f"{kind}_interface": "no-" + kind for kind in ("bios", "firmware", "console", "vendor")}
        return document | {
            "name": f"lab-{self.name}", "driver": "redfish", "boot_interface": "ipxe", "deploy_interface": "direct",
            "inspect_interface": "agent", "network_interface": "noop", "raid_interface": "agent",
            "rescue_interface": "agent", "storage_interface": "noop",
            "driver_info": {
                "redfish_address": places.BMC_URL,
                "redfish_system_id": f"/redfish/v1/Systems/{self.uuid}",
                "redfish_username": "lab", "redfish_password": "lab",
                **ramdisk,
            },
            "properties": {
                "cpu_arch": self.arch,
                "capabilities": f"boot_mode:{'uefi' if self.firmware == UEFI else 'bios'}",
            },
        }


def rack():
    """All machines by name. Of `main` the smaller disk is what an agent takes without hints."""
    machines = (
        Machine("main", 0, UEFI, Disk("virtio", 4 * GIB), Disk("nvme", 5 * GIB)),
        Machine("bios", 1, BIOS, Disk("sata", 3 * GIB), Disk("virtio", 4 * GIB)),
        Machine("mixed", 2, UEFI, Disk("virtio", 1792 * MIB), Disk("nvme", 4 * GIB), Disk("sata", GIB),
                Disk("scsi", 512 * MIB)),
        Machine("alone", 4, UEFI, Disk("virtio", 2 * GIB)),
        Machine("arm", 3, UEFI, Disk("virtio", GIB), Disk("nvme", 2 * GIB), arch="aarch64"),
    )
    return {machine.name: machine for machine in machines}
