"""The same system in other forms: packed, sparse, for other firmware, as a partition image."""

from .. import disks
from .base import CONFIG_DRIVE, MIB, Scenario, expect


class Qcow2(Scenario):
    """A qcow2 image with compressed clusters."""

    title = "a qcow2 image is unpacked onto the disk"
    images = ("roomy-zlib.qcow2",)

    def run(self):
        self.ready()
        disk = self.machine.target
        with self.step(f"active: the agent writes {self.image.name}"):
            mark = self.deploy(self.image, disk)
            self.check_no_restart(mark)
        with self.step("active: the deployed system boots from its own entry"):
            self.check_boots(mark)
        with self.step("active: image, partition table and config drive are on the disk"):
            self.check_whole_disk(self.image, disk, others_empty=False)


class PlainQcow2(Qcow2):
    images = ("roomy.qcow2",)


class ZstdQcow2(Qcow2):
    images = ("roomy-zstd.qcow2",)


class Zstd(Qcow2):
    """A raw image in a zstd stream."""

    title = "a zstd stream of a raw image is unpacked onto the disk"
    images = ("roomy.raw.zst",)


class Gzip(Qcow2):
    title = "a gzip stream of a raw image is unpacked onto the disk"
    images = ("roomy.raw.gz",)


class BiosDisk(Scenario):
    """A machine with a BIOS, and an image with an MBR and its own boot loader."""

    title = "a BIOS machine gets an MBR image"
    MACHINE = "bios"
    images = ("bios-disk.raw",)

    def run(self):
        self.ready()
        disk = self.machine.target
        with self.step("active: the agent writes the image"):
            mark = self.deploy(self.image, disk)
            self.check_no_restart(mark)
        with self.step("active: the deployed system boots"):
            self.check_boots(mark, loader="grub")
        with self.step("active: boot code, partitions and config drive are on the disk"):
            self.check_disk(disk)

    def check_disk(self, disk):
        image = self.image
        expect(disks.same_content(image.raw, disk.path, 0, 440), "the boot code is not the image's")
        expect(disks.same_content(image.raw, disk.path, 512, MIB - 512), "what follows the boot code is not the image's")
        partitions, originals = self.mbr_partitions(disk.path), self.mbr_partitions(image.raw)
        expect(partitions[:-1] == originals, f"partitions: {partitions}")
        self.check_same(image, disk.path, originals[0])
        drive = partitions[-1]
        expect(drive.size == 64 * MIB or drive.start + drive.size > disk.size - 65 * MIB, f"the config drive is {drive}")
        self.check_config_drive(disk.path, drive)
        expect("primary GPT" not in disks.tables(disk.path) and "backup GPT" not in disks.tables(disk.path), "a GPT was left")


class Partitions(Scenario):
    """A partition image, with swap and an ephemeral partition that survives a rebuild."""

    title = "a partition image with swap and an ephemeral partition"
    images = ("partition.raw",)
    ROOM = {"image_type": "partition", "root_gb": 1, "swap_mb": 64, "ephemeral_gb": 1, "ephemeral_format": "ext4"}
    KEPT = "kept over a rebuild"

    def run(self):
        self.ready()
        disk = self.machine.target
        with self.step(f"active: the agent partitions, formats and writes {self.image.name}"):
            mark = self.deploy(self.image, disk, **self.ROOM)
            self.check_no_restart(mark)
        with self.step("active: the deployed system boots"):
            self.check_boots(mark, loader="grub")
        with self.step("active: partitions, file systems and labels are as ordered"):
            before = self.check_disk(disk)
        with self.step("rebuild with preserve_ephemeral"):
            ephemeral = self.find(disk, "ext4", "ephemeral0")
            disks.add_file(disk.path, ephemeral, "kept", self.KEPT)
            self.request(self.image, disk, preserve_ephemeral=True, **self.ROOM)
            mark = self.operation("rebuild", "rebuild", configdrive=CONFIG_DRIVE)
        with self.step("rebuild: the deployed system boots"):
            self.check_boots(mark, loader="grub")
        with self.step("rebuild: the ephemeral partition is as it was, the others are new"):
            after = self.check_disk(disk)
            expect(before == after, f"the layout was {before} and is {after}")
            text = disks.file_of_partition(disk.path, ephemeral, "/kept").strip()
            expect(text == self.KEPT, f"the file of the ephemeral partition says {text!r}")

    def layout(self, disk):
        return self.partitions(disk.path)

    def find(self, disk, kind, label):
        for partition in self.layout(disk):
            if disks.file_system(disk.path, partition) == (kind, label):
                return partition
        raise LookupError(f"no {kind} labelled {label!r} on {disk.path.name}")

    def expected(self):
        return [("vfat", "efi-part"), ("ext4", "ephemeral0"), ("swap", "swap1"), ("iso9660", "config-2"), ("ext4", "root")]

    def check_menu(self, disk):
        """The names of devices change from boot to boot."""
        menu = disks.file_of_partition(disk.path, self.find(disk, "ext4", "root"), "/boot/grub/grub.cfg")
        expect("root=UUID=" in menu, f"GRUB's menu is {menu!r}", self.console_log)

    def check_disk(self, disk):
        """Kinds, labels and order; the layout as (start, size)."""
        partitions = sorted(self.layout(disk), key=lambda part: part.start)
        found = [disks.file_system(disk.path, partition) for partition in partitions]
        expect(found == self.expected(), f"file systems: {found}", self.console_log)
        sizes = {label: partition.size // MIB for (_, label), partition in zip(found, partitions)}
        expect(sizes["swap1"] == 64 and sizes["ephemeral0"] == 1024 and sizes["root"] == 1024, f"sizes in MiB: {sizes}")
        self.check_config_drive(disk.path, partitions[-2])
        marker = disks.file_of_partition(disk.path, partitions[-1], "/marker").strip()
        expect(marker == self.image.marker, f"the root file system's marker is {marker!r}")
        return [(partition.start, partition.size) for partition in partitions]


class Installer(Partitions):
    """The image has no loader and brings GRUB's installer: the operator allows to run it."""

    title = "a partition image on a UEFI machine, with the GRUB of the image"
    images = ("installer.raw",)

    def ready(self, goal="available"):
        super().ready(goal)
        self.kernel_parameters("ipa-enable-bios-bootloader-install=1")

    def run(self):
        self.ready()
        disk = self.machine.target
        with self.step(f"active: the agent writes {self.image.name} and runs its GRUB"):
            mark = self.deploy(self.image, disk, image_type="partition", root_gb=1)
        with self.step("active: the deployed system boots"):
            self.check_boots(mark, loader="grub")
        with self.step("active: GRUB names the root by its file system"):
            self.check_menu(disk)


class BiosPartitions(Partitions):
    """The same on a machine with a BIOS, booted by the GRUB of the image: the operator allows that."""

    title = "a partition image on a BIOS machine, with the GRUB of the image"
    MACHINE = "bios"
    images = ("partition.qcow2",)

    def ready(self, goal="available"):
        super().ready(goal)
        self.kernel_parameters("ipa-enable-bios-bootloader-install=1")

    def layout(self, disk):
        return self.mbr_partitions(disk.path)

    def expected(self):
        return super().expected()[1:]

    def check_disk(self, disk):
        self.check_menu(disk)
        return super().check_disk(disk)
