"""A machine without Ironic, by typed commands alone: it enrols at a gateway by a join token, gets an image, and starts its system
without the firmware's second pass; then once more by the firmware."""

import json
import os
import re
import time
import urllib.request
from pathlib import Path

from .. import places
from ..ironic import KERNEL_PARAMETERS
from ..process import Service, run, wait_for
from .base import BOOT, Scenario, expect

# Of the gateway: where conductors would ask, agents call, and operators order.
REST, AGENTS, FLEET = 12001, 12002, 12003
SYSTEMS = f"{places.BMC_URL}/redfish/v1/Systems"
TICKS = os.sysconf("SC_CLK_TCK")


class Kexec(Scenario):
    """What a start takes is counted twice: in seconds, which the host's load stretches, and in the emulator's processor
    time."""

    title = "a typed command starts a system without the firmware"
    MACHINE = "alone"
    images = ("whole-disk.raw",)

    def __init__(self, lab, lane):
        super().__init__(lab, lane)
        self.directory = places.RUN / "kexec"
        self.state = self.directory / "state"
        self.gateway = Service("the gateway without Ironic", self.directory / "gateway.log")
        self.uuid = self.machine.uuid

    def run(self):
        with self.step("a gateway without Ironic runs"):
            self.start_gateway()
            self.network_boot()
        with self.step("the machine enrols by a join token and attaches"):
            self.boot_ramdisk()
        with self.step("a typed command writes an image"):
            self.order("write", "alone", "--image", f"{places.IMAGES_URL}/{self.image.name}", "--sha512", self.image.sha512,
                       "--format", "raw")
            self.check_same(self.image, self.machine.target.path, self.partitions(self.machine.target.path)[0])
        with self.step("run_image with kexec starts it"):
            by_kexec = self.starts("kexec", lambda: None)
            expect(not self.firmware_starts, f"the firmware has started something: {self.firmware_starts}", self.console_log)
        with self.step("run_image without it starts it by the firmware"):
            self.boot_ramdisk()
            by_firmware = self.starts("reboot", self.reset)
            expect(self.firmware_starts, "the firmware has started nothing", self.console_log)
        with self.step("kexec saves time"):
            figures = {"kexec": by_kexec, "firmware": by_firmware}
            (places.LAB / "kexec.json").write_text(json.dumps(figures, indent=1) + "\n")
            for way, (seconds, processor) in figures.items():
                self.view.line(f"from RunImage to the system's marker, by {way}: {seconds:.1f} s, "
                                    f"{processor:.1f} s of the emulator's processor time")
            expect(by_kexec[1] < by_firmware[1], f"it saves none: {figures}", self.console_log)

    # The gateway ------------------------------------------------------------------------------

    def start_gateway(self):
        nodes = self.directory / "nodes"
        nodes.mkdir(parents=True)
        self.state.mkdir()
        disk = self.machine.target.serial
        (nodes / "alone.json").write_text(json.dumps({
            "uuid": self.uuid, "name": "alone", "macs": [self.machine.mac], "root_device": {"serial": disk}}))
        self.gateway.start([
            str(places.SHIM), "--gateway_url", f"https://{places.GATEWAY}:{REST}", "--listen_host", "127.0.0.1",
            "--listen_port", str(REST), "--conductor_listen", f"0.0.0.0:{AGENTS}", "--state_dir", str(self.state),
            "--node_dir", str(nodes), "--node_certificates", "join_token", "--fleet_listen", f"127.0.0.1:{FLEET}",
        ])

        def pin():
            self.gateway.check()
            return re.search(r"sha256=([0-9a-f]{64})", self.gateway.log.read_text(errors="replace"))

        self.pin = wait_for("the digest of the gateway's CA", pin, 60, self.gateway.log)[1]
        self.token = run([places.SHIM, "token", "create", "--state_dir", self.state, "--node", self.uuid, "--uses", "4",
                          "--lifetime", "7200"]).split()[-1]
        run([*self.agentctl, "login", "lab", "--gateway", f"http://127.0.0.1:{FLEET}"])

    @property
    def agentctl(self):
        return [places.SHIM.with_name("agentctl"), "--config", self.directory / "agentctl.yaml"]

    def order(self, *words):
        run([*self.agentctl, *words, "--yes"])

    def shown(self):
        """The node as the gateway shows it."""
        found = json.loads(run([*self.agentctl, "nodes", "-o", "json"]))
        return next(node for node in found if node["uuid"] == self.uuid)

    # The machine ------------------------------------------------------------------------------

    def network_boot(self):
        """The script that the machine would get by iPXE, with no address of Ironic."""
        http = places.RUN / "http"
        (http / "pxelinux.cfg").mkdir(exist_ok=True)
        for name in ("kernel", "initramfs"):
            (http / f"alone-{name}").symlink_to(places.RAMDISK / name)
        line = (f"{KERNEL_PARAMETERS} ipa-grpc-listen=none ipa-conductor=https://{places.GATEWAY}:{AGENTS} "
                f"ipa-conductor-ca-sha256={self.pin} ipa-join-token={self.token}")
        script = http / "pxelinux.cfg" / self.machine.mac.replace(":", "-")
        script.write_text(f"#!ipxe\nkernel {places.IMAGES_URL}/alone-kernel {line}\ninitrd {places.IMAGES_URL}/alone-initramfs\nboot\n")

    def boot_ramdisk(self):
        before = self.attachments()
        self.power("ForceOff")
        self.boot_from("Pxe")
        self.power("On")

        def is_attached():
            self.gateway.check()
            return self.attachments() > before and self.shown()["state"] == "NODE_STATE_ATTACHED"

        wait_for("the agent's attachment", is_attached, BOOT, self.console_log, self.gateway.log)

    def attachments(self):
        return self.gateway.log.read_text(errors="replace").count("event=agent_attached")

    def starts(self, way, then):
        """Gives the order to start the system and waits for it: seconds, and processor time of the emulator."""
        self.restarted = self.restarts()
        mark, used, begun = self.console.mark(), self.processor_time(), time.monotonic()
        # It follows nothing: the machine ends in the middle of it.
        self.order("power", way, "alone", "--detach")
        then()
        marker = wait_for("the system's marker", lambda: self.console.find("deployed", mark, word="ready"), BOOT, self.console_log)
        spent = self.processor_time() - used
        root = self.console.find("deployed", mark, word="root")
        expect(root and f"marker={self.image.marker}" in root.line, f"another system runs: {root}", self.console_log)
        self.firmware_starts = [event.line for event in self.console.events[mark:] if "BdsDxe: starting" in event.line]
        return marker.time - begun, spent

    def reset(self):
        """Restarts the machine from its disk, as an orchestrator does that goes by the firmware: the agent has flushed the
        disks by then. Left alone, the emulator would load the ramdisk again."""
        self.boot_from("Hdd")
        wait_for("the machine's restart", lambda: self.restarts() > self.restarted, 120, self.console_log)
        self.kept = self.processor_time()
        self.power("ForceRestart")

    def restarts(self):
        return self.console_log.read_text(errors="replace").count("reboot: Restarting system")

    # What emulators have used that have ended.
    kept = 0.0

    def processor_time(self):
        """Seconds that the machine's emulators have used, also those that have ended."""
        total = self.kept
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if f"lab-{self.machine.name}".encode() not in (process / "cmdline").read_bytes().split(b"\0"):
                    continue
                fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            total += (int(fields[11]) + int(fields[12])) / TICKS
        return total

    def redfish(self, method, path, document):
        request = urllib.request.Request(f"{SYSTEMS}/{self.uuid}{path}", json.dumps(document).encode(),
                                         {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60):
            pass

    def boot_from(self, device):
        self.redfish("PATCH", "", {"Boot": {"BootSourceOverrideTarget": device, "BootSourceOverrideEnabled": "Continuous"}})

    def power(self, change):
        self.redfish("POST", "/Actions/ComputerSystem.Reset", {"ResetType": change})

    def tidy(self):
        self.power("ForceOff")
        self.gateway.stop()
