"""Superblocks of arrays whose other members are not here, as disks carry them that were moved from another machine.

Written in our own way, as an independent witness; `mdadm --examine` takes each of them (see `mdadm(8)`, `md(4)`).
"""

import struct

SECTOR = 512
MAGIC = 0xA92B4EFC
UUID = bytes(range(16))
IMSM_SIGNATURE = b"Intel Raid ISM Cfg Sig. 1.1.00\0"


def linux_1_2(disk):
    """Version 1.2 at byte 4096 of a disk: one half of a RAID 0."""
    size = _size(disk)
    block = bytearray(4096)
    struct.pack_into("<III", block, 0, MAGIC, 1, 0)
    block[16:32] = UUID
    block[32:64] = b"elsewhere:0".ljust(32, b"\0")
    # Level 0, data sectors, chunk, number of disks.
    struct.pack_into("<QIIQII", block, 64, 1_700_000_000, 0, 0, 0, 128, 2)
    # Where the data begin, how many they are, where the superblock is; all in sectors.
    struct.pack_into("<QQQQI", block, 128, 2048, size // SECTOR - 2048, 8, 0, 0)
    block[168:184] = UUID[::-1]
    struct.pack_into("<QQQ", block, 192, 1_700_000_000, 4, 0xFFFF_FFFF_FFFF_FFFF)
    struct.pack_into("<I", block, 220, 2)
    struct.pack_into("<HH", block, 256, 0, 1)
    total = sum(struct.unpack_from("<65I", block))
    struct.pack_into("<I", block, 216, ((total & 0xFFFF_FFFF) + (total >> 32)) & 0xFFFF_FFFF)
    _put(disk, 4096, block)


def linux_0_90(disk, start, size):
    """Version 0.90 near the end of a partition: one half of a RAID 1."""
    words = [0] * 1024
    words[0:16] = [MAGIC, 0, 90, 0, 0, 0x03020100, 1_700_000_000, 1, (size - 65536) // 1024, 2, 2, 0, 0, 1, 2, 3]
    words[32:38] = [1_700_000_000, 1, 2, 2, 0, 0]
    words[39] = 4
    words[64:66] = [0, 65536]
    for number, minor in enumerate((1, 17)):
        words[128 + 32 * number:133 + 32 * number] = [number, 8, minor, number, 6]
    words[992:997] = [0, 8, 1, 0, 6]
    total = sum(words)
    words[38] = ((total & 0xFFFF_FFFF) + (total >> 32)) & 0xFFFF_FFFF
    _put(disk, start + size // 65536 * 65536 - 65536, struct.pack("<1024I", *words))


def imsm(disk, serial):
    """Intel's, in the last sector but one of a disk: configured there, without a volume."""
    size = _size(disk)
    block = bytearray(264)
    block[0:32] = IMSM_SIGNATURE.ljust(32, b"\0")
    # Length, family, generation.
    struct.pack_into("<III", block, 36, len(block), 0x1AB, 1)
    # All attributes that a plain mirror has; one disk, no volume.
    struct.pack_into("<IBB", block, 52, 0x8000_0000, 1, 0)
    struct.pack_into("<I", block, 64, 0x1AB)
    block[216:232] = serial.encode().ljust(16, b"\0")
    struct.pack_into("<III", block, 232, size // SECTOR, 0, 2)
    struct.pack_into("<I", block, 32, sum(struct.unpack("<66I", block)) & 0xFFFF_FFFF)
    _put(disk, size - 2 * SECTOR, block)


def left(disk, start, size):
    """What a disk or partition still has of the above."""
    places = {"1.2": (4096, struct.pack("<I", MAGIC)),
              "0.90": (size // 65536 * 65536 - 65536, struct.pack("<I", MAGIC)),
              "IMSM": (size - 2 * SECTOR, IMSM_SIGNATURE)}
    with open(disk, "rb") as file:
        found = []
        for name, (place, signature) in places.items():
            file.seek(start + place)
            if file.read(len(signature)) == signature:
                found.append(name)
    return found


def _size(disk):
    with open(disk, "rb") as file:
        return file.seek(0, 2)


def _put(disk, place, block):
    with open(disk, "r+b") as file:
        file.seek(place)
        file.write(block)
