"""The disks of the virtual machine, looked at from outside."""

import hashlib
import json
import os

from . import gpt
from .errors import LabError
from .process import run

MIB = 1 << 20


def make(path, size):
    """A disk with the remains of an earlier life: a partition table and a file system."""
    gpt.write(path, size, [(gpt.LINUX, MIB, 64 * MIB, "remains")])
    scratch = path.with_suffix(".remains")
    with open(scratch, "wb") as file:
        file.truncate(64 * MIB)
    run(["mke2fs", "-q", "-t", "ext4", "-L", "remains", scratch])
    with open(path, "r+b") as disk:
        disk.seek(MIB)
        disk.write(scratch.read_bytes())
    scratch.unlink()


def scatter(path):
    """Writes something near the start, in the middle and at the end of a disk that nobody uses."""
    with open(path, "r+b") as disk:
        size = disk.seek(0, os.SEEK_END)
        for place in (5 * MIB, size // 2, size - 4096):
            disk.seek(place)
            disk.write(b"a secret of an earlier life".ljust(4096, b"."))


def first_data(path):
    """Where the first byte is that is not zero, give or take a MiB; None if there is none."""
    with open(path, "rb") as disk:
        size, place = disk.seek(0, os.SEEK_END), 0
        while place < size:
            try:
                place = os.lseek(disk.fileno(), place, os.SEEK_DATA)
            except OSError:  # only a hole follows
                return None
            disk.seek(place)
            if any(disk.read(MIB)):
                return place
            place += MIB
    return None


def md_array(disk, partition):
    """UUID of the array that a partition is a member of, by its superblock of version 1.0 or 1.2."""
    with open(disk, "rb") as file:
        for place in (4096, (partition.size - 8192) // 4096 * 4096):
            file.seek(partition.start + place)
            block = file.read(64)
            if block[:4] == b"\xfc\x4e\x2b\xa9":
                return block[16:32].hex()
    return None


def boot_code(path):
    """What a BIOS runs."""
    with open(path, "rb") as disk:
        return disk.read(440)


def tables(path):
    """Which signatures of partition tables a disk still has."""
    with open(path, "rb") as disk:
        head = disk.read(2 * gpt.SECTOR)
        disk.seek(-gpt.SECTOR, os.SEEK_END)
        tail = disk.read(8)
    found = []
    if head[510:512] == b"\x55\xaa":
        found.append("MBR")
    if head[512:520] == b"EFI PART":
        found.append("primary GPT")
    if tail == b"EFI PART":
        found.append("backup GPT")
    return found


def is_zero(path, start, length):
    with open(path, "rb") as disk:
        disk.seek(start)
        return not any(disk.read(length))


def same_content(image, disk, start, length):
    """Whether a range of the image stands on the disk byte by byte."""
    return digest(image, start, length) == digest(disk, start, length)


def digest(path, start, length):
    hasher = hashlib.sha256()
    with open(path, "rb") as file:
        file.seek(start)
        while length > 0:
            block = file.read(min(4 * MIB, length))
            if not block:
                break
            hasher.update(block)
            length -= len(block)
    return hasher.hexdigest()


class ConfigDrive:
    """The file system of a config drive, copied out of its partition."""

    def __init__(self, disk, partition, scratch):
        self.path = scratch
        with open(disk, "rb") as source, open(scratch, "wb") as target:
            source.seek(partition.start)
            target.write(source.read(partition.size))

    @property
    def label(self):
        with open(self.path, "rb") as file:
            file.seek(16 * 2048)
            descriptor = file.read(2048)
        return descriptor[40:72].decode("ascii", "replace").strip() if descriptor[1:6] == b"CD001" else None

    def read(self, name):
        return run(["isoinfo", "-J", "-i", self.path, "-x", f"/{name}"])

    def metadata(self):
        return json.loads(self.read("openstack/latest/meta_data.json"))


def file_system(disk, partition):
    """Kind and label of what a partition holds; (None, None) if it is nothing that we know."""
    with open(disk, "rb") as file:
        file.seek(partition.start)
        head = file.read(17 * 2048)

    def text(place, length):
        return head[place:place + length].split(b"\0")[0].decode("ascii", "replace").strip()

    if head[0x438:0x43A] == b"\x53\xef":
        return "ext4", text(0x478, 16)
    if head[4086:4096] == b"SWAPSPACE2":
        return "swap", text(1052, 16)
    if head[:4] == b"XFSB":
        return "xfs", text(108, 12)
    if head[16 * 2048 + 1:16 * 2048 + 6] == b"CD001":
        return "iso9660", text(16 * 2048 + 40, 32)
    if head[510:512] == b"\x55\xaa" and (head[82:87] == b"FAT32" or head[54:57] == b"FAT"):
        return "vfat", text(71 if head[82:87] == b"FAT32" else 43, 11)
    return None, None


def add_file(disk, partition, name, text):
    """Puts a file into an ext file system of a disk that no running machine uses."""
    scratch = disk.with_suffix(".file")
    scratch.write_text(text)
    run(["debugfs", "-w", "-R", f'write "{scratch}" {name}', f"{disk}?offset={partition.start}"])
    scratch.unlink()
    # debugfs succeeds whatever becomes of its request.
    written = file_of_partition(disk, partition, name)
    if written != text:
        raise LabError(f"debugfs has written {written!r} to {name} of {disk.name} in place of {text!r}")


def file_of_partition(disk, partition, name):
    """A file of an ext file system on a partition, without mounting it."""
    return run(["debugfs", "-R", f"cat {name}", f"{disk}?offset={partition.start}"])
