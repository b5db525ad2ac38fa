"""Everything that has to run, started and stopped together."""

import json
import shutil
import uuid
from pathlib import Path

from . import disks, places
from .console import Console
from .ironic import Ironic
from .process import Service, wait_for
from .webserver import WebServer

MAC = "52:54:00:1a:b0:01"
MACHINE = str(uuid.uuid5(uuid.NAMESPACE_DNS, "lab-machine"))
MEMORY_MIB = 512
PROCESSORS = 2
GIB = 1 << 30


class Disk:
    """A disk of the machine; the smaller one is what an agent takes if it is told nothing."""

    def __init__(self, bus, serial, size):
        self.bus, self.serial, self.size = bus, serial, size
        self.path = places.RUN / "vm" / f"{bus}.disk"


class Laboratory:
    """Ironic, the BMC with its machine, and the web server."""

    def __init__(self, view, image):
        self.view, self.image = view, image
        self.disks = [Disk("virtio", "LAB-VIRTIO", 4 * GIB), Disk("nvme", "LAB-NVME", 5 * GIB)]
        self.ironic = self.bmc = self.web = self.console = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        shutil.rmtree(places.RUN, ignore_errors=True)
        for directory in ("http", "state", "vm"):
            (places.RUN / directory).mkdir(parents=True)
        for disk in self.disks:
            disks.make(disk.path, disk.size)
        self.publish(Path(self.image.path))
        self.web = WebServer(places.RUN / "http", places.IMAGES_PORT)
        self.console = Console(places.RUN / "vm" / "console.log", self.view.event)
        self.bmc = self.start_bmc()
        self.ironic = Ironic()
        self.ironic.start()

    def publish(self, path):
        """Makes a file available to conductor and guest; its URL."""
        (places.RUN / "http" / path.name).symlink_to(path)
        return f"{places.IMAGES_URL}/{path.name}"

    def start_bmc(self):
        settings = {
            "port": places.BMC_PORT,
            "http_root": str(places.RUN / "http"),
            "machines": [{
                "uuid": MACHINE, "name": "lab-machine", "mac": MAC, "directory": str(places.RUN / "vm"),
                "memory": MEMORY_MIB, "processors": PROCESSORS,
                "agent_address": f"{places.GUEST}:{places.AGENT_PORT}",
                "disks": [{"path": str(disk.path), "bus": disk.bus, "serial": disk.serial} for disk in self.disks],
            }],
        }
        configuration = places.RUN / "bmc.json"
        configuration.write_text(json.dumps(settings, indent=1))
        service = Service("the BMC", places.RUN / "bmc.log")
        service.start([str(places.VENV / "bin/python"), str(Path(__file__).parent / "bmc.py"), str(configuration)])

        def is_up():
            service.check()
            return "Running on" in service.log.read_text()

        wait_for("the BMC", is_up, 60, service.log)
        return service

    def node_document(self):
        """What an operator would enrol."""
        document = {f"{kind}_interface": "no-" + kind for kind in ("bios", "firmware", "console", "vendor")}
        ramdisk = {
            f"{purpose}_{part}": f"file://{places.RAMDISK / file}"
            for purpose in ("deploy", "rescue")
            for part, file in (("kernel", "kernel"), ("ramdisk", "initramfs"))
        }
        document |= {
            "name": "lab-node", "driver": "redfish", "boot_interface": "ipxe", "deploy_interface": "direct",
            "inspect_interface": "agent", "network_interface": "noop", "raid_interface": "agent",
            "rescue_interface": "agent", "storage_interface": "noop",
            "driver_info": {
                "redfish_address": places.BMC_URL,
                "redfish_system_id": f"/redfish/v1/Systems/{MACHINE}",
                "redfish_username": "lab", "redfish_password": "lab",
                **ramdisk,
            },
            "properties": {"cpu_arch": "x86_64", "capabilities": "boot_mode:uefi"},
        }
        return document

    def stop(self):
        """Ends everything in the reverse order; safe at any time."""
        for part in (self.ironic, self.bmc, self.console, self.web):
            if part is not None:
                part.stop()
        self.ironic = self.bmc = self.console = self.web = None
