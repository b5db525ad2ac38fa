"""What scenarios have in common."""

import re

from .. import disks, gpt, mbr, places
from ..errors import LabError
from ..ironic import Node
from ..machines import UEFI
from ..process import wait_for
from ..report import Skip

MIB = 1 << 20
# Emulated and on a busy machine everything takes its time; what hangs is found all the same.
BOOT = 600
META_DATA = {"uuid": "0c3f8f5e-7d0a-4c3f-9a55-0d8f4d6d7a10", "name": "deployed-by-the-lab"}
USER_DATA = "#cloud-config of the laboratory"
CONFIG_DRIVE = {"meta_data": META_DATA, "user_data": USER_DATA, "network_data": {"links": []}}


def expect(condition, message, *logs):
    if not condition:
        raise LabError(message, *logs)


class Scenario:
    """A title and a `run` that goes through its steps in order; a step that raises ends it.

    Scenarios of the same machine follow one another, those of different machines run side by side.
    Each begins with `ready`, whatever the one before it left behind.
    """

    title = ""
    MACHINE = "main"
    images: tuple[str, ...] = ()  # names of the images that it needs
    packages: tuple[str, ...] = ()  # whose programs it needs besides the usual ones
    requirements: tuple[str, ...] = ()  # of Python: what it starts beside Ironic
    clients = False  # whether it needs the clients in other languages

    def __init__(self, lab, lane):
        self.lab, self.lane, self.view = lab, lane, lane.view
        self.machine = lab.machines[self.MACHINE]
        self.console = lab.consoles[self.machine.name]
        self.console_log = self.machine.console_log

    @classmethod
    def obstacle(cls):
        """Why this user cannot make its images; empty if he can."""
        return ""

    def check_images(self):
        """Ends the scenario where an image could not be made; `program` has said why."""
        if absent := set(self.images) - set(self.lab.images):
            with self.step("its image is there"):
                raise Skip(f"{', '.join(sorted(absent))} could not be made by this user")

    @property
    def step(self):
        return self.lane.step

    @property
    def node(self):
        return self.lab.nodes[self.machine.name]

    @property
    def image(self):
        return self.lab.images[self.images[0]]

    def tidy(self):
        """Takes back what must not outlive the scenario, also when it failed."""

    # Ironic -----------------------------------------------------------------------------------

    def enrol(self):
        node = Node.enrol(self.machine, self.view.state)
        self.lab.nodes[self.machine.name] = node
        self.view.figures.node = node.uuid
        return node

    def ready(self, goal="available"):
        """A step: the node is enrolled and available (or manageable), and nothing of earlier scenarios is left."""
        with self.step(f"the node is {goal}"):
            if self.machine.name not in self.lab.nodes:
                self.enrol().do("manage", 60)
            for name in ("kernel-parameters", "tftp-root", "http-boot"):
                (self.machine.directory / name).unlink(missing_ok=True)
            self.node.set(automated_clean=False)
            self.recover()
            state = self.node.get()["provision_state"]
            if goal == "available" and state == "manageable":
                self.node.do("provide", 120)
            elif goal == "manageable" and state == "available":
                self.node.do("manage", 60)

    def active(self, loader):
        """A step: a system is deployed, that of the scenario before if it is the right one."""
        known = self.lab.nodes.get(self.machine.name)
        if known and self.lab.deployed.get(self.machine.name) == self.image.name and known.get()["provision_state"] == "active":
            return
        self.ready()
        with self.step("active: a deployed system"):
            self.check_boots(self.deploy(self.image, self.machine.target), loader=loader)

    def recover(self):
        """From wherever a failed scenario stopped to available or manageable, without booting."""
        node = self.node
        state = node.get()
        self.lab.deployed.pop(self.machine.name, None)
        if state["maintenance"]:
            node.set(maintenance=False)
        if state["provision_state"] in ("active", "deploy failed", "error", "rescue", "rescue failed", "service failed", "unrescue failed"):
            node.do("deleted", 180)
        elif state["provision_state"] in ("clean failed", "inspect failed"):
            node.do("manage", 60)

    def operation(self, name, verb, **arguments):
        """One transition that boots the ramdisk; where its events begin."""
        mark = self.console.mark()
        self.view.operation(name)
        try:
            self.node.do(verb, BOOT, **arguments)
        finally:
            self.view.operation(None)
        return mark

    def request(self, image, disk, sha512=None, **instance_info):
        """Makes it the image that the next deployment writes to that disk."""
        self.node.set(
            properties__root_device={"serial": disk.serial},
            instance_info={
                "image_source": f"{places.IMAGES_URL}/{image.name}",
                "image_os_hash_algo": "sha512",
                "image_os_hash_value": sha512 or image.sha512,
                "image_disk_format": image.disk_format,
                "image_type": "whole-disk",
                **instance_info,
            },
        )

    def deploy(self, image, disk, config_drive=CONFIG_DRIVE, **instance_info):
        self.request(image, disk, **instance_info)
        mark = self.operation("deploy", "active", configdrive=config_drive)
        self.lab.deployed[self.machine.name] = image.name
        return mark

    def kernel_parameters(self, text):
        """Parameters for the ramdisk's kernel until the end of the scenario."""
        (self.machine.directory / "kernel-parameters").write_text(text + "\n")

    def check_said(self, *patterns, since):
        """What Ironic showed of the agent's work (`agent_status_message`) while it went on: behind the first `since` messages."""
        said = self.node.said[since:]
        for pattern in patterns:
            expect(any(re.fullmatch(pattern, message) for message in said),
                   f"Ironic never showed {pattern!r}, but {said}", places.RUN / "ironic.log", self.console_log)

    # The console ------------------------------------------------------------------------------

    def check_no_restart(self, mark):
        restarts = [event.line for event in self.console.events[mark:] if "ENDED WITH STATUS" in event.line]
        expect(not restarts, f"a program of the ramdisk was restarted: {restarts[:2]}", self.console_log)

    def check_boots(self, mark, loader="systemd-boot", entry="ironic", config_drive=True):
        """The deployed system came up, by the boot entry of the agent where there are any; what it said."""
        console = self.console

        def is_ready():
            expect(not any("Kernel panic" in event.line for event in console.events[mark:]), "the kernel panicked", self.console_log)
            return console.find("deployed", mark, word="ready")

        wait_for("the deployed system's last line on the console", is_ready, 300, self.console_log)
        said = {event.values["word"]: event.values["rest"] for event in console.events[mark:] if event.kind == "deployed"}
        firmware = "uefi" if self.machine.firmware == UEFI else "bios"
        expect(said.get("booted") == f"firmware={firmware} loader={loader}", f"how it was started: {said}", self.console_log)
        expect("marker=" in said.get("root", ""), f"no root file system of an image: {said}", self.console_log)
        if config_drive:
            expect(META_DATA["uuid"] in said.get("meta-data", ""), f"no config drive with our meta data: {said}", self.console_log)
            expect(USER_DATA in said.get("user-data", ""), f"no config drive with our user data: {said}", self.console_log)
        if self.machine.firmware == UEFI:
            starts = [event.line for event in console.events[mark:] if "BdsDxe: starting" in event.line]
            expect(starts and entry in starts[-1], f"the firmware did not start the agent's boot entry: {starts}", self.console_log)
        return said

    # The disks --------------------------------------------------------------------------------

    def partitions(self, disk):
        """Of a disk with a GPT."""
        try:
            return gpt.read(disk)
        except gpt.Broken as error:
            raise LabError(f"{disk.name}: {error}", self.console_log) from error

    def mbr_partitions(self, disk):
        try:
            return mbr.read(disk)
        except mbr.Broken as error:
            raise LabError(f"{disk.name}: {error}", self.console_log) from error

    def file_systems(self):
        """Where the disks have file systems: the path of the disk and the partition of its GPT, for each."""
        found = []
        for disk in self.machine.disks:
            if "primary GPT" in disks.tables(disk.path):
                found += [(disk.path, each) for each in self.partitions(disk.path) if disks.file_system(disk.path, each)[0]]
        expect(found, "no disk has a file system that could be gone afterwards")
        return found

    def check_cleaned(self, former=()):
        """`former` is what `file_systems` found before."""
        for disk in self.machine.disks:
            left = disks.tables(disk.path)
            expect(not left, f"{disk.path.name} still has: {', '.join(left)}", self.console_log)
            # The first MiB holds tables and most signatures.
            expect(disks.is_zero(disk.path, 0, MIB // 64), f"the head of {disk.path.name} is not zero", self.console_log)
        for path, partition in former:
            kind, label = disks.file_system(path, partition)
            expect(kind is None, f"{path.name} still has {kind} {label!r} where partition {partition.number} was", self.console_log)

    def check_whole_disk(self, image, disk, others_empty=True):
        """Every partition of the image is on the disk byte by byte, and a config drive behind them."""
        path = disk.path
        partitions, originals = self.partitions(path), self.partitions(places.IMAGE / image.raw)
        expect(len(partitions) == len(originals) + 1, f"partitions: {partitions}")
        for original in originals:
            twin = next((part for part in partitions if part.number == original.number), None)
            expect(twin == original, f"partition {original.number} is {twin}, expected {original}")
            self.check_same(image, path, original)
        self.check_config_drive(path, max(partitions, key=lambda part: part.start))
        marker = disks.file_of_partition(path, partitions[1], "/marker").strip()
        expect(marker == image.marker, f"the root file system's marker is {marker!r}")
        if others_empty:
            for other in self.machine.disks:
                expect(other is disk or not disks.tables(other.path), "another disk was written to")

    def check_same(self, image, path, partition):
        expect(disks.same_content(image.raw, path, partition.start, partition.size),
               f"the content of partition {partition.number} differs from the image's", self.console_log)

    def check_config_drive(self, path, partition):
        drive = disks.ConfigDrive(path, partition, path.with_suffix(".config-drive"))
        expect(drive.label == "config-2", f"the config drive's label is {drive.label!r} in {partition}")
        expect(drive.metadata()["uuid"] == META_DATA["uuid"], f"meta data: {drive.metadata()}")
        expect(drive.read("openstack/latest/user_data").strip() == USER_DATA, "user data differs")
