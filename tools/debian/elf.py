"""What a program says of itself in its ELF header: enough to find its libraries, whatever its architecture."""

import struct
from pathlib import Path

PT_LOAD, PT_DYNAMIC = 1, 2
DT_NEEDED, DT_STRTAB = 1, 5


def needed(path: Path) -> list[str]:
    """The names of the shared libraries that a program or library is linked with; none for a static program and for what is
    no 64-bit little-endian ELF file."""
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        return []
    start, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    loads: list[tuple[int, int, int]] = []
    dynamic = None
    for number in range(count):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, start + number * size)
        if kind == PT_LOAD:
            loads.append((address, offset, length))
        elif kind == PT_DYNAMIC:
            dynamic = (offset, length)
    if dynamic is None:
        return []
    entries = [struct.unpack_from("<QQ", data, dynamic[0] + place) for place in range(0, dynamic[1] - 15, 16)]
    strings = next((value for tag, value in entries if tag == DT_STRTAB), 0)
    base = next((strings - address + offset for address, offset, length in loads if address <= strings < address + length), 0)
    return [data[base + value:data.index(b"\0", base + value)].decode() for tag, value in entries if tag == DT_NEEDED]
