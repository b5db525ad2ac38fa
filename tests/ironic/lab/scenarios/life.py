"""The main job, and what may go wrong with it."""

import time

from .. import disks, places, ramdisk
from ..errors import LabError
from ..ironic import call
from .base import BOOT, MIB, Scenario, expect


class Life(Scenario):
    """The main job: from enrolment to a running system, and back."""

    title = "an unmodified Ironic deploys a machine"
    images = ("whole-disk.raw",)

    def run(self):
        step = self.step
        disk = self.machine.target
        with step("enrol the node"):
            self.enrol()
        with step("manage: Ironic reaches the BMC"):
            self.node.do("manage", 60)
        with step("inspect: the agent reports the hardware"):
            self.operation("inspect", "inspect")
        with step("inspect: the inventory is the machine's"):
            self.check_inventory()
        with step("provide: the agent cleans the disks"):
            former, before = self.file_systems(), len(self.node.said)
            mark = self.operation("clean", "provide")
        with step("provide: partition tables and file systems are gone"):
            self.check_cleaned(former)
            self.check_no_restart(mark)
            self.check_said(r"erase_metadata: succeeded; waiting for commands", since=before)
        with step("active: the agent writes the image and its boot entry"):
            before = len(self.node.said)
            mark = self.deploy(self.image, disk)
            self.check_no_restart(mark)
            self.check_said(r"write_image /dev/nvme0n1: .*|write_image: succeeded; waiting for commands", since=before)
        with step("active: the deployed system boots from its own entry"):
            self.check_boots(mark)
        with step("active: image, partition table and config drive are on the disk"):
            self.check_whole_disk(self.image, disk)
        with step("active: Ironic has the agent's logs"):
            logs = [path for path in (places.RUN / "agent-logs").iterdir() if self.node.uuid in path.name and path.stat().st_size > 100]
            expect(len(logs) >= 2, f"{len(logs)} archives of logs in {places.RUN / 'agent-logs'}", places.RUN / "ironic.log")
        with step("deleted: the agent cleans again"):
            former = self.file_systems()
            self.operation("undeploy", "deleted")
        with step("deleted: the old system is gone"):
            self.check_cleaned(former)

    def check_inventory(self):
        inventory = call("GET", f"{self.node.path}/inventory")["inventory"]
        machine = self.machine
        expect(inventory["cpu"]["count"] == machine.PROCESSORS, f"processors: {inventory['cpu']}")
        expect(inventory["cpu"]["architecture"] == machine.arch, f"architecture: {inventory['cpu']}")
        expect(inventory["memory"]["physical_mb"] == machine.MEMORY_MIB, f"memory: {inventory['memory']}")
        macs = [interface["mac_address"] for interface in inventory["interfaces"]]
        expect(machine.mac in macs, f"the machine's MAC is not among {macs}")
        found = {disk["serial"]: disk["size"] for disk in inventory["disks"]}
        wanted = {disk.serial: disk.size for disk in machine.disks}
        expect(found == wanted, f"disks: {found}, expected {wanted}")
        expect(inventory["boot"]["current_boot_mode"] == "uefi", f"boot: {inventory['boot']}")


class WrongChecksum(Scenario):
    """An image that is not the one that was ordered must not become bootable."""

    title = "an image with another checksum is refused"
    images = ("whole-disk.raw",)

    def run(self):
        step = self.step
        disk = self.machine.target
        self.ready()
        with step("active: the deployment fails and says why"):
            self.request(self.image, disk, sha512="0" * 128)
            self.view.operation("deploy")
            try:
                self.node.do("active", BOOT)
            except LabError as error:
                expect("deploy failed" in str(error) and "checksum" in str(error).lower(), f"unexpected: {error}", *error.logs)
            else:
                raise LabError("the node became active", self.console_log)
            finally:
                self.view.operation(None)
        with step("the first MiB of the disk is zero: nothing there boots"):
            expect(disks.is_zero(disk.path, 0, MIB), "it is not", self.console_log)


class ShimDies(Scenario):
    """The shim is killed while the image is being written: it is started again, and neither
    the conductor nor the disk notices."""

    title = "a shim that is killed in the middle of a deployment costs nothing"
    images = ("whole-disk.raw",)
    # Runs in the ramdisk, beside the agent.
    HOOK = ramdisk.after_line("phase=write_image bytes=[1-9]", "kill -9 $(pidof ironic-shim)")

    def run(self):
        step = self.step
        disk = self.machine.target
        self.ready()
        with step("the node gets a ramdisk that kills its shim"):
            self.node.set(driver_info__deploy_ramdisk=f"file://{ramdisk.with_hook('kill-shim.sh', self.HOOK)}")
        with step("active: the deployment goes on after the shim was killed"):
            mark = self.deploy(self.image, disk)
            died = [event.line for event in self.console.events[mark:] if "ENDED WITH STATUS" in event.line]
            expect(len(died) == 1 and "shim" in died[0] and "137" in died[0], f"the shim did not die as planned: {died}", self.console_log)
        with step("active: the deployed system boots all the same"):
            self.check_boots(mark)
        with step("active: image, partition table and config drive are on the disk"):
            self.check_whole_disk(self.image, disk, others_empty=False)

    def tidy(self):
        self.node.set(driver_info__deploy_ramdisk=f"file://{places.RAMDISK / 'initramfs'}")


class ClockJumps(Scenario):
    """The clock of the machine jumps by days and by more than a year, forward and back, all the while the image is written."""

    title = "a clock that jumps during a deployment costs nothing"
    MACHINE = "bios"
    images = ("bios-disk.raw",)
    # Days; the last jump puts it right, and it goes on until the machine is turned off.
    JUMPS = (3, -6, 400, -397)
    HOOK = ramdisk.after_line("milestone event=heartbeat_accepted", f"""while :; do
    for days in {' '.join(map(str, JUMPS))}; do
        date -s "@$(($(date +%s) + days * 86400))" >/dev/null
        sleep 4
    done
done""")

    def run(self):
        disk = self.machine.target
        self.ready()
        with self.step("the node gets a ramdisk whose clock jumps"):
            self.node.set(driver_info__deploy_ramdisk=f"file://{ramdisk.with_hook('jump.sh', self.HOOK)}")
        with self.step("active: the deployment goes on whatever day it is"):
            before = self.console_log.stat().st_size if self.console_log.exists() else 0
            mark = self.deploy(self.image, disk)
            self.check_no_restart(mark)
        with self.step("active: heartbeats were accepted on several days, and none was refused"):
            with open(self.console_log, "rb") as log:
                log.seek(before)
                said = log.read().decode(errors="replace")
            days = {line.split("T")[0][-10:] for line in said.splitlines() if "Ironic accepted a heartbeat" in line}
            expect(len(days) >= 2, f"heartbeats were accepted on {sorted(days)} only", self.console_log)
            refused = [line for line in said.splitlines() if "heartbeat refused" in line or "heartbeat failed" in line]
            expect(not refused, f"heartbeats failed: {refused[:2]}", self.console_log)
        with self.step("active: the deployed system boots"):
            self.check_boots(mark, loader="grub")

    def tidy(self):
        self.node.set(driver_info__deploy_ramdisk=f"file://{places.RAMDISK / 'initramfs'}")


class Damaged(Scenario):
    """A ramdisk that was cut off or changed on its way must not half work."""

    title = "a damaged ramdisk says so and starts nothing"
    MACHINE = "mixed"  # which has the least to do
    # The shim is started as soon as the ramdisk has found itself whole: it needs to find nobody by the network.
    PARAMETERS = f"ipa-api-url={places.IRONIC_URL}"

    def run(self):
        with self.step("undamaged: the console says that a program starts"):
            began = time.monotonic()
            said = ramdisk.console_of(ramdisk.original_path(), "shim: start", 240, self.PARAMETERS)
            needed = time.monotonic() - began
            expect("DAMAGED" not in said, "it is damaged itself", ramdisk.CONSOLE)
        for name, damage in ramdisk.DAMAGES.items():
            with self.step(f"{name}: the console says so, and no program starts"):
                said = ramdisk.console_of(damage(), "Build or download it again", 240, self.PARAMETERS, longer=needed)
                expect("THIS DEPLOY RAMDISK IS DAMAGED" in said, "nothing was said", ramdisk.CONSOLE)
                expect("agent: start" not in said and "shim: start" not in said, "programs were started", ramdisk.CONSOLE)
