"""What is done with the machine, and what must be true afterwards.

A scenario is a class with a title and a `run` that goes through its steps in order; a step that
raises ends its scenario. They share one laboratory and follow one another: each leaves the node
available.
"""

from . import disks, gpt, places, ramdisk
from .errors import LabError
from .ironic import Node, call
from .laboratory import MAC, MEMORY_MIB, PROCESSORS
from .process import wait_for

MIB = 1 << 20
# Emulated and on a busy machine everything takes its time; what hangs is found all the same.
BOOT = 420
META_DATA = {"uuid": "0c3f8f5e-7d0a-4c3f-9a55-0d8f4d6d7a10", "name": "deployed-by-the-lab"}
USER_DATA = "#cloud-config of the laboratory"


def expect(condition, message, *logs):
    if not condition:
        raise LabError(message, *logs)


class Life:
    """The main job: from enrolment to a running system, and back."""

    title = "an unmodified Ironic deploys a machine"

    def __init__(self, lab, report):
        self.lab, self.report, self.view = lab, report, report.view
        self.node = None
        self.console_log = places.RUN / "vm/console.log"

    def run(self):
        step = self.report.step
        with step("enrol the node"):
            self.node = Node.enrol(self.lab.node_document(), MAC, self.view.state)
        with step("manage: Ironic reaches the BMC"):
            self.node.do("manage", 60)
        with step("inspect: the agent reports the hardware"):
            self.operation("inspect", "inspect")
        with step("inspect: the inventory is the machine's"):
            self.check_inventory()
        with step("provide: the agent cleans the disks"):
            mark = self.operation("clean", "provide")
        with step("provide: partition tables and file systems are gone"):
            self.check_cleaned()
            self.check_no_restart(mark)
        with step("active: the agent writes the image and its boot entry"):
            self.request_image()
            mark = self.operation("deploy", "active", configdrive={
                "meta_data": META_DATA, "user_data": USER_DATA, "network_data": {"links": []},
            })
            self.check_no_restart(mark)
        with step("active: the deployed system boots from its own entry"):
            self.check_boots(mark)
        with step("active: image, partition table and config drive are on the disk"):
            self.check_disk()
        with step("active: Ironic has the agent's logs"):
            logs = [path for path in (places.RUN / "agent-logs").iterdir() if path.stat().st_size > 100]
            expect(len(logs) >= 2, f"{len(logs)} archives of logs in {places.RUN / 'agent-logs'}", places.RUN / "ironic.log")
        with step("deleted: the agent cleans again"):
            self.operation("undeploy", "deleted")
        with step("deleted: the old system is gone"):
            self.check_cleaned()

    def operation(self, name, verb, **arguments):
        """One transition that boots the ramdisk; where its events begin."""
        mark = self.lab.console.mark()
        self.view.operation(name)
        self.node.do(verb, BOOT, **arguments)
        self.view.operation(None)
        return mark

    def check_inventory(self):
        inventory = call("GET", f"{self.node.path}/inventory")["inventory"]
        expect(inventory["cpu"]["count"] == PROCESSORS, f"processors: {inventory['cpu']}")
        expect(inventory["cpu"]["architecture"] == "x86_64", f"architecture: {inventory['cpu']}")
        expect(inventory["memory"]["physical_mb"] == MEMORY_MIB, f"memory: {inventory['memory']}")
        macs = [interface["mac_address"] for interface in inventory["interfaces"]]
        expect(MAC in macs, f"the machine's MAC is not among {macs}")
        found = {disk["serial"]: disk["size"] for disk in inventory["disks"]}
        wanted = {disk.serial: disk.size for disk in self.lab.disks}
        expect(found == wanted, f"disks: {found}, expected {wanted}")
        expect(inventory["boot"]["current_boot_mode"] == "uefi", f"boot: {inventory['boot']}")

    def check_cleaned(self):
        for disk in self.lab.disks:
            left = disks.tables(disk.path)
            expect(not left, f"{disk.path.name} still has: {', '.join(left)}", self.console_log)
            # The first MiB holds tables and most signatures.
            expect(disks.is_zero(disk.path, 0, MIB // 64), f"the head of {disk.path.name} is not zero", self.console_log)

    def check_no_restart(self, mark):
        restarts = [event.line for event in self.lab.console.events[mark:] if "ENDED WITH STATUS" in event.line]
        expect(not restarts, f"a program of the ramdisk was restarted: {restarts[:2]}", self.console_log)

    def request_image(self, sha512=None):
        image = self.lab.image
        self.node.set(
            properties__root_device={"serial": self.lab.disks[1].serial},
            instance_info={
                "image_source": f"{places.IMAGES_URL}/{image.path.rpartition('/')[2]}",
                "image_os_hash_algo": "sha512",
                "image_os_hash_value": sha512 or image.sha512,
                "image_disk_format": "raw",
                "image_type": "whole-disk",
            },
        )

    def check_boots(self, mark):
        console = self.lab.console

        def is_ready():
            expect(not any("Kernel panic" in event.line for event in console.events[mark:]), "the kernel panicked", self.console_log)
            return console.find("deployed", mark, word="ready")

        wait_for("the deployed system's last line on the console", is_ready, 180, self.console_log)
        said = {event.values["word"]: event.values["rest"] for event in console.events[mark:] if event.kind == "deployed"}
        expect(self.lab.image.marker in said.get("root", ""), f"the root file system is not the image's: {said}", self.console_log)
        expect(META_DATA["uuid"] in said.get("meta-data", ""), f"no config drive with our meta data: {said}", self.console_log)
        expect(USER_DATA in said.get("user-data", ""), f"no config drive with our user data: {said}", self.console_log)
        starts = [event.line for event in console.events[mark:] if "BdsDxe: starting" in event.line]
        expect(starts and "ironic" in starts[-1], f"the firmware did not start the agent's boot entry: {starts}", self.console_log)

    def check_disk(self):
        disk, image = self.lab.disks[1].path, self.lab.image.path
        try:
            partitions = gpt.read(disk)
            originals = gpt.read(image)
        except gpt.Broken as error:
            raise LabError(f"{disk.name}: {error}", self.console_log) from error
        expect(len(partitions) == len(originals) + 1, f"partitions: {partitions}")
        for original in originals:
            twin = next((part for part in partitions if part.number == original.number), None)
            expect(twin == original, f"partition {original.number} is {twin}, expected {original}")
            expect(disks.same_content(image, disk, original.start, original.size),
                   f"the content of partition {original.number} differs from the image's", self.console_log)
        drive = disks.ConfigDrive(disk, max(partitions, key=lambda part: part.start), places.RUN / "config-drive.iso")
        expect(drive.label == "config-2", f"the config drive's label is {drive.label!r}")
        expect(drive.metadata()["uuid"] == META_DATA["uuid"], f"meta data: {drive.metadata()}")
        expect(drive.read("openstack/latest/user_data").strip() == USER_DATA, "user data differs")
        marker = disks.file_of_partition(disk, partitions[1], "/marker").strip()
        expect(marker == self.lab.image.marker, f"the root file system's marker is {marker!r}")
        expect(not disks.tables(self.lab.disks[0].path), "the other disk was written to")


class WrongChecksum(Life):
    """An image that is not what it was announced as must not boot, and must not cost the node."""

    title = "an image with a wrong checksum is refused"

    def run(self):
        step = self.report.step
        with step("the node is available"):
            self.node = Node("lab-node", self.view.state)
            expect(self.node.get()["provision_state"] == "available", "the earlier scenario did not leave it so")
        with step("active: the deployment fails and says why"):
            self.request_image(sha512="0" * 128)
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
            expect(disks.is_zero(self.lab.disks[1].path, 0, MIB), "it is not", self.console_log)
        with step("the node can be used again"):
            self.operation("undeploy", "deleted")


class ShimDies(Life):
    """The shim is killed while the image is being written: it is started again, and neither
    the conductor nor the disk notices."""

    title = "a shim that is killed in the middle of a deployment costs nothing"
    # Runs in the ramdisk, beside the agent.
    HOOK = """until grep -q 'phase=write_image bytes=[1-9]' /var/log/agent.log; do usleep 100000; done
kill -9 $(pidof ironic-shim)
"""

    def run(self):
        step = self.report.step
        with step("the node gets a ramdisk that kills its shim"):
            self.node = Node("lab-node", self.view.state)
            expect(self.node.get()["provision_state"] == "available", "the earlier scenario did not leave it so")
            self.node.set(driver_info__deploy_ramdisk=f"file://{ramdisk.with_hook('kill-shim.sh', self.HOOK)}")
        with step("active: the deployment goes on after the shim was killed"):
            self.request_image()
            mark = self.operation("deploy", "active", configdrive={"meta_data": META_DATA, "user_data": USER_DATA})
            died = [event.line for event in self.lab.console.events[mark:] if "ENDED WITH STATUS" in event.line]
            expect(len(died) == 1 and "shim" in died[0] and "137" in died[0], f"the shim did not die as planned: {died}", self.console_log)
        with step("active: the deployed system boots all the same"):
            self.check_boots(mark)
        with step("active: image, partition table and config drive are on the disk"):
            self.check_disk()
        with step("the node can be used again"):
            self.node.set(driver_info__deploy_ramdisk=f"file://{places.RAMDISK / 'initramfs'}")
            self.operation("undeploy", "deleted")


class Damaged:
    """A ramdisk that was cut off or changed on its way must not half work."""

    title = "a damaged ramdisk says so and starts nothing"

    def __init__(self, lab, report):
        self.report = report

    def run(self):
        for name, damage in ramdisk.DAMAGES.items():
            with self.report.step(f"{name}: the console says so, and no program starts"):
                said = ramdisk.console_of(damage(), "Build or download it again", 180)
                expect("THIS DEPLOY RAMDISK IS DAMAGED" in said, "nothing was said", ramdisk.CONSOLE)
                expect("agent: start" not in said and "shim: start" not in said, "programs were started", ramdisk.CONSOLE)


SCENARIOS = [Life, WrongChecksum, ShimDies, Damaged]
