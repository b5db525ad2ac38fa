"""What firmware starts: an EFI system partition with Debian's signed shim and GRUB, and a hybrid ISO."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .files import run
from .inputs import Inputs

MIB = 1 << 20
# The modules of GRUB that a BIOS gets.
BIOS_MODULES = "biosdisk iso9660 linux normal configfile search search_fs_file test echo serial terminal part_gpt part_msdos gzio all_video"
# What Ironic calls its own media: the agent looks there for what Ironic has put onto them.
LABEL = "VMEDIA_BOOT_ISO"
# GRUB in the EFI system partition finds the menu of the medium around it: that of our ISO, or of one that Ironic has made.
FIND_MENU = "search --no-floppy --set=root --file /boot/grub/grub.cfg\nconfigfile ($root)/boot/grub/grub.cfg\n"
# The first console of an architecture that is a serial line.
CONSOLES = {"x86_64": "ttyS0,115200n8", "aarch64": "ttyAMA0,115200n8"}


@dataclass(frozen=True)
class Loaders:
    """Where an architecture's packages have what UEFI starts."""

    suffix: str
    grub: str

    @property
    def shim(self) -> str:
        return f"usr/lib/shim/shim{self.suffix}.efi.signed"

    @property
    def key_manager(self) -> str:
        return f"usr/lib/shim/mm{self.suffix}.efi.signed"

    @property
    def stub(self) -> str:
        return f"usr/lib/systemd/boot/efi/linux{self.suffix}.efi.stub"


LOADERS = {
    "x86_64": Loaders("x64", "usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed"),
    "aarch64": Loaders("aa64", "usr/lib/grub/arm64-efi-signed/gcdaa64.efi.signed"),
}


def command_line(arch: str, parameters: str) -> str:
    """What the kernel is started with. The last console is the one that the init speaks on."""
    return f"console=tty0 console={CONSOLES[arch]} {parameters}".strip()


def menu(line: str) -> str:
    return ("serial --unit=0 --speed=115200\nterminal_input console serial\nterminal_output console serial\n"
            f"set timeout=0\nmenuentry 'Deploy ramdisk' {{\n    linux /boot/kernel {line}\n    initrd /boot/initramfs\n}}\n")


def partition(inputs: Inputs, arch: str) -> bytes:
    """A FAT file system with the loaders where firmware looks for them."""
    names, root = LOADERS[arch], inputs.loaders(arch).root
    files = {
        f"BOOT{names.suffix.upper()}.EFI": (root / names.shim).read_bytes(),
        f"grub{names.suffix}.efi": (root / names.grub).read_bytes(),
        f"mm{names.suffix}.efi": (root / names.key_manager).read_bytes(),
        "grub.cfg": FIND_MENU.encode(),
    }
    size = sum(map(len, files.values())) + 2 * MIB
    with tempfile.TemporaryDirectory(dir=inputs.scratch) as scratch:
        image = Path(scratch) / "esp"
        with open(image, "wb") as file:
            file.truncate(size + -size % MIB)
        environment = inputs.environment()
        run([inputs.tools / "mkfs.vfat", "--invariant", "-i", "1A0B2C3D", "-n", "ESP", image], environment)
        run([inputs.tools / "mmd", "-i", image, "::EFI", "::EFI/BOOT"], environment)
        for name, content in files.items():
            source = Path(scratch) / name
            source.write_bytes(content)
            os.utime(source, (inputs.epoch, inputs.epoch))
            run([inputs.tools / "mcopy", "-m", "-i", image, source, f"::EFI/BOOT/{name}"], environment)
        return image.read_bytes()


def iso(inputs: Inputs, arch: str, esp: bytes) -> bytes:
    """A medium that UEFI starts from CD and from USB, and on x86-64 a BIOS, too."""
    ramdisk = inputs.ramdisks[arch]
    with tempfile.TemporaryDirectory(dir=inputs.scratch) as scratch:
        tree, image = Path(scratch) / "tree", Path(scratch) / "iso"
        content = {
            ".disk/info": f"ironic-agent {inputs.version} {arch}\n".encode(),
            "boot/grub/grub.cfg": menu(command_line(arch, f"boot_method=vmedia {inputs.parameters}")).encode(),
            "boot/grub/efiboot.img": esp,
            "boot/kernel": ramdisk.kernel, "boot/initramfs": ramdisk.initramfs,
        }
        words: list[str | Path] = ["-as", "mkisofs", "-quiet", "-r", "-V", LABEL, "-o", image, "-c", "boot/grub/boot.cat"]
        if arch == "x86_64":
            content["boot/grub/i386-pc/eltorito.img"] = bios_loader(inputs, Path(scratch))
            words += ["-b", "boot/grub/i386-pc/eltorito.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table",
                      "--grub2-boot-info", "--grub2-mbr", inputs.bios / "boot_hybrid.img"]
        words += ["--efi-boot", "boot/grub/efiboot.img", "-efi-boot-part", "--efi-boot-image", "--protective-msdos-label", tree]
        for name, data in content.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(data)
        for path in [*tree.rglob("*"), tree]:
            path.chmod(0o755 if path.is_dir() else 0o644)
            os.utime(path, (inputs.epoch, inputs.epoch))
        run([inputs.tools / "xorriso", *words], inputs.environment())
        return image.read_bytes()


def bios_loader(inputs: Inputs, scratch: Path) -> bytes:
    """GRUB as a BIOS starts it from a CD."""
    image = scratch / "eltorito.img"
    run([inputs.tools / "grub-mkimage", "--format", "i386-pc-eltorito", "--directory", inputs.bios, "--prefix", "/boot/grub",
         "--output", image, *BIOS_MODULES.split()], inputs.environment())
    return image.read_bytes()
