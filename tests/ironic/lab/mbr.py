"""MBR partition tables, written and read in our own way, as an independent witness."""

import struct
from dataclasses import dataclass

SECTOR = 512
TABLE = 446  # offset of the four entries
LINUX = 0x83
ENTRY = struct.Struct("<B3sB3sII")


class Broken(Exception):
    """Not a table that a BIOS would take."""


@dataclass
class Partition:
    number: int
    kind: int
    start: int  # bytes
    size: int  # bytes
    bootable: bool


def write(path, size, partitions, code=b""):
    """Makes a sparse disk image; partitions are (kind, start, size in bytes, bootable), `code` is
    what the BIOS runs."""
    table = b"".join(
        ENTRY.pack(0x80 if bootable else 0, bytes(3), kind, bytes(3), start // SECTOR, length // SECTOR)
        for kind, start, length, bootable in partitions
    )
    with open(path, "wb") as file:
        file.truncate(size)
        file.write(code[:440].ljust(440, b"\0") + b"LAB!\0\0" + table.ljust(64, b"\0") + b"\x55\xaa")


def read(path):
    """The primary partitions of a disk; `Broken` if it has none, or a GPT."""
    with open(path, "rb") as file:
        sector = file.read(SECTOR)
        file.seek(0, 2)
        size = file.tell()
    if sector[510:] != b"\x55\xaa":
        raise Broken("the first sector has no signature")
    found = []
    for number in range(4):
        flag, _, kind, _, start, length = ENTRY.unpack_from(sector, TABLE + number * ENTRY.size)
        if kind == 0xEE:
            raise Broken("the table only protects a GPT")
        if kind == 0:
            continue
        partition = Partition(number + 1, kind, start * SECTOR, length * SECTOR, flag == 0x80)
        if start == 0 or length == 0 or partition.start + partition.size > size:
            raise Broken(f"partition {partition} is not inside the disk")
        found.append(partition)
    if not found:
        raise Broken("no partitions")
    for one, other in zip(by_start := sorted(found, key=lambda each: each.start), by_start[1:]):
        if one.start + one.size > other.start:
            raise Broken(f"{one} and {other} overlap")
    return found
