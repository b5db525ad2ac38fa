"""A machine that a reference orchestrator deploys, without Ironic."""

import hashlib
import json
import os
from pathlib import Path

from .. import disks, places, ramdisk
from ..gateway import OwnReplica, agent_files, make_certificates
from ..process import Service, wait_for
from ..report import Skip
from .base import BOOT, Scenario, expect

GIB = 1 << 30


class Orchestrator(Scenario):
    """A gateway that knows the machine by a node file, the real ramdisk, and the reference orchestrator in Python."""

    title = "a reference orchestrator erases a machine, writes an image and reboots it, without Ironic"
    MACHINE = "mixed"  # which has the least to do
    images = ("bios-disk.raw",)
    clients = True
    REST, PORT = 11099, 9996
    NAME, MAC, SERIAL = "rack1-1", "52:54:00:1a:b0:a1", "ORCHESTRATED"
    UUID = "2d8f7a52-6bd0-4a0b-8f4e-0d6b6d1f7e22"

    def __init__(self, lab, lane):
        super().__init__(lab, lane)
        self.directory = places.RUN / "orchestrator"
        self.disk = self.directory / "sata.disk"
        certificates = self.directory / "certificates"
        fleet = ("--node_dir", str(self.directory / "nodes"), "--fleet_listen", f"unix:{self.fleet}")
        self.gateway = OwnReplica("own-gateway", (places.GATEWAY, self.REST), self.PORT, certificates, fleet)
        self.orchestrator = Service("the orchestrator", self.directory / "orchestrator.log")

    @property
    def fleet(self):
        return self.directory / "fleet.sock"

    @property
    def options(self):
        """The machine's disk and network. When it resets, its emulator ends: what it boots next is chosen anew."""
        return ["-drive", f"if=none,id=disk,file={self.disk},format=raw,cache=unsafe", "-device",
                f"ide-hd,bus=ide.0,drive=disk,serial={self.SERIAL},bootindex=5", "-netdev", "user,id=net0",
                "-device", f"virtio-net-pci,netdev=net0,mac={self.MAC},romfile=", "-action", "reboot=shutdown"]

    def run(self):
        clients = os.environ.get(places.CLIENTS)
        if not clients:
            with self.step("the clients are built"):
                raise Skip(f"clients/build has failed: see {places.LAB / 'clients.log'}")
        with self.step("a gateway without Ironic knows the machine by a node file"):
            self.start_gateway()
        initramfs = ramdisk.with_files("orchestrated", agent_files(self.gateway.certificates))
        parameters = f"ipa-grpc-listen=none ipa-conductor=https://{places.GATEWAY}:{self.PORT}"
        with ramdisk.Guest(initramfs, parameters, options=self.options) as guest:
            with self.step("the ramdisk boots, and the orchestrator sees what the machine has"):
                self.start_orchestrator(Path(clients))
                wait_for("the inventory", lambda: "CPUs, disks" in self.said(), BOOT, *self.logs)
            with self.step("it erases the disk, writes the image and reboots the machine"):
                self.check_report()
                wait_for("the machine's reset", lambda: guest.emulator.process.poll() is not None, 60, *self.logs)
        with self.step("the image is on the disk"):
            for partition in self.mbr_partitions(Path(self.image.raw)):
                self.check_same(self.image, self.disk, partition)
        with self.step("the deployed system boots from the disk"), ramdisk.Guest(options=self.options) as guest:
            said = guest.wait("DEPLOYED-SYSTEM ready", BOOT)
            expect(f"marker={self.image.marker}" in said, "no root file system of the image", ramdisk.CONSOLE)

    def start_gateway(self):
        nodes = self.directory / "nodes"
        nodes.mkdir(parents=True)
        disks.make(self.disk, 4 * GIB)
        node = {"uuid": self.UUID, "name": self.NAME, "macs": [self.MAC], "root_device": {"serial": self.SERIAL}}
        (nodes / "rack1.json").write_text(json.dumps([node]))
        make_certificates(self.gateway.certificates, places.GATEWAY)
        self.gateway.serve()

    def start_orchestrator(self, clients):
        with open(self.image.path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        job = {"image": {"urls": [f"{places.IMAGES_URL}/{self.image.name}"], "sha256": digest}}
        deployments = self.directory / "deployments.json"
        deployments.write_text(json.dumps({self.NAME: job}))
        program = places.REPOSITORY / "examples/orchestrator-python/orchestrator.py"
        self.orchestrator.start([clients / "python/bin/python", program, "--gateway", f"unix:{self.fleet}", deployments])

    @property
    def logs(self):
        return self.orchestrator.log, self.gateway.log, ramdisk.CONSOLE

    def said(self):
        return self.orchestrator.log.read_text(errors="replace") if self.orchestrator.log.exists() else ""

    def check_report(self):
        process = self.orchestrator.process
        assert process
        wait_for("the orchestrator's report", lambda: process.poll() is not None, BOOT, *self.logs)
        expect(process.returncode == 0, f"it ended with status {process.returncode}", *self.logs)
        said = self.said()
        report = json.loads(said[said.index("\n[") + 1:])
        expect(report[0]["state"] == "deployed" and set(report[0]["seconds"]) == {"erase", "write", "reboot"}, f"the report: {report}", *self.logs)

    def tidy(self):
        self.orchestrator.stop()
        self.gateway.service.stop()
