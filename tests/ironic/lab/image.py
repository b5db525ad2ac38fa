"""The images that get deployed: one small system in many forms."""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from . import content, debian, gpt, mbr
from .content import MARKER, MIB, Content
from .places import IMAGE, REPOSITORY
from .process import run


@dataclass
class Image:
    """A file to deploy. `raw` is the file that has the bytes that have to be on the disk."""

    path: str
    raw: str
    sha512: str
    disk_format: str  # what is declared to Ironic
    marker: str = MARKER

    @property
    def name(self):
        return Path(self.path).name

    @property
    def size(self):
        return os.path.getsize(self.path)


def whole_disk(made, path):
    """A GPT disk that boots by UEFI: an EFI system partition and a root file system."""
    write_gpt(made, path, made.data(64), None)


def whole_disk_aarch64(made, path):
    """The same for 64-bit ARM."""
    write_gpt(made.aarch64, path, made.aarch64.data(64), None)


def roomy(made, path):
    """The same on a disk of 1 GiB, most of which is empty, as cloud images are."""
    write_gpt(made, path, made.data(24), 1024 * MIB)


def write_gpt(made, path, root, size):
    root_size = root.stat().st_size
    loaders = made.esp.stat().st_size
    size = size or MIB + loaders + root_size + MIB
    gpt.write(path, size, [(gpt.ESP, MIB, loaders, "ESP"), (gpt.LINUX, MIB + loaders, root_size, "root")])
    put(path, (made.esp, MIB), (root, MIB + loaders))


def bios_disk(made, path):
    """An MBR disk that boots by BIOS."""
    root = made.root(8)
    first, rest = made.bios_code
    mbr.write(path, 2 * MIB + root.stat().st_size, [(mbr.LINUX, MIB, root.stat().st_size, True)], first)
    core = made.scratch / "core"
    core.write_bytes(rest)
    put(path, (core, mbr.SECTOR), (root, MIB))


def partition(made, path):
    """A root file system alone, as a partition image has it."""
    shutil.copy(made.root(8), path)


def installer(made, path):
    """The same without a loader: it has to be run on the machine to get one."""
    shutil.copy(made.root(4, has_loader=False), path)


def media_loader(made, path):
    """What Ironic puts into the ISOs that it makes, so that a UEFI firmware can boot them."""
    shutil.copy(made.media_loader, path)


def debian_in(shape):
    """A real Debian; it has its own cache, because making it takes minutes."""

    def link(made, path):
        path.unlink(missing_ok=True)
        path.symlink_to(debian.build(made.say, f"debian-{shape}.raw", made))

    return link


def put(path, *parts):
    """Copies files to their places in an image."""
    with open(path, "r+b") as disk:
        for source, offset in parts:
            disk.seek(offset)
            disk.write(source.read_bytes())


def qcow2(*options):
    def convert(raw, path):
        run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, raw, path])

    return convert


def packed(*command):
    def pack(raw, path):
        with open(path, "wb") as target:
            run([*command, raw], stdout=target)

    return pack


# Raw files by name, and how they are made.
RAW = {"whole-disk.raw": whole_disk, "whole-disk-aarch64.raw": whole_disk_aarch64, "roomy.raw": roomy,
       "bios-disk.raw": bios_disk, "partition.raw": partition, "installer.raw": installer,
       "media-loader.raw": media_loader}
RAW |= {f"debian-{shape}.raw": debian_in(shape) for shape in debian.SHAPES}
# Other forms by name: of which raw file, what is declared, and how they are made from it.
FORMS = {
    "roomy.qcow2": ("roomy.raw", "qcow2", qcow2()),
    "roomy-zlib.qcow2": ("roomy.raw", "qcow2", qcow2("-c")),
    "roomy-zstd.qcow2": ("roomy.raw", "qcow2", qcow2("-c", "-o", "compression_type=zstd")),
    "roomy.raw.zst": ("roomy.raw", "raw", packed("zstd", "-q", "-c", "-3")),
    "roomy.raw.gz": ("roomy.raw", "raw", packed("gzip", "-c", "-1")),
    "partition.qcow2": ("partition.raw", "qcow2", qcow2("-c")),
}
FORMS |= {
    f"debian-{shape}.qcow2": (f"debian-{shape}.raw", "qcow2", qcow2("-c", "-o", "compression_type=zstd"))
    for shape in debian.SHAPES
}


def build(say, names):
    """The named images, from an earlier run if nothing changed. Needs the network unless they are there."""
    names = sorted(names)
    IMAGE.mkdir(parents=True, exist_ok=True)
    for left in IMAGE.parent.glob("scratch-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=IMAGE.parent) as scratch:
        made = Content(Path(scratch), say)
        makers = [Path(str(module.__file__)) for module in (content, debian, gpt, mbr)]
        makers += [Path(__file__), *sorted(path for path in content.SYSTEM.rglob("*") if path.is_file()),
                   *sorted((REPOSITORY / "ramdisk").glob("*.py")), *sorted((REPOSITORY / "tools/debian").glob("*.py"))]
        key = hashlib.sha256(b"".join(path.read_bytes() for path in makers) + made.version.encode()).hexdigest()
        notes = IMAGE / "images.json"
        known = json.loads(notes.read_text()) if notes.is_file() else {}
        if known.get("key") != key:
            shutil.rmtree(IMAGE)
            IMAGE.mkdir()
            known = {"key": key}
        for name in names:
            if name not in known or not os.path.isfile(known[name]["path"]):
                say(f"building the image {name}")
                known[name] = asdict(make(made, name))
                draft = notes.with_suffix(".new")
                draft.write_text(json.dumps(known, indent=1))
                draft.replace(notes)
    return {name: Image(**known[name]) for name in names}


def load(names):
    """Those of the named images that `build` has made."""
    # Nothing has been made where nothing is wanted.
    known = json.loads((IMAGE / "images.json").read_text()) if names else {}
    return {name: Image(**known[name]) for name in sorted(names) if name in known}


def make(made, name):
    raw, declared, form = FORMS.get(name, (name, "raw", None))
    if not (IMAGE / raw).is_file():
        draft = IMAGE / f"{raw}.new"
        RAW[raw](made, draft)
        draft.rename(IMAGE / raw)
    if form:
        form(IMAGE / raw, IMAGE / name)
    with open(IMAGE / name, "rb") as file:
        digest = hashlib.file_digest(file, "sha512").hexdigest()
    return Image(str(IMAGE / name), str(IMAGE / raw), digest, declared)
