"""What images are made of: kernel, initial ramdisk, boot loaders, file systems. Made without root: no
mounts, no loop devices."""

import random
import shutil
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .places import REPOSITORY
from .process import run

sys.path[:0] = [str(REPOSITORY / "ramdisk"), str(REPOSITORY / "tools")]
from archive import Archive, compress  # noqa: E402
from debian import Packages  # noqa: E402
from modules import select_modules  # noqa: E402

MIB = 1 << 20
MARKER = "root-file-system-of-the-image"
SYSTEM = Path(__file__).resolve().parent / "system"


@dataclass(frozen=True)
class Architecture:
    """What differs between machines: names of files, the first serial line, how large a kernel is."""

    packages: str
    boot: str
    loader: str
    console: str
    esp: int


ARCHITECTURES = {
    "x86_64": Architecture("amd64", "systemd-bootx64.efi", "BOOTX64.EFI", "ttyS0", 40 * MIB),
    "aarch64": Architecture("arm64", "systemd-bootaa64.efi", "BOOTAA64.EFI", "ttyAMA0", 96 * MIB),
}
SMALL = ["busybox-static", "systemd-boot-efi", "mdadm"]
PACKAGES = ["busybox-static", "systemd-boot-efi", "mdadm", "grub-common", "grub2-common", "grub-pc-bin", "grub-efi-amd64-bin"]
# What GRUB needs to find the root file system by a file of it, and to read its menu there.
MODULES = "part_gpt part_msdos ext2 fat normal linux configfile search search_fs_file echo test boot"
FIND_ROOT = """search --no-floppy --set=root --file /boot/lab-system
set prefix=($root)/boot/grub
configfile $prefix/grub.cfg
"""
FIND_MEDIA = """search --no-floppy --set=root --file /EFI/BOOT/grub.cfg
set prefix=($root)/EFI/BOOT
configfile $prefix/grub.cfg
"""
MENU = """set timeout=0
menuentry deployed {
    linux /boot/vmlinuz console=ttyS0 quiet no_timer_check lab.loader=grub
    initrd /boot/initrd.gz
}
"""
# How Debian's maker of menus names the root: by its file system, if that name leads somewhere.
MKCONFIG = """#!/bin/sh
set -e
root=$(grub-probe --target=device /)
uuid=$(grub-probe --target=fs_uuid /)
[ ! -e "/dev/disk/by-uuid/$uuid" ] || root=UUID=$uuid
sed "s|lab.loader=grub|root=$root &|" /etc/default/menu >"$2"
"""
# What an image must hold so that GRUB can be installed from within it.
GRUB_PROGRAMS = ["/usr/sbin/grub-install", "/usr/sbin/grub-probe", "/usr/bin/grub-mkimage",
                 "/usr/bin/grub-editenv", "/usr/bin/grub-mkrelpath", "/sbin/mdadm"]


class Content:
    """Pieces made once, in a scratch directory."""

    def __init__(self, scratch, say, arch="x86_64"):
        self.scratch, self.say, self.arch = scratch, say, ARCHITECTURES[arch]
        self.packages = Packages(say=say, architecture=self.arch.packages)
        self.kernel = self.packages.kernel()
        self.sysroot = self.packages.sysroot(PACKAGES if arch == "x86_64" else SMALL)
        # Whose programs run here.
        self.own = self.sysroot if arch == "x86_64" else Packages(say=say).sysroot(PACKAGES)

    @cached_property
    def aarch64(self):
        """The same for 64-bit ARM."""
        scratch = self.scratch / "aarch64"
        scratch.mkdir()
        return Content(scratch, self.say, "aarch64")

    @property
    def version(self):
        return f"{self.kernel.version} {self.sysroot.name}"

    @cached_property
    def initrd(self):
        return self.machine_of("initrd", ["/bin/busybox", "/sbin/mdadm"], SYSTEM / "modules.list", [SYSTEM / "init"])

    def machine_of(self, name, programs, modules, files):
        """A ramdisk of programs, kernel modules and executable files at its top; one of these is `init`."""
        tree = self.scratch / name
        self.sysroot.install(tree, programs)
        (tree / "sbin").mkdir(exist_ok=True)
        (tree / "sbin/modprobe").symlink_to("/bin/busybox")
        select_modules(modules, self.kernel, self.own, tree)
        for file in files:
            shutil.copy(file, tree / file.name)
            (tree / file.name).chmod(0o755)
        path = self.scratch / f"{name}.gz"
        path.write_bytes(compress(Archive().pack(tree), "gzip"))
        return path

    @cached_property
    def esp(self):
        """An EFI system partition with systemd-boot, kernel and ramdisk."""
        esp = self.scratch / "esp"
        with open(esp, "wb") as file:
            file.truncate(self.arch.esp)
        run(["mkfs.vfat", "-F", "32", "-s", "1", "-n", "ESP", esp])
        (self.scratch / "loader.conf").write_text("timeout 0\n")
        (self.scratch / "entry.conf").write_text(
            f"title deployed\nlinux /vmlinuz\ninitrd /initrd.gz\noptions console={self.arch.console} quiet no_timer_check "
            "root=PARTLABEL=root lab.loader=systemd-boot\n"
        )
        run(["mmd", "-i", esp, "::EFI", "::EFI/BOOT", "::loader", "::loader/entries"])
        for source, name in (
            (self.sysroot.find(f"/usr/lib/systemd/boot/efi/{self.arch.boot}"), f"EFI/BOOT/{self.arch.loader}"),
            (self.scratch / "loader.conf", "loader/loader.conf"),
            (self.scratch / "entry.conf", "loader/entries/deployed.conf"),
            (self.kernel.image, "vmlinuz"),
            (self.initrd, "initrd.gz"),
        ):
            run(["mcopy", "-i", esp, source, f"::{name}"])
        return esp

    def data(self, filling):
        """A root file system with nothing but a marker and `filling` MiB that do not compress."""
        tree = self.tree(f"data-{filling}", filling)
        return self.file_system(tree, filling + 16)

    def root(self, filling, has_loader=True):
        """A root file system with kernel, ramdisk and GRUB's installer, and a loader for UEFI."""
        tree = self.tree(f"root-{filling}", filling)
        for directory in ("boot/grub", "boot/efi/EFI/BOOT", "etc/default", "etc/grub.d", "dev", "proc", "sys", "run", "tmp"):
            (tree / directory).mkdir(parents=True, exist_ok=True)
        shutil.copy(self.kernel.image, tree / "boot/vmlinuz")
        shutil.copy(self.initrd, tree / "boot/initrd.gz")
        (tree / "boot/lab-system").write_text("found by the boot loader\n")
        (tree / "boot/grub/grub.cfg").write_text(MENU)
        (tree / "etc/fstab").write_text("# made by the laboratory\n")
        (tree / "etc/os-release").write_text('ID=laboratory\nNAME="System of the laboratory"\n')
        if has_loader:
            self.grub("x86_64-efi", tree / "boot/efi/EFI/BOOT/BOOTX64.EFI")
            (tree / "boot/efi/EFI/BOOT/BOOTX64.EFI").chmod(0o755)
        self.add_grub(tree)
        return self.file_system(tree, filling + 64)

    def add_grub(self, tree):
        """GRUB's own installer for both kinds of firmware, and the little that it needs to run."""
        self.sysroot.install(tree, ["/bin/busybox", *GRUB_PROGRAMS])
        for name in ("sh", "cat", "cp", "rm", "mkdir", "mv", "ls", "mount", "umount", "which", "chmod", "uname", "sed"):
            (tree / "bin" / name).symlink_to("busybox")
        (tree / "usr/lib/grub").mkdir(parents=True, exist_ok=True)
        for platform in ("i386-pc", "x86_64-efi"):
            shutil.copytree(self.sysroot.find(f"/usr/lib/grub/{platform}"), tree / "usr/lib/grub" / platform)
        mkconfig = tree / "usr/sbin/grub-mkconfig"
        mkconfig.write_text(MKCONFIG)
        mkconfig.chmod(0o755)
        (tree / "etc/default/menu").write_text(MENU)
        (tree / "etc/default/grub").write_text('GRUB_CMDLINE_LINUX=""\n')

    @cached_property
    def media_loader(self):
        """A small EFI system partition with a GRUB that reads the menu of the ISO around it."""
        loader, esp = self.scratch / "media.efi", self.scratch / "media-loader"
        self.grub("x86_64-efi", loader, FIND_MEDIA, "iso9660")
        with open(esp, "wb") as file:
            file.truncate(2 * MIB)
        run(["mkfs.vfat", "-F", "12", "-n", "MEDIA", esp])
        run(["mmd", "-i", esp, "::EFI", "::EFI/BOOT"])
        run(["mcopy", "-i", esp, loader, "::EFI/BOOT/BOOTX64.EFI"])
        return esp

    def grub(self, platform, target, start=FIND_ROOT, more=""):
        """GRUB's image for a platform, which finds its menu by itself."""
        (self.scratch / "find-root.cfg").write_text(start)
        own = more + (" biosdisk" if platform == "i386-pc" else "")
        self.sysroot.run("/usr/bin/grub-mkimage", "--format", platform, "--directory",
                         str(self.sysroot.find(f"/usr/lib/grub/{platform}")), "--prefix", "/boot/grub", "--config",
                         str(self.scratch / "find-root.cfg"), "--output", str(target), *MODULES.split(), *own.split())

    @cached_property
    def bios_code(self):
        """GRUB's first sector, and what has to follow it in the next ones: at that place both need
        no further adjustment."""
        core = self.scratch / "core.img"
        self.grub("i386-pc", core)
        return self.sysroot.find("/usr/lib/grub/i386-pc/boot.img").read_bytes(), core.read_bytes()

    def tree(self, name, filling):
        tree = self.scratch / name
        tree.mkdir()
        (tree / "marker").write_text(MARKER + "\n")
        (tree / "filling").write_bytes(random.Random(1).randbytes(filling * MIB))
        return tree

    def file_system(self, tree, size):
        """The tree as an ext4 file system of `size` MiB."""
        path = tree.with_suffix(".ext4")
        with open(path, "wb") as file:
            file.truncate(size * MIB)
        # Without what this release's GRUB cannot read.
        run(["mke2fs", "-q", "-t", "ext4", "-O", "^metadata_csum_seed,^orphan_file", "-L", "root", "-d", tree, path])
        shutil.rmtree(tree)
        return path
