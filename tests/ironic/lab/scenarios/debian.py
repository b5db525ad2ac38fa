"""A real Debian: Debian's own shim and GRUB, systemd and cloud-init, in the shapes in which people deploy it.

What cloud-init read from the config drive is read back over SSH.
"""

import json
import re

from .. import debian, ssh
from ..ironic import call
from ..machines import UEFI
from ..process import wait_for
from .base import META_DATA, Scenario, expect
from .hardware import clean_steps

PASSWORD = "a password of the laboratory"
HOSTNAME = "debian-of-the-lab"
WRITTEN = "written by cloud-init"
USER_DATA = f"""#cloud-config
password: {PASSWORD}
chpasswd: {{expire: false}}
ssh_pwauth: true
write_files:
- path: /etc/lab
  content: {WRITTEN}
runcmd:
- [sh, -c, 'echo DEPLOYED-SYSTEM ready >/dev/console']
"""
# systemd, Python and cloud-init in an emulated machine.
BOOT = 900


class DebianCloud(Scenario):
    """The layout of Debian's cloud images, by UEFI with Secure Boot's loaders."""

    title = "a real Debian in the layout of cloud images, with cloud-init"
    images = ("debian-cloud.qcow2",)
    # How the firmware starts it, and what its root file system is.
    ENTRY = r'"debian" from .*\\EFI\\debian\\shimx64\.efi'
    ROOT = ("ext4", "/")
    INSTANCE: dict[str, object] = {}

    def config_drive(self):
        """As nova would make it."""
        link = {"id": "nic", "type": "phy", "ethernet_mac_address": self.machine.mac}
        return {
            "meta_data": META_DATA | {"hostname": HOSTNAME, "name": HOSTNAME},
            "user_data": USER_DATA,
            "network_data": {"links": [link], "services": [],
                             "networks": [{"id": "net", "type": "ipv4_dhcp", "link": "nic", "network_id": "lab"}]},
        }

    @classmethod
    def obstacle(cls):
        return debian.obstacle()

    @property
    def target(self):
        return self.machine.target

    def run(self):
        self.ready()
        self.check_deployment()

    def check_deployment(self):
        with self.step(f"active: the agent writes {self.image.name} and makes it boot"):
            before = len(self.node.said)
            mark = self.deploy(self.image, self.target, config_drive=self.config_drive(), **self.INSTANCE)
            self.check_no_restart(mark)
        with self.step("active: Ironic showed how far it was"):
            # Not how it ended: that beat may come while Ironic holds the node and does not listen.
            self.check_said(r"write_image /dev/\w+: \d+ % \(.* of .*\), .*/s", since=before)
        with self.step("active: Debian boots, by Debian's own loader, and runs what the config drive asks of cloud-init"):
            wait_for("cloud-init's last line on the console", lambda: self.console.find("deployed", mark, word="ready"),
                     BOOT, self.console_log)
            self.check_loader(mark)
        with self.step("active: over SSH: name, user data, root file system, a healthy system"):
            self.check_inside()

    def check_loader(self, mark):
        if self.machine.firmware != UEFI:
            return
        starts = [event.line for event in self.console.events[mark:] if "BdsDxe: starting" in event.line]
        # The last one: the first is the network's.
        expect(starts and re.search(self.ENTRY, starts[-1]), f"the firmware started: {starts}", self.console_log)

    def check_inside(self):
        asked = {
            "hostname": "hostname",
            "written": "cat /etc/lab",
            "root": "findmnt --noheadings --output FSTYPE,FSROOT /",
            "uuid": "cat /run/cloud-init/instance-data.json",
            "result": "cat /run/cloud-init/result.json",
            "drive": "lsblk --noheadings --output LABEL | grep --line-regexp config-2",
        }
        command = "; ".join(f"echo; echo '=== {name}'; {line}" for name, line in asked.items())
        said = ssh.run_in_guest(self.machine.address, "debian", PASSWORD, command)
        parts = re.split(r"^=== (\w+)$", said, flags=re.M)
        found = {name: text.strip() for name, text in zip(parts[1::2], parts[2::2])}
        logs = (self.console_log,)
        expect(found.get("hostname") == HOSTNAME, f"its name is {found.get('hostname')!r}", *logs)
        expect(found.get("written") == WRITTEN, f"/etc/lab says {found.get('written')!r}", *logs)
        kind, root = self.ROOT
        expect(found.get("root", "").split() == [kind, root], f"the root file system is {found.get('root')!r}", *logs)
        identity = json.loads(found["uuid"])["v1"]["instance_id"]
        expect(identity == META_DATA["uuid"], f"cloud-init read the instance {identity!r}", *logs)
        result = json.loads(found["result"])["v1"]
        expect("ConfigDrive" in str(result["datasource"]) and not result["errors"], f"cloud-init says {result}", *logs)
        # Below each member of an array the same partition is listed.
        expect(set(found.get("drive", "").split()) == {"config-2"}, f"there is no config drive: {found.get('drive')!r}", *logs)


def take_out_first(machine):
    (machine.directory / "absent-disks").write_text(machine.disks[0].bus)


def put_back(machine):
    (machine.directory / "absent-disks").unlink(missing_ok=True)


class DebianMbr(DebianCloud):
    """An MBR with Debian's GRUB for BIOS. The cloud kernel has no driver for SATA: it goes to the other disk. The SATA
    disk is taken out for that time: a BIOS starts its first disk or none.
    """

    title = "a real Debian with an MBR on a BIOS machine"
    MACHINE = "bios"
    images = ("debian-mbr.qcow2",)

    def ready(self, goal="available"):
        super().ready(goal)
        take_out_first(self.machine)

    def tidy(self):
        put_back(self.machine)

    @property
    def target(self):
        return self.machine.disk("virtio")


class DebianMbrUefi(DebianCloud):
    title = "a real Debian with an MBR and an EFI system partition"
    images = ("debian-mbr-uefi.qcow2",)


class DebianBios(DebianMbr):
    title = "a real Debian in the layout of cloud images on a BIOS machine"
    images = ("debian-cloud.qcow2",)


class DebianRaid(DebianCloud):
    """On an array that the agent makes of both disks: Debian's initramfs assembles it, each disk has the loaders."""

    title = "a real Debian on a RAID 1 of two disks"
    ENTRY = "RAID"

    def run(self):
        self.ready("manageable")
        with self.step("clean: the agent makes the array"):
            call("PUT", f"{self.node.path}/states/raid", {"logical_disks": [{
                "size_gb": "MAX", "raid_level": "1", "controller": "software", "is_root_volume": True,
                "physical_disks": [{"serial": disk.serial} for disk in self.machine.disks],
            }]})
            self.operation("raid", "clean", **clean_steps(
                "raid.delete_configuration", "deploy.erase_devices_metadata", "raid.create_configuration"))
            self.node.do("provide", 60)
        self.check_deployment()
        with self.step("clean: the agent deletes the array"):
            self.node.do("deleted", 120)
            self.node.do("manage", 60)
            self.operation("raid", "clean", **clean_steps("raid.delete_configuration"))

    def request(self, image, disk, sha512=None, **instance_info):
        super().request(image, disk, sha512, **instance_info)
        self.node.set(properties__root_device={"name": "/dev/md0"})

    def tidy(self):
        self.node.remove("properties__root_device")


class DebianXfs(DebianCloud):
    title = "a real Debian on XFS"
    images = ("debian-xfs.qcow2",)
    ROOT = ("xfs", "/")


class DebianLvm(DebianCloud):
    title = "a real Debian on a logical volume"
    images = ("debian-lvm.qcow2",)


class DebianBtrfs(DebianCloud):
    title = "a real Debian on a subvolume of btrfs"
    images = ("debian-btrfs.qcow2",)
    ROOT = ("btrfs", "/@rootfs")


class DebianPartition(DebianCloud):
    """A partition image that brings Debian's loaders below /boot/efi: nothing of it is run."""

    title = "a real Debian as a partition image"
    images = ("debian-partition.qcow2",)
    INSTANCE = {"image_type": "partition", "root_gb": 2}


class DebianPartitionXfs(DebianPartition):
    title = "a real Debian as a partition image of XFS"
    images = ("debian-partition-xfs.qcow2",)
    ROOT = ("xfs", "/")


class DebianPartitionBtrfs(DebianPartition):
    title = "a real Debian as a partition image of btrfs, with the root in a subvolume"
    images = ("debian-partition-btrfs.qcow2",)
    ROOT = ("btrfs", "/@rootfs")


class DebianGrub(DebianPartition):
    """The operator allows the image's GRUB: Debian's own grub-install and grub-mkconfig run on the machine."""

    title = "a real Debian as a partition image, with its own grub-install"
    images = ("debian-partition.qcow2",)
    MACHINE = "bios"

    def ready(self, goal="available"):
        super().ready(goal)
        take_out_first(self.machine)
        self.kernel_parameters("ipa-enable-bios-bootloader-install=1")

    def tidy(self):
        put_back(self.machine)

    @property
    def target(self):
        return self.machine.disk("virtio")


DEBIANS = [DebianBios, DebianMbr, DebianMbrUefi, DebianRaid, DebianXfs, DebianLvm, DebianBtrfs,
           DebianPartition, DebianPartitionXfs, DebianPartitionBtrfs, DebianGrub]
