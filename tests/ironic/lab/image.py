"""The image that gets deployed: a small whole-disk image that boots by UEFI.

An EFI system partition with systemd-boot, Debian's kernel and a busybox system, and an ext4
partition with a marker and as much incompressible filling as wanted. Made without root: no mounts, no
loop devices.
"""

import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from . import gpt
from .places import IMAGE, RAMDISK, REPOSITORY
from .process import run

sys.path.insert(0, str(REPOSITORY / "ramdisk"))
from archive import Archive, compress  # noqa: E402
from debian import Packages  # noqa: E402
from modules import select_modules  # noqa: E402

MIB = 1 << 20
ESP_SIZE = 40 * MIB
MARKER = "root-file-system-of-the-image"
SYSTEM = Path(__file__).resolve().parent / "system"


@dataclass
class Image:
    path: str
    size: int
    sha512: str
    marker: str


def build(say, filling=64):
    """The image with `filling` MiB of content, from an earlier run if nothing changed."""
    packages = Packages((RAMDISK / "cache").resolve())
    kernel = packages.kernel()
    sysroot = packages.sysroot(["busybox-static", "systemd-boot-efi"])
    makers = [Path(__file__), Path(gpt.__file__), *sorted(SYSTEM.iterdir()), *sorted((REPOSITORY / "ramdisk").glob("*.py"))]
    sources = b"".join(path.read_bytes() for path in makers)
    key = hashlib.sha256(sources + f"{kernel.version} {sysroot.name} {filling}".encode()).hexdigest()
    notes = IMAGE / "image.json"
    if notes.is_file():
        known = json.loads(notes.read_text())
        if known.pop("key") == key and os.path.isfile(known["path"]):
            return Image(**known)
    say(f"building the image to deploy ({filling} MiB of content)")
    shutil.rmtree(IMAGE, ignore_errors=True)
    IMAGE.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=IMAGE) as scratch:
        image = assemble(Path(scratch), kernel, sysroot, filling)
    notes.write_text(json.dumps({"key": key, **asdict(image)}))
    return image


def assemble(scratch, kernel, sysroot, filling):
    esp = make_esp(scratch, kernel, sysroot)
    root, root_size = make_root(scratch, filling)
    path = IMAGE / "whole-disk.raw"
    size = MIB + ESP_SIZE + root_size + MIB
    gpt.write(path, size, [(gpt.ESP, MIB, ESP_SIZE, "ESP"), (gpt.LINUX, MIB + ESP_SIZE, root_size, "root")])
    with open(path, "r+b") as disk:
        for content, offset in ((esp, MIB), (root, MIB + ESP_SIZE)):
            disk.seek(offset)
            disk.write(content.read_bytes())
    with open(path, "rb") as disk:
        digest = hashlib.file_digest(disk, "sha512").hexdigest()
    return Image(str(path), size, digest, MARKER)


def make_esp(scratch, kernel, sysroot):
    esp = scratch / "esp"
    with open(esp, "wb") as file:
        file.truncate(ESP_SIZE)
    run(["mkfs.vfat", "-F", "32", "-s", "1", "-n", "ESP", esp])
    (scratch / "loader.conf").write_text("timeout 0\n")
    (scratch / "entry.conf").write_text(
        "title deployed\nlinux /vmlinuz\ninitrd /initrd.gz\noptions console=ttyS0 quiet\n"
    )
    (scratch / "initrd.gz").write_bytes(make_initrd(scratch, kernel, sysroot))
    run(["mmd", "-i", esp, "::EFI", "::EFI/BOOT", "::loader", "::loader/entries"])
    for source, name in (
        (sysroot.find("/usr/lib/systemd/boot/efi/systemd-bootx64.efi"), "EFI/BOOT/BOOTX64.EFI"),
        (scratch / "loader.conf", "loader/loader.conf"),
        (scratch / "entry.conf", "loader/entries/deployed.conf"),
        (kernel.image, "vmlinuz"),
        (scratch / "initrd.gz", "initrd.gz"),
    ):
        run(["mcopy", "-i", esp, source, f"::{name}"])
    return esp


def make_initrd(scratch, kernel, sysroot):
    tree = scratch / "tree"
    (tree / "bin").mkdir(parents=True)
    sysroot.install(tree, ["/bin/busybox"])
    (tree / "sbin").mkdir()
    (tree / "sbin/modprobe").symlink_to("/bin/busybox")
    select_modules(SYSTEM / "modules.list", kernel, sysroot, tree)
    shutil.copy(SYSTEM / "init", tree / "init")
    (tree / "init").chmod(0o755)
    return compress(Archive().pack(tree), "gzip")


def make_root(scratch, filling):
    content = scratch / "content"
    content.mkdir()
    (content / "marker").write_text(MARKER + "\n")
    (content / "filling").write_bytes(random.Random(1).randbytes(filling * MIB))
    size = (filling + 16) * MIB
    root = scratch / "root"
    with open(root, "wb") as file:
        file.truncate(size)
    run(["mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", content, root])
    return root, size
