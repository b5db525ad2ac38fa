"""GUID partition tables, written and read in our own way, as an independent witness."""

import struct
import uuid
import zlib
from dataclasses import dataclass

SECTOR = 512
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
ENTRY = struct.Struct("<16s16sQQQ72s")
ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")


class Broken(Exception):
    """A table that a firmware would refuse."""


@dataclass
class Partition:
    number: int
    kind: uuid.UUID
    start: int  # bytes
    size: int  # bytes
    name: str


def write(path, size, partitions):
    """Makes a sparse disk image; partitions are (kind, start, size in bytes, name)."""
    sectors = size // SECTOR
    entries = b""
    for kind, start, length, name in partitions:
        first = start // SECTOR
        last = first + length // SECTOR - 1
        entries += ENTRY.pack(kind.bytes_le, uuid.uuid4().bytes_le, first, last, 0, name.encode("utf-16-le"))
    entries = entries.ljust(128 * ENTRY.size, b"\0")
    disk = uuid.uuid4().bytes_le

    def header(here, other, table):
        def pack(checksum):
            return HEADER.pack(b"EFI PART", 0x10000, 92, checksum, 0, here, other, 34, sectors - 34,
                               disk, table, 128, 128, zlib.crc32(entries))
        return pack(zlib.crc32(pack(0)))

    protective = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, sectors - 1)
    with open(path, "wb") as file:
        file.truncate(size)
        file.write(bytes(446) + protective + bytes(48) + b"\x55\xaa")
        file.write(header(1, sectors - 1, 2).ljust(SECTOR, b"\0") + entries)
        file.seek((sectors - 33) * SECTOR)
        file.write(entries + header(sectors - 1, 1, sectors - 33))


def read(path):
    """The partitions of a disk whose both tables must be whole and agree; else `Broken`."""
    with open(path, "rb") as file:
        file.seek(0, 2)
        sectors = file.tell() // SECTOR
        first = read_one(file, 1, "primary")
        second = read_one(file, sectors - 1, "backup at the end of the disk")
    if first[0] != second[0]:
        raise Broken("the two tables list different partitions")
    if first[1] != sectors - 1:
        raise Broken(f"the primary table expects its backup in sector {first[1]}, the disk's last is {sectors - 1}")
    return first[0]


def read_one(file, sector, which):
    file.seek(sector * SECTOR)
    raw = file.read(SECTOR)[:92]
    (magic, _, length, checksum, _, here, other, _, _, _, table, count, width, entries_sum) = HEADER.unpack(raw)
    if magic != b"EFI PART" or length != 92:
        raise Broken(f"{which}: no header in sector {sector}")
    if zlib.crc32(raw[:16] + bytes(4) + raw[20:]) != checksum or here != sector:
        raise Broken(f"{which}: the header's checksum or position is wrong")
    file.seek(table * SECTOR)
    entries = file.read(count * width)
    if zlib.crc32(entries) != entries_sum:
        raise Broken(f"{which}: the entries' checksum is wrong")
    found = []
    for number in range(count):
        kind, _, start, end, _, name = ENTRY.unpack_from(entries, number * width)
        if kind != bytes(16):
            label = name.decode("utf-16-le").split("\0")[0]
            found.append(Partition(number + 1, uuid.UUID(bytes_le=kind), start * SECTOR, (end - start + 1) * SECTOR, label))
    return found, other
