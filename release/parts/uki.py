"""A unified kernel image: systemd's stub with kernel, initramfs and command line in sections of one EFI program."""

import struct
from dataclasses import dataclass

from .files import ReleaseError

HEADER = 40  # bytes of a section's header
READ_ONLY_DATA = 0x4000_0040
PE32_PLUS = 0x20B


@dataclass(frozen=True)
class Section:
    """What the header of a section says."""

    name: str
    address: int
    size: int
    offset: int
    length: int


class Program:
    """An EFI program, as far as adding sections needs it."""

    def __init__(self, content: bytes):
        self.content = content
        try:
            self.start, = struct.unpack_from("<I", content, 0x3C)
            optional, = struct.unpack_from("<H", content, self.start + 20)
            magic, = struct.unpack_from("<H", content, self.start + 24)
            self.table = self.start + 24 + optional
            self.count, = struct.unpack_from("<H", content, self.start + 6)
            self.section_unit, self.file_unit = struct.unpack_from("<II", content, self.start + 24 + 32)
            self.headers, = struct.unpack_from("<I", content, self.start + 24 + 60)
        except struct.error as error:
            raise ReleaseError("the stub is no EFI program: it is too short") from error
        if content[:2] != b"MZ" or content[self.start:self.start + 4] != b"PE\0\0" or magic != PE32_PLUS:
            raise ReleaseError("the stub is no 64-bit EFI program")

    def sections(self) -> list[Section]:
        found = []
        for number in range(self.count):
            name, size, address, length, offset = struct.unpack_from("<8sIIII", self.content, self.table + number * HEADER)
            found.append(Section(name.rstrip(b"\0").decode(), address, size, offset, length))
        return found

    def section(self, name: str) -> bytes:
        """The content of a section."""
        for section in self.sections():
            if section.name == name:
                return self.content[section.offset:section.offset + section.size]
        raise ReleaseError(f"the EFI program has no section {name}")


def assemble(stub: bytes, parts: dict[str, bytes]) -> bytes:
    """The stub with more sections, in this order. The kernel should be the last: it unpacks itself over what follows."""
    program = Program(stub)
    if program.table + (program.count + len(parts)) * HEADER > program.headers:
        raise ReleaseError(f"the headers of the stub have no room for {len(parts)} more sections")
    made = bytearray(stub)
    made += bytes(-len(made) % program.file_unit)
    address = max(section.address + section.size for section in program.sections())
    added = 0
    for number, (name, content) in enumerate(parts.items(), program.count):
        address += -address % program.section_unit
        length = len(content) + -len(content) % program.file_unit
        header = struct.pack("<8sIIIIIIHHI", name.encode(), len(content), address, length, len(made), 0, 0, 0, 0, READ_ONLY_DATA)
        made[program.table + number * HEADER:program.table + (number + 1) * HEADER] = header
        made += content + bytes(length - len(content))
        address += len(content)
        added += length
    struct.pack_into("<H", made, program.start + 6, program.count + len(parts))
    before, = struct.unpack_from("<I", made, program.start + 24 + 8)
    struct.pack_into("<I", made, program.start + 24 + 8, before + added)
    struct.pack_into("<I", made, program.start + 24 + 56, address + -address % program.section_unit)
    struct.pack_into("<I", made, program.start + 24 + 64, 0)  # the checksum, which nobody compares
    return bytes(made)
